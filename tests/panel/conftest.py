"""The panel in a real browser: Chromium against the running program.

Whatever page a test opens must not complain: an error on the console, a violation of the policy, a request that fails
or one to another host fails the test that met it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from tests.gateway import Gateway
from tests.needs import require_service
from tests.panel.provider import upstream
from tests.street.console import UNLIMITED, Console
from tests.street.upstreams import mock

__all__ = ["mock", "upstream"]

ROOT_PASSWORD = "rootpassword"
USER_PASSWORD = "correct horse"

# Chromium's own services must not reach out, nor wait for a screen.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]

# On a busy machine an answer takes its time; nobody waits for longer than it takes.
_PATIENCE_MS = 20_000

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The program on SQLite, past its first run, and an administrator's hands on it. Shared: leave its settings."""
    environ = {**UNLIMITED, "INITIAL_ROOT_PASSWORD": ROOT_PASSWORD}
    with Gateway(tmp_path_factory.mktemp("panel"), environ) as running, Console(running) as console:
        yield console


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = require_service("chromium")
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


class Watch:
    """What pages complained about. `expected` are answers that a test provokes, as (status, end of the path)."""

    def __init__(self, base_url: str) -> None:
        self.complaints: list[str] = []
        self.expected: set[tuple[int, str]] = set()
        self._hosts: set[str] = set()
        self.serve(base_url)

    def serve(self, base_url: str) -> None:
        """Pages of this program are ours, too."""
        self._hosts.add(urlsplit(base_url).netloc)

    def on(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("requestfailed", self._failed)
        page.on("request", self._request)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        # What failed to load is told by its response as well.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # A request that a change of page cuts short is nobody's fault.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url} {request.failure}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and parts.netloc not in self._hosts:
            self.complaints.append(f"another host: {request.url}")

    def _response(self, response: Response) -> None:
        path = urlsplit(response.url).path
        if response.status >= 400 and (response.status, path) not in self.expected:
            self.complaints.append(f"{response.status}: {response.url}")


@pytest.fixture
def watch(panel: Console) -> Iterator[Watch]:
    watching = Watch(panel.url)
    yield watching
    assert watching.complaints == []


@pytest.fixture
def open_page(chromium: Browser, panel: Console, watch: Watch) -> Iterator[OpenPage]:
    """`open_page(width=390, theme="dark", language="zh-CN")`: a browser of somebody's own, and its watched page."""
    contexts: list[BrowserContext] = []

    def give(
        *, width: int = 1440, theme: str = "light", language: str = "en-US", base_url: str = "", cookies: Any = None
    ) -> Page:
        context = chromium.new_context(
            storage_state=cookies,
            base_url=base_url or panel.url,
            viewport={"width": width, "height": 900 if width > 600 else 844},
            color_scheme=theme,
            locale=language,
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        watch.on(page)
        return page

    yield give
    for context in contexts:
        context.close()


def log_in(page: Page, username: str = "root", password: str = ROOT_PASSWORD, at: str = "/login") -> Page:
    page.goto(at)
    page.fill("[name=username]", username)
    page.fill("[name=password]", password)
    page.click("form [type=submit]")
    page.wait_for_url("**/admin/**")
    return page


@contextmanager
def option(panel: Console, **values: str) -> Iterator[None]:
    """Options as a test wants them, and afterwards as they were; a secret, which nobody can read, was empty."""
    before = {row["key"]: row["value"] for row in panel.call("GET", "/api/option/")}
    for name, value in values.items():
        panel.option(name, value)
    try:
        yield
    finally:
        for name in values:
            panel.option(name, before.get(name, ""))


def row(page: Page, name: str) -> Locator:
    """The row of a list that is about this name."""
    return page.locator(f'tr[data-name="{name}"]')


@pytest.fixture(scope="session")
def cookies_of_root(chromium: Browser, panel: Console) -> Any:
    """Those of a browser in which root has logged in, once for all tests."""
    with chromium.new_context(base_url=panel.url) as context:
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        log_in(page)
        return context.storage_state()


@pytest.fixture
def root(open_page: OpenPage, cookies_of_root: Any) -> Page:
    """A browser in which root has logged in, with no page open yet."""
    return open_page(cookies=cookies_of_root)
