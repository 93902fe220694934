"""The outbox: log rows on their way to a log database that no transaction of the main one reaches (LOG_SQL_DSN).

Rows are written to table `outbox` in the transaction of their money, and moved here: looked for in the log database,
inserted where they are not there yet, and only then deleted. Two movers cannot meet: they wait for each other's row
locks, on SQLite for each other's file lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select

from oneapi.database import run_write
from oneapi.models import Log, OutboxEntry
from oneapi.relay.exchange import LogEntry
from oneapi.services import log_rows
from oneapi.services.rows import AnyRow

_BATCH = 200
_entry = msgspec.json.Decoder(LogEntry).decode


def move(engine: Engine, log_engine: Engine) -> int:
    """Moves all rows that wait, and says how many they were."""
    count = 0
    while moved := _move_batch_of_file(engine, log_engine) if _is_file(engine) else _move_batch(engine, log_engine):
        count += moved
    return count


def _move_batch(engine: Engine, log_engine: Engine) -> int:
    """The rows stay locked until they are in the log database."""

    def work(connection: Connection) -> int:
        rows = connection.execute(_WAITING.with_for_update()).all()
        _copy(rows, log_engine)
        _delete(connection, rows)
        return len(rows)

    return run_write(engine, work)


def _move_batch_of_file(engine: Engine, log_engine: Engine) -> int:
    """On SQLite, whose only lock would keep everybody from writing while the log database is waited for."""
    with _turn(f"{engine.url.database}.outbox-lock") as is_ours:
        if not is_ours:
            return 0
        with engine.connect() as connection:
            rows = connection.execute(_WAITING).all()
        _copy(rows, log_engine)
        run_write(engine, lambda connection: _delete(connection, rows))
        return len(rows)


_WAITING = select(OutboxEntry.id, OutboxEntry.row).order_by(OutboxEntry.id).limit(_BATCH)


def _copy(rows: Sequence[AnyRow], log_engine: Engine) -> None:
    """Inserts those that an interrupted move has not inserted already."""
    entries = [_entry(row.row) for row in rows]
    if not entries:
        return

    def work(connection: Connection) -> None:
        # By time first: the index on request ids may not have been made yet.
        times = [entry.created_at for entry in entries]
        present = connection.execute(
            select(Log.request_id, Log.type, Log.user_id).where(
                Log.created_at.between(min(times), max(times)),
                Log.request_id.in_({entry.request_id for entry in entries}),
            )
        )
        known = {tuple(row) for row in present}
        missing = [entry for entry in entries if (entry.request_id, entry.type, entry.user_id) not in known]
        if missing:
            values = [dict(zip(log_rows.COLUMNS, log_rows.values(entry), strict=True)) for entry in missing]
            connection.execute(insert(Log), values)

    run_write(log_engine, work)


def _delete(connection: Connection, rows: Sequence[AnyRow]) -> None:
    if rows:
        connection.execute(delete(OutboxEntry).where(OutboxEntry.id.in_([row.id for row in rows])))


@contextmanager
def _turn(path: str) -> Iterator[bool]:
    """Whether the file's lock is ours; it is not waited for."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _is_file(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"
