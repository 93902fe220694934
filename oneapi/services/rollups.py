"""Rollups: the sums of each hour of the logs, kept when the rows themselves are pruned.

An hour is summed up once it is over. The last two days are looked at again each time, since a row may come late: from
the outbox, or from a spool file. An hour is written anew only where there are more rows than it was made of, so that
pruning rows takes nothing away from their sums.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import gevent
from sqlalchemy import ColumnElement, Connection, Engine, case, delete, func, insert, select

from oneapi.database import in_thread, run_write
from oneapi.models import Log, LogRollup
from oneapi.services.logs import CONSUMPTION, FAILURE
from oneapi.services.rows import AnyRow

HOUR_S = 3600
_LATE_S = 120  # after its end, an hour's rows are all there
_AGAIN_S = 48 * HOUR_S
_TYPES = (CONSUMPTION, FAILURE)
_ROWS_A_TIME = 500


def roll_up(log_engine: Engine, *, now: int) -> int:
    """Sums up every hour that is over, the oldest first, and returns how many were written."""
    end = _hour(now - _LATE_S)
    newest = _newest(log_engine)
    since = 0 if newest is None else newest - _AGAIN_S
    written = 0
    while (hour := in_thread(log_engine, partial(_next_hour, since=since))) is not None and hour < end:
        written += _roll_up_hour(log_engine, hour)
        since = hour + HOUR_S
        gevent.sleep(0)  # a long past is summed up beside everything else
    return written


def rolled_up_to(log_engine: Engine) -> int:
    """The moment before which every row is in a sum; 0 where nothing was summed up yet."""
    newest = _newest(log_engine)
    return 0 if newest is None else newest + HOUR_S


def _newest(log_engine: Engine) -> int | None:
    with log_engine.connect() as connection:
        return connection.scalar(select(func.max(LogRollup.hour)))


def _next_hour(connection: Connection, since: int) -> int | None:
    """The first hour from then on that has rows."""
    first = connection.scalar(
        select(Log.created_at).where(Log.created_at >= since, Log.type.in_(_TYPES)).order_by(Log.created_at).limit(1)
    )
    return None if first is None else _hour(first)


def _roll_up_hour(log_engine: Engine, hour: int) -> bool:
    rows, stored = in_thread(log_engine, lambda connection: (_sums(connection, hour), _stored(connection, hour)))
    if sum(int(row.requests) + int(row.errors) for row in rows) <= stored:
        return False
    values = [_values(hour, row) for row in rows]

    def work(connection: Connection) -> None:
        connection.execute(delete(LogRollup).where(LogRollup.hour == hour))
        for begin in range(0, len(values), _ROWS_A_TIME):
            connection.execute(insert(LogRollup), values[begin : begin + _ROWS_A_TIME])

    run_write(log_engine, work)
    return True


def _sums(connection: Connection, hour: int) -> Collection[AnyRow]:
    keys: dict[str, ColumnElement[Any]] = {
        "of_user": func.coalesce(Log.user_id, 0),
        "of_token": func.coalesce(Log.token_id, 0),
        "of_channel": func.coalesce(Log.channel_id, 0),
        "of_model": func.coalesce(Log.model_name, ""),
    }
    query = (
        select(
            *(key.label(name) for name, key in keys.items()),
            func.max(Log.username).label("username"),
            _sum(1).label("requests"),
            func.sum(case((Log.type == FAILURE, 1), else_=0)).label("errors"),
            *(_sum(getattr(Log, name)).label(name) for name in ("quota", "prompt_tokens", "completion_tokens")),
            _sum(Log.elapsed_time).label("elapsed_ms"),
            _sum(Log.first_token_ms).label("first_token_ms"),
        )
        .where(Log.created_at >= hour, Log.created_at < hour + HOUR_S, Log.type.in_(_TYPES))
        # By the names: PostgreSQL takes the same expression with other parameters for another one.
        .group_by(*keys)
    )
    return connection.execute(query).all()


def _sum(of: Any) -> ColumnElement[int]:
    """Over the requests that were answered."""
    return func.sum(case((Log.type == CONSUMPTION, of), else_=0))


def _stored(connection: Connection, hour: int) -> int:
    """How many log rows the hour's sums were made of."""
    counted = select(func.sum(LogRollup.requests + LogRollup.errors)).where(LogRollup.hour == hour)
    return int(connection.scalar(counted) or 0)


def _values(hour: int, row: AnyRow) -> dict[str, Any]:
    numbers = ("requests", "errors", "quota", "prompt_tokens", "completion_tokens", "elapsed_ms", "first_token_ms")
    return {
        "hour": hour,
        "user_id": row.of_user,
        "token_id": row.of_token,
        "channel_id": row.of_channel,
        "model_name": row.of_model,
        "username": row.username or "",
        **{name: int(getattr(row, name) or 0) for name in numbers},
    }


def _hour(moment: int) -> int:
    return moment - moment % HOUR_S
