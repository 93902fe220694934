"""Gemini's generateContent: the protocol of Google AI Studio and of Gemini models on Vertex AI.

Source: https://ai.google.dev/api/generate-content (read 2026-11-25), and recorded answers. The request is in
gemini_request.py, the answer in gemini_answer.py, errors in gemini_error.py. This file has the codec, and what a
stream that passes as it came needs.

The model and whether to stream stand in the URL, not in the body.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, Codec, Headers
from oneapi.relay.framing import Frame
from oneapi.relay.protocols.gemini_answer import (
    StreamParser,
    StreamRenderer,
    parse_response,
    parse_usage,
    render_response,
)
from oneapi.relay.protocols.gemini_error import parse_error, render_error
from oneapi.relay.protocols.gemini_request import CANNOT_CARRY, drops, parse_request, render_request
from oneapi.relay.protocols.provider_json import loads

_ABSENT = msgspec.Raw(b"null")  # a field may be Raw or null, but not of the type of both


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    functionCall: msgspec.Raw = _ABSENT
    inlineData: msgspec.Raw = _ABSENT
    executableCode: msgspec.Raw = _ABSENT
    codeExecutionResult: msgspec.Raw = _ABSENT


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False):
    content: _Content | None = None
    finishReason: str | int | None = None
    index: int | None = None


class _Chunk(msgspec.Struct, gc=False):
    candidates: list[_Candidate] | None = None
    usageMetadata: dict[str, Any] | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class Watcher:
    """Sees in the frames of a verbatim stream what the meter needs.

    The frame in which the last candidate ends is the answer's last where it has the usage as well.
    """

    __slots__ = ("_open", "_pieces", "has_finished", "usage")

    def __init__(self) -> None:
        self._open: set[int] = set()  # candidates that have begun and not ended
        self._pieces: list[str] = []
        self.usage: ir.Usage | None = None
        self.has_finished = False

    def feed(self, frame: Frame) -> int:
        if not frame.data:
            return NOTHING
        try:
            chunk = _decode(frame.data)
        except msgspec.DecodeError as error:
            raise UpstreamGarbled("The provider's answer is not what its protocol says.") from error
        if chunk.error or not chunk.candidates:
            # An error, a blocked prompt, or usage alone: the parser knows how each is told.
            list(StreamParser().feed_chunk(loads(frame.data)))
        usage = parse_usage(chunk.usageMetadata)
        self.usage = usage or self.usage
        sight = NOTHING
        for position, candidate in enumerate(chunk.candidates or ()):
            number = position if candidate.index is None else candidate.index
            self._open.add(number)
            said = _spoken(candidate)
            if said:
                self._pieces += said
                sight = CONTENT
            if candidate.finishReason:
                self._open.discard(number)
                self.has_finished = True
                sight = CONTENT
        if self.has_finished and not self._open and usage is not None:
            return LAST
        return sight

    def take_text(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text


def _spoken(candidate: _Candidate) -> list[str]:
    """The text of all kinds that a candidate says; empty when it says nothing at all."""
    said = []
    for part in (candidate.content.parts if candidate.content else None) or ():
        if part.text:
            said.append(part.text)
        for raw in (part.functionCall, part.executableCode, part.codeExecutionResult):
            if raw != _ABSENT:
                said.append(bytes(raw).decode("utf-8", "replace"))
        if part.inlineData != _ABSENT:
            said.append("")  # a picture or sound is not text
    return said


def read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    """The usage a whole answer reports. Raises UpstreamRejected for an error inside a 200, or a blocked prompt."""
    return parse_response(loads(body)).usage


def read_text(body: bytes, headers: Headers) -> str:
    """All that the candidates of a whole answer say."""
    try:
        chunk = _decode(body)
    except msgspec.DecodeError:
        return ""
    return "".join(piece for candidate in chunk.candidates or () for piece in _spoken(candidate))


CODEC = Codec(
    name="gemini",
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
    has_model=False,
)
