"""/v1/oneapi/proxy/{channel}/…: what goes across, what does not, who may, and what the log says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.street.showcase import Showcase
from tests.street.wire import Reply, ask, chunked, line, request


def sent(
    showcase: Showcase,
    channel: int,
    target: str,
    *,
    method: str = "POST",
    key: str = "",
    body: bytes = b"",
    **more: str,
) -> Reply:
    headers: Any = {name.replace("_", "-"): value for name, value in more.items()}
    raw = request(
        f"/v1/oneapi/proxy/{channel}{target}", body, key=key or showcase.admin_key, method=method, headers=headers
    )
    return ask(showcase.url, raw, method)


@pytest.fixture
def channel(showcase: Showcase) -> int:
    return showcase.channels["granted"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_method_path_query_and_body_go_across_as_they_are(showcase: Showcase, channel: int, method: str) -> None:
    body = b"" if method == "GET" else bytes(range(256)) * 1000
    target = "/echo/a%2Fb/c%20d//e/?x=1&y=%26&x=2"
    reply = sent(showcase, channel, target, method=method, body=body, Content_Type="application/x-own")
    assert (reply.status, reply.body) == (200, body)
    path, headers, received = showcase.last_sent
    assert (path, received) == (target, body)
    assert method == "GET" or headers["content-type"] == "application/x-own"


def test_chunked_bodies_go_across(showcase: Showcase, channel: int) -> None:
    headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    raw = request(f"/v1/oneapi/proxy/{channel}/echo", key=showcase.admin_key, headers=headers)
    reply = ask(showcase.url, raw + chunked(b"one ", b"two"))
    assert (reply.status, reply.body) == (200, b"one two")


def test_the_channels_key_takes_the_place_of_the_callers(showcase: Showcase, channel: int) -> None:
    own = showcase.console.channel(showcase.obliging.url, type=43, models="", key="Token of-its-own")
    last = "proxy-is-there"
    showcase.console.channel(showcase.obliging.url, models=last)
    showcase.console.wait_until_known(last)
    for number, key in ((channel, "Bearer sk-upstream-"), (own, "Token of-its-own")):
        for more in ({}, {"Authorization": "", "x_api_key": showcase.admin_key}):
            sent(showcase, number, "/echo?a=b", **more)
            path, headers, _ = showcase.last_sent
            assert headers["authorization"].startswith(key)
            assert path == "/echo?a=b"
            assert showcase.admin_key.removeprefix("sk-") not in str(headers)
        sent(showcase, number, f"/echo?key={showcase.admin_key}&a=b", Authorization="")
        assert showcase.last_sent[0] == "/echo?a=b"


def test_cookies_addresses_and_hop_by_hop_headers_stay_here(showcase: Showcase, channel: int) -> None:
    reply = sent(
        showcase, channel, "/echo",
        Cookie="session=1", X_Forwarded_For="192.0.2.1", TE="trailers", X_Own="kept", User_Agent="curl",
        Accept="text/plain", Origin="https://chat.example",
    )  # fmt: skip
    _, headers, _ = showcase.last_sent
    names = {name.lower() for name in headers}
    assert not names & {"cookie", "x-forwarded-for", "te", "transfer-encoding", "upgrade"}
    assert (headers["x-own"], headers["user-agent"], headers["accept"]) == ("kept", "curl", "text/plain")
    assert headers["host"] == showcase.obliging.url.removeprefix("http://")
    assert reply.headers["x-kept"] == "1"
    assert reply.headers["content-type"] == "application/octet-stream"
    assert not reply.headers.keys() & {"set-cookie", "keep-alive"}


def test_what_the_program_says_itself_is_said_once(showcase: Showcase, channel: int) -> None:
    raw = request(
        f"/v1/oneapi/proxy/{channel}/echo", key=showcase.admin_key, headers={"Origin": "https://chat.example"}
    )
    with line(showcase.url) as client:
        client.send(raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head = client.rest().partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")[1:]
    names = [field.partition(":")[0] for field in head]
    assert len(names) == len(set(names))
    assert "access-control-allow-origin: *" in head
    assert "x-oneapi-request-id: the-providers" not in head


def test_an_answer_of_any_status_comes_back_and_is_logged_at_no_cost(showcase: Showcase, channel: int) -> None:
    before = showcase.console.balance(showcase.admin.id)
    for target, status in (("/echo", 200), ("/echo/teapot", 418)):
        reply = sent(showcase, channel, target, body=b"hi")
        assert (reply.status, reply.body) == (status, b"hi")
        row = logged(showcase, reply)
        assert (row["content"], row["quota"], row["channel_id"]) == (f"POST {target}", 0, channel)
        assert row["username"] == showcase.admin.username
    assert showcase.console.balance(showcase.admin.id) == before
    assert showcase.console.holds() == 0


def logged(showcase: Showcase, reply: Reply) -> dict[str, Any]:
    """The call's row in the log, which is written when the answer has gone: there is nothing to pay before its end."""
    console = showcase.console
    console.wait_until(lambda: console.log_row(reply.request_id) is not None)
    row = console.log_row(reply.request_id)
    assert row is not None
    return row


def test_streams_pass(showcase: Showcase, channel: int) -> None:
    body = b'{"model": "granted", "messages": [{"role": "user", "content": "hi"}], "stream": true}'
    reply = sent(showcase, channel, "/v1/chat/completions", body=body)
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.body.endswith(b"data: [DONE]\n\n")


def test_only_administrators_may(showcase: Showcase, channel: int) -> None:
    seen = len(showcase.obliging.received)
    for key, status in ((showcase.key, 403), ("sk-nobody", 401)):
        reply = sent(showcase, channel, "/echo", key=key)
        assert (reply.status, reply.error["type"]) == (status, "one_api_error")
    assert len(showcase.obliging.received) == seen


def test_a_channel_that_is_off_or_absent_is_refused(showcase: Showcase) -> None:
    console = showcase.console
    off = console.channel(showcase.obliging.url, models="soon-off", status=2)
    for number in (off, 10**9, 10**17):
        reply = sent(showcase, number, "/echo")
        assert reply.status == 403
        assert str(number) in reply.error["message"]


def test_a_body_beyond_the_limit_is_refused(showcase: Showcase, channel: int) -> None:
    reply = sent(showcase, channel, "/echo", body=b"x" * ((1 << 20) + 1))
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")


def test_a_provider_that_is_not_there_is_told(showcase: Showcase) -> None:
    console = showcase.console
    nowhere = console.channel("http://127.0.0.1:9", models="nowhere")
    console.wait_until_known("nowhere")
    reply = sent(showcase, nowhere, "/echo")
    assert reply.status == 504
    assert reply.error["code"] == "do_request_failed"
    assert logged(showcase, reply)["quota"] == 0
    assert console.holds() == 0
