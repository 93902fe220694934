"""What every page has: who may come in, the policy, two languages, two themes, and addresses of old."""

import re
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.panel.conftest import USER_PASSWORD, OpenPage, log_in
from tests.street.console import Console

pytestmark = pytest.mark.browser


def test_language_follows_the_browser_and_the_choice(open_page: OpenPage) -> None:
    page = open_page(language="zh-CN")
    page.goto("/login")
    expect(page.get_by_role("button", name="登录", exact=True)).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.get_by_label("语言").click()
    page.get_by_text("English", exact=True).click()
    expect(page.get_by_role("button", name="Log in", exact=True)).to_be_visible()
    page.goto("/about")
    expect(page.locator("h1")).to_have_text("About One API")


def test_theme_follows_the_system_and_the_choice(open_page: OpenPage) -> None:
    page = open_page(theme="dark")
    page.goto("/")
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.get_by_label("Theme").click()
    page.get_by_text("Dark", exact=True).click()
    page.goto("/about")
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"


def test_home_says_how_to_call_and_copies_it(open_page: OpenPage, panel: Console) -> None:
    page = open_page()
    page.goto("/")
    expect(page.get_by_label("Base URL")).to_have_value(f"{panel.url}/v1")
    page.get_by_role("tab", name="Python").click()
    page.locator("#call-python [data-copy]").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert f'base_url="{panel.url}/v1"' in page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("path", ["/admin/", "/admin/account/", "/admin/topup/", "/admin/playground/"])
def test_a_page_asks_for_a_login_first_and_is_reached_after_it(path: str, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{path}?x=1")
    assert urlsplit(page.url).path == "/login"
    page.fill("[name=username]", "root")
    page.fill("[name=password]", "rootpassword")
    page.click("form [type=submit]")
    page.wait_for_url(f"**{path}?x=1")


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example"])
def test_a_login_never_ends_at_somebody_elses(elsewhere: str, open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/login")
    page.locator("[name=next]").evaluate("(field, value) => (field.value = value)", elsewhere)
    page.fill("[name=username]", "root")
    page.fill("[name=password]", "rootpassword")
    page.click("form [type=submit]")
    page.wait_for_url("**/admin/")


def test_a_wrong_password_is_told_beside_the_form(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/login")
    page.fill("[name=username]", "root")
    page.fill("[name=password]", "not the password")
    page.click("form [type=submit]")
    expect(page.get_by_role("alert").filter(has_text="wrong")).to_be_visible()
    expect(page.locator("[name=username]")).to_have_value("root")


def test_the_menu_shows_what_a_role_may_see(open_page: OpenPage, panel: Console) -> None:
    user = panel.user()
    page = log_in(open_page(), user.username, USER_PASSWORD)
    titles = page.locator("#menu .nav-link-title").all_inner_texts()
    assert "Tokens" in titles
    assert not {"Channels", "Users", "Settings", "System"} & set(titles)


def test_a_menu_opens_on_a_phone(open_page: OpenPage) -> None:
    page = log_in(open_page(width=390))
    expect(page.locator("#menu")).to_be_hidden()
    page.get_by_role("button", name="Menu", exact=True).click()
    expect(page.locator("#menu")).to_have_class(re.compile(r"\bcollapse show\b"))  # it has come to rest
    page.locator("#menu").get_by_role("link", name="My account").click()
    page.wait_for_url("**/admin/account/")


OLD = {
    "/channel": "/admin/channel/",
    "/channel/add": "/admin/channel/add",
    "/channel/edit/3": "/admin/channel/edit/3",
    "/token": "/admin/token/",
    "/token/edit/4": "/admin/token/edit/4",
    "/redemption": "/admin/redemption/",
    "/topup": "/admin/topup/",
    "/user": "/admin/user/",
    "/user/edit/2": "/admin/user/edit/2",
    "/user/edit": "/admin/account/",
    "/dashboard": "/admin/",
    "/log": "/admin/log/",
    "/setting": "/admin/setting/",
    "/chat": "/admin/chat/",
    "/panel/channel": "/admin/channel/",
    "/panel/profile": "/admin/account/",
    "/panel/token/edit/4": "/admin/token/edit/4",
}


@pytest.mark.parametrize("old", OLD)
def test_an_old_address_leads_to_its_counterpart(old: str, panel: Console) -> None:
    answer = requests.get(panel.url + old, allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (302, OLD[old])


def test_an_old_address_of_a_row_shows_the_row(panel: Console) -> None:
    user = panel.user()
    panel.token(user, name="in a bookmark")
    (row,) = panel.call("GET", "/api/token/search?keyword=in a bookmark", session=user.session)
    assert ">in a bookmark</h1>" in user.session.get(f"{panel.url}/token/edit/{row['id']}", timeout=10).text


def test_an_old_address_keeps_its_query(panel: Console) -> None:
    answer = requests.get(f"{panel.url}/log?model_name=gpt-4o", allow_redirects=False, timeout=10)
    assert answer.headers["Location"] == "/admin/log/?model_name=gpt-4o"


@pytest.mark.parametrize("path", ["/", "/login", "/register", "/reset", "/about", "/nowhere"])
def test_a_page_has_a_strict_policy(path: str, panel: Console) -> None:
    answer = requests.get(panel.url + path, timeout=10)
    policy = dict(line.split(" ", 1) for line in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"\son\w+=|\sstyle=|<script>|javascript:", answer.text)


def test_assets_are_kept_for_good_and_compressed(panel: Console) -> None:
    page = requests.get(panel.url, timeout=10).text
    address = re.search(r"/assets/\w+/css/app\.css", page)
    assert address is not None
    answer = requests.get(panel.url + address[0], headers={"Accept-Encoding": "gzip"}, timeout=10)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert requests.get(f"{panel.url}/assets/x/../../config.py", timeout=10).status_code == 404
    assert requests.get(f"{panel.url}/assets/x/%2e%2e/config.py", timeout=10).status_code == 404


def test_a_form_without_its_token_is_refused(root: Page, panel: Console) -> None:
    cookies = {cookie["name"]: cookie["value"] for cookie in root.context.cookies()}
    profile = {"username": "root", "display_name": "taken over"}
    answer = requests.post(f"{panel.url}/admin/account/profile", json=profile, cookies=cookies, timeout=10)
    assert answer.status_code == 400
    root.goto("/admin/account/")
    expect(root.get_by_label("Display name")).not_to_have_value("taken over")


def test_a_login_starts_a_session_of_its_own(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/login")
    (planted,) = [cookie for cookie in page.context.cookies() if cookie["name"] == "session"]
    log_in(page)
    (own,) = [cookie for cookie in page.context.cookies() if cookie["name"] == "session"]
    assert own["value"] != planted["value"]
    assert own["httpOnly"]
    assert own["sameSite"] == "Lax"
    page.context.clear_cookies()
    page.context.add_cookies([planted])
    page.goto("/admin/")
    assert urlsplit(page.url).path == "/login"


def test_the_first_load_is_small(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/login", wait_until="networkidle")
    sizes = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map((entry) => entry.transferSize)"
    )
    assert sum(sizes) < 300_000
    assert len(sizes) <= 12
