"""Bytes with a boundary: cuts a provider's body into frames, however the network cut it.

Each framing is an object: `feed(bytes)` gives the frames that are complete, `finish()` what the end of the body
completes. Frames keep the bytes that came (`raw`), so that a verbatim stream is passed on untouched.

Source: SSE https://html.spec.whatwg.org/multipage/server-sent-events.html (read 2026-11-25), without its rule that an
event not closed by a blank line is dropped: providers end their last event at the end of the body.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from oneapi.errors import UpstreamGarbled

MAX_FRAME_BYTES = 16 * 1024 * 1024  # no provider sends larger events; what grows beyond is not a stream of events

_NO_HEADERS: Mapping[str, str] = {}


@dataclass(slots=True, init=False)
class Frame:
    """One event. `data` is its payload, b"" for comments; `event` its name, where the framing has names."""

    raw: bytes
    data: bytes
    event: str
    headers: Mapping[str, str]

    # By hand, since a default that is made anew for each frame is what the fast path can least afford.
    def __init__(self, raw: bytes, data: bytes, event: str = "", headers: Mapping[str, str] = _NO_HEADERS) -> None:
        self.raw = raw
        self.data = data
        self.event = event
        self.headers = headers


class Framing(Protocol):
    def feed(self, data: bytes) -> list[Frame]: ...
    def finish(self) -> list[Frame]: ...


_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LONGEST_BLANK_LINE = 4  # CR LF CR LF
_BOM = b"\xef\xbb\xbf"


class SSE:
    """Server-sent events: any line length, `data:` with or without a space, CR, LF or CRLF, several data lines."""

    __slots__ = ("_rest", "_searched")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0  # no event ends within this many bytes of what is left

    def feed(self, data: bytes) -> list[Frame]:
        rest = self._rest
        if not rest and data[-2:] == b"\n\n" and b"\r" not in data:
            # nearly every read: one event of one line, or several, that end in LF LF
            end = len(data) - 2
            if data[:6] == b"data: " and data.find(b"\n") == end:
                return [Frame(data, data[6:end])]
            if 0 < data.find(b"\n\n") == end:
                return [_sse_frame(data)]
            if b"\n\n\n" not in data:
                return [_sse_frame(block + b"\n\n") for block in data[:-2].split(b"\n\n") if block]
        if not rest and data[-4:] == b"\r\n\r\n" and data[:6] == b"data: ":  # Google's, one event of one line
            end = len(data) - 4
            if data.find(b"\r") == end and data.find(b"\n") == end + 1:
                return [Frame(data, data[6:end])]
        rest += data
        # A CR at the very end may be the first half of CRLF: wait for more.
        limit = len(rest) - 1 if rest[-1:] == b"\r" else len(rest)
        frames = []
        start = 0
        while (match := _BLANK_LINE.search(rest, max(start, self._searched), limit)) is not None:
            raw = bytes(rest[start : match.end()])
            if raw.strip(b"\r\n"):
                frames.append(_sse_frame(raw))
            start = self._searched = match.end()
        if start:
            del rest[:start]
        self._searched = max(0, len(rest) - _LONGEST_BLANK_LINE)
        if len(rest) > MAX_FRAME_BYTES:
            raise UpstreamGarbled("The provider sent an event larger than 16 MiB.")
        return frames

    def finish(self) -> list[Frame]:
        rest, self._rest = bytes(self._rest), bytearray()
        return [_sse_frame(rest)] if rest.strip(b"\r\n") else []


def _sse_frame(raw: bytes) -> Frame:
    event = ""
    data: list[bytes] = []
    for line in raw.removeprefix(_BOM).splitlines():
        if line[:5] == b"data:":
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line[:6] == b"event:":
            event = line[7 if line[6:7] == b" " else 6 :].decode("utf-8", "replace")
        elif line == b"data":  # with neither colon nor value
            data.append(b"")
        elif line == b"event":
            event = ""
    return Frame(raw, data[0] if len(data) == 1 else b"\n".join(data), event)


class NDJSON:
    """One JSON value per line; blank lines are dropped."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of a line that goes on
        self._size = 0

    def feed(self, data: bytes) -> list[Frame]:
        first, *lines = data.split(b"\n")
        self._pieces.append(first)
        self._size += len(first)
        if self._size > MAX_FRAME_BYTES:
            raise UpstreamGarbled("The provider sent a line longer than 16 MiB.")
        if not lines:
            return []
        whole = [b"".join(self._pieces), *lines[:-1]]
        self._pieces, self._size = [lines[-1]], len(lines[-1])
        return [Frame(line + b"\n", line.strip()) for line in whole if line.strip()]

    def finish(self) -> list[Frame]:
        rest = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return [Frame(rest, rest.strip())] if rest.strip() else []


_STRUCTURE = re.compile(rb'["{}\[\],]')
_IN_STRING = re.compile(rb'["\\]')


class JSONArray:
    """The elements of one JSON array that arrives bit by bit (Gemini without `alt=sse`); without brackets, JSON values.

    Finds where elements end and reads no further: whether one is JSON shows when it is parsed.
    """

    __slots__ = ("_at", "_base", "_depth", "_is_text", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._at = 0  # what is before has been looked at
        self._base = -1  # depth at which elements stand; -1 while nothing has come
        self._depth = 0
        self._is_text = False

    def feed(self, data: bytes) -> list[Frame]:
        rest = self._rest
        rest += data
        frames: list[Frame] = []
        if self._base < 0:
            begun = rest.lstrip(b" \t\r\n")
            if not begun:
                return frames
            self._base = 1 if begun[:1] == b"[" else 0
        start = 0
        while (at := self._next_sign()) is not None:
            sign = rest[at]
            if sign in b"{[":
                if self._depth < self._base:
                    start = at + 1
                self._depth += 1
            elif sign in b"}]":
                self._depth -= 1
                if self._depth == self._base:
                    frames += self._frame(start, at + 1)
                    start = at + 1
                elif self._depth < self._base:
                    frames += self._frame(start, at)
                    start = at + 1
            elif self._depth == self._base:  # a comma
                frames += self._frame(start, at)
                start = at + 1
        del rest[:start]
        self._at -= start
        if len(rest) > MAX_FRAME_BYTES:
            raise UpstreamGarbled("The provider sent an array element larger than 16 MiB.")
        return frames

    def finish(self) -> list[Frame]:
        if self._depth or self._is_text or self._rest.strip(b" \t\r\n"):
            raise UpstreamGarbled("The provider's answer ends inside a JSON value.")
        return []

    def _next_sign(self) -> int | None:
        """Where the next bracket or comma outside of texts is, None when the bytes are used up."""
        rest = self._rest
        while True:
            match = (_IN_STRING if self._is_text else _STRUCTURE).search(rest, self._at)
            if match is None:
                self._at = len(rest)
                return None
            sign = match[0]
            if sign == b"\\":
                if match.end() == len(rest):  # what it escapes is yet to come
                    self._at = match.start()
                    return None
                self._at = match.end() + 1
                continue
            self._at = match.end()
            if sign != b'"':
                return match.start()
            self._is_text = not self._is_text

    def _frame(self, start: int, end: int) -> list[Frame]:
        element = bytes(self._rest[start:end]).strip(b" \t\r\n")
        return [Frame(element, element)] if element else []


class AWSEventStream:
    """Amazon's binary event stream. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
    and spec relay.md §8.3: lengths, headers and CRC32 checksums, big-endian."""

    __slots__ = ("_headers", "_headers_block", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._headers_block = b""  # of the last message, since nearly all messages of a stream have the same
        self._headers: Mapping[str, str] = {}

    def feed(self, data: bytes) -> list[Frame]:
        rest = self._rest
        rest += data
        frames = []
        start = 0
        while len(rest) - start >= 12:
            total, headers_length, checksum = struct.unpack_from(">III", rest, start)
            if zlib.crc32(rest[start : start + 8]) != checksum or not 16 <= total <= MAX_FRAME_BYTES:
                raise UpstreamGarbled("The provider sent an event-stream message with a damaged prelude.")
            if len(rest) - start < total:
                break
            raw = bytes(rest[start : start + total])
            start += total
            if zlib.crc32(raw[:-4]) != struct.unpack_from(">I", raw, total - 4)[0]:
                raise UpstreamGarbled("The provider sent an event-stream message with a wrong checksum.")
            if headers_length > total - 16:
                raise UpstreamGarbled("The provider sent an event-stream message with unreadable headers.")
            block = raw[12 : 12 + headers_length]
            if block != self._headers_block:
                self._headers, self._headers_block = _aws_headers(block), block
            headers = self._headers
            event = headers.get(":event-type") or headers.get(":exception-type", "")
            frames.append(Frame(raw, raw[12 + headers_length : -4], event, headers))
        del rest[:start]
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
