"""Prices from a list: how they differ from those in force, and saving them in the operator's tables.

A list's price of input and output becomes a ModelRatio and a CompletionRatio, so that One API's own interface shows it
and a Go node bills it; what else the list prices stands in ExtModelPrice. What a list does not price stays as it is, in
proportion to input, save the prices by the unit, which stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlalchemy import Engine, select

from oneapi.columns import BUCKETS, Columns, render_price_table, render_table
from oneapi.models import Channel
from oneapi.options import Options
from oneapi.relay.pricelist import BuiltinPrices, Price, PriceList
from oneapi.services import settings
from oneapi.services.audit import Actor
from oneapi.services.publicprices import PublicList

_USD_A_MILLION = 2  # of tokens, at ratio 1
_SUSPICIOUS = 10  # times dearer or cheaper
_NOISE = Decimal("1e-12")  # of ratios that never end


@dataclass(frozen=True, slots=True)
class Cell:
    """One price, None where there is none: a ratio, or USD for a million tokens or one unit."""

    old: Decimal | None
    new: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What would change for a model, by column. `is_new`: it had no price. `doubts`: why it looks like a mistake."""

    model: str
    cells: Mapping[str, Cell]
    is_new: bool
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A list beside the prices in force.

    `compared` are the prices of the list that were looked at, `differences` those of them that are others. Of the
    models in use `unlisted` are those that the list does not know, `unpriced` those of them that have no price at all.
    `unusable` says why an entry is no price, `not_taken` which prices of the models compared there is no place for.
    """

    compared: Mapping[str, Columns]
    differences: list[Difference]
    unlisted: list[str]
    unpriced: list[str]
    unusable: Mapping[str, str]
    not_taken: list[str]


def compare(
    engine: Engine,
    listed: PublicList,
    options: Options,
    builtin: BuiltinPrices,
    *,
    fits: Callable[[str], bool] = lambda model: True,
    is_for_all: bool = False,
) -> Comparison:
    """The list beside the prices in force, as far as its models are in use, or all of them."""
    used = {model: types for model, types in models_in_use(engine).items() if fits(model)}

    def is_wanted(name: str) -> bool:
        return fits(name) and (is_for_all or named_type(name)[0] in used)

    compared = {name: columns for name, columns in listed.prices.items() if is_wanted(name)}
    unknown = used.keys() - {named_type(name)[0] for name in listed.prices}
    prices = PriceList.of(builtin, options)

    def is_unpriced(model: str) -> bool:
        found = [prices.price(model, channel_type) for channel_type in used[model]]
        return any(price is None or price.is_default for price in found)

    return Comparison(
        compared=compared,
        differences=differences(compared, options, builtin),
        unlisted=sorted(unknown - listed.unusable.keys()),
        unpriced=sorted(filter(is_unpriced, unknown)),
        unusable={name: why for name, why in sorted(listed.unusable.items()) if is_wanted(name)},
        not_taken=sorted({kind for name in compared for kind in listed.not_taken.get(name, ())}),
    )


def models_in_use(engine: Engine) -> dict[str, set[int]]:
    """The models that channels ask their providers for → the types of these channels."""
    found: dict[str, set[int]] = {}
    with engine.connect() as connection:
        for row in connection.execute(select(Channel.type, Channel.models, Channel.model_mapping)):
            for model in _asked_for(row.models or "", row.model_mapping or ""):
                found.setdefault(model, set()).add(row.type or 0)
    return found


def differences(listed: Mapping[str, Columns], options: Options, builtin: BuiltinPrices) -> list[Difference]:
    """The models whose price in the list is another than the one in force, in alphabetical order.

    A name may end in a channel type, as in all tables.
    """
    lists = PriceList.of(builtin, options), PriceList.of(builtin, _with(listed, options, builtin))
    found = (_difference(name, *(prices.price(*named_type(name)) for prices in lists)) for name in sorted(listed))
    return [difference for difference in found if difference is not None]


def save(engine: Engine, actor: Actor, listed: Mapping[str, Columns], builtin: BuiltinPrices, *, now: int) -> None:
    """Makes these the prices of their models. Raises Refusal for one that cannot be."""

    def change(stored: Options) -> Mapping[str, str]:
        before, after = _texts(stored), _texts(_with(listed, stored, builtin))
        return {key: text for key, text in after.items() if text != before[key]}

    settings.revise(engine, actor, change, now=now)


def named_type(name: str) -> tuple[str, int | None]:
    """The model and the channel type that an entry of a table is for: "llama3(33)" is ("llama3", 33)."""
    model, opened, channel_type = name.removesuffix(")").rpartition("(")
    if opened and name.endswith(")") and channel_type.isdecimal():
        return model, int(channel_type)
    return name, None


# ---- parts ----


def _asked_for(models: str, mapping_text: str) -> Iterator[str]:
    try:
        mapping = json.loads(mapping_text or "{}")
    except ValueError:
        mapping = {}
    for name in filter(None, map(str.strip, models.split(","))):
        target = mapping.get(name) if isinstance(mapping, dict) else None
        yield target if isinstance(target, str) and target else name


def _with(listed: Mapping[str, Columns], options: Options, builtin: BuiltinPrices) -> Options:
    """The options with these prices among the operator's."""
    ratios, completions = dict(options.model_ratio), dict(options.completion_ratio)
    own = dict(options.ext_model_price)
    for model, columns in listed.items():
        ratios[model] = columns.input / _USD_A_MILLION
        if columns.completion is not None:
            completions[model] = columns.completion
        base = own.get(model) or builtin.columns.get(model)
        if base is not None or model in builtin.images or _further(columns):
            own[model] = _over(base, columns) if base is not None and base.input else columns
    return replace(options, model_ratio=ratios, completion_ratio=completions, ext_model_price=own)


def _texts(options: Options) -> dict[str, str]:
    return {
        "ModelRatio": render_table(options.model_ratio),
        "CompletionRatio": render_table(options.completion_ratio),
        "ExtModelPrice": render_price_table(options.ext_model_price),
    }


def _further(columns: Columns) -> bool:
    return columns != Columns(input=columns.input, output=columns.output)


def _over(base: Columns, columns: Columns) -> Columns:
    """The columns, completed from the base in proportion to input."""
    completed = base.times(columns.input / base.input)
    stated = {name: value for name in ("output", *BUCKETS) if (value := getattr(columns, name)) is not None}
    return replace(
        completed,
        input=columns.input,
        **stated,
        per_unit={**base.per_unit, **columns.per_unit},
        above=columns.above or completed.above,
    )


def _difference(model: str, old: Price | None, new: Price | None) -> Difference | None:
    is_new = old is None or old.is_default
    before = dict(_cells(old)) if old is not None and not old.is_default else {}
    after = {} if new is None else dict(_cells(new))
    cells = {
        column: Cell(before.get(column), after.get(column))
        for column in dict.fromkeys((*after, *before))
        if not _same(before.get(column), after.get(column))
    }
    if not cells:
        return None
    return Difference(model=model, cells=cells, is_new=is_new, doubts=tuple(_doubts(cells, after)))


def _cells(price: Price, suffix: str = "") -> Iterator[tuple[str, Decimal]]:
    """Every price of a model: the two ratios, then USD."""
    if suffix:
        yield f"input{suffix}", price.input * _USD_A_MILLION
        yield f"output{suffix}", price.output * _USD_A_MILLION
    else:
        yield "ModelRatio", price.input
        yield "CompletionRatio", price.completion
    for name in BUCKETS:
        if (value := getattr(price, name)) is not None:
            yield f"{name}{suffix}", value * _USD_A_MILLION
    if not suffix:
        for unit, usd in price.per_unit.items():
            yield f"per_unit {unit}", usd
    for tokens, longer in price.above:
        yield from _cells(longer, f" above {tokens}")


def _same(old: Decimal | None, new: Decimal | None) -> bool:
    if old is None or new is None:
        return old is new
    return abs(old - new) <= _NOISE * max(old, new)


def _doubts(cells: Mapping[str, Cell], after: Mapping[str, Decimal]) -> Iterator[str]:
    is_by_unit = any(column.startswith("per_unit") and price for column, price in after.items())
    for column, cell in cells.items():
        if cell.new == 0 and not is_by_unit:
            yield f"{column} is 0"
        elif cell.old and cell.new and cell.new > cell.old * _SUSPICIOUS:
            yield f"{column} more than {_SUSPICIOUS} times dearer"
        elif cell.old and cell.new and cell.new * _SUSPICIOUS < cell.old:
            yield f"{column} more than {_SUSPICIOUS} times cheaper"
