"""What somebody hostile would try: markup in every text, forms of other sites, frames, links that lead elsewhere."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from tests.api.conftest import site, site_on
from tests.api.site import ROOT, Site
from tests.gateway import StartGateway
from tests.panel.conftest import ROOT_PASSWORD, OpenPage, Watch, log_in
from tests.street.console import UNLIMITED
from tools.screenshots import PANEL, PUBLIC

__all__ = ["site", "site_on"]

# ---- forms of other sites ----


def writes(app: Flask) -> Iterator[str]:
    """Every address that a form or a script of the panel posts to."""
    for rule in app.url_map.iter_rules():
        is_panels = rule.rule.startswith("/admin") or rule.endpoint.startswith("public.")
        if is_panels and {"POST", "PUT", "PATCH", "DELETE"} & (rule.methods or set()):
            yield re.sub(r"<[^>]+>", "1", rule.rule)


def test_no_write_of_the_panel_is_taken_without_its_token(site: Site) -> None:
    root = site.logged_in(ROOT)
    paths = sorted(writes(site.app))
    assert {"/login", "/logout", "/admin/channel/save", "/admin/setting/save"} < set(paths)
    for path in paths:
        for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
            answer = root.ask("POST", path, "{}", **{"Content-Type": kind})
            assert answer.status_code == 400, (path, kind)
            assert "out of date" in answer.get_data(as_text=True), (path, kind)
    assert root.ask("GET", "/admin/").status_code == 200  # still logged in


# ---- frames and what a page may load ----


def test_no_page_can_be_framed_and_none_runs_what_stands_in_it(site: Site) -> None:
    root = site.logged_in(ROOT)
    paths = [path for path in {**PUBLIC, **PANEL}.values() if "/edit/" not in path]
    for path in (*paths, "/nowhere", "/admin/nowhere", "/oauth/oidc", "/user/reset", "/admin/log/receipt/1"):
        answer = (root if path.startswith("/admin") else site.anybody()).ask("GET", path, Accept="text/html")
        policy = dict(line.split(" ", 1) for line in answer.headers["Content-Security-Policy"].split("; "))
        assert answer.headers["X-Frame-Options"] == "DENY", path
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["default-src"] == "'none'", path
        assert policy["script-src"] == policy["form-action"] == "'self'", path
        assert "'unsafe-inline'" not in policy["style-src"], path


# ---- links that lead elsewhere ----

ELSEWHERE = (
    "//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "evil.example",
    "javascript:alert(1)", "https:evil.example", "///evil.example", "/%09/evil.example",
)  # fmt: skip


@pytest.mark.parametrize("address", ELSEWHERE)
def test_whoever_is_logged_in_is_not_sent_elsewhere(site: Site, address: str) -> None:
    user = site.logged_in()
    answer = user.client.get("/login", query_string={"next": address})
    place = answer.headers["Location"]
    # What stays encoded in a path of ours is one of ours.
    assert place == "/admin/" or (place == address and place.startswith("/%09")), place


@pytest.mark.parametrize("path", ["//evil.example/", "/log//evil.example", "//evil.example/admin", "/token/edit/1"])
def test_an_old_address_leads_nowhere_else(site: Site, path: str) -> None:
    answer = site.anybody().client.get(path, query_string={"next": "//evil.example"}, base_url="http://ours.example")
    place = answer.headers.get("Location", "/")
    assert re.match(r"(http://ours\.example)?/(?![/\\])", place), place


# ---- markup in every text ----

EVIL = '<img src=x onerror="window.planted=1">\'"><script>window.planted=1</script>{{7*7}}'
_JSON = {
    "config": {"region": EVIL, "api_version": EVIL},
    "settings": {"test_model": EVIL, "overrides": {EVIL: EVIL}, "header_overrides": {"X-Evil": EVIL}},
    "model_mapping": {EVIL: EVIL},
    "receipt": {
        "error": EVIL, "result": EVIL, "dropped": [EVIL], "group_ratio": EVIL, "quota": EVIL,
        "lines": [{"of": EVIL, "count": EVIL, "ratio": EVIL}],
        "attempts": [{"channel": 1, "status": EVIL, "ms": EVIL, "error": EVIL}],
    },
}  # fmt: skip
# A login or a call needs these as they are.
_KEPT = {"id", "password", "limits", "access_token", "username"}
_NUMBERS = {"status": 1, "quota": 700, "type": 2, "user_id": 1, "channel_id": 1, "prompt_tokens": 5, "role": 1}


def plant(database: Path) -> None:
    """A row of every kind with the payload in each of its texts."""
    now = int(time.time())
    moments = dict.fromkeys(("created_at", "created_time", "status_time", "accessed_time"), now)
    with closing(sqlite3.connect(database, timeout=10)) as books, books:

        def insert(table: str, **row: object) -> None:
            marks, columns = ", ".join("?" * len(row)), ", ".join(f'"{name}"' for name in row)
            books.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(row.values()))

        for table in ("channels", "users", "tokens", "redemptions", "logs"):
            columns = {name: kind for _, name, kind, *_ in books.execute(f"PRAGMA table_info({table})")}
            texts = [
                name for name, kind in columns.items() if re.match("VARCHAR|CHAR|TEXT", kind) and name not in _KEPT
            ]
            row = {name: json.dumps(_JSON[name]) if name in _JSON else EVIL for name in texts}
            numbers = {name: value for name, value in {**_NUMBERS, **moments}.items() if name in columns}
            insert(table, **{**row, **numbers, **({"username": EVIL, "password": "x"} if table == "users" else {})})
        books.execute("UPDATE channels SET status = 3, type = 33")
        insert("channels", name=EVIL, type=1, key="sk-1", status=1, models=EVIL, group="default")
        insert("abilities", group="default", model=EVIL, channel_id=2, enabled=1, priority=0)
        rest = {"state": "open", "reason": EVIL, "failures": 1, "changed_at": now, "until": now + 3600}
        insert("channel_health", channel_id=2, model=EVIL, **rest)
        books.execute("UPDATE users SET display_name = ?, email = ?, github_id = ? WHERE id = 1", (EVIL,) * 3)
        books.execute("UPDATE logs SET username = ?", (EVIL,))
        for key, value in {"SystemName": EVIL, "TopUpLink": "javascript:window.planted=1", "ChatLink": EVIL}.items():
            insert("options", key=key, value=value)


def is_clean(page: Page, where: str) -> None:
    assert page.evaluate("window.planted") is None, where
    assert page.locator("img[src=x], [onerror], [href^='javascript:' i], script:not([src], [type$=json])").count() == 0


@pytest.mark.browser
def test_planted_markup_is_text_on_every_page(start_gateway: StartGateway, open_page: OpenPage, watch: Watch) -> None:
    gateway = start_gateway(**UNLIMITED, INITIAL_ROOT_PASSWORD=ROOT_PASSWORD)
    gateway.stop()
    plant(gateway.folder / "one-api.db")
    gateway.start()
    watch.serve(gateway.base_url)
    page = log_in(open_page(base_url=gateway.base_url))
    more = {
        "who serves it": "/admin/channel/serving?model=%3Cimg%20src=x%20onerror=planted=1%3E&group=%3Cb%3E",
        "a search": "/admin/channel/?search=%3Cimg%20src=x%20onerror=planted=1%3E&tag=%22onerror=%22planted=1",
        "a redemption": "/admin/redemption/edit/1",
    }
    for name, path in {**PUBLIC, **PANEL, **more}.items():
        page.goto(path)
        is_clean(page, name)
        if name in ("channels", "users", "tokens", "redemptions", "logs", "models", "system"):
            expect(page.locator("#content")).to_contain_text("<script>window.planted=1</script>")
    page.goto("/admin/")
    for split in ("token", "user", "channel"):
        page.select_option("#by", split)
        expect(page.locator("#parts-title")).to_have_text(f"By {split}")
        expect(page.locator("#usage[aria-busy=false]")).to_be_attached()
        page.locator("#usage svg").hover()
        is_clean(page, f"the dashboard by {split}")
    for path, button, dialog in (
        ("/admin/token/", "[data-row=use]", "#use[open]"),
        ("/admin/log/?type=2", "[data-receipt-of]", "#receipt[open] dl"),
        ("/admin/channel/", "[data-row=delete]", "#confirm[open]"),
        ("/admin/user/", "[data-row=top-up]", "#top-up[open]"),
    ):
        page.goto(path)
        page.locator(button).first.evaluate("(button) => button.click()")
        expect(page.locator(dialog)).to_be_visible()
        is_clean(page, dialog)
