"""What a reply promises, on each way a request can take: a plain socket, TLS, and both behind a proxy."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import gevent
import pytest
from gevent.event import Event

from oneapi.config import Config
from oneapi.errors import UpstreamError, UpstreamGarbled, UpstreamUnreachable
from oneapi.relay.adaptor import UpstreamRequest
from oneapi.relay.exchange import UpstreamReply
from oneapi.relay.upstream import Upstream
from tests.relay.wire import (
    CLOSE,
    HOST,
    KEY,
    Answer,
    Clock,
    Request,
    Server,
    channel,
    chunked,
    dribbles,
    listening,
    proxying,
    read_all,
    resets,
    says,
    serving,
    trusting,
    wait_until,
    whole,
)

EVENT = b'data: {"n":1}\n\n'


@dataclass
class Way:
    """A way to a server: how `serving` and `Upstream` must be set up for it."""

    is_tls: bool
    proxy: str | None
    clock: Clock
    upstream: Upstream

    @contextmanager
    def to(self, answer: Answer) -> Iterator[Server]:
        with serving(answer, tls=HOST if self.is_tls else "") as server:
            yield server

    def send(self, server: Server, path: str = "/v1/chat/completions", **more: Any) -> UpstreamReply:
        request = UpstreamRequest(
            url=server.url(path, "https" if self.is_tls else "http"),
            **{"headers": {"Authorization": f"Bearer {KEY}"}, "body": b"{}", **more},
        )
        return self.upstream.send(request, channel(proxy=self.proxy), True)

    def ask(self, answer: Answer, **more: Any) -> bytes:
        with self.to(answer) as server:
            return read_all(self.send(server, **more))


def _way(is_tls: bool, is_proxied: bool) -> Iterator[Way]:
    with ExitStack() as stack:
        proxy = stack.enter_context(proxying()).url if is_proxied else ""
        clock = Clock()
        upstream = Upstream(Config(), monotonic=clock, make_tls=trusting())
        yield Way(is_tls, proxy, clock, upstream)
        upstream.close()
        gevent.sleep(0)  # greenlets that were killed let go of their sockets


@pytest.fixture(params=["http", "https", "http through a proxy", "https through a proxy"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    yield from _way(request.param.startswith("https"), request.param.endswith("proxy"))


@pytest.fixture(params=["http", "https"])
def direct(request: pytest.FixtureRequest) -> Iterator[Way]:
    yield from _way(request.param == "https", False)


# ---- the request ----


def test_sends_the_request_as_it_is_given(direct: Way) -> None:
    with direct.to(says(whole(b"ok"))) as server:
        headers = {"Authorization": "Bearer k", "X-Api-Key": "é", "Content-Length": "7", "Connection": "close"}
        read_all(direct.send(server, "/v1/a%3Ab?x=1&y=%20", headers=headers, body=b"\x00\xff{}"))
    (request,) = server.requests
    assert request.first_line == b"POST /v1/a%3Ab?x=1&y=%20 HTTP/1.1"
    assert request.body == b"\x00\xff{}"
    assert dict(line.split(b": ") for line in request.head.split(b"\r\n")[1:]) == {
        b"host": f"{HOST}:{server.port}".encode(),
        b"user-agent": b"oneapi",
        b"accept": b"*/*",
        b"accept-encoding": b"identity",
        b"authorization": b"Bearer k",
        b"x-api-key": "é".encode("latin-1"),
        b"content-length": b"4",
    }


def test_sends_the_same_through_a_proxy_and_without(way: Way) -> None:
    with way.to(says(whole(b"ok"))) as server:
        read_all(way.send(server, "/v1/a%3Ab?x=1", body=b"body"))
    (request,) = server.requests
    assert request.first_line == b"POST /v1/a%3Ab?x=1 HTTP/1.1"
    assert request.body == b"body"
    assert request.header(b"authorization") == [b"Bearer " + KEY.encode()]
    assert request.header(b"accept-encoding") == [b"identity"]
    assert request.header(b"content-length") == [b"4"]
    assert request.header(b"user-agent") == [b"oneapi"]


def test_states_an_empty_body_only_where_a_body_is_expected(way: Way) -> None:
    with way.to(says(whole(b"ok"))) as server:
        read_all(way.send(server, body=b""))
        read_all(way.send(server, method="GET", body=b""))
    assert [request.header(b"content-length") for request in server.requests] == [[b"0"], []]


def test_sends_a_large_body_unharmed(way: Way) -> None:
    body = bytes(range(256)) * 20_000
    with way.to(says(whole(b"ok"))) as server:
        read_all(way.send(server, body=body))
    assert server.requests[0].body == body


def test_a_user_in_the_address_becomes_basic_authorization(way: Way) -> None:
    with way.to(says(whole(b"ok"))) as server:
        request = UpstreamRequest(
            url=server.url("/", "https" if way.is_tls else "http").replace("://", "://user:pass@"), body=b"{}"
        )
        read_all(way.upstream.send(request, channel(proxy=way.proxy), False))
    assert server.requests[0].header(b"authorization") == [b"Basic dXNlcjpwYXNz"]
    assert server.requests[0].header(b"host") == [f"{HOST}:{server.port}".encode()]


@pytest.mark.parametrize("value", [f"Bearer {KEY}\r\nx: y", f"Bearer {KEY}\n", f"Bearer {KEY}密"])
def test_a_key_that_http_cannot_carry_is_refused_without_being_quoted(way: Way, value: str) -> None:
    with way.to(says(whole(b"ok"))) as server, pytest.raises(UpstreamUnreachable) as caught:
        way.send(server, headers={"Authorization": value})
    assert caught.value.phase == "connect"
    assert KEY not in repr(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


# ---- the reply's framings ----

BODIES = {
    "length": (whole(b"hello world"), False),
    "chunks": (chunked(b"hello ", b"world"), False),
    "chunks with extensions and a trailer": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;a=b\r\nhello \r\n5\r\nworld\r\n0\r\nX-Late: 1\r\n\r\n",
        False,
    ),
    "end of input": (b"HTTP/1.1 200 OK\r\n\r\nhello world", True),
    "end of input, HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello world", True),
    "length, closing": (whole(b"hello world", b"Connection: close"), True),
    "bare line feeds": (b"HTTP/1.1 200 OK\ncontent-length: 11\n\nhello world", False),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 11\r\n\r\nhello world", False),
    "after 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"hello world"), False),
    "gzip": (whole(gzip.compress(b"hello world"), b"Content-Encoding: gzip"), False),
    "gzip in chunks": (
        chunked(gzip.compress(b"hello "), gzip.compress(b"world"), headers=(b"content-encoding: x-gzip",)),
        False,
    ),
    "deflate": (whole(zlib.compress(b"hello world"), b"Content-Encoding: deflate"), False),
    "bare deflate": (whole(zlib.compress(b"hello world", wbits=-15), b"Content-Encoding: DEFLATE"), False),
    "identity": (whole(b"hello world", b"Content-Encoding: identity"), False),
}


@pytest.mark.parametrize("name", BODIES)
def test_reads_each_framing(way: Way, name: str) -> None:
    data, then_close = BODIES[name]
    assert way.ask(says(data, then_close=then_close)) == b"hello world"


@pytest.mark.parametrize("name", BODIES)
def test_reads_each_framing_byte_by_byte(way: Way, name: str) -> None:
    data, then_close = BODIES[name]
    assert way.ask(dribbles(data, then_close=then_close)) == b"hello world"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_statuses_have_no_body_whatever_the_length_says(way: Way, status: bytes) -> None:
    with way.to(says(b"HTTP/1.1 %s\r\ncontent-length: 5\r\n\r\n" % status)) as server:
        assert read_all(way.send(server)) == b""
        assert read_all(way.send(server)) == b""


def test_a_reply_to_head_has_no_body(way: Way) -> None:
    with way.to(says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")) as server:
        reply = way.send(server, method="HEAD", body=b"")
        assert read_all(reply) == b""
        assert reply.headers["content-length"] == "5"


def test_early_hints_are_skipped(direct: Way) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    with direct.to(says(hints + whole(b"ok", b"a: b"))) as server:
        for _ in range(2):
            reply = direct.send(server)
            assert read_all(reply) == b"ok"
            assert (reply.status, reply.headers) == (200, {"content-length": "2", "a": "b"})


def test_headers_are_in_lower_case_and_repeated_ones_joined(way: Way) -> None:
    with way.to(says(whole(b"", b"X-A: 1", b"x-a:  2 ", b"Set-Cookie: c=1", status=b"418 I'm a teapot"))) as server:
        reply = way.send(server)
        read_all(reply)
    assert reply.status == 418
    assert reply.headers == {"content-length": "0", "x-a": "1, 2", "set-cookie": "c=1"}


def test_an_inflated_body_has_neither_coding_nor_length(way: Way) -> None:
    data = whole(gzip.compress(b"x" * 3_000_000), b"Content-Encoding: gzip", b"A: b")
    with way.to(says(data)) as server:
        reply = way.send(server)
        assert reply.wait(5)
        assert reply.headers == {"a": "b"}
        sizes = []
        while piece := reply.read(5):
            sizes.append(len(piece))
        reply.close()
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= 2 << 20  # it was 3 kB on the wire: what it grows to comes in portions


def test_a_redirect_is_a_reply(way: Way) -> None:
    with way.to(
        says(whole(b"moved", b"Location: http://example.invalid/", status=b"307 Temporary Redirect"))
    ) as server:
        reply = way.send(server)
        assert read_all(reply) == b"moved"
        assert (reply.status, reply.headers["location"]) == (307, "http://example.invalid/")
        assert server.connections == 1


def test_reads_a_line_of_a_mebibyte(way: Way) -> None:
    line = b"data: " + b"x" * (1 << 20) + b"\n\n"
    assert way.ask(says(chunked(line))) == line


# ---- replies that break ----

CUT = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello",
    "chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\nhello",
    "last chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("is_reset", [False, True])
def test_a_body_cut_short_gives_what_came_and_then_garbled(way: Way, name: str, is_reset: bool) -> None:
    answer = resets(CUT[name]) if is_reset else says(CUT[name], then_close=True)
    with way.to(answer) as server:
        reply = way.send(server)
        assert reply.wait(5)
        assert reply.read(5) == b"hello"
        with pytest.raises(UpstreamGarbled):
            reply.read(5)
        with pytest.raises(UpstreamGarbled):
            reply.read(5)
        reply.close()
        reply.close()


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("damage", ["cut", "wrong"])
def test_a_damaged_compressed_body_is_garbled(way: Way, coding: bytes, damage: str) -> None:
    data = (gzip.compress if coding == b"gzip" else zlib.compress)(b"hello world" * 100)
    data = data[:-6] if damage == "cut" else b"\x1f\x8b\x08\xff" + b"\xff" * 40
    with pytest.raises(UpstreamGarbled):
        way.ask(says(whole(data, b"content-encoding: " + coding)))


def test_an_unknown_compression_is_garbled(way: Way) -> None:
    with pytest.raises(UpstreamGarbled):
        way.ask(says(whole(b"\x0b\x02\x80hello\x03", b"content-encoding: br")))


def test_a_connection_closed_without_an_answer_is_unreachable(way: Way) -> None:
    with way.to(lambda sock, request: CLOSE) as server, pytest.raises(UpstreamUnreachable) as caught:
        read_all(way.send(server))
    assert caught.value.phase == "first_byte"
    assert server.connections == 1


def test_a_connection_reset_without_an_answer_is_unreachable(way: Way) -> None:
    with way.to(resets(b"")) as server, pytest.raises(UpstreamUnreachable) as caught:
        read_all(way.send(server))
    assert caught.value.phase == "first_byte"


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n"])
def test_what_is_not_http_is_garbled(way: Way, data: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        way.ask(says(data, then_close=True))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
    ],
)
def test_http_that_cannot_be_trusted_is_garbled(direct: Way, data: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        direct.ask(says(data, then_close=True))


# ---- slices of time, and limits ----


def test_wait_and_read_give_up_after_their_slice(way: Way) -> None:
    head, begin, end = Event(), Event(), Event()

    def answer(sock: Any, _: Request) -> None:
        head.wait()
        sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        begin.wait()
        sock.sendall(b"5\r\nhello\r\n")
        end.wait()
        sock.sendall(b"0\r\n\r\n")

    with way.to(answer) as server:
        reply = way.send(server)
        assert [reply.wait(0.02), reply.wait(0.02), reply.wait(0)] == [False, False, False]
        head.set()
        assert [reply.wait(5), reply.wait(0)] == [True, True]
        assert [reply.read(0.02), reply.read(0)] == [None, None]
        begin.set()
        assert reply.read(5) == b"hello"
        assert reply.read(0.02) is None
        end.set()
        assert [reply.read(5), reply.read(0)] == [b"", b""]
        reply.close()


def test_a_slice_lasts_its_time_though_bytes_come_that_are_no_content(direct: Way) -> None:
    def answer(sock: Any, _: Request) -> None:
        for byte in b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n":
            sock.sendall(bytes((byte,)))
            gevent.sleep(0.005)

    with direct.to(answer) as server:
        reply = direct.send(server)
        began = time.monotonic()
        assert not reply.wait(0.1)
        assert time.monotonic() - began > 0.09
        reply.close()


def test_a_provider_that_does_not_answer_is_unreachable_after_ten_minutes(way: Way) -> None:
    with way.to(lambda sock, request: gevent.sleep(5)) as server:
        reply = way.send(server)
        assert not reply.wait(0.05)
        way.clock.ahead_s += 599
        assert not reply.wait(0.05)
        way.clock.ahead_s += 1
        with pytest.raises(UpstreamUnreachable) as caught:
            reply.wait(0.05)
        assert caught.value.phase == "first_byte"


def test_a_stream_that_falls_silent_is_unreachable_after_five_minutes(way: Way) -> None:
    def answer(sock: Any, _: Request) -> None:
        sock.sendall(chunked(EVENT)[: -len(b"0\r\n\r\n")])
        gevent.sleep(5)

    with way.to(answer) as server:
        reply = way.send(server)
        assert reply.wait(5)
        assert reply.read(5) == EVENT
        assert reply.read(0.02) is None
        way.clock.ahead_s += 299
        assert reply.read(0.02) is None
        way.clock.ahead_s += 1
        with pytest.raises(UpstreamUnreachable) as caught:
            reply.read(0.02)
    assert caught.value.phase == "idle"


def test_a_slow_reader_is_not_a_silent_provider(way: Way) -> None:
    with way.to(says(chunked(EVENT, EVENT))) as server:
        reply = way.send(server)
        assert reply.wait(5)
        way.clock.ahead_s += 1000
        assert read_all(reply) == EVENT * 2


def test_a_stream_may_last_as_long_as_it_likes(way: Way) -> None:
    def answer(sock: Any, _: Request) -> None:
        data = chunked(*[EVENT] * 5)
        for start in range(0, len(data), 20):
            gevent.sleep(0.01)
            sock.sendall(data[start : start + 20])

    with way.to(answer) as server:
        reply = way.send(server)
        assert reply.wait(5)
        body = b""
        while (data := reply.read(5)) != b"":
            body += data or b""
            way.clock.ahead_s += 250
        reply.close()
    assert body == EVENT * 5


# ---- ends ----


def _streams_for_ever(sock: Any, _: Request) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        sock.sendall(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
        gevent.sleep(0.01)


def test_closing_in_the_middle_breaks_the_connection(way: Way) -> None:
    with way.to(_streams_for_ever) as server:
        reply = way.send(server)
        assert reply.wait(5)
        assert reply.read(5)
        reply.close()
        assert server.client_left.wait(5)
        with pytest.raises(UpstreamGarbled):
            while reply.read(0.1):
                pass


def test_closing_before_the_head_breaks_the_connection(way: Way) -> None:
    def answer(sock: Any, _: Request) -> object:
        return CLOSE if sock.recv(1) else None

    with way.to(answer) as server:
        reply = way.send(server)
        assert not reply.wait(0.1)
        reply.close()
        assert server.client_left.wait(5)


@pytest.mark.parametrize("is_reading", [False, True])
def test_a_killed_greenlet_breaks_the_connection(way: Way, is_reading: bool) -> None:
    def answer(sock: Any, _: Request) -> None:
        if is_reading:
            sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        sock.recv(1)

    begun: list[bytes | None] = []

    def read() -> None:
        reply = way.send(server)
        while not reply.wait(5):
            pass
        while True:
            begun.append(reply.read(5))

    with way.to(answer) as server:
        killed = gevent.spawn(read)
        wait_until(lambda: begun if is_reading else server.requests)
        killed.kill()
        assert server.client_left.wait(5)
        with way.to(says(whole(b"ok"))) as other:
            assert read_all(way.send(other)) == b"ok"


# ---- connections ----


@pytest.mark.parametrize("name", [name for name, (_, then_close) in BODIES.items() if not then_close])
def test_a_connection_is_used_again_after_each_framing(way: Way, name: str) -> None:
    with way.to(says(BODIES[name][0])) as server:
        for _ in range(3):
            assert read_all(way.send(server)) == b"hello world"
        assert server.connections == 1


def test_a_connection_is_used_again_when_only_the_end_was_not_read(direct: Way) -> None:
    with direct.to(says(chunked(EVENT, b"data: [DONE]\n\n"))) as server:
        for _ in range(3):
            reply = direct.send(server)
            assert reply.wait(5)
            body = b""
            while not body.endswith(b"data: [DONE]\n\n"):
                body += reply.read(5) or b""
            gevent.sleep(0.01)
            reply.close()
        assert server.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_not_used(way: Way) -> None:
    with way.to(says(whole(b"ok"), then_close=True)) as server:
        for _ in range(3):
            assert read_all(way.send(server)) == b"ok"
            gevent.sleep(0.02)
        assert server.connections == 3


def test_a_connection_on_which_unasked_bytes_came_is_not_used(way: Way) -> None:
    def answer(sock: Any, request: Request) -> None:
        sock.sendall(whole(b"ok"))
        gevent.sleep(0.02)
        sock.sendall(whole(b"somebody else's"))

    with way.to(answer) as server:
        for _ in range(2):
            assert read_all(way.send(server)) == b"ok"
            gevent.sleep(0.1)
        assert server.connections == 2


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong", b"HTT", b"garbage"])
def test_bytes_beyond_the_end_make_a_connection_useless(direct: Way, extra: bytes) -> None:
    with direct.to(says(whole(b"ok") + extra)) as server:
        for _ in range(2):
            assert read_all(direct.send(server)) == b"ok"
        assert server.connections == 2


def test_a_length_beside_chunks_is_ignored_and_the_connection_not_used_again(direct: Way) -> None:
    data = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with direct.to(says(data)) as server:
        for _ in range(2):
            assert read_all(direct.send(server)) == b"hello"
        assert server.connections == 2


def test_no_connection_can_be_had(way: Way) -> None:
    with way.to(says(whole(b"ok"))) as server:
        pass
    if way.proxy and not way.is_tls:
        reply = way.send(server)  # what the proxy says of it is a reply
        read_all(reply)
        assert reply.status == 502
        return
    with pytest.raises(UpstreamUnreachable) as caught:
        read_all(way.send(server))
    assert caught.value.phase == "connect"
    assert KEY not in str(caught.value) and HOST not in str(caught.value)


def test_a_certificate_that_cannot_be_verified_is_refused() -> None:
    with serving(says(whole(b"ok")), tls=HOST) as server, proxying() as proxy:
        for way in ("", proxy.url):
            upstream = Upstream(Config())
            with pytest.raises(UpstreamUnreachable, match="certificate cannot be verified") as caught:
                read_all(upstream.send(UpstreamRequest(url=server.url(scheme="https")), channel(proxy=way), False))
            assert caught.value.phase == "connect"
            upstream.close()
        assert server.requests == []


def test_a_certificate_for_another_host_is_refused() -> None:
    with serving(says(whole(b"ok")), tls="example.com") as server, proxying() as proxy:
        for way in ("", proxy.url):
            upstream = Upstream(Config(), make_tls=trusting("example.com"))
            with pytest.raises(UpstreamUnreachable, match="certificate cannot be verified"):
                read_all(upstream.send(UpstreamRequest(url=server.url(scheme="https")), channel(proxy=way), False))
            upstream.close()
        assert server.requests == []


# ---- what only the direct way does ----


def test_a_request_is_sent_again_when_a_pooled_connection_had_gone_stale(direct: Way) -> None:
    def answer(sock: Any, request: Request) -> object:
        if request is server.requests[0] or request.connection == 2:
            sock.sendall(whole(request.body))
            return None
        return CLOSE

    with direct.to(answer) as server:
        assert read_all(direct.send(server, body=b"one")) == b"one"
        assert read_all(direct.send(server, body=b"two")) == b"two"
    assert [(request.connection, request.body) for request in server.requests] == [
        (1, b"one"),
        (1, b"two"),
        (2, b"two"),
    ]


def test_a_request_is_sent_again_once_only(direct: Way) -> None:
    def answer(sock: Any, request: Request) -> object:
        if request is server.requests[0]:
            sock.sendall(whole(b"ok"))
            return None
        return CLOSE

    with direct.to(answer) as server:
        read_all(direct.send(server))
        with pytest.raises(UpstreamUnreachable):
            read_all(direct.send(server))
    assert len(server.requests) == 3


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_request_that_may_have_been_worked_on_is_not_sent_again(direct: Way, begun: bytes) -> None:
    def answer(sock: Any, request: Request) -> object:
        if request is server.requests[0]:
            sock.sendall(whole(b"ok"))
            return None
        if begun:
            sock.sendall(begun)
        else:
            direct.clock.ahead_s += 60  # it had a minute for it
        return CLOSE

    with direct.to(answer) as server:
        read_all(direct.send(server))
        with pytest.raises(UpstreamError):
            read_all(direct.send(server))
    assert len(server.requests) == 2


def test_a_refusal_before_the_end_of_the_request_is_read() -> None:
    def refuse(sock: Any, _: Any) -> None:
        sock.recv(1000)
        sock.sendall(whole(b"too large", b"Connection: close", status=b"413 Content Too Large"))
        gevent.sleep(0.2)  # the client goes on writing, and meets a reset afterwards
        sock.close()

    upstream = Upstream(Config())
    with listening(refuse) as listener:
        request = UpstreamRequest(url=f"http://{HOST}:{listener.server_port}/", body=b"x" * 30_000_000)
        reply = upstream.send(request, channel(), False)
        outcome: object = None
        try:
            reply.wait(5)
            outcome = reply.status
        except UpstreamUnreachable as error:
            outcome = error.phase  # the reset overtook the answer, as it may
        reply.close()
    upstream.close()
    assert outcome in (413, "first_byte")


def test_five_hundred_streams_at_once() -> None:
    def answer(sock: Any, request: Request) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(5):
            event = b"data: %s %d\n\n" % (request.body, number)
            sock.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            gevent.sleep(0.1)
        sock.sendall(b"0\r\n\r\n")

    upstream = Upstream(Config())
    with serving(answer) as server:

        def stream(name: bytes) -> bytes:
            return read_all(upstream.send(UpstreamRequest(url=server.url(), body=name), channel(), True))

        greenlets = [gevent.spawn(stream, b"%d" % number) for number in range(500)]
        gevent.joinall(greenlets, timeout=20)
        assert server.connections == 500
        upstream.close()
    for number, greenlet in enumerate(greenlets):
        assert greenlet.value == b"".join(b"data: %d %d\n\n" % (number, event) for event in range(5))
