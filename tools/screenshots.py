"""Pictures of every page in both languages, both themes, wide and on a phone, into screenshots/: to be looked at.

`make screenshots` runs it; `make screenshots PAGES="dashboard login"` takes some. The program it looks at is one of its
own, with made-up usage, in a folder that is removed afterwards.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.gateway import Gateway
from tests.needs import require_service
from tests.street.console import UNLIMITED, Console

FOLDER = Path(__file__).parent.parent / "screenshots"
PASSWORD = "rootpassword"
PUBLIC = {"home": "/", "about": "/about", "login": "/login", "register": "/register", "reset": "/reset"}
PANEL = {
    "dashboard": "/admin/",
    "playground": "/admin/playground/",
    "tokens": "/admin/token/",
    "token-add": "/admin/token/add",
    "models": "/admin/model/",
    "logs": "/admin/log/",
    "topup": "/admin/topup/",
    "channels": "/admin/channel/",
    "channel-add": "/admin/channel/add",
    "channel-edit": "/admin/channel/edit?id=1",
    "users": "/admin/user/",
    "user-edit": "/admin/user/edit?id=2",
    "groups": "/admin/group/",
    "redemptions": "/admin/redemption/",
    "settings": "/admin/setting/",
    "system": "/admin/system/",
    "account": "/admin/account/",
}
MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "claude-sonnet-4",
    "deepseek-chat",
    "qwen-max",
    "gemini-2.5-pro",
    "glm-4.6",
    "o3-mini",
)
_DAYS = 29


def main(wanted: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    pages = {name: path for name, path in {**PUBLIC, **PANEL}.items() if not wanted or name in wanted}
    with (
        tempfile.TemporaryDirectory() as folder,
        Gateway(Path(folder), {**UNLIMITED, "INITIAL_ROOT_PASSWORD": PASSWORD}) as gateway,
        Console(gateway) as console,
        sync_playwright() as playwright,
    ):
        furnish(console)
        browser = playwright.chromium.launch(
            executable_path=require_service("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for language in ("en", "zh"):
            for theme in ("light", "dark"):
                for width in (1440, 390):
                    context = browser.new_context(
                        base_url=gateway.base_url,
                        viewport={"width": width, "height": 900 if width > 600 else 844},
                        color_scheme=theme,
                        locale="zh-CN" if language == "zh" else "en-US",
                    )
                    page = context.new_page()
                    take(
                        page,
                        {name: path for name, path in pages.items() if name in PUBLIC},
                        f"{width}-{theme}-{language}",
                    )
                    log_in(page)
                    take(
                        page,
                        {name: path for name, path in pages.items() if name in PANEL},
                        f"{width}-{theme}-{language}",
                    )
                    context.close()
        browser.close()


def log_in(page: Page) -> None:
    page.goto("/login")
    page.fill("[name=username]", "root")
    page.fill("[name=password]", PASSWORD)
    page.click("form [type=submit]")
    page.wait_for_url("**/admin/")


def take(page: Page, pages: dict[str, str], kind: str) -> None:
    for name, path in pages.items():
        page.goto(path, wait_until="networkidle")
        page.screenshot(path=FOLDER / f"{name}-{kind}.png", full_page=True)
        widest = page.evaluate("document.documentElement.scrollWidth")
        if page.viewport_size and widest > page.viewport_size["width"]:
            print(f"{name}-{kind}: {widest} px wide")


def furnish(console: Console) -> None:
    """Channels, users, codes, and a month of usage."""
    for name, models in (
        ("OpenAI", MODELS[:2]),
        ("Anthropic, the long name of an account", MODELS[2:3]),
        ("All others", MODELS[3:]),
    ):
        console.channel("http://127.0.0.1:9", name=name, models=",".join(models))
    users = [console.user() for _ in range(3)]
    for user in users:
        console.token(user)
    console.call("POST", "/api/redemption/", {"name": "spring", "quota": 500_000, "count": 5})
    console.call("POST", "/api/token/", {"name": "an editor", "remain_quota": 2_500_000, "expired_time": -1})
    dice = random.Random(3)
    now = int(time.time())
    rows = []
    for number in range(3000):
        is_failed = dice.random() < 0.03
        input_tokens, output_tokens = dice.randint(50, 6000), dice.randint(10, 1500)
        quota = 0 if is_failed else int((input_tokens + 3 * output_tokens) * dice.choice((0.3, 1, 2.5)))
        who = dice.choice(((1, "root", "an editor"), (users[0].id, users[0].username, "token 1")))
        moment = now - int(dice.random() ** 1.3 * _DAYS * 86400)
        made = (*who, moment, 6 if is_failed else 2, dice.choice(MODELS), quota, input_tokens, output_tokens)
        rows.append((*made, dice.randint(1, 3), f"r{number}", dice.randint(400, 9000), dice.randint(200, 1800)))
    columns = (
        "user_id, username, token_name, created_at, type, model_name, quota, prompt_tokens, completion_tokens, "
        "channel_id, request_id, elapsed_time, first_token_ms"
    )
    with sqlite3.connect(console.gateway.folder / "one-api.db", timeout=10) as books:
        marks = ", ".join("?" * len(rows[0]))
        books.executemany(f"INSERT INTO logs ({columns}) VALUES ({marks})", sorted(rows, key=lambda row: row[3]))


if __name__ == "__main__":
    main(sys.argv[1:])
