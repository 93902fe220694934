"""Pruning: old log rows go, and what they add up to stays.

The sums of the rows are kept in `openings`, so that every balance can still be proved (docs/architecture.md §3), and
charts show them on: hours that are over are summed up before (rollups.py).
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, select, update

from oneapi.database import Databases, run_write
from oneapi.models import Log, Opening
from oneapi.services import audit, rollups
from oneapi.services.audit import Actor
from oneapi.services.logs import CONSUMPTION, FAILURE, MANAGEMENT, SYSTEM, TEST, TOP_UP, TYPES
from oneapi.services.refusal import invalid_input
from oneapi.services.rows import AnyRow, AnySelect

PRUNED_BY_DEFAULT = (CONSUMPTION, TEST, FAILURE)  # the others tell of credits, and of who did what (D-59)
_BATCH = 2000


def prune(
    databases: Databases,
    actor: Actor,
    *,
    before: int,
    types: Collection[int] = PRUNED_BY_DEFAULT,
    now: int,
) -> int:
    """Deletes rows of these types from before that time, in batches, and returns how many they were."""
    if not set(types) <= set(TYPES):
        raise invalid_input("log_types_unknown")
    rollups.roll_up(databases.logs, now=now)
    doomed = select(Log.id, Log.user_id, Log.type, Log.quota).where(Log.created_at < before, Log.type.in_(types))
    doomed = doomed.order_by(Log.id).limit(_BATCH)
    batch = _prune_batch_apart if databases.is_split else _prune_batch
    count = 0
    while size := batch(databases, doomed):
        count += size

    kinds = ", ".join(map(str, sorted(types)))
    what = f"deleted {count} log rows of types {kinds} older than {before}"
    if count:
        run_write(databases.main, lambda connection: audit.record(connection, actor, what, now=now))
    return count


def _prune_batch(databases: Databases, doomed: AnySelect) -> int:
    def work(connection: Connection) -> int:
        rows = connection.execute(doomed).all()
        _delete(connection, rows)
        _fold(connection, rows)
        return len(rows)

    return run_write(databases.main, work)


def _prune_batch_apart(databases: Databases, doomed: AnySelect) -> int:
    """The same with two databases: sums are kept first, and taken back if the rows then cannot be deleted."""
    with databases.logs.connect() as log_connection:
        rows = log_connection.execute(doomed).all()
        _delete(log_connection, rows)
        run_write(databases.main, lambda connection: _fold(connection, rows))
        try:
            log_connection.commit()
        except BaseException:
            run_write(databases.main, lambda connection: _fold(connection, rows, sign=-1))
            raise
    return len(rows)


def _delete(connection: Connection, rows: Collection[AnyRow]) -> None:
    if rows:
        connection.execute(delete(Log).where(Log.id.in_([row.id for row in rows])))


def _fold(connection: Connection, rows: Collection[AnyRow], *, sign: int = 1) -> None:
    """Keeps what the rows add up to. A user without an opening balance gets one later, from the rows still there."""
    credited: dict[int, int] = {}
    charged: dict[int, int] = {}
    for row in rows:
        if row.quota and row.type in (TOP_UP, MANAGEMENT, SYSTEM):
            credited[row.user_id] = credited.get(row.user_id, 0) + sign * row.quota
        elif row.quota and row.type == CONSUMPTION:
            charged[row.user_id] = charged.get(row.user_id, 0) + sign * row.quota
    for user_id in sorted(credited.keys() | charged.keys()):
        connection.execute(
            update(Opening)
            .where(Opening.user_id == user_id)
            .values(
                credited=Opening.credited + credited.get(user_id, 0), charged=Opening.charged + charged.get(user_id, 0)
            )
        )
