"""Prices of a list beside those in force: what differs, what looks like a mistake, what is saved."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from oneapi.columns import Columns, parse_columns, plain
from oneapi.options import Options
from oneapi.relay.pricelist import BuiltinPrices, ImagePrice
from oneapi.services.prices import Difference, differences

BUILTIN = BuiltinPrices(
    model_ratios={
        "plain": Decimal(1),
        "rich": Decimal(2),
        "long": Decimal(1),
        "here": Decimal(1),
        "here(33)": Decimal(3),
    },
    completion_ratios={"plain": Decimal(4), "rich": Decimal(3), "long": Decimal(2)},
    columns={
        "rich": Columns(
            input=Decimal(4), cached=Decimal(1), cache_write=Decimal(5), per_unit={"searches": Decimal("0.01")}
        ),
        "long": Columns(
            input=Decimal(2), output=Decimal(4), above=((200000, Columns(input=Decimal(4), output=Decimal(6))),)
        ),
    },
    images={"painter": ImagePrice(usd={"1024x1024": {"high": Decimal("0.2")}})},
)


def columns(**prices: Any) -> Columns:
    return parse_columns(json.loads(json.dumps(prices), parse_float=Decimal))


def compared(listed: dict[str, Columns], **options: Any) -> list[Difference]:
    return differences(listed, Options(**options), BUILTIN)


def changed(name: str, entry: Columns, **options: Any) -> dict[str, tuple[str, str]]:
    """Column → (old, new) of the one model."""
    [difference] = compared({name: entry}, **options)
    assert difference.model == name
    return {column: (_text(cell.old), _text(cell.new)) for column, cell in difference.cells.items()}


def _text(price: Decimal | None) -> str:
    return "" if price is None else plain(price)


def test_a_price_that_is_the_same_is_no_difference() -> None:
    listed = {
        "plain": columns(input=2, output=8),
        "rich": columns(input=4, output=12, cached=1),
        "long": columns(input=2, output=4),
        "here(33)": columns(input=6),
    }
    assert compared(listed) == []


def test_ratios_that_never_end_are_the_same_as_themselves() -> None:
    completion_ratio = {"plain": Decimal(7) / Decimal(3)}
    assert compared({"plain": columns(input=3, output=7)}, completion_ratio=completion_ratio) != []
    same = {"model_ratio": {"plain": Decimal("1.5")}, "completion_ratio": {"plain": Decimal("2.333333333333333")}}
    assert compared({"plain": columns(input=3, output=7)}, **same) == []


def test_ratios_and_columns_that_differ_are_shown() -> None:
    assert changed("plain", columns(input=3, output=6)) == {"ModelRatio": ("1", "1.5"), "CompletionRatio": ("4", "2")}
    assert changed("plain", columns(input=2, cached=0.5)) == {"cached": ("", "0.5")}
    assert changed("here(33)", columns(input=8)) == {"ModelRatio": ("3", "4")}


def test_what_the_list_does_not_price_follows_input_save_prices_by_the_unit() -> None:
    assert changed("rich", columns(input=8, output=24, cached=3)) == {
        "ModelRatio": ("2", "4"),
        "cached": ("1", "3"),
        "cache_write": ("5", "10"),
    }
    assert changed("rich", columns(input=8)) == {
        "ModelRatio": ("2", "4"),
        "cached": ("1", "2"),
        "cache_write": ("5", "10"),
    }
    assert changed("rich", columns(input=4, per_unit={"searches": 0.02})) == {"per_unit searches": ("0.01", "0.02")}


def test_long_prompts_follow_or_have_the_lists_own_prices() -> None:
    assert changed("long", columns(input=4, output=8))["input above 200000"] == ("4", "8")
    tier = {"input_tokens": 100000, "input": 5, "output": 9}
    assert changed("long", columns(input=2, output=4, above=[tier])) == {
        "input above 100000": ("", "5"),
        "output above 100000": ("", "9"),
        "input above 200000": ("4", ""),
        "output above 200000": ("6", ""),
    }


def test_a_model_without_a_price_is_new_whatever_the_default() -> None:
    for default in (Decimal(30), None):
        [difference] = compared({"new": columns(input=2, output=6)}, ext_default_model_ratio=default)
        assert difference.is_new
        assert {column: cell.old for column, cell in difference.cells.items()} == {
            "ModelRatio": None,
            "CompletionRatio": None,
        }
        assert difference.doubts == ()


@pytest.mark.parametrize(
    ("name", "entry", "doubts"),
    [
        ("plain", {"input": 21, "output": 84}, ("ModelRatio more than 10 times dearer",)),
        ("plain", {"input": 0.19}, ("ModelRatio more than 10 times cheaper",)),
        ("plain", {"input": 20}, ()),
        ("plain", {"input": 0, "output": 0}, ("ModelRatio is 0",)),
        ("plain", {"input": 2, "output": 0}, ("CompletionRatio is 0",)),
        ("rich", {"input": 4, "cached": 0.05}, ("cached more than 10 times cheaper",)),
        ("new", {"input": 0, "output": 0}, ("ModelRatio is 0",)),
        ("new", {"input": 0, "per_unit": {"images": 0.04}}, ()),
    ],
)
def test_what_looks_like_a_mistake_is_said(name: str, entry: dict[str, Any], doubts: tuple[str, ...]) -> None:
    [difference] = compared({name: columns(**entry)})
    assert difference.doubts == doubts
