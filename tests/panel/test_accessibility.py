"""No serious fault of accessibility on any page, by axe-core; and no page that is wider than a phone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.needs import lacking
from tests.panel.conftest import OpenPage, log_in
from tools.screenshots import PANEL, PUBLIC

pytestmark = pytest.mark.browser

_AXE = Path(__file__).parents[1] / "node" / "node_modules" / "axe-core" / "axe.min.js"


def serious_faults(page: Page) -> list[str]:
    page.wait_for_load_state("networkidle")
    page.evaluate(_AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [
        f"{fault['id']}: {node['target']} {node['html'][:160]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@pytest.fixture(scope="module", autouse=True)
def axe() -> None:
    if not _AXE.exists():
        lacking("axe-core is not installed: npm install --prefix tests/node")


@pytest.mark.parametrize("kind", [(1440, "light", "en-US"), (390, "dark", "zh-CN")], ids=["wide", "phone"])
def test_pages_have_no_serious_fault(open_page: OpenPage, kind: tuple[int, str, str]) -> None:
    width, theme, language = kind
    page = open_page(width=width, theme=theme, language=language)
    faults = {}
    for name, path in {**PUBLIC, **PANEL}.items():
        if name == next(iter(PANEL)):
            log_in(page)
        if "/edit/" in path:
            continue  # of a row that this site does not have
        page.goto(path)
        if found := serious_faults(page):
            faults[name] = found
        if page.evaluate("document.documentElement.scrollWidth") > width:
            faults.setdefault(name, []).append("wider than the screen")
    assert not faults, "\n".join(f"{name}: {line}" for name, lines in faults.items() for line in lines)
