"""What stands on the pages, without a browser: columns, states, orders, fields of forms, and who is offered what."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from sqlalchemy import insert

from oneapi import __version__
from oneapi.models import Ability, Channel, Lease, Log, Redemption, Token, User
from oneapi.services import channels
from oneapi.services.audit import SYSTEM
from oneapi.services.channels import ChannelFields
from oneapi.services.health import Change
from tests.api.conftest import site, site_on
from tests.api.site import ADMIN, COMMON, ROOT, Caller, Site
from tests.panel.test_nouns import NOW, channel, page, post

__all__ = ["site", "site_on"]


def text_of(html: str) -> str:
    """What a reader sees, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def seen(caller: Caller, path: str) -> str:
    return text_of(page(caller, path))


def row_of(html: str, name: str) -> str:
    """The row of a list that is about this name."""
    rows: list[str] = re.findall(r"<tr\b.*?</tr>", html, re.DOTALL)
    (found,) = [row for row in rows if f'data-name="{name}"' in row]
    return found


def names_in_order(html: str) -> list[str]:
    return re.findall(r'<tr data-id="\d+" data-name="([^"]*)"', html)


def heads(html: str) -> list[str]:
    head = re.search(r"<thead>.*?</thead>", html, re.DOTALL)
    assert head is not None
    return [text_of(cell) for cell in re.findall(r"<th\b[^>]*>(.*?)</th>", head[0], re.DOTALL)]


def add(site: Site, model: Any, *rows: dict[str, Any]) -> list[int]:
    with (site.log_engine if model is Log else site.engine).begin() as connection:
        return [connection.execute(insert(model).values(**row)).inserted_primary_key[0] for row in rows]


# ---- public pages ----


def test_home_tells_the_state_of_the_site_and_what_is_switched_on(site: Site) -> None:
    told = seen(site.anybody(), "/")
    assert f"Version {__version__}" in told
    assert "Running since" in told
    assert "Registration on E-mail verification off Sign in with GitHub off" in told
    site.set_options(
        EmailVerificationEnabled="true", GitHubOAuthEnabled="true", GitHubClientId="app", OidcEnabled="true",
        WeChatAuthEnabled="true", TurnstileCheckEnabled="true", RegisterEnabled="false",
    )  # fmt: skip
    told = seen(site.anybody(), "/")
    assert "Registration off E-mail verification on Sign in with GitHub on Sign in with OpenID Connect on" in told
    assert "Sign in with WeChat on Check for robots on" in told


@pytest.mark.parametrize("path", ["/login", "/register"])
def test_signing_in_elsewhere_is_offered_where_it_is_switched_on(site: Site, path: str) -> None:
    names = ("Continue with GitHub", "Continue with OpenID Connect", "Continue with Lark", "WeChat")
    before = seen(site.anybody(), path)
    assert not any(name in before for name in names)
    site.set_options(
        GitHubOAuthEnabled="true", GitHubClientId="app", OidcEnabled="true", LarkClientId="app",
        WeChatAuthEnabled="true", WeChatAccountQRCodeImageURL="https://pictures.example/qr.png",
    )  # fmt: skip
    response = site.anybody().ask("GET", path)
    html = response.get_data(as_text=True)
    assert all(name in text_of(html) for name in names)
    assert 'src="https://pictures.example/qr.png"' in html
    assert "https://pictures.example" in response.headers["Content-Security-Policy"]


def test_what_is_switched_off_is_not_offered(site: Site) -> None:
    assert 'name="password"' in page(site.anybody(), "/login")
    assert "Create an account" in seen(site.anybody(), "/login")
    site.set_options(PasswordLoginEnabled="false", RegisterEnabled="false")
    assert 'name="password"' not in page(site.anybody(), "/login")
    assert "Create an account" not in seen(site.anybody(), "/login")
    assert "takes no new accounts" in seen(site.anybody(), "/register")


@pytest.mark.parametrize("path", ["/register", "/reset"])
def test_robots_are_looked_for_where_that_is_switched_on(site: Site, path: str) -> None:
    assert "cf-turnstile" not in page(site.anybody(), path)
    site.set_options(TurnstileCheckEnabled="true", TurnstileSiteKey="the-site-key")
    response = site.anybody().ask("GET", path)
    assert 'data-sitekey="the-site-key"' in response.get_data(as_text=True)
    assert "script-src 'self' https://challenges.cloudflare.com" in response.headers["Content-Security-Policy"]


def test_a_logo_of_the_operators_is_shown_and_may_come_from_where_it_is(site: Site) -> None:
    site.set_options(Logo="https://pictures.example/logo.png")
    response = site.anybody().ask("GET", "/login")
    assert 'src="https://pictures.example/logo.png"' in response.get_data(as_text=True)
    assert "img-src 'self' data: https://pictures.example" in response.headers["Content-Security-Policy"]


# ---- every list ----


def test_quota_is_told_in_dollars_or_as_a_number(site: Site) -> None:
    mine = site.logged_in(quota=1_234_567)
    assert "$2.47" in seen(mine, "/admin/topup/")
    site.set_options(DisplayInCurrencyEnabled="false")
    assert "1.2M" in seen(mine, "/admin/topup/")
    assert 'value="1234"' in page(mine, f"/admin/token/edit/{add(site, Token, token(mine, remain_quota=1234))[0]}")


def token(owner: Caller, **columns: Any) -> dict[str, Any]:
    name = columns.get("name", "a")
    return {"user_id": owner.id, "name": name, "key": f"{owner.id}{name}".ljust(48, "k"), "status": 1, **columns}


LISTS = {
    "channel": (Channel, [{"name": name, "key": "k", "type": 1, "priority": n} for n, name in enumerate("bac")], 8),
    "redemption": (Redemption, [{"name": name, "key": name * 32, "quota": n} for n, name in enumerate("bac")], 3),
}


@pytest.mark.parametrize("noun", LISTS)
def test_lists_are_sorted_by_the_column_that_is_chosen(site: Site, noun: str) -> None:
    model, rows, number = LISTS[noun]
    add(site, model, *rows)
    administrator = site.logged_in(ADMIN)

    def order(query: str) -> str:
        return "".join(name[0] for name in names_in_order(page(administrator, f"/admin/{noun}/{query}")))

    assert order("") == "cab"  # the newest first
    assert (order("?sort=1"), order("?sort=1&desc=1")) == ("abc", "cba")
    assert (order(f"?sort={number}"), order(f"?sort={number}&desc=1")) == ("bac", "cab")


def test_tokens_and_users_are_sorted_by_what_was_used_and_what_is_left(site: Site) -> None:
    administrator = site.logged_in(ADMIN)
    rows = [{"name": "b", "used_quota": 1, "remain_quota": 9}, {"name": "a", "used_quota": 2, "remain_quota": 3}]
    add(site, Token, *(token(administrator, **row) for row in rows))
    for column, order in ((0, ["a", "b"]), (2, ["b", "a"]), (3, ["a", "b"])):
        assert names_in_order(page(administrator, f"/admin/token/?sort={column}")) == order
        assert names_in_order(page(administrator, f"/admin/token/?sort={column}&desc=1")) == order[::-1]
    poor, rich = site.user(quota=5, used_quota=7), site.user(quota=6, used_quota=4)
    names = [site.row(User, one.id).username for one in (poor, rich)]
    for column, order in ((5, names), (6, names[::-1])):
        found = names_in_order(page(administrator, f"/admin/user/?sort={column}&desc=1"))
        assert [name for name in found if name in names] == order[::-1]


def test_a_list_is_paged_over_the_whole_table(site: Site) -> None:
    mine = site.logged_in()
    add(site, Token, *(token(mine, name=f"token {number:02}") for number in range(25)))
    first, second = page(mine, "/admin/token/?sort=0"), page(mine, "/admin/token/?sort=0&page=1")
    assert names_in_order(first) + names_in_order(second) == [f"token {number:02}" for number in range(25)]
    assert ('rel="next"' in first, 'rel="prev"' in first) == (True, False)
    assert ('rel="next"' in second, 'rel="prev"' in second) == (False, True)
    assert len(names_in_order(page(mine, "/admin/token/?page_size=50"))) == 25


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("token/", "No token yet"),
        ("redemption/", "No code yet"),
        ("channel/", "No channel yet"),
        ("model/", "No model yet"),
    ],
)
def test_an_empty_list_says_what_to_do_first(site: Site, path: str, first: str) -> None:
    assert first in seen(site.logged_in(ADMIN), f"/admin/{path}")


# ---- channels ----


def test_a_channels_row_tells_all_that_the_reference_shows(site: Site) -> None:
    add(
        site,
        Channel,
        {
            "name": "main", "key": "k", "type": 14, "status": 3, "group": "default,vip", "response_time": 2345,
            "test_time": NOW, "status_reason": "HTTP 401: gone", "status_time": NOW, "used_quota": 500_000,
            "priority": 7, "weight": 3,
        },
        {"name": "asked", "key": "k", "type": 4, "balance": 12.5, "balance_updated_time": NOW, "response_time": 0,
         "test_time": NOW},
        {"name": "other", "key": "k", "type": 9999, "status": 2},
    )  # fmt: skip
    html = page(site.logged_in(ADMIN), "/admin/channel/")
    main, asked, other = (row_of(html, name) for name in ("main", "asked", "other"))
    for told in ("Disabled automatically", "HTTP 401: gone", "Anthropic", "default", "vip", "2.35 s", "$1.00"):
        assert told in text_of(main), told
    assert "bg-lime-lt" in main
    assert 'value="7" data-inline="priority"' in main
    assert 'value="3" data-inline="weight"' in main
    assert "12.50" in text_of(asked)
    assert "failed" in text_of(asked)
    assert "Unknown type 9999" in text_of(other)
    assert "not tested" in text_of(other)


# What management.md §10.3 asks of each type beyond the fields that all have: names of fields, the key's form, a note.
TYPES: dict[int, tuple[tuple[str, ...], str]] = {
    3: (("api_version",), ""),
    15: ((), "APIKey|SecretKey"),
    17: (("plugin",), ""),
    18: (("api_version",), "APPID|APISecret|APIKey"),
    21: (("library_id",), ""),
    22: ((), "APIKey-AppId"),
    23: ((), "AppId|SecretId|SecretKey"),
    33: (("region", "ak", "sk"), ""),
    34: (("user_id",), ""),
    37: (("user_id",), ""),
    42: (("region", "vertex_ai_project_id", "vertex_ai_adc"), ""),
}


def squeezed(text: str) -> str:
    return re.sub(r"[\W_]", "", text).lower()


def test_each_type_of_channel_asks_for_what_it_needs(site: Site) -> None:
    html = page(site.logged_in(ADMIN), "/admin/channel/add")
    found = re.search(r'id="channel-types">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    types = json.loads(found[1])
    for number, (fields, hint) in TYPES.items():
        for name in fields:
            assert f'name="config-{number}-{name}"' in html, (number, name)
        assert squeezed(hint) in squeezed(types[str(number)]["key_hint"]), number
    for number in (3, 8, 50):  # whose address nobody else can know
        assert types[str(number)]["base_url"] == "", number
    assert types["1"]["base_url"] == "https://api.openai.com"
    assert types["33"]["has_secrets"] and types["42"]["has_secrets"]
    assert not types["43"]["needs_models"] and types["1"]["needs_models"]
    assert "gpt-4o" in types["1"]["models"]
    for name in ("name", "group", "models", "model_mapping", "system_prompt", "base_url", "priority", "weight", "tag"):
        assert f'name="{name}"' in html, name


def test_a_channel_is_saved_as_its_form_says_and_shown_again_without_secrets(site: Site) -> None:
    administrator = site.logged_in(ADMIN)
    form = {
        "type": "3", "name": "azure", "key": "sk-a", "group": "default", "models": "m1,m2\nm3，m1", "priority": 4,
        "base_url": "https://mine.example.com/", "config-3-api_version": "2024-10-21", "config-33-region": "elsewhere",
        "weight": 2, "tag": "paid", "system_prompt": "Be brief.", "model_mapping": '{"m1": "real"}',
        "test_model": "m2", "overrides": '{"temperature": 0}', "header_overrides": '{"X-Team": "a"}',
        "proxy": "socks5://me:hidden@host:1080",
    }  # fmt: skip
    assert post(administrator, "/admin/channel/save", form)["success"] is True
    (row,) = site.rows(Channel)
    assert (row.base_url, row.models, row.priority, row.weight) == ("https://mine.example.com", "m1,m2,m3", 4, 2)
    assert (row.tag, row.system_prompt, row.model_mapping) == ("paid", "Be brief.", '{"m1": "real"}')
    assert json.loads(row.config) == {"api_version": "2024-10-21"}
    assert json.loads(row.settings) == {
        "test_model": "m2", "overrides": {"temperature": 0}, "header_overrides": {"X-Team": "a"},
        "proxy": "socks5://me:hidden@host:1080",
    }  # fmt: skip
    html = page(administrator, f"/admin/channel/edit/{row.id}")
    for shown in ('value="2024-10-21"', 'value="m2"', "&#34;temperature&#34;: 0", "&#34;X-Team&#34;: &#34;a&#34;"):
        assert shown in html, shown
    assert "hidden@host" not in html
    assert post(administrator, "/admin/channel/save", {**form, "id": row.id, "proxy": "", "forgets_proxy": True})
    assert "proxy" not in json.loads(site.row(Channel, row.id).settings)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"overrides": "[1]"}, "overrides"),
        ({"header_overrides": "{"}, "header_overrides"),
        ({"overrides": '{"api_key": "x"}'}, None),
        ({"header_overrides": '{"Authorization": "x"}'}, None),
    ],
)
def test_overrides_that_cannot_be_are_told(site: Site, change: dict[str, str], field: str | None) -> None:
    form = {"type": "1", "name": "x", "key": "sk-a", "group": "default", "models": ["m"], **change}
    answer = post(site.logged_in(ADMIN), "/admin/channel/save", form)
    assert (answer["success"], answer["field"]) == (False, field)
    assert site.rows(Channel) == []


# ---- users ----


def test_a_users_row_tells_all_that_the_reference_shows(site: Site) -> None:
    columns = {"group": "vip", "quota": 500_000, "used_quota": 250_000, "request_count": 12, "email": "a@b.example"}
    user = site.user(display_name="Alice", status=2, **columns)
    premium = site.user(group="svip")
    html = page(site.logged_in(ADMIN), "/admin/user/")
    row = row_of(html, site.row(User, user.id).username)
    for told in ("Alice", "a@b.example", "vip", "User", "Disabled", "$1.00", "$0.50", "12"):
        assert told in text_of(row), told
    assert "bg-yellow-lt" in row
    assert "bg-red-lt" in row_of(html, site.row(User, premium.id).username)


@pytest.mark.parametrize(
    ("role", "offered"),
    [(ADMIN, {COMMON: {"disable", "delete", "top-up"}}), (ROOT, {COMMON: {"disable", "delete", "top-up", "promote"}})],
)
def test_actions_on_users_are_offered_by_role_and_none_on_root(
    site: Site, role: int, offered: dict[int, set[str]]
) -> None:
    root, administrator, common = site.user(ROOT), site.user(ADMIN), site.user()
    html = page(site.logged_in(role), "/admin/user/")

    def actions(who: Caller) -> set[str]:
        row = row_of(html, site.row(User, who.id).username)
        return set(re.findall(r'data-row="([\w-]+)"', row)) - {"enable"}

    assert actions(root) <= {"top-up"}
    assert actions(common) == offered[COMMON]
    assert ("demote" in actions(administrator), "delete" in actions(administrator)) == ((role == ROOT,) * 2)


def test_a_user_is_added_by_name_display_name_and_password(site: Site) -> None:
    administrator = site.logged_in(ADMIN)
    html = page(administrator, "/admin/user/add")
    assert all(f'name="{name}"' in html for name in ("username", "display_name", "password"))
    form = {"username": "newcomer", "display_name": "New", "password": "correct horse"}
    answer = post(administrator, "/admin/user/create", form)
    (row,) = site.rows(User, User.username == "newcomer")
    assert answer["location"] == f"/admin/user/edit/{row.id}"
    assert post(administrator, "/admin/user/create", form)["field"] == "username"
    short = {**form, "username": "b", "password": "short"}
    assert post(administrator, "/admin/user/create", short)["field"] == "password"


def test_a_users_form_shows_what_is_bound_and_is_found_by_filters(site: Site) -> None:
    bound = {"github_id": "octocat", "wechat_id": "wx", "lark_id": "lark", "oidc_id": "sub", "email": "a@b.example"}
    user = site.user(group="vip", **bound)
    administrator = site.logged_in(ADMIN)
    told = seen(administrator, f"/admin/user/edit/{user.id}")
    assert "GitHub octocat WeChat wx Lark lark OIDC sub" in told
    name = site.row(User, user.id).username
    for query in ("search=a@b", "group=vip", f"role={COMMON}", "status=1"):
        assert name in names_in_order(page(administrator, f"/admin/user/?{query}")), query
    for query in ("search=nobody", "group=svip", f"role={ROOT}", "status=2"):
        assert name not in page(administrator, f"/admin/user/?{query}"), query


# ---- tokens and codes ----


def test_a_tokens_row_tells_all_that_the_reference_shows(site: Site) -> None:
    mine = site.logged_in()
    add(
        site,
        Token,
        token(mine, name="limited", used_quota=250_000, remain_quota=500_000, created_time=NOW, expired_time=-1),
        token(mine, name="free", unlimited_quota=True, status=2, expired_time=4_000_000_000),
        token(mine, name="over", status=3),
        token(mine, name="empty", status=4),
    )
    html = page(mine, "/admin/token/")
    assert all(told in text_of(row_of(html, "limited")) for told in ("Enabled", "$0.50", "$1.00", "never"))
    assert all(told in text_of(row_of(html, "free")) for told in ("Disabled", "no limit", "2096"))
    assert "Expired" in text_of(row_of(html, "over"))
    assert "Used up" in text_of(row_of(html, "empty"))
    assert names_in_order(page(mine, "/admin/token/?status=4")) == ["empty"]
    assert names_in_order(page(mine, "/admin/token/?search=lim")) == ["limited"]


def test_a_tokens_form_offers_the_models_of_ones_group_and_the_presets(site: Site) -> None:
    mine = site.logged_in()
    channel_id = channel(site, models="gpt-4o", group="default")
    add(site, Ability, {"group": "default", "model": "gpt-4o", "channel_id": channel_id, "enabled": True})
    html = page(mine, "/admin/token/add")
    assert '<option value="gpt-4o">' in html
    for preset in ("0", "2592000", "86400", "3600", "60"):
        assert f'data-seconds="{preset}"' in html, preset
    assert 'name="quota" type="text" value="1"' in html  # 500,000, as the reference has it
    form = {"name": "a", "quota": "1", "models": ["gpt-4o", "m2"], "subnet": "10.0.0.0/8", "unlimited_quota": True}
    assert post(mine, "/admin/token/save", {**form, "expired_time": 4_000_000_000})["success"] is True
    (row,) = site.rows(Token, Token.user_id == mine.id)
    assert (row.models, row.subnet, row.expired_time, row.unlimited_quota) == ("gpt-4o,m2", "10.0.0.0/8", 4e9, True)
    assert post(mine, "/admin/token/save", {**form, "subnet": "anywhere"})["field"] == "subnet"
    assert post(mine, "/admin/token/save", {**form, "name": "x" * 31})["field"] == "name"


def test_a_codes_row_tells_all_that_the_reference_shows_and_a_used_one_is_past_changing(site: Site) -> None:
    buyer = site.user()
    add(
        site,
        Redemption,
        {"name": "fresh", "key": "a" * 32, "status": 1, "quota": 500_000, "created_time": NOW},
        {"name": "off", "key": "b" * 32, "status": 2, "quota": 1},
        {"name": "gone", "key": "c" * 32, "status": 3, "quota": 1, "redeemed_time": NOW, "redeemed_by": buyer.id},
    )
    administrator = site.logged_in(ADMIN)
    html = page(administrator, "/admin/redemption/")
    rows = {name: row_of(html, f"{name} #{number}") for number, name in enumerate(("fresh", "off", "gone"), 1)}
    assert all(told in text_of(rows["fresh"]) for told in ("Unused", "$1.00", "never"))
    assert f"user {buyer.id}" in text_of(rows["gone"])
    actions = {name: set(re.findall(r'data-row="(\w+)"', row)) - {"copy", "delete"} for name, row in rows.items()}
    assert actions == {"fresh": {"disable"}, "off": {"enable"}, "gone": set()}
    assert "/admin/redemption/edit/" not in rows["gone"]
    for query in ("status=2", "name=off", "search=of"):
        assert names_in_order(page(administrator, f"/admin/redemption/?{query}")) == ["off #2"], query


def test_the_form_of_codes_begins_as_the_references_does(site: Site) -> None:
    administrator = site.logged_in(ADMIN)
    html = page(administrator, "/admin/redemption/add")
    assert 'name="quota" type="text" value="0.2"' in html  # 100,000
    assert 'name="count" type="number" value="1"' in html
    (code_id,) = add(site, Redemption, {"name": "a", "key": "a" * 32, "status": 1, "quota": 123_457})
    assert 'name="count"' not in page(administrator, f"/admin/redemption/edit/{code_id}")
    assert post(administrator, "/admin/redemption/save", {"id": code_id, "name": "b", "quota": "2"})["success"] is True
    assert (site.row(Redemption, code_id).name, site.row(Redemption, code_id).quota) == ("b", 1_000_000)


# ---- logs ----


def test_columns_of_logs_are_by_role(site: Site) -> None:
    mine, administrator = site.logged_in(), site.logged_in(ADMIN)
    row = {
        "created_at": NOW, "type": 2, "username": "someone", "channel_id": 5, "model_name": "gpt-4o", "content": "why",
        "token_name": "laptop", "prompt_tokens": 7, "completion_tokens": 3, "quota": 12, "elapsed_time": 2400,
        "is_stream": True, "system_prompt_reset": True,
    }  # fmt: skip
    add(site, Log, *({**row, "user_id": who.id} for who in (mine, administrator)))
    own, every = (heads(page(who, "/admin/log/?type=2")) for who in (mine, administrator))
    assert [head for head in every if head not in own] == ["User", "Channel"]
    told = seen(administrator, "/admin/log/?type=2")
    for part in ("someone", "Consumption", "gpt-4o", "laptop", "$0.000024", "2.4 s", "Stream", "prompt replaced"):
        assert part in told, part
    assert "someone" not in seen(mine, "/admin/log/?type=2")


def test_logs_are_found_by_every_filter_of_the_reference(site: Site) -> None:
    administrator = site.logged_in(ADMIN)
    row = {"created_at": NOW, "type": 2, "username": "u1", "channel_id": 5, "model_name": "m1", "token_name": "t1"}
    add(site, Log, {**row, "user_id": administrator.id, "request_id": "r1", "content": "the one"})
    both = ("token=t1", "model=m1", f"start={NOW}", f"end={NOW}", "channel=5", "username=u1", "type=2", "request_id=r1")
    for query in both:
        assert "the one" in page(administrator, f"/admin/log/?{query}"), query
    for query in ("token=t", "model=m", f"start={NOW + 1}", f"end={NOW - 1}", "channel=6", "username=u", "type=5"):
        assert "the one" not in page(administrator, f"/admin/log/?{query}"), query


# ---- models and the system ----


def test_models_cost_what_ones_group_pays(site: Site) -> None:
    prices = {"ModelRatio": '{"gpt-4o":1.25}', "CompletionRatio": '{"gpt-4o":4}'}
    site.set_options(GroupRatio='{"default":1,"half":0.5}', **prices)
    fields = ChannelFields(type=1, name="a", key="k", models="gpt-4o,mystery", group="default,half")
    channels.create_many(site.engine, SYSTEM, fields, now=NOW)
    site.program.snapshots.refresh()
    assert "$1.25" in seen(site.logged_in(group="half"), "/admin/model/")
    told = seen(site.logged_in(ADMIN), "/admin/model/?group=default")
    assert "$2.5" in told and "$10" in told
    assert "default price" in told
    assert "gpt-4o" in seen(site.logged_in(COMMON), "/admin/model/?group=half")


def test_the_system_page_tells_what_rests_what_is_off_and_who_runs_the_jobs(site: Site) -> None:
    resting = channel(site, name="resting")
    channel(site, name="off", status=3, status_reason="HTTP 401: gone", status_time=NOW)
    rest = Change(resting, "gpt-4o", reason="HTTP 500: broken", failures=1, until=4_000_000_000)
    channels.write_health(site.engine, rest, now=NOW)
    add(site, Lease, {"name": "leader", "holder": "node-1:7", "expires_at": 4_000_000_000})
    told = seen(site.logged_in(ADMIN), "/admin/system/")
    for part in ("resting gpt-4o", "HTTP 500: broken", "HTTP 401: gone", "node-1:7", f"Version {__version__}"):
        assert part in told, part


def test_a_shop_that_is_not_named_is_said_to_be_missing(site: Site) -> None:
    assert "named no shop" in seen(site.logged_in(), "/admin/topup/")


def test_ones_account_shows_what_is_bound(site: Site) -> None:
    site.set_options(GitHubOAuthEnabled="true", GitHubClientId="app", WeChatAuthEnabled="true")
    told = seen(site.logged_in(github_id="octocat", email="a@b.example"), "/admin/account/")
    assert "a@b.example" in told
    assert "octocat" in told
    assert "WeChat not bound" in told
