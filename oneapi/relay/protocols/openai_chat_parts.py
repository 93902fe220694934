"""Parts of a message as OpenAI's chat has them, in requests and answers alike: pictures, tool calls, reasoning.

Reasoning has no place in OpenAI's own protocol. Its text stands in `reasoning_content`, as most services have it; what
must come back with it (signatures, encrypted thoughts) in `reasoning_details`, as OpenRouter has them
(https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11-25). A seal of another protocol is such a detail
with the format `seal/<protocol>`. A Gemini thought signature stands in a tool call's `extra_content`, as Google's own
OpenAI-compatible API has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from oneapi.relay import ir
from oneapi.relay.adaptor import Json

ORIGIN = "openai_chat"

_SEAL_FORMAT = "seal/"
_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^,]*)?;base64,(.*)", re.DOTALL)


def own(extra: ir.Extra) -> Mapping[str, Any]:
    """What of an `extra` this protocol said itself; what another said is not for its ears."""
    if extra.get("origin") != ORIGIN:
        return {}
    return {name: value for name, value in extra.items() if name != "origin"}


def extra_of(value: Mapping[str, Any], known: Iterable[str]) -> ir.Extra:
    """The fields that this protocol has and the intermediate representation has not."""
    rest = {name: item for name, item in value.items() if name not in known}
    return {"origin": ORIGIN, **rest} if rest else {}


# ---- pictures ----


def split_data_url(url: str) -> tuple[str, str] | None:
    """(media type, base64 text) of a data URL, None for any other."""
    match = _DATA_URL.fullmatch(url) if url[:5] == "data:" else None
    return (match[1], match[2]) if match else None


def data_url(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"


def parse_image(url: str, detail: str = "", extra: ir.Extra | None = None) -> ir.Image:
    inline = split_data_url(url)
    if inline is not None:
        return ir.Image(data=inline[1], media_type=inline[0], detail=detail, extra=extra or {})
    return ir.Image(url=url, detail=detail, extra=extra or {})


def render_image(image: ir.Image) -> Json:
    where: Json = {"url": image.url or data_url(image.media_type or "image/png", image.data)}
    if image.detail:
        where["detail"] = image.detail
    return {"type": "image_url", "image_url": where, **own(image.extra)}


# ---- tool calls ----

_CALL_FIELDS = ("id", "index", "type", "function", "custom", "extra_content")


def parse_call(value: Mapping[str, Any]) -> ir.ToolCall:
    """A tool call, or as much of it as a chunk says; arguments that are JSON and not text are written as text."""
    custom = value.get("custom")
    is_custom = isinstance(custom, dict)
    inner = custom if isinstance(custom, dict) else value.get("function")
    inner = inner if isinstance(inner, dict) else {}
    extra_content = value.get("extra_content")
    google = extra_content.get("google") if isinstance(extra_content, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return ir.ToolCall(
        id=str(value.get("id") or ""),
        name=str(inner.get("name") or ""),
        arguments=as_text(inner.get("input" if is_custom else "arguments")),
        kind="custom" if is_custom else "function",
        seal=ir.Seal("gemini", signature) if isinstance(signature, str) and signature else None,
        extra=extra_of(value, _CALL_FIELDS),
    )


def calls_in(message: Mapping[str, Any]) -> list[Json]:
    """The tool calls of a message or delta; Xunfei has a single one in place of the list."""
    calls = message.get("tool_calls")
    if isinstance(calls, dict):
        return [calls]
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def render_call(call: ir.ToolCall, call_id: str) -> Json:
    """A whole tool call, or, of one whose arguments are yet to come, its opening."""
    inner = {"name": call.name, ("input" if call.kind == "custom" else "arguments"): call.arguments}
    rendered: Json = {"id": call_id, "type": call.kind, call.kind: inner, **own(call.extra)}
    if call.seal is not None and call.seal.origin == "gemini":
        rendered["extra_content"] = {"google": {"thought_signature": call.seal.value}}
    return rendered


# ---- reasoning ----

_DETAIL_TEXT = {"reasoning.text": "text", "reasoning.summary": "summary"}


def reasoning_text(message: Mapping[str, Any]) -> str:
    """The thoughts of a message or delta, by either name."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(text := message.get(name), str) and text:
            return text
    return ""


def detail_entries(message: Mapping[str, Any]) -> list[Json]:
    details = message.get("reasoning_details")
    return [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []


def detail_text(detail: Mapping[str, Any]) -> str:
    text = detail.get(_DETAIL_TEXT.get(str(detail.get("type")), ""))
    return text if isinstance(text, str) else ""


def parse_detail(detail: Mapping[str, Any], text: str) -> ir.Reasoning:
    """One entry of `reasoning_details`, whole but for its text, as a part with that text."""
    form = detail.get("format")
    is_redacted = detail.get("type") == "reasoning.encrypted"
    if isinstance(form, str) and form.startswith(_SEAL_FORMAT):
        value = str(detail.get("data" if is_redacted else "signature") or "")
        return ir.Reasoning(text, ir.Seal(form.removeprefix(_SEAL_FORMAT), value), is_redacted)
    rest = {name: item for name, item in detail.items() if name not in _DETAIL_TEXT.values()}
    return ir.Reasoning(text, ir.Seal(ORIGIN, json.dumps(rest, ensure_ascii=False, sort_keys=True)), is_redacted)


def render_detail(part: ir.Reasoning) -> Json:
    """The entry of `reasoning_details` for a part with a seal."""
    seal = part.seal
    assert seal is not None
    if seal.origin == ORIGIN:
        detail: Json = json.loads(seal.value)
        name = _DETAIL_TEXT.get(str(detail.get("type")))
        return {**detail, name: part.text} if name else detail
    if part.is_redacted:
        return {"type": "reasoning.encrypted", "data": seal.value, "format": _SEAL_FORMAT + seal.origin}
    return {
        "type": "reasoning.text",
        "text": part.text,
        "signature": seal.value,
        "format": _SEAL_FORMAT + seal.origin,
    }


def parse_reasoning(message: Mapping[str, Any]) -> tuple[ir.Reasoning, ...]:
    """The thoughts of a whole message: by its details where it has any, else by its text alone.

    Where no detail has text the first that could have one gets the message's: so a stream tells them apart.
    """
    text = reasoning_text(message)
    entries = detail_entries(message)
    if not entries:
        return (ir.Reasoning(text),) if text else ()
    parts = [parse_detail(entry, detail_text(entry)) for entry in entries]
    if text and not any(part.text for part in parts):
        at = next((at for at, part in enumerate(parts) if not part.is_redacted), None)
        if at is None:
            return (ir.Reasoning(text), *parts)
        parts[at] = replace(parts[at], text=text)
    return tuple(parts)


def render_reasoning(parts: Iterable[ir.Reasoning]) -> Json:
    """The fields of a message that carry its thoughts; none where it has none."""
    parts = tuple(parts)
    fields: Json = {}
    if text := "".join(part.text for part in parts):
        fields["reasoning_content"] = text
    if details := [render_detail(part) for part in parts if part.seal is not None]:
        fields["reasoning_details"] = details
    return fields


# ---- lists of parts with thoughts among them (Mistral) ----


def thinking_text(part: Mapping[str, Any]) -> str:
    """The text of `{type: thinking, thinking: [parts] or text}`."""
    inner = part.get("thinking")
    if isinstance(inner, list):
        texts = (piece.get("text") for piece in inner if isinstance(piece, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return inner if isinstance(inner, str) else ""
