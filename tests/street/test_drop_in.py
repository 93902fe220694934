"""What scripts, bots and front ends of One API find after the change: the running program on an upgraded database.

Each test is one of the acceptance checks of management.md, appendix B; docs/acceptance.md names them all.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from sqlalchemy import func, select, update

from oneapi.api import NOUNS
from oneapi.models import Ability, Channel, Log, Redemption, Token, User
from tests.api.test_rounds_api import provider
from tests.gateway import ROOT_ACCESS_TOKEN
from tests.identity_providers import social
from tests.postoffice import json_server
from tests.street import console
from tests.street.clients import ask
from tests.street.installation import GO_EMAIL, GO_PASSWORD, GO_TOKEN, NOWHERE, Installation, installation
from tests.street.shop import wait_until
from tests.street.upstreams import MockUpstream

__all__ = ["installation"]

ENABLED, DISABLED, AUTO_DISABLED = 1, 2, 3
MODEL = "mock-n1-d0"


@contextmanager
def options(installation: Installation, **values: str) -> Iterator[None]:
    """These options within it; what they were before, after it."""
    shown = {row["key"]: row["value"] for row in installation.call("GET", "/api/option/")}
    for name, value in values.items():
        installation.option(name, value)
    try:
        yield
    finally:
        for name in reversed(values):
            installation.option(name, shown.get(name, ""))


def abilities(installation: Installation, channel_id: int) -> set[tuple[str, str, bool]]:
    rows = installation.rows(
        select(Ability.group, Ability.model, Ability.enabled).where(Ability.channel_id == channel_id)
    )
    return {(row.group, row.model, bool(row.enabled)) for row in rows}


def row_of(installation: Installation, model: Any, row_id: int) -> Any:
    (row,) = installation.rows(select(model).where(model.id == row_id))
    return row


def object_of(installation: Installation, user: console.User) -> dict[str, Any]:
    found: dict[str, Any] = installation.call("GET", f"/api/user/{user.id}")
    return found


# ---- the database (1, 2, 3, 25) ----


def test_every_row_of_the_older_version_is_there_after_the_start(installation: Installation) -> None:
    for table, rows in installation.before.items():
        after = {json.dumps({name: row[name] for name in rows[0]}, default=str) for row in installation.after[table]}
        assert {json.dumps(row, default=str) for row in rows} <= after, table


def test_logs_of_the_older_version_are_listed_with_the_columns_it_lacks(installation: Installation) -> None:
    rows = installation.call("GET", "/api/log/?end_timestamp=200")
    assert [row["id"] for row in rows] == [14, 13, 12, 11]
    added = ("request_id", "elapsed_time", "is_stream", "system_prompt_reset")
    assert [rows[2][name] for name in added] == ["", 0, False, False]
    assert rows[2]["channel"] == 7 and rows[1]["is_stream"] is False


def test_a_user_of_the_go_program_logs_in_by_name_and_by_mail(installation: Installation) -> None:
    for name in ("阿明", GO_EMAIL):
        session = installation.anybody()
        login = {"username": name, "password": GO_PASSWORD}
        account = installation.call("POST", "/api/user/login", login, session=session)
        assert (account["id"], account["username"], account["quota"]) == (2, "阿明", 0)
        assert installation.call("GET", "/api/user/self", session=session)["quota"] == -7


def test_a_new_users_password_is_hashed_as_the_go_program_reads_it(installation: Installation) -> None:
    user = installation.user()
    assert re.fullmatch(r"\$2[ab]\$1\d\$[./A-Za-z0-9]{53}", row_of(installation, User, user.id).password)


def test_a_key_of_32_characters_works_and_comes_back_unpadded(installation: Installation) -> None:
    (token,) = installation.ask("GET", "/api/token/", token=GO_TOKEN).json()["data"]
    assert (token["id"], len(token["key"]), token["models"]) == (4, 32, "a,b")
    answer = installation.ask("GET", "/v1/models", token=f"Bearer sk-{token['key']}")
    assert answer.status_code == 200
    usage = installation.ask("GET", "/dashboard/billing/subscription", token=f"Bearer {token['key']}").json()
    assert usage["hard_limit_usd"] == 9 / 500000


def test_searches_take_text_and_numbers_alike(installation: Installation) -> None:
    installation.add_channel(name="12 monkeys")
    code = {"name": "12 codes", "quota": 1, "count": 1}
    installation.call("POST", "/api/redemption/", code)
    for noun, text in (("channel", "12 mon"), ("redemption", "12 co"), ("user", "阿"), ("token", "al")):
        assert len(installation.call("GET", f"/api/{noun}/search?keyword={text}")) == 1, noun
    for noun, number in (("channel", 7), ("redemption", 6), ("user", 2)):
        found = installation.call("GET", f"/api/{noun}/search?keyword={number}")
        assert number in {row["id"] for row in found}, noun


# ---- the door (4, 5, 6, 7, 26, 27) ----


def test_an_access_token_serves_with_and_without_bearer(installation: Installation) -> None:
    for path in ("/api/user/self", "/api/user/", "/api/option/"):  # for users, administrators, root
        for token in (ROOT_ACCESS_TOKEN, f"Bearer {ROOT_ACCESS_TOKEN}"):
            answer = installation.ask("GET", path, token=token)
            assert (answer.status_code, answer.json()["success"]) == (200, True)
        nobody = installation.ask("GET", path, token="")
        assert (nobody.status_code, nobody.json()["success"]) == (401, False)
        assert installation.refused("GET", path, token="0" * 32)
    assert installation.ask("GET", "/api/user/self", token=GO_TOKEN).json()["data"]["id"] == 2
    assert installation.refused("GET", "/api/user/", token=GO_TOKEN)


def test_every_route_is_served_with_and_without_a_final_slash(installation: Installation) -> None:
    routes = [route for noun in NOUNS for route in noun.ROUTES]
    for route in routes:
        path = re.sub(r"<provider>", "github", re.sub(r"<\w+>", "999999", route.path)).rstrip("/")
        bare, slashed = (installation.ask(route.method, form, token="") for form in (path, f"{path}/"))
        assert bare.status_code == slashed.status_code, path
        assert bare.status_code not in (301, 307, 308, 404, 405, 500), (route.method, path)
    for path in ("/dashboard/billing/usage", "/v1/dashboard/billing/subscription"):
        assert {installation.ask("GET", form, token="").status_code for form in (path, f"{path}/")} == {401}


def test_bodies_reach_both_forms_of_a_path(installation: Installation) -> None:
    user = installation.user()
    for path in ("/api/token", "/api/token/"):
        token = installation.call("POST", path, {"name": "one", "unlimited_quota": True}, session=user.session)
        token["name"] = "another"
        assert installation.call("PUT", path, token, session=user.session)["name"] == "another"
        installation.call("DELETE", f"/api/token/{token['id']}{path[10:]}", session=user.session)


def test_pages_are_bare_lists_of_ten_until_an_empty_one(installation: Installation) -> None:
    user = installation.user()
    for number in range(12):
        installation.token(user, name=str(number))
    pages = [installation.call("GET", f"/api/token/?p={number}", session=user.session) for number in range(3)]
    assert [len(page) for page in pages] == [10, 3, 0]  # the default token is among them
    assert [row["name"] for row in pages[0]] == [str(number) for number in range(11, 1, -1)]
    whole = requests.get(f"{installation.url}/api/token/?p=0", headers={"Authorization": GO_TOKEN}, timeout=30).json()
    assert whole.keys() == {"success", "message", "data"}


def test_a_script_lists_creates_updates_and_deletes_channels_and_users(installation: Installation) -> None:
    """As the package one-api-cli does: no final slash, fields of its own, whole objects put back."""

    def call(method: str, path: str, body: object = None) -> Any:
        answer = installation.ask(method, path, body, token=f"Bearer {ROOT_ACCESS_TOKEN}")
        answer.raise_for_status()
        content = answer.json()
        assert answer.status_code == 200 and content["success"], content
        return content.get("data")

    call("POST", "/api/channel", {
        "name": "by script", "key": "sk-script", "base_url": NOWHERE, "models": "a,b", "type": 1, "other": "",
        "model_mapping": "", "groups": ["default"], "config": "{}", "is_edit": False, "group": "default",
    })  # fmt: skip
    channel = call("GET", "/api/channel")[0]
    assert (channel["name"], channel["models"], channel["group"]) == ("by script", "a,b", "default")
    call("PUT", "/api/channel", {**call("GET", f"/api/channel/{channel['id']}"), "models": "a,b,c"})
    assert call("GET", f"/api/channel/{channel['id']}")["models"] == "a,b,c"
    assert row_of(installation, Channel, channel["id"]).key == "sk-script"
    call("DELETE", f"/api/channel/{channel['id']}")
    assert installation.refused("GET", f"/api/channel/{channel['id']}")

    call("POST", "/api/user", {
        "username": "by-script", "display_name": "By Script", "password": "secret-password", "group": "default",
        "quota": 5, "is_edit": False,
    })  # fmt: skip
    user = call("GET", "/api/user")[0]
    assert (user["username"], user["role"]) == ("by-script", 1)
    call("PUT", "/api/user", {**call("GET", f"/api/user/{user['id']}"), "quota": 777, "group": "vip"})
    found = call("GET", f"/api/user/{user['id']}")
    assert (found["quota"], found["group"], found["display_name"]) == (777, "vip", "By Script")
    call("DELETE", f"/api/user/{user['id']}")
    assert user["id"] not in {row["id"] for row in call("GET", "/api/user?p=0")}


def test_the_health_check_of_the_compose_file_passes(installation: Installation) -> None:
    """wget -q -O - …/api/status | grep -o '"success":\\s*true'"""
    answer = installation.ask("GET", "/api/status", token="")
    assert re.search(r'"success":\s*true', answer.text)
    assert "Content-Encoding" not in installation.ask("GET", "/api/status", token="", **{"Accept-Encoding": ""}).headers


def test_messages_follow_the_reader_and_every_answer_has_a_request_id(installation: Installation) -> None:
    english, chinese = (
        installation.ask("POST", "/api/user/login", {"username": "x"}, token="", **{"Accept-Language": language})
        for language in ("en", "zh-CN,zh;q=0.9")
    )
    assert english.json()["message"].isascii()
    assert not chinese.json()["message"].isascii()
    paths = ("/api/status", "/api/nothing", "/v1/nothing", "/v1/chat/completions", "/", "/nowhere", "/api/user/self")
    ids = [installation.ask("GET", path, token="").headers["X-Oneapi-Request-Id"] for path in paths]
    assert all(re.fullmatch(r"\d{14}\d{9,}", request_id) for request_id in ids)
    assert len(set(ids)) == len(paths)


# ---- channels (8, 9, 10, 28, 29) ----


def test_a_channel_that_is_put_back_is_unchanged(installation: Installation) -> None:
    for channel_id in (7, installation.add_channel(models="a,b", group="default,vip", weight=3, priority=-2)):
        before = row_of(installation, Channel, channel_id), abilities(installation, channel_id)
        shown = installation.call("GET", f"/api/channel/{channel_id}")
        assert shown["key"] == ""
        assert installation.call("PUT", "/api/channel/", shown) == shown
        assert (row_of(installation, Channel, channel_id), abilities(installation, channel_id)) == before


def test_abilities_follow_a_channels_status(installation: Installation) -> None:
    channel_id = installation.add_channel(models="a,b")
    for status, is_enabled in ((DISABLED, False), (ENABLED, True)):
        assert installation.call("PUT", "/api/channel/", {"id": channel_id, "status": status})["status"] == status
        assert abilities(installation, channel_id) == {("default", "a", is_enabled), ("default", "b", is_enabled)}


def test_three_keys_on_three_lines_are_three_channels(installation: Installation) -> None:
    last = installation.add_channel(name="three", key="one\r\ntwo\r\nthree\r\n", models="a")
    rows = installation.rows(select(Channel).where(Channel.name == "three").order_by(Channel.id))
    assert [row.key for row in rows] == ["one", "two", "three"]
    assert rows[-1].id == last
    assert all(abilities(installation, row.id) == {("default", "a", True)} for row in rows)


def test_balances_are_asked_of_the_provider(installation: Installation) -> None:
    def bills(environ: dict[str, Any], body: Any) -> tuple[int, Any]:
        if environ.get("HTTP_AUTHORIZATION") != "Bearer sk-1":
            return 401, {"error": {"message": "who are you?"}}
        match environ["PATH_INFO"]:
            case "/v1/dashboard/billing/subscription":
                return 200, {"hard_limit_usd": 120, "has_payment_method": True}
            case "/v1/dashboard/billing/usage":
                return 200, {"total_usage": 2050}
            case "/dashboard/billing/credit_grants":
                return 200, {"total_available": 12.5}
        return 404, {"error": {"message": "no such path"}}

    with json_server(bills) as running:
        for kind, balance in ((1, 99.5), (8, 99.5), (4, 12.5)):
            channel_id = installation.add_channel(type=kind, base_url=running.url)
            answer = installation.ask("GET", f"/api/channel/update_balance/{channel_id}").json()
            assert answer == {"success": True, "message": "", "balance": balance}
            assert installation.call("GET", f"/api/channel/{channel_id}")["balance"] == balance
        refused = installation.add_channel(base_url=running.url, key="sk-2")
        assert "who are you?" in installation.refused("GET", f"/api/channel/update_balance/{refused}")


def test_a_round_of_tests_switches_off_what_fails_and_on_what_it_had_switched_off(installation: Installation) -> None:
    def unhurried(environ: dict[str, Any], body: Any) -> tuple[int, Any]:
        if body["model"] == "slow":
            time.sleep(1.5)  # others are not, on the busiest machine
        return provider(environ, body)

    with json_server(unhurried) as running:

        def add(key: str, models: str, **fields: Any) -> int:
            return installation.add_channel(key=key, models=models, base_url=running.url, **fields)

        good, slow, mute = add("good", "gpt-4o"), add("good", "slow"), add("good", "mute")
        wrong, by_hand, automatic = add("bad", "gpt-4o"), add("good", "gpt-4o", status=2), add("good", "gpt-4o")
        installation.call("PUT", "/api/channel/", {"id": automatic, "status": AUTO_DISABLED})
        for channel_id, is_good in ((good, True), (mute, False), (wrong, False), (by_hand, True)):
            answer = installation.ask("GET", f"/api/channel/test/{channel_id}").json()
            assert answer.keys() == {"success", "message", "time", "modelName"}
            assert answer["success"] is is_good, answer
            assert (answer["time"] > 0) is is_good
        switches = {"AutomaticDisableChannelEnabled": "true", "AutomaticEnableChannelEnabled": "true"}
        with options(installation, **switches, ChannelDisableThreshold="1.4"):
            begun = installation.ask("GET", "/api/channel/test").json()
            assert begun["success"], begun
            wait_until(lambda: row_of(installation, Channel, slow).status == AUTO_DISABLED)
            wait_until(lambda: row_of(installation, Channel, automatic).status == ENABLED)
        statuses = {one: row_of(installation, Channel, one).status for one in (good, slow, mute, wrong, by_hand)}
        assert statuses == {
            good: ENABLED, slow: AUTO_DISABLED, mute: ENABLED, wrong: AUTO_DISABLED, by_hand: DISABLED,
        }  # fmt: skip
        assert abilities(installation, wrong) == {("default", "gpt-4o", False)}
        assert abilities(installation, automatic) == {("default", "gpt-4o", True)}


# ---- users, tokens, codes (11, 12, 13, 14, 15) ----


def test_blank_secrets_clear_nothing_and_a_quota_of_zero_is_zero(installation: Installation) -> None:
    user = installation.user(quota=1000)
    before = row_of(installation, User, user.id)
    shown = object_of(installation, user)
    assert (shown["password"], shown["access_token"]) == ("", "")
    installation.call("PUT", "/api/user/", {**shown, "quota": 0})
    after = row_of(installation, User, user.id)
    kept = ("password", "access_token", "display_name", "email", "group", "role", "status")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert after.quota == 0


def test_a_tokens_expiry_and_status_follow_one_apis_rules(installation: Installation) -> None:
    user = installation.user()

    def call(method: str, path: str, body: object = None) -> Any:
        return installation.call(method, path, body, session=user.session)

    token = call("POST", "/api/token/", {"name": "plain", "remain_quota": 100, "models": "a", "subnet": "10.0.0.0/8"})
    assert (token["expired_time"], token["status"], len(token["key"])) == (-1, 1, 48)
    off = call("PUT", "/api/token/?status_only=true", {"id": token["id"], "status": 2, "name": "", "remain_quota": 0})
    assert off == {**token, "status": 2}

    for values, cure in (
        ({"status": 3, "expired_time": 1000}, {"expired_time": -1}),
        ({"status": 4, "remain_quota": 0}, {"remain_quota": 5}),
    ):
        token_id = call("POST", "/api/token/", {"name": "used", "remain_quota": 5})["id"]
        installation.tamper(update(Token).where(Token.id == token_id).values(**values))
        stored = call("GET", f"/api/token/{token_id}")
        enable = {"id": token_id, "status": 1}
        answer = user.session.put(f"{installation.url}/api/token/?status_only=1", json=enable, timeout=30)
        assert answer.json()["success"] is False
        call("PUT", "/api/token/", {**stored, **cure, "status": stored["status"]})
        assert call("PUT", "/api/token/?status_only=1", enable)["status"] == 1


def test_a_code_is_credited_once_under_fifty_parallel_calls(installation: Installation) -> None:
    codes = installation.call("POST", "/api/redemption/", {"name": "spring", "quota": 1000, "count": 100})
    assert len(set(codes)) == 100 and all(len(code) == 32 for code in codes)
    installation.call("POST", "/api/redemption/", {"name": "plain", "count": 1})
    assert installation.call("GET", "/api/redemption/")[0]["quota"] == 100
    users = [installation.user(quota=0) for _ in range(2)]

    def redeem(user: console.User) -> bool:
        body = {"key": codes[0]}
        answer = requests.post(
            f"{installation.url}/api/user/topup", json=body, cookies=user.session.cookies, timeout=60
        )
        return bool(answer.json()["success"])

    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(redeem, users * 25))
    assert outcomes.count(True) == 1
    assert sum(installation.balance(user.id) for user in users) == 1000
    redeemed = select(Redemption.status, Redemption.redeemed_time).where(Redemption.key == codes[0])
    ((status, redeemed_time),) = installation.rows(redeemed)
    assert status == 3 and abs(redeemed_time - time.time()) < 120


def test_a_payment_script_tops_a_user_up(installation: Installation) -> None:
    user = installation.user(quota=0)
    body = {"user_id": user.id, "quota": 5000, "remark": "paid by card"}
    answer = installation.ask("POST", "/api/topup", body).json()
    assert answer == {"success": True, "message": ""}
    assert installation.balance(user.id) == 5000
    ((quota, content),) = installation.rows(
        select(Log.quota, Log.content).where(Log.user_id == user.id, Log.type == 1, Log.quota > 0)
    )
    assert (quota, content) == (5000, "paid by card")
    assert installation.refused("POST", "/api/topup", {**body, "quota": -1})
    assert installation.refused("POST", "/api/topup", {**body, "user_id": 999999})
    assert installation.balance(user.id) == 5000


def test_the_dashboard_has_capitalised_keys_and_the_days_consumption(
    installation: Installation, mock: MockUpstream
) -> None:
    installation.add_channel(base_url=mock.url, models=MODEL)
    user = installation.user()
    key = installation.token(user)
    installation.wait_until_known(MODEL, key)
    days = {_today()}
    assert [ask(installation.url, key, MODEL).status for _ in range(2)] == [200, 200]
    days.add(_today())  # the calls may have been made at midnight
    rows = installation.call("GET", "/api/user/dashboard", session=user.session)
    names = {"Day", "ModelName", "RequestCount", "Quota", "PromptTokens", "CompletionTokens"}
    assert all(row.keys() == names and row["ModelName"] == MODEL and row["Day"] in days for row in rows)
    assert sum(row["RequestCount"] for row in rows) == 2
    charged = installation.number(select(func.sum(Log.quota)).where(Log.user_id == user.id, Log.type == 2))
    assert sum(row["Quota"] for row in rows) == charged == object_of(installation, user)["used_quota"]


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


# ---- options and billing (16, 18) ----


def test_options_are_texts_bad_ones_leave_no_trace_and_secrets_stay_inside(installation: Installation) -> None:
    def shown() -> dict[str, str]:
        return {row["key"]: row["value"] for row in installation.call("GET", "/api/option/")}

    before = shown()
    for value in ("{", '{"gpt-4o": "dear"}', "[1]"):
        assert installation.refused("PUT", "/api/option/", {"key": "ModelRatio", "value": value})
    assert installation.ask("PUT", "/api/option/", "no object").status_code == 400
    assert shown() == before
    secrets = ("SMTPToken", "TurnstileSecretKey", "GitHubClientSecret", "WeChatServerToken", "OidcClientSecret")
    with options(installation, **dict.fromkeys(secrets, "planted-secret"), TopUpLink="https://pay.example.org"):
        answer = installation.ask("GET", "/api/option/")
        assert "planted-secret" not in answer.text
        assert not shown().keys() & set(secrets)
        assert shown()["TopUpLink"] == "https://pay.example.org"
        assert (
            installation.ask("GET", "/api/status", token="").json()["data"]["top_up_link"] == "https://pay.example.org"
        )
    assert shown() == before


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_billing_tells_tokens_users_and_currencies(installation: Installation, prefix: str) -> None:
    user = installation.user(quota=1_000_000)
    limited = installation.token(user, unlimited_quota=False, remain_quota=750_000, expired_time=2_000_000_000)
    unlimited = installation.token(user)

    def told(name: str, key: str) -> Any:
        answer = installation.ask(
            "GET",
            f"{prefix}/dashboard/billing/{name}?start_date=2025-01-01",
            token=f"Bearer {key}",
            Origin="https://a.example",
        )
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://a.example")
        return answer.json()

    subscription = told("subscription", limited)
    assert subscription == {
        "object": "billing_subscription", "has_payment_method": True, "soft_limit_usd": 1.5, "hard_limit_usd": 1.5,
        "system_hard_limit_usd": 1.5, "access_until": 2_000_000_000,
    }  # fmt: skip
    assert told("usage", limited) == {"object": "list", "total_usage": 0}
    assert told("subscription", unlimited)["hard_limit_usd"] == 100_000_000
    assert told("subscription", unlimited)["access_until"] == 0
    with options(installation, DisplayInCurrencyEnabled="false"):
        assert told("subscription", limited)["hard_limit_usd"] == 750_000
    with options(installation, DisplayTokenStatEnabled="false"):
        assert told("subscription", limited)["hard_limit_usd"] == 2.0
        assert told("subscription", limited)["access_until"] == 0
    refused = installation.ask("GET", f"{prefix}/dashboard/billing/usage", token="Bearer sk-nobody")
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "one_api_error")


# ---- signing in elsewhere, pages of old (20, 30) ----


def test_a_state_that_differs_is_403_and_a_binding_says_bind(installation: Installation) -> None:
    user = installation.user()
    state = installation.call("GET", "/api/oauth/state", session=user.session)
    for given in (f"state={state}x", ""):
        answer = user.session.get(f"{installation.url}/api/oauth/github?code=c&{given}", timeout=30)
        assert (answer.status_code, answer.json()["success"]) == (403, False)
    with social() as third:
        third.people = {"code": {"id": f"wechat-of-{user.username}"}}
        offered = {"WeChatServerAddress": f"{third.url}/wechat", "WeChatServerToken": "wechat-token"}
        with options(installation, **offered, WeChatAuthEnabled="true"):
            answer = user.session.get(f"{installation.url}/api/oauth/wechat/bind?code=code", timeout=30)
    assert answer.json() == {"success": True, "message": "bind"}
    assert object_of(installation, user)["wechat_id"] == f"wechat-of-{user.username}"


@pytest.mark.parametrize(
    ("old", "field"),
    [
        ("/user/reset?email=a@example.org&token=0123456789abcdef0123456789abcdef", "token"),
        ("/register?aff=Ab1d", "username"),
        ("/topup", "password"),
        ("/oauth/github?code=c&state=s", "signed-in.js"),
    ],
)
def test_old_addresses_lead_to_their_pages(installation: Installation, old: str, field: str) -> None:
    answer = requests.get(installation.url + old, timeout=30)
    assert answer.status_code == 200
    assert field in answer.text
