"""/api/token: write semantics of management.md §1.9, rules of §4.8, object of §4.13."""

import re
import time
from typing import Any

import pytest

from oneapi.models import Log, Token
from tests.api.site import ADMIN, Site

KEYS = {
    "id", "user_id", "key", "status", "name", "created_time", "accessed_time", "expired_time", "remain_quota",
    "unlimited_quota", "used_quota", "models", "subnet",
}  # fmt: skip


def test_a_new_token_has_exactly_the_keys_of_the_reference(any_site: Site) -> None:
    user = any_site.user()
    created = user.call("POST", "/api/token/", {"name": "ci"})
    assert created.keys() == KEYS
    assert re.fullmatch("[0-9A-Za-z]{48}", created["key"])
    assert created == {
        "id": created["id"], "user_id": user.id, "key": created["key"], "status": 1, "name": "ci",
        "created_time": pytest.approx(time.time(), abs=5), "accessed_time": pytest.approx(time.time(), abs=5),
        "expired_time": -1, "remain_quota": 0, "unlimited_quota": False, "used_quota": 0, "models": None, "subnet": "",
    }  # fmt: skip
    assert user.call("GET", f"/api/token/{created['id']}/") == created


@pytest.mark.parametrize("body", [{"name": "a"}, {"name": "a", "expired_time": 0}, {"name": "a", "expired_time": None}])
def test_creating_without_an_expiry_is_never(site: Site, body: dict[str, Any]) -> None:
    assert site.user().call("POST", "/api/token/", body)["expired_time"] == -1


def test_a_full_update_writes_all_fields_zero_values_included(site: Site) -> None:
    user = site.user()
    token = user.call(
        "POST",
        "/api/token/",
        {"name": "a", "expired_time": 2000000000, "remain_quota": 5, "unlimited_quota": True, "models": "m"},
    )
    body = {"id": token["id"], "name": "", "expired_time": 0, "remain_quota": 0, "unlimited_quota": False}
    updated = user.call("PUT", "/api/token/", {**body, "models": "", "subnet": ""})
    assert (updated["name"], updated["expired_time"], updated["remain_quota"]) == ("", 0, 0)
    assert (updated["unlimited_quota"], updated["models"], updated["subnet"]) == (False, "", "")
    assert updated["key"] == token["key"]


def test_an_update_without_an_expiry_keeps_it_and_empties_the_rest(site: Site) -> None:
    user = site.user()
    token = user.call("POST", "/api/token/", {"name": "a", "expired_time": 2000000000, "models": "m", "subnet": "::/0"})
    updated = user.call("PUT", "/api/token/", {"id": token["id"], "name": "b"})
    assert (updated["name"], updated["expired_time"]) == ("b", 2000000000)
    assert (updated["models"], updated["subnet"], updated["remain_quota"]) == (None, None, 0)


def test_a_whole_object_may_be_put_back(site: Site) -> None:
    user = site.user()
    token = user.call(
        "POST", "/api/token/", {"name": "a", "remain_quota": 7, "models": "gpt-4o,o1", "subnet": "10.0.0.0/8"}
    )
    assert user.call("PUT", "/api/token/", token) == token


def test_a_full_update_does_not_write_the_status(site: Site) -> None:
    user = site.user()
    token = user.call("POST", "/api/token/", {"name": "a"})
    assert user.call("PUT", "/api/token/", {**token, "status": 2})["status"] == 1


def test_status_only_writes_nothing_else(site: Site) -> None:
    user = site.user()
    token = user.call("POST", "/api/token/", {"name": "a", "remain_quota": 3})
    changed = user.call("PUT", "/api/token/?status_only=true", {"id": token["id"], "status": 2, "name": "b"})
    assert changed == {**token, "status": 2}


@pytest.mark.parametrize("query", ["", "?status_only=1"])
def test_an_expired_token_must_get_time_before_it_is_enabled(site: Site, query: str) -> None:
    user = site.user()
    token = user.call("POST", "/api/token/", {"name": "a", "unlimited_quota": True})
    site.change(Token, token["id"], status=3, expired_time=1000)
    message = user.refused("PUT", f"/api/token/{query}", {**token, "status": 1, "expired_time": 1000})
    assert "expired" in message
    user.call("PUT", "/api/token/", {**token, "status": 3, "expired_time": -1})
    assert user.call("PUT", "/api/token/?status_only=1", {"id": token["id"], "status": 1})["status"] == 1


def test_a_used_up_token_must_get_quota_before_it_is_enabled(site: Site) -> None:
    user = site.user()
    token = user.call("POST", "/api/token/", {"name": "a"})
    site.change(Token, token["id"], status=4)
    body = {"id": token["id"], "status": 1}
    assert "used up" in user.refused("PUT", "/api/token/?status_only=1", body)
    user.call("PUT", "/api/token/", {**token, "status": 4, "remain_quota": 1})
    assert user.call("PUT", "/api/token/?status_only=1", body)["status"] == 1


@pytest.mark.parametrize("status", [0, 3, 4, 9, -1])
def test_only_enabled_and_disabled_can_be_set(site: Site, status: int) -> None:
    user = site.user()
    token = user.call("POST", "/api/token/", {"name": "a"})
    user.refused("PUT", "/api/token/?status_only=1", {"id": token["id"], "status": status})


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_not_there_or_not_ones_own_is_not_found(site: Site, method: str) -> None:
    other = site.user().call("POST", "/api/token/", {"name": "a"})
    user = site.user(ADMIN)
    for token_id in (other["id"], 999999):
        assert user.refused(method, f"/api/token/{token_id}") == "Record not found"
    assert user.refused("PUT", "/api/token/", {**other, "name": "mine"}) == "Record not found"
    assert user.refused("PUT", "/api/token/", {"id": 0, "name": "x"}) == "Record not found"


def test_deleting_removes_the_row(site: Site) -> None:
    user = site.user()
    token = user.call("POST", "/api/token/", {"name": "a"})
    assert user.call("DELETE", f"/api/token/{token['id']}/") is None
    assert site.rows(Token, Token.id == token["id"]) == []


def test_an_id_that_is_no_number_is_an_invalid_parameter(site: Site) -> None:
    assert site.user().refused("GET", "/api/token/abc").startswith("Invalid parameter")


@pytest.mark.parametrize("length, is_good", [(30, True), (31, False)])
def test_a_name_has_at_most_30_characters(site: Site, length: int, is_good: bool) -> None:
    response = site.user().ask("POST", "/api/token/", {"name": "令" * length})
    assert response.get_json()["success"] is is_good


@pytest.mark.parametrize(
    "subnet, is_good",
    [
        ("10.0.0.0/8", True),
        ("10.0.0.0/8, 2001:db8::/32", True),
        ("192.168.1.7", True),
        ("10.0.0.1/8", True),
        ("", True),
        ("10.0.0.0/33", False),
        ("home", False),
        ("10.0.0.0/8,home", False),
    ],
)
def test_networks_are_validated(site: Site, subnet: str, is_good: bool) -> None:
    response = site.user().ask("POST", "/api/token/", {"name": "a", "subnet": subnet})
    assert response.get_json()["success"] is is_good


def test_a_remainder_may_not_be_set_below_zero_but_may_stay_there(site: Site) -> None:
    user = site.user()
    assert "negative" in user.refused("POST", "/api/token/", {"name": "a", "remain_quota": -1})
    token = user.call("POST", "/api/token/", {"name": "a"})
    site.change(Token, token["id"], remain_quota=-20)
    assert user.call("PUT", "/api/token/", {**token, "name": "b", "remain_quota": -20})["remain_quota"] == -20
    assert "negative" in user.refused("PUT", "/api/token/", {**token, "remain_quota": -21})


def test_pages_are_bare_lists_of_ten_newest_first_until_an_empty_one(site: Site) -> None:
    user = site.user()
    ids = [user.call("POST", "/api/token/", {"name": f"t{number}"})["id"] for number in range(23)]
    pages = [user.ask("GET", f"/api/token/?p={number}").get_json() for number in range(4)]
    assert [len(page["data"]) for page in pages] == [10, 10, 3, 0]
    assert pages[3]["data"] == []
    assert [token["id"] for page in pages for token in page["data"]] == ids[::-1]
    assert all("total" not in page for page in pages)


@pytest.mark.parametrize("p", ["", "-1", "x", "0", "1.5"])
def test_a_page_number_that_is_none_is_the_first(site: Site, p: str) -> None:
    user = site.user()
    for number in range(11):
        user.call("POST", "/api/token/", {"name": f"t{number}"})
    assert len(user.call("GET", f"/api/token/?p={p}")) == 10


def test_a_page_far_beyond_the_end_is_empty(any_site: Site) -> None:
    assert any_site.user().call("GET", "/api/token/?p=999999999999999999") == []


def test_size_gives_larger_pages_and_the_total(site: Site) -> None:
    user = site.user()
    for number in range(12):
        user.call("POST", "/api/token/", {"name": f"t{number}"})
    for name in ("size", "page_size"):
        answer = user.ask("GET", f"/api/token/?{name}=11").get_json()
        assert (len(answer["data"]), answer["total"]) == (11, 12)


def test_orders_have_the_id_as_their_last_word(any_site: Site) -> None:
    user = any_site.user()

    def make(**fields: Any) -> int:
        return int(user.call("POST", "/api/token/", {"name": "x", **fields})["id"])

    poor, rich, free, twin = (
        make(remain_quota=1),
        make(remain_quota=9),
        make(unlimited_quota=True),
        make(remain_quota=9),
    )
    any_site.change(Token, poor, used_quota=5)
    listed = user.call("GET", "/api/token/?order=remain_quota")
    assert [token["id"] for token in listed] == [free, twin, rich, poor]
    assert user.call("GET", "/api/token/?order=used_quota")[0]["id"] == poor


def test_search_is_by_the_beginning_of_the_name_and_takes_wildcards_literally(any_site: Site) -> None:
    user = any_site.user()
    for name in ("100%", "1000", "ci", "cd"):
        user.call("POST", "/api/token/", {"name": name})
    assert {token["name"] for token in user.call("GET", "/api/token/search?keyword=c")} == {"ci", "cd"}
    assert {token["name"] for token in user.call("GET", "/api/token/search?keyword=100%25")} == {"100%"}
    assert user.call("GET", "/api/token/search?keyword=zzz") == []


def test_nulls_of_other_programs_are_told_as_zero_values(any_site: Site) -> None:
    user = any_site.user()
    token = user.call("POST", "/api/token/", {"name": "a"})
    nothing = dict.fromkeys(["name", "accessed_time", "remain_quota", "unlimited_quota", "used_quota", "subnet"])
    any_site.change(Token, token["id"], **nothing)
    read = user.call("GET", f"/api/token/{token['id']}")
    assert (read["name"], read["remain_quota"], read["unlimited_quota"], read["used_quota"]) == ("", 0, False, 0)


def test_writes_leave_a_trail_without_the_key_and_bump_the_revision(site: Site) -> None:
    user = site.user()
    before = site.revision("accounts")
    token = user.call("POST", "/api/token/", {"name": "ci"})
    user.call("PUT", "/api/token/", {**token, "name": "cd"})
    user.call("DELETE", f"/api/token/{token['id']}")
    told = [row.content for row in site.rows(Log, Log.type == 3, Log.user_id == user.id)]
    assert ["created" in told[0], "name: ci → cd" in told[1], "deleted" in told[2]] == [True, True, True]
    assert all(token["key"] not in content and "127.0.0.1" in content for content in told)
    assert site.revision("accounts") == before + 3


def test_keys_shorter_than_48_come_back_unpadded(any_site: Site) -> None:
    user = any_site.user()
    token = user.call("POST", "/api/token/", {"name": "a"})
    any_site.change(Token, token["id"], key="short")
    assert user.call("GET", f"/api/token/{token['id']}")["key"] == "short"


# ---- limits ----

LIMITS = {"requests_per_minute": 60, "budget": {"period": "week", "quota": 5}}


def test_limits_are_shown_where_there_are_any_and_stay_until_they_are_taken_away(any_site: Site) -> None:
    user = any_site.user()
    token = user.call("POST", "/api/token/", {"name": "a", "limits": LIMITS})
    assert token["limits"] == LIMITS
    assert token.keys() == KEYS | {"limits"}
    assert user.call("PUT", "/api/token/", {"id": token["id"], "name": "b"})["limits"] == LIMITS
    assert user.call("PUT", "/api/token/", token) == token
    assert user.call("PUT", "/api/token/", {**token, "limits": {}}).keys() == KEYS


@pytest.mark.parametrize("limits", [{"requests": 1}, {"concurrency": -1}, {"budget": {"period": "day", "quota": "x"}}])
def test_limits_that_make_no_sense_are_refused(site: Site, limits: dict[str, Any]) -> None:
    user = site.user()
    assert "limits" in user.refused("POST", "/api/token/", {"name": "a", "limits": limits})
    assert user.call("GET", "/api/token/") == []
