#!/usr/bin/env python3
"""Measures the main pages in a real browser on a slow connection, and writes bench/REPORT-pages.md.

    python -m bench.pages [--rounds 3]

Chromium opens each page as a phone does that has never been here: with an empty cache, at 1.6 Mbit/s and 150 ms, with a
processor four times slower. The program runs on SQLite with a few rows of everything.

Source of the measures: https://web.dev/articles/tti, /tbt and /cls (read 2026-11-25). A page is interactive at the end
of the last task of more than 50 ms, after which five seconds pass with none and with at most two requests under way.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, StorageState, sync_playwright

from bench.lists import HERE, KINDS, PASSWORD, generate, machine
from oneapi.database import open_databases
from oneapi.services import bootstrap
from tests.gateway import Gateway
from tests.needs import require_service
from tests.servers import sqlite_database
from tests.street.console import UNLIMITED

PAGES = {
    "home": "/",
    "login": "/login",
    "dashboard": "/admin/",
    "channels": "/admin/channel/",
    "channel form": "/admin/channel/add",
    "tokens": "/admin/token/",
    "logs": "/admin/log/",
    "settings": "/admin/setting/",
    "playground": "/admin/playground/",
}
PUBLIC = ("home", "login")
# Chromium's own services must not share the line, nor wait for a screen.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PHONE: Any = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
BITS_S, LATENCY_MS, SLOWER = 1_600_000, 150, 4
QUIET_S = 5.0
LONG_MS = 50
LARGEST_FIRST_LOAD_KB = 300

# Kept by the page itself from its first moment on, since an observer that comes later misses what it is not told again.
OBSERVE = """
window.seen = {tasks: [], shifts: [], contentful: 0, largest: 0};
const watch = (type, each) => new PerformanceObserver(list => list.getEntries().forEach(each))
  .observe({type, buffered: true});
watch("paint", entry => { if (entry.name === "first-contentful-paint") seen.contentful = entry.startTime; });
watch("largest-contentful-paint", entry => { seen.largest = entry.startTime; });
watch("longtask", entry => seen.tasks.push([entry.startTime, entry.duration]));
watch("layout-shift", entry => { if (!entry.hadRecentInput) seen.shifts.push([entry.startTime, entry.value]); });
"""


@dataclass(frozen=True)
class Figures:
    """What one visit showed; times in milliseconds from the start of the navigation."""

    kb: float
    requests: float
    contentful_ms: float
    largest_ms: float
    interactive_ms: float
    blocked_ms: float
    shift: float


def visit(browser: Browser, url: str, state: StorageState | None) -> Figures:
    """Opens a page in a new browser context, and waits until it has come to rest."""
    context = browser.new_context(**PHONE, storage_state=state)
    page = context.new_page()
    page.add_init_script(OBSERVE)
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    speed = {"latency": LATENCY_MS, "downloadThroughput": BITS_S / 8, "uploadThroughput": BITS_S / 8}
    wire.send("Network.emulateNetworkConditions", {"offline": False, **speed})
    wire.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    traffic = Traffic()
    wire.on("Network.requestWillBeSent", traffic.on_request)
    wire.on("Network.loadingFinished", traffic.on_end)
    wire.on("Network.loadingFailed", traffic.on_end)
    page.goto(url, wait_until="load", timeout=120_000)
    while True:
        seen = page.evaluate("() => ({...seen, now: performance.now()})")
        busy_until = max([start + length for start, length in seen["tasks"]], default=0.0)
        if len(traffic.open) <= 2 and seen["now"] - busy_until > QUIET_S * 1000 < traffic.quiet_s() * 1000:
            break
        page.wait_for_timeout(250)
    context.close()
    contentful, tasks = seen["contentful"], seen["tasks"]
    late = [(start, length) for start, length in tasks if start + length > contentful and length > LONG_MS]
    return Figures(
        kb=traffic.bytes / 1000,
        requests=traffic.count,
        contentful_ms=contentful,
        largest_ms=seen["largest"],
        interactive_ms=max([contentful, *(start + length for start, length in late)]),
        blocked_ms=sum(length - LONG_MS for _, length in late),
        shift=largest_session(seen["shifts"]),
    )


class Traffic:
    """What went over the wire, compressed and with heads."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.count = 0
        self.bytes = 0
        self._changed = time.monotonic()

    def on_request(self, event: Mapping[str, Any]) -> None:
        if event["request"]["url"].startswith("http"):
            self.count += 1
            self.open.add(event["requestId"])
            self._changed = time.monotonic()

    def on_end(self, event: Mapping[str, Any]) -> None:
        if event["requestId"] in self.open:
            self.open.discard(event["requestId"])
            self.bytes += event.get("encodedDataLength", 0)
            self._changed = time.monotonic()

    def quiet_s(self) -> float:
        return time.monotonic() - self._changed


def largest_session(shifts: list[tuple[float, float]]) -> float:
    """Shifts less than a second apart, in five seconds at most, count together; the worst such sum is the page's."""
    worst = current = 0.0
    begin = last = float("-inf")
    for start, value in shifts:
        if start - last > 1000 or start - begin > 5000:
            begin, current = start, 0.0
        last = start
        current += value
        worst = max(worst, current)
    return worst


def log_in(browser: Browser, url: str) -> StorageState:
    context = browser.new_context(base_url=url)
    answer = context.request.post("/api/user/login", data={"username": "root", "password": PASSWORD})
    assert answer.json()["success"]
    state = context.storage_state()
    context.close()
    return state


def measure(rounds: int) -> tuple[str, dict[str, Figures]]:
    """The browser's version, and each page's medians."""
    with tempfile.TemporaryDirectory(prefix="oneapi-pages-") as name, sync_playwright() as playwright:
        given = sqlite_database(Path(name))
        config = given.config(initial_root_password=PASSWORD)
        bootstrap.prepare(config)
        databases = open_databases(config)
        generate(databases.main, KINDS["sqlite"], logs=2000, objects=50, now=int(time.time()))
        databases.dispose()
        bootstrap.build_indexes(config)
        found: dict[str, list[Figures]] = {page: [] for page in PAGES}
        with Gateway(Path(name), {**UNLIMITED, "SQLITE_PATH": given.sqlite_path}) as gateway:
            browser = playwright.chromium.launch(executable_path=require_service("chromium"), args=list(FLAGS))
            state = log_in(browser, gateway.base_url)
            for _ in range(rounds):
                for page, path in PAGES.items():
                    found[page].append(visit(browser, gateway.base_url + path, None if page in PUBLIC else state))
            version = browser.version
            browser.close()
    return version, {page: median(several) for page, several in found.items()}


def median(several: list[Figures]) -> Figures:
    return Figures(*(statistics.median(getattr(one, item.name) for one in several) for item in fields(Figures)))


def table(figures: Mapping[str, Figures]) -> list[str]:
    heads = (
        "page", "kB", "requests", "first contentful paint s", "largest contentful paint s", "interactive s",
        "blocked ms", "layout shift",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for page, one in figures.items():
        times = (one.contentful_ms, one.largest_ms, one.interactive_ms)
        cells = [f"{one.kb:.0f}", f"{one.requests:.0f}", *(f"{ms / 1000:.2f}" for ms in times)]
        lines.append(f"| {page} | {' | '.join(cells)} | {one.blocked_ms:.0f} | {one.shift:.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2, help="how often all of it is measured")
    args = parser.parse_args()
    runs = [measure(args.rounds) for _ in range(args.runs)]
    version = runs[0][0]
    heaviest = max(one.kb for _, run in runs for one in run.values())
    lines = [
        "# First visits on a slow connection",
        "",
        f"Written by `bench/pages.py` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; Chromium {version}, {os.cpu_count()} "
        f"cores, {machine()}; on a machine shared with other work, which times suffer from.",
        "",
        "A phone (390 × 844) with an empty cache, 1.6 Mbit/s, 150 ms, a processor four times slower, one worker; "
        f"medians of {args.rounds} visits. kB are as sent, compressed, with heads.",
        f"The heaviest page has {heaviest:.0f} kB; {LARGEST_FIRST_LOAD_KB} are allowed.",
        "",
    ]
    for number, (_, run) in enumerate(runs, 1):
        lines += [f"## Run {number}", "", *table(run), ""]
    text = "\n".join(lines)
    (HERE / "REPORT-pages.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
