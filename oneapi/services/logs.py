"""Logs: record, list, search. Sums are in statistics.py, pruning is in pruning.py.

Rows live in the log database where there is one; a row that belongs to a transaction of the main database then waits in
the outbox.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, insert, literal, or_, select

from oneapi.database import in_thread
from oneapi.models import Log, OutboxEntry
from oneapi.relay.exchange import LogEntry
from oneapi.services import log_rows
from oneapi.services.numbers import id_of
from oneapi.services.paging import Listing, Page, listed
from oneapi.services.rows import AnyRow, AnySelect

TOP_UP, CONSUMPTION, MANAGEMENT, SYSTEM, TEST, FAILURE = TYPES = (1, 2, 3, 4, 5, 6)
SEARCH_LIMIT = 100
SEARCHED = 200_000  # rows that a search looks through
SEARCHED_OF_USER = 50_000  # which are all over the table
COUNT_LIMIT = 100_000  # a total is not counted any further
_NARROW = 100_000  # rows; a period with fewer is looked through
_RARE = (TOP_UP, MANAGEMENT, SYSTEM, TEST)  # types that most rows are not of

_COLUMNS: tuple[Any, ...] = tuple(column for column in Log.__table__.c if column is not Log.__table__.c.receipt)


def record(connection: Connection, entry: LogEntry) -> None:
    """Writes the row in the caller's transaction on the main database."""
    entry = log_rows.cleaned(entry)
    if not connection.get_execution_options().get("has_outbox"):
        connection.execute(insert(Log).values(**dict(zip(log_rows.COLUMNS, log_rows.values(entry), strict=True))))
        return
    # Whoever moves rows knows those moved already by this id, so each needs one of its own.
    entry = replace(entry, request_id=entry.request_id or f"log-{secrets.token_hex(12)}")
    row = dict(zip(log_rows.OUTBOX_COLUMNS, log_rows.outbox_values(entry), strict=True))
    connection.execute(insert(OutboxEntry).values(**row))


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which rows are wanted; zero and empty mean all. `before_id` continues a list without counting from its start."""

    user_id: int | None = None
    type: int = 0
    start: int = 0  # Unix seconds, both inclusive
    end: int = 0
    username: str = ""
    token_name: str = ""
    model_name: str = ""
    channel_id: int = 0
    request_id: str = ""
    before_id: int = 0

    def conditions(self, *, by_time: bool = False) -> list[ColumnElement[bool]]:
        """With `by_time` in words for which no database takes another index than that of times."""

        def equal(column: Any, value: int | str | None) -> ColumnElement[bool]:
            if by_time:
                column = func.coalesce(column, "" if isinstance(value, str) else 0)
            condition: ColumnElement[bool] = column == value
            return condition

        pairs: Iterable[tuple[Any, ColumnElement[bool]]] = (
            (self.user_id is not None, equal(Log.user_id, self.user_id)),
            (self.type, Log.type == self.type),
            (self.start or by_time, Log.created_at >= self.start),
            (self.end, Log.created_at <= self.end),
            (self.username, equal(Log.username, self.username)),
            (self.token_name, equal(Log.token_name, self.token_name)),
            (self.model_name, equal(Log.model_name, self.model_name)),
            (self.channel_id, equal(Log.channel_id, self.channel_id)),
            (self.request_id, Log.request_id == self.request_id),
            (self.before_id, Log.id < self.before_id),
        )
        return [condition for value, condition in pairs if value]


# ---- reading; the engine is that of the log database ----


def list_page(log_engine: Engine, filters: Filters, page: Page) -> Listing:
    """The rows, newest first, without their receipts."""

    def work(connection: Connection) -> Listing:
        if not _is_by_time(connection, filters):
            query: AnySelect = select(*_COLUMNS).where(*filters.conditions()).order_by(Log.id.desc())
            return listed(connection, query, page, most=COUNT_LIMIT)
        # The index of times has the type between time and id, and gives rows in this order without sorting. Their ids
        # are looked for first: MySQL would read each row on the way whole.
        order = (Log.created_at.desc(), Log.type.desc(), Log.id.desc())
        ids = select(Log.id).where(*filters.conditions(by_time=True)).order_by(*order)
        found = listed(connection, ids, page, most=COUNT_LIMIT)
        rows = select(*_COLUMNS).where(Log.id.in_([row.id for row in found.rows])).order_by(*order)
        return Listing(list(connection.execute(rows)), found.total)

    return in_thread(log_engine, work)


def _is_by_time(connection: Connection, filters: Filters) -> bool:
    """Whether the rows are best found by the index of times, which has their types as well.

    Of a long time the newest that fit are soon found from the end of the table, or by an index that gives them in the
    order of their ids.
    """
    if filters.before_id or filters.request_id:
        return False
    if filters == Filters(type=filters.type, start=filters.start, end=filters.end) and filters.type in _RARE:
        return True
    if not (filters.start or filters.end):
        return False
    period = select(literal(1)).where(*Filters(start=filters.start, end=filters.end).conditions()).limit(_NARROW)
    return connection.execute(select(func.count()).select_from(period.subquery())).scalar_one() < _NARROW


def search(log_engine: Engine, keyword: str, *, user_id: int | None = None) -> list[AnyRow]:
    """The newest rows of that type number, or with a text that begins with the keyword: content, names, request id.

    With `user_id` only his. Texts have no index: only the newest rows are looked through, and `list_page` finds the
    others by their names.
    """
    texts = (Log.content, Log.model_name, Log.token_name, Log.username, Log.request_id)
    matches: list[ColumnElement[bool]] = [text.startswith(keyword, autoescape=True) for text in texts]
    if (number := id_of(keyword)) is not None:
        matches.append(Log.type == number)
    query: AnySelect = select(*_COLUMNS).where(or_(*matches)).order_by(Log.id.desc()).limit(SEARCH_LIMIT)

    def work(connection: Connection) -> list[AnyRow]:
        if user_id is None:
            newest = connection.scalar(select(func.max(Log.id))) or 0
            return list(connection.execute(query.where(Log.id > newest - SEARCHED)))
        # Joined: by a least id MySQL would not be kept from looking at all of his rows.
        his = select(Log.id).where(Log.user_id == user_id).order_by(Log.id.desc()).limit(SEARCHED_OF_USER).subquery()
        return list(connection.execute(query.join_from(Log, his, Log.id == his.c.id)))

    return in_thread(log_engine, work)
