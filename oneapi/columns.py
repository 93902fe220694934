"""A model's prices side by side, as the built-in lists, public lists and option ExtModelPrice state them.

Prices are decimals of the digits that stand in a table; nothing here is a float.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from operator import itemgetter
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A model's prices in whatever currency, to be scaled to its ratio; `per_unit` is always USD.

    What is None is priced like plain input or output. `per_unit` is for one of what is not counted in tokens: images,
    seconds, characters, searches, search_units, calls. `above` holds the prices of long prompts: (a number of input
    tokens, the prices of whole requests that have more), longest last.
    """

    input: Decimal
    output: Decimal | None = None
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    reasoning: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    image_input: Decimal | None = None
    image_output: Decimal | None = None
    per_unit: Mapping[str, Decimal] = field(default_factory=dict)
    above: tuple[tuple[int, Columns], ...] = ()

    @property
    def completion(self) -> Decimal | None:
        """Output as a multiple of input; None where the columns do not say."""
        if self.output is None:
            return None
        return self.output / self.input if self.input else Decimal(1)

    def times(self, factor: Decimal) -> Columns:
        """All prices multiplied, save those by the unit."""
        scaled = {name: value * factor for name in _TOKENS if (value := getattr(self, name)) is not None}
        return replace(self, **scaled, above=tuple((tokens, tier.times(factor)) for tokens, tier in self.above))


_TOKENS = tuple(one.name for one in fields(Columns) if one.name not in ("per_unit", "above"))
BUCKETS = tuple(name for name in _TOKENS if name not in ("input", "output"))
_KNOWN = frozenset({*_TOKENS, "per_unit", "above"})


def parse_columns(entry: object) -> Columns:
    """One entry of a list in USD per million tokens, as in data/model_prices.json and option ExtModelPrice.

    {"input": 1.25, "output": 10, "cached": 0.125, "per_unit": {"searches": 0.01},
     "above": [{"input_tokens": 200000, "input": 2.5, "output": 15}]}

    Raises ValueError saying what is wrong.
    """
    entry = _object(entry, "must be an object of prices")
    if unknown := entry.keys() - _KNOWN:
        raise ValueError(f"has no column {min(unknown)}")
    if "input" not in entry:
        raise ValueError("has no price for input")
    columns = {name: parse_number(entry[name]) for name in _TOKENS if name in entry}
    if not columns["input"] and any(columns.values()):
        raise ValueError("has a free input, so that its other prices could not be scaled")
    per_unit = _object(entry.get("per_unit", {}), "must be an object of prices in per_unit")
    tiers = entry.get("above", [])
    if not isinstance(tiers, list):
        raise ValueError("must be a list in above")
    return Columns(
        **columns,
        per_unit={unit: parse_number(usd) for unit, usd in per_unit.items()},
        above=tuple(sorted(map(_parse_tier, tiers), key=itemgetter(0))),
    )


def parse_number(value: object) -> Decimal:
    """A price of the digits that stand there, or a fraction as text ("2.19/0.55") where the digits never end.

    Raises ValueError.
    """
    if isinstance(value, str):
        above, _, below = value.partition("/")
        try:
            number = Decimal(above) / Decimal(below or 1)
        except ArithmeticError:
            raise ValueError(f"must be a number, not {value!r}") from None
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
    else:
        raise ValueError(f"must be a number, not {value!r}")
    if not number.is_finite() or number < 0:
        raise ValueError("must be a number that is not negative")
    return in_proportion(number)


def in_proportion(number: Decimal) -> Decimal:
    """The number, when it may be a price or a length of time; beyond 10^±18 it is a slip of the finger.

    Raises ValueError.
    """
    if number and not -18 <= number.adjusted() <= 18:
        raise ValueError("is out of all proportion")
    return number


# ---- tables of models ----


def parse_price_table(text: str) -> Mapping[str, Columns]:
    """{model: columns} from JSON. Raises ValueError."""
    try:
        table = json.loads(text or "{}", parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"is not valid JSON: {error}") from None
    found: dict[str, Columns] = {}
    for model, entry in _object(table, "must be a JSON object of models and their prices").items():
        try:
            found[model] = parse_columns(entry)
        except ValueError as error:
            raise ValueError(f"has an entry for {model} that {error}") from None
    return MappingProxyType(found)


def render_price_table(table: Mapping[str, Columns]) -> str:
    """The table as `parse_price_table` reads it: JSON, a line for each model, sorted, with all digits."""
    return render_table({model: dict(_members(columns)) for model, columns in table.items()})


def render_table(table: Mapping[str, Any]) -> str:
    """A JSON object with a line for each entry, sorted, with all digits."""
    lines = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}: {to_json(table[name])}" for name in sorted(table))
    return f"{{\n{lines}\n}}" if lines else "{}"


def to_json(value: Any) -> str:
    """JSON in which decimals are numbers with all their digits: money is not made from floats."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Mapping):
        members = (f"{json.dumps(name, ensure_ascii=False)}: {to_json(item)}" for name, item in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def plain(number: Decimal) -> str:
    """The number as people write it: no exponent, no trailing zeros."""
    return f"{number.normalize():f}"


def short(number: Decimal | None) -> str:
    """To six digits that count, for people; a dash where there is none."""
    return "–" if number is None else plain(Decimal(f"{number:.6g}"))


def _members(columns: Columns) -> Iterator[tuple[str, Any]]:
    for name in _TOKENS:
        if (value := getattr(columns, name)) is not None:
            yield name, value
    if columns.per_unit:
        yield "per_unit", columns.per_unit
    if columns.above:
        yield "above", [{"input_tokens": Decimal(tokens), **dict(_members(tier))} for tokens, tier in columns.above]


def _parse_tier(tier: object) -> tuple[int, Columns]:
    prices = dict(_object(tier, "must be a list of objects in above"))
    tokens = parse_number(prices.pop("input_tokens", None))
    return int(tokens), parse_columns(prices)


def _object(value: object, otherwise: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(otherwise)
    return value
