"""What clients speak: for each relay path's (dialect, mode), its codec and the words around an answer.

A dialect is a protocol's client half. OpenAI's has every mode; others have their own paths and chat alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from oneapi.errors import GatewayError, NotFound, NotImplementedHere
from oneapi.relay.adaptor import Codec, Json, Mode
from oneapi.relay.convert import dumps
from oneapi.relay.exchange import Call
from oneapi.relay.head import Head
from oneapi.relay.protocols import (
    openai_audio,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_moderations,
    rerank,
)
from oneapi.relay.protocols.openai_error import render_error

SSE_HEADERS = (
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    codec: Codec
    head: Callable[[Call, bytes], Head]  # raises InvalidRequest
    stream_headers: tuple[tuple[str, str], ...] = SSE_HEADERS
    comment: bytes = b": keep-alive\n\n"
    id_prefix: str = "chatcmpl-"  # of the id of an answer whose provider gave none
    last: bytes = b"data: [DONE]\n\n"  # how a stream tells that it is whole, where the provider did not
    render_error: Callable[[GatewayError], Json]

    @property
    def may_be_silent(self) -> bool:
        """Whether the client of a stream hears nothing until content comes, for want of a comment."""
        return not self.comment

    def event(self, body: bytes) -> bytes:
        """A whole answer as one event."""
        return b"".join(b"data: " + line + b"\n" for line in body.splitlines()) + b"\n"

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """An error in the middle of a stream; sound just ends."""
        if self.may_be_silent:
            return b""
        return b"data: " + dumps(_error_json(self.render_error, error, request_id)) + b"\n\n"


def error_json(dialect: str, error: GatewayError, request_id: str) -> Json:
    """The error in the dialect's envelope, its message ending with the request id (spec relay.md §1.3)."""
    return _error_json(_ERRORS[dialect], error, request_id)


def _error_json(render: Callable[[GatewayError], Json], error: GatewayError, request_id: str) -> Json:
    body = render(error)
    if not isinstance(error, NotFound | NotImplementedHere):
        body["error"]["message"] += f" (request id: {request_id})"
    return body


def dialect_of(call: Call) -> Dialect:
    found = _DIALECTS.get((call.dialect, call.mode))
    if found is None:
        raise NotImplementedHere(f"{call.method} {call.path} is not implemented by this gateway.")
    return found


def _content_type(call: Call) -> str:
    return call.headers.get("content-type", "")


def _openai(codec: Codec, head: Callable[[Call, bytes], Head], last: bytes = b"data: [DONE]\n\n") -> Dialect:
    return Dialect(codec=codec, head=head, last=last, render_error=render_error)


_DIALECTS: Mapping[tuple[str, Mode], Dialect] = {
    ("openai", "chat"): _openai(openai_chat.CODEC, lambda call, body: openai_chat.head(body)),
    ("openai", "completions"): _openai(openai_completions.CODEC, lambda call, body: openai_completions.head(body)),
    ("openai", "edits"): _openai(openai_completions.EDITS, lambda call, body: openai_completions.edit_head(body)),
    ("openai", "embeddings"): _openai(
        openai_embeddings.CODEC, lambda call, body: openai_embeddings.head(body, call.path_model)
    ),
    ("openai", "moderations"): _openai(openai_moderations.CODEC, lambda call, body: openai_moderations.head(body)),
    # Streams of images end with their last event.
    ("openai", "images"): _openai(openai_images.CODEC, lambda call, body: openai_images.head(body), b""),
    ("openai", "image_edits"): _openai(
        openai_images.EDITS, lambda call, body: openai_images.head(body, _content_type(call), "image_edits"), b""
    ),
    ("openai", "image_variations"): _openai(
        openai_images.EDITS, lambda call, body: openai_images.head(body, _content_type(call), "image_variations"), b""
    ),
    ("openai", "transcription"): _openai(
        openai_audio.CODEC, lambda call, body: openai_audio.head(body, _content_type(call), "transcription")
    ),
    ("openai", "translation"): _openai(
        openai_audio.CODEC, lambda call, body: openai_audio.head(body, _content_type(call), "translation")
    ),
    # Sound has no place for a comment, nor for a word that tells its end.
    ("openai", "speech"): Dialect(
        codec=openai_audio.SPEECH,
        head=lambda call, body: openai_audio.speech_head(body),
        render_error=render_error,
        stream_headers=(("content-type", "audio/mpeg"),),
        comment=b"",
        last=b"",
    ),
    ("openai", "rerank"): _openai(rerank.CODEC, lambda call, body: rerank.head(body)),
}

_ERRORS: Mapping[str, Callable[[GatewayError], Json]] = {"openai": render_error}
