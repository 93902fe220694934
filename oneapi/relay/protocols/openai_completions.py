"""OpenAI's text completions and edits, both of them old; providers of open models still offer the first.

Source: https://platform.openai.com/docs/api-reference/completions (read 2026-11-25). These go verbatim only: there is
no client half for providers with other formats.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, USAGE_ONLY, Codec, Headers
from oneapi.relay.framing import Frame
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json, openai_chat
from oneapi.relay.protocols.openai_error import render_error
from oneapi.relay.protocols.openai_usage import parse_usage
from oneapi.relay.protocols.provider_error import error_in, parse_error
from oneapi.relay.protocols.provider_json import loads


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Request(msgspec.Struct, gc=False):
    model: str | None = None
    prompt: str | list[Any] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None


class _EditRequest(msgspec.Struct, gc=False):
    model: str | None = None
    instruction: str | None = None
    n: int | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_EDIT_REQUEST = msgspec.json.Decoder(_EditRequest)


def head(body: bytes) -> Head:
    """Raises InvalidRequest naming the field that is wrong."""
    request = client_json.read(body, _REQUEST)
    model = client_json.require_model(request.model)
    client_json.require(request.prompt, "prompt")
    client_json.check_range("max_tokens", request.max_tokens, 0, client_json.MAX_TOKENS)
    client_json.check_range("n", request.n, 1, client_json.MAX_N)
    client_json.check_range("best_of", request.best_of, 1, client_json.MAX_N)
    return Head(
        mode="completions",
        model=model,
        stream=bool(request.stream),
        wants_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
        max_output_tokens=request.max_tokens,
        n=max(request.n or 1, request.best_of or 1),
        input_bytes=len(body),
    )


def edit_head(body: bytes) -> Head:
    """The head of a request to /v1/edits. Raises InvalidRequest naming the field that is wrong."""
    request = client_json.read(body, _EDIT_REQUEST)
    model = client_json.require_model(request.model)
    client_json.require(request.instruction, "instruction")
    client_json.check_range("n", request.n, 1, client_json.MAX_N)
    return Head(mode="edits", model=model, n=request.n or 1, input_bytes=len(body))


class Watcher:
    """Sees the text, the finish and the usage of a stream that passes as it came."""

    __slots__ = ("_pieces", "has_finished", "usage")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.usage: ir.Usage | None = None
        self.has_finished = False

    def feed(self, frame: Frame) -> int:
        data = frame.data
        if not data:
            return NOTHING
        if data[:6] == b"[DONE]":
            self.has_finished = True
            return LAST
        chunk = loads(data)
        choices = chunk.get("choices")
        if (chunk.get("error") or not isinstance(choices, list)) and (error := error_in(chunk)) is not None:
            raise error
        sight = NOTHING
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(text := choice.get("text"), str) and text:
                self._pieces.append(text)
                sight = CONTENT
            if choice.get("finish_reason"):
                self.has_finished = True
                sight = CONTENT
        if (usage := parse_usage(chunk.get("usage"))) is not None:
            self.usage = usage
            if sight == NOTHING and (not choices or self.has_finished):
                return USAGE_ONLY
        return sight

    def take_text(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text


def read_text(body: bytes, headers: Headers) -> str:
    """All that the choices of a whole answer say."""
    choices = loads(body).get("choices")
    return "".join(
        text
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict) and isinstance(text := choice.get("text"), str)
    )


CODEC = Codec(
    name="openai_completions",
    has_stream_options=True,
    parse_error=parse_error,
    watcher=Watcher,
    read_usage=openai_chat.read_usage,
    read_text=read_text,
    render_error=render_error,
)
EDITS = Codec(
    name="openai_edits",
    parse_error=parse_error,
    read_usage=openai_chat.read_usage,
    read_text=read_text,
    render_error=render_error,
)
