"""Which proxy, which limits, whole replies, bought tokens, and connections that are let go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from oneapi.config import Config
from oneapi.errors import UpstreamError, UpstreamGarbled, UpstreamRejected, UpstreamUnreachable
from oneapi.relay.adaptor import Adaptor, BoughtToken, Credentials, UpstreamRequest, WholeReply
from oneapi.relay.transport import connections
from oneapi.relay.upstream import Upstream, limits, proxy_of_deployment
from tests.relay.wire import (
    CLOSE,
    HOST,
    KEY,
    Request,
    Server,
    channel,
    chunked,
    listening,
    proxying,
    read_all,
    says,
    serving,
    wait_until,
    whole,
)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream(Config())
    yield upstream
    upstream.close()


# ---- proxies and limits ----


def test_relay_timeout_bounds_silence_and_nothing_else() -> None:
    unset, set_ = limits(Config()), limits(Config(relay_timeout=7))
    assert (unset.connect_s, unset.first_byte_s, unset.silence_s) == (10, 600, 300)
    assert (set_.connect_s, set_.first_byte_s, set_.silence_s) == (10, 7, 7)


def test_relay_timeout_ends_a_silent_request() -> None:
    upstream = Upstream(Config(relay_timeout=1))
    with serving(lambda sock, _: gevent.sleep(10)) as server:
        reply = upstream.send(UpstreamRequest(url=server.url()), channel(), False)
        with pytest.raises(UpstreamUnreachable, match="1 seconds") as caught:
            reply.wait(5)
        assert caught.value.phase == "first_byte"


ENVIRONMENT = Config(
    http_proxy="http://plain:1", https_proxy="secure:2", no_proxy="a.com, .b.com,10.0.0.0/8,c.com:8443"
)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://example.com/", "http://plain:1"),
        ("ws://example.com/", "http://plain:1"),
        ("https://example.com/", "http://secure:2"),
        ("wss://example.com/", "http://secure:2"),
        ("https://a.com/", ""),
        ("https://x.a.com/", ""),
        ("https://xa.com/", "http://secure:2"),
        ("https://b.com/", ""),
        ("https://x.b.com:444/", ""),
        ("https://10.1.2.3/", ""),
        ("https://11.1.2.3/", "http://secure:2"),
        ("https://c.com:8443/", ""),
        ("https://c.com:1/", "http://secure:2"),
        ("http://localhost/", ""),
        ("http://127.0.0.1:3000/", ""),
        ("http://[::1]:3000/", ""),
        ("http://[2001:db8::1]/", "http://plain:1"),
    ],
)
def test_proxies_of_the_environment(url: str, proxy: str) -> None:
    assert proxy_of_deployment(ENVIRONMENT, url) == proxy


def test_no_proxy_may_name_everything_and_relay_proxy_wins() -> None:
    assert proxy_of_deployment(Config(http_proxy="http://plain:1", no_proxy="*"), "http://example.com") == ""
    config = Config(relay_proxy="socks5://s:1", http_proxy="http://plain:1", no_proxy="*")
    assert proxy_of_deployment(config, "http://example.com") == "socks5://s:1"


def test_the_channels_proxy_comes_before_the_deployments() -> None:
    with serving(says(whole(b"ok"))) as server, proxying() as ours, proxying() as its:
        upstream = Upstream(Config(relay_proxy=ours.url))
        for proxy in (None, its.url, ""):
            read_all(upstream.send(UpstreamRequest(url=server.url()), channel(proxy=proxy), False))
        upstream.close()
        gevent.sleep(0)
    assert (len(ours.seen), len(its.seen), len(server.requests)) == (1, 1, 3)


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / ".netrc").write_text(f"machine {HOST} login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/nowhere")
    with serving(says(whole(b"ok"))) as server, proxying() as proxy:
        upstream = Upstream(Config())
        request = UpstreamRequest(url=server.url(), headers={"Authorization": "Bearer ours"})
        for way in (None, proxy.url):
            read_all(upstream.send(request, channel(proxy=way), False))
            assert upstream.send_whole(request, channel(proxy=way)).body == b"ok"
        upstream.close()
        gevent.sleep(0)
    assert [request.header(b"authorization") for request in server.requests] == [[b"Bearer ours"]] * 4


def test_cookies_are_not_kept() -> None:
    with serving(says(whole(b"ok", b"Set-Cookie: a=b"))) as server, proxying() as proxy:
        upstream = Upstream(Config())
        for way in (None, proxy.url):
            for _ in range(2):
                upstream.send_whole(UpstreamRequest(url=server.url(), method="GET"), channel(proxy=way))
        upstream.close()
        gevent.sleep(0)
    assert [request.header(b"cookie") for request in server.requests] == [[]] * 4


# ---- whole replies ----


def test_a_whole_reply_whatever_its_status(upstream: Upstream) -> None:
    with serving(says(whole(b"no", b"X-A: b", status=b"404 Not Found"))) as server:
        reply = upstream.send_whole(UpstreamRequest(url=server.url(), body=b"{}"), channel())
    assert (reply.status, reply.body) == (404, b"no")
    assert reply.headers["x-a"] == "b"
    assert server.requests[0].body == b"{}"


def _redirects(sock: Any, request: Request) -> None:
    if request.first_line.split(b" ")[1] == b"/there":
        sock.sendall(whole(b"arrived"))
    else:
        sock.sendall(whole(b"moved", b"Location: /there", status=b"302 Found"))


@pytest.mark.parametrize(("method", "outcome"), [("GET", (200, b"arrived")), ("POST", (302, b"moved"))])
def test_redirects_are_followed_for_get_only(upstream: Upstream, method: str, outcome: tuple[int, bytes]) -> None:
    with serving(_redirects) as server:
        headers = {"Authorization": f"Bearer {KEY}"}
        reply = upstream.send_whole(UpstreamRequest(method=method, url=server.url("/"), headers=headers), channel())
    assert (reply.status, reply.body) == outcome
    assert {tuple(request.header(b"authorization")) for request in server.requests} == {(f"Bearer {KEY}".encode(),)}


def test_a_redirect_to_another_host_takes_no_key_along(upstream: Upstream) -> None:
    with serving(says(whole(b"ok"))) as other:
        elsewhere = other.url("/").replace(HOST, "localhost").encode()
        with serving(says(whole(b"", b"Location: " + elsewhere, status=b"307 Moved"))) as server:
            headers = {"Authorization": KEY, "x-api-key": KEY, "Accept": "a/b"}
            request = UpstreamRequest(method="GET", url=server.url("/"), headers=headers)
            assert upstream.send_whole(request, channel()).body == b"ok"
    assert KEY.encode() in server.requests[0].head
    assert KEY.encode() not in other.requests[0].head
    assert other.requests[0].header(b"accept") == [b"a/b"]


def test_a_redirect_without_end_is_garbled(upstream: Upstream) -> None:
    with serving(says(whole(b"", b"Location: /", status=b"302 Found"))) as server, pytest.raises(UpstreamGarbled):
        upstream.send_whole(UpstreamRequest(method="GET", url=server.url("/")), channel())


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\n\r\nx"])
def test_a_whole_reply_must_come_in_time(upstream: Upstream, begins: bytes) -> None:
    def answer(sock: Any, _: Request) -> None:
        while True:
            sock.sendall(begins)
            gevent.sleep(0.01)

    with serving(answer) as server:
        with pytest.raises(UpstreamUnreachable, match=r"within 0\.1 seconds"):
            upstream.send_whole(UpstreamRequest(url=server.url()), channel(), timeout_s=0.1)
        if begins:
            assert server.client_left.wait(5)


def test_a_caller_s_own_timeout_passes_through(upstream: Upstream) -> None:
    with serving(lambda sock, _: gevent.sleep(10)) as server, pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        upstream.send_whole(UpstreamRequest(url=server.url()), channel())


def test_a_cut_whole_reply_is_garbled(upstream: Upstream) -> None:
    data = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"
    with serving(says(data, then_close=True)) as server, pytest.raises(UpstreamGarbled):
        upstream.send_whole(UpstreamRequest(url=server.url()), channel())


# ---- bought tokens ----


class Shop:
    """A provider that sells tokens, each good for an hour."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.sold = 0
        self.is_slow = False
        self.is_closed = False

    def answer(self, sock: Any, request: Request) -> object:
        if self.is_slow:
            gevent.sleep(0.05)
        if self.is_closed:
            return CLOSE
        self.sold += 1
        sock.sendall(whole(b"token %d for %s" % (self.sold, request.body)))
        return None

    def adaptor(self, server: Server) -> Adaptor:
        def token_request(credentials: Credentials, now: float) -> UpstreamRequest | None:
            if credentials.key == "ready-made":
                return None
            return UpstreamRequest(url=server.url(), body=f"{credentials.key}/{credentials.fields['region']}".encode())

        def parse_token(reply: WholeReply, now: float) -> BoughtToken:
            if reply.status != 200:
                raise UpstreamRejected("no", upstream_status=reply.status)
            return BoughtToken(reply.body.decode(), now + 3600)

        return Adaptor(type=1, name="shop", label="Shop", token_request=token_request, parse_token=parse_token)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def shop_server(shop: Shop) -> Iterator[Server]:
    with serving(shop.answer) as server:
        yield server


@pytest.fixture
def buyer(shop: Shop) -> Iterator[Upstream]:
    upstream = Upstream(Config(), now=lambda: shop.now)
    yield upstream
    upstream.close()


def test_no_token_where_none_is_sold(buyer: Upstream, shop: Shop, shop_server: Server) -> None:
    assert buyer.token(channel()) == ""
    ready = replace(channel(adaptor=shop.adaptor(shop_server)), key="ready-made")
    assert buyer.token(ready) == ""
    assert shop.sold == 0


def test_a_token_is_kept_until_shortly_before_its_end(buyer: Upstream, shop: Shop, shop_server: Server) -> None:
    one = channel(adaptor=shop.adaptor(shop_server), fields={"region": "r"})
    assert [buyer.token(one), buyer.token(one)] == [f"token 1 for {KEY}/r"] * 2
    shop.now += 3600 - 121
    assert buyer.token(one) == f"token 1 for {KEY}/r"
    shop.now += 2
    assert buyer.token(one) == f"token 2 for {KEY}/r"


def test_tokens_belong_to_key_and_fields(buyer: Upstream, shop: Shop, shop_server: Server) -> None:
    adaptor = shop.adaptor(shop_server)
    assert buyer.token(channel(adaptor=adaptor, fields={"region": "r"})) == f"token 1 for {KEY}/r"
    assert buyer.token(channel(adaptor=adaptor, fields={"region": "s"})) == f"token 2 for {KEY}/s"
    assert buyer.token(channel(adaptor=adaptor, fields={"region": "r"})) == f"token 1 for {KEY}/r"


def test_a_forgotten_token_is_bought_again(buyer: Upstream, shop: Shop, shop_server: Server) -> None:
    one = channel(adaptor=shop.adaptor(shop_server), fields={"region": "r"})
    buyer.token(one)
    buyer.forget_token(one)
    buyer.forget_token(one)
    assert buyer.token(one) == f"token 2 for {KEY}/r"


def test_calls_that_meet_buy_one_token(buyer: Upstream, shop: Shop, shop_server: Server) -> None:
    shop.is_slow = True
    one = channel(adaptor=shop.adaptor(shop_server), fields={"region": "r"})
    greenlets = [gevent.spawn(buyer.token, one) for _ in range(20)]
    gevent.joinall(greenlets)
    assert {greenlet.value for greenlet in greenlets} == {f"token 1 for {KEY}/r"}
    assert shop.sold == 1


def test_calls_that_meet_share_a_failure_and_the_next_one_tries_again(
    buyer: Upstream, shop: Shop, shop_server: Server
) -> None:
    shop.is_slow = shop.is_closed = True
    one = channel(adaptor=shop.adaptor(shop_server), fields={"region": "r"})

    def outcome() -> str:
        try:
            return buyer.token(one)
        except UpstreamError as error:
            return type(error).__name__

    greenlets = [gevent.spawn(outcome) for _ in range(20)]
    gevent.joinall(greenlets)
    assert {greenlet.value for greenlet in greenlets} == {"UpstreamUnreachable"}
    assert len(shop_server.requests) == 1
    shop.is_closed = False
    assert buyer.token(one) == f"token 1 for {KEY}/r"


def test_a_killed_buyer_leaves_the_purchase_to_the_next(buyer: Upstream, shop: Shop, shop_server: Server) -> None:
    shop.is_slow = True
    one = channel(adaptor=shop.adaptor(shop_server), fields={"region": "r"})
    greenlets = [gevent.spawn(buyer.token, one) for _ in range(5)]
    wait_until(lambda: shop_server.requests)
    greenlets[0].kill()
    gevent.joinall(greenlets)
    assert len({greenlet.value for greenlet in greenlets[1:]}) == 1
    assert str(greenlets[1].value).endswith(f"for {KEY}/r")


# ---- connections ----


def test_idle_connections_are_closed_after_a_minute(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_IDLE_S", 0.1)
    with serving(says(chunked(b"ok"))) as server:
        read_all(upstream.send(UpstreamRequest(url=server.url()), channel(), False))
        assert not server.client_left.wait(0.05)
        assert server.client_left.wait(5)
        read_all(upstream.send(UpstreamRequest(url=server.url()), channel(), False))
        assert server.connections == 2


def test_no_more_connections_are_kept_than_a_burst_leaves_room_for(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_MAX_IDLE", 2)
    with serving(says(whole(b"ok"))) as server:
        for burst in (3, 3):
            replies = [upstream.send(UpstreamRequest(url=server.url()), channel(), False) for _ in range(burst)]
            for reply in replies:
                read_all(reply)
        assert server.connections == 4


def test_a_greenlet_killed_while_tls_is_agreed_on_breaks_the_connection(upstream: Upstream) -> None:
    accepted, left = Event(), Event()

    def handle(sock: Any, _: Any) -> None:
        accepted.set()
        while sock.recv(65536):
            pass
        left.set()
        sock.close()

    with listening(handle) as listener:
        request = UpstreamRequest(url=f"https://{HOST}:{listener.server_port}/")
        killed = gevent.spawn(upstream.send, request, channel(), False)
        assert accepted.wait(5)
        killed.kill()
        assert left.wait(5)


def test_a_host_that_does_not_exist_is_unreachable(upstream: Upstream) -> None:
    with pytest.raises(UpstreamUnreachable, match="host name is not known") as caught:
        upstream.send(UpstreamRequest(url="http://host.invalid/"), channel(), False)
    assert caught.value.phase == "connect"


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "http://[::1", "ftp://example.com/", "http://a:b/"])
def test_an_address_that_is_none_is_unreachable(upstream: Upstream, url: str) -> None:
    for proxy in ("", "http://127.0.0.1:1"):
        with pytest.raises(UpstreamUnreachable):
            read_all(upstream.send(UpstreamRequest(url=url), channel(proxy=proxy), False))


def test_a_connection_that_does_not_come_about_takes_ten_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = Upstream(Config())
    monkeypatch.setattr(upstream._client, "_limits", connections.Limits(connect_s=0.1))

    # A listener whose queue is full takes no further connection.
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.settimeout(0.0)
            filler.connect_ex(listener.getsockname())
        with pytest.raises(UpstreamUnreachable, match=r"within 0\.1 seconds") as caught:
            upstream.send(UpstreamRequest(url=f"http://{HOST}:{listener.getsockname()[1]}/"), channel(), False)
        assert caught.value.phase == "connect"
        for filler in fillers:
            filler.close()
