"""What befalls an operator, as the panel tells it: limits reached, keys refused, channels that fail and come back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.panel.conftest import USER_PASSWORD, OpenPage, log_in, option, row
from tests.panel.provider import Provider
from tests.panel.test_operator import call
from tests.street.console import ROOT_KEY, Console

pytestmark = pytest.mark.browser


def test_a_limit_that_is_reached_is_told_to_the_caller_and_stands_in_the_log(
    root: Page, panel: Console, upstream: Provider
) -> None:
    panel.channel(upstream.url, name="for the limited", models="limited-model")
    panel.wait_until_known("limited-model")
    root.goto("/admin/token/add")
    root.fill("[name=name]", "narrow")
    root.check("[name=unlimited_quota]")
    root.fill("[name=requests_per_minute]", "1")
    root.fill("[name=budget_quota]", "5")
    root.select_option("[name=budget_period]", "week")
    root.click("form [type=submit]")
    key = root.locator("#use-key")
    expect(key).to_have_value(re.compile("^sk-"))
    # Of three in a row one comes too soon, even where a minute ends between them.
    answers = [call(panel, "limited-model", key.input_value()) for _ in range(3)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert answers[0].status_code == 200
    assert "The token narrow has reached a limit: 1 of 1 requests per minute are used" in refused.text
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    root.goto("/admin/token/?search=narrow")
    expect(row(root, "narrow")).to_contain_text("Requests a minute: 1")
    expect(row(root, "narrow")).to_contain_text("$5.00 a week")
    root.locator('tr[data-name="narrow"] .row-name').click()
    expect(root.locator("[data-spent]")).to_contain_text(re.compile(r"^\$0\.\d*[1-9]\d* / \$5\.00$"))
    root.goto("/admin/log/?token=narrow&type=6")
    expect(root.locator("tbody tr").first).to_contain_text("429: The token narrow has reached a limit")


def test_a_groups_limits_are_set_changed_and_taken_away(root: Page) -> None:
    root.goto("/admin/group/")
    opener = root.locator("[data-limits=svip]")
    dialog = root.locator("#group-limits")
    opener.click()
    expect(dialog).to_contain_text("svip")
    dialog.locator("[name=concurrency]").fill("4")
    dialog.locator("[type=submit]").click()
    expect(root.get_by_text("Calls at once: 4")).to_be_visible()
    opener.click()
    expect(dialog.locator("[name=concurrency]")).to_have_value("4")
    dialog.locator("[name=concurrency]").fill("")
    dialog.locator("[type=submit]").click()
    expect(root.get_by_text("Calls at once: 4")).to_have_count(0)


def test_a_channel_whose_key_is_refused_is_disabled_with_its_reason_and_comes_back_when_it_passes_its_test(
    root: Page, panel: Console, upstream: Provider
) -> None:
    channel_id = panel.channel(upstream.url, name="fallible", key="sk-spent", models="fallible-model")
    panel.wait_until_known("fallible-model")
    with option(panel, AutomaticDisableChannelEnabled="true", AutomaticEnableChannelEnabled="true"):
        upstream.refused.add("sk-spent")
        assert call(panel, "fallible-model").status_code == 502
        root.goto("/admin/channel/?search=fallible")
        expect(row(root, "fallible")).to_contain_text("Disabled automatically")
        expect(row(root, "fallible")).to_contain_text("HTTP 401: Incorrect API key provided")
        root.goto("/admin/system/")
        expect(root.get_by_text("HTTP 401: Incorrect API key provided").first).to_be_visible()
        panel.wait_until(lambda: "fallible-model" not in panel.models(ROOT_KEY))
        root.goto("/admin/channel/serving?model=fallible-model")
        expect(root.get_by_text("Nobody serves it")).to_be_visible()
        expect(root.get_by_text("HTTP 401: Incorrect API key provided")).to_be_visible()
        upstream.refused.clear()
        panel.call("GET", "/api/channel/test?scope=disabled")
        panel.wait_until(lambda: panel.call("GET", f"/api/channel/{channel_id}")["status"] == 1)
    root.goto("/admin/channel/?search=fallible")
    expect(row(root, "fallible")).to_contain_text("Enabled")
    panel.wait_until_known("fallible-model")
    assert call(panel, "fallible-model").status_code == 200


def test_a_channel_that_fails_rests_until_a_time_that_is_told(root: Page, panel: Console, upstream: Provider) -> None:
    panel.channel(upstream.url, name="breaking", models="breaking-model")
    panel.wait_until_known("breaking-model")
    upstream.status = 500
    for _ in range(5):
        assert call(panel, "breaking-model").status_code == 500
    root.goto("/admin/channel/?search=breaking")
    expect(row(root, "breaking")).to_contain_text("breaking-model rests; next try")
    root.goto("/admin/channel/serving?model=breaking-model")
    expect(root.get_by_text("HTTP 500: out of order", exact=False).first).to_be_visible()


def test_keys_of_a_pool_rest_are_disabled_and_removed(root: Page, panel: Console, upstream: Provider) -> None:
    keys = [f"sk-pool-{name}-0123456789" for name in ("one", "two", "three")]
    endings = [key[-4:] for key in keys]
    assert len(set(endings)) == 1  # so that only the mark tells them apart
    root.goto("/admin/channel/add")
    root.fill("[name=name]", "pooled")
    root.fill("[name=key]", "\n".join(keys))
    root.check("[name=pools_keys]")
    root.fill("[name=base_url]", upstream.url)
    root.locator("#field-models-ts-control").fill("pooled-model")
    root.locator("#field-models-ts-control").press("Enter")
    root.keyboard.press("Escape")
    root.click("form [type=submit]")
    root.wait_for_url("**/admin/channel/")
    panel.wait_until_known("pooled-model")
    upstream.refused.add(keys[1])
    for _ in range(100):  # each call draws a key
        assert call(panel, "pooled-model").status_code == 200
        if keys[1] in upstream.keys:
            break
    root.goto("/admin/channel/?search=pooled")
    expect(row(root, "pooled")).to_contain_text("rests; next try")
    root.locator('tr[data-name="pooled"] .row-name').click()
    lines = root.locator("[data-pool] tbody tr")
    expect(lines).to_have_count(3)
    expect(lines.nth(1)).to_contain_text("At rest")
    expect(lines.nth(1)).to_contain_text("HTTP 401: Incorrect API key provided")
    expect(lines.nth(0)).to_contain_text("In use")
    assert not any(key in root.content() for key in keys)
    lines.nth(1).locator("[name$=disabled]").check()
    lines.nth(2).locator("[name$=removed]").check()
    lines.nth(0).locator("[name$=weight]").fill("5")
    root.click("form [type=submit]")
    root.wait_for_url("**/admin/channel/")
    root.goto("/admin/channel/?search=pooled")
    root.locator('tr[data-name="pooled"] .row-name').click()
    expect(lines).to_have_count(2)
    expect(lines.nth(0).locator("[name$=weight]")).to_have_value("5")
    expect(lines.nth(1)).to_contain_text("Disabled")


def test_codes_are_made_exported_and_redeemed_by_a_user(root: Page, open_page: OpenPage, panel: Console) -> None:
    root.goto("/admin/redemption/add")
    root.fill("[name=name]", "summer")
    root.fill("[name=quota]", "3")
    root.fill("[name=count]", "2")
    root.click("form [type=submit]")
    expect(root.locator("[data-made]")).to_have_value(re.compile(r"\S+\n\S+"))
    root.goto("/admin/redemption/?name=summer")
    with root.expect_download() as download:
        root.get_by_role("link", name="Export unused codes").click()
    codes = download.value.path().read_text().split()
    assert len(codes) == 2
    user = panel.user(quota=0)
    page = log_in(open_page(), user.username, USER_PASSWORD)
    page.goto("/admin/topup/")
    page.evaluate("text => navigator.clipboard.writeText(text)", f" {codes[0]}\n")
    page.get_by_role("button", name="Paste").click()
    expect(page.get_by_label("Code")).to_have_value(codes[0])
    page.get_by_role("button", name="Redeem").click()
    expect(page.get_by_text("$3.00 were added to your balance.")).to_be_visible()
    page.goto("/admin/log/?type=1")
    expect(page.locator("tbody tr").first).to_contain_text("$3.00")
    root.reload()
    expect(root.locator("tbody .status", has_text=re.compile("^Used$"))).to_have_count(1)
    expect(root.locator("tbody tr", has_text=f"user {user.id}")).to_have_count(1)
    with root.expect_download() as download:
        root.get_by_role("link", name="Export unused codes").click()
    assert download.value.path().read_text().split() == codes[1:]
