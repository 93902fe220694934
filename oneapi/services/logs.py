"""Logs: record, list, search. Sums are in statistics.py, pruning is in pruning.py.

Rows live in the log database where there is one; a row that belongs to a transaction of the main database then waits in
the outbox.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, insert, or_, select

from oneapi.models import Log, OutboxEntry
from oneapi.relay.exchange import LogEntry
from oneapi.services import log_rows
from oneapi.services.numbers import id_of
from oneapi.services.paging import Listing, Page, listed
from oneapi.services.rows import AnyRow, AnySelect

TOP_UP, CONSUMPTION, MANAGEMENT, SYSTEM, TEST, FAILURE = TYPES = (1, 2, 3, 4, 5, 6)
SEARCH_LIMIT = 100


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

    def conditions(self) -> list[ColumnElement[bool]]:
        pairs: Iterable[tuple[Any, ColumnElement[bool]]] = (
            (self.type, Log.type == self.type),
            (self.start, Log.created_at >= self.start),
            (self.end, Log.created_at <= self.end),
            (self.username, Log.username == self.username),
            (self.token_name, Log.token_name == self.token_name),
            (self.model_name, Log.model_name == self.model_name),
            (self.channel_id, Log.channel_id == self.channel_id),
            (self.request_id, Log.request_id == self.request_id),
            (self.before_id, Log.id < self.before_id),
        )
        conditions = [condition for value, condition in pairs if value]
        return conditions if self.user_id is None else [Log.user_id == self.user_id, *conditions]


# ---- reading; the engine is that of the log database ----


def list_page(log_engine: Engine, filters: Filters, page: Page) -> Listing:
    """The rows, newest first."""
    with log_engine.connect() as connection:
        return listed(connection, select(Log).where(*filters.conditions()).order_by(Log.id.desc()), page)


def search(log_engine: Engine, keyword: str, *, user_id: int | None = None) -> list[AnyRow]:
    """The newest rows of that type number, or with a text that begins with the keyword: content, names, request id.

    With `user_id` only his.
    """
    texts = (Log.content, Log.model_name, Log.token_name, Log.username, Log.request_id)
    matches: list[ColumnElement[bool]] = [text.startswith(keyword, autoescape=True) for text in texts]
    if (number := id_of(keyword)) is not None:
        matches.append(Log.type == number)
    query: AnySelect = select(Log).where(or_(*matches))
    if user_id is not None:
        query = query.where(Log.user_id == user_id)
    with log_engine.connect() as connection:
        return list(connection.execute(query.order_by(Log.id.desc()).limit(SEARCH_LIMIT)))
