"""docs/acceptance.md: every check of the spec's appendix has tests, and those that it names exist."""

import re
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_CHECKS = 30
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (_TESTS.parent / "docs" / "acceptance.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]
NAMED = sorted({name for row in ROWS for name in re.findall(r"`([\w/]+\.py::\w+)`", " ".join(row))})


def test_every_check_has_a_row():
    assert [int(row[0]) for row in ROWS] == list(range(1, _CHECKS + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_check_is_tried_on_the_running_program(row):
    _, check, street, _ = row
    assert check
    assert re.findall(r"`(street|panel)/\w+\.py::test_\w+`", street)


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name):
    path, _, function = name.partition("::")
    assert re.search(rf"^def {function}\(", (_TESTS / path).read_text(), re.MULTILINE)
