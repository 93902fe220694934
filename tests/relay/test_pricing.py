"""Bills: One API's formulas to the unit, its defects mended, and laws that hold for any usage."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.data import load_prices
from oneapi.relay import ir
from oneapi.relay.adaptor import Mode
from oneapi.relay.head import Head
from oneapi.relay.pricelist import ImagePrice
from oneapi.relay.pricing import Bill, Price, PriceList, bill, estimate, recompute

ONE_API = json.loads((Path(__file__).parents[1] / "data" / "one_api_prices.json").read_text())
PRICES = PriceList(load_prices(), model_ratios={}, completion_ratios={}, group_ratios={}, default_ratio=Decimal(30))
ONE = Decimal(1)
CHAT = Head(mode="chat", model="m")


def price_of(model: str, channel_type: int = 1) -> Price:
    price = PRICES.price(model, channel_type)
    assert price is not None
    return price


def cost(
    model: str, given_tokens: int, made_tokens: int, *, group: str = "1", channel_type: int = 1, **buckets: Any
) -> int:
    usage = ir.Usage(input_tokens=given_tokens, output_tokens=made_tokens, **buckets)
    return bill(CHAT, usage, price_of(model, channel_type), Decimal(group)).quota


# ---- the specification's vectors ----


@pytest.mark.parametrize(
    ("model", "given_tokens", "made_tokens", "channel_type", "group", "expected"),
    [
        ("gpt-4o", 1000, 500, 1, "1", 7500),
        ("gpt-4o-mini", 1, 1, 1, "1", 1),
        ("no-such-model", 10, 10, 1, "1", 600),
        ("claude-3-5-sonnet-20241022", 2000, 1000, 14, "0.8", 8400),
        ("ERNIE-4.0-8K", 100, 0, 15, "1", 852),
        ("llama3-8b-8192", 1000, 1000, 33, "1", 450),
        ("glm-4-flash", 1000, 1000, 16, "1", 0),
        ("gpt-3.5-turbo", 0, 0, 1, "1", 0),
        ("deepl-zh", 5, 0, 38, "1", 63),
        ("whisper-1", 0, 10, 1, "1", 1),
        ("gpt-4o", 1000, 500, 1, "0", 0),
    ],
)
def test_text_vectors(
    model: str, given_tokens: int, made_tokens: int, channel_type: int, group: str, expected: int
) -> None:
    assert cost(model, given_tokens, made_tokens, channel_type=channel_type, group=group) == expected


def test_groqs_price_is_not_a_thousandth_of_what_it_was() -> None:
    # One API bills this at ratio 0.000025; completion 2 stays.
    assert cost("llama3-8b-8192", 1000, 1000, channel_type=29) == 75


@pytest.mark.parametrize("example", ONE_API["images"], ids=lambda e: f"{e['model']} {e['size']} {e.get('quality')}")
def test_image_vectors(example: dict[str, Any]) -> None:
    head = Head(
        mode="images",
        model=example["model"],
        image_size=example["size"],
        image_quality=example.get("quality", ""),
        image_count=example["n"],
    )
    price, group_ratio = price_of(example["model"]), Decimal(example.get("group_ratio", 1))
    usage = ir.Usage(units={"images": example["n"]})
    assert bill(head, usage, price, group_ratio).quota == example["quota"]
    assert estimate(head, 20, price, group_ratio, 500) == example["quota"]


@pytest.mark.parametrize(("text", "expected"), [("hello", 37), ("你好", 15), ("a", 7), ("", 0)])
def test_speech_costs_by_the_character(text: str, expected: int) -> None:
    head = Head(mode="speech", model="tts-1", characters=len(text))
    assert bill(head, None, price_of("tts-1"), ONE).quota == expected
    assert estimate(head, 100, price_of("tts-1"), ONE, 500) == expected


def test_a_transcription_of_unknown_length_costs_one_for_each_token_of_its_text() -> None:
    usage = ir.Usage(output_tokens=37, is_counted_here=True)
    assert bill(Head(mode="transcription", model="whisper-1"), usage, price_of("whisper-1"), ONE).quota == 37


# ---- holds ----


@pytest.mark.parametrize(
    ("head", "input_tokens", "expected"),
    [
        (replace(CHAT, model="gpt-3.5-turbo"), 8, 127),
        (replace(CHAT, model="gpt-3.5-turbo", max_output_tokens=100), 8, 202),
        (replace(CHAT, model="gpt-3.5-turbo", max_output_tokens=100, n=3), 8, 352),
        (Head(mode="embeddings", model="text-embedding-3-small"), 1000, 15),
        (Head(mode="rerank", model="no-such-model"), 10, 15300),
        (Head(mode="transcription", model="whisper-1", input_bytes=10**7), 4_500_000, 7500),
        (Head(mode="transcription", model="whisper-1", audio_seconds=600), 4_500_000, 30000),
        (Head(mode="proxy", model=""), 10**6, 0),
    ],
)
def test_what_is_held(head: Head, input_tokens: int, expected: int) -> None:
    assert estimate(head, input_tokens, price_of(head.model), ONE, 500) == expected


def test_nothing_is_held_for_a_free_model_or_group() -> None:
    head = replace(CHAT, max_output_tokens=10**6)
    assert estimate(head, 10**6, price_of("glm-4-flash"), ONE, 500) == 0
    assert estimate(head, 10**6, price_of("gpt-4o"), Decimal(0), 500) == 0


@given(
    st.sampled_from(["gpt-4o", "gpt-5", "claude-sonnet-4-5", "gemini-2.5-pro", "deepseek-reasoner", "no-such-model"]),
    st.integers(0, 10**6),
    st.integers(1, 10**5),
    st.integers(1, 4),
    st.sampled_from(["0", "0.35", "0.8", "1", "2"]),
)
def test_a_stated_maximum_is_held_for_in_whole(model: str, given_tokens: int, maximum: int, n: int, group: str) -> None:
    head = replace(CHAT, max_output_tokens=maximum, n=n)
    held = estimate(head, given_tokens, price_of(model), Decimal(group), 0)
    assert held >= cost(model, given_tokens, maximum * n, group=group)


# ---- buckets ----


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ({}, 3000 + 1500),
        ({"cached_tokens": 1000}, 1500 + 150 + 1500),
        ({"cached_tokens": 0}, 3000 + 1500),
        ({"cache_write_tokens": 1000}, 1500 + 1875 + 1500),
        ({"cache_write_tokens": 1000, "cache_write_1h_tokens": 400}, 1500 + 1125 + 1200 + 1500),
        ({"cached_tokens": 500, "cache_write_tokens": 1500}, 75 + 2813 + 1500),
        ({"reasoning_tokens": 100}, 3000 + 1500),
    ],
)
def test_claudes_cache_has_prices_of_its_own(buckets: dict[str, Any], expected: int) -> None:
    assert cost("claude-sonnet-4-5", 2000, 200, **buckets) == expected


def test_audio_has_a_price_of_its_own_in_and_out() -> None:
    tokens = cost("gpt-4o-audio-preview", 1000, 1000, audio_input_tokens=400, audio_output_tokens=600)
    assert tokens == (600 * 2.5 + 400 * 40 + 400 * 10 + 600 * 80) / 2


def test_a_bucket_without_a_price_costs_what_plain_tokens_cost() -> None:
    assert cost("gpt-4-turbo", 1000, 10, cached_tokens=900, audio_input_tokens=100) == cost("gpt-4-turbo", 1000, 10)


def test_buckets_beyond_the_total_are_not_billed_twice() -> None:
    price = Price(input=ONE, cached=Decimal("0.5"), audio_input=Decimal(10))
    usage = ir.Usage(input_tokens=100, cached_tokens=80, audio_input_tokens=80)
    assert bill(CHAT, usage, price, ONE).quota == 80 * 0.5 + 20 * 10


def test_a_long_prompt_makes_the_whole_request_dearer() -> None:
    assert cost("gemini-2.5-pro", 200_000, 1000) == 200_000 * 0.625 + 1000 * 5
    assert cost("gemini-2.5-pro", 200_001, 1000) == ceil(200_001 * 1.25) + 1000 * 7.5
    assert cost("gemini-2.5-pro", 300_000, 0, cached_tokens=100_000) == 200_000 * 1.25 + 100_000 * 0.125


def test_units_are_added_to_tokens() -> None:
    usage = ir.Usage(input_tokens=1000, output_tokens=100, units={"searches": 2, "unheard_of": 5})
    assert bill(CHAT, usage, price_of("claude-sonnet-4-5"), ONE).quota == 1500 + 750 + 2 * 5000


# ---- other modes ----


def whisper(**known: Any) -> int:
    head = Head(mode="transcription", model="whisper-1", audio_seconds=known.pop("audio_seconds", 0.0))
    return bill(head, ir.Usage(**known), price_of("whisper-1"), ONE).quota


def test_whisper_costs_six_tenths_of_a_cent_a_minute() -> None:
    assert whisper(units={"seconds": 60}) == 3000
    assert whisper(units={"seconds": 8.47}) == ceil(8.47 * 50)
    assert whisper(audio_seconds=60.0, output_tokens=37, is_counted_here=True) == 3000


def test_a_transcription_ratio_has_an_effect() -> None:
    prices = PriceList(
        load_prices(),
        model_ratios={"whisper-1": Decimal(30)},
        completion_ratios={},
        group_ratios={},
        default_ratio=None,
    )
    price = prices.price("whisper-1")
    assert price is not None
    usage = ir.Usage(units={"seconds": 60})
    assert bill(Head(mode="transcription", model="whisper-1"), usage, price, ONE).quota == 6000


def test_a_model_without_a_price_by_the_second_is_priced_like_whisper_in_proportion() -> None:
    usage = ir.Usage(units={"seconds": 60})
    price = Price(input=Decimal("7.5"))
    assert bill(Head(mode="transcription", model="m"), usage, price, ONE).quota == 1500


def test_a_transcription_priced_by_tokens_costs_what_the_provider_counted() -> None:
    usage = ir.Usage(input_tokens=1000, output_tokens=100, audio_input_tokens=990, units={"seconds": 60})
    price = price_of("gpt-4o-transcribe")
    assert bill(Head(mode="transcription", model="gpt-4o-transcribe"), usage, price, ONE).quota == 1250 + 500


def test_images_cost_by_what_came_back() -> None:
    head = Head(mode="images", model="dall-e-2", image_size="512x512", image_count=4)
    assert bill(head, ir.Usage(units={"images": 3}), price_of("dall-e-2"), ONE).quota == 11250 * 3
    assert bill(head, ir.Usage(units={"images": 0}), price_of("dall-e-2"), ONE).quota == 0


def test_each_image_is_rounded_down_as_one_api_does() -> None:
    head = Head(mode="images", model="m", image_count=3)
    price = Price(input=Decimal("0.0017"), images=ImagePrice())
    assert bill(head, None, price, ONE).quota == 3


GPT_IMAGE = Head(mode="images", model="gpt-image-1", image_size="1024x1024", image_quality="high", image_count=2)


def test_gpt_image_costs_by_its_tokens() -> None:
    usage = ir.Usage(input_tokens=50, image_input_tokens=0, output_tokens=8320, units={"images": 2})
    assert bill(GPT_IMAGE, usage, price_of("gpt-image-1"), ONE).quota == 50 * 2.5 + 8320 * 20


def test_gpt_image_costs_by_the_image_where_no_tokens_are_reported() -> None:
    assert bill(GPT_IMAGE, ir.Usage(units={"images": 2}), price_of("gpt-image-1"), ONE).quota == 2 * 0.167 * 500_000


def test_a_hold_for_gpt_image_takes_the_dearest_quality_where_the_model_chooses() -> None:
    chosen = replace(GPT_IMAGE, image_size="auto", image_quality="auto", image_count=1)
    assert estimate(chosen, 40, price_of("gpt-image-1"), ONE, 500) == 0.25 * 500_000 + 40 * 2.5


def test_speech_priced_by_tokens_costs_by_tokens_or_else_by_characters() -> None:
    head = Head(mode="speech", model="gpt-4o-mini-tts", characters=1000)
    price = price_of("gpt-4o-mini-tts")
    assert bill(head, ir.Usage(input_tokens=250, output_tokens=1280), price, ONE).quota == 75 + 7680
    assert bill(head, None, price, ONE).quota == 7700


def test_reranking_costs_by_the_search_where_the_model_is_priced_so() -> None:
    head = Head(mode="rerank", model="m")
    price = Price(input=Decimal(0), per_unit={"search_units": Decimal("0.002")})
    assert bill(head, ir.Usage(units={"search_units": 3}), price, ONE).quota == 3000
    assert bill(head, None, price, ONE).quota == 1000
    assert bill(head, ir.Usage(input_tokens=100), Price(input=Decimal(2)), ONE).quota == 200


def test_the_raw_proxy_costs_by_the_call_or_nothing() -> None:
    head = Head(mode="proxy", model="")
    usage = ir.Usage(input_tokens=1000)
    assert bill(head, usage, Price(input=Decimal(30)), ONE).quota == 0
    assert bill(head, usage, Price(input=Decimal(0), per_unit={"calls": Decimal("0.01")}), ONE).quota == 5000


def test_a_price_by_the_call_is_added_to_that_of_the_tokens() -> None:
    price = Price(input=ONE, completion=Decimal(2), per_unit={"calls": Decimal("0.001"), "searches": Decimal("0.01")})
    assert bill(CHAT, ir.Usage(input_tokens=10, output_tokens=5), price, Decimal(2)).quota == 2 * (20 + 500)
    assert bill(CHAT, ir.Usage(units={"searches": 1}), price, ONE).quota == 5500
    assert bill(CHAT, None, price, ONE).quota == 0
    assert estimate(Head(mode="chat", model="m", max_output_tokens=5), 10, price, ONE, 0) == 20 + 500


# ---- laws ----

MODES: list[Mode] = ["chat", "completions", "embeddings", "moderations", "rerank", "transcription", "speech", "images"]
RATIOS = st.decimals(0, 100, places=6)
TOKENS = st.integers(0, 10**7)
MAYBE = st.none() | TOKENS
USAGES = st.builds(
    ir.Usage,
    input_tokens=TOKENS,
    output_tokens=TOKENS,
    cached_tokens=MAYBE,
    cache_write_tokens=MAYBE,
    cache_write_1h_tokens=MAYBE,
    reasoning_tokens=MAYBE,
    audio_input_tokens=MAYBE,
    audio_output_tokens=MAYBE,
    image_input_tokens=MAYBE,
    image_output_tokens=MAYBE,
    units=st.dictionaries(st.sampled_from(["searches", "seconds", "images"]), st.floats(0, 1e6), max_size=2),
    is_counted_here=st.booleans(),
)
COLUMN = st.none() | RATIOS
ALL_PRICES = st.builds(
    Price,
    input=RATIOS,
    completion=st.decimals(0, 20, places=3),
    cached=COLUMN,
    cache_write=COLUMN,
    cache_write_1h=COLUMN,
    reasoning=COLUMN,
    audio_input=COLUMN,
    audio_output=COLUMN,
    image_output=COLUMN,
    per_unit=st.dictionaries(st.sampled_from(["searches", "seconds", "images"]), RATIOS, max_size=2),
)
GROUPS = st.decimals(0, 10, places=3)


@given(st.sampled_from(MODES), USAGES, ALL_PRICES, GROUPS)
def test_a_receipt_gives_the_same_quota_again_after_a_trip_through_json(
    mode: Mode, usage: ir.Usage, price: Price, group_ratio: Decimal
) -> None:
    head = Head(mode=mode, model="m", characters=7, image_count=2, image_size="512x512")
    made = bill(head, usage, price, group_ratio)
    assert made.quota >= 0
    assert recompute(json.loads(json.dumps(made.receipt()))) == made.quota


@given(USAGES, ALL_PRICES, GROUPS)
def test_no_token_is_lost_or_billed_twice(usage: ir.Usage, price: Price, group_ratio: Decimal) -> None:
    lines = bill(CHAT, replace(usage, units={}), price, group_ratio).lines
    outgoing = ("output", "reasoning", "audio_output", "image_output")
    assert sum(line.count for line in lines if line.of in outgoing) == usage.output_tokens
    assert sum(line.count for line in lines if line.of not in outgoing) == usage.input_tokens


@given(TOKENS, TOKENS, RATIOS, st.decimals(0, 20, places=3), GROUPS)
def test_a_plain_bill_is_the_exact_product_rounded_up(
    given_tokens: int, made_tokens: int, ratio: Decimal, completion: Decimal, group_ratio: Decimal
) -> None:
    usage = ir.Usage(input_tokens=given_tokens, output_tokens=made_tokens)
    exact = (given_tokens + made_tokens * Fraction(completion)) * Fraction(ratio) * Fraction(group_ratio)
    quota = bill(CHAT, usage, Price(input=ratio, completion=completion), group_ratio).quota
    # What lies below a billionth of a quota is taken for the noise of a ratio that never ends.
    assert quota - 1 <= exact + Fraction(1, 10**9)
    assert exact <= quota + Fraction(1, 10**9)


@given(USAGES, ALL_PRICES, GROUPS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_tokens_never_cost_less(
    usage: ir.Usage, price: Price, group_ratio: Decimal, more_given: int, more_made: int
) -> None:
    more = replace(usage, input_tokens=usage.input_tokens + more_given, output_tokens=usage.output_tokens + more_made)
    assert bill(CHAT, more, price, group_ratio).quota >= bill(CHAT, usage, price, group_ratio).quota


@pytest.mark.parametrize("tokens", [1, 7, 999, 10**6, 12_345_678])
def test_a_ratio_that_never_ends_costs_nothing_extra(tokens: int) -> None:
    # Output at 2.19/0.55 of 0.275 is 1.095 a token, exactly; with the 16 digits of a saved table, too.
    expected = ceil(Fraction("1.095") * tokens)
    assert cost("deepseek-reasoner", 0, tokens) == expected
    saved = Price(input=Decimal("0.275"), completion=Decimal("3.981818181818182"))
    assert bill(CHAT, ir.Usage(output_tokens=tokens), saved, ONE).quota == expected


@pytest.mark.parametrize(
    "usage",
    [
        ir.Usage(input_tokens=-5, output_tokens=-1),
        ir.Usage(input_tokens=10, cached_tokens=-3, cache_write_tokens=2, cache_write_1h_tokens=9),
        ir.Usage(units={"searches": float("nan")}),
        ir.Usage(units={"searches": float("inf")}),
        ir.Usage(units={"searches": -4.0}),
    ],
)
def test_nonsense_from_a_provider_never_pays_a_user(usage: ir.Usage) -> None:
    assert 0 <= bill(CHAT, usage, price_of("claude-sonnet-4-5"), ONE).quota <= 30


def test_a_bill_always_fits_the_database() -> None:
    usage = ir.Usage(input_tokens=10**40, output_tokens=10**40)
    assert bill(CHAT, usage, Price(input=Decimal(10**18)), ONE).quota == 10**18


def test_a_receipt_tells_the_providers_own_words() -> None:
    raw = {"prompt_tokens": 10, "completion_tokens": 5, "vendor": "x"}
    usage = ir.Usage(input_tokens=10, output_tokens=5, raw=raw)
    assert bill(CHAT, usage, price_of("no-such-model"), Decimal("0.5")).receipt() == {
        "quota": 225,
        "lines": [
            {"of": "input", "count": 10, "ratio": "30"},
            {"of": "output", "count": 5, "ratio": "30"},
        ],
        "group_ratio": "0.5",
        "rounding": "up",
        "minimum": 1,
        "is_default_price": True,
        "usage": raw,
    }


def test_a_receipt_tells_what_was_counted_here() -> None:
    usage = ir.Usage(input_tokens=3, output_tokens=4, is_counted_here=True)
    receipt = bill(CHAT, usage, price_of("gpt-4o"), ONE).receipt()
    assert receipt["usage"] == {"input_tokens": 3, "output_tokens": 4, "is_counted_here": True}
    assert "is_default_price" not in receipt


def test_recomputing_finds_a_changed_receipt() -> None:
    made: Bill = bill(CHAT, ir.Usage(input_tokens=10), price_of("gpt-4o"), ONE)
    receipt = made.receipt()
    receipt["lines"][0]["count"] = 20
    assert recompute(receipt) == 2 * receipt["quota"]


@pytest.mark.parametrize(
    "receipt",
    [
        {},
        {"lines": [], "group_ratio": "x", "rounding": "up", "minimum": 0},
        {"lines": [{"of": "input", "count": None, "ratio": "1"}], "group_ratio": "1", "rounding": "up", "minimum": 0},
        {"lines": 5, "group_ratio": "1", "rounding": "up", "minimum": 0},
    ],
)
def test_what_is_no_receipt_is_refused(receipt: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="receipt cannot be read"):
        recompute(receipt)
