"""Rollups: the sums of each hour and each day of the logs, which charts are read from, and which outlive the rows.

Each is kept once for every way in which charts cut it: as a whole, by model, channel, user and token, and each user's
own by model. A chart is then read from few rows, however many were logged.

An hour is summed up once it is over, the oldest first, and a day once its hours are. The last two days are looked at
again each time, since a row may come late: from the outbox, or from a spool file. An hour is written anew only where
there are more rows than it was made of, so that pruning rows takes nothing away from their sums.

Days are days of UTC. Whoever reads gets a period cut into whole days, whole hours and what must be read from the rows
(`split`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import gevent
from sqlalchemy import ColumnElement, Connection, Engine, String, case, cast, delete, func, insert, literal, select
from sqlalchemy.exc import IntegrityError

from oneapi.database import in_thread, run_write
from oneapi.models import Log, LogRollup
from oneapi.services.logs import CONSUMPTION, FAILURE
from oneapi.services.rows import AnyRow

HOUR_S = 3600
DAY_S = 86400
ROWS = 0  # in the place of a length: no sums, but the rows themselves
_LATE_S = 120  # after its end, an hour's rows are all there
_AGAIN_S = 2 * DAY_S
_ROWS_A_TIME = 500

Dimension = Literal["total", "model", "channel", "user", "token", "own model"]

TYPES = (CONSUMPTION, FAILURE)
_MODEL = func.coalesce(Log.model_name, "")
NAMES: dict[Dimension, ColumnElement[str]] = {
    "total": literal(""),
    "model": _MODEL,
    "channel": cast(func.coalesce(Log.channel_id, 0), String),
    "user": func.coalesce(Log.username, ""),
    "token": func.coalesce(Log.token_name, ""),
    "own model": _MODEL,
}
BY_USER: frozenset[Dimension] = frozenset({"user", "token", "own model"})  # whose rows also say of whom they are


def _summed(of: Any) -> ColumnElement[int]:
    """Over the requests that were answered."""
    return func.sum(case((Log.type == CONSUMPTION, of), else_=0))


# What is summed up of rows, by the names of the columns that keep it.
SUMS: dict[str, ColumnElement[int]] = {
    "requests": _summed(1),
    "failures": func.sum(case((Log.type == FAILURE, 1), else_=0)),
    "quota": _summed(Log.quota),
    "prompt_tokens": _summed(Log.prompt_tokens),
    "completion_tokens": _summed(Log.completion_tokens),
    "elapsed_ms": _summed(Log.elapsed_time),
    "first_token_ms": _summed(Log.first_token_ms),
    "with_first_token": _summed(case((Log.first_token_ms.is_not(None), 1), else_=0)),
}


# ---- reading ----


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a period that is read from rollups of one length, or with length ROWS from the log rows."""

    length_s: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Reach:
    """The moments before which all is in rollups of hours, and of days; 0 where nothing was summed up yet."""

    hours_end: int
    days_end: int

    def split(self, begin: int, end: int, *, by_days: bool = True) -> list[Stretch]:
        """The period in stretches without gaps, each as long as it can be."""
        last = min(_down(end, HOUR_S), self.hours_end)
        first = min(_up(begin, HOUR_S), last)
        if first == last:
            return [Stretch(ROWS, begin, end)]
        last_day = min(_down(last, DAY_S), self.days_end) if by_days else 0
        first_day = min(_up(first, DAY_S), last_day)
        if first_day == last_day:
            first_day = last_day = first
        bounds = (
            (ROWS, begin, first),
            (HOUR_S, first, first_day),
            (DAY_S, first_day, last_day),
            (HOUR_S, last_day, last),
            (ROWS, last, end),
        )
        return [Stretch(*one) for one in bounds if one[1] < one[2]]


def reach(connection: Connection) -> Reach:
    """How far the sums go now."""
    return Reach(_end(connection, HOUR_S), _end(connection, DAY_S))


def _end(connection: Connection, length_s: int) -> int:
    newest = connection.scalar(select(func.max(LogRollup.start)).where(LogRollup.length_s == length_s))
    return 0 if newest is None else int(newest) + length_s


# ---- summing up ----


def roll_up(log_engine: Engine, *, now: int) -> int:
    """Sums up every hour and every day that is over, and returns how many hours were written."""
    with log_engine.connect() as connection:
        since = max(reach(connection).hours_end - _AGAIN_S, 0)
    end = _down(now - _LATE_S, HOUR_S)
    written = 0
    while (window := in_thread(log_engine, partial(_next_hours, since=since, end=end))) is not None:
        hours, since = window
        for hour in hours:
            written += _roll_up_hour(log_engine, hour)
            gevent.sleep(0)  # a long past is summed up beside everything else
        _roll_up_days(log_engine)
    return written


def _next_hours(connection: Connection, since: int, end: int) -> tuple[list[int], int] | None:
    """The hours of the next days with rows that have more of them than are summed up, and where to go on after them."""
    logged = select(Log.created_at).where(Log.created_at >= since, Log.created_at < end, Log.type.in_(TYPES))
    first = connection.scalar(logged.order_by(Log.created_at).limit(1))
    if first is None:
        return None
    begin = _down(first, HOUR_S)
    end = min(begin + _AGAIN_S, end)
    hour = (Log.created_at - Log.created_at % HOUR_S).label("hour")
    counted = (
        select(hour, func.count().label("rows"))
        .where(Log.created_at >= begin, Log.created_at < end, Log.type.in_(TYPES))
        # By the name: PostgreSQL takes the same expression with other parameters for another one.
        .group_by("hour")
        .order_by("hour")
    )
    totals = select(LogRollup.start, LogRollup.requests + LogRollup.failures).where(
        *_totals(HOUR_S), LogRollup.start >= begin, LogRollup.start < end
    )
    stored = {int(start): int(rows) for start, rows in connection.execute(totals)}
    hours = [int(row.hour) for row in connection.execute(counted) if row.rows > stored.get(int(row.hour), 0)]
    return hours, end


def _roll_up_hour(log_engine: Engine, hour: int) -> bool:
    values = in_thread(log_engine, partial(_sums_of_rows, hour=hour))

    def work(connection: Connection) -> None:
        # Days that the hour is in no longer hold; they are summed up anew after it.
        connection.execute(delete(LogRollup).where(LogRollup.length_s == DAY_S, LogRollup.start >= _down(hour, DAY_S)))
        _replace(connection, HOUR_S, hour, values)

    return _write(log_engine, work, HOUR_S, hour)


def _roll_up_days(log_engine: Engine) -> None:
    """Sums up the days whose hours are all summed up."""

    def next_day(connection: Connection) -> int | None:
        known = reach(connection)
        hours = select(func.min(LogRollup.start)).where(
            LogRollup.length_s == HOUR_S,
            LogRollup.start >= known.days_end,
            LogRollup.start < _down(known.hours_end, DAY_S),
        )
        first = connection.scalar(hours)
        return None if first is None else _down(first, DAY_S)

    while (day := in_thread(log_engine, next_day)) is not None:
        values = in_thread(log_engine, partial(_sums_of_hours, day=day))
        _write(log_engine, partial(_replace, length_s=DAY_S, start=day, values=values), DAY_S, day)
        gevent.sleep(0)


def _write(log_engine: Engine, work: Callable[[Connection], None], length_s: int, start: int) -> bool:
    """Whether it was this that wrote the sums, and not somebody else at the same moment."""
    try:
        run_write(log_engine, work)
    except IntegrityError:
        with log_engine.connect() as connection:
            if not connection.scalar(select(func.count()).where(*_totals(length_s), LogRollup.start == start)):
                raise
        return False
    return True


def _totals(length_s: int) -> tuple[ColumnElement[bool], ...]:
    return LogRollup.length_s == length_s, LogRollup.dimension == "total"


def _replace(connection: Connection, length_s: int, start: int, values: Sequence[dict[str, Any]]) -> None:
    connection.execute(delete(LogRollup).where(LogRollup.length_s == length_s, LogRollup.start == start))
    for begin in range(0, len(values), _ROWS_A_TIME):
        connection.execute(
            insert(LogRollup),
            [{**one, "length_s": length_s, "start": start} for one in values[begin : begin + _ROWS_A_TIME]],
        )


def _sums_of_rows(connection: Connection, hour: int) -> list[dict[str, Any]]:
    sums = [column.label(name) for name, column in SUMS.items()]
    wanted = [Log.created_at >= hour, Log.created_at < hour + HOUR_S, Log.type.in_(TYPES)]
    found: list[dict[str, Any]] = []
    for dimension, name in NAMES.items():
        owner = func.coalesce(Log.user_id, 0) if dimension in BY_USER else literal(0)
        query = select(owner.label("owner"), name.label("part"), *sums).where(*wanted).group_by("owner", "part")
        found += _values(dimension, connection.execute(query))
    return found


def _sums_of_hours(connection: Connection, day: int) -> list[dict[str, Any]]:
    keys = (LogRollup.dimension, LogRollup.user_id.label("owner"), LogRollup.name.label("part"))
    query = (
        select(*keys, *(func.sum(getattr(LogRollup, name)).label(name) for name in SUMS))
        .where(LogRollup.length_s == HOUR_S, LogRollup.start >= day, LogRollup.start < day + DAY_S)
        .group_by(LogRollup.dimension, LogRollup.user_id, LogRollup.name)
    )
    return [value for row in connection.execute(query) for value in _values(row.dimension, [row])]


def _values(dimension: Dimension, rows: Iterable[AnyRow]) -> list[dict[str, Any]]:
    """Rows to write. Drivers give a sum as Decimal, or None where all was NULL."""
    return [
        {
            "user_id": row.owner,
            "dimension": dimension,
            "name": row.part,
            **{name: int(getattr(row, name) or 0) for name in SUMS},
        }
        for row in rows
    ]


def _down(moment: int, length_s: int) -> int:
    return moment - moment % length_s


def _up(moment: int, length_s: int) -> int:
    return _down(moment + length_s - 1, length_s)
