"""The pages of nouns without a browser: who may see what, what they leave out, and what their forms write."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from typing import Any

import pytest
from sqlalchemy import insert

from oneapi.admin.settings import PAGES, grouped, title_of
from oneapi.i18n.panel import catalogue
from oneapi.models import Channel, Log, Option, Redemption, Token, User
from oneapi.options import OPTIONS
from oneapi.services.channels import ChannelFields, create_many
from oneapi.services.health import Change
from tests.api.conftest import site, site_on
from tests.api.site import ADMIN, COMMON, ROOT, Caller, Site

__all__ = ["site", "site_on"]

OWN = ("token", "log", "model")
ADMINS = ("channel", "user", "redemption", "system")
ROOTS = ("setting/operation", "setting/system", "setting/other", "group", "price")
NOW = 1_700_000_000
KEY = "sk-upstream-secret-0123456789"


def page(caller: Caller, path: str) -> str:
    response = caller.ask("GET", path)
    assert response.status_code == 200, (path, response.status_code, response.headers.get("Location"))
    return response.get_data(as_text=True)


def post(caller: Caller, path: str, body: object) -> Any:
    token = re.search(r'name="csrf-token" content="([^"]+)"', page(caller, "/admin/token/"))
    assert token is not None
    headers = {"X-CSRFToken": token[1], "Accept": "application/json", "Content-Type": "application/json"}
    return caller.ask("POST", path, body, **headers).get_json()


def channel(site: Site, **fields: Any) -> int:
    row = {"name": "main", "key": KEY, "type": 1, "models": "gpt-4o", **fields}
    with site.engine.begin() as connection:
        channel_id: int = connection.execute(insert(Channel).values(**row)).inserted_primary_key[0]
    return channel_id


@pytest.mark.parametrize("path", [*OWN, *ADMINS, *ROOTS])
@pytest.mark.parametrize("role", [COMMON, ADMIN, ROOT])
def test_a_page_is_open_to_whom_the_api_is_open(site: Site, path: str, role: int) -> None:
    least = COMMON if path in OWN else ADMIN if path in ADMINS else ROOT
    address = f"/admin/{path}" if "setting" in path else f"/admin/{path}/"
    status = site.logged_in(role).ask("GET", address).status_code
    assert status == (200 if role >= least else 403)


@pytest.mark.parametrize("path", [*OWN, *ADMINS, *ROOTS])
def test_nobody_sees_a_page_without_logging_in(site: Site, path: str) -> None:
    address = f"/admin/{path}" if "setting" in path else f"/admin/{path}/"
    response = site.anybody().ask("GET", address)
    assert response.status_code == 302
    assert "/login" in response.headers["Location"]


def test_tokens_of_others_are_neither_listed_nor_opened(site: Site) -> None:
    mine, other = site.logged_in(ADMIN), site.user()
    with site.engine.begin() as connection:
        for owner, name in ((mine.id, "of mine"), (other.id, "of another")):
            connection.execute(insert(Token).values(user_id=owner, name=name, key=f"{owner:048d}", status=1))
    (foreign,) = site.rows(Token, Token.user_id == other.id)
    html = page(mine, "/admin/token/")
    assert "of mine" in html
    assert "of another" not in html
    assert mine.ask("GET", f"/admin/token/edit/{foreign.id}").status_code == 404
    assert mine.ask("GET", "/admin/token/?search=another").get_data(as_text=True).count("of another") == 0
    answer = post(mine, "/admin/token/save", {"id": foreign.id, "name": "taken", "quota": "1"})
    assert answer["success"] is False
    assert site.row(Token, foreign.id).name == "of another"


def test_logs_of_others_are_for_administrators(site: Site) -> None:
    mine, other = site.logged_in(), site.user()
    with site.log_engine.begin() as connection:
        for owner, text in ((mine.id, "what I did"), (other.id, "what he did")):
            values = {
                "user_id": owner,
                "content": text,
                "type": 2,
                "created_at": NOW,
                "channel_id": 77,
                "username": "u",
            }
            connection.execute(insert(Log).values(**values, receipt='{"attempts": [{"channel": 77, "ms": 1}]}'))
    (foreign,) = site.rows(Log, Log.user_id == other.id)
    (own,) = site.rows(Log, Log.user_id == mine.id, Log.type == 2)
    html = page(mine, "/admin/log/")
    assert "what I did" in html
    assert "what he did" not in html
    assert mine.ask("GET", f"/admin/log/receipt/{foreign.id}").status_code == 404
    assert "77" not in page(mine, f"/admin/log/receipt/{own.id}")  # which channel served is not a user's business
    assert "what he did" not in page(mine, "/admin/log/export.csv")
    assert "channel_id" not in page(mine, "/admin/log/export.csv")
    administrator = site.logged_in(ADMIN)
    assert "what he did" in page(administrator, "/admin/log/")
    assert "#77" in page(administrator, f"/admin/log/receipt/{foreign.id}")


def test_a_filter_of_administrators_is_nothing_to_a_user(site: Site) -> None:
    mine = site.logged_in()
    with site.log_engine.begin() as connection:
        connection.execute(insert(Log).values(user_id=mine.id, content="what I did", type=2, username="someone"))
    assert "what I did" in page(mine, "/admin/log/?username=nobody&channel=5")
    assert "what I did" not in page(mine, "/admin/log/?type=1")


def test_a_spreadsheet_finds_no_formula_in_an_export(site: Site) -> None:
    mine = site.logged_in()
    with site.log_engine.begin() as connection:
        connection.execute(insert(Log).values(user_id=mine.id, content="=cmd|' /C calc'!A0", type=2))
    assert ",'=cmd" in page(mine, "/admin/log/export.csv").replace('"', "")


def test_keys_of_channels_stay_inside(site: Site) -> None:
    settings = '{"proxy": "socks5://me:proxy-password@host:1080"}'
    channel_id = channel(site, type=33, config='{"region": "us-east-1", "sk": "config-secret"}', settings=settings)
    administrator = site.logged_in(ADMIN)
    for path in ("", f"edit/{channel_id}", "serving?model=gpt-4o", f"models/{channel_id}", "ids"):
        html = page(administrator, f"/admin/channel/{path}")
        for secret in (KEY, "config-secret", "proxy-password"):
            assert secret not in html, path
    assert post(administrator, f"/admin/channel/key/{channel_id}", {})["success"] is False
    root = site.logged_in(ROOT)
    assert post(root, f"/admin/channel/key/{channel_id}", {})["data"] == KEY
    assert any("looked at the key" in row.content for row in site.rows(Log, Log.type == 3))


def test_a_blank_secret_stays_as_it_is_stored(site: Site) -> None:
    stored = '{"proxy": "http://proxy:1", "keys": ["sk-second"]}'
    channel_id = channel(site, type=33, config='{"ak": "a", "sk": "config-secret", "region": "x"}', settings=stored)
    form = {
        "id": channel_id, "type": "33", "name": "main", "key": "", "group": ["default", "vip"], "models": ["m1", "m2"],
        "config-33-region": "eu-west-1", "config-33-ak": "new", "config-33-sk": "", "proxy": "", "test_model": "m2",
        "overrides": '{"temperature": 0}', "priority": 5, "weight": 2,
    }  # fmt: skip
    answer = post(site.logged_in(ADMIN), "/admin/channel/save", form)
    assert answer["success"] is True, answer
    row = site.row(Channel, channel_id)
    assert (row.key, row.group, row.models, row.priority, row.weight) == (KEY, "default,vip", "m1,m2", 5, 2)
    assert '"sk": "config-secret"' in row.config
    assert '"ak": "new"' in row.config
    assert '"region": "eu-west-1"' in row.config
    assert '"proxy": "http://proxy:1"' in row.settings
    assert '"keys": ["sk-second"]' in row.settings
    assert '"test_model": "m2"' in row.settings


def test_each_line_of_keys_makes_a_channel(site: Site) -> None:
    form = {"type": "1", "name": "pool", "key": "sk-a\nsk-b\n\nsk-c", "group": "default", "models": ["m"]}
    assert post(site.logged_in(ADMIN), "/admin/channel/save", form)["data"] == [1, 2, 3]
    assert [row.key for row in site.rows(Channel)] == ["sk-a", "sk-b", "sk-c"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": ""}, "key"),
        ({"models": []}, "models"),
        ({"model_mapping": "[1]"}, "model_mapping"),
        ({"weight": -1}, "weight"),
    ],
)
def test_a_fault_of_a_channel_is_told_beside_its_field(site: Site, change: dict[str, Any], field: str) -> None:
    form = {"type": "1", "name": "x", "key": "sk-a", "group": "default", "models": ["m"], **change}
    answer = post(site.logged_in(ADMIN), "/admin/channel/save", form)
    assert (answer["success"], answer["field"]) == (False, field)
    assert site.rows(Channel) == []


def test_channels_are_found_by_type_status_group_model_and_tag(site: Site) -> None:
    channel(site, name="first", type=14, group="vip,default", models="claude,gpt-4", tag="paid")
    channel(site, name="second", type=1, group="default", models="gpt-4o", status=3)
    administrator = site.logged_in(ADMIN)
    for query, found in (
        ("type=14", "first"),
        ("status=3", "second"),
        ("group=vip", "first"),
        ("model=gpt-4", "first"),
        ("model=gpt-4o", "second"),
        ("tag=paid", "first"),
        ("search=sec", "second"),
    ):
        other = "second" if found == "first" else "first"
        html = page(administrator, f"/admin/channel/?{query}")
        assert f">{found}</a>" in html, query
        assert f">{other}</a>" not in html, query
    assert "Nothing fits" in page(administrator, "/admin/channel/?group=vi_")


def test_a_copy_has_the_key_and_is_off(site: Site) -> None:
    channel_id = channel(site, models="m", group="default")
    post(site.logged_in(ADMIN), f"/admin/channel/copy/{channel_id}", {})
    copy = site.rows(Channel, Channel.id != channel_id)[0]
    assert (copy.key, copy.status, copy.name) == (KEY, 2, "main (copy)")


def test_who_would_serve_is_told_with_the_reason(site: Site) -> None:
    from oneapi.services import channels
    from oneapi.services.audit import SYSTEM

    def add(name: str, **fields: Any) -> int:
        made = ChannelFields(type=1, name=name, key="k", models="gpt-4o", group="default", **fields)
        return create_many(site.engine, SYSTEM, made, now=NOW)[0]

    add("heavy", priority=9, weight=3)
    add("light", priority=9, weight=1)
    resting = add("resting", priority=9, weight=6)
    add("last")
    change = Change(resting, "gpt-4o", reason="HTTP 429: slow down", failures=1, until=4_000_000_000)
    channels.write_health(site.engine, change, now=NOW)
    site.program.snapshots.refresh()
    html = page(site.logged_in(ADMIN), "/admin/channel/serving?model=gpt-4o&group=default")
    assert "75 %" in html
    assert "25 %" in html
    assert "HTTP 429: slow down" in html
    assert "Waits for those above to fail" in html


def test_quota_is_typed_in_dollars_and_an_untouched_amount_stays(site: Site) -> None:
    mine = site.logged_in()
    assert post(mine, "/admin/token/save", {"name": "a", "quota": "1.5"})["success"] is True
    (row,) = site.rows(Token, Token.user_id == mine.id)
    assert row.remain_quota == 750_000
    site.set_options(QuotaPerUnit="700000")
    site.change(Token, row.id, remain_quota=333_333)
    shown = re.search(r'name="quota" type="text" value="([^"]+)"', page(mine, f"/admin/token/edit/{row.id}"))
    assert shown is not None
    assert post(mine, "/admin/token/save", {"id": row.id, "name": "b", "quota": shown[1]})["success"] is True
    assert (site.row(Token, row.id).name, site.row(Token, row.id).remain_quota) == ("b", 333_333)
    assert post(mine, "/admin/token/save", {"id": row.id, "name": "b", "quota": "much"})["field"] == "quota"


def test_a_balance_is_set_only_when_it_is_typed(site: Site) -> None:
    user = site.user(quota=123)
    administrator = site.logged_in(ADMIN)
    row = site.row(User, user.id)
    form = {"id": user.id, "username": row.username, "group": "vip", "quota": ""}
    assert post(administrator, "/admin/user/save", form)["success"] is True
    assert (site.row(User, user.id).quota, site.row(User, user.id).group) == (123, "vip")
    assert post(administrator, "/admin/user/save", {**form, "quota": "2"})["success"] is True
    assert site.row(User, user.id).quota == 1_000_000
    assert (
        post(administrator, "/admin/user/top-up", {"id": user.id, "quota": "0.5", "remark": "gift"})["success"] is True
    )
    assert site.row(User, user.id).quota == 1_250_000


def test_nobody_edits_his_equals(site: Site) -> None:
    equal = site.user(ADMIN)
    administrator = site.logged_in(ADMIN)
    assert administrator.ask("GET", f"/admin/user/edit/{equal.id}").status_code == 403
    answer = post(administrator, "/admin/user/save", {"id": equal.id, "username": "taken"})
    assert answer["success"] is False
    assert site.row(User, equal.id).username != "taken"


def test_codes_are_made_and_exported_as_text(site: Site) -> None:
    administrator = site.logged_in(ADMIN)
    made = post(administrator, "/admin/redemption/save", {"name": "spring", "quota": "1", "count": 3})["data"]["codes"]
    assert sorted(row.key for row in site.rows(Redemption)) == sorted(made)
    listed = page(administrator, "/admin/redemption/")
    assert not any(code in listed for code in made)
    site.change(Redemption, site.rows(Redemption)[0].id, status=2)
    exported = page(administrator, "/admin/redemption/codes.txt?name=spring").split()
    assert len(exported) == 2
    assert set(exported) < set(made)
    refused = post(administrator, "/admin/redemption/save", {"name": "x", "quota": "0", "count": 1})
    assert (refused["success"], refused["field"]) == (False, "quota")


def test_settings_are_saved_all_or_none_and_faults_are_named(site: Site) -> None:
    root = site.logged_in(ROOT)
    answer = post(root, "/admin/setting/save", {"RetryTimes": "many", "SystemName": "Mine", "ModelRatio": "[1]"})
    assert set(answer["errors"]) == {"RetryTimes", "ModelRatio"}
    assert site.program.snapshots.options.system_name == "One API"
    assert post(root, "/admin/setting/save", {"SystemName": "Mine", "GitHubClientSecret": "hush"})["success"] is True
    assert site.program.snapshots.options.system_name == "Mine"
    html = page(root, "/admin/setting/system")
    assert "hush" not in html
    assert post(root, "/admin/setting/save", {"GitHubClientSecret": ""})["success"] is True
    assert site.program.snapshots.options.github_client_secret == "hush"
    assert post(root, "/admin/setting/save", {"GitHubClientSecret": None})["success"] is True
    assert site.program.snapshots.options.github_client_secret == ""


def test_groups_come_and_go(site: Site) -> None:
    root = site.logged_in(ROOT)
    assert post(root, "/admin/group/save", {"name": "gold", "ratio": "0.85"})["success"] is True
    assert str(site.program.snapshots.options.group_ratio["gold"]) == "0.85"
    for ratio in ("-1", "NaN", "x", '1,"other":2'):
        assert post(root, "/admin/group/save", {"name": "gold", "ratio": ratio})["success"] is False
    member = site.user(group="gold")
    assert post(root, "/admin/group/remove", {"name": "gold"})["success"] is False
    site.change(User, member.id, group="default")
    assert post(root, "/admin/group/remove", {"name": "gold"})["success"] is True
    assert "gold" not in site.program.snapshots.options.group_ratio


def test_what_is_typed_is_never_markup(site: Site) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    channel_id = channel(site, name=evil, tag=evil, group=evil, status=3, status_reason=evil, models=evil)
    root = site.logged_in(ROOT)
    user = site.user(display_name=evil, email=evil, group="<b>")
    with site.engine.begin() as connection:
        connection.execute(insert(Token).values(user_id=root.id, name=evil, key="k" * 48, status=1))
        connection.execute(insert(Redemption).values(name=evil, key="c" * 32, status=1, quota=1))
    with site.log_engine.begin() as connection:
        receipt = (
            '{"error": "<script>", "lines": [{"of": "<script>", "count": 1, "ratio": "1"}], "dropped": ["<script>"]}'
        )
        values = {"user_id": root.id, "content": evil, "model_name": evil, "token_name": evil, "username": evil}
        log_id = connection.execute(insert(Log).values(**values, type=2, receipt=receipt)).inserted_primary_key[0]
    paths = (
        "channel/", f"channel/edit/{channel_id}", f"channel/serving?model={evil}&group={evil}", "token/", "user/",
        f"user/edit/{user.id}", "redemption/", "log/", f"log/receipt/{log_id}", "group/", "system/", "model/",
        f"channel/?search={evil}&tag={evil}",
    )  # fmt: skip
    for path in paths:
        html = page(root, f"/admin/{path}")
        assert "<script>alert" not in html, path
        assert "<img src=x" not in html, path
        assert "<script>" not in html.replace("<script type", ""), path


def test_a_form_without_its_token_writes_nothing(site: Site) -> None:
    root = site.logged_in(ROOT)
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    for path in ("setting/save", "group/save", "channel/save", "user/create", "token/save", "redemption/save"):
        assert root.ask("POST", f"/admin/{path}", {"name": "x"}, **headers).status_code == 400, path


def test_every_option_has_a_chinese_name_and_help() -> None:
    chinese = {str(message.id) for message in catalogue() if message.string}
    wanted = {title_of(key) for key in OPTIONS} | {option.help for option in OPTIONS.values()}
    assert wanted - chinese == set()


def test_every_option_stands_on_a_page_once() -> None:
    shown = [option.key for name in PAGES for _, group in grouped(name) for option in group]
    assert sorted(shown) == sorted(OPTIONS)


def sent(caller: Caller, path: str, **fields: Any) -> str:
    """The page that a form without a script leads to."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', page(caller, "/admin/price/"))
    assert token is not None
    response = caller.client.post(path, data={"csrf_token": token[1], **fields}, follow_redirects=True)
    assert response.status_code == 200
    return response.get_data(as_text=True)


def test_a_price_list_is_shown_beside_the_prices_and_taken_over_as_ticked(site: Site) -> None:
    channel(site, models="gpt-4o,gift,unheard-of")
    root = site.logged_in(ROOT)
    assert "/admin/price/" in page(root, "/admin/model/")
    assert "/admin/price/" not in page(site.logged_in(ADMIN), "/admin/model/")
    listed = {
        "house/gpt-4o": {"litellm_provider": "house", "input_cost_per_token": 3e-06, "output_cost_per_token": 9e-06},
        "house/gift": {"litellm_provider": "house", "input_cost_per_token": 0, "output_cost_per_token": 0},
    }
    file = io.BytesIO(json.dumps(listed).encode())
    html = sent(root, "/admin/price/compare", provider="house", list=(file, "prices.json"))
    boxes = re.findall(r'name="price" value="([^"]+)"( checked)?', html)
    assert [(unescape(entry).split('"')[1], bool(ticked)) for entry, ticked in boxes] == [
        ("gift", False),
        ("gpt-4o", True),
    ]
    assert "Not in the list: unheard-of" in html
    assert site.rows(Option, Option.key == "ModelRatio") == []

    html = sent(root, "/admin/price/save", price=[unescape(entry) for entry, ticked in boxes if ticked])
    assert "Prices of 1 models were saved." in html
    saved = {row.key: json.loads(row.value) for row in site.rows(Option, Option.key.contains("Ratio"))}
    assert saved == {"ModelRatio": {"gpt-4o": 1.5}, "CompletionRatio": {"gpt-4o": 3}}


def test_what_is_no_price_list_is_told(site: Site) -> None:
    root = site.logged_in(ROOT)
    html = sent(root, "/admin/price/compare", list=(io.BytesIO(b"{"), "prices.json"))
    assert "This is not valid JSON" in html
    assert "This is not valid JSON" in sent(root, "/admin/price/compare")
    assert "has no price for input" in sent(root, "/admin/price/save", price='{"m": {}}')
