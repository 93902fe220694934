"""The relay's routes: what is answered, what is not there, what is not implemented, and what other sites may read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.street.showcase import VIP, Showcase
from tests.street.wire import Reply, ask, request

ELSEWHERE = "https://chat.example"
GOOD = b'{"model": "granted", "messages": [{"role": "user", "content": "hi"}]}'
# Source: OpenAI's stateful services, which One API answers with 501.
NOT_IMPLEMENTED = """
GET POST /v1/files
GET DELETE /v1/files/file-1
GET /v1/files/file-1/content
GET POST /v1/fine_tuning/jobs
GET /v1/fine_tuning/jobs/job-1
GET /v1/fine_tuning/jobs/job-1/events
POST /v1/fine_tuning/jobs/job-1/cancel
DELETE /v1/models/gpt-4o
GET POST /v1/assistants
GET POST DELETE /v1/assistants/a
GET POST /v1/assistants/a/files
GET DELETE /v1/assistants/a/files/f
POST /v1/threads
GET POST DELETE /v1/threads/t
POST /v1/threads/t/messages
GET POST /v1/threads/t/messages/m
GET /v1/threads/t/messages/m/files
GET /v1/threads/t/messages/m/files/f
GET POST /v1/threads/t/runs
GET POST /v1/threads/t/runs/r
POST /v1/threads/t/runs/r/submit_tool_outputs
POST /v1/threads/t/runs/r/cancel
GET /v1/threads/t/runs/r/steps
GET /v1/threads/t/runs/r/steps/s
"""
PAIRS = [(method, line.split()[-1]) for line in NOT_IMPLEMENTED.strip().splitlines() for method in line.split()[:-1]]
ABSENT = [
    ("GET", "/v1"),
    ("GET", "/v1/"),
    ("GET", "/v1/nothing"),
    ("POST", "/v1/nothing"),
    ("GET", "/v1/chat/completions"),
    ("PUT", "/v1/chat/completions"),
    ("PATCH", "/v1/models"),
    ("POST", "/v1/models"),
    ("POST", "/v1/chat"),
    ("POST", "/v1/chat/completions/more"),
    ("POST", "/v1/CHAT/completions"),
    ("POST", "/v1/engines//embeddings"),
    ("POST", "/v1/../v1/chat/completions"),
    ("DELETE", "/v1/files"),
    ("TRACE", "/v1/models"),
    ("BREW", "/v1/models"),
    ("GET", "/v1/oneapi/proxy/"),
    ("GET", "/v1/oneapi/proxy/one/v1/models"),
    ("GET", f"/v1/oneapi/proxy/{'9' * 30}/v1/models"),
    ("GET", "/api/nothing"),
]


def got(showcase: Showcase, method: str, path: str, *, key: str = "", body: bytes = b"", **headers: str) -> Reply:
    names: Any = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(showcase.url, request(path, body, key=key, method=method, headers=names), method)


@pytest.mark.parametrize(("method", "path"), PAIRS)
def test_what_is_not_implemented_says_so_once_the_caller_is_known(showcase: Showcase, method: str, path: str) -> None:
    stranger = got(showcase, method, path)
    assert (stranger.status, stranger.error["type"]) == (401, "one_api_error")
    for body in (b"", b"{}", b'{"model": "no-such-model"}'):  # no channel needs to be found first
        reply = got(showcase, method, path, key=showcase.key, body=body)
        error = reply.error
        assert (reply.status, error["type"], error["code"]) == (501, "one_api_error", "api_not_implemented")
        assert "request id" not in error["message"]
        assert reply.request_id


@pytest.mark.parametrize(("method", "path"), ABSENT)
def test_what_is_not_there_is_told_in_openais_way(showcase: Showcase, method: str, path: str) -> None:
    for key in ("", showcase.key):
        reply = got(showcase, method, path, key=key)
        assert reply.status == 404
        error = reply.error
        assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "", "")
        assert error["message"] == f"Invalid URL ({method} {path})"
        assert reply.request_id


def test_head_has_no_body(showcase: Showcase) -> None:
    reply = got(showcase, "HEAD", "/v1/models", key=showcase.key)
    assert (reply.status, reply.body) == (404, b"")


@pytest.mark.parametrize("path", ["/v1/chat/completions/", "/v1/chat%2Fcompletions", "/v1/%63hat/completions?a=b"])
def test_a_path_is_known_however_it_is_spelled(showcase: Showcase, path: str) -> None:
    assert got(showcase, "POST", path, key=showcase.key, body=GOOD).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/status"),
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/nothing"),
        ("POST", "/v1/files"),
        ("OPTIONS", "/v1/models"),
        ("GET", "/dashboard/billing/usage"),
    ],
)
def test_every_answer_has_a_request_id_of_its_own(showcase: Showcase, method: str, path: str) -> None:
    first, second = (got(showcase, method, path, key=showcase.key, Origin=ELSEWHERE).request_id for _ in range(2))
    assert first != second
    assert 20 < len(first) <= 31
    assert first.isdigit()


def test_a_model_is_retrieved_by_any_spelling_of_its_id(showcase: Showcase) -> None:
    name = "meta-llama/Llama-3.3-70B-Instruct:free"
    for path in (name, name.replace("/", "%2F"), name.replace(":", "%3A")):
        reply = got(showcase, "GET", f"/v1/models/{path}", key=showcase.key)
        assert (reply.status, reply.json["id"]) == (200, name)


def test_a_list_of_models_names_each_once_with_its_owner(showcase: Showcase) -> None:
    rows = got(showcase, "GET", "/v1/models", key=showcase.key).json["data"]
    owners = {row["id"]: row["owned_by"] for row in rows}
    assert len(owners) == len(rows)
    assert (owners["chat"], owners["shy"]) == ("openai", "xunfeiv2")
    assert VIP not in owners
    assert set(rows[0]) == {"id", "object", "created", "owned_by", "permission", "root", "parent"}


# ---- pages of other sites ----


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/models", "/v1/files", "/v1/nothing", "/dashboard/billing/usage"]
)
def test_a_preflight_is_granted_for_what_was_asked(showcase: Showcase, path: str) -> None:
    asked = "authorization, content-type, x-stainless-os"
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    reply = ask(showcase.url, request(path, method="OPTIONS", headers={"Origin": ELSEWHERE, **wish}), "OPTIONS")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-headers"] == asked
    assert {"GET", "POST", "DELETE"} <= set(reply.headers["access-control-allow-methods"].split(", "))
    assert reply.headers["access-control-max-age"] == "43200"
    assert "access-control-allow-credentials" not in reply.headers


@pytest.mark.parametrize("path", ["/api/status", "/api/user/self", "/", "/healthz", "/admin/"])
def test_nothing_else_is_granted_to_other_sites(showcase: Showcase, path: str) -> None:
    for method in ("OPTIONS", "GET"):
        reply = got(showcase, method, path, Origin=ELSEWHERE, Access_Control_Request_Method="POST")
        assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_a_preflight_cannot_be_made_to_say_what_it_should_not(showcase: Showcase) -> None:
    headers: Any = {"Origin": ELSEWHERE, "Access-Control-Request-Headers": b'x-a\t\xe9"<>;, x-b'}
    reply = ask(showcase.url, request("/v1/models", method="OPTIONS", headers=headers), "OPTIONS")
    assert (reply.status, reply.headers["access-control-allow-headers"]) == (204, "x-a, x-b")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 404),
        ("POST", "/v1/chat/completions", 400),
        ("GET", "/v1/files", 501),
        ("GET", "/v1/dashboard/billing/subscription", 200),
        ("GET", "/dashboard/billing/usage", 200),
    ],
)
def test_other_sites_may_read_answers_and_errors_and_their_request_id(
    showcase: Showcase, method: str, path: str, status: int
) -> None:
    reply = got(showcase, method, path, key=showcase.key, body=b"{}" if method == "POST" else b"", Origin=ELSEWHERE)
    assert reply.status == status
    assert reply.headers["access-control-allow-origin"] == "*"
    exposed = reply.headers["access-control-expose-headers"].split(", ")
    assert {"X-Oneapi-Request-Id", "Retry-After"} <= set(exposed)
    assert "access-control-allow-credentials" not in reply.headers
    stranger = got(showcase, method, path, Origin=ELSEWHERE, body=b"{}" if method == "POST" else b"")
    assert stranger.headers["access-control-allow-origin"] == "*"


def test_the_same_site_needs_no_leave(showcase: Showcase) -> None:
    for origin in ("http://gateway", "https://gateway", ""):
        reply = got(showcase, "GET", "/v1/models", key=showcase.key, Origin=origin)
        assert reply.status == 200
        assert "access-control-allow-origin" not in reply.headers


def test_streams_may_be_read_by_other_sites_and_are_not_held_back_by_proxies(showcase: Showcase) -> None:
    body = b'{"model": "granted", "messages": [{"role": "user", "content": "hi"}], "stream": true}'
    reply = got(showcase, "POST", "/v1/chat/completions", key=showcase.key, body=body, Origin=ELSEWHERE)
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"


# ---- whose address ----


def test_the_address_of_a_client_behind_a_trusted_proxy_is_the_proxys_word(showcase: Showcase) -> None:
    key = showcase.console.token(showcase.user, subnet="192.0.2.0/24")
    for forwarded, status in (("192.0.2.7", 200), ("192.0.2.7, 10.0.0.1", 200), ("192.0.2.7, 203.0.113.9", 403)):
        reply = got(showcase, "GET", "/v1/models", key=key, X_Forwarded_For=forwarded)
        assert reply.status == status
        body = b'{"model": "granted", "messages": [{"role": "user", "content": "hi"}]}'
        assert (
            got(showcase, "POST", "/v1/chat/completions", key=key, body=body, X_Forwarded_For=forwarded).status
            == status
        )
