"""How bodies are read: leniently, as scripts rely on (management.md §4.1)."""

from typing import Any

import pytest
from sqlalchemy import text

from oneapi.models import User
from tests.api.site import ROOT, Site


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a", "remain_quota": 7}',
        b'{"NAME": "a", "Remain_Quota": 7}',
        b'{"name": "a", "remain_quota": 7.0}',
        b'{"name": "a", "remain_quota": "7"}',
        b'\xef\xbb\xbf{"name": "a", "remain_quota": 7}',
        b'{"name": "a", "remain_quota": 7, "unknown": [1, {"x": null}]} and what follows',
        b'  \n{"name": "a", "remain_quota": 7, "models": null, "unlimited_quota": null}',
        b'{"name": "b", "name": "a", "remain_quota": 7}',
    ],
)
def test_all_these_mean_the_same(site: Site, body: bytes) -> None:
    created = site.user().call("POST", "/api/token/", body)
    assert (created["name"], created["remain_quota"], created["models"]) == ("a", 7, None)


def test_any_content_type_is_read(site: Site) -> None:
    user = site.user()
    response = user.client.post(
        "/api/token/", data='{"name": "a"}', headers={"Authorization": user.token, "Content-Type": "text/plain"}
    )
    assert response.get_json()["data"]["name"] == "a"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b'"text"',
        b"7",
        b'{"name": 5}',
        b'{"remain_quota": 1.5}',
        b'{"remain_quota": "many"}',
        b'{"remain_quota": true}',
        b'{"remain_quota": 9223372036854775808}',
        b'{"remain_quota": 1e300}',
        b'{"remain_quota": NaN}',
        b'{"unlimited_quota": "perhaps"}',
        b'{"name": ' + b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_an_invalid_parameter(site: Site, body: bytes) -> None:
    assert site.user().refused("POST", "/api/token/", body).startswith("Invalid parameter")


def test_text_that_a_database_refuses_is_cleaned(any_site: Site) -> None:
    created = any_site.user().call("POST", "/api/token/", b'{"name": "a\\u0000b\\ud800c"}')
    assert created["name"] == "ab?c"


def test_numbers_at_the_edge_of_what_a_column_holds_are_kept(any_site: Site) -> None:
    largest = 2**63 - 1
    assert (
        any_site.user().call("POST", "/api/token/", {"name": "a", "remain_quota": largest})["remain_quota"] == largest
    )


def test_a_body_too_large_is_413(site: Site) -> None:
    user = site.user()
    response = user.ask("POST", "/api/token/", b'{"name": "' + b"a" * (17 * 1024 * 1024))
    assert response.status_code == 413
    assert response.get_json()["success"] is False


def test_what_nobody_foresaw_is_told_without_the_databases_words(any_site: Site) -> None:
    user = any_site.user()
    with any_site.engine.begin() as connection:
        connection.execute(text("ALTER TABLE tokens RENAME TO tokens_gone"))
    try:
        response = user.ask("GET", "/api/token/")
    finally:
        with any_site.engine.begin() as connection:
            connection.execute(text("ALTER TABLE tokens_gone RENAME TO tokens"))
    assert response.status_code == 500
    message = response.get_json()["message"]
    assert response.headers["X-Oneapi-Request-Id"] in message and "tokens" not in message


@pytest.mark.parametrize("method, path", [("GET", "/api/nothing"), ("PATCH", "/api/token/"), ("DELETE", "/api/status")])
def test_what_is_not_there_is_404_in_openais_form(site: Site, method: str, path: str) -> None:
    response = site.anybody().ask(method, path)
    expected: dict[str, Any] = {
        "error": {
            "message": f"Invalid URL ({method} {path})",
            "type": "invalid_request_error",
            "param": "",
            "code": "",
        }
    }
    assert (response.status_code, response.get_json()) == (404, expected)


def test_every_answer_has_a_request_id(site: Site) -> None:
    ids = [
        site.anybody().ask(method, path).headers.get("X-Oneapi-Request-Id")
        for method, path in (("GET", "/api/status"), ("GET", "/api/nothing"), ("GET", "/api/user/self"))
    ]
    assert all(ids)
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    "language, message",
    [
        ("zh-CN,zh;q=0.9", "尚未登录，请求中也没有访问令牌"),
        ("ZH", "尚未登录，请求中也没有访问令牌"),
        ("en-US", "Not logged in, and no access token was given"),
        ("fr, zh", "Not logged in, and no access token was given"),
    ],
)
def test_messages_follow_the_readers_language(site: Site, language: str, message: str) -> None:
    response = site.anybody().ask("GET", "/api/user/self", **{"Accept-Language": language})
    assert response.get_json()["message"] == message


def test_answers_are_compressed_when_asked(site: Site) -> None:
    response = site.user().ask("GET", "/api/models", **{"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"


def test_answers_carry_no_cors_headers(site: Site) -> None:
    response = site.anybody().ask("GET", "/api/status", Origin="https://elsewhere.example")
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_form_learns_which_field_was_refused(site: Site) -> None:
    taken = site.row(User, site.user().id).username
    body = {"username": taken, "password": "long enough"}
    response = site.anybody().ask("POST", "/api/user/register", body)
    assert response.headers["X-Refused-Field"] == "username"
    assert response.get_json().keys() == {"success", "message"}
    channel = {"type": 1, "name": "c", "key": "k", "models": "模" * 300}
    response = site.user(ROOT).ask("POST", "/api/channel/", channel)
    assert (response.get_json()["success"], "X-Refused-Field" in response.headers) == (False, False)
