"""Changes to a request's JSON object where the client already speaks the provider's protocol.

Each edit is a function from dict to dict. It never changes what it is given: it returns the same object where there is
nothing to do, and otherwise a shallow copy that shares all it did not touch, so unknown fields are kept and cost
nothing. What an adaptor needs beyond these it writes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from oneapi.relay.adaptor import Edit, Json


def drop(*names: str) -> Edit:
    """Leaves out fields the provider refuses."""

    def edit(body: Json) -> Json:
        if not any(name in body for name in names):
            return body
        return {name: value for name, value in body.items() if name not in names}

    return edit


def rename(old: str, new: str) -> Edit:
    """Gives a field the name the provider knows; where both are there, the new name's value stays."""

    def edit(body: Json) -> Json:
        if old not in body:
            return body
        renamed = {name: value for name, value in body.items() if name != old}
        renamed.setdefault(new, body[old])
        return renamed

    return edit


def default(name: str, value: Any) -> Edit:
    """Sets a field that is missing or null."""

    def edit(body: Json) -> Json:
        return body if body.get(name) is not None else {**body, name: value}

    return edit


def setting(name: str, value: Any) -> Edit:
    """Sets a field whatever the client said."""

    def edit(body: Json) -> Json:
        return {**body, name: value}

    return edit


def set_model(model: str) -> Edit:
    """Names the actual model, after the channel's mapping."""
    return setting("model", model)


def ask_usage(body: Json) -> Json:
    """Asks for a usage chunk at the stream's end (OpenAI's chat and completions protocols)."""
    options = body.get("stream_options")
    return {**body, "stream_options": {**(options if isinstance(options, dict) else {}), "include_usage": True}}


def merge(patch: Mapping[str, Any]) -> Edit:
    """Lays a channel's overrides over the body: objects are merged, null takes a field away, all else replaces.

    Source: JSON Merge Patch, https://www.rfc-editor.org/rfc/rfc7396 (read 2026-11-25).
    """

    def edit(body: Json) -> Json:
        return _merged(body, patch)

    return edit


def force_system_prompt(prompt: str, protocol: str = "openai_chat") -> Edit:
    """Puts a channel's system prompt where `protocol` keeps it, in place of the client's own.

    In OpenAI's chat protocol the first message's content is replaced where its role is system or developer (the role
    stays, as some models know only one of the two), else a system message goes first; a body
    without messages is left alone (spec relay.md §6.2). The other protocols have one field for it.
    """
    if protocol == "openai_chat":
        return _first_message(prompt)
    name, wrapped = _PROMPT_FIELD[protocol](prompt)
    return setting(name, wrapped)


_PROMPT_FIELD: Mapping[str, Callable[[str], tuple[str, Any]]] = {
    "anthropic": lambda prompt: ("system", prompt),
    "gemini": lambda prompt: ("systemInstruction", {"parts": [{"text": prompt}]}),
    "openai_responses": lambda prompt: ("instructions", prompt),
}


def _first_message(prompt: str) -> Edit:
    def edit(body: Json) -> Json:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return body
        first = messages[0]
        if isinstance(first, dict) and first.get("role") in ("system", "developer"):
            return {**body, "messages": [{**first, "content": prompt}, *messages[1:]]}
        return {**body, "messages": [{"role": "system", "content": prompt}, *messages]}

    return edit


def _merged(body: Json, patch: Mapping[str, Any]) -> Json:
    merged = dict(body)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            inner = merged.get(name)
            merged[name] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            merged[name] = value
    return merged
