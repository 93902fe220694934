"""OpenAI's chat completions: the dialect most clients speak, and the protocol of 33 of One API's channel types.

Source: https://platform.openai.com/docs/api-reference/chat (read 2026-11-25), and what the services that copy it were
recorded to say. This file has what the hot path needs: the quick look at a request, and the watcher of a stream that
passes as it came. The request is in openai_chat_request.py, the answer in openai_chat_answer.py.

Watched and counted: `content`, `refusal`, `reasoning_content` or `reasoning`, tool calls (also the old
`function_call`), the transcript of audio, and Mistral's lists of parts.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, USAGE_ONLY, Codec, Headers
from oneapi.relay.framing import Frame
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json
from oneapi.relay.protocols.openai_chat_answer import StreamParser, StreamRenderer, parse_response, render_response
from oneapi.relay.protocols.openai_chat_parts import calls_in
from oneapi.relay.protocols.openai_chat_request import CANNOT_CARRY, parse_request, render_request
from oneapi.relay.protocols.openai_error import render_error
from oneapi.relay.protocols.openai_usage import parse_usage
from oneapi.relay.protocols.provider_error import error_in, parse_error
from oneapi.relay.protocols.provider_json import loads

# ---- a client's request ----


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Request(msgspec.Struct, gc=False):
    model: str | None = None
    messages: list[msgspec.Raw] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None


_REQUEST = msgspec.json.Decoder(_Request)


def head(body: bytes) -> Head:
    """What routing and pricing need of a chat request. Raises InvalidRequest naming the field that is wrong."""
    request = client_json.read(body, _REQUEST)
    model = client_json.require_model(request.model)
    client_json.require(request.messages, "messages")
    client_json.check_range("max_tokens", request.max_tokens, 0, client_json.MAX_TOKENS)
    client_json.check_range("max_completion_tokens", request.max_completion_tokens, 0, client_json.MAX_TOKENS)
    client_json.check_range("n", request.n, 1, client_json.MAX_N)
    most = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    return Head(
        mode="chat",
        model=model,
        stream=bool(request.stream),
        wants_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
        max_output_tokens=most,
        n=request.n or 1,
        input_bytes=len(body),
    )


# ---- a stream that passes as it came ----


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function | None = None
    custom: _Custom | None = None


class _Audio(msgspec.Struct, gc=False):
    data: msgspec.Raw = msgspec.Raw()
    transcript: str | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: _Audio | None = None
    images: list[msgspec.Raw] | None = None


class _ChunkChoice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None  # Moonshot's place for it


class _Groq(msgspec.Struct, gc=False):
    usage: dict[str, Any] | None = None  # Groq's place for it where none was asked for


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_ChunkChoice] | None = None
    usage: dict[str, Any] | None = None
    x_groq: _Groq | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class Watcher:
    """Sees in the frames of a verbatim stream what the meter needs."""

    __slots__ = ("_pieces", "has_finished", "usage")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.usage: ir.Usage | None = None
        self.has_finished = False

    def feed(self, frame: Frame) -> int:
        data = frame.data
        if not data:
            return NOTHING
        try:
            chunk = _decode_chunk(data)
        except msgspec.DecodeError:
            return self._feed_odd(data)
        choices = chunk.choices
        if chunk.error is not None or choices is None:
            return self._feed_odd(data)
        pieces = self._pieces
        sight = NOTHING
        for choice in choices:
            delta = choice.delta
            if delta is not None:
                if delta.content:
                    pieces.append(delta.content)
                    sight = CONTENT
                elif _add_rest(delta, pieces):
                    sight = CONTENT
            if choice.finish_reason:
                self.has_finished = True
                sight = CONTENT
            if choice.usage is not None:
                self.usage = parse_usage(choice.usage) or self.usage
        if chunk.x_groq is not None:
            self.usage = parse_usage(chunk.x_groq.usage) or self.usage
        if chunk.usage is not None:
            self.usage = parse_usage(chunk.usage) or self.usage
            if sight == NOTHING and (not choices or self.has_finished):
                return USAGE_ONLY
        return sight

    def take_text(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def _feed_odd(self, data: bytes) -> int:
        """A chunk that is not as OpenAI would write it. Raises UpstreamRejected for an error."""
        if data.lstrip()[:6] == b"[DONE]":
            self.has_finished = True
            return LAST
        chunk = loads(data)
        choices = chunk.get("choices")
        if chunk.get("error") or not isinstance(choices, list):
            if (error := error_in(chunk)) is not None:
                raise error
            choices = []
        sight = NOTHING
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            if said := spoken(choice.get("delta")):
                self._pieces += said
                sight = CONTENT
            if choice.get("finish_reason"):
                self.has_finished = True
                sight = CONTENT
            self.usage = parse_usage(choice.get("usage")) or self.usage
        if (usage := parse_usage(chunk.get("usage"))) is not None:
            self.usage = usage
            if sight == NOTHING and (not choices or self.has_finished):
                return USAGE_ONLY
        return sight


def _add_rest(delta: _Delta, pieces: list[str]) -> bool:
    """Adds what a delta without content says; whether that was anything."""
    before = len(pieces)
    if text := delta.reasoning_content or delta.reasoning:
        pieces.append(text)
    if delta.refusal:
        pieces.append(delta.refusal)
    if delta.tool_calls:
        for call in delta.tool_calls:
            if (function := call.function) is not None:
                pieces.append(function.name or "")
                pieces.append(function.arguments or "")
            if (custom := call.custom) is not None:
                pieces.append(custom.name or "")
                pieces.append(custom.input or "")
    if (function := delta.function_call) is not None:
        pieces.append(function.name or "")
        pieces.append(function.arguments or "")
    if (audio := delta.audio) is not None:
        pieces.append(audio.transcript or "")
    if delta.images:
        pieces.append("")
    return len(pieces) > before


def spoken(message: Any) -> list[str]:
    """The text of all kinds that a message or a delta says, read leniently; empty when it says nothing at all."""
    if not isinstance(message, dict):
        return []
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    said = [thoughts] if isinstance(thoughts, str) and thoughts else []
    match message.get("content"):
        case str(text) if text:
            said.append(text)
        case list(parts):
            said += [text for part in parts if (text := _part_text(part))]
        case dict(value):  # Cloudflare's answer to a JSON schema
            said.append(json.dumps(value, ensure_ascii=False))
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        said.append(refusal)
    for call in [*calls_in(message), {"function": message.get("function_call")}]:
        for name in ("function", "custom"):
            if isinstance(inner := call.get(name), dict):
                said.append(str(inner.get("name") or ""))
                given = inner.get("arguments") or inner.get("input") or ""
                said.append(given if isinstance(given, str) else json.dumps(given, ensure_ascii=False))
    if isinstance(audio := message.get("audio"), dict):
        said.append(str(audio.get("transcript") or ""))
    if message.get("images"):
        said.append("")
    return said


def _part_text(part: Any) -> str:
    """A part's text: {type: text, text} or Mistral's {type: thinking, thinking: [parts]}."""
    if not isinstance(part, dict):
        return part if isinstance(part, str) else ""
    if isinstance(inner := part.get("thinking"), list):
        return "".join(_part_text(piece) for piece in inner)
    text = part.get("text") or part.get("thinking") or part.get("refusal")
    return text if isinstance(text, str) else ""


# ---- a whole answer that passes as it came ----


class _Answer(msgspec.Struct, gc=False):
    choices: msgspec.Raw = msgspec.Raw()
    usage: dict[str, Any] | None = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    """The usage a whole answer reports. Raises UpstreamRejected for an error inside a 200."""
    try:
        answer = _ANSWER.decode(body)
        usage, error, has_choices = answer.usage, answer.error, bool(answer.choices)
    except msgspec.DecodeError:
        value = loads(body)
        usage, error, has_choices = value.get("usage"), value.get("error"), "choices" in value
    if error or not has_choices:
        refusal = error_in(loads(body))
        if refusal is not None:
            raise refusal
        if not has_choices:
            raise UpstreamGarbled("The provider's answer has no choices.")
    return parse_usage(usage)


def read_text(body: bytes, headers: Headers) -> str:
    """All that the choices of a whole answer say."""
    choices = loads(body).get("choices")
    return "".join(
        piece
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict)
        for piece in spoken(choice.get("message"))
    )


CODEC = Codec(
    name="openai_chat",
    has_stream_options=True,
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    watcher=Watcher,
    read_usage=read_usage,
    read_text=read_text,
    parse_request=parse_request,
    render_response=render_response,
    stream_renderer=StreamRenderer,
    render_error=render_error,
    cannot_carry=CANNOT_CARRY,
)
