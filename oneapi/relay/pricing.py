"""What a request may cost, and what an answer did cost: Decimal inside, whole quota out.

`estimate` gives the hold, `bill` the cost with the lines it is made of, and `recompute` the quota that a stored receipt
implies.

Source: One API's formulas, spec relay.md §4.3–4.5 and §10.3, kept so that bills agree to the unit, with these of its
defects mended (§9.3): decimals carry no noise of floats; a hold covers max_completion_tokens, n and the dearer output;
cached, written, audio and image tokens cost their own price where the list knows one; speech is priced by characters,
not bytes; transcription by seconds or the provider's tokens; images by what came back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Literal

from oneapi.relay import ir
from oneapi.relay.head import Head
from oneapi.relay.pricelist import Price, PriceList
from oneapi.relay.records import record

__all__ = ["QUOTA_PER_USD", "Bill", "Line", "Price", "PriceList", "bill", "estimate", "recompute"]

QUOTA_PER_USD = 500_000

Rounding = Literal["up", "down", "each down"]
Count = int | Decimal

_IMAGE_QUOTA = 1000  # of one image at ratio 1
_SECOND_QUOTA = Decimal(10) / 3  # of a second of speech understood, at ratio 1: whisper-1's 15 is $0.006 a minute
# Ratios that never end, such as 2.19/0.55, are cut somewhere. What a bill has below a billionth is their noise.
_NOISE = Decimal("1e-9")
_WIDE = Context(prec=80)
_MAX_COUNT = 10**12  # of tokens or units in one answer; a provider that says more is mistaken
_MAX_QUOTA = 10**18  # beyond it the database cannot add


@record()
class Line:
    """`count` of something, at `ratio` quota each, before the group's ratio."""

    of: str
    count: Count
    ratio: Decimal


@record(kw_only=True)
class Bill:
    """A cost and how it came about. `minimum` is what it was raised to where it would have been less."""

    quota: int
    lines: tuple[Line, ...]
    group_ratio: Decimal
    rounding: Rounding
    minimum: int
    usage: ir.Usage | None = None
    is_default_price: bool = False

    def receipt(self) -> dict[str, Any]:
        """The bill as JSON, for its log row: `recompute` gives the same quota from it."""
        receipt: dict[str, Any] = {
            "quota": self.quota,
            "lines": [{"of": line.of, "count": _plain(line.count), "ratio": str(line.ratio)} for line in self.lines],
            "group_ratio": str(self.group_ratio),
            "rounding": self.rounding,
            "minimum": self.minimum,
        }
        if self.is_default_price:
            receipt["is_default_price"] = True
        if self.usage is not None:
            receipt["usage"] = _told(self.usage)
        return receipt


def estimate(head: Head, input_tokens: int, price: Price, group_ratio: Decimal, pre_consumed_quota: int) -> int:
    """Quota to hold for a request: the bill of what it may use at the most, as far as that can be known.

    For text (PreConsumedQuota + input + maximal output x completion ratio x n) x ratio; where the client states no
    maximum, without the output.
    """
    if (expected := _expected(head, input_tokens, pre_consumed_quota)) is not None:
        return bill(head, expected, price, group_ratio).quota
    given = pre_consumed_quota + input_tokens
    made = (head.max_output_tokens or 0) * max(1, head.n)
    price = price.at(given)
    tokens = (Line("input", given, price.input), Line("output", made, price.output))
    lines = tokens + _units({"calls": 1}, price)
    return _whole(lines, group_ratio, "up", 1 if price.input > 0 and group_ratio > 0 else 0)


def bill(head: Head, usage: ir.Usage | None, price: Price, group_ratio: Decimal) -> Bill:
    """What an answer costs: rounded up, at least 1 when anything was used at a price above 0.

    `usage` is None where neither the provider nor a count of ours says anything; then the request itself decides for
    speech, images and calls, and anything else costs nothing. Speech by the character and images are rounded down, as
    One API does.
    """
    lines, rounding = _lines(head, usage or _NO_USAGE, price)
    is_priced = group_ratio > 0 and (price.input > 0 or any(line.ratio > 0 for line in lines))
    minimum = 1 if lines and is_priced else 0
    return Bill(
        quota=_whole(lines, group_ratio, rounding, minimum),
        lines=lines,
        group_ratio=group_ratio,
        rounding=rounding,
        minimum=minimum,
        usage=usage,
        is_default_price=price.is_default,
    )


def recompute(receipt: Mapping[str, Any]) -> int:
    """The quota that a log row's receipt implies. Raises ValueError where it is not a receipt of ours."""
    try:
        lines = tuple(Line(line["of"], Decimal(line["count"]), Decimal(line["ratio"])) for line in receipt["lines"])
        return _whole(lines, Decimal(receipt["group_ratio"]), receipt["rounding"], receipt["minimum"])
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"The receipt cannot be read: {error!r}.") from error


# ---- what is counted ----

_NO_USAGE = ir.Usage()


def _expected(head: Head, input_tokens: int, pre_consumed_quota: int) -> ir.Usage | None:
    """What a request other than for text will use; None for text."""
    match head.mode:
        case "images" | "image_edits" | "image_variations":
            return ir.Usage(input_tokens=input_tokens, units={"images": head.image_count})
        case "transcription" | "translation":
            return ir.Usage(input_tokens=pre_consumed_quota)
        case "speech" | "proxy":
            return _NO_USAGE
        case "rerank":
            return ir.Usage(input_tokens=pre_consumed_quota + input_tokens)
        case _:
            return None


def _lines(head: Head, usage: ir.Usage, price: Price) -> tuple[tuple[Line, ...], Rounding]:
    match head.mode:
        case "speech":
            return _speech(head, usage, price)
        case "transcription" | "translation":
            return _transcription(head, usage, price), "up"
        case "images" | "image_edits" | "image_variations":
            return _images(head, usage, price)
        case "rerank" if "search_units" in price.per_unit:
            return _units({"search_units": 1, **usage.units}, price), "up"
        case "proxy":
            return _units({"calls": 1}, price), "up"
        case _:
            lines = _tokens(usage, price)
            if not price.per_unit or not (lines or usage.units):
                return lines, "up"
            return lines + _units({"calls": 1, **usage.units}, price), "up"


def _tokens(usage: ir.Usage, price: Price) -> tuple[Line, ...]:
    """Each bucket that the provider reported and the list has a price for; what remains is plain input or output."""
    if price.above:
        price = price.at(usage.input_tokens)
    long_lived = 0 if price.cache_write_1h is None else usage.cache_write_1h_tokens or 0
    incoming = _split(
        "input",
        usage.input_tokens,
        price.input,
        (
            ("cached", usage.cached_tokens, price.cached),
            ("cache_write_1h", long_lived, price.cache_write_1h),
            ("cache_write", (usage.cache_write_tokens or 0) - long_lived, price.cache_write),
            ("audio_input", usage.audio_input_tokens, price.audio_input),
            ("image_input", usage.image_input_tokens, price.image_input),
        ),
    )
    outgoing = _split(
        "output",
        usage.output_tokens,
        price.output,
        (
            ("reasoning", usage.reasoning_tokens, price.reasoning),
            ("audio_output", usage.audio_output_tokens, price.audio_output),
            ("image_output", usage.image_output_tokens, price.image_output),
        ),
    )
    return (*incoming, *outgoing)


def _split(
    rest: str, total: int, ratio: Decimal, buckets: tuple[tuple[str, int | None, Decimal | None], ...]
) -> Iterator[Line]:
    """No token is billed twice, whatever the provider's buckets add up to."""
    left = min(max(0, total), _MAX_COUNT)
    for name, tokens, price in buckets:
        if tokens and price is not None and (count := min(max(0, tokens), left)):
            left -= count
            yield Line(name, count, price)
    if left:
        yield Line(rest, left, ratio)


def _units(units: Mapping[str, float], price: Price) -> tuple[Line, ...]:
    return tuple(
        Line(unit, count, price.per_unit[unit] * QUOTA_PER_USD)
        for unit, amount in units.items()
        if unit in price.per_unit and (count := _amount(amount))
    )


def _speech(head: Head, usage: ir.Usage, price: Price) -> tuple[tuple[Line, ...], Rounding]:
    """By tokens where the model is priced so and the provider tells; else by characters, at the ratio each."""
    if usage.total_tokens and price.audio_output is not None:
        # Everything such a model puts out is sound, whether or not the provider says so again.
        return _tokens(replace(usage, audio_output_tokens=usage.output_tokens), price), "up"
    if "characters" in price.per_unit:
        return _units({"characters": head.characters}, price), "up"
    count = _amount(head.characters)
    return ((Line("characters", count, price.input),) if count else ()), "down"


def _transcription(head: Head, usage: ir.Usage, price: Price) -> tuple[Line, ...]:
    """By the provider's tokens where the model is priced so, else by seconds. Where nobody knows how long the recording
    is, as One API does: one quota for each token of the text."""
    is_told = usage.total_tokens > 0 and not usage.is_counted_here
    if is_told and price.audio_input is not None:
        return _tokens(usage, price)
    if count := _amount(usage.units.get("seconds") or head.audio_seconds):
        usd = price.per_unit.get("seconds")
        return (Line("seconds", count, price.input * _SECOND_QUOTA if usd is None else usd * QUOTA_PER_USD),)
    if is_told:
        return _tokens(usage, price)
    count = _amount(usage.output_tokens)
    return (Line("output", count, Decimal(1 if price.input else 0)),) if count else ()


def _images(head: Head, usage: ir.Usage, price: Price) -> tuple[tuple[Line, ...], Rounding]:
    """By tokens where the model is priced so and the provider tells; else by the image, with what its size and quality
    make of the price."""
    if price.image_output is not None and usage.output_tokens and not usage.is_counted_here:
        return _tokens(replace(usage, image_output_tokens=usage.output_tokens), price), "up"
    count = _amount(usage.units.get("images", head.image_count))
    if not count:
        return (), "up"
    if price.images.usd:
        usd = price.images.dearest_usd(head.image_size, head.image_quality) * price.unit_scale
        return (Line("images", count, usd * QUOTA_PER_USD), *_tokens(usage, price)), "up"
    if "images" in price.per_unit:
        return (Line("images", count, price.per_unit["images"] * QUOTA_PER_USD),), "up"
    factor = price.images.factor(head.image_size, head.image_quality)
    return (Line("images", count, price.input * factor * _IMAGE_QUOTA),), "each down"


def _amount(value: float) -> Count:
    """A number of units that can be billed; 0 for what is none."""
    if not math.isfinite(value) or value <= 0:
        return 0
    return min(int(value) if value == int(value) else Decimal(str(value)), _MAX_COUNT)


# ---- whole quota ----


def _whole(lines: tuple[Line, ...], group_ratio: Decimal, rounding: Rounding, minimum: int) -> int:
    if rounding == "each down":
        quota = sum(int(_rounded(line.ratio * group_ratio, ROUND_FLOOR) * line.count) for line in lines)
    else:
        amount = sum((line.count * line.ratio for line in lines), Decimal(0)) * group_ratio
        quota = int(_rounded(amount, ROUND_CEILING if rounding == "up" else ROUND_FLOOR))
    return min(max(quota, minimum), _MAX_QUOTA)


def _rounded(amount: Decimal, rounding: str) -> Decimal:
    return amount.quantize(_NOISE, context=_WIDE).to_integral_value(rounding)


def _plain(count: Count) -> int | str:
    return count if isinstance(count, int) else str(count)


def _told(usage: ir.Usage) -> Mapping[str, Any]:
    """The provider's own words, or our count."""
    if usage.raw is not None:
        return usage.raw
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "is_counted_here": usage.is_counted_here,
    }
