"""Who may ask what: every route, by every kind of caller, with and without a final slash."""

import pytest

from oneapi.api import NOUNS
from oneapi.api.routing import Route
from oneapi.models import User
from tests.api.site import ADMIN, COMMON, PASSWORD, ROOT, Caller, Site

# Spec management.md §4.2, without what signs in through third parties and what asks providers.
EXPECTED = {
    ("GET", "/api/status"): None,
    ("GET", "/api/notice"): None,
    ("GET", "/api/about"): None,
    ("GET", "/api/home_page_content"): None,
    ("GET", "/api/models"): COMMON,
    ("POST", "/api/topup"): ADMIN,
    ("POST", "/api/user/register"): None,
    ("POST", "/api/user/login"): None,
    ("GET", "/api/user/logout"): None,
    ("GET", "/api/user/dashboard"): COMMON,
    ("GET", "/api/user/self"): COMMON,
    ("PUT", "/api/user/self"): COMMON,
    ("DELETE", "/api/user/self"): COMMON,
    ("GET", "/api/user/token"): COMMON,
    ("GET", "/api/user/aff"): COMMON,
    ("POST", "/api/user/topup"): COMMON,
    ("GET", "/api/user/available_models"): COMMON,
    ("GET", "/api/user/"): ADMIN,
    ("GET", "/api/user/search"): ADMIN,
    ("GET", "/api/user/<id>"): ADMIN,
    ("POST", "/api/user/"): ADMIN,
    ("PUT", "/api/user/"): ADMIN,
    ("POST", "/api/user/manage"): ADMIN,
    ("DELETE", "/api/user/<id>"): ADMIN,
    ("GET", "/api/option/"): ROOT,
    ("PUT", "/api/option/"): ROOT,
    ("GET", "/api/channel/"): ADMIN,
    ("GET", "/api/channel/search"): ADMIN,
    ("GET", "/api/channel/models"): ADMIN,
    ("GET", "/api/channel/<id>"): ADMIN,
    ("POST", "/api/channel/"): ADMIN,
    ("PUT", "/api/channel/"): ADMIN,
    ("DELETE", "/api/channel/disabled"): ADMIN,
    ("DELETE", "/api/channel/<id>"): ADMIN,
    ("GET", "/api/token/"): COMMON,
    ("GET", "/api/token/search"): COMMON,
    ("GET", "/api/token/<id>"): COMMON,
    ("POST", "/api/token/"): COMMON,
    ("PUT", "/api/token/"): COMMON,
    ("DELETE", "/api/token/<id>"): COMMON,
    ("GET", "/api/redemption/"): ADMIN,
    ("GET", "/api/redemption/search"): ADMIN,
    ("GET", "/api/redemption/<id>"): ADMIN,
    ("POST", "/api/redemption/"): ADMIN,
    ("PUT", "/api/redemption/"): ADMIN,
    ("DELETE", "/api/redemption/<id>"): ADMIN,
    ("GET", "/api/log/"): ADMIN,
    ("DELETE", "/api/log/"): ADMIN,
    ("GET", "/api/log/stat"): ADMIN,
    ("GET", "/api/log/search"): ADMIN,
    ("GET", "/api/log/self"): COMMON,
    ("GET", "/api/log/self/stat"): COMMON,
    ("GET", "/api/log/self/search"): COMMON,
    ("GET", "/api/group/"): ADMIN,
}
ROUTES = [route for noun in NOUNS for route in noun.ROUTES]
GUARDED = [route for route in ROUTES if route.role is not None]


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture
def everybody(site: Site) -> dict[int | None, Caller]:
    return {None: site.anybody(), **{role: site.user(role) for role in (COMMON, ADMIN, ROOT)}}


def path_of(route: Route) -> str:
    return route.path.replace("<id>", "999999")


def test_the_routes_of_the_reference_are_all_there() -> None:
    roles = {(route.method, route.path): route.role for route in ROUTES}
    assert {key: roles.get(key, "missing") for key in EXPECTED} == EXPECTED


@pytest.mark.parametrize("route", [route for route in GUARDED if route.role != COMMON], ids=name)
def test_a_role_too_low_is_told_so(everybody: dict[int | None, Caller], route: Route) -> None:
    assert route.role is not None
    below = COMMON if route.role == ADMIN else ADMIN
    assert everybody[below].refused(route.method, path_of(route)) == "Your role does not permit this"


@pytest.mark.parametrize("route", [route for route in GUARDED if route.method == "GET"], ids=name)
def test_the_least_role_is_enough_with_and_without_a_final_slash(site: Site, route: Route) -> None:
    caller = site.logged_in(route.role or COMMON)  # by cookie, because one of these routes makes a new access token
    for path in (path_of(route).rstrip("/"), path_of(route).rstrip("/") + "/"):
        response = caller.ask("GET", path)
        assert response.status_code == 200
        answer = {} if response.mimetype == "text/csv" else response.get_json()
        assert answer.get("message", "") not in ("Your role does not permit this", "Invalid URL")


def test_fixed_segments_win_over_ids(everybody: dict[int | None, Caller]) -> None:
    assert "username" in everybody[COMMON].call("GET", "/api/user/self")
    assert everybody[ADMIN].call("DELETE", "/api/channel/disabled") == 0


@pytest.mark.parametrize("path", ["/api/token", "/api/token/"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_bodies_reach_both_forms_of_a_path(everybody: dict[int | None, Caller], method: str, path: str) -> None:
    caller = everybody[COMMON]
    created = caller.call("POST", "/api/token", {"name": "first"})
    answer = caller.call(method, path, {"id": created["id"], "name": "second"})
    assert answer["name"] == "second"


# ---- sessions and access tokens ----


def test_an_access_token_serves_with_and_without_bearer(site: Site) -> None:
    user = site.user()
    for header in (user.token, f"Bearer {user.token}"):
        response = site.anybody().ask("GET", "/api/user/self", Authorization=header)
        assert response.get_json()["data"]["id"] == user.id


def test_an_unknown_access_token_is_a_refusal_with_200(site: Site) -> None:
    for header in ("0" * 32, "Bearer ", "Bearer nobody"):
        response = site.anybody().ask("GET", "/api/user/self", Authorization=header)
        assert (response.status_code, response.get_json()["success"]) == (200, False)


def test_an_access_token_is_compared_exactly(any_site: Site) -> None:
    user = any_site.user(access_token="abcdef" + "0" * 26)
    response = any_site.anybody().ask("GET", "/api/user/self", Authorization="ABCDEF" + "0" * 26)
    assert response.get_json()["success"] is False
    assert user.call("GET", "/api/user/self")["id"] == user.id


def test_a_session_wins_over_an_access_token(site: Site) -> None:
    with_cookie, other = site.logged_in(), site.user()
    response = with_cookie.ask("GET", "/api/user/self", Authorization=other.token)
    assert response.get_json()["data"]["id"] == with_cookie.id


def test_the_cookie_is_protected(site: Site) -> None:
    user = site.user()
    body = {"username": site.row(User, user.id).username, "password": PASSWORD}
    cookie = site.anybody().ask("POST", "/api/user/login", body).headers["Set-Cookie"]
    assert cookie.startswith("session=")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie
    assert "Secure" not in cookie
    response = site.anybody().client.post("https://localhost/api/user/login", json=body)
    assert "Secure" in response.headers["Set-Cookie"]


def test_logging_out_ends_the_session(site: Site) -> None:
    user = site.logged_in()
    user.call("GET", "/api/user/logout")
    assert user.ask("GET", "/api/user/self").status_code == 401


@pytest.mark.parametrize("is_cookie", [True, False], ids=["cookie", "access token"])
@pytest.mark.parametrize("action", ["disable", "delete"])
def test_a_banned_user_is_out_at_once(site: Site, is_cookie: bool, action: str) -> None:
    root = site.user(ROOT)
    user = site.logged_in() if is_cookie else site.user()
    user.call("GET", "/api/user/self")
    root.call("POST", "/api/user/manage", {"username": site.row(User, user.id).username, "action": action})
    response = user.ask("GET", "/api/user/self")
    assert response.get_json()["success"] is False
    assert response.status_code == (401 if is_cookie and action == "delete" else 200)


def test_a_disabled_user_is_told_so_and_loses_his_cookie(site: Site) -> None:
    user = site.logged_in()
    site.change(User, user.id, status=2)
    assert user.refused("GET", "/api/user/self") == "This account is disabled"
    assert user.ask("GET", "/api/user/self").status_code == 401


def test_a_demoted_administrator_is_none_at_once(site: Site) -> None:
    root, admin = site.user(ROOT), site.logged_in(ADMIN)
    admin.call("GET", "/api/user/")
    root.call("POST", "/api/user/manage", {"username": site.row(User, admin.id).username, "action": "demote"})
    assert admin.ask("GET", "/api/user/").status_code == 401


def test_a_new_password_ends_other_sessions_but_not_the_one_that_set_it(site: Site) -> None:
    here = site.logged_in()
    elsewhere = Caller(site, site.app.test_client(), here.id)
    elsewhere.call("POST", "/api/user/login", {"username": site.row(User, here.id).username, "password": PASSWORD})
    here.call("PUT", "/api/user/self", {"password": "another horse"})
    assert here.call("GET", "/api/user/self")["id"] == here.id
    assert elsewhere.ask("GET", "/api/user/self").status_code == 401


def test_a_cookie_of_another_key_is_nobody(site: Site) -> None:
    anybody = site.anybody()
    anybody.client.set_cookie("session", "eyJpZCI6MX0.aaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb", domain="localhost")
    assert anybody.ask("GET", "/api/user/self").status_code == 401
