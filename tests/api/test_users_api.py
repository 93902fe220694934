"""/api/user and /api/topup: rules of management.md §4.4, §4.5, §6.2, §6.3, object of §4.13."""

import re
import time
from typing import Any

import gevent
import pytest
from gevent.pool import Pool
from sqlalchemy import insert

from oneapi.models import Log, Opening, Token, User
from oneapi.services import statistics
from tests.api.site import ADMIN, COMMON, PASSWORD, ROOT, Caller, Site

KEYS = {
    "id", "username", "password", "display_name", "role", "status", "email", "github_id", "wechat_id", "lark_id",
    "oidc_id", "verification_code", "access_token", "quota", "used_quota", "request_count", "group", "aff_code",
    "inviter_id",
}  # fmt: skip


def name_of(site: Site, caller: Caller) -> str:
    return str(site.row(User, caller.id).username)


def balanced(site: Site, user_id: int) -> bool:
    """Whether the balance is what the log rows say it is (docs/architecture.md §3)."""
    opening = site.rows(Opening, Opening.user_id == user_id)[0]
    rows = site.rows(Log, Log.user_id == user_id)
    credited = sum(row.quota for row in rows if row.type in (1, 3, 4))
    charged = sum(row.quota for row in rows if row.type == 2)
    expected = opening.quota + opening.credited - opening.charged + credited - charged
    return bool(site.row(User, user_id).quota == expected)


# ---- logging in ----


def test_login_answers_a_user_object_with_five_fields_filled(any_site: Site) -> None:
    user = any_site.user(email="alice@example.org", quota=500)
    row = any_site.row(User, user.id)
    for name in (row.username, "alice@example.org"):
        data = any_site.anybody().call("POST", "/api/user/login", {"username": name, "password": PASSWORD})
        assert data.keys() == KEYS
        filled = {key: value for key, value in data.items() if value}
        assert filled == {
            "id": user.id, "username": row.username, "display_name": row.display_name, "role": 1, "status": 1
        }  # fmt: skip


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_hashes_of_other_programs_are_understood(site: Site, prefix: str) -> None:
    stored = site.row(User, site.user().id).password
    user = site.user(password=prefix + stored[4:])
    site.anybody().call("POST", "/api/user/login", {"username": name_of(site, user), "password": PASSWORD})


@pytest.mark.parametrize(
    "columns, password",
    [
        ({}, "wrong"),
        ({"status": 2}, PASSWORD),
        ({"status": 3}, PASSWORD),
        ({"password": ""}, ""),
        ({"password": "x"}, "x"),
    ],
)
def test_every_failed_login_reads_the_same(site: Site, columns: dict[str, Any], password: str) -> None:
    user = site.user(**columns)
    message = site.anybody().refused("POST", "/api/user/login", {"username": name_of(site, user), "password": password})
    nobody = site.anybody().refused("POST", "/api/user/login", {"username": "nobody", "password": PASSWORD})
    assert message == nobody == "The name or password is wrong, or the account is disabled"


def test_a_password_beyond_72_bytes_is_no_password(site: Site) -> None:
    user = site.user()
    body = {"username": name_of(site, user), "password": "x" * 100}
    assert "wrong" in site.anybody().refused("POST", "/api/user/login", body)


def test_login_by_password_can_be_switched_off(site: Site) -> None:
    user = site.user()
    site.set_options(PasswordLoginEnabled="false")
    body = {"username": name_of(site, user), "password": PASSWORD}
    assert "switched off" in site.anybody().refused("POST", "/api/user/login", body)


def test_guessing_at_one_account_is_stopped_from_any_address(any_site: Site) -> None:
    name = name_of(any_site, any_site.user())

    def guess(number: int, password: str) -> Any:
        client = any_site.app.test_client()
        address = {"REMOTE_ADDR": f"203.0.113.{number}"}
        return client.post("/api/user/login", json={"username": name, "password": password}, environ_base=address)

    for number in range(10):
        assert guess(number, "wrong").status_code == 200
    response = guess(99, PASSWORD)
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 900


def test_only_guesses_count_against_an_address(any_site: Site) -> None:
    name = name_of(any_site, any_site.user())

    def attempt(who: str, password: str) -> int:
        client = any_site.app.test_client()
        body = {"username": who, "password": password}
        return client.post("/api/user/login", json=body, environ_base={"REMOTE_ADDR": "203.0.113.7"}).status_code

    for number in range(59):
        assert attempt(f"nobody{number}", "wrong") == 200
    assert [attempt(name, PASSWORD) for _ in range(3)] == [200, 200, 200]
    assert attempt("nobody59", "wrong") == 200
    assert attempt(name, PASSWORD) == 429


def test_parallel_guesses_do_not_overlook_each_other(site: Site) -> None:
    name = name_of(site, site.user())

    def guess(number: int) -> int:
        client = site.app.test_client()
        address = {"REMOTE_ADDR": f"203.0.113.{number}"}
        body = {"username": name, "password": f"guess {number}"}
        return client.post("/api/user/login", json=body, environ_base=address).status_code

    statuses = Pool(30).map(guess, range(30))
    assert statuses.count(200) <= 10
    assert set(statuses) == {200, 429}


def test_a_good_login_forgives_the_bad_ones_before(site: Site) -> None:
    name = name_of(site, site.user())
    for _ in range(3):
        for _ in range(5):
            site.anybody().refused("POST", "/api/user/login", {"username": name, "password": "wrong"})
        site.anybody().call("POST", "/api/user/login", {"username": name, "password": PASSWORD})


def test_checking_a_password_does_not_hold_up_the_others(site: Site) -> None:
    stalls: list[float] = []

    def beat() -> None:
        hub = gevent.get_hub()
        while True:
            before = hub.loop.now()
            gevent.sleep(0.001)
            hub.loop.update_now()
            stalls.append(hub.loop.now() - before)

    beating = gevent.spawn(beat)
    name = name_of(site, site.user())
    for _ in range(3):
        site.anybody().call("POST", "/api/user/login", {"username": name, "password": PASSWORD})
    beating.kill()
    assert len(stalls) > 60


# ---- registering ----


def register(site: Site, **fields: Any) -> Any:
    """The row of a new account."""
    body = {"username": "alice", "password": PASSWORD, **fields}
    assert site.anybody().call("POST", "/api/user/register", body) is None
    return site.rows(User, User.username == body["username"].strip())[0]


def test_a_new_account_has_gifts_a_default_token_and_a_proof(any_site: Site) -> None:
    any_site.set_options(QuotaForNewUser="1000", QuotaForInvitee="200", QuotaForInviter="300")
    inviter = any_site.user(aff_code="pals", quota=5)
    row = register(any_site, aff_code="pals", email="ignored@example.org")
    assert (row.role, row.status, row.group, row.quota, row.display_name) == (1, 1, "default", 1200, "alice")
    assert (row.inviter_id, row.email) == (inviter.id, "")
    assert re.fullmatch("[0-9a-f]{32}", row.access_token) and re.fullmatch("[0-9A-Za-z]{4,}", row.aff_code)
    assert any_site.row(User, inviter.id).quota == 305
    assert [log.quota for log in any_site.rows(Log, Log.user_id == row.id, Log.type == 4)] == [1000, 200]
    assert [log.quota for log in any_site.rows(Log, Log.user_id == inviter.id, Log.type == 4)] == [300]
    (token,) = any_site.rows(Token, Token.user_id == row.id)
    assert (token.name, token.unlimited_quota, token.expired_time, token.remain_quota) == ("default", True, -1, -1)
    assert balanced(any_site, row.id) and balanced(any_site, inviter.id)


def test_no_gift_leaves_no_row(site: Site) -> None:
    row = register(site, aff_code="nobody's")
    assert (row.quota, row.inviter_id, site.rows(Log, Log.user_id == row.id)) == (0, 0, [])


def test_registering_does_not_log_in(site: Site) -> None:
    anybody = site.anybody()
    anybody.call("POST", "/api/user/register", {"username": "alice", "password": PASSWORD})
    assert anybody.ask("GET", "/api/user/self").status_code == 401


@pytest.mark.parametrize("option", ["RegisterEnabled", "PasswordRegisterEnabled"])
def test_registration_can_be_switched_off(site: Site, option: str) -> None:
    site.set_options(**{option: "false"})
    body = {"username": "alice", "password": PASSWORD}
    assert "switched off" in site.anybody().refused("POST", "/api/user/register", body)


@pytest.mark.parametrize(
    "fields",
    [
        {"username": ""},
        {"username": "   "},
        {"username": "a" * 31},
        {"password": "short"},
        {"password": "p" * 21},
        {"password": "🐎" * 19},
        {"password": ""},
    ],
)
def test_what_cannot_be_registered(site: Site, fields: dict[str, Any]) -> None:
    body = {"username": "alice", "password": PASSWORD, **fields}
    assert site.anybody().refused("POST", "/api/user/register", body).startswith("Invalid input")


def test_a_name_is_taken_once(any_site: Site) -> None:
    register(any_site)
    message = any_site.anybody().refused("POST", "/api/user/register", {"username": "alice", "password": PASSWORD})
    assert message == "This user name is taken"
    assert (
        any_site.anybody()
        .ask("POST", "/api/user/register", {"username": "alice", "password": PASSWORD}, **{"Accept-Language": "zh"})
        .get_json()["message"]
        == "该用户名已被使用"
    )


def test_two_who_take_a_name_at_once_cannot_both_have_it(any_site: Site) -> None:
    def try_it(_: int) -> bool:
        body = {"username": "alice", "password": PASSWORD}
        return bool(any_site.anybody().ask("POST", "/api/user/register", body).get_json()["success"])

    assert sorted(Pool(4).map(try_it, range(4))) == [False, False, False, True]
    assert len(any_site.rows(Opening)) == len(any_site.rows(User))


# ---- oneself ----


def test_ones_own_object_has_exactly_the_keys_of_the_reference(any_site: Site) -> None:
    user = any_site.user(quota=500)
    data = user.call("GET", "/api/user/self")
    assert data.keys() == KEYS
    assert (data["id"], data["quota"], data["group"], data["password"], data["access_token"]) == (
        user.id, 500, "default", "", "",
    )  # fmt: skip


def test_changing_oneself_keeps_what_is_empty(site: Site) -> None:
    user = site.user()
    before = site.row(User, user.id)
    user.call("PUT", "/api/user/self", {"display_name": "Ali", "username": "", "password": "", "role": 100, "quota": 9})
    after = site.row(User, user.id)
    assert after.display_name == "Ali"
    assert (after.username, after.password, after.role, after.quota) == (before.username, before.password, 1, 0)


def test_a_current_password_is_checked_where_it_is_given(site: Site) -> None:
    user = site.user()
    body = {"password": "another horse"}
    assert "current" in user.refused("PUT", "/api/user/self", {**body, "current_password": "wrong"})
    user.call("PUT", "/api/user/self", {**body, "current_password": PASSWORD})


def test_a_taken_name_cannot_be_taken_by_renaming(any_site: Site) -> None:
    user, other = any_site.user(), any_site.user()
    assert user.refused("PUT", "/api/user/self", {"username": name_of(any_site, other)}) == "This user name is taken"


def test_the_case_of_ones_own_name_may_change(any_site: Site) -> None:
    user = any_site.user(username="alice")
    user.call("PUT", "/api/user/self", {"username": "Alice"})
    assert name_of(any_site, user) == "Alice"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_new_access_token_replaces_the_old_one(site: Site, method: str) -> None:
    user = site.user()
    token = user.call(method, "/api/user/token")
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert user.refused("GET", "/api/user/self") == "The access token is invalid"
    user.token = token
    assert user.call("GET", "/api/user/self")["access_token"] == ""


def test_the_invitation_code_is_made_when_missing_and_then_stays(any_site: Site) -> None:
    any_site.change(User, 1, aff_code="roots")  # root is made with the one "" that the unique index allows
    for missing in (None, ""):
        user = any_site.user(aff_code=missing)
        code = user.call("GET", "/api/user/aff")
        assert re.fullmatch("[0-9A-Za-z]{4,}", code)
        assert user.call("GET", "/api/user/aff") == code
        any_site.change(User, user.id, aff_code=f"old{user.id}")


def test_deleting_oneself_frees_the_name_and_ends_all_access(any_site: Site) -> None:
    user = any_site.user(quota=10)
    user.call("DELETE", "/api/user/self")
    row = any_site.row(User, user.id)
    assert re.fullmatch("deleted_[0-9a-f]{32}", row.username)
    assert (row.status, row.access_token, row.quota) == (3, None, 10)
    assert user.refused("GET", "/api/user/self") == "The access token is invalid"


def test_root_cannot_delete_himself(site: Site) -> None:
    assert "root" in site.user(ROOT).refused("DELETE", "/api/user/self")


# ---- others ----


def test_lists_and_objects_hold_no_secrets(site: Site) -> None:
    root, user = site.user(ROOT), site.user()
    stored = site.row(User, user.id)
    for path in ("/api/user/", f"/api/user/search?keyword={stored.username}", f"/api/user/{user.id}"):
        text = root.ask("GET", path).text
        assert stored.username in text
        assert stored.access_token not in text and stored.password not in text and root.token not in text


def test_the_list_leaves_deleted_users_out_and_search_finds_them(site: Site) -> None:
    admin, gone = site.user(ADMIN), site.user(status=3, username="deleted_abc")
    assert gone.id not in [user["id"] for user in admin.call("GET", "/api/user/?size=100")]
    assert [user["id"] for user in admin.call("GET", "/api/user/search?keyword=deleted_")] == [gone.id]


def test_the_list_is_ordered_newest_first_or_by_a_number(any_site: Site) -> None:
    admin = any_site.user(ADMIN, quota=1)
    rich, poor = any_site.user(quota=10**15), any_site.user(quota=0, used_quota=7, request_count=3)

    def first(order: str) -> int:
        return int(admin.call("GET", f"/api/user/?order={order}")[0]["id"])

    assert (first(""), first("nonsense"), first("quota")) == (poor.id, poor.id, rich.id)
    assert (first("used_quota"), first("request_count")) == (poor.id, poor.id)


def test_users_are_found_by_id_name_mail_and_display_name(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    user = any_site.user(username="zoe", email="zoe@mail.example", display_name="Ms Zoe")
    for keyword in (str(user.id), "zo", "zoe@mail", "Ms"):
        assert user.id in [found["id"] for found in admin.call("GET", f"/api/user/search?keyword={keyword}")]
    assert admin.call("GET", "/api/user/search?keyword=%25oe") == []


def test_an_administrator_sees_only_those_below_him(site: Site) -> None:
    admin, other, root, user = site.user(ADMIN), site.user(ADMIN), site.user(ROOT), site.user()
    assert admin.call("GET", f"/api/user/{user.id}")["id"] == user.id
    for above in (other, root):
        assert "equal" in admin.refused("GET", f"/api/user/{above.id}")
    assert root.call("GET", f"/api/user/{other.id}")["id"] == other.id
    assert admin.refused("GET", "/api/user/999999") == "There is no such user"


def test_a_created_user_is_a_common_one_whatever_else_is_said(any_site: Site) -> None:
    any_site.set_options(QuotaForNewUser="100")
    body = {"username": "bob", "password": PASSWORD, "quota": 9999, "group": "vip", "is_edit": True, "role": 1}
    created = any_site.user(ADMIN).call("POST", "/api/user/", body)
    assert (created["username"], created["display_name"], created["role"]) == ("bob", "bob", 1)
    assert (created["quota"], created["group"]) == (100, "default")
    assert len(any_site.rows(Token, Token.user_id == created["id"])) == 1


def test_nobody_creates_his_equal(site: Site) -> None:
    admin = site.user(ADMIN)
    for role in (ADMIN, ROOT):
        admin.refused("POST", "/api/user/", {"username": "bob", "password": PASSWORD, "role": role})


def test_an_update_writes_what_is_given(any_site: Site) -> None:
    admin, user = any_site.user(ADMIN), any_site.user(quota=10)
    body = {"id": user.id, "username": "carol", "display_name": "C", "email": "c@x.example", "group": "vip", "quota": 0}
    assert admin.call("PUT", "/api/user/", body) is None
    row = any_site.row(User, user.id)
    assert (row.username, row.display_name, row.email, row.group, row.quota) == ("carol", "C", "c@x.example", "vip", 0)
    (log,) = any_site.rows(Log, Log.user_id == user.id, Log.type == 3)
    assert (log.quota, "10" in log.content and "0" in log.content) == (-10, True)
    assert balanced(any_site, user.id)


def test_empty_texts_and_blank_secrets_clear_nothing(site: Site) -> None:
    admin, user = site.user(ADMIN), site.user(email="a@x.example", quota=10)
    before = site.row(User, user.id)
    blank = dict.fromkeys(["username", "password", "display_name", "email", "group", "access_token", "aff_code"], "")
    admin.call("PUT", "/api/user/", {"id": user.id, **blank, "verification_code": ""})
    assert site.row(User, user.id) == before


def test_a_whole_object_may_be_put_back(any_site: Site) -> None:
    admin, user = any_site.user(ADMIN), any_site.user(quota=10, used_quota=3, github_id="octo", username="n" * 40)
    before = any_site.row(User, user.id)
    admin.call("PUT", "/api/user/", admin.call("GET", f"/api/user/{user.id}"))
    assert any_site.row(User, user.id) == before


def test_what_is_the_programs_own_cannot_be_assigned(site: Site) -> None:
    root, user = site.user(ROOT), site.user()
    before = site.row(User, user.id)
    mass = {
        "used_quota": 99, "request_count": 99, "access_token": "f" * 32, "aff_code": "zzzz", "inviter_id": 1,
        "github_id": "x", "wechat_id": "x", "lark_id": "x", "oidc_id": "x",
    }  # fmt: skip
    root.call("PUT", "/api/user/", {"id": user.id, **mass})
    assert site.row(User, user.id) == before


@pytest.mark.parametrize(
    "actor, target, body, is_good",
    [
        (ADMIN, COMMON, {"status": 2}, True),
        (ADMIN, COMMON, {"role": ADMIN}, False),
        (ADMIN, ADMIN, {"display_name": "x"}, False),
        (ADMIN, ROOT, {"display_name": "x"}, False),
        (ROOT, COMMON, {"role": ADMIN}, True),
        (ROOT, ADMIN, {"role": COMMON}, True),
        (ROOT, COMMON, {"role": ROOT}, False),
        (ROOT, COMMON, {"role": 55}, False),
        (ROOT, COMMON, {"role": -1}, False),
        (ROOT, ROOT, {"role": ADMIN}, False),
        (ROOT, ROOT, {"status": 2}, False),
        (ROOT, ROOT, {"display_name": "x"}, True),
        (ROOT, COMMON, {"status": 3}, False),
        (ROOT, COMMON, {"status": 4}, False),
    ],
)
def test_who_may_make_whom_what(site: Site, actor: int, target: int, body: dict[str, Any], is_good: bool) -> None:
    caller, user = site.user(actor), site.user(target)
    before = site.row(User, user.id)
    answer = caller.ask("PUT", "/api/user/", {"id": user.id, **body}).get_json()
    assert answer["success"] is is_good, answer
    assert (site.row(User, user.id) != before) is is_good


def test_updating_id_0_is_refused(site: Site) -> None:
    for body in ({"id": 0, "quota": 5}, {"quota": 5}):
        assert site.user(ADMIN).refused("PUT", "/api/user/", body) == "There is no such user"


@pytest.mark.parametrize(
    "actor, target, action, status_or_role",
    [
        (ADMIN, COMMON, "disable", (1, 2)),
        (ADMIN, COMMON, "enable", (1, 1)),
        (ADMIN, COMMON, "delete", (1, 3)),
        (ROOT, COMMON, "promote", (10, 1)),
        (ROOT, ADMIN, "demote", (1, 1)),
        (ROOT, ADMIN, "disable", (10, 2)),
        (ADMIN, COMMON, "promote", None),
        (ADMIN, ADMIN, "demote", None),
        (ADMIN, ROOT, "disable", None),
        (ROOT, ADMIN, "promote", None),
        (ROOT, COMMON, "demote", None),
        (ROOT, ROOT, "disable", None),
        (ROOT, ROOT, "delete", None),
        (ROOT, ROOT, "demote", None),
        (ROOT, COMMON, "dance", None),
        (ROOT, COMMON, "", None),
    ],
)
def test_manage(site: Site, actor: int, target: int, action: str, status_or_role: tuple[int, int] | None) -> None:
    caller, user = site.user(actor), site.user(target)
    before = site.row(User, user.id)
    body = {"username": before.username, "action": action}
    if status_or_role is None:
        caller.refused("POST", "/api/user/manage", body)
        assert site.row(User, user.id) == before
        return
    data = caller.call("POST", "/api/user/manage", body)
    assert data.keys() == KEYS
    assert (data["role"], data["status"]) == status_or_role
    assert {key for key, value in data.items() if value} == {"role", "status"}


def test_manage_wants_a_name(site: Site) -> None:
    root = site.user(ROOT)
    for body in ({"username": "", "action": "disable"}, {"action": "disable"}, {"username": "no", "action": "disable"}):
        assert root.refused("POST", "/api/user/manage", body) == "There is no such user"


def test_deleting_answers_an_envelope(site: Site) -> None:
    admin, user, other = site.user(ADMIN), site.user(), site.user(ADMIN)
    assert admin.call("DELETE", f"/api/user/{user.id}/") is None
    assert site.row(User, user.id).status == 3
    admin.refused("DELETE", f"/api/user/{other.id}")
    site.user(ROOT).refused("DELETE", "/api/user/1")


def test_a_top_up_by_script(any_site: Site) -> None:
    admin, user = any_site.user(ADMIN), any_site.user(quota=5)
    assert admin.call("POST", "/api/topup", {"user_id": user.id, "quota": 100, "remark": "order 7"}) is None
    admin.call("POST", "/api/topup", {"user_id": user.id, "quota": 1})
    assert any_site.row(User, user.id).quota == 106
    first, second = any_site.rows(Log, Log.user_id == user.id, Log.type == 1)
    assert (first.quota, first.content, second.quota) == (100, "order 7", 1)
    assert second.content != ""
    assert balanced(any_site, user.id)


@pytest.mark.parametrize("body", [{"quota": -1}, {"user_id": 999999}, {"user_id": 0}, {"quota": 10**18 + 1}])
def test_a_top_up_that_is_refused(site: Site, body: dict[str, int]) -> None:
    user = site.user(quota=5)
    site.user(ADMIN).refused("POST", "/api/topup", {"user_id": user.id, "quota": 1, **body})
    assert site.row(User, user.id).quota == 5
    assert site.rows(Log, Log.type == 1) == []


def test_edits_during_traffic_undo_nothing(any_site: Site) -> None:
    admin, user = any_site.user(ADMIN), any_site.user(quota=0)

    def top_up(number: int) -> None:
        caller = Caller(any_site, any_site.app.test_client(), admin.id, admin.token)
        if number % 3:
            caller.call("POST", "/api/topup", {"user_id": user.id, "quota": 10})
        else:
            caller.call("PUT", "/api/user/", {"id": user.id, "display_name": f"N{number}", "group": "vip"})

    Pool(12).map(top_up, range(30))
    assert any_site.row(User, user.id).quota == 200
    assert balanced(any_site, user.id)


def test_administrative_writes_leave_a_trail(site: Site) -> None:
    admin, user = site.user(ADMIN), site.user()
    name = name_of(site, user)
    admin.call("PUT", "/api/user/", {"id": user.id, "group": "vip", "password": "another horse"})
    admin.call("POST", "/api/user/manage", {"username": name, "action": "disable"})
    told = [row.content for row in site.rows(Log, Log.type == 3, Log.user_id == admin.id)]
    assert "group: default → vip" in told[0] and "password: *** → ***" in told[0] and "horse" not in told[0]
    assert "status: 1 → 2" in told[1] and name in told[1] and "127.0.0.1" in told[1]


# ---- figures ----


def test_the_dashboard_sums_days_and_models_of_the_last_week(any_site: Site) -> None:
    user = any_site.user()
    midnight = 1_740_096_000  # 2025-02-21 00:00 UTC
    rows = [
        (midnight, "gpt-4o", 2, 5), (midnight + 86399, "gpt-4o", 2, 7), (midnight, "o1", 2, 1),
        (midnight - 6 * 86400, "gpt-4o", 2, 2), (midnight - 6 * 86400 - 1, "gpt-4o", 2, 99), (midnight, "x", 1, 99),
    ]  # fmt: skip
    with any_site.log_engine.begin() as connection:
        for created_at, model, kind, quota in rows:
            values = {"user_id": user.id, "created_at": created_at, "model_name": model, "type": kind, "quota": quota}
            connection.execute(insert(Log).values(prompt_tokens=10, completion_tokens=3, **values))
    found = statistics.dashboard(any_site.log_engine, user.id, now=midnight + 3600)
    assert [(row.day, row.model_name, row.requests, row.quota, row.prompt_tokens) for row in found] == [
        ("2025-02-15", "gpt-4o", 1, 2, 10), ("2025-02-21", "gpt-4o", 2, 12, 20), ("2025-02-21", "o1", 1, 1, 10),
    ]  # fmt: skip


def test_the_dashboards_keys_are_capitalised(site: Site) -> None:
    user = site.user()
    assert user.call("GET", "/api/user/dashboard") == []
    with site.engine.begin() as connection:
        values = {"user_id": user.id, "created_at": int(time.time()), "type": 2, "model_name": "m"}
        connection.execute(insert(Log).values(**values))
    (row,) = user.call("GET", "/api/user/dashboard")
    assert list(row) == ["Day", "ModelName", "RequestCount", "Quota", "PromptTokens", "CompletionTokens"]


def test_available_models_are_those_of_the_group(site: Site) -> None:
    admin, user = site.user(ADMIN), site.user(group="vip")
    assert user.call("GET", "/api/user/available_models") == []
    base = {"type": 1, "key": "k", "name": "c"}
    admin.call("POST", "/api/channel/", {**base, "models": "b,a", "group": "default,vip"})
    admin.call("POST", "/api/channel/", {**base, "models": "c", "group": "default"})
    admin.call("POST", "/api/channel/", {**base, "models": "d", "group": "vip", "status": 2})
    assert user.call("GET", "/api/user/available_models") == ["a", "b"]


def test_an_administrator_limits_a_user(site: Site) -> None:
    admin, user = site.user(ADMIN), site.user()
    before = admin.call("GET", f"/api/user/{user.id}")
    assert "limits" not in before
    admin.call("PUT", "/api/user/", {"id": user.id, "limits": {"concurrency": 2}})
    assert admin.call("GET", f"/api/user/{user.id}") == {**before, "limits": {"concurrency": 2}}
    budget = {"budget": {"period": "day", "quota": 1}}
    assert "budgets" in admin.refused("PUT", "/api/user/", {"id": user.id, "limits": budget})
    admin.call("PUT", "/api/user/", {"id": user.id, "limits": {}})
    assert admin.call("GET", f"/api/user/{user.id}") == before
