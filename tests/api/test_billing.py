"""The billing endpoints: modes and shapes of management.md §5, rules of keys of §6.8."""

from typing import Any

import pytest
from sqlalchemy import insert

from oneapi.models import Token, User
from tests.api.site import Site

KEY = "k" * 48
SUBSCRIPTION = "/dashboard/billing/subscription"
USAGE = "/dashboard/billing/usage"


def token(site: Site, user_id: int, **columns: Any) -> int:
    values = {"user_id": user_id, "key": KEY, "name": "ci", "remain_quota": 750000, "used_quota": 250000, **columns}
    with site.engine.begin() as connection:
        return int(connection.execute(insert(Token).values(**values)).inserted_primary_key[0])


def ask(site: Site, path: str, key: str = f"Bearer sk-{KEY}", **headers: str) -> Any:
    return site.anybody().ask("GET", path, Authorization=key, **headers)


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_tokens_figures(any_site: Site, prefix: str, slash: str) -> None:
    token(any_site, any_site.user().id, expired_time=2000000000)
    answer = ask(any_site, f"{prefix}{SUBSCRIPTION}{slash}?start_date=2025-01-01").get_json()
    assert answer == {
        "object": "billing_subscription", "has_payment_method": True, "soft_limit_usd": 2.0, "hard_limit_usd": 2.0,
        "system_hard_limit_usd": 2.0, "access_until": 2000000000,
    }  # fmt: skip
    assert ask(any_site, f"{prefix}{USAGE}{slash}").get_json() == {"object": "list", "total_usage": 50.0}


def test_an_unlimited_token(site: Site) -> None:
    token(site, site.user(quota=1000000, used_quota=500000).id, unlimited_quota=True)
    answer = ask(site, SUBSCRIPTION).get_json()
    assert (answer["hard_limit_usd"], answer["access_until"]) == (100000000, 0)
    assert ask(site, SUBSCRIPTION + "?scope=user").get_json()["hard_limit_usd"] == 3.0


def test_a_users_figures(site: Site) -> None:
    site.set_options(DisplayTokenStatEnabled="false")
    token(site, site.user(quota=1000000, used_quota=500000).id, expired_time=2000000000)
    answer = ask(site, SUBSCRIPTION).get_json()
    assert (answer["hard_limit_usd"], answer["access_until"]) == (3.0, 0)
    assert ask(site, USAGE).get_json()["total_usage"] == 100.0


def test_bare_quota_where_dollars_are_not_shown(site: Site) -> None:
    site.set_options(DisplayInCurrencyEnabled="false")
    token(site, site.user().id)
    assert ask(site, SUBSCRIPTION).get_json()["hard_limit_usd"] == 1000000
    assert ask(site, USAGE).get_json()["total_usage"] == 25000000


def test_figures_are_of_this_moment(site: Site) -> None:
    token_id = token(site, site.user().id)
    ask(site, USAGE)
    site.change(Token, token_id, used_quota=500000)
    assert ask(site, USAGE).get_json()["total_usage"] == 100.0


@pytest.mark.parametrize("key", [f"Bearer sk-{KEY}", f"Bearer {KEY}", f"sk-{KEY}", KEY, f"bearer sk-{KEY}"])
def test_forms_of_a_key(site: Site, key: str) -> None:
    token(site, site.user().id)
    assert ask(site, USAGE, key).status_code == 200


@pytest.mark.parametrize(
    "columns, user_columns, key, status",
    [
        ({}, {}, "", 401),
        ({}, {}, "Bearer sk-unknown", 401),
        ({}, {}, f"Bearer sk-{KEY.upper()}", 401),
        ({"status": 2}, {}, KEY, 401),
        ({"status": 3}, {}, KEY, 401),
        ({"status": 4}, {}, KEY, 401),
        ({"expired_time": 1000}, {}, KEY, 401),
        ({"remain_quota": 0}, {}, KEY, 401),
        ({"subnet": "10.0.0.0/8"}, {}, KEY, 403),
        ({}, {"status": 2}, KEY, 403),
        ({}, {"status": 3}, KEY, 403),
        ({}, {}, f"{KEY}-7", 403),
    ],
)
def test_who_is_refused(
    any_site: Site, columns: dict[str, Any], user_columns: dict[str, Any], key: str, status: int
) -> None:
    token(any_site, any_site.user(**user_columns).id, **columns)
    response = ask(any_site, USAGE, key)
    error = response.get_json()["error"]
    assert (response.status_code, error["type"]) == (status, "one_api_error")
    assert response.headers["X-Oneapi-Request-Id"] in error["message"]
    assert KEY not in response.text


def test_an_administrator_may_pin_a_channel(site: Site) -> None:
    token(site, site.user(10).id)
    assert ask(site, USAGE, f"Bearer sk-{KEY}-7").status_code == 200
    assert ask(site, USAGE, f"Bearer sk-{KEY}-x").status_code == 400
    assert ask(site, USAGE, f"Bearer sk-{KEY}-").status_code == 400


def test_other_sites_may_ask_without_credentials(site: Site) -> None:
    token(site, site.user().id)
    for path in (USAGE, "/v1" + SUBSCRIPTION):
        headers = ask(site, path, Origin="https://chat.example").headers
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in headers


def test_a_banned_user_is_refused_once_the_cache_is_told(site: Site) -> None:
    user = site.user()
    token(site, user.id)
    assert ask(site, USAGE).status_code == 200
    site.change(User, user.id, status=2)
    site.program.token_cache.clear()
    assert ask(site, USAGE).status_code == 403
