"""What models cost: a model's `Price`, found among the operator's tables and the built-in lists.

A ratio is a price: 1 is $2 per million language tokens, so that at ratio 1 a token costs one quota. Prices are decimals
of the digits that stand in the tables; nothing here is a float.

Source: One API's look-up, spec relay.md §4.1–4.2 and §10.3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from oneapi.columns import BUCKETS, Columns

if TYPE_CHECKING:
    from oneapi.options import Options

Ratios = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrice:
    """How an image's size and quality change its price.

    `sizes` multiplies the ratio, by 1 where a size is not named; `hd` multiplies it further for quality "hd", its key
    "" for the sizes it does not name. `usd` is for models whose images have token counts of their own: the price of one
    image by size and quality, for the hold, and for providers that report no tokens.
    """

    sizes: Ratios = field(default_factory=dict)
    hd: Ratios = field(default_factory=dict)
    usd: Mapping[str, Ratios] = field(default_factory=dict)

    def factor(self, size: str, quality: str) -> Decimal:
        factor = self.sizes.get(size, Decimal(1))
        if quality == "hd" and self.hd:
            factor *= self.hd.get(size, self.hd[""])
        return factor

    def dearest_usd(self, size: str, quality: str) -> Decimal:
        """Of one image; of the dearest that fits where size or quality is left to the model."""
        sizes = [self.usd[size]] if size in self.usd else list(self.usd.values())
        return max((by[quality] if quality in by else max(by.values()) for by in sizes), default=Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A model's ratios. A column that is None is priced like plain input or output.

    `completion` multiplies the input ratio. `per_unit` is USD for one of what is not counted in tokens: images,
    seconds, characters, searches, search_units, calls. `above` holds the prices of long prompts: (a number of input
    tokens, the price of whole requests that have more), longest last. `is_default`: the model is unknown and costs
    option ExtDefaultModelRatio.
    """

    input: Decimal
    completion: Decimal = Decimal(1)
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    reasoning: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    image_input: Decimal | None = None
    image_output: Decimal | None = None
    per_unit: Ratios = field(default_factory=dict)
    images: ImagePrice = field(default_factory=ImagePrice)
    unit_scale: Decimal = Decimal(1)  # the operator's surcharge, which `per_unit` already has and `images.usd` has not
    above: tuple[tuple[int, Price], ...] = ()
    is_default: bool = False

    @property
    def output(self) -> Decimal:
        return self.input * self.completion

    def at(self, input_tokens: int) -> Price:
        """The price of a request with a prompt of this length."""
        price = self
        for threshold, longer in self.above:
            if input_tokens > threshold:
                price = longer
        return price


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRule:
    """Applies to names that fit all three; an empty condition fits any name."""

    ratio: Decimal
    prefix: str = ""
    suffix: str = ""
    equals: str = ""

    def fits(self, model: str) -> bool:
        return (
            model.startswith(self.prefix) and model.endswith(self.suffix) and (not self.equals or model == self.equals)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinPrices:
    """The lists that come with the program; a key may carry a channel type: "llama3-8b-8192(33)"."""

    model_ratios: Ratios
    completion_ratios: Ratios
    completion_rules: tuple[CompletionRule, ...] = ()
    completion_fallbacks: Ratios = field(default_factory=dict)  # asked after the rules
    columns: Mapping[str, Columns] = field(default_factory=dict)
    images: Mapping[str, ImagePrice] = field(default_factory=dict)


# A model that searches the web is billed like the model itself; One API's two tables differ in which they mean.
_SEARCHING = "-internet"
_SEARCHING_FOR_INPUT = ("qwen-", "command-")
_SEARCHING_FOR_COMPLETION = ("qwen-",)


class PriceList:
    """The prices in force: what the operator has set, over the built-in lists. Immutable, but for what it remembers.

    In every table "name(channel type)" goes before "name", and the operator's entry before the built-in one, which
    stands for each model that his table does not name. `columns` are prices of his own in USD per million tokens: a
    model that has them needs no ratio, and where it has one, that is its price and its columns follow in proportion.
    """

    def __init__(
        self,
        builtin: BuiltinPrices,
        *,
        model_ratios: Ratios,
        completion_ratios: Ratios,
        group_ratios: Ratios,
        default_ratio: Decimal | None,
        columns: Mapping[str, Columns] | None = None,
    ) -> None:
        self._builtin = builtin
        self._model_ratios = model_ratios
        self._completion_ratios = completion_ratios
        self._group_ratios = group_ratios
        self._default_ratio = default_ratio
        self._columns = columns or {}
        self._own_ratios = {model: own.input / 2 for model, own in self._columns.items()}
        self._own_completions = {
            model: ratio for model, own in self._columns.items() if (ratio := own.completion) is not None
        }
        self._remembered = lru_cache(maxsize=8192)(self._look_up)

    @classmethod
    def of(cls, builtin: BuiltinPrices, options: Options) -> PriceList:
        """The prices under these options."""
        return cls(
            builtin,
            model_ratios=options.model_ratio,
            completion_ratios=options.completion_ratio,
            group_ratios=options.group_ratio,
            default_ratio=options.ext_default_model_ratio,
            columns=options.ext_model_price,
        )

    def price(self, model: str, channel_type: int | None = None) -> Price | None:
        """What a model costs on channels of a type; None where it has no price and the operator refuses such models."""
        return self._remembered(model, channel_type)

    def group_ratio(self, group: str) -> Decimal:
        """The factor on all prices for a group of users; 1 for a group that has none."""
        return self._group_ratios.get(group, Decimal(1))

    def _look_up(self, model: str, channel_type: int | None) -> Price | None:
        names = _names(model, _SEARCHING_FOR_INPUT, channel_type)
        images = _first(names, self._builtin.images) or ImagePrice()
        completion = self._completion(model, channel_type)
        ratio = _first(names, self._model_ratios, self._own_ratios, self._builtin.model_ratios)
        if ratio is None:
            if self._default_ratio is None:
                return None
            return Price(input=self._default_ratio, completion=completion, images=images, is_default=True)
        own = _first(names, self._columns)
        standard = _first(names, self._builtin.model_ratios) if own is None else own.input / 2
        columns = own or _first(names, self._builtin.columns) or Columns(input=Decimal(1))
        return _price(columns, ratio, completion, ratio / standard if standard else Decimal(1), images)

    def _completion(self, model: str, channel_type: int | None) -> Decimal:
        names = _names(model, _SEARCHING_FOR_COMPLETION, channel_type)
        stated = _first(names, self._completion_ratios, self._own_completions, self._builtin.completion_ratios)
        if stated is not None:
            return stated
        name = names[-1]
        for rule in self._builtin.completion_rules:
            if rule.fits(name):
                return rule.ratio
        return self._builtin.completion_fallbacks.get(name, Decimal(1))


_Entry = TypeVar("_Entry")


def _names(model: str, searching: tuple[str, ...], channel_type: int | None) -> tuple[str, ...]:
    """The keys to look under, in order."""
    name = model.removesuffix(_SEARCHING) if model.startswith(searching) else model
    return (name,) if channel_type is None else (f"{name}({channel_type})", name)


def _first(names: tuple[str, ...], *tables: Mapping[str, _Entry]) -> _Entry | None:
    for name in names:
        for table in tables:
            if name in table:
                return table[name]
    return None


def _price(columns: Columns, ratio: Decimal, completion: Decimal, unit_scale: Decimal, images: ImagePrice) -> Price:
    """The columns scaled so that input costs `ratio`: an operator's surcharge applies to all of a model's prices."""

    def scaled(value: Decimal | None) -> Decimal | None:
        return None if value is None else (ratio * value / columns.input if columns.input else Decimal(0))

    above = []
    for threshold, tier in columns.above:
        of_tier = completion
        if tier.completion is not None and columns.completion:
            of_tier = completion * tier.completion / columns.completion
        above.append((threshold, _price(tier, scaled(tier.input) or Decimal(0), of_tier, unit_scale, images)))
    buckets: dict[str, Any] = {name: scaled(getattr(columns, name)) for name in BUCKETS}
    return Price(
        input=ratio,
        completion=completion,
        **buckets,
        per_unit={unit: usd * unit_scale for unit, usd in columns.per_unit.items()},
        images=images,
        unit_scale=unit_scale,
        above=tuple(above),
    )


def as_option(ratios: Ratios) -> str:
    """A table as the text of an option, as One API's settings pages show it: JSON, two blanks deep, sorted.

    Ratios that never end are written to 16 digits, which is what a reader of JSON makes of them anyway.
    """
    return json.dumps({name: _shortest(ratios[name]) for name in sorted(ratios)}, ensure_ascii=False, indent=2)


def _shortest(ratio: Decimal) -> float | int:
    return int(ratio) if ratio == int(ratio) else float(ratio)
