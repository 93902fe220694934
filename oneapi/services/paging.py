"""Pages of lists: ten rows by default, numbered from zero, as One API's clients expect (spec management.md §4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

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


def listed(connection: Connection, query: AnySelect, page: Page) -> Listing:
    """The page of that ordered query."""
    rows = list(connection.execute(query.limit(page.size).offset(page.offset)))
    if not page.wants_total:
        return Listing(rows)
    counted = select(func.count()).select_from(query.order_by(None).subquery())
    return Listing(rows, connection.execute(counted).scalar_one())
