"""Anthropic's messages: the protocol of Claude, and a dialect of its own paths.

Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-25). This file has what the hot path needs: the
quick look at a request, and the watcher of a stream that passes as it came. The request is in anthropic_request.py,
the answer in anthropic_answer.py, what models take in anthropic_models.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, Codec, Headers, Json
from oneapi.relay.framing import Frame
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json
from oneapi.relay.protocols.anthropic_answer import StreamParser, StreamRenderer, parse_response, render_response
from oneapi.relay.protocols.anthropic_error import error_in, parse_error, render_error
from oneapi.relay.protocols.anthropic_parts import arguments_text
from oneapi.relay.protocols.anthropic_request import CANNOT_CARRY, drops, parse_request, render_request
from oneapi.relay.protocols.anthropic_usage import merged, parse_usage
from oneapi.relay.protocols.provider_json import loads

# ---- a client's request ----


class _Request(msgspec.Struct, gc=False):
    model: str | None = None
    messages: list[msgspec.Raw] | None = None
    stream: bool | None = None
    max_tokens: int | None = None


_REQUEST = msgspec.json.Decoder(_Request)


def head(body: bytes) -> Head:
    """What routing and pricing need of a request. Raises InvalidRequest naming the field that is wrong."""
    request = client_json.read(body, _REQUEST)
    model = client_json.require_model(request.model)
    client_json.require(request.messages, "messages")
    client_json.check_range("max_tokens", request.max_tokens, 0, client_json.MAX_TOKENS)
    return Head(
        mode="chat",
        model=model,
        stream=bool(request.stream),
        wants_usage=True,
        max_output_tokens=request.max_tokens,
        input_bytes=len(body),
    )


# ---- a stream that passes as it came ----


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Block(msgspec.Struct, gc=False):
    name: str | None = None
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    usage: dict[str, Any] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: dict[str, Any] | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode_event = msgspec.json.Decoder(_Event).decode


class Watcher:
    """Sees in the frames of a verbatim stream what the meter needs."""

    __slots__ = ("_block", "_pieces", "has_finished", "usage")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._block: Json = {}
        self.usage: ir.Usage | None = None
        self.has_finished = False

    def feed(self, frame: Frame) -> int:
        if not frame.data:
            return NOTHING
        try:
            event = _decode_event(frame.data)
        except msgspec.DecodeError as error:
            if (refusal := error_in(loads(frame.data))) is not None:
                raise refusal from error
            raise UpstreamGarbled("The provider sent an event that cannot be read.") from error
        if (delta := event.delta) is not None and event.type == "content_block_delta":
            self._pieces.append(delta.text or delta.thinking or delta.partial_json or "")
            return CONTENT
        match event.type:
            case "content_block_start":
                if (block := event.content_block) is not None:
                    self._pieces.append(block.name or block.text or "")
                return CONTENT
            case "message_start":
                if event.message is not None:
                    self._count(event.message.usage)
            case "message_delta":
                self._count(event.usage)
                if delta is not None and delta.stop_reason:
                    self.has_finished = True
                    return CONTENT
            case "message_stop":
                return LAST
            case _ if event.error and (refusal := error_in(loads(frame.data))) is not None:
                raise refusal
        return NOTHING

    def take_text(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def _count(self, block: Json | None) -> None:
        self._block = merged(self._block, block)
        self.usage = parse_usage(self._block)


# ---- a whole answer that passes as it came ----


def read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    """The usage a whole answer reports. Raises UpstreamRejected for an error inside a 200."""
    answer = loads(body)
    if (refusal := error_in(answer)) is not None:
        raise refusal
    if not isinstance(answer.get("content"), list):
        raise UpstreamGarbled("The provider's answer has no content.")
    return parse_usage(answer.get("usage"))


def read_text(body: bytes, headers: Headers) -> str:
    """All that a whole answer says."""
    said: list[str] = []
    content = loads(body).get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            said += [text for name in ("name", "text", "thinking") if isinstance(text := block.get(name), str)]
            said.append(arguments_text(block["input"]) if "input" in block else "")
    return "".join(said)


CODEC = Codec(
    name="anthropic",
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
    drops=drops,
)
