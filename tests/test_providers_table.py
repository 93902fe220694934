"""The table of providers in the docs says what the cases say."""

from pathlib import Path

from tests import providers_table


def test_the_table_of_providers_is_the_one_that_the_cases_make(fixtures_dir: Path) -> None:
    made = providers_table.table(fixtures_dir)
    assert providers_table.DOCUMENT.read_text("utf-8") == made, "run: python -m tests.providers_table"


def test_no_cell_is_empty(fixtures_dir: Path) -> None:
    rows = [line for line in providers_table.table(fixtures_dir).splitlines() if line.startswith("| ")]
    assert all(cell.strip() for row in rows for cell in row.strip("|").split("|"))
