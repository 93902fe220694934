"""Log rows as CSV, read in pages while they are sent: an export of millions holds a thousand rows at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, select

from oneapi.database import in_thread
from oneapi.models import Log
from oneapi.services.logs import Filters
from oneapi.services.rows import AnyRow

_PAGE = 1000
_COLUMNS = (
    "id", "time", "type", "username", "token_name", "model_name", "quota", "prompt_tokens", "completion_tokens",
    "channel", "request_id", "elapsed_time", "first_token_ms", "is_stream", "content",
)  # fmt: skip
_NOT_HIS = ("id", "channel")  # of one's own rows: they would tell how busy the site is, and who serves it


def log_rows_as_csv(log_engine: Engine, filters: Filters, *, is_own: bool = False) -> Iterator[bytes]:
    """The rows, newest first, with a line of names before them; times are UTC. Begins with a byte-order mark, without
    which spreadsheets take UTF-8 for something else."""
    columns = [name for name in _COLUMNS if not (is_own and name in _NOT_HIS)]
    yield b"\xef\xbb\xbf" + _lines([columns])
    while True:
        query = select(Log).where(*filters.conditions()).order_by(Log.id.desc()).limit(_PAGE)

        def read(connection: Connection, query: object = query) -> list[AnyRow]:
            return list(connection.execute(query))  # type: ignore[call-overload]

        rows = in_thread(log_engine, read)
        if rows:
            yield _lines([[_cell(row, name) for name in columns] for row in rows])
        if len(rows) < _PAGE:
            return
        filters = replace(filters, before_id=rows[-1].id)


def _lines(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(row: AnyRow, name: str) -> str:
    match name:
        case "time":
            return datetime.fromtimestamp(row.created_at or 0, UTC).strftime("%Y-%m-%d %H:%M:%S")
        case "channel":
            return str(row.channel_id or "")
    value = getattr(row, name)
    if value is None:
        return ""
    text = str(value)
    # A text that begins like a formula would be run by the spreadsheet that opens it.
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
