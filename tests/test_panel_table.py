"""The table of the panel's pages in the docs: no page of One API is missing, and each row is checked by tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_DOCUMENT = _TESTS.parent / "docs" / "panel.md"
_CHECK = re.compile(r"`([\w.]+)\.(test_\w+)`")
# Source: spec management.md §10.2.
_PAGES = (
    "/", "/login", "/register", "/reset", "/user/reset", "/oauth/github", "/oauth/lark", "/oauth/oidc", "/channel",
    "/channel/add", "/channel/edit/:id", "/token", "/token/add", "/token/edit/:id", "/redemption", "/redemption/add",
    "/redemption/edit/:id", "/topup", "/user", "/user/add", "/user/edit/:id", "/user/edit", "/dashboard", "/log",
    "/setting", "/about", "/chat", "*",
)  # fmt: skip


def rows() -> list[list[str]]:
    section = _DOCUMENT.read_text("utf-8").split("## Pages of One API, and ours")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@cache
def functions_of(module: str) -> frozenset[str]:
    """The functions of a module that is named as the table names it; none where there is no such file."""
    path = Path(*module.split(".")).with_suffix(".py")
    for file in (_TESTS / "panel" / path, _TESTS / path):
        if file.is_file():
            tree = ast.parse(file.read_text("utf-8"))
            return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return frozenset()


@pytest.mark.parametrize("page", _PAGES)
def test_every_page_of_the_reference_is_in_the_table(page: str) -> None:
    assert any(f"`{page}`" in row[0] for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]} {row[1]} {row[2]}")
def test_every_row_is_checked_by_tests_that_are_there(row: list[str]) -> None:
    assert len(row) == 4
    checks = _CHECK.findall(row[3])
    assert checks
    assert ", ".join(f"`{module}.{name}`" for module, name in checks) == row[3]
    assert [f"{module}.{name}" for module, name in checks if name not in functions_of(module)] == []
