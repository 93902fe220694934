"""Pages of lists: ten rows by default, numbered from zero, as One API's clients expect (spec management.md §4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, literal, select

from oneapi.services.rows import AnyRow, AnySelect

DEFAULT_SIZE = 10
LARGEST_SIZE = 100
_LAST_NUMBER = 10**12


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows are wanted. Counting all rows is dear on a large table, so it is done only when asked for."""

    number: int = 0
    size: int = DEFAULT_SIZE
    wants_total: bool = False

    @property
    def offset(self) -> int:
        return min(self.number, _LAST_NUMBER) * self.size


@dataclass(frozen=True, slots=True)
class Listing:
    """A page's rows, and how many there are in all where that was asked for."""

    rows: list[AnyRow]
    total: int | None = None


def listed(connection: Connection, query: AnySelect, page: Page, *, most: int | None = None) -> Listing:
    """The page of that ordered query. With `most` a larger total is told as this, for want of counting on."""
    rows = list(connection.execute(query.limit(page.size).offset(page.offset)))
    if not page.wants_total:
        return Listing(rows)
    counted = query.with_only_columns(literal(1), maintain_column_froms=True).order_by(None).limit(most).subquery()
    return Listing(rows, connection.execute(select(func.count()).select_from(counted)).scalar_one())
