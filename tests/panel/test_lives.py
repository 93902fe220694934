"""Two lives from their first day, in a real browser against the program on MariaDB: an operator's and a user's.

What befalls them on the way is tried piece by piece, on SQLite, by the other tests of this folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.gateway import ROOT_PASSWORD, Gateway
from tests.panel.conftest import USER_PASSWORD, OpenPage, Watch, log_in
from tests.panel.test_operator import choose
from tests.postoffice import PostOffice, post_office
from tests.servers import MariaDB
from tests.street.console import UNLIMITED, Console
from tests.street.obliging import Obliging

pytestmark = pytest.mark.browser

NEW_PASSWORD = "a better one"
MODEL = "gpt-4o-mini"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Obliging]:
    with Obliging() as running:
        yield running


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as running:
        yield running


@pytest.fixture
def young(mariadb: MariaDB, tmp_path_factory: pytest.TempPathFactory, watch: Watch) -> Iterator[Console]:
    """A program on MariaDB that nobody has used yet."""
    environ = {**UNLIMITED, "SQL_DSN": mariadb.fresh().dsn}
    with Gateway(tmp_path_factory.mktemp("young"), environ) as gateway, Console(gateway) as console:
        watch.serve(console.url)
        yield console


def chat(page: Page, text: str) -> None:
    """Asks in the playground, and waits until the answer's cost is told."""
    page.goto(f"/admin/playground/?model={MODEL}")
    page.get_by_label("Message").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator(".bubble-assistant .bubble-text")).to_have_text("Quite so.")
    expect(page.locator(".bubble-cost")).to_contain_text("$0.00")


def test_an_operators_first_day(open_page: OpenPage, young: Console, upstream: Obliging) -> None:
    page = log_in(open_page(base_url=young.url), password=ROOT_PASSWORD)
    page.fill("[name=password]", NEW_PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    page.wait_for_url("**/admin/")

    # Three steps to the first call: a channel, a token, the call.
    steps = page.locator(".first-steps")
    steps.get_by_role("link", name="Add a channel").click()
    page.fill("[name=name]", "Ours")
    page.fill("[name=key]", "sk-upstream")
    page.fill("[name=base_url]", upstream.url)
    page.locator("#field-models-ts-control").fill(MODEL)
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.click("form [type=submit]")
    page.wait_for_url("**/admin/channel/")
    ours = page.locator('tr[data-name="Ours"]')
    ours.get_by_role("button", name="Test", exact=True).click()
    expect(ours.locator("[data-cell=test]")).to_contain_text("just now")
    page.goto("/admin/token/add")
    page.fill("[name=name]", "first")
    page.get_by_role("button", name="$5", exact=True).click()
    page.click("form [type=submit]")
    expect(page.locator("#use-key")).to_have_value(re.compile("^sk-"))
    chat(page, "Hello")
    page.goto("/admin/")
    expect(page.locator("#figure-requests")).to_have_text("1")
    expect(steps).to_have_count(0)
    page.goto("/admin/log/?type=2")
    page.locator("[data-receipt-of]").click()
    expect(page.locator("#receipt")).to_contain_text("7 in, 3 out")
    expect(page.locator("#receipt")).to_contain_text("Ours #1")

    # A user with a group and a quota, and a code that he redeems.
    page.goto("/admin/user/add")
    page.fill("[name=username]", "first-user")
    page.fill("[name=password]", USER_PASSWORD)
    page.click("form [type=submit]")
    page.wait_for_url("**/admin/user/edit/*")
    choose(page, "group", "vip")
    page.fill("[name=quota]", "2")
    page.click("form [type=submit]")
    page.wait_for_url("**/admin/user/")
    expect(page.locator('tr[data-name="first-user"]')).to_contain_text("vip")
    page.goto("/admin/redemption/add")
    page.fill("[name=name]", "gift")
    page.fill("[name=quota]", "3")
    page.click("form [type=submit]")
    expect(page.locator("[data-made]")).to_have_value(re.compile(r"\S"))
    code = page.locator("[data-made]").input_value()
    theirs = log_in(open_page(base_url=young.url), "first-user", USER_PASSWORD)
    theirs.goto("/admin/topup/")
    theirs.get_by_label("Code").fill(code)
    theirs.get_by_role("button", name="Redeem").click()
    expect(theirs.locator(".figure-value").first).to_have_text("$5.00")
    page.goto("/admin/redemption/")
    expect(page.locator("tbody tr")).to_contain_text("Used")

    # A setting, the language, the theme.
    page.goto("/admin/setting/other")
    page.fill("[name=SystemName]", "Our Gateway")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_role("button", name="Language").last.click()
    page.get_by_text("简体中文").last.click()
    expect(page.locator("h1")).to_have_text("设置")
    expect(page.locator(".navbar-brand")).to_have_text("Our Gateway")
    page.get_by_role("button", name="主题").last.click()
    page.get_by_text("深色").last.click()
    page.goto("/admin/group/")
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"


def test_a_users_first_day(open_page: OpenPage, young: Console, upstream: Obliging, office: PostOffice) -> None:
    young.call("POST", "/api/channel/", {
        "type": 1, "name": "Ours", "key": "sk-up", "base_url": upstream.url, "models": MODEL, "group": "default"
    })  # fmt: skip
    options = {"EmailVerificationEnabled": "true", "QuotaForInvitee": "500000", "ServerAddress": young.url}
    for name, value in office.options(**options).items():
        young.option(name, value)
    (code,) = young.call("POST", "/api/redemption/", {"name": "gift", "quota": 1_000_000, "count": 1})
    aff = young.call("GET", "/api/user/aff")

    page = open_page(base_url=young.url)
    page.goto(f"/register?aff={aff}")
    page.fill("[name=username]", "newcomer")
    page.fill("[name=password]", USER_PASSWORD)
    page.fill("[name=again]", USER_PASSWORD)
    page.fill("[name=email]", "newcomer@example.org")
    page.get_by_role("button", name="Send the code").click()
    (letter,) = office.wait_for(1, seconds=20)
    mailed = re.search(r"^([0-9A-Za-z]{6})$", letter.text, re.MULTILINE)
    assert mailed is not None, letter.text
    page.fill("[name=verification_code]", mailed[1])
    page.get_by_role("button", name="Register").click()
    page.wait_for_url("**/login")
    log_in(page, "newcomer@example.org", USER_PASSWORD)
    expect(page.locator(".figure-value").first).to_have_text("$1.00")

    page.goto("/admin/token/add")
    page.fill("[name=name]", "phone")
    page.click("form [type=submit]")
    expect(page.locator("#use-key")).to_have_value(re.compile("^sk-"))
    page.goto("/admin/topup/")
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Redeem").click()
    expect(page.locator(".figure-value").first).to_have_text("$3.00")
    young.wait_until_known(MODEL)
    chat(page, "Hello")
    page.goto("/admin/log/")
    for kind in ("Consumption", "Top-up", "System"):
        expect(page.locator("tbody .badge", has_text=kind).first).to_be_visible()
    page.goto("/admin/account/")
    page.get_by_label("Display name").fill("Alice")
    page.locator("form[action$=profile] [type=submit]").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.locator("#invite")).to_have_value(re.compile(rf"^{re.escape(young.url)}/register\?aff=\w+$"))
