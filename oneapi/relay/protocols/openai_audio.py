"""OpenAI's audio: speech, transcriptions and translations.

Source: https://platform.openai.com/docs/api-reference/audio (read 2026-11-25), spec relay.md §4.4 with defects 35, 36
and 57 mended: speech is measured in characters, recordings in seconds where the provider tells them. These go verbatim
only; a mapped model is rewritten in the form.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec

from oneapi.errors import InvalidRequest
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, Codec, Headers, Mode
from oneapi.relay.framing import Frame
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json, multipart
from oneapi.relay.protocols.multipart import with_model as with_model
from oneapi.relay.protocols.openai_error import render_error
from oneapi.relay.protocols.openai_usage import parse_usage, read_reported_usage
from oneapi.relay.protocols.provider_error import error_in, parse_error
from oneapi.relay.protocols.provider_json import loads

DEFAULT_MODEL = "whisper-1"
MAX_SPEECH_CHARACTERS = 4096

# ---- speech ----


class _SpeechRequest(msgspec.Struct, gc=False):
    model: str | None = None
    input: str | None = None
    voice: Any = None
    stream_format: str | None = None


_SPEECH_REQUEST = msgspec.json.Decoder(_SpeechRequest)


def speech_head(body: bytes) -> Head:
    """Speech always streams: players begin before the recording is whole. Raises InvalidRequest."""
    request = client_json.read(body, _SPEECH_REQUEST, code="invalid_json")
    model = client_json.require_model(request.model, code="invalid_json")
    client_json.require(request.input, "input", code="invalid_json")
    characters = len(request.input or "")
    if characters > MAX_SPEECH_CHARACTERS:
        raise InvalidRequest(
            f"The text to be spoken has {characters} characters; at most {MAX_SPEECH_CHARACTERS} are allowed.",
            param="input",
            code="text_too_long",
        )
    return Head(mode="speech", model=model, stream=True, input_bytes=len(body), characters=characters)


class SpeechWatcher:
    """Sound has no boundaries and is whole at the end of the body; as events (`stream_format` sse) it reports usage."""

    __slots__ = ("_tail", "has_finished", "usage")

    def __init__(self) -> None:
        self.usage: ir.Usage | None = None
        self.has_finished = False
        self._tail = b""

    def feed(self, frame: Frame) -> int:
        self._tail = (self._tail + frame.data)[-_DONE_BYTES:]
        self.has_finished = True
        if (match := _SPEECH_DONE.search(self._tail)) is not None:
            self.usage = parse_usage(loads(match[1]).get("usage"))
        return CONTENT

    def take_text(self) -> str:
        return ""  # sound is not counted as text


_DONE_BYTES = 2048
_SPEECH_DONE = re.compile(rb'^data: ?(\{[^\n]*"speech\.audio\.done"[^\n]*\})\r?\n', re.MULTILINE)

# ---- transcriptions and translations ----


def head(body: bytes, content_type: str, mode: Mode = "transcription") -> Head:
    """The head of a recording's form. Raises InvalidRequest naming the field that is wrong."""
    parts = multipart.parts(body, content_type)
    form = multipart.fields(body, parts)
    recording = next((part for part in parts if part.name == "file" and part.filename is not None), None)
    if recording is None and not form.get("file") and not form.get("url"):
        raise InvalidRequest("Field 'file' is required.", param="file")
    size = recording.end - recording.start if recording else 0
    return Head(
        mode=mode,
        model=form.get("model") or DEFAULT_MODEL,
        names_model=bool(form.get("model")),
        stream=form.get("stream", "").lower() in ("true", "1"),
        input_bytes=size,
        audio_seconds=wav_seconds(body, recording.start, recording.end) if recording else 0.0,
    )


def wav_seconds(body: bytes, start: int, end: int) -> float:
    """How long the WAV recording in body[start:end] is; 0 for anything else.

    Source: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html (read 2026-11-25).
    """
    if body[start : start + 4] != b"RIFF" or body[start + 8 : start + 12] != b"WAVE":
        return 0.0
    at, bytes_per_second = start + 12, 0
    while at + 8 <= end:
        name = body[at : at + 4]
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        if name == b"fmt " and at + 20 <= end:
            bytes_per_second = int.from_bytes(body[at + 16 : at + 20], "little")
        elif name == b"data" and bytes_per_second:
            return min(size, end - at - 8) / bytes_per_second  # a stream's header may claim more than there is
        at += 8 + size + size % 2
    return 0.0


def read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    """Tokens or seconds, as the answer tells: in `usage`, in `duration`, or by its last subtitle; None for plain text.

    Raises UpstreamRejected for an error inside a 200.
    """
    if body.lstrip()[:1] != b"{":
        seconds = subtitle_seconds(body)
        return ir.Usage(units={"seconds": seconds}) if seconds else None
    answer = loads(body)
    if answer.get("error") and (refusal := error_in(answer)) is not None:
        raise refusal
    return usage_of(answer)


def usage_of(answer: dict[str, Any]) -> ir.Usage | None:
    """The usage of a transcription, or of the last event of one that streams."""
    block = answer.get("usage")
    usage = parse_usage(block)
    told = block if isinstance(block, dict) else {}
    seconds = _positive(told.get("seconds")) or _positive(answer.get("duration"))
    return replace(usage or ir.Usage(raw=told or None), units={"seconds": seconds}) if seconds else usage


def _positive(value: Any) -> float:
    """The number, 0 for anything else; old whispers give the duration as text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if 0 < number < 1e9 else 0.0


_CUE = re.compile(rb"-->[ \t]*(?:(\d+):)?(\d\d):(\d\d)[.,](\d\d\d)")
_CUE_LINE = re.compile(r"^(?:WEBVTT.*|\d+|NOTE.*|[^\n]*-->[^\n]*)$", re.MULTILINE)


def subtitle_seconds(body: bytes) -> float:
    """When the last cue of SRT or VTT subtitles ends; 0 for other text."""
    end = 0.0
    for hours, minutes, seconds, milliseconds in _CUE.findall(body):
        end = max(end, int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(milliseconds) / 1000)
    return end


def read_text(body: bytes, headers: Headers) -> str:
    """What was said, of an answer in any of the formats: json, verbose_json, text, srt, vtt."""
    if body.lstrip()[:1] == b"{":
        text = loads(body).get("text")
        return text if isinstance(text, str) else ""
    text = body.decode("utf-8", "replace")
    if "-->" not in text:
        return text.removesuffix("\n")
    return "\n".join(line for line in _CUE_LINE.sub("", text.replace("\r\n", "\n")).split("\n") if line)


class Watcher:
    """Sees the text and usage of a transcription that streams."""

    __slots__ = ("_has_deltas", "_pieces", "has_finished", "usage")

    def __init__(self) -> None:
        self._has_deltas = False
        self._pieces: list[str] = []
        self.usage: ir.Usage | None = None
        self.has_finished = False

    def feed(self, frame: Frame) -> int:
        data = frame.data
        if not data:
            return NOTHING
        if data[:6] == b"[DONE]":
            return LAST
        event = loads(data)
        kind = event.get("type")
        if (event.get("error") or kind == "error") and (error := error_in(event)) is not None:
            raise error
        if kind == "transcript.text.done":
            self.has_finished = True
            self.usage = usage_of(event) or self.usage
            if not self._has_deltas:  # with speakers told apart there are only segments
                self._pieces.append(str(event.get("text") or ""))
        elif isinstance(text := event.get("delta"), str):
            self._has_deltas = True
            self._pieces.append(text)
        return CONTENT

    def take_text(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text


SPEECH = Codec(
    name="openai_speech",
    parse_error=parse_error,
    watcher=SpeechWatcher,
    read_usage=read_reported_usage,  # of providers that put the sound into JSON
    render_error=render_error,
)
CODEC = Codec(
    name="openai_audio",
    parse_error=parse_error,
    watcher=Watcher,
    read_usage=read_usage,
    read_text=read_text,
    render_error=render_error,
)
