"""What lists and pages do when somebody clicks, in a real browser: every button that the reference's pages have."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.panel.conftest import USER_PASSWORD, OpenPage, log_in, row
from tests.panel.provider import Provider
from tests.panel.test_operator import call
from tests.street.console import Console

pytestmark = pytest.mark.browser


def choose(page: Page, name: str, item: str) -> None:
    """Takes an entry of the menu at a row's end."""
    page.wait_for_load_state()  # before, a page that was reloaded does not listen yet
    row(page, name).get_by_role("button", name=re.compile("^Actions for")).click()
    row(page, name).locator(".dropdown-menu.show").get_by_text(item, exact=True).click()


def agree(page: Page, told: str) -> None:
    expect(page.locator("#confirm")).to_contain_text(told)
    page.locator("#confirm [value=yes]").click()


def follow_progress(page: Page, summary: str) -> None:
    expect(page.locator("[data-summary]")).to_have_text(summary)
    page.locator("#progress .dialog-footer [data-stop]").click()


def clipboard(page: Page) -> str:
    expect(page.get_by_text("Copied.").last).to_be_visible()
    copied: str = page.evaluate("navigator.clipboard.readText()")
    return copied


def test_channels_are_tested_one_with_a_model_those_selected_and_all_that_are_listed(
    root: Page, panel: Console, upstream: Provider
) -> None:
    upstream.refused.add("sk-bad")
    for name, key in (("tried one", "sk-good"), ("tried two", "sk-bad")):
        panel.channel(upstream.url, name=name, key=key, models="tried-model,tried-second")
    root.goto("/admin/channel/?search=tried")
    row(root, "tried one").get_by_role("button", name="Test", exact=True).click()
    expect(root.get_by_text(re.compile(r"^tried one: .*\d s$"))).to_be_visible()
    expect(row(root, "tried one").locator("[data-cell=test]")).to_contain_text("just now")
    choose(root, "tried one", "Test with a model…")
    root.select_option("#test-model-choice", "tried-second")
    root.locator("[data-test-model] .btn-primary").click()
    expect(root.get_by_text(re.compile("^tried one: tried-second · "))).to_be_visible()
    root.get_by_label("Select all rows").check()
    root.click("[data-bulk=test]")
    expect(root.locator("[data-results] li", has_text="tried two")).to_contain_text("Incorrect API key provided")
    follow_progress(root, "2 of 2 done, 1 failed")
    expect(row(root, "tried two").locator("[data-cell=test]")).to_contain_text("failed")
    root.get_by_role("button", name="All channels").click()
    root.get_by_text("Test all that are listed").click()
    follow_progress(root, "2 of 2 done, 1 failed")
    root.goto("/admin/log/?type=5&model=tried-second")
    expect(root.locator("tbody tr").first).to_contain_text("tried-second")


def test_channels_are_copied_switched_and_the_disabled_ones_deleted(root: Page, panel: Console) -> None:
    panel.channel("http://127.0.0.1:9", name="spare", models="spare-model")
    root.goto("/admin/channel/?search=spare")
    choose(root, "spare", "Copy")
    root.wait_for_url("**/admin/channel/edit/**")
    expect(root.locator("[name=name]")).to_have_value("spare (copy)")
    root.goto("/admin/channel/?search=spare")
    choose(root, "spare", "Disable")
    expect(row(root, "spare").locator(".status")).to_have_text("Disabled")
    choose(root, "spare", "Enable")
    expect(row(root, "spare").locator(".status")).to_have_text("Enabled")
    root.get_by_role("button", name="All channels").click()
    root.get_by_text("Delete all that are disabled").click()
    agree(root, "spare (copy)")
    follow_progress(root, "1 of 1 done, 0 failed")
    expect(root.locator("tbody tr")).to_have_count(1)
    choose(root, "spare", "Delete")
    agree(root, "Delete the channel “spare”? This cannot be undone.")
    expect(root.get_by_text("Nothing fits")).to_be_visible()


def test_a_balance_is_asked_for_in_the_list(root: Page, panel: Console, upstream: Provider) -> None:
    panel.channel(upstream.url, name="with money", type=4, models="money-model")
    root.goto("/admin/channel/?search=with+money")
    button = row(root, "with money").locator("[data-row=balance]")
    expect(button).to_have_text("ask")
    button.click()
    expect(button).to_have_text("12.50")


def test_models_are_filled_in_fetched_pasted_and_cleared(root: Page, upstream: Provider) -> None:
    upstream.models = ("of-the-provider", "another-one")
    root.goto("/admin/channel/add")
    count = root.locator("[data-model-count]")
    root.click("[data-fill]")
    expect(count).to_have_text(re.compile(r"^\d\d+ chosen\.$"))
    root.click("[data-clear]")
    expect(count).to_have_text("0 chosen.")
    root.fill("[name=key]", "sk-one\nsk-two\nsk-three")
    root.fill("[name=base_url]", upstream.url)
    root.click("[data-fetch]")
    offered = root.locator("#offered")
    expect(offered.locator("label")).to_have_count(2)
    assert upstream.keys == ["sk-one"]
    offered.get_by_text("another-one").click()
    offered.get_by_role("button", name="Take these").click()
    expect(count).to_have_text("1 chosen.")
    root.evaluate("navigator.clipboard.writeText('pasted-one, pasted-two，pasted-three')")
    root.locator("#field-models-ts-control").focus()
    root.keyboard.press("ControlOrMeta+V")
    expect(count).to_have_text("4 chosen.")
    root.keyboard.press("Escape")
    root.fill("[name=name]", "thrice")
    root.click("form [type=submit]")
    expect(root.get_by_text("3 channels were added.")).to_be_visible()
    root.goto("/admin/channel/?model=pasted-two")
    expect(root.locator("tbody tr")).to_have_count(3)


def test_tokens_are_copied_switched_edited_and_deleted(open_page: OpenPage, panel: Console) -> None:
    user = panel.user()
    key = panel.token(user, name="first")
    panel.token(user, name="second")
    page = log_in(open_page(), user.username, USER_PASSWORD)
    page.goto("/admin/token/")
    row(page, "first").get_by_role("button", name="Copy key").click()
    assert clipboard(page) == key
    choose(page, "first", "Disable")
    expect(row(page, "first").locator(".status")).to_have_text("Disabled")
    choose(page, "first", "Enable")
    expect(row(page, "first").locator(".status")).to_have_text("Enabled")
    choose(page, "first", "Edit")
    page.fill("[name=name]", "renamed")
    page.click("form [type=submit]")
    expect(row(page, "renamed")).to_be_visible()
    choose(page, "renamed", "Delete")
    agree(page, "Delete the token “renamed”? This cannot be undone.")
    expect(row(page, "renamed")).to_have_count(0)
    page.get_by_label("Search names").fill("nothing")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing fits")).to_be_visible()


def test_users_are_promoted_demoted_switched_and_deleted(root: Page, panel: Console) -> None:
    name = panel.user().username
    root.goto(f"/admin/user/?search={name}")
    choose(root, name, "Make administrator")
    agree(root, f"Make {name} an administrator?")
    expect(row(root, name)).to_contain_text("Administrator")
    choose(root, name, "Make common user")
    expect(row(root, name)).not_to_contain_text("Administrator")
    choose(root, name, "Disable")
    expect(row(root, name).locator(".status")).to_have_text("Disabled")
    choose(root, name, "Enable")
    expect(row(root, name).locator(".status")).to_have_text("Enabled")
    choose(root, name, "Delete")
    agree(root, f"Delete the user “{name}”? This cannot be undone.")
    expect(root.get_by_text("Nothing fits")).to_be_visible()


def test_codes_are_copied_switched_edited_and_deleted(root: Page, panel: Console) -> None:
    (code,) = panel.call("POST", "/api/redemption/", {"name": "one of a kind", "quota": 500_000, "count": 1})
    root.goto("/admin/redemption/?search=one+of+a+kind")
    (name,) = root.locator("tbody tr").evaluate_all("rows => rows.map((row) => row.dataset.name)")
    row(root, name).get_by_role("button", name="Copy code").click()
    assert clipboard(root) == code
    choose(root, name, "Disable")
    expect(row(root, name).locator(".status")).to_have_text("Disabled")
    choose(root, name, "Enable")
    expect(row(root, name).locator(".status")).to_have_text("Unused")
    choose(root, name, "Edit")
    root.fill("[name=quota]", "7")
    root.click("form [type=submit]")
    root.wait_for_url("**/admin/redemption/")
    root.goto("/admin/redemption/?search=one+of+a+kind")
    expect(row(root, name)).to_contain_text("$7.00")
    choose(root, name, "Delete")
    agree(root, f"Delete the code “{name}”? This cannot be undone.")
    expect(root.get_by_text("Nothing fits")).to_be_visible()


def test_logs_are_filtered_copied_from_and_old_ones_cleared(root: Page, panel: Console, upstream: Provider) -> None:
    panel.channel(upstream.url, name="for the log", models="logged-model")
    panel.wait_until_known("logged-model")
    request_id = call(panel, "logged-model").headers["X-Oneapi-Request-Id"]
    root.goto("/admin/log/")
    root.get_by_label("Model", exact=True).fill("logged-model")
    root.get_by_role("button", name="Apply").click()
    root.wait_for_url("**/admin/log/?**")
    assert parse_qs(urlsplit(root.url).query) == {"model": ["logged-model"]}
    expect(root.locator("tbody tr")).to_have_count(1)
    root.locator("[data-receipt-of]").click()
    root.locator("#receipt [data-copy]").first.click()
    assert clipboard(root) == request_id
    root.keyboard.press("Escape")
    root.click("[data-prune]")
    root.fill("#prune-before", "2001-01-01T00:00")
    root.locator("[data-prune-form] .btn-danger").click()
    agree(root, "Delete all logs of requests and tests")
    expect(root.get_by_text("0 rows were deleted.")).to_be_visible()
    expect(root.locator("tbody tr")).to_have_count(1)


def test_the_dashboard_is_split_by_what_is_chosen(root: Page, panel: Console, upstream: Provider) -> None:
    panel.channel(upstream.url, name="on the board", models="board-model")
    panel.wait_until_known("board-model")
    assert call(panel, "board-model").status_code == 200
    root.goto("/admin/")
    parts = root.locator("#parts")
    expect(parts).to_contain_text("board-model")
    root.select_option("#by", "channel")
    expect(parts).to_contain_text("on the board")
    root.select_option("#by", "user")
    expect(parts).to_contain_text("root")
    root.select_option("#by", "token")
    expect(parts).to_contain_text("Initial Root Token")
    root.select_option("#metric", "requests")
    expect(root.locator("#usage svg")).to_be_visible()
    root.get_by_role("button", name="24 hours").click()
    expect(root.get_by_role("button", name="24 hours")).to_have_attribute("aria-pressed", "true")
    expect(parts).to_contain_text("Initial Root Token")
    root.select_option("#scope", "own")
    expect(root.locator("#by option[value=channel]")).to_be_disabled()
    expect(parts).to_contain_text("Initial Root Token")


def test_models_are_found_as_one_types_and_lead_to_who_serves_them(
    root: Page, panel: Console, upstream: Provider
) -> None:
    panel.channel(upstream.url, name="of the list", models="found-model,found-other")
    panel.wait_until_known("found-other")
    root.goto("/admin/model/")
    root.get_by_label("Search models").fill("found-m")
    expect(root.locator("[data-found]")).to_have_text("1 models")
    shown = root.locator('tr[data-model="found-model"]')
    shown.locator("[data-copy]").click()
    assert clipboard(root) == "found-model"
    shown.get_by_role("link").last.click()
    root.wait_for_url("**/admin/channel/serving*")
    expect(root.locator("tbody tr", has_text="of the list")).to_contain_text("Serves")


def test_an_invitation_link_is_copied_and_somebody_logs_out(open_page: OpenPage, panel: Console) -> None:
    user = panel.user()
    page = log_in(open_page(), user.username, USER_PASSWORD)
    page.goto("/admin/account/")
    page.click("#copy-invite")
    assert re.fullmatch(rf"{panel.url}/register\?aff=\w+", clipboard(page))
    page.get_by_role("button", name="Account menu").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{panel.url}/")
    page.goto("/admin/")
    expect(page).to_have_url(f"{panel.url}/login?next=/admin/")
