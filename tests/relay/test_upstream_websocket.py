"""WebSocket providers: a question as the first frame, the answer frame by frame."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from oneapi.config import Config
from oneapi.errors import UpstreamGarbled, UpstreamUnreachable
from oneapi.relay.adaptor import UpstreamRequest
from oneapi.relay.upstream import Upstream
from tests.relay.wire import CLOSE, HOST, Clock, Request, channel, proxying, read_all, says, serving, trusting, whole

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def upstream(clock: Clock) -> Iterator[Upstream]:
    upstream = Upstream(Config(), monotonic=clock, make_tls=trusting())
    yield upstream
    upstream.close()
    gevent.sleep(0)


def frame(payload: bytes, opcode: int = _TEXT, *, is_last: bool = True) -> bytes:
    """A server's frame. Source: RFC 6455 §5.2."""
    size = bytes((len(payload),)) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2)
    return bytes((opcode | (0x80 if is_last else 0),)) + size + payload


def read_frame(sock: Any) -> tuple[int, bytes]:
    """A client's frame, of less than 64 KiB."""

    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = sock.recv(count - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data

    first, second = exactly(2)
    length = second & 0x7F
    if length == 126:
        length = int.from_bytes(exactly(2))
    mask = exactly(4)
    return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(exactly(length)))


def conversing(say: Callable[[Any, bytes], object]) -> Callable[[Any, Request], object]:
    """Shakes hands, reads the question, and has `say` answer it."""

    def answer(sock: Any, request: Request) -> object:
        key = request.header(b"sec-websocket-key")[0] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key).digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Set-Cookie: a=b\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        opcode, question = read_frame(sock)
        assert opcode == _TEXT
        say(sock, question)
        return CLOSE

    return answer


def echo(sock: Any, question: bytes) -> None:
    sock.sendall(frame(question) + frame(b'{"a":\n 1}') + frame("ü".encode(), is_last=False))
    sock.sendall(frame(b"x" * 300, 0) + frame(b"\x03\xe8", _CLOSE))


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("is_proxied", [False, True])
def test_each_frame_is_a_line(upstream: Upstream, scheme: str, is_proxied: bool) -> None:
    with serving(conversing(echo), tls=HOST if scheme == "wss" else "") as server, proxying("me:s3cret") as proxy:
        request = UpstreamRequest(
            url=server.url("/v1?authorization=x", scheme), body='{"q":"é"}'.encode(), headers={"x-a": "b"}
        )
        for _ in range(2):
            body = read_all(upstream.send(request, channel(proxy=proxy.url if is_proxied else ""), True))
            assert body == '{"q":"é"}\n{"a":  1}\nü'.encode() + b"x" * 300 + b"\n"
        assert len(proxy.seen) == (2 if is_proxied else 0)
    for seen in server.requests:
        assert seen.first_line == b"GET /v1?authorization=x HTTP/1.1"
        assert (seen.header(b"x-a"), seen.header(b"origin"), seen.header(b"cookie")) == ([b"b"], [], [])


def test_status_and_headers_are_those_of_an_answer(upstream: Upstream) -> None:
    with serving(conversing(echo)) as server:
        reply = upstream.send(UpstreamRequest(url=server.url("/", "ws")), channel(), True)
        assert reply.wait(5)
        assert (reply.status, reply.headers["set-cookie"]) == (200, "a=b")
        reply.close()


def test_pings_are_answered_and_not_part_of_the_answer(upstream: Upstream) -> None:
    def say(sock: Any, question: bytes) -> None:
        sock.sendall(frame(b"there?", _PING))
        assert read_frame(sock) == (_PONG, b"there?")
        sock.sendall(frame(b"yes") + frame(b"", _CLOSE))

    with serving(conversing(say)) as server:
        assert read_all(upstream.send(UpstreamRequest(url=server.url("/", "ws")), channel(), True)) == b"yes\n"


def test_slices_pass_and_silence_has_a_limit(upstream: Upstream, clock: Clock) -> None:
    def say(sock: Any, question: bytes) -> None:
        sock.sendall(frame(b"one"))
        gevent.sleep(10)

    with serving(conversing(say)) as server:
        reply = upstream.send(UpstreamRequest(url=server.url("/", "ws")), channel(), True)
        assert reply.wait(5)
        assert [reply.read(5), reply.read(0.02)] == [b"one\n", None]
        clock.ahead_s += 300
        with pytest.raises(UpstreamUnreachable) as caught:
            reply.read(0.02)
    assert caught.value.phase == "idle"


def test_closing_breaks_the_conversation(upstream: Upstream) -> None:
    def say(sock: Any, question: bytes) -> None:
        while True:
            sock.sendall(frame(b"on and on"))
            gevent.sleep(0.005)

    with serving(conversing(say)) as server:
        reply = upstream.send(UpstreamRequest(url=server.url("/", "ws")), channel(), True)
        assert reply.wait(5)
        assert reply.read(5) == b"on and on\n"
        reply.close()
        assert server.client_left.wait(5)


def test_a_conversation_that_breaks_off_is_garbled(upstream: Upstream) -> None:
    with serving(conversing(lambda sock, _: sock.sendall(frame(b"one") + b"\x81"))) as server:
        reply = upstream.send(UpstreamRequest(url=server.url("/", "ws")), channel(), True)
        assert reply.wait(5)
        assert reply.read(5) == b"one\n"
        with pytest.raises(UpstreamGarbled):
            reply.read(5)


def test_a_refused_handshake_is_a_reply(upstream: Upstream) -> None:
    with serving(says(whole(b'{"message":"HMAC"}', b"X-A: b", status=b"403 Forbidden"))) as server:
        reply = upstream.send(UpstreamRequest(url=server.url("/", "ws")), channel(), True)
        assert read_all(reply) == b'{"message":"HMAC"}'
        assert (reply.status, reply.headers["x-a"]) == (403, "b")


def test_a_redirected_handshake_is_not_followed(upstream: Upstream) -> None:
    with serving(conversing(echo)) as other:
        location = b"Location: " + other.url("/", "ws").encode()
        with serving(says(whole(b"", location, status=b"302 Found"))) as server, pytest.raises(UpstreamUnreachable):
            read_all(upstream.send(UpstreamRequest(url=server.url("/", "ws")), channel(), True))
        assert other.requests == []


@pytest.mark.parametrize(
    "url", [f"ws://{HOST}:1/?secret=x", "ws://host.invalid/?secret=x", f"wss://{HOST}:1/", "ws://", "ws://a:b/"]
)
def test_no_conversation_comes_about(upstream: Upstream, url: str) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        read_all(upstream.send(UpstreamRequest(url=url), channel(), True))
    assert caught.value.phase == "connect"
    assert "secret" not in repr(caught.value)


def test_what_is_no_handshake_is_unreachable(upstream: Upstream) -> None:
    with serving(says(b"SSH-2.0\r\n\r\n", then_close=True)) as server, pytest.raises(UpstreamUnreachable):
        read_all(upstream.send(UpstreamRequest(url=server.url("/", "ws")), channel(), True))


def test_socks_is_not_spoken_for_conversations(upstream: Upstream) -> None:
    with pytest.raises(UpstreamUnreachable, match="http:// proxy"):
        read_all(upstream.send(UpstreamRequest(url="ws://a.invalid/"), channel(proxy="socks5://127.0.0.1:1"), True))
