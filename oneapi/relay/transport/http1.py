"""HTTP/1.1 as bytes, without a socket: the head of a request, the parser of a response, and inflating its body.

Source: RFC 9112 (framing) and RFC 9110 §8.4 (content codings). Lenient where servers are careless and nothing is at
stake: a bare LF, a length beside chunked framing (which wins; the connection is not used again), blanks after a chunk's
size. Strict in all else, since a response that is misunderstood is somebody's answer.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from oneapi.errors import UpstreamGarbled

_MAX_HEAD_BYTES = 65536
_MAX_INFLATED_BYTES = 1 << 20  # at a time: a compressed body may grow a thousandfold
_JOIN_BELOW_BYTES = 1 << 18
_GZIP = 16 + zlib.MAX_WBITS
_DEFAULT_HEADERS = {"user-agent": "oneapi", "accept": "*/*", "accept-encoding": "identity"}
_OWN_HEADERS = ("content-length", "transfer-encoding", "connection")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})  # which state its length even where it is empty

_names: dict[bytes, str] = {}  # header names as they are sent, and as we call them


class RequestLine(NamedTuple):
    """Where a request goes. `authorization` is for a user and a password in the URL, where no header says otherwise."""

    method: str
    target: str
    host: str
    authorization: str = ""


class HeaderLines(NamedTuple):
    """Headers as bytes, each with its line break."""

    data: bytes
    has_host: bool
    has_authorization: bool


def complete_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case, with what we say where nothing else is said, and without what the transport states itself.

    Raises ValueError for what HTTP cannot carry; its words quote nothing.
    """
    named = {**_DEFAULT_HEADERS, **{name.lower(): value.strip(" \t") for name, value in headers.items()}}
    for name in _OWN_HEADERS:
        named.pop(name, None)
    if not all(map(_NAME.fullmatch, named)) or not all(map(_VALUE.fullmatch, named.values())):
        raise ValueError("a header holds characters that HTTP has no place for")
    return named


def render_headers(headers: Mapping[str, str]) -> HeaderLines:
    """Of complete headers."""
    data = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
    return HeaderLines(data, "host" in headers, "authorization" in headers)


def payload(line: RequestLine, headers: HeaderLines, body: bytes) -> tuple[bytes, ...]:
    """What to write, in one piece save for large bodies, which are not worth a copy."""
    head = b"%s %s HTTP/1.1\r\n" % (line.method.encode(), line.target.encode())
    if not headers.has_host:
        head += b"host: %s\r\n" % line.host.encode()
    if line.authorization and not headers.has_authorization:
        head += b"authorization: %s\r\n" % line.authorization.encode()
    if not body and line.method not in METHODS_WITH_BODY:
        return (b"%s%s\r\n" % (head, headers.data),)
    if len(body) < _JOIN_BELOW_BYTES:
        return (b"%s%scontent-length: %d\r\n\r\n%s" % (head, headers.data, len(body), body),)
    return b"%s%scontent-length: %d\r\n\r\n" % (head, headers.data, len(body)), body


class ResponseParser:
    """Reads the responses of one connection, one after the other: `expect`, then `feed` until `is_complete`.

    `pieces` holds the bytes of the body that have come; its owner takes them out.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append
        self.expect(is_head=False)
        self._http = HttpResponseParser(self)
        self._http.set_dangerous_leniencies(
            lenient_chunked_length=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def expect(self, *, is_head: bool) -> None:
        """Gets ready for the next response; `is_head` when the request was HEAD, whose response has no body."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.has_head = False
        self.is_complete = False
        self.may_reuse = False  # whether the connection may carry another request once this response is complete
        self._is_head = is_head
        self._head_bytes = 0
        self._is_chunked = False
        self.pieces.clear()

    @property
    def is_untouched(self) -> bool:
        """Nothing of the response has come."""
        return not self._head_bytes and not self.has_head

    def feed(self, data: bytes) -> None:
        """Takes in bytes, at least one. Raises UpstreamGarbled."""
        try:
            self._http.feed_data(data)
        except HttpParserUpgrade:
            raise UpstreamGarbled("The provider's server changed the protocol, which nobody asked for.") from None
        except HttpParserError as error:
            if not self.is_complete:
                raise UpstreamGarbled(f"The provider's answer is not HTTP: {str(error).lower()}.") from None
            self.may_reuse = False  # there are bytes beyond the end
        if not self.has_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                raise UpstreamGarbled("The head of the provider's answer is longer than 64 KiB.")

    def finish(self) -> None:
        """At the end of input, after the head. Raises UpstreamGarbled when the body is cut."""
        if not self.is_complete and (self._is_chunked or "content-length" in self.headers):
            raise UpstreamGarbled("The provider's answer was cut short.")
        self.is_complete = True
        self.may_reuse = False

    # ---- called by httptools, which turns what they raise into a parser error ----

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise ValueError("a response that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:
            return  # a trailer
        key = header_name(name)
        text = value.decode("latin-1").rstrip(" \t")
        headers = self.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        if self.is_complete:
            return
        status = self._http.get_status_code()
        if status < 200:
            self.headers = {}
            return
        self.status = status
        self.has_head = True
        self.may_reuse = self._http.should_keep_alive()
        coding = self.headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() not in ("chunked", "identity"):
                raise ValueError("transfer coding")
            self._is_chunked = coding.lower() == "chunked"
            if "content-length" in self.headers:
                self.may_reuse = False
        if self._is_head:
            self.is_complete = True
            # The parser now waits for the body that the length speaks of.
            self.may_reuse = False

    def on_message_complete(self) -> None:
        if self.has_head:
            self.is_complete = True


def header_name(name: bytes) -> str:
    """As we call it: in lower case."""
    text = _names.get(name)
    if text is None:
        text = name.decode("latin-1").lower()
        if len(_names) < 1000:
            _names[name] = text
    return text


def decoding(headers: Mapping[str, str]) -> tuple[Mapping[str, str], Inflater | None]:
    """What undoes the content coding, None where there is none, and the headers that the decoded body has.

    Raises UpstreamGarbled for a coding that is not known.
    """
    coding = headers.get("content-encoding", "").lower()
    if coding in ("", "identity"):
        return headers, None
    undone = ("content-encoding", "content-length")
    return {name: value for name, value in headers.items() if name not in undone}, Inflater(coding)


class Inflater:
    """Undoes gzip or deflate, however the bytes are cut."""

    def __init__(self, coding: str) -> None:
        """Raises UpstreamGarbled for another coding."""
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise UpstreamGarbled("The provider's answer is compressed in a way that nobody asked for.")
        self._is_undecided = coding == "deflate"
        self._stream = zlib.decompressobj(_GZIP)
        self._rest = b""
        self._has_begun = False
        self._has_more = False  # output was held back
        self._has_whole_member = False

    def take(self, data: bytes) -> bytes:
        """What `data` and all before it inflate to; what goes beyond a limit comes with the next calls."""
        data = self._rest + data
        self._rest = b""
        if self._is_undecided and data:
            self._has_begun = True
            if len(data) == 1:
                self._rest = data
                return b""
            # "deflate" means zlib's format, but some servers send it bare (RFC 9110 §8.4.1.2). Two bytes tell.
            is_zlib = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
            self._is_undecided = False
        out = b""
        while (data or self._has_more) and len(out) < _MAX_INFLATED_BYTES:
            self._has_begun = True
            try:
                piece = self._stream.decompress(data, _MAX_INFLATED_BYTES)
            except zlib.error:
                self._has_more = False
                if self._has_whole_member:  # what follows a whole member and is none is padding
                    return out
                raise UpstreamGarbled("The provider's answer cannot be decompressed.") from None
            out += piece
            self._has_more = len(piece) == _MAX_INFLATED_BYTES
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data = self._stream.unused_data
                self._has_more = False
                self._has_whole_member = True
                self._stream = zlib.decompressobj(_GZIP)
        self._rest = data
        return out

    def finish(self) -> None:
        """At the end of the body. Raises UpstreamGarbled when it is cut."""
        if self._has_begun and not self._has_whole_member:
            raise UpstreamGarbled("The provider's answer was cut short.")
