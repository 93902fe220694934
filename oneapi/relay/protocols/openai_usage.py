"""OpenAI's usage block, in the spelling of chat and in that of images and transcriptions, with its dialects.

Source: https://platform.openai.com/docs/api-reference/chat/object and spec relay.md §10.3. Dialects, by recorded
answers: DeepSeek `prompt_cache_hit_tokens`, Moonshot `cached_tokens`, Mistral `num_cached_tokens` and audio outside the
prompt, xAI and Gemini reasoning outside the completion, Anthropic's names at Databricks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from oneapi.relay import ir
from oneapi.relay.adaptor import Headers, Json
from oneapi.relay.protocols.provider_error import error_in


def parse_usage(block: object) -> ir.Usage | None:
    """The usage a block tells; None where it tells nothing: not an object, no counts, or all of them zero."""
    if not isinstance(block, dict):
        return None
    read = _read(block, "prompt_tokens")
    told_input = _read(block, "input_tokens") if read is None else read
    read = _read(block, "completion_tokens")
    told_output = _read(block, "output_tokens") if read is None else read
    total = _read(block, "total_tokens")
    if told_output is None and total is None:
        return None  # Databricks says this in every chunk but the last
    incoming = _details(block, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    outgoing = _details(block, "completion_tokens_details", "output_tokens_details", "output_token_details")
    given, made = told_input or 0, told_output or 0
    audio_input = _read(incoming, "audio_tokens")
    reasoning = _read(outgoing, "reasoning_tokens")
    beyond = (total or 0) - given - made
    if beyond > 0:
        if told_input is None or (told_output is None and not given):
            given += beyond  # only a total: all of it was read
        elif beyond == audio_input:
            given += beyond
        elif beyond == reasoning or not (incoming or outgoing):
            made += beyond
    if not given and not made:
        return None
    return ir.Usage(
        input_tokens=given,
        output_tokens=made,
        cached_tokens=_found(incoming, ("cached_tokens",), block, _CACHED),
        cache_write_tokens=_found(incoming, _CACHE_WRITTEN, block, _CACHE_WRITTEN[1:]),
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_input,
        audio_output_tokens=_read(outgoing, "audio_tokens"),
        image_input_tokens=_read(incoming, "image_tokens"),
        image_output_tokens=_read(outgoing, "image_tokens"),
        accepted_prediction_tokens=_read(outgoing, "accepted_prediction_tokens"),
        rejected_prediction_tokens=_read(outgoing, "rejected_prediction_tokens"),
        raw=block,
    )


def render_usage(usage: ir.Usage) -> Json:
    """The block of chat, completions and embeddings; buckets the provider said nothing of are left out."""
    block: Json = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    incoming = {
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "audio_tokens": usage.audio_input_tokens,
        "image_tokens": usage.image_input_tokens,
    }
    outgoing = {
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_tokens": usage.audio_output_tokens,
        "image_tokens": usage.image_output_tokens,
        "accepted_prediction_tokens": usage.accepted_prediction_tokens,
        "rejected_prediction_tokens": usage.rejected_prediction_tokens,
    }
    for name, bucket in (("prompt_tokens_details", incoming), ("completion_tokens_details", outgoing)):
        if known := {key: count for key, count in bucket.items() if count is not None}:
            block[name] = known
    return block


def _details(block: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        if isinstance(inner := block.get(name), dict):
            return inner
    return {}


def _read(block: Mapping[str, Any], name: str) -> int | None:
    """A count, leniently: some services send floats or digits in a string."""
    value = block.get(name)
    if type(value) is int:  # nearly always
        return value if 0 <= value < 1e15 else None
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() else None
    if isinstance(value, float) and 0 <= value < 1e15:
        return int(value)
    return None


_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens")
_CACHE_WRITTEN = ("cache_write_tokens", "cache_creation_input_tokens")


def _found(
    details: Mapping[str, Any], names: tuple[str, ...], block: Mapping[str, Any], others: tuple[str, ...]
) -> int | None:
    """The first count there is: in the details by one of these names, else in the block itself by one of the others."""
    for name in names:
        if name in details and (count := _read(details, name)) is not None:
            return count
    for name in others:
        if name in block and (count := _read(block, name)) is not None:
            return count
    return None


class _Answer(msgspec.Struct, gc=False):
    usage: dict[str, Any] | None = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def read_reported_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    """The usage of a whole answer of any mode, None where it reports none or is no JSON object.

    Raises UpstreamRejected for an error inside a 200.
    """
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if answer.error and (refusal := error_in({"error": answer.error})) is not None:
        raise refusal
    return parse_usage(answer.usage)
