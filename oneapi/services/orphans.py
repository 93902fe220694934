"""Holds whose worker is gone: what they took is given back when they expire, and the row stays for a day, marked.

Should the call live after all, its settlement finds the mark and charges the whole cost instead of the difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, Engine, delete, func, select, update

from oneapi.database import run_write
from oneapi.models import Hold, Token, User

KEPT_S = 86400
_BATCH = 100


def release(engine: Engine, *, now: int) -> int:
    """Gives back what expired holds took, and says how many they were."""
    return _in_batches(engine, lambda connection: _release_batch(connection, now))


def purge(engine: Engine, *, now: int) -> int:
    """Deletes holds that were released more than a day ago, and says how many they were."""
    return _in_batches(engine, lambda connection: _purge_batch(connection, now - KEPT_S))


def _in_batches(engine: Engine, work: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        count = run_write(engine, work)
        total += count
        if count < _BATCH:
            return total


def _release_batch(connection: Connection, now: int) -> int:
    """Rows are locked in the ledger's order: holds, users, tokens, each by its id."""
    rows = connection.execute(
        select(Hold.request_id, Hold.user_id, Hold.token_id, Hold.user_quota, Hold.token_quota)
        .where(Hold.released_at.is_(None), Hold.expires_at < now)
        .order_by(Hold.request_id)
        .limit(_BATCH)
        .with_for_update()
    ).all()
    if not rows:
        return 0
    connection.execute(
        update(Hold).where(Hold.request_id.in_([row.request_id for row in rows])).values(released_at=now)
    )
    users: defaultdict[int, int] = defaultdict(int)
    tokens: defaultdict[int, int] = defaultdict(int)
    for row in rows:
        users[row.user_id] += row.user_quota
        tokens[row.token_id] += row.token_quota
    for user_id, quota in _in_order(users):
        change = {"quota": func.coalesce(User.quota, 0) + quota}
        connection.execute(update(User).where(User.id == user_id).values(change))
    for token_id, quota in _in_order(tokens):
        change = {"remain_quota": func.coalesce(Token.remain_quota, 0) + quota}
        connection.execute(update(Token).where(Token.id == token_id).values(change))
    return len(rows)


def _in_order(changes: Mapping[int, int]) -> list[tuple[int, int]]:
    return sorted((key, quota) for key, quota in changes.items() if quota)


def _purge_batch(connection: Connection, before: int) -> int:
    ids = connection.scalars(select(Hold.request_id).where(Hold.released_at < before).limit(_BATCH)).all()
    if ids:
        connection.execute(delete(Hold).where(Hold.request_id.in_(ids)))
    return len(ids)
