"""/api/redemption and redeeming: rules of management.md §4.4, §4.9, object of §4.13."""

import re
import time
from typing import Any

import pytest
from gevent.pool import Pool

from oneapi.models import Log, Redemption, User
from tests.api.site import ADMIN, Caller, Site


def make(admin: Caller, **fields: Any) -> list[str]:
    codes: list[str] = admin.call("POST", "/api/redemption/", {"name": "spring", "quota": 500, "count": 1, **fields})
    return codes


def id_of(site: Site, code: str) -> int:
    return int(site.rows(Redemption, Redemption.key == code)[0].id)


def one(site: Site) -> int:
    """The id of the only code there is."""
    (row,) = site.rows(Redemption)
    return int(row.id)


def test_a_code_has_exactly_the_keys_of_the_reference(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    (code,) = make(admin)
    assert re.fullmatch("[0-9a-f]{32}", code)
    (shown,) = admin.call("GET", "/api/redemption/")
    assert shown == {
        "id": one(any_site), "user_id": admin.id, "key": code, "status": 1, "name": "spring", "quota": 500,
        "created_time": pytest.approx(time.time(), abs=5), "redeemed_time": 0, "count": 0,
    }  # fmt: skip
    assert admin.call("GET", f"/api/redemption/{shown['id']}/") == shown


@pytest.mark.parametrize("fields", [{"quota": 0}, {"quota": None}])
def test_no_quota_means_100(site: Site, fields: dict[str, Any]) -> None:
    make(site.user(ADMIN), **fields)
    assert site.row(Redemption, one(site)).quota == 100


def test_a_hundred_codes_are_all_different(site: Site) -> None:
    assert len(set(make(site.user(ADMIN), count=100))) == 100


@pytest.mark.parametrize(
    "fields", [{"count": 0}, {"count": 101}, {"name": ""}, {"name": "n" * 21}, {"quota": -5}, {"count": -1}]
)
def test_what_codes_cannot_be(site: Site, fields: dict[str, Any]) -> None:
    body = {"name": "spring", "quota": 500, "count": 1, **fields}
    assert site.user(ADMIN).refused("POST", "/api/redemption/", body).startswith("Invalid input")


def test_a_code_is_credited_once_under_fifty_parallel_calls(any_site: Site) -> None:
    codes = make(any_site.user(ADMIN), count=3)
    users = [any_site.user(quota=7) for _ in range(5)]

    def redeem(number: int) -> int:
        user = users[number % 5]
        caller = Caller(any_site, any_site.app.test_client(), user.id, user.token)
        answer = caller.ask("POST", "/api/user/topup", {"key": codes[1]}).get_json()
        return int(answer.get("data", 0))

    assert sorted(Pool(50).map(redeem, range(50)))[-2:] == [0, 500]
    balances = sorted(any_site.row(User, user.id).quota for user in users)
    assert balances == [7, 7, 7, 7, 507]
    (log,) = any_site.rows(Log, Log.type == 1)
    row = any_site.row(Redemption, id_of(any_site, codes[1]))
    assert (log.quota, row.status, row.redeemed_by) == (500, 3, log.user_id)
    assert any_site.row(User, row.redeemed_by).quota == 507


def test_blanks_around_a_code_do_not_matter(site: Site) -> None:
    (code,) = make(site.user(ADMIN))
    assert site.user().call("POST", "/api/user/topup", {"key": f" {code}\n"}) == 500


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"status": 3}, "has been used"),
        ({"status": 2}, "not valid"),
        ({"expired_time": 1000}, "expired"),
    ],
)
def test_a_code_that_cannot_be_redeemed(site: Site, columns: dict[str, int], message: str) -> None:
    (code,) = make(site.user(ADMIN))
    site.change(Redemption, one(site), **columns)
    user = site.user()
    assert message in user.refused("POST", "/api/user/topup", {"key": code})
    assert site.row(User, user.id).quota == 0


def test_an_unknown_code_is_compared_exactly(any_site: Site) -> None:
    (code,) = make(any_site.user(ADMIN))
    any_site.change(Redemption, one(any_site), key="abcdef" + "0" * 26)
    user = any_site.user()
    for wrong in ("ABCDEF" + "0" * 26, "nonsense", ""):
        user.refused("POST", "/api/user/topup", {"key": wrong})
    assert user.call("POST", "/api/user/topup", {"key": "abcdef" + "0" * 26}) == 500
    assert code != "abcdef" + "0" * 26


def test_guessing_at_codes_is_stopped(site: Site) -> None:
    (code,) = make(site.user(ADMIN))
    user = site.user()
    for number in range(20):
        user.refused("POST", "/api/user/topup", {"key": f"guess {number}"})
    response = user.ask("POST", "/api/user/topup", {"key": code})
    assert response.status_code == 429 and int(response.headers["Retry-After"]) > 0


def test_an_update_changes_what_is_given(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    make(admin)
    assert admin.call("PUT", "/api/redemption/", {"id": one(any_site), "name": "autumn"})["quota"] == 500
    changed = admin.call("PUT", "/api/redemption/", {"id": one(any_site), "quota": 7})
    assert (changed["name"], changed["quota"]) == ("autumn", 7)
    assert admin.call("PUT", "/api/redemption/", changed) == changed


def test_status_only_writes_nothing_else(site: Site) -> None:
    admin = site.user(ADMIN)
    make(admin)
    before = admin.call("GET", f"/api/redemption/{one(site)}")
    changed = admin.call("PUT", "/api/redemption/?status_only=1", {"id": one(site), "status": 2, "name": "other"})
    assert changed == {**before, "status": 2}


@pytest.mark.parametrize("status", [0, 3, 9])
def test_only_unused_and_disabled_can_be_set(site: Site, status: int) -> None:
    admin = site.user(ADMIN)
    make(admin)
    admin.refused("PUT", "/api/redemption/?status_only=1", {"id": one(site), "status": status})


def test_a_used_code_stays_used(site: Site) -> None:
    admin = site.user(ADMIN)
    (code,) = make(admin)
    site.user().call("POST", "/api/user/topup", {"key": code})
    for query, body in (("?status_only=1", {"status": 1}), ("", {"quota": 9})):
        assert (
            admin.refused("PUT", f"/api/redemption/{query}", {"id": one(site), **body})
            == "A used code cannot be changed"
        )
    assert site.row(Redemption, one(site)).status == 3


def test_what_is_not_there_is_not_found(site: Site) -> None:
    admin = site.user(ADMIN)
    assert admin.refused("GET", "/api/redemption/9") == "Record not found"
    assert admin.refused("DELETE", "/api/redemption/9") == "Record not found"
    assert admin.refused("PUT", "/api/redemption/", {"id": 0, "name": "x"}) == "Record not found"


def test_deleting_removes_the_row(site: Site) -> None:
    admin = site.user(ADMIN)
    make(admin)
    admin.call("DELETE", f"/api/redemption/{one(site)}/")
    assert site.rows(Redemption) == []


def test_search_is_by_id_or_the_beginning_of_the_name(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    (spring,), _ = make(admin, name="spring"), make(admin, name="autumn")
    for keyword, names in ((str(id_of(any_site, spring)), ["spring"]), ("aut", ["autumn"]), ("tumn", []), ("%25", [])):
        found = admin.call("GET", f"/api/redemption/search?keyword={keyword}")
        assert [code["name"] for code in found] == names
