"""Pictures of every page in both languages, both themes, wide and on a phone, into screenshots/: to be looked at.

`make screenshots` runs it; `make screenshots PAGES="dashboard login"` takes some. The programs it looks at are its own,
in folders that are removed afterwards: one with made-up usage (tools/showroom.py), and one that nobody has used yet.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.gateway import ROOT_PASSWORD, Gateway
from tests.needs import require_service
from tests.street.console import UNLIMITED, Console
from tools.showroom import PASSWORD, furnish

FOLDER = Path(__file__).parent.parent / "screenshots"
PUBLIC = {"home": "/", "about": "/about", "login": "/login", "register": "/register", "reset": "/reset"}
PANEL = {
    "dashboard": "/admin/",
    "playground": "/admin/playground/",
    "tokens": "/admin/token/",
    "token-add": "/admin/token/add",
    "token-edit": "/admin/token/edit/1",
    "models": "/admin/model/",
    "prices": "/admin/price/",
    "logs": "/admin/log/",
    "topup": "/admin/topup/",
    "channels": "/admin/channel/",
    "channel-add": "/admin/channel/add",
    "channel-edit": "/admin/channel/edit/1",
    "serving": "/admin/channel/serving",
    "users": "/admin/user/",
    "user-add": "/admin/user/add",
    "user-edit": "/admin/user/edit/2",
    "groups": "/admin/group/",
    "redemptions": "/admin/redemption/",
    "redemption-add": "/admin/redemption/add",
    "settings": "/admin/setting/",
    "settings-system": "/admin/setting/system",
    "settings-other": "/admin/setting/other",
    "system": "/admin/system/",
    "account": "/admin/account/",
}
# For each language, theme and width.
KINDS = tuple(
    (language, theme, width) for language in ("en", "zh") for theme in ("light", "dark") for width in (1440, 390)
)


@dataclass(frozen=True, slots=True)
class View:
    """A page after `script` has run in it, once `shown` is there."""

    path: str
    script: str = ""
    shown: str = "#content"


def _click(selector: str, index: int = 0) -> str:
    return f"document.querySelectorAll({selector!r})[{index}].click();"


def _form_of(type: int) -> View:
    chosen = f"document.querySelector('#field-type').tomselect.setValue('{type}');"
    return View("/admin/channel/add", chosen, ".ts-wrapper")


def _compared() -> View:
    """A price list that differs from the prices in force, sent."""
    cost = {"gpt-4o": (2.5e-6, 1e-5), "o3": (2e-6, 8e-6), "glm-4.6": (6e-7, 2.2e-6), "llama3.3:70b": (2e-7, 9e-7)}
    listed = {
        model: {"litellm_provider": "any", "mode": "chat", "input_cost_per_token": given, "output_cost_per_token": made}
        for model, (given, made) in cost.items()
    }
    script = f"""const chosen = new DataTransfer();
        chosen.items.add(new File([{json.dumps(json.dumps(listed))}], "prices.json"));
        document.querySelector("[name=list]").files = chosen.files;
        document.querySelector("form[enctype]").submit();"""
    return View("/admin/price/", script, "form[action$=save]")


def _plain(pages: Mapping[str, str]) -> dict[str, View]:
    return {name: View(path) for name, path in pages.items()}


NOBODYS = {
    **_plain(PUBLIC),
    "reset-by-mail": View("/user/reset?email=ada@example.com&token=0123456789abcdef"),
    "reset-incomplete": View("/user/reset?email=ada@example.com"),
    "not-found": View("/nowhere"),
    "login-wechat": View("/login", _click("[data-open='#wechat']"), "#wechat[open]"),
}
OPERATORS = {
    **_plain(PANEL),
    "menu": View("/admin/", _click(".navbar-toggler"), "#menu"),
    "dashboard-month": View("/admin/", _click("[data-span='30d']"), "#usage[aria-busy=false]"),
    "channel-azure": _form_of(3),
    "channel-aws": _form_of(33),
    "channel-vertex": _form_of(42),
    "channel-proxy": _form_of(43),
    "channel-offered": View("/admin/channel/edit/1", _click("[data-fetch]"), "#offered[open]"),
    "channel-menu": View("/admin/channel/", _click(".row-actions [data-bs-toggle]"), ".dropdown-menu.show"),
    "channel-bulk": View("/admin/channel/", _click("[data-check-all]"), "[data-bulk-bar]"),
    "channel-delete": View(
        "/admin/channel/", _click("[data-check-all]") + _click("[data-bulk=delete]"), "#confirm[open]"
    ),
    "channel-tests": View("/admin/channel/", _click("[data-all=test-disabled]"), "#progress[open] li"),
    "channel-filter": View("/admin/channel/?status=3&group=nowhere"),
    "serving-model": View("/admin/channel/serving?model=gpt-4o&group=default"),
    "prices-compared": _compared(),
    "token-use": View("/admin/token/", _click("[data-row=use]"), "#use[open]"),
    "token-menu": View("/admin/token/", _click(".row-actions [data-bs-toggle]"), ".dropdown-menu.show"),
    "log-receipt": View("/admin/log/?type=2", _click("[data-receipt-of]"), "#receipt[open] dl"),
    "log-failure": View("/admin/log/?type=6", _click("[data-receipt-of]"), "#receipt[open] dl"),
    "log-prune": View("/admin/log/", _click("[data-prune]"), "#prune[open]"),
    "user-top-up": View("/admin/user/", _click("[data-row=top-up]", 1), "#top-up[open]"),
    "group-add": View("/admin/group/", _click("[data-open='#add-group']"), "#add-group[open]"),
    "account-email": View("/admin/account/", _click("[data-open='#bind-email']"), "#bind-email[open]"),
}
USERS = {
    f"user-{name}": View(PANEL[name])
    for name in ("dashboard", "tokens", "logs", "models", "topup", "account", "playground")
}
FIRST = {"first-password": View("/admin/password/")}
EMPTY = {
    f"empty-{name}": View(PANEL[name])
    for name in ("dashboard", "channels", "tokens", "redemptions", "logs", "models", "playground", "serving", "system")
}
OWN = {"own-home": View("/"), "own-about": View("/about")}
OWN_TEXTS = {
    "Notice": "Maintenance on **Sunday**, 02:00 to 02:30.\n\n周日 02:00 至 02:30 维护。",
    "HomePageContent": "# Our models\n\nAsk [us](https://example.com) for a key.\n\n- GPT-4o\n- DeepSeek\n\n`sk-…`",
    "About": "## 关于我们\n\n| Plan | Price |\n|---|---|\n| Basic | $5 |\n| 专业版 | $20 |",
    "Footer": "[Terms](https://example.com/terms) · © 2026",
}


def main(wanted: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=require_service("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        in_use(browser, wanted)
        new(browser, wanted)
        browser.close()


def in_use(browser: Browser, wanted: list[str]) -> None:
    """A site that has been used for a month."""
    nobodys, operators, users = (chosen(views, wanted) for views in (NOBODYS, OPERATORS, USERS))
    if not (nobodys or operators or users):
        return
    environ = {**UNLIMITED, "INITIAL_ROOT_PASSWORD": PASSWORD}
    with (
        tempfile.TemporaryDirectory() as folder,
        Gateway(Path(folder), environ) as gateway,
        Console(gateway) as console,
        furnish(console) as somebody,
    ):
        for page, kind in pages(browser, gateway.base_url):
            take(page, nobodys, kind)
        for page, kind in pages(browser, gateway.base_url, "root", PASSWORD):
            take(page, operators, kind)
        for page, kind in pages(browser, gateway.base_url, *somebody):
            take(page, users, kind)


def new(browser: Browser, wanted: list[str]) -> None:
    """A site on its first day."""
    first, empty, own = (chosen(views, wanted) for views in (FIRST, EMPTY, OWN))
    if not (first or empty or own):
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        Gateway(Path(folder), UNLIMITED) as gateway,
        Console(gateway) as console,
    ):
        for page, kind in pages(browser, gateway.base_url, "root", ROOT_PASSWORD):
            take(page, first, kind)
        console.call("PUT", "/api/user/self", {"username": "root", "password": PASSWORD})
        for page, kind in pages(browser, gateway.base_url, "root", PASSWORD):
            take(page, empty, kind)
        for name, value in OWN_TEXTS.items():
            console.option(name, value)
        for page, kind in pages(browser, gateway.base_url):
            take(page, own, kind)


def chosen(views: Mapping[str, View], wanted: list[str]) -> dict[str, View]:
    return {name: view for name, view in views.items() if not wanted or name in wanted}


def pages(browser: Browser, base_url: str, username: str = "", password: str = "") -> Iterator[tuple[Page, str]]:
    """A page of each kind, logged in where a name is given, and the kind's name."""
    for language, theme, width in KINDS:
        context = browser.new_context(
            base_url=base_url,
            viewport={"width": width, "height": 900 if width > 600 else 844},
            color_scheme=theme,
            locale="zh-CN" if language == "zh" else "en-US",
        )
        page = context.new_page()
        if username:
            page.goto("/login")
            page.fill("[name=username]", username)
            page.fill("[name=password]", password)
            page.click("form [type=submit]")
            page.wait_for_url("**/admin/**")
        yield page, f"{width}-{theme}-{language}"
        context.close()


def take(page: Page, views: Mapping[str, View], kind: str) -> None:
    for name, view in views.items():
        try:
            page.goto(view.path, wait_until="networkidle")
            if view.script:
                page.evaluate(f"() => {{ {view.script} }}")
                page.locator(view.shown).first.wait_for(timeout=5000)
        except Error as error:
            print(f"{name}-{kind}: {error.message.splitlines()[0]}")
            continue
        is_whole = not page.locator("dialog[open], .dropdown-menu.show").count()
        page.screenshot(path=FOLDER / f"{name}-{kind}.png", full_page=is_whole, animations="disabled")
        widest = page.evaluate("document.documentElement.scrollWidth")
        if page.viewport_size and widest > page.viewport_size["width"]:
            print(f"{name}-{kind}: {widest} px wide")


if __name__ == "__main__":
    main(sys.argv[1:])
