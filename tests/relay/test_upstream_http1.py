"""The parser and the inflater alone: however the bytes are cut, the body is the same."""

from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import UpstreamGarbled
from oneapi.relay.transport.http1 import (
    Inflater,
    RequestLine,
    ResponseParser,
    complete_headers,
    decoding,
    payload,
    render_headers,
)

TEXT = b"data: {}\n\n" * 5 + bytes(range(256))
RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: %d\r\n\r\n%s" % (len(TEXT), TEXT),
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nA: b\r\n\r\n"
    + b"".join(b"%X ;x\r\n%s\r\n" % (len(TEXT[i : i + 50]), TEXT[i : i + 50]) for i in range(0, len(TEXT), 50))
    + b"0\r\nLate: 1\r\n\r\n",
    "end of input": b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n" + TEXT,
    "after hints": b"HTTP/1.1 103 Early Hints\r\nA: c\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 0\r\n\r\n",
}
for coding, compress in {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "x-gzip": lambda data: gzip.compress(data[:20], mtime=0) + gzip.compress(data[20:], mtime=0) + b"\0\0\0",
}.items():
    RESPONSES[coding] = b"HTTP/1.1 200 OK\r\ncontent-encoding: %s\r\nA: b\r\n\r\n" % coding.encode() + compress(TEXT)


def parsed(pieces: list[bytes]) -> tuple[int, dict[str, str], bytes]:
    parser = ResponseParser()
    for piece in pieces:
        parser.feed(piece)
    parser.finish()
    headers, inflater = decoding(parser.headers)
    body = b""
    for piece in parser.pieces:
        body += piece if inflater is None else inflater.take(piece)
    if inflater is not None:
        while more := inflater.take(b""):
            body += more
        inflater.finish()
    return parser.status, {name: headers[name] for name in ("a",)}, body


@pytest.mark.parametrize("name", RESPONSES)
@given(data=st.data())
def test_any_cut_gives_the_same(name: str, data: st.DataObject) -> None:
    response = RESPONSES[name]
    cuts = data.draw(st.lists(st.integers(1, len(response) - 1), unique=True, max_size=30).map(sorted))
    pieces = [response[start:end] for start, end in pairwise([0, *cuts, len(response)])]
    assert parsed(pieces) == (200, {"a": "b"}, b"" if name == "after hints" else TEXT)


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["", "gzip", "deflate"]))
def test_any_bytes_are_a_response_or_garbled(data: bytes, coding: str) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %s\r\na: b\r\n\r\n" % coding.encode() if coding else b""
    try:
        parsed([head + data])
    except UpstreamGarbled as error:
        assert error.upstream_status == 0
    except KeyError as missing:
        assert missing.args == ("a",)  # it was a response, with headers of its own


def test_a_second_response_is_never_part_of_the_first() -> None:
    parser = ResponseParser()
    parser.feed(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\nx: y\r\ncontent-length: 3\r\n\r\nbad"
    )
    assert parser.is_complete and not parser.may_reuse
    assert (parser.status, parser.headers, parser.pieces) == (200, {"content-length": "2"}, [b"ok"])


def test_a_parser_serves_one_response_after_the_other() -> None:
    parser = ResponseParser()
    for number in range(3):
        parser.expect(is_head=False)
        assert parser.is_untouched
        parser.feed(b"HTTP/1.1 200 OK\r\nn: %d\r\ncontent-length: 1\r\n\r\n%d" % (number, number))
        assert (parser.is_complete, parser.may_reuse, parser.is_untouched) == (True, True, False)
        assert (parser.headers["n"], parser.pieces) == (str(number), [b"%d" % number])


def test_a_small_body_that_inflates_to_much_comes_in_portions() -> None:
    inflater = Inflater("gzip")
    bomb = gzip.compress(b"\0" * 50_000_000)
    sizes = [len(inflater.take(bomb))]
    while piece := inflater.take(b""):
        sizes.append(len(piece))
    inflater.finish()
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 1 << 20


def test_many_small_members_come_in_portions_too() -> None:
    inflater = Inflater("gzip")
    sizes = [len(inflater.take(gzip.compress(b"\0" * 500_000) * 100))]
    while piece := inflater.take(b""):
        sizes.append(len(piece))
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 2 << 20


def test_a_head_states_the_length_and_a_large_body_is_not_copied() -> None:
    line, headers = RequestLine("POST", "/v1?x=1", "example.com"), render_headers({"x-a": "é"})
    assert payload(line, headers, b"ab") == (
        "POST /v1?x=1 HTTP/1.1\r\nhost: example.com\r\nx-a: é\r\ncontent-length: 2\r\n\r\nab".encode("latin-1"),
    )
    large = b"x" * 1_000_000
    assert payload(line, headers, large)[1] is large


def test_an_adaptors_host_and_authorization_come_before_the_addresss() -> None:
    line = RequestLine("GET", "/", "h", "Basic x")
    assert payload(line, render_headers({}), b"") == (b"GET / HTTP/1.1\r\nhost: h\r\nauthorization: Basic x\r\n\r\n",)
    lines = render_headers({"host": "signed", "authorization": "Bearer y"})
    assert payload(line, lines, b"") == (b"GET / HTTP/1.1\r\nhost: signed\r\nauthorization: Bearer y\r\n\r\n",)


@pytest.mark.parametrize(
    "headers", [{"a b": "c"}, {"a:": "c"}, {"": "c"}, {"ä": "c"}, {"a": "b\r\nc: d"}, {"a": "\0"}, {"a": "密"}]
)
def test_headers_that_http_cannot_carry(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError) as caught:
        complete_headers(headers)
    assert "密" not in str(caught.value)
