"""Bytes with a boundary: cuts a provider's body into frames, however the network cut it.

Each framing is an object: `feed(bytes)` gives the frames that are complete, `finish()` what the end of the body
completes. Frames keep the bytes that came (`raw`), so that a verbatim stream is passed on untouched.

Source: SSE https://html.spec.whatwg.org/multipage/server-sent-events.html (read 2026-11-25), without its rule that an
event not closed by a blank line is dropped: providers end their last event at the end of the body.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from oneapi.errors import UpstreamGarbled

MAX_FRAME_BYTES = 16 * 1024 * 1024  # no provider sends larger events; what grows beyond is not a stream of events


@dataclass(slots=True)
class Frame:
    """One event. `data` is its payload, b"" for comments; `event` its name, where the framing has names."""

    raw: bytes
    data: bytes
    event: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Framing(Protocol):
    def feed(self, data: bytes) -> list[Frame]: ...
    def finish(self) -> list[Frame]: ...


_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n|\r\n\n|\r\n\r(?!\n)")
_LINE = re.compile(rb"\r\n|\n|\r")


class SSE:
    """Server-sent events: any line length, `data:` with or without a space, CR, LF or CRLF, several data lines."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        if not self._rest and data[-2:] == b"\n\n" and b"\r" not in data:
            # nearly every read: whole events that end in LF LF
            if data.count(b"\n\n") == 1:
                return [_sse_frame(data)]
            return [_sse_frame(block + b"\n\n") for block in data[:-2].split(b"\n\n") if block.strip(b"\n")]
        whole = self._rest + data
        frames = []
        start = 0
        # A CR at the very end may be the first half of CRLF: wait for more.
        limit = len(whole) - 1 if whole.endswith(b"\r") else len(whole)
        while (match := _BLANK_LINE.search(whole, start, limit)) is not None:
            end = match.end()
            if whole[start:end].strip(b"\r\n"):
                frames.append(_sse_frame(whole[start:end]))
            start = end
        self._rest = whole[start:]
        if len(self._rest) > MAX_FRAME_BYTES:
            raise UpstreamGarbled("The provider sent an event larger than 16 MiB.")
        return frames

    def finish(self) -> list[Frame]:
        rest, self._rest = self._rest, b""
        return [_sse_frame(rest)] if rest.strip(b"\r\n") else []


def _sse_frame(raw: bytes) -> Frame:
    if raw[:6] == b"data: " and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return Frame(raw, raw[6:-2])
    event = ""
    data: list[bytes] = []
    for line in _LINE.split(raw):
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode("utf-8", "replace")
    return Frame(raw, b"\n".join(data), event)


class NDJSON:
    """One JSON value per line; blank lines are dropped."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_FRAME_BYTES:
            raise UpstreamGarbled("The provider sent a line longer than 16 MiB.")
        return [Frame(line + b"\n", line.strip()) for line in lines if line.strip()]

    def finish(self) -> list[Frame]:
        rest, self._rest = self._rest, b""
        return [Frame(rest, rest.strip())] if rest.strip() else []


class JSONArray:
    """The elements of one JSON array that arrives bit by bit (Gemini without `alt=sse`)."""

    __slots__ = ("_decoder", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._decoder = json.JSONDecoder()

    def feed(self, data: bytes) -> list[Frame]:
        self._rest = (self._rest + data).lstrip(b" \t\r\n,[")
        frames = []
        while self._rest and not self._rest.startswith(b"]"):
            try:
                text = self._rest.decode("utf-8")
            except UnicodeDecodeError as error:  # a character is cut: look at what is whole
                text = self._rest[: error.start].decode("utf-8")
            try:
                _, end = self._decoder.raw_decode(text)
            except ValueError:
                break
            element = text[:end].encode("utf-8")
            frames.append(Frame(element, element))
            self._rest = self._rest[len(element) :].lstrip(b" \t\r\n,")
        if len(self._rest) > MAX_FRAME_BYTES:
            raise UpstreamGarbled("The provider sent an array element larger than 16 MiB.")
        return frames

    def finish(self) -> list[Frame]:
        if self._rest.strip(b" \t\r\n]"):
            raise UpstreamGarbled("The provider's answer ends inside a JSON value.")
        return []


class AWSEventStream:
    """Amazon's binary event stream. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
    and spec relay.md §8.3: lengths, headers and CRC32 checksums, big-endian."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        self._rest += data
        frames = []
        while len(self._rest) >= 12:
            total, headers_length, checksum = struct.unpack_from(">III", self._rest)
            if zlib.crc32(self._rest[:8]) != checksum or not 16 <= total <= MAX_FRAME_BYTES:
                raise UpstreamGarbled("The provider sent an event-stream message with a damaged prelude.")
            if len(self._rest) < total:
                break
            raw, self._rest = self._rest[:total], self._rest[total:]
            if zlib.crc32(raw[:-4]) != struct.unpack_from(">I", raw, total - 4)[0]:
                raise UpstreamGarbled("The provider sent an event-stream message with a wrong checksum.")
            headers = _aws_headers(raw[12 : 12 + headers_length])
            event = headers.get(":event-type") or headers.get(":exception-type", "")
            frames.append(Frame(raw, raw[12 + headers_length : -4], event, headers))
        return frames

    def finish(self) -> list[Frame]:
        if self._rest:
            raise UpstreamGarbled("The provider's answer ends inside an event-stream message.")
        return []


_AWS_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # value type → bytes of its value


def _aws_headers(block: bytes) -> dict[str, str]:
    headers = {}
    at = 0
    try:
        while at < len(block):
            name_length = block[at]
            name = block[at + 1 : at + 1 + name_length].decode("utf-8")
            at += 1 + name_length
            kind = block[at]
            at += 1
            if kind in (6, 7):  # bytes, string: a length of two bytes first
                (length,) = struct.unpack_from(">H", block, at)
                headers[name] = block[at + 2 : at + 2 + length].decode("utf-8", "replace")
                at += 2 + length
            else:
                at += _AWS_FIXED[kind]
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise UpstreamGarbled("The provider sent an event-stream message with unreadable headers.") from error
    return headers


class Raw:
    """No boundaries: bytes pass as they come (speech)."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[Frame]:
        return [Frame(data, data)]

    def finish(self) -> list[Frame]:
        return []


FRAMINGS: Mapping[str, Callable[[], Framing]] = {
    "sse": SSE,
    "ndjson": NDJSON,
    "json_array": JSONArray,
    "aws": AWSEventStream,
    "raw": Raw,
}
