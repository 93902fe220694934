"""Short calls to other people's services: what is not followed, not kept and not waited for."""

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from oneapi.config import Config
from oneapi.services.web import Web, WebError
from tests.postoffice import json_server
from tests.relay.wire import Request, says, serving, whole


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web(Config(), timeout_s=0.3)
    yield made
    made.close()


def test_an_answer_is_its_status_and_its_json(web: Web) -> None:
    with json_server(lambda environ, body: (404, {"a": body})) as server:
        answer = web.ask("POST", f"{server.url}/x?y=1", json={"b": 1})
    assert (answer.status, answer.object) == (404, {"a": {"b": 1}})
    assert server.asked == [("POST", "/x?y=1", {"b": 1})]


@pytest.mark.parametrize("said", ["no json", [1], "", None])
def test_what_is_no_object_is_an_empty_one(web: Web, said: Any) -> None:
    with json_server(lambda environ, body: (200, said)) as server:
        assert web.ask("GET", server.url).object == {}


def test_redirects_are_not_followed(web: Web) -> None:
    with json_server(lambda environ, body: (302, "http://127.0.0.1:1/")) as server:
        assert web.ask("GET", server.url).status == 302


def test_cookies_are_not_kept(web: Web) -> None:
    with serving(says(whole(b"{}", b"Set-Cookie: a=b; Path=/"))) as server:
        for _ in range(2):
            web.ask("GET", server.url("/"))
    assert server.requests[1].header(b"cookie") == []


def test_a_large_answer_is_not_read(web: Web) -> None:
    with (
        json_server(lambda environ, body: (200, {"a": "x" * 1024 * 1024})) as server,
        pytest.raises(WebError) as caught,
    ):
        web.ask("GET", server.url)
    assert "megabyte" in str(caught.value)


def test_an_answer_that_trickles_is_given_up_in_time(web: Web) -> None:
    def trickle(sock: Any, request: Request) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(20):
            sock.sendall(b"x")
            gevent.sleep(0.1)

    with serving(trickle) as server, pytest.raises(WebError, match="in time"):
        web.ask("GET", server.url("/"))


@pytest.mark.parametrize(
    "url",
    ["http://user:secret@127.0.0.1:1/?token=secret", "http://127.0.0.1:1", "", "nonsense", "http://[", "ftp://x/"],
)
def test_an_address_that_leads_nowhere_is_named_without_its_secrets(web: Web, url: str) -> None:
    with pytest.raises(WebError) as caught:
        web.ask("GET", url)
    assert "secret" not in str(caught.value)


def test_proxies_are_those_of_the_deployment_save_the_relays() -> None:
    with json_server(lambda environ, body: (200, {"host": environ["HTTP_HOST"]})) as proxy:
        made = Web(Config(http_proxy=proxy.url, relay_proxy="http://127.0.0.1:1"))
        assert made.ask("GET", "http://github.example/user").object == {"host": "github.example"}
        made.close()
