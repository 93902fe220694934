"""Pages for everybody, and what an operator writes on them."""

from __future__ import annotations

import pytest
import requests
from playwright.sync_api import expect

from tests.panel.conftest import USER_PASSWORD, OpenPage, Watch, log_in, option
from tests.street.console import Console

pytestmark = pytest.mark.browser

PLANTED = '<img src="data:," onerror="window.planted=1"><script>window.planted=1</script><a href="javascript:x">x</a>'


def test_somebody_registers_by_an_invitation_and_logs_in(open_page: OpenPage, panel: Console) -> None:
    page = open_page()
    aff = panel.call("GET", "/api/user/aff")
    page.goto(f"/register?aff={aff}")
    page.fill("[name=username]", "invited")
    page.fill("[name=password]", USER_PASSWORD)
    page.fill("[name=again]", "something else")
    page.get_by_role("button", name="Register").click()
    expect(page.locator("[data-error=again]")).to_have_text("The two passwords differ.")
    page.fill("[name=again]", USER_PASSWORD)
    page.get_by_role("button", name="Register").click()
    page.wait_for_url("**/login")
    expect(page.get_by_text("The account is made. Please log in.")).to_be_visible()
    log_in(page, "invited", USER_PASSWORD)
    with panel.books() as books:
        (row,) = books.execute("SELECT inviter_id FROM users WHERE username = 'invited'")
    assert row["inviter_id"] == 1


def test_a_taken_name_is_told_beside_its_field(open_page: OpenPage) -> None:
    page = open_page(language="zh-CN")
    page.goto("/register")
    page.fill("[name=username]", "root")
    page.fill("[name=password]", USER_PASSWORD)
    page.fill("[name=again]", USER_PASSWORD)
    page.locator("#register [type=submit]").click()
    expect(page.locator("[data-error=username]")).to_have_text("该用户名已被使用")


def test_a_mailed_link_that_is_not_complete_says_so(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/user/reset?email=somebody@example.com")
    expect(page.get_by_role("alert")).to_contain_text("not complete")


def test_an_operators_markdown_is_shown_and_cannot_run(open_page: OpenPage, panel: Console) -> None:
    with option(panel, HomePageContent=f"# Our *models*\n\n{PLANTED}", Footer=PLANTED, About=PLANTED, Notice=PLANTED):
        page = open_page()
        page.goto("/")
        expect(page.locator("h1")).to_have_text("Our models")
        expect(page.locator("#notice")).to_be_visible()
        page.get_by_role("button", name="Understood").click()
        page.goto("/about")
        page.goto("/")
        expect(page.locator("#notice")).to_be_hidden()
        assert page.evaluate("window.planted") is None
        assert page.locator("[onerror]").count() == 0
        assert page.locator("a[href^=javascript], script:not([src]):not([type='application/json'])").count() == 0


def test_an_operators_styles_are_kept(open_page: OpenPage, panel: Console) -> None:
    with option(panel, HomePageContent='<div style="color: rgb(1, 2, 3)">Welcome</div>'):
        page = open_page()
        page.goto("/")
        assert page.get_by_text("Welcome").evaluate("(element) => getComputedStyle(element).color") == "rgb(1, 2, 3)"


@pytest.mark.parametrize("name", ["HomePageContent", "About"])
def test_an_operators_page_elsewhere_is_framed(name: str, panel: Console) -> None:
    path = "/" if name == "HomePageContent" else "/about"
    with option(panel, **{name: "https://pages.example/welcome?x=1"}):
        answer = requests.get(panel.url + path, timeout=10)
    assert '<iframe class="framed" src="https://pages.example/welcome?x=1"' in answer.text
    assert "frame-src https://pages.example;" in answer.headers["Content-Security-Policy"] + ";"


def test_a_name_with_markup_is_text_everywhere(open_page: OpenPage, panel: Console) -> None:
    with option(panel, SystemName="<b>bold</b>"):
        page = open_page()
        for path in ("/", "/login", "/about"):
            page.goto(path)
            expect(page.locator(".navbar-brand")).to_have_text("<b>bold</b>")


def test_an_unknown_address_leads_back(open_page: OpenPage, watch: Watch) -> None:
    watch.expected.add((404, "/nowhere"))
    page = open_page()
    page.goto("/nowhere")
    expect(page.get_by_text("Page not found")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    page.wait_for_url("**/")
