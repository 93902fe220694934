"""Proxies that ask who one is, that refuse, that speak SOCKS, or that are not there."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from oneapi.config import Config
from oneapi.errors import UpstreamError, UpstreamGarbled, UpstreamUnreachable
from oneapi.relay.adaptor import UpstreamRequest
from oneapi.relay.upstream import Upstream
from tests.relay.wire import (
    HOST,
    channel,
    couple,
    listening,
    proxying,
    read_all,
    read_request,
    says,
    serving,
    trusting,
    whole,
)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream(Config(), make_tls=trusting())
    yield upstream
    upstream.close()
    gevent.sleep(0)


def failure(upstream: Upstream, proxy: str, url: str = "https://provider.invalid/") -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        read_all(upstream.send(UpstreamRequest(url=url), channel(proxy=proxy), False))
    return caught.value


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_told_who_we_are(upstream: Upstream, scheme: str) -> None:
    with serving(says(whole(b"ok")), tls=HOST if scheme == "https" else "") as server, proxying("me:s3cret") as proxy:
        request = UpstreamRequest(url=server.url(scheme=scheme))
        assert read_all(upstream.send(request, channel(proxy=proxy.url), False)) == b"ok"
    if scheme == "https":
        assert server.requests[0].header(b"proxy-authorization") == []


def test_a_proxy_that_does_not_know_us_is_named_without_the_password(upstream: Upstream) -> None:
    with proxying("me:s3cret") as proxy:
        error = failure(upstream, proxy.url.replace("s3cret", "wr0ng"))
    assert isinstance(error, UpstreamUnreachable)
    assert error.phase == "connect"
    assert "407" in str(error)
    assert "wr0ng" not in repr(error) and error.__cause__ is None and error.__suppress_context__


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("url", ["http://provider.invalid/", "https://provider.invalid/"])
def test_a_proxy_that_is_not_there(upstream: Upstream, scheme: str, url: str) -> None:
    error = failure(upstream, f"{scheme}://u:s3cret@{HOST}:1", url)
    assert isinstance(error, UpstreamUnreachable)
    assert error.phase == "connect"
    assert "s3cret" not in repr(error)


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:1", "http://", "nonsense://"])
def test_a_proxy_that_is_none(upstream: Upstream, proxy: str) -> None:
    error = failure(upstream, proxy)
    assert isinstance(error, UpstreamUnreachable)
    assert error.phase == "connect"


def test_early_hints_behind_a_proxy_are_refused_and_their_connection_not_used_again(upstream: Upstream) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    with serving(says(hints + whole(b"ok"))) as server, proxying() as proxy:
        for _ in range(2):
            with pytest.raises(UpstreamGarbled):
                read_all(upstream.send(UpstreamRequest(url=server.url()), channel(proxy=proxy.url), False))
        assert server.connections == 2


@contextmanager
def socks_proxy() -> Iterator[tuple[str, list[str]]]:
    """A SOCKS5 proxy without passwords, and the addresses it was asked for. Source: RFC 1928."""
    asked: list[str] = []

    def handle(sock: Any, _: Any) -> None:
        try:
            _version, methods = sock.recv(2)
            sock.recv(methods)
            sock.sendall(b"\x05\x00")
            _version, _command, _reserved, kind = sock.recv(4)
            host = socket.inet_ntoa(sock.recv(4)) if kind == 1 else sock.recv(sock.recv(1)[0]).decode()
            (port,) = struct.unpack(">H", sock.recv(2))
            asked.append(host)
            with socket.create_connection((HOST, port)) as server:
                sock.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
                couple(sock, server)
        finally:
            sock.close()

    with listening(handle) as listener:
        yield f"{HOST}:{listener.server_port}", asked


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests_pass_through_socks(upstream: Upstream, scheme: str) -> None:
    with serving(says(whole(b"ok")), tls=HOST if scheme == "https" else "") as server, socks_proxy() as (proxy, asked):
        request = UpstreamRequest(url=server.url(scheme=scheme), body=b"{}")
        assert read_all(upstream.send(request, channel(proxy=f"socks5://{proxy}"), False)) == b"ok"
        assert asked == [HOST]


def test_socks5h_leaves_the_name_to_the_proxy(upstream: Upstream) -> None:
    with serving(says(whole(b"ok"))) as server, socks_proxy() as (proxy, asked):
        request = UpstreamRequest(url=server.url().replace(HOST, "provider.invalid"))
        assert read_all(upstream.send(request, channel(proxy=f"socks5h://{proxy}"), False)) == b"ok"
        assert asked == ["provider.invalid"]


def test_a_proxy_that_answers_nonsense(upstream: Upstream) -> None:
    def handle(sock: Any, _: Any) -> None:
        read_request(sock)
        sock.sendall(b"SSH-2.0\r\n\r\n")
        sock.close()

    with listening(handle) as listener:
        error = failure(upstream, f"http://{HOST}:{listener.server_port}")
    assert isinstance(error, UpstreamGarbled)
