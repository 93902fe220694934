"""Figures for dashboards. Days are days of UTC, whatever zone a database lives in (D-35)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, case, func, select

from oneapi.database import in_thread
from oneapi.models import Log
from oneapi.services.logs import CONSUMPTION, FAILURE
from oneapi.services.rows import AnyRow

DAY_S = 86400
DASHBOARD_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOfModel:
    """What somebody consumed of one model on one day (YYYY-MM-DD)."""

    day: str
    model_name: str
    requests: int
    quota: int
    prompt_tokens: int
    completion_tokens: int


def dashboard(log_engine: Engine, user_id: int, *, now: int) -> list[DayOfModel]:
    """The last seven days, today included, by day and model."""
    today = now - now % DAY_S
    begin_of_day = Log.created_at - Log.created_at % DAY_S
    query = (
        select(
            begin_of_day.label("day"),
            Log.model_name.label("model"),
            func.count().label("requests"),
            func.sum(Log.quota).label("quota"),
            func.sum(Log.prompt_tokens).label("prompt_tokens"),
            func.sum(Log.completion_tokens).label("completion_tokens"),
        )
        .where(
            Log.user_id == user_id,
            Log.type == CONSUMPTION,
            Log.created_at >= today - (DASHBOARD_DAYS - 1) * DAY_S,
            Log.created_at < today + DAY_S,
        )
        # By the names: PostgreSQL takes the same expression with other parameters for another one.
        .group_by("day", "model")
        .order_by("day", "model")
    )
    with log_engine.connect() as connection:
        return [
            DayOfModel(
                day=datetime.fromtimestamp(int(row.day), UTC).strftime("%Y-%m-%d"),
                model_name=row.model or "",
                requests=int(row.requests),
                quota=int(row.quota or 0),
                prompt_tokens=int(row.prompt_tokens or 0),
                completion_tokens=int(row.completion_tokens or 0),
            )
            for row in connection.execute(query)
        ]


# ---- charts ----

By = Literal["model", "token", "channel", "user"]

_NAMES: dict[By, Any] = {
    "model": Log.model_name,
    "token": Log.token_name,
    "channel": Log.channel_id,
    "user": Log.username,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time in equal steps. `zone_s` is what the reader's clock is ahead of UTC: days are his."""

    start: int
    end: int
    step_s: int
    zone_s: int = 0

    @property
    def steps(self) -> list[int]:
        """The begin of each step, as Unix seconds."""
        return list(range(self._begin(self.start), self.end, self.step_s))

    def _begin(self, moment: int) -> int:
        return moment - (moment + self.zone_s) % self.step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What was used and how it went. Times are sums over requests that have them: divide by their numbers."""

    requests: int = 0
    failures: int = 0
    quota: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    elapsed_ms: int = 0
    first_token_ms: int = 0
    with_first_token: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """`parts` are the dearest names of the whole span, each with its sums, over all and by step."""

    steps: list[int]
    total: Sums
    by_step: dict[int, Sums]
    parts: list[tuple[str, Sums, dict[int, Sums]]]


def usage(log_engine: Engine, span: Span, by: By, *, user_id: int | None = None, most_parts: int = 8) -> Usage:
    """What was used in that span, by somebody or by all."""
    wanted = [
        Log.type.in_((CONSUMPTION, FAILURE)),
        Log.created_at >= span.steps[0],
        Log.created_at < span.end,
        *([] if user_id is None else [Log.user_id == user_id]),
    ]
    name = _NAMES[by]
    moment = Log.created_at + span.zone_s
    begin = moment - moment % span.step_s

    def work(connection: Connection) -> Usage:
        dearest = connection.execute(
            select(name.label("name"), *_SUMS)
            .where(*wanted)
            .group_by("name")
            .order_by(_SUMS[2].desc(), _SUMS[0].desc())
            .limit(most_parts)
        ).all()
        by_step = connection.execute(select(begin.label("step"), *_SUMS).where(*wanted).group_by("step")).all()
        parts: dict[Any, dict[int, Sums]] = {row.name: {} for row in dearest}
        query = select(begin.label("step"), name.label("name"), *_SUMS).where(*wanted, name.in_(parts))
        for row in connection.execute(query.group_by("step", "name")):
            parts.setdefault(row.name, {})[int(row.step) - span.zone_s] = _sums(row)
        steps = {int(row.step) - span.zone_s: _sums(row) for row in by_step}
        return Usage(
            steps=span.steps,
            total=_added(steps.values()),
            by_step=steps,
            parts=[(_text(row.name), _sums(row), parts[row.name]) for row in dearest],
        )

    return in_thread(log_engine, work)


def _counted(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


_IS_PAID = Log.type == CONSUMPTION
_SUMS: tuple[ColumnElement[Any], ...] = (
    _counted(_IS_PAID).label("requests"),
    _counted(Log.type == FAILURE).label("failures"),
    func.sum(Log.quota).label("quota"),
    func.sum(Log.prompt_tokens).label("prompt_tokens"),
    func.sum(Log.completion_tokens).label("completion_tokens"),
    func.sum(case((_IS_PAID, Log.elapsed_time), else_=0)).label("elapsed_ms"),
    func.sum(case((_IS_PAID, Log.first_token_ms), else_=0)).label("first_token_ms"),
    _counted(_IS_PAID & Log.first_token_ms.is_not(None)).label("with_first_token"),
)
_FIELDS = tuple(column.name for column in _SUMS)


def _sums(row: AnyRow) -> Sums:
    return Sums(**{field: int(getattr(row, field) or 0) for field in _FIELDS})


def _added(several: Iterable[Sums]) -> Sums:
    rows = list(several)
    return Sums(**{field: sum(getattr(row, field) for row in rows) for field in _FIELDS})


def _text(name: object) -> str:
    return "" if name is None else str(name)
