"""Anthropic's usage block. Its `input_tokens` leave out what was read from the cache or written to it.

Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching and spec relay.md §10.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi.relay import ir
from oneapi.relay.adaptor import Json


def merged(block: Json, more: Any) -> Json:
    """A stream's counts are cumulative: those said later replace those said before."""
    if not isinstance(more, dict):
        return block
    return {**block, **{name: value for name, value in more.items() if value is not None}}


def parse_usage(block: object) -> ir.Usage | None:
    """The usage a block tells; None where it tells nothing."""
    if not isinstance(block, dict):
        return None
    given, made = _read(block, "input_tokens"), _read(block, "output_tokens")
    cached, written = _read(block, "cache_read_input_tokens"), _read(block, "cache_creation_input_tokens")
    by_lifetime = block.get("cache_creation")
    hour = _read(by_lifetime, "ephemeral_1h_input_tokens")
    if written is None and isinstance(by_lifetime, dict):
        written = (hour or 0) + (_read(by_lifetime, "ephemeral_5m_input_tokens") or 0)
    total = (given or 0) + (cached or 0) + (written or 0)
    if not total and not made:
        return None
    searches = _read(block.get("server_tool_use"), "web_search_requests")
    return ir.Usage(
        input_tokens=total,
        output_tokens=made or 0,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        reasoning_tokens=_read(block.get("output_tokens_details"), "thinking_tokens"),
        units={"searches": searches} if searches else {},
        raw=block,
    )


def render_usage(usage: ir.Usage) -> Json:
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    block: Json = {
        "input_tokens": max(usage.input_tokens - cached - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
    }
    if usage.cache_write_1h_tokens is not None:
        hour = usage.cache_write_1h_tokens
        block["cache_creation"] = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
    if usage.reasoning_tokens is not None:
        block["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if searches := usage.units.get("searches"):
        block["server_tool_use"] = {"web_search_requests": int(searches)}
    return block


def _read(block: Any, name: str) -> int | None:
    value = block.get(name) if isinstance(block, Mapping) else None
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
    return int(value) if is_count else None  # type: ignore[arg-type]
