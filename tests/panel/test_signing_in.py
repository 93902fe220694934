"""Coming in by what others vouch for, in a real browser: a mailed code, a mailed link, OpenID Connect, WeChat, GitHub.

The mail server and the providers are real ones on loopback; of GitHub, whose address is fixed, only the way there is
tried, and of the check for robots that its script may run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.identity_providers import openid_provider, social
from tests.panel.conftest import USER_PASSWORD, OpenPage, Watch, log_in, option
from tests.postoffice import PostOffice, post_office
from tests.street.console import Console

pytestmark = pytest.mark.browser


@pytest.fixture
def office(panel: Console) -> Iterator[PostOffice]:
    """A mail server that the program sends through, and links in its mails lead to the program."""
    with post_office() as running, option(panel, **running.options(ServerAddress=panel.url)):
        yield running


def own_name(page: Page) -> str:
    """Whom the page knows as logged in."""
    page.goto("/admin/account/")
    return page.locator("form[action$=profile] [name=username]").input_value()


# ---- by mail ----


def test_a_mailed_code_proves_an_address(open_page: OpenPage, panel: Console, office: PostOffice) -> None:
    with option(panel, EmailVerificationEnabled="true"):
        page = open_page()
        page.goto("/register")
        page.fill("[name=username]", "by-mail")
        page.fill("[name=password]", USER_PASSWORD)
        page.fill("[name=again]", USER_PASSWORD)
        page.fill("[name=email]", "by-mail@example.org")
        page.get_by_role("button", name="Send the code").click()
        expect(page.get_by_text("The code was sent to by-mail@example.org.")).to_be_visible()
        (letter,) = office.wait_for(1, seconds=20)
        assert letter.receivers == ["by-mail@example.org"]
        code = re.search(r"^\W*([0-9A-Za-z]{6})\W*$", letter.text, re.MULTILINE)
        assert code is not None, letter.text
        page.fill("[name=verification_code]", "wrong!")
        page.get_by_role("button", name="Register").click()
        expect(page.locator("[data-error=verification_code]")).to_contain_text("wrong or has expired")
        page.fill("[name=verification_code]", code[1])
        page.get_by_role("button", name="Register").click()
        page.wait_for_url("**/login")
    log_in(page, "by-mail@example.org", USER_PASSWORD)
    assert own_name(page) == "by-mail"
    expect(page.locator(".bind-value").first).to_have_text("by-mail@example.org")


def test_an_address_is_bound_to_an_account_by_a_mailed_code(
    open_page: OpenPage, panel: Console, office: PostOffice
) -> None:
    page = log_in(open_page(), panel.user().username, USER_PASSWORD)
    page.goto("/admin/account/")
    page.locator(".bind-list").get_by_role("button", name="Bind", exact=True).first.click()
    dialog = page.locator("#bind-email")
    dialog.locator("[name=email]").fill("bound@example.org")
    dialog.get_by_role("button", name="Send the code").click()
    (letter,) = office.wait_for(1, seconds=20)
    code = re.search(r"^\W*([0-9A-Za-z]{6})\W*$", letter.text, re.MULTILINE)
    assert code is not None, letter.text
    dialog.locator("[name=verification_code]").fill(code[1])
    dialog.get_by_role("button", name="Bind", exact=True).click()
    expect(page.get_by_text("The address is bound.")).to_be_visible()
    expect(page.locator(".bind-value").first).to_have_text("bound@example.org")


def test_a_mailed_link_sets_a_password_once(open_page: OpenPage, panel: Console, office: PostOffice) -> None:
    user = panel.user()
    email = f"{user.username}@example.org"
    panel.call("PUT", "/api/user/", {"id": user.id, "username": user.username, "email": email})
    page = open_page(language="zh-CN")
    page.goto("/reset")
    page.fill("[name=email]", email)
    page.locator("#reset [type=submit]").click()
    expect(page.locator("#sent")).to_be_visible()
    (letter,) = office.wait_for(1, seconds=20)
    link = re.search(rf"{re.escape(panel.url)}/user/reset\?\S+", letter.text)
    assert link is not None, letter.text
    page.goto(link[0])
    expect(page.locator("[name=email]")).to_have_value(email)
    page.fill("[name=password]", "another horse")
    page.locator("#confirm-reset [type=submit]").click()
    page.wait_for_url("**/login")
    log_in(page, user.username, "another horse")
    again = open_page()
    again.goto(link[0])
    again.fill("[name=password]", "a third horse")
    again.locator("#confirm-reset [type=submit]").click()
    expect(again.locator("#confirm-reset .field-error").filter(has_text="link")).to_be_visible()


# ---- by somebody else's word ----


def test_openid_connect_makes_an_account_and_logs_in(open_page: OpenPage, panel: Console, watch: Watch) -> None:
    claims = {"sub": "1815", "name": "Ada Lovelace", "preferred_username": "ada", "email": "ada@id.example"}
    with openid_provider(claims=claims) as provider, option(panel, **openid_options(panel, provider.url)):
        watch.serve(provider.url)
        page = open_page()
        page.goto("/login")
        page.get_by_role("button", name="Continue with OpenID Connect").click()
        page.wait_for_url("**/admin/")
        name = own_name(page)
        expect(page.get_by_label("Display name")).to_have_value("Ada Lovelace")
        second = open_page()
        second.goto("/register")
        second.get_by_role("button", name="Continue with OpenID Connect").click()
        second.wait_for_url("**/admin/")
        assert own_name(second) == name


def test_openid_connect_is_bound_to_an_account_and_taken_away(
    open_page: OpenPage, panel: Console, watch: Watch
) -> None:
    user = panel.user()
    with openid_provider(claims={"sub": "1852"}) as provider, option(panel, **openid_options(panel, provider.url)):
        watch.serve(provider.url)
        page = log_in(open_page(), user.username, USER_PASSWORD)
        page.goto("/admin/account/")
        row = page.locator(".bind-list .list-group-item", has_text="OpenID Connect")
        row.get_by_role("button", name="Bind").click()
        expect(page.get_by_text("The login is bound to your account.")).to_be_visible()
        expect(row.locator(".bind-value")).to_have_text("1852")
        other = open_page()
        other.goto("/login")
        other.get_by_role("button", name="Continue with OpenID Connect").click()
        other.wait_for_url("**/admin/")
        assert own_name(other) == user.username
        row.get_by_role("button", name="Unbind").click()
        page.locator("#confirm [value=yes]").click()
        expect(row.locator(".bind-value")).to_have_text("not bound")


def openid_options(panel: Console, url: str) -> dict[str, str]:
    return {
        "ServerAddress": panel.url,
        "OidcClientId": "client",
        "OidcClientSecret": "client-secret-of-some-length",
        "OidcWellKnown": f"{url}/.well-known/openid-configuration",
        "OidcEnabled": "true",
    }


def test_somebody_sent_back_with_a_foreign_state_stays_outside(
    open_page: OpenPage, panel: Console, watch: Watch
) -> None:
    watch.expected.add((403, "/api/oauth/oidc"))
    with openid_provider(claims={"sub": "1"}) as provider, option(panel, **openid_options(panel, provider.url)):
        page = open_page()
        page.goto("/oauth/oidc?code=stolen&state=somebody-elses")
        expect(page.locator("#trouble")).to_be_visible()
        page.get_by_role("link", name="Back to the login").click()
        page.wait_for_url("**/login")


def test_a_code_of_wechat_logs_in(open_page: OpenPage, panel: Console) -> None:
    with social() as third:
        third.people["246810"] = {"id": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"}
        values = {"WeChatServerAddress": f"{third.url}/wechat", "WeChatServerToken": "wechat-token"}
        with option(panel, **values, WeChatAuthEnabled="true"):
            page = open_page()
            page.goto("/login")
            page.get_by_role("button", name="WeChat").click()
            page.fill("[name=wechat_code]", "135790")
            page.locator("#wechat [type=submit]").click()
            expect(page.locator("[data-error=wechat_code]")).not_to_be_empty()
            page.fill("[name=wechat_code]", "246810")
            page.locator("#wechat [type=submit]").click()
            page.wait_for_url("**/admin/")
            assert own_name(page).startswith("wechat_")


def test_the_way_to_github_has_a_state_of_this_browsers(open_page: OpenPage, panel: Console, watch: Watch) -> None:
    asked: list[str] = []

    def github(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body="<title>GitHub</title>", content_type="text/html")

    values = {"GitHubClientId": "Iv1.0123", "GitHubClientSecret": "secret", "GitHubOAuthEnabled": "true"}
    watch.serve("https://github.com")
    with option(panel, **values):
        for _ in range(2):
            page = open_page()
            page.route("https://github.com/**", github)
            page.goto("/login")
            page.get_by_role("button", name="Continue with GitHub").click()
            page.wait_for_url("https://github.com/**")
    first, second = (parse_qs(urlsplit(address).query) for address in asked)
    assert (first["client_id"], first["scope"]) == (["Iv1.0123"], ["user:email"])
    assert first["state"] != second["state"]


# ---- the check for robots ----


@pytest.mark.parametrize("path", ["/register", "/reset"])
def test_the_check_for_robots_may_load_and_its_word_is_sent(
    path: str, open_page: OpenPage, panel: Console, watch: Watch
) -> None:
    script = """document.querySelector(".cf-turnstile").innerHTML =
        '<input type="hidden" name="cf-turnstile-response" value="not a robot">';"""
    watch.serve("https://challenges.cloudflare.com")
    with option(panel, TurnstileSiteKey="key-of-the-site", TurnstileCheckEnabled="true"):
        page = open_page()
        page.route("https://challenges.cloudflare.com/**", lambda route: route.fulfill(body=script))
        page.goto(path, wait_until="load")
        assert page.locator(".cf-turnstile").get_attribute("data-sitekey") == "key-of-the-site"
        page.fill("[name=email]" if path == "/reset" else "[name=username]", "robot@example.org")
        for field in page.locator("form [type=password]").all():
            field.fill(USER_PASSWORD)
        page.route("**/api/**", lambda route: route.fulfill(json={"success": False, "message": "as expected"}))
        with page.expect_request("**/api/**") as sent:
            page.locator("form [type=submit]").click()
        assert parse_qs(urlsplit(sent.value.url).query)["turnstile"] == ["not a robot"]
