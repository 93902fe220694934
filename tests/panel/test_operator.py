"""An operator's life in the panel, in a real browser against the running program and an obliging provider."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.panel.conftest import OpenPage
from tests.street.console import ROOT_KEY, Console
from tests.street.obliging import Obliging

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def provider() -> Iterator[Obliging]:
    with Obliging() as running:
        yield running


def choose(page: Page, field: str, text: str) -> None:
    """Chooses in a searchable select."""
    page.locator(f"#field-{field} + .ts-wrapper .ts-control").click()
    page.keyboard.type(text)
    page.locator(f"#field-{field}-ts-dropdown .option", has_text=re.compile(rf"^{re.escape(text)}$")).click()


def call(panel: Console, model: str, key: str = ROOT_KEY) -> requests.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"Authorization": f"Bearer {key}"}
    return requests.post(f"{panel.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def test_a_channel_is_added_with_a_mapping_and_serves(root: Page, panel: Console, provider: Obliging) -> None:
    root.goto("/admin/channel/add")
    root.fill("[name=name]", "From the form")
    root.fill("[name=key]", "sk-of-the-form")
    root.fill("[name=base_url]", provider.url)
    box = root.locator("#field-models-ts-control")
    for model in ("alias-of-mine", "gpt-4o-mini"):
        box.fill(model)
        box.press("Enter")
    root.keyboard.press("Escape")
    root.click("[data-mapping-add]")
    root.get_by_label("Asked for", exact=True).fill("alias-of-mine")
    root.get_by_label("Asked of the provider", exact=True).fill("gpt-4o-mini")
    root.click("form [type=submit]")
    root.wait_for_url("**/admin/channel/")
    expect(root.get_by_text("Channel added.")).to_be_visible()
    panel.wait_until_known("alias-of-mine")
    assert call(panel, "alias-of-mine").status_code == 200
    path, headers, body = provider.received[-1]
    sent = {name.lower(): value for name, value in headers.items()}
    assert (path, sent["authorization"]) == ("/v1/chat/completions", "Bearer sk-of-the-form")
    assert json.loads(body)["model"] == "gpt-4o-mini"


def test_fields_follow_the_type(root: Page) -> None:
    root.goto("/admin/channel/add")
    expect(root.locator("[name=config-33-region]")).to_be_hidden()
    choose(root, "type", "AWS Bedrock")
    expect(root.locator("[name=config-33-region]")).to_be_visible()
    choose(root, "type", "Azure OpenAI")
    expect(root.locator("[name=config-33-region]")).to_be_hidden()
    expect(root.locator("[name=config-3-api_version]")).to_be_visible()
    expect(root.locator("[data-note]")).to_contain_text("openai.azure.com")
    choose(root, "type", "Proxy (raw pass-through)")
    expect(root.locator("[data-models-card]")).to_be_hidden()


def test_a_fault_stands_beside_its_field(root: Page) -> None:
    root.goto("/admin/channel/add")
    root.fill("[name=name]", "without a key")
    root.click("form [type=submit]")
    expect(root.locator("[data-error=key]")).to_have_text("A channel needs a key")
    expect(root.locator("[name=key]")).to_be_focused()
    root.click("[data-mapping-json]")
    root.fill("[name=model_mapping]", '{"a": 1}')
    expect(root.locator("[data-mapping-error]")).to_contain_text("an object of texts")


def test_priority_is_edited_in_the_list(root: Page, panel: Console, provider: Obliging) -> None:
    channel_id = panel.channel(provider.url, name="inline", models="inline-model")
    root.goto("/admin/channel/?search=inline")
    field = root.get_by_label("Priority of inline")
    field.fill("42")
    field.press("Enter")
    expect(root.get_by_text(re.compile("^Saved"))).to_be_visible()
    with panel.books() as books:
        assert books.execute("SELECT priority FROM channels WHERE id = ?", (channel_id,)).fetchone()[0] == 42


def test_selected_channels_are_switched_off_and_deleted_when_confirmed(root: Page, panel: Console) -> None:
    for name in ("bulk one", "bulk two"):
        panel.channel("http://127.0.0.1:9", name=name, models="bulk-model")
    root.goto("/admin/channel/?search=bulk")
    root.get_by_label("Select all rows").check()
    expect(root.locator("[data-bulk-count]")).to_have_text("2")
    root.click("[data-bulk=disable]")
    expect(root.locator("[data-summary]")).to_have_text("2 of 2 done, 0 failed")
    root.locator("#progress .dialog-footer [data-stop]").click()
    root.wait_for_load_state()
    expect(root.locator("tbody .status").first).to_have_text("Disabled")
    root.get_by_label("Select all rows").check()
    root.click("[data-bulk=delete]")
    expect(root.locator("#confirm")).to_contain_text("bulk one")
    root.locator("#confirm [value=no]").click()
    expect(root.locator("tbody tr")).to_have_count(2)
    root.click("[data-bulk=delete]")
    root.locator("#confirm [value=yes]").click()
    expect(root.locator("[data-summary]")).to_have_text("2 of 2 done, 0 failed")
    root.locator("#progress .dialog-footer [data-stop]").click()
    expect(root.get_by_text("Nothing fits")).to_be_visible()


def test_a_token_is_made_copied_and_used(root: Page, panel: Console, provider: Obliging) -> None:
    panel.channel(provider.url, name="for tokens", models="gpt-4o-mini")
    panel.wait_until_known("gpt-4o-mini")
    root.goto("/admin/token/add")
    root.fill("[name=name]", "laptop")
    root.get_by_role("button", name="$20").click()
    root.get_by_role("button", name="1 month").click()
    root.click("form [type=submit]")
    dialog = root.locator("#use")
    expect(dialog).to_be_visible()
    key = root.locator("#use-key").input_value()
    assert re.fullmatch(r"sk-[0-9A-Za-z]{48}", key)
    assert key not in dialog.locator("[data-snippet-text]").inner_text()
    root.get_by_role("tab", name="Python").click()
    root.locator("[data-snippet-copy]").click()
    expect(root.get_by_text("Copied.")).to_be_visible()
    copied = root.evaluate("navigator.clipboard.readText()")
    assert key in copied
    assert f'base_url="{panel.url}/v1"' in copied
    links = [link.get_attribute("href") or "" for link in dialog.locator("[data-use-links] a").all()]
    assert [link.partition(":")[0] for link in links] == ["https", "ama", "opencat", "https"]
    assert all(key in link for link in links)
    assert call(panel, "gpt-4o-mini", key).status_code == 200


def test_a_call_has_a_receipt(root: Page, panel: Console, provider: Obliging) -> None:
    panel.channel(provider.url, name="for receipts", models="gpt-4o")
    panel.wait_until_known("gpt-4o")
    call(panel, "gpt-4o")
    root.goto("/admin/log/?model=gpt-4o&type=2")
    root.locator("[data-receipt-of]").first.click()
    dialog = root.locator("#receipt")
    expect(dialog).to_contain_text("7 in, 3 out")
    expect(dialog).to_contain_text("How the price came about")
    expect(dialog).to_contain_text("for receipts")
    root.keyboard.press("Escape")
    root.click("[data-sum]")
    expect(root.locator("[data-sum] + strong")).to_contain_text("$")


def test_a_user_is_added_given_a_group_and_topped_up(root: Page, panel: Console) -> None:
    root.goto("/admin/user/add")
    root.fill("[name=username]", "newcomer")
    root.fill("[name=password]", "correct horse")
    root.click("form [type=submit]")
    root.wait_for_url("**/admin/user/edit/*")
    choose(root, "group", "vip")
    root.click("form [type=submit]")
    root.wait_for_url("**/admin/user/")
    row = root.locator("tr", has_text="newcomer")
    expect(row).to_contain_text("vip")
    row.get_by_role("button", name="Top up").click()
    root.locator("#top-up [name=quota]").fill("12.5")
    root.locator("#top-up [type=submit]").click()
    expect(root.locator("tr", has_text="newcomer")).to_contain_text("$12.50")


def test_codes_are_made_shown_and_downloaded(root: Page) -> None:
    root.goto("/admin/redemption/add")
    root.fill("[name=name]", "spring")
    root.fill("[name=count]", "3")
    root.click("form [type=submit]")
    expect(root.locator("[data-made]")).to_have_value(re.compile(r"\S+\n\S+\n\S+"))
    codes = root.locator("[data-made]").input_value().split()
    assert len(codes) == 3
    with root.expect_download() as download:
        root.click("[data-made-file]")
    assert download.value.suggested_filename == "spring.txt"
    assert download.value.path().read_text().split() == codes


def test_settings_tell_faults_and_save_what_was_touched(root: Page) -> None:
    root.goto("/admin/setting/operation")
    save = root.get_by_role("button", name="Save")
    expect(save).to_be_disabled()
    root.fill("[name=RetryTimes]", "many")
    save.click()
    expect(root.locator("[data-error=RetryTimes]")).to_contain_text("whole number")
    root.fill("[name=RetryTimes]", "4")
    save.click()
    expect(root.get_by_text("Saved.")).to_be_visible()
    expect(root.locator("[name=RetryTimes]")).to_have_value("4")
    root.fill("[name=GroupRatio]", '{"default": "x"}')
    expect(root.locator("[data-error=GroupRatio]")).to_contain_text("default")
    root.fill("[name=RetryTimes]", "2")
    root.goto("about:blank")


def test_a_group_is_added_changed_and_removed(root: Page) -> None:
    root.goto("/admin/group/")
    root.get_by_role("button", name="Add group").first.click()
    root.fill("#new-group-name", "gold")
    root.fill("#new-group-ratio", "0.85")
    root.locator("#add-group [type=submit]").click()
    ratio = root.get_by_label("Ratio of gold")
    expect(ratio).to_have_value("0.85")
    ratio.fill("0.9")
    ratio.press("Tab")
    expect(root.get_by_text("Saved.").last).to_be_visible()
    root.locator("[data-remove=gold]").click()
    root.locator("#confirm [value=yes]").click()
    expect(root.locator("[data-remove=gold]")).to_have_count(0)


PAGES = (
    "channel/", "channel/add", "channel/serving?model=gpt-4o", "token/", "token/add", "user/", "user/add",
    "redemption/", "redemption/add", "log/", "setting/operation", "setting/system", "setting/other", "group/",
    "model/", "system/",
)  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_is_quiet_and_fits(open_page: OpenPage, cookies_of_root: Any, width: int, theme: str) -> None:
    page = open_page(width=width, theme=theme, language="zh-CN", cookies=cookies_of_root)
    for path in PAGES:
        page.goto(f"/admin/{path}", wait_until="networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("button, a, input:not([type=hidden]), select, textarea")].filter(
                (one) => one.checkVisibility() && !one.textContent.trim() && !one.labels?.length
                    && !one.getAttribute("aria-label")
                    && !one.closest("label, .ts-wrapper, .ts-hidden-accessible")
            ).map((one) => one.outerHTML.slice(0, 200))"""
        )
        assert unnamed == [], path
