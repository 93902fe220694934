"""What everybody does for himself: a first password, the account, top-up, the dashboard, the playground."""

from __future__ import annotations

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.gateway import Gateway, StartGateway
from tests.panel.conftest import USER_PASSWORD, OpenPage, Watch, log_in
from tests.street.console import ROOT_KEY, UNLIMITED, Console, User
from tests.street.upstreams import MockUpstream

pytestmark = pytest.mark.browser

STREAMED = "mock-n5-d10-f100"
ENDLESS = "mock-n3000-d10"


def member(open_page: OpenPage, panel: Console, **fields: object) -> tuple[User, Page]:
    user = panel.user(**fields)  # type: ignore[arg-type]
    return user, log_in(open_page(), user.username, USER_PASSWORD)


# ---- the first run ----


def test_the_known_password_is_asked_to_be_changed_before_anything_else(
    start_gateway: StartGateway, open_page: OpenPage, watch: Watch
) -> None:
    started: Gateway = start_gateway(**UNLIMITED)
    watch.serve(started.base_url)
    page = log_in(open_page(base_url=started.base_url), password="123456", at="/login?next=/topup")
    for path in ("/admin/", "/topup", "/admin/account/"):
        page.goto(path)
        expect(page).to_have_url(f"{started.base_url}/admin/password/")
    page.locator("[name=password]").evaluate("(field) => field.removeAttribute('minlength')")
    page.fill("[name=password]", "short")
    page.get_by_role("button", name="Set the password").click()
    expect(page.locator("[data-error=password]")).to_contain_text("8 to 20 characters")
    page.fill("[name=password]", "a better one")
    page.get_by_role("button", name="Set the password").click()
    page.wait_for_url("**/admin/")
    expect(page.get_by_text("Three steps to the first call")).to_be_visible()
    page.goto("/admin/password/")
    expect(page).to_have_url(f"{started.base_url}/admin/account/")


# ---- the account ----


def test_a_profile_is_changed_and_a_taken_name_refused(open_page: OpenPage, panel: Console) -> None:
    _, page = member(open_page, panel)
    page.goto("/admin/account/")
    page.get_by_label("Display name").fill("Alice")
    page.locator("form[action$=profile] [type=submit]").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_label("Display name")).to_have_value("Alice")
    page.locator("form[action$=profile] [name=username]").fill("root")
    page.locator("form[action$=profile] [type=submit]").click()
    expect(page.locator("form[action$=profile] [data-error=username]")).to_have_text("This user name is taken")


def test_a_new_password_needs_the_old_one_and_ends_other_sessions(open_page: OpenPage, panel: Console) -> None:
    user, page = member(open_page, panel)
    elsewhere = log_in(open_page(), user.username, USER_PASSWORD)
    page.goto("/admin/account/")
    form = page.locator("form[action$='account/password']")
    form.locator("[name=current_password]").fill("not it at all")
    form.locator("[name=password]").fill("new password")
    form.locator("[type=submit]").click()
    expect(form.locator("[data-error=current_password]")).to_have_text("The current password is wrong")
    form.locator("[name=current_password]").fill(USER_PASSWORD)
    form.locator("[type=submit]").click()
    expect(page.get_by_text("The password was changed.")).to_be_visible()
    elsewhere.goto("/admin/")
    expect(elsewhere).to_have_url(f"{panel.url}/login?next=/admin/")


def test_an_access_token_is_shown_once_and_works(open_page: OpenPage, panel: Console) -> None:
    user, page = member(open_page, panel)
    page.goto("/admin/account/")
    page.get_by_role("button", name="Make a new one").click()
    page.locator("#confirm [value=yes]").click()
    expect(page.locator("#access-token")).not_to_be_empty()
    token = page.locator("#access-token").inner_text()
    answer = requests.get(f"{panel.url}/api/user/self", headers={"Authorization": token}, timeout=10).json()
    assert answer["data"]["id"] == user.id
    page.reload()
    assert token not in page.content()


def test_an_account_is_deleted_once_its_name_is_typed(open_page: OpenPage, panel: Console) -> None:
    user, page = member(open_page, panel)
    page.goto("/admin/account/")
    page.get_by_role("button", name="Delete my account").click()
    expect(page.locator("#confirm [value=yes]")).to_be_disabled()
    page.locator("#confirm-typed").fill(user.username)
    page.locator("#confirm [value=yes]").click()
    page.wait_for_url(f"{panel.url}/")
    expect(page.get_by_text("The account was deleted.")).to_be_visible()
    page.goto("/admin/")
    expect(page).to_have_url(f"{panel.url}/login?next=/admin/")


def test_root_cannot_leave(root: Page) -> None:
    root.goto("/admin/account/")
    expect(root.get_by_role("button", name="Delete my account")).to_have_count(0)


# ---- money ----


def test_a_code_is_redeemed_once(open_page: OpenPage, panel: Console) -> None:
    _, page = member(open_page, panel, quota=0)
    (code,) = panel.call("POST", "/api/redemption/", {"name": "gift", "quota": 1_000_000, "count": 1})
    page.goto("/admin/topup/")
    page.get_by_label("Code").fill(f" {code} ")
    page.get_by_role("button", name="Redeem").click()
    expect(page.get_by_text("$2.00 were added to your balance.")).to_be_visible()
    expect(page.locator(".figure-value").first).to_have_text("$2.00")
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Redeem").click()
    expect(page.locator("[data-error=key]")).to_have_text("This redemption code has been used")


def test_the_shop_is_told_who_comes(open_page: OpenPage, panel: Console) -> None:
    user, page = member(open_page, panel)
    panel.option("TopUpLink", "https://shop.example/buy?lang=en")
    try:
        page.goto("/admin/topup/")
        address = page.get_by_role("link", name="Open the shop").get_attribute("href") or ""
    finally:
        panel.option("TopUpLink", "")
    assert address.startswith(f"https://shop.example/buy?lang=en&username={user.username}&user_id={user.id}&")
    assert len(address.partition("transaction_id=")[2]) == 36


# ---- the playground and the dashboard ----


@pytest.fixture
def offered(panel: Console, mock: MockUpstream) -> None:
    if STREAMED not in panel.models(ROOT_KEY):
        panel.channel(mock.url, models=f"{STREAMED},{ENDLESS}")
        panel.wait_until_known(STREAMED)


def test_a_chat_streams_and_tells_its_cost(open_page: OpenPage, panel: Console, offered: None) -> None:
    _, page = member(open_page, panel)
    page.goto(f"/admin/playground/?model={STREAMED}")
    page.get_by_label("Message").fill("Hello")
    page.keyboard.press("Enter")
    answer = page.locator(".bubble-assistant")
    expect(answer.locator(".bubble-text")).not_to_be_empty()
    expect(answer.locator(".bubble-note")).to_contain_text("128 + 128 tokens")
    expect(answer.locator(".bubble-cost")).to_have_text("$0.015360")
    page.get_by_label("Message").fill("And again")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".bubble-cost")).to_have_count(2)
    page.goto("/admin/")
    expect(page.locator("#figure-requests")).to_have_text("2")
    expect(page.locator("#parts")).to_contain_text(STREAMED)
    expect(page.locator("#usage svg")).to_be_visible()


def test_a_chat_can_be_stopped(open_page: OpenPage, panel: Console, offered: None) -> None:
    _, page = member(open_page, panel)
    page.goto(f"/admin/playground/?model={ENDLESS}")
    page.get_by_label("Message").fill("Hello")
    page.keyboard.press("Enter")
    expect(page.locator(".bubble-assistant .bubble-text")).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".bubble-assistant .bubble-note")).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_refusal_is_shown_where_the_answer_would_be(
    open_page: OpenPage, panel: Console, offered: None, watch: Watch
) -> None:
    watch.expected.add((403, "/v1/chat/completions"))
    _, page = member(open_page, panel, quota=0)
    page.goto(f"/admin/playground/?model={STREAMED}")
    page.get_by_label("Message").fill("Hello")
    page.keyboard.press("Enter")
    expect(page.locator(".bubble-assistant [role=alert]")).to_contain_text("quota")


def test_what_a_model_writes_is_text_and_never_runs(open_page: OpenPage, panel: Console) -> None:
    _, page = member(open_page, panel)
    shown = page.evaluate(
        """async (address) => {
            const { render } = await import(address.replace("app.js", "markdown.js"));
            const place = document.createElement("div");
            place.append(...render("# <img src=x onerror=planted=1>\\n[x](javascript:planted=1) **<b>b</b>** `<i>`"));
            document.body.append(place);
            return place.innerHTML;
        }""",
        page.locator("script[type=module]").first.get_attribute("src"),
    )
    assert page.evaluate("window.planted") is None
    assert "<img" not in shown
    assert "href" not in shown


def test_a_user_sees_only_his_own_usage(open_page: OpenPage, panel: Console) -> None:
    user, page = member(open_page, panel)
    page.goto("/admin/")
    expect(page.locator("#scope")).to_have_count(0)
    answer = user.session.get(f"{panel.url}/admin/usage?scope=all&by=user&span=7d", timeout=10).json()
    assert answer["data"]["total"]["requests"] == 0
    assert answer["data"]["parts"] == []


def test_a_framed_chat_page_is_in_the_menu_once_it_is_named(open_page: OpenPage, panel: Console) -> None:
    user, page = member(open_page, panel)
    expect(page.locator("#menu")).not_to_contain_text("Chat")
    panel.option("ChatLink", "https://chat.example/#/")
    try:
        answer = user.session.get(f"{panel.url}/chat", timeout=10)
    finally:
        panel.option("ChatLink", "")
    assert 'src="https://chat.example/#/"' in answer.text
    assert "frame-src https://chat.example" in answer.headers["Content-Security-Policy"]
