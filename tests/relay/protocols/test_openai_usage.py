"""Usage blocks of OpenAI and of those who copy it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.protocols.openai_usage import parse_usage, read_reported_usage, render_usage


@pytest.mark.parametrize(
    ("block", "known"),
    [
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 8, "cache_write_tokens": 3},
                "completion_tokens_details": {
                    "reasoning_tokens": 20,
                    "audio_tokens": 4,
                    "accepted_prediction_tokens": 1,
                    "rejected_prediction_tokens": 2,
                },
            },
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "cached_tokens": 64,
                "audio_input_tokens": 8,
                "cache_write_tokens": 3,
                "reasoning_tokens": 20,
                "audio_output_tokens": 4,
                "accepted_prediction_tokens": 1,
                "rejected_prediction_tokens": 2,
            },
            id="openai",
        ),
        pytest.param(
            {"prompt_tokens": 900, "completion_tokens": 5, "total_tokens": 905, "prompt_cache_hit_tokens": 896},
            {"input_tokens": 900, "cached_tokens": 896},
            id="deepseek",
        ),
        pytest.param(
            {"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40, "cached_tokens": 10},
            {"cached_tokens": 10},
            id="moonshot",
        ),
        pytest.param(
            {"prompt_tokens": 19, "completion_tokens": 1, "total_tokens": 20, "num_cached_tokens": 16},
            {"cached_tokens": 16},
            id="mistral",
        ),
        pytest.param(
            {
                "prompt_tokens": 137,
                "completion_tokens": 7,
                "total_tokens": 270,
                "prompt_tokens_details": {"cached_tokens": 128},
                "completion_tokens_details": {"reasoning_tokens": 126},
            },
            {"input_tokens": 137, "output_tokens": 133, "reasoning_tokens": 126},
            id="xai: reasoning outside the completion",
        ),
        pytest.param(
            {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
            {"input_tokens": 35, "output_tokens": 74},
            id="gemini: thoughts only in the total",
        ),
        pytest.param(
            {
                "prompt_tokens": 9,
                "completion_tokens": 201,
                "total_tokens": 585,
                "prompt_tokens_details": {"audio_tokens": 375},
            },
            {"input_tokens": 384, "output_tokens": 201, "audio_input_tokens": 375},
            id="mistral: audio outside the prompt",
        ),
        pytest.param(
            {
                "input_tokens": 50,
                "output_tokens": 1056,
                "total_tokens": 1106,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            },
            {"input_tokens": 50, "output_tokens": 1056, "image_input_tokens": 40},
            id="images",
        ),
        pytest.param(
            {"type": "tokens", "input_tokens": 37, "output_tokens": 12, "input_token_details": {"audio_tokens": 37}},
            {"input_tokens": 37, "output_tokens": 12, "audio_input_tokens": 37},
            id="transcriptions",
        ),
        pytest.param({"total_tokens": 7}, {"input_tokens": 7, "output_tokens": 0}, id="only a total"),
        pytest.param({"prompt_tokens": 3, "total_tokens": 3}, {"input_tokens": 3, "output_tokens": 0}, id="embeddings"),
        pytest.param(
            {"prompt_tokens": 3.0, "completion_tokens": "4", "total_tokens": 7},
            {"input_tokens": 3, "output_tokens": 4},
            id="odd numbers",
        ),
        pytest.param(
            {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 3},
            {"input_tokens": 5, "output_tokens": 9},
            id="a total that is too small",
        ),
    ],
)
def test_blocks(block: dict[str, Any], known: dict[str, int]) -> None:
    usage = parse_usage(block)
    assert usage is not None
    assert {name: getattr(usage, name) for name in known} == known
    assert usage.raw == block


@pytest.mark.parametrize(
    "block",
    [
        None,
        {},
        [],
        "7",
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 14, "completion_tokens": None, "total_tokens": None},
        {"prompt_tokens": -5, "completion_tokens": -5, "total_tokens": -10},
        {"prompt_tokens": True, "completion_tokens": {}, "total_tokens": []},
        {"total_tokens": float("nan")},
    ],
)
def test_a_block_that_tells_nothing_is_none(block: Any) -> None:
    assert parse_usage(block) is None


def test_a_bucket_nobody_spoke_of_is_left_out() -> None:
    assert render_usage(ir.Usage(input_tokens=1, output_tokens=2)) == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
    }
    block = render_usage(ir.Usage(input_tokens=1, output_tokens=2, cached_tokens=0, reasoning_tokens=1))
    assert block["prompt_tokens_details"] == {"cached_tokens": 0}
    assert block["completion_tokens_details"] == {"reasoning_tokens": 1}


def test_the_usage_of_any_whole_answer() -> None:
    usage = read_reported_usage(b'{"data":[],"usage":{"prompt_tokens":3,"total_tokens":3}}', {})
    assert usage is not None and usage.input_tokens == 3
    assert read_reported_usage(b'{"results":[]}', {}) is None
    assert read_reported_usage(b"not json", {}) is None
    with pytest.raises(UpstreamRejected, match="broken"):
        read_reported_usage(json.dumps({"error": {"message": "broken"}}).encode(), {})
