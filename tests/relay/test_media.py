"""Fetching what users refer to: what is refused, what is bounded, and what comes back."""

from __future__ import annotations

import base64
import gzip
import ipaddress
from typing import Any

import gevent
import pytest
from gevent import socket

from oneapi.config import Config
from oneapi.errors import InvalidRequest
from oneapi.relay import ir, media
from oneapi.relay.media import MAX_BYTES, Fetcher, is_public, sniff
from tests.relay.wire import CLOSE, Request, proxying, says, serving, trusting, whole

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 20
URL = "https://user:secret@example.com/a.png?signature=secret#secret"


def fetcher(*, is_open: bool = True, timeout_s: int = 5, proxy: str = "", **more: Any) -> Fetcher:
    """A fetcher that may, or may not, reach this machine."""
    config = Config(
        user_content_request_timeout=timeout_s, user_content_request_proxy=proxy, allow_private_fetch=is_open
    )
    return Fetcher(config, **more)


def refusal(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        fetcher.fetch(url)
    return str(caught.value)


# ---- addresses ----


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "203.0.113.1", "224.0.0.1",
        "239.1.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
        "2001:db8::1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_out_of_reach_however_it_is_written(scheme: str, host: str) -> None:
    with serving(says(whole(PNG))) as server:
        words = refusal(fetcher(is_open=False), f"{scheme}://{host}:{server.port}/a.png")
        assert server.connections == 0
    assert "not a public one" in words or "host name is not known" in words


def test_it_is_out_of_reach_unless_the_deployment_says_otherwise() -> None:
    with serving(says(whole(PNG))) as server:
        assert "not a public one" in refusal(Fetcher(Config()), server.url("/a.png"))
        assert server.connections == 0


@pytest.mark.parametrize("status", [b"301 M", b"302 F", b"303 S", b"307 T", b"308 P"])
def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, status: bytes) -> None:
    monkeypatch.setattr(media, "is_public", lambda address: str(address) == "127.0.0.1")
    with serving(says(whole(PNG))) as inner:
        location = b"Location: http://127.0.0.2:%d/secret" % inner.port
        with serving(says(whole(b"", location, status=status))) as server:
            words = refusal(fetcher(is_open=False), server.url("/a.png"))
            assert "/a.png cannot be used: its address is not a public one" in words
        assert inner.connections == 0


@pytest.mark.parametrize("location", [b"file:///etc/passwd", b"gopher://127.0.0.1/", b"data:image/png;base64,AAAA"])
def test_a_redirect_to_another_scheme_is_refused(location: bytes) -> None:
    with serving(says(whole(b"", b"Location: " + location, status=b"302 F"))) as server:
        assert "only http, https" in refusal(fetcher(), server.url("/"))


def _names(monkeypatch: pytest.MonkeyPatch, **known: list[str]) -> list[str]:
    """Resolves names by a table, their dots written as underscores; gives the names that were asked for."""
    resolve, asked = socket.getaddrinfo, []

    def getaddrinfo(host: str, port: int, *rest: Any, **more: Any) -> Any:
        addresses = known.get(host.replace(".", "_"))
        if addresses is None:
            return resolve(host, port, *rest, **more)
        asked.append(host)
        return [entry for address in addresses for entry in resolve(address, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_one_private_address_among_others_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, images_test=["1.1.1.1", "10.0.0.1"])
    assert "not a public one" in refusal(fetcher(is_open=False), "http://images.test/")


def test_the_address_that_was_checked_is_connected_to_under_the_name_that_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _names(monkeypatch, images_test=["127.0.0.1"])
    monkeypatch.setattr(media, "is_public", lambda address: True)
    with serving(says(whole(PNG)), tls="images.test") as server:
        image = fetcher(is_open=False, make_tls=trusting("images.test")).fetch(
            f"https://images.test:{server.port}/a.png"
        )
    assert image.media_type == "image/png"
    assert asked == ["images.test"]
    assert server.requests[0].header(b"host") == [f"images.test:{server.port}".encode()]


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, images_test=["127.0.0.3", "127.0.0.1"])
    with serving(says(whole(PNG))) as server:
        assert fetcher().fetch(f"http://images.test:{server.port}/a.png").data


# ---- what is fetched ----


def test_fetches_an_image_and_tells_its_type_from_the_bytes() -> None:
    with serving(says(whole(PNG, b"Content-Type: image/jpeg"))) as server:
        image = fetcher().fetch(server.url("/a%20b.png?x=1#part").replace("://", "://user:pass@"))
    assert image == ir.Image(data=base64.b64encode(PNG).decode(), media_type="image/png")
    (request,) = server.requests
    assert request.first_line == b"GET /a%20b.png?x=1 HTTP/1.1"
    assert request.header(b"authorization") == []
    assert request.header(b"content-length") == []


def test_a_compressed_answer_is_inflated() -> None:
    with serving(says(whole(gzip.compress(PNG), b"Content-Encoding: gzip"))) as server:
        assert fetcher().fetch(server.url()).data == base64.b64encode(PNG).decode()


@pytest.mark.parametrize("claimed", ["text/plain", "text/csv; charset=utf-8", "image/svg+xml"])
def test_the_servers_word_counts_where_the_bytes_tell_nothing(claimed: str) -> None:
    with serving(says(whole(b"a,b\n", b"Content-Type: " + claimed.encode()))) as server:
        assert fetcher().fetch(server.url()).media_type == claimed.partition(";")[0]


@pytest.mark.parametrize("header", [b"Content-Type: text/html", b"Content-Type: application/octet-stream", b"X: y"])
def test_what_is_neither_is_refused(header: bytes) -> None:
    with serving(says(whole(b"<html>", header))) as server:
        assert "no image or document" in refusal(fetcher(), server.url())


def test_an_empty_answer_is_refused() -> None:
    with serving(says(whole(b"", b"Content-Type: image/png"))) as server:
        assert "no image or document" in refusal(fetcher(), server.url())


@pytest.mark.parametrize("status", [b"404 Not Found", b"204 No Content", b"500 Oops", b"302 Found"])
def test_another_status_is_refused(status: bytes) -> None:
    with serving(says(whole(PNG, status=status))) as server:
        assert f"answers {status[:3].decode()}" in refusal(fetcher(), server.url())


@pytest.mark.parametrize("hops", [5, 6])
def test_five_redirects_are_followed(hops: int) -> None:
    def answer(sock: Any, request: Request) -> None:
        number = int(request.first_line.split(b" ")[1][1:])
        if number == hops:
            sock.sendall(whole(PNG))
        else:
            sock.sendall(whole(b"", b"Location: %d" % (number + 1), status=b"302 Found"))

    with serving(answer) as server:
        if hops == 5:
            assert fetcher().fetch(server.url("/0")).media_type == "image/png"
        else:
            assert "redirects more than 5 times" in refusal(fetcher(), server.url("/0"))
        assert len(server.requests) == 6


# ---- bounds ----


def test_a_stated_size_above_the_limit_is_refused_at_once() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (MAX_BYTES + 1)
    with serving(says(head)) as server:
        assert "larger than 20 MiB" in refusal(fetcher(), server.url())


@pytest.mark.parametrize("coding", [b"", b"gzip"])
def test_a_size_that_is_not_stated_is_bounded_too(coding: bytes) -> None:
    data = PNG + bytes(MAX_BYTES)
    body, headers = (gzip.compress(data), (b"content-encoding: gzip",)) if coding else (data, ())
    head = b"\r\n".join((b"HTTP/1.1 200 OK", *headers, b"", b""))
    with serving(says(head + body, then_close=True)) as server:
        assert "larger than 20 MiB" in refusal(fetcher(), server.url())


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: y\r\n"])
def test_time_is_bounded(begins: bytes) -> None:
    def answer(sock: Any, _: Request) -> None:
        sock.sendall(begins)
        while True:
            gevent.sleep(0.05)
            sock.sendall(b"x" if begins else b"")

    with serving(answer) as server:
        assert "within 1 seconds" in refusal(fetcher(timeout_s=1), server.url())


def test_a_callers_own_timeout_passes_through() -> None:
    with serving(lambda sock, _: gevent.sleep(10)) as server, pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        fetcher().fetch(server.url())


@pytest.mark.parametrize("answer", [says(b"nonsense\r\n\r\n"), lambda sock, _: CLOSE, says(whole(PNG)[:-5])])
def test_a_server_that_breaks_off(answer: Any) -> None:
    def closing(sock: Any, request: Request) -> object:
        answer(sock, request)
        return CLOSE

    with serving(closing) as server:
        assert "breaks off" in refusal(fetcher(), server.url())
    assert "cannot be reached" in refusal(fetcher(), server.url())


# ---- a proxy ----


def test_the_proxy_is_used_and_resolves_the_name() -> None:
    with serving(says(whole(PNG))) as server, proxying() as proxy:
        image = fetcher(is_open=False, proxy=proxy.url).fetch(f"http://images.invalid:{server.port}/a.png")
        gevent.sleep(0)
    assert image.media_type == "image/png"
    assert proxy.seen == [f"GET http://images.invalid:{server.port}/a.png HTTP/1.1".encode()]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "localhost"])
def test_the_proxy_is_not_sent_to_private_addresses(host: str) -> None:
    with proxying() as proxy:
        assert "not a public one" in refusal(fetcher(is_open=False, proxy=proxy.url), f"http://{host}/")
        assert proxy.seen == []


# ---- data URLs ----


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:image/png;base64," + base64.b64encode(PNG).decode(), "image/png", PNG),
        ("DATA:image/jpeg;base64," + base64.b64encode(PNG).decode(), "image/png", PNG),
        ("data:image/x;charset=utf-8;BASE64,AAECAw==", "image/x", b"\0\1\2\3"),
        ("data:image/x;base64,AAECAw", "image/x", b"\0\1\2\3"),
        ("data:image/x;base64,AAEC%0AAw%3D%3D", "image/x", b"\0\1\2\3"),
        ("data:image/x;base64,AAEC\nAw==", "image/x", b"\0\1\2\3"),
        ("data:image/x;base64,-_-_", "image/x", b"\xfb\xff\xbf"),
        ("data:,hello%20world", "text/plain", b"hello world"),
        ("data:text/csv,a%2Cb", "text/csv", b"a,b"),
    ],
)
def test_data_urls_need_no_network(url: str, media_type: str, data: bytes) -> None:
    image = fetcher(is_open=False).fetch(url)
    assert image == ir.Image(data=base64.b64encode(data).decode(), media_type=media_type)


@pytest.mark.parametrize(
    "url",
    ["data:", "data:image/png", "data:image/png;base64,", "data:image/png;base64,A", "data:image/png;base64,&&&&"],
)
def test_data_urls_that_are_none(url: str) -> None:
    assert refusal(fetcher(), url).startswith("The content at data:")


@pytest.mark.parametrize("size", [MAX_BYTES + 1, MAX_BYTES * 2])
def test_data_urls_are_bounded(size: int) -> None:
    url = "data:image/png;base64," + base64.b64encode(bytes(size)).decode()
    words = refusal(fetcher(), url)
    assert "larger than 20 MiB" in words
    assert len(words) < 200


# ---- messages ----


@pytest.mark.parametrize(
    "url", ["", "a.png", "file:///etc/passwd", "ftp://example.com/", "http://", "http://[::1", "//x"]
)
def test_what_is_no_such_url(url: str) -> None:
    assert refusal(fetcher(), url).endswith(("only http, https and data URLs are fetched.", "not a valid URL."))


def test_the_message_names_the_url_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, example_com=["10.0.0.1"])
    assert refusal(fetcher(is_open=False), URL) == (
        "The content at https://example.com/a.png cannot be used: its address is not a public one."
    )
    assert len(refusal(fetcher(is_open=False), "https://example.com/" + "x" * 5000)) < 250


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x0a\n\0\0WAVEfmt ", "audio/wav"),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"\0\0\0\x20ftypheic", "image/heic"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"%PDF-1.7", "application/pdf"),
        (b"ID3\x04", "audio/mpeg"),
        (b"hello", ""),
        (b"", ""),
    ],
)
def test_types_are_told_from_the_bytes(data: bytes, media_type: str) -> None:
    assert sniff(data) == media_type
