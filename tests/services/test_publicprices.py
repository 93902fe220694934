"""Public price lists, in documents of their shape, become prices of a million tokens."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from oneapi.columns import Columns, parse_columns
from oneapi.services.publicprices import parse_list

LITELLM = """{
  "sample_spec": {"input_cost_per_token": 0.0, "litellm_provider": "one of many", "mode": "one of many"},
  "writer": {"litellm_provider": "house", "mode": "chat", "max_tokens": 8192, "supports_vision": true,
    "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-07,
    "cache_creation_input_token_cost": 1.5625e-06, "cache_creation_input_token_cost_above_1hr": 2.5e-06,
    "output_cost_per_reasoning_token": 1.2e-05, "input_cost_per_audio_token": 4e-05,
    "output_cost_per_audio_token": 8e-05, "input_cost_per_image_token": 5e-06, "output_cost_per_image_token": 4e-05,
    "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05,
    "search_context_cost_per_query": {"search_context_size_low": 0.03, "search_context_size_medium": 0.035},
    "input_cost_per_token_batches": 6e-07, "input_cost_per_image": 0.001},
  "house/small": {"litellm_provider": "house", "mode": "embedding",
    "input_cost_per_token": 2e-08, "output_cost_per_token": 0.0},
  "elsewhere/writer": {"litellm_provider": "elsewhere", "mode": "chat",
    "input_cost_per_token": 2e-06, "output_cost_per_token": 2e-06},
  "painter": {"litellm_provider": "house", "mode": "image_generation",
    "input_cost_per_token": 0, "output_cost_per_image": 0.04},
  "listener": {"litellm_provider": "house", "mode": "audio_transcription",
    "input_cost_per_second": 0.0001, "output_cost_per_second": 0.0},
  "speaker": {"litellm_provider": "house", "mode": "audio_speech", "input_cost_per_character": 1.5e-05},
  "ranker": {"litellm_provider": "house", "mode": "rerank", "input_cost_per_query": 0.002},
  "gift": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
  "tiered": {"litellm_provider": "house", "mode": "chat", "tiered_pricing": [
    {"range": [0, 32000.0], "input_cost_per_token": 1.2e-06, "output_cost_per_token": 6e-06},
    {"range": [32000.0, 128000.0], "input_cost_per_token": 2.4e-06, "output_cost_per_token": 1.2e-05}]},
  "torn": {"litellm_provider": "house", "mode": "chat", "tiered_pricing": [{"input_cost_per_token": 1.2e-06}]},
  "pixels": {"litellm_provider": "house", "mode": "image_generation", "input_cost_per_pixel": 1.9e-08},
  "odd": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 1e-06},
  "wrong": {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": -1e-06}
}"""

OPENROUTER = """{"data": [
  {"id": "house/writer", "pricing": {"prompt": "0.00000125", "completion": "0.00001", "request": "0.005", "image": "0",
    "web_search": "0.01", "internal_reasoning": "0", "input_cache_read": "0.000000125",
    "input_cache_write": "0.0000015625", "audio": "0.00004"}},
  {"id": "house/seer", "pricing": {"prompt": "0.000001", "completion": "0.000002", "image": "0.001", "discount": 0}},
  {"id": "other/gift:free", "pricing": {"prompt": "0", "completion": "0"}},
  {"id": "router/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
  {"id": "house/odd", "pricing": {"prompt": "cheap", "completion": "0"}},
  {"id": "house/unpriced"}, "nonsense"
]}"""


def priced(**columns: Any) -> Columns:
    return parse_columns(json.loads(json.dumps(columns), parse_float=Decimal))


def test_litellms_list_is_read() -> None:
    listed = parse_list(LITELLM)
    assert listed.format == "litellm"
    long = {"input": 2.5, "output": 15, "cached": 0.125, "cache_write": 1.5625, "cache_write_1h": 2.5}
    others = {"reasoning": 12, "audio_input": 40, "audio_output": 80, "image_input": 5, "image_output": 40}
    assert listed.prices == {
        "writer": priced(
            **{**long, "input": 1.25, "output": 10},
            **others,
            per_unit={"searches": 0.035},
            above=[{"input_tokens": 200000, **long, **others}],
        ),
        "house/small": priced(input=0.02),
        "elsewhere/writer": priced(input=2, output=2),
        "painter": priced(input=0, per_unit={"images": 0.04}),
        "listener": priced(input=0, per_unit={"seconds": 0.0001}),
        "speaker": priced(input=0, per_unit={"characters": 0.000015}),
        "ranker": priced(input=0, per_unit={"search_units": 0.002}),
        "gift": priced(input=0, output=0),
        "tiered": priced(input=1.2, output=6, above=[{"input_tokens": 32000, "input": 2.4, "output": 12}]),
    }
    assert listed.unusable == {
        "torn": "has tiers that cannot be read",
        "pixels": "has no price for anything that is counted here",
        "odd": "has a free input, so that its other prices could not be scaled",
        "wrong": "must be a number that is not negative",
    }
    assert {model: kinds for model, kinds in listed.not_taken.items() if kinds} == {
        "writer": {"input_cost_per_image", "input_cost_per_token_batches"},
        "pixels": {"input_cost_per_pixel"},
    }


def test_of_one_provider_models_are_named_without_it() -> None:
    assert {"writer", "small", "painter"} <= parse_list(LITELLM, provider="house").prices.keys()
    assert parse_list(LITELLM, provider="elsewhere").prices == {"writer": priced(input=2, output=2)}
    assert parse_list(OPENROUTER, provider="house").prices.keys() == {"writer", "seer"}


def test_openrouters_list_is_read() -> None:
    listed = parse_list(OPENROUTER)
    assert listed.format == "openrouter"
    assert listed.prices == {
        "house/writer": priced(
            input=1.25,
            output=10,
            cached=0.125,
            cache_write=1.5625,
            audio_input=40,
            per_unit={"calls": 0.005, "searches": 0.01},
        ),
        "house/seer": priced(input=1, output=2),
        "other/gift:free": priced(input=0, output=0),
    }
    assert listed.unusable == {
        "router/auto": "costs what the model costs that is chosen for a request",
        "house/odd": "must be a number, not 'cheap'",
    }
    assert {model: kinds for model, kinds in listed.not_taken.items() if kinds} == {"house/seer": {"image"}}


TABLES = {
    "ModelRatio": {"writer": 0.625, "llama(33)": 0.15, "doubled": 2},
    "CompletionRatio": {"writer": 8, "lost": 3},
    "ExtModelPrice": {
        "seer": {"input": 2, "output": 6, "cached": 0.2},
        "doubled": {"input": 2, "output": 6, "cached": 0.2, "per_unit": {"calls": 0.01}},
    },
}


@pytest.mark.parametrize(
    "document",
    [
        TABLES,
        {name: json.dumps(table) for name, table in TABLES.items()},
        {"success": True, "data": [{"key": name, "value": json.dumps(table)} for name, table in TABLES.items()]},
    ],
    ids=["tables", "texts", "as the API lists options"],
)
def test_one_apis_tables_are_read(document: object) -> None:
    listed = parse_list(json.dumps(document))
    assert listed.format == "oneapi"
    assert listed.prices == {
        "writer": priced(input=1.25, output=10),
        "llama(33)": priced(input=0.3),
        "seer": priced(input=2, output=6, cached=0.2),
        "doubled": priced(input=4, output=12, cached=0.4, per_unit={"calls": 0.02}),
    }
    assert listed.unusable == {"lost": "has a CompletionRatio and no ModelRatio"}


def test_a_table_of_ratios_by_itself_is_read() -> None:
    assert parse_list('{"writer": 0.1}').prices == {"writer": priced(input=0.2)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "This is not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "names no model in the format oneapi"),
        ('{"data": []}', "names no model in the format oneapi"),
        ('{"writer": "cheap"}', "ModelRatio has a value for writer that must be a number"),
        ('{"ModelRatio": 5}', "a table must be a JSON object"),
        ('{"ModelRatio": "no JSON"}', "ModelRatio is not valid JSON"),
        ('{"ExtModelPrice": {"m": {}}}', "ExtModelPrice has an entry for m that has no price for input"),
    ],
)
def test_what_is_no_list_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_list(text)


def test_a_list_without_the_providers_models_is_refused() -> None:
    with pytest.raises(ValueError, match="names no model of nobody in the format litellm"):
        parse_list(LITELLM, provider="nobody")
