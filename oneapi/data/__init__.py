"""Lists that come with the program, as JSON: data, never code. Each entry has the source and date of its block.

This file only reads the price lists; what they mean is relay/pricelist.py's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from oneapi.columns import Columns, parse_columns, parse_number
from oneapi.relay.pricelist import BuiltinPrices, CompletionRule, ImagePrice, as_option

_HERE = Path(__file__).parent


@cache
def load_prices() -> BuiltinPrices:
    """The built-in price lists; read once."""
    ratios = _read("model_ratios.json")
    completion = _read("completion_ratios.json")
    columns = {
        name: _in_usd(parse_columns(entry), factor) for name, entry, factor in _entries(_read("model_prices.json"))
    }
    model_ratios = {name: parse_number(value) * factor for name, value, factor in _entries(ratios)}
    unknown = {name: priced for name, priced in columns.items() if name not in model_ratios}
    return BuiltinPrices(
        model_ratios={**model_ratios, **{name: priced.input / 2 for name, priced in unknown.items()}},
        completion_ratios={**_completions(unknown), **_numbers(completion["entries"])},
        completion_rules=tuple(
            CompletionRule(**{**rule, "ratio": parse_number(rule["ratio"])}) for rule in completion["rules"]
        ),
        completion_fallbacks=_numbers(completion["fallbacks"]),
        columns=columns,
        images={name: _image_price(entry) for name, entry, _ in _entries(_read("image_ratios.json"))},
    )


def price_option_texts() -> dict[str, str]:
    """What One API's settings pages show of price options that were never saved: the built-in tables."""
    prices = load_prices()
    return {"ModelRatio": as_option(prices.model_ratios), "CompletionRatio": as_option(prices.completion_ratios)}


def _read(name: str) -> dict[str, Any]:
    text = (_HERE / name).read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return parsed


def _entries(listed: dict[str, Any]) -> list[tuple[str, Any, Decimal]]:
    """Name, value and the block's factor of each entry."""
    return [
        (name, value, Decimal(block.get("factor", 1)))
        for block in listed["blocks"]
        for name, value in block["entries"].items()
    ]


def _in_usd(columns: Columns, factor: Decimal) -> Columns:
    per_unit = {unit: price * factor for unit, price in columns.per_unit.items()}
    return replace(columns.times(factor), per_unit=per_unit)


def _completions(columns: Mapping[str, Columns]) -> dict[str, Decimal]:
    return {name: ratio for name, priced in columns.items() if (ratio := priced.completion) is not None}


def _numbers(table: Mapping[str, Any]) -> dict[str, Decimal]:
    return {name: parse_number(value) for name, value in table.items()}


def _image_price(entry: Mapping[str, Any]) -> ImagePrice:
    return ImagePrice(
        sizes=_numbers(entry.get("sizes", {})),
        hd=_numbers(entry.get("hd", {})),
        usd={size: _numbers(by_quality) for size, by_quality in entry.get("usd", {}).items()},
    )
