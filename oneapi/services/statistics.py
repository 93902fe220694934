"""Figures for dashboards. Days are days of UTC, whatever zone a database lives in (D-35).

Whole hours and days that are over are read from their sums (rollups.py), the rest from the log rows: the figures are
those of the rows, and stay when these are pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, func, select

from oneapi.database import in_thread
from oneapi.models import Log, LogRollup
from oneapi.services import rollups
from oneapi.services.logs import CONSUMPTION, Filters
from oneapi.services.rollups import DAY_S, HOUR_S, ROWS, Dimension, Reach, Stretch

DASHBOARD_DAYS = 7
_ENDLESS = 2**53  # seconds; later than any row


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
    span = Span(start=today - (DASHBOARD_DAYS - 1) * DAY_S, end=today + DAY_S, step_s=DAY_S)

    def work(connection: Connection) -> dict[str, dict[int, Sums]]:
        return _by_part(_cells(connection, _Cut("model", user_id), span))

    found = [
        DayOfModel(
            day=datetime.fromtimestamp(step, UTC).strftime("%Y-%m-%d"),
            model_name=name,
            requests=sums.requests,
            quota=sums.quota,
            prompt_tokens=sums.prompt_tokens,
            completion_tokens=sums.completion_tokens,
        )
        for name, steps in in_thread(log_engine, work).items()
        for step, sums in steps.items()
        if sums.requests
    ]
    return sorted(found, key=lambda one: (one.day, one.model_name))


def consumed(log_engine: Engine, filters: Filters) -> int:
    """Sum of what was charged in the rows that fit; the type asked for does not matter."""
    filters = replace(filters, type=CONSUMPTION)
    cut = _cut_of(filters)

    def work(connection: Connection) -> int:
        if cut is None:
            return int(connection.scalar(select(func.sum(Log.quota)).where(*filters.conditions())) or 0)
        # Sums outlive their rows; what is asked for are the rows.
        fitting = Filters(type=CONSUMPTION, start=filters.start).conditions()
        oldest = connection.scalar(select(Log.created_at).where(*fitting).order_by(Log.created_at).limit(1))
        if oldest is None:
            return 0
        known = _reach(connection, cut)
        by_time = known.hours_end > 0  # what is left to the rows is then short
        total = 0
        for stretch in known.split(oldest, filters.end + 1 if filters.end else _ENDLESS):
            if stretch.length_s == ROWS:
                some = replace(filters, start=stretch.begin, end=stretch.end - 1)
                query = select(func.sum(Log.quota)).where(*some.conditions(by_time=by_time))
            else:
                query = select(func.sum(LogRollup.quota)).where(*_of_rollups(stretch, cut))
            total += int(connection.scalar(query) or 0)
        return total

    return in_thread(log_engine, work)


def _cut_of(filters: Filters) -> _Cut | None:
    """Where the rows that fit are summed up together; None where they are not."""
    named: dict[Dimension, str] = {
        "user": filters.username,
        "token": filters.token_name,
        "model": filters.model_name,
        "channel": str(filters.channel_id or ""),
    }
    given = [(dimension, name) for dimension, name in named.items() if name] or [("total", "")]
    if len(given) > 1 or filters.request_id or filters.before_id:
        return None
    ((dimension, name),) = given
    return _Cut(dimension, filters.user_id, (name,))


# ---- charts ----

By = Literal["model", "token", "channel", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time in equal steps. `zone_s` is what the reader's clock is ahead of UTC: days are his, but for the
    half hour by which some clocks differ, since sums are kept of hours."""

    start: int
    end: int
    step_s: int
    zone_s: int = 0

    @property
    def steps(self) -> list[int]:
        """The begin of each step, as Unix seconds."""
        return list(range(self.step_of(self.start), self.end, self.step_s))

    @property
    def shift_s(self) -> int:
        """What steps are ahead of UTC: whole hours."""
        return self.zone_s - self.zone_s % HOUR_S

    def step_of(self, moment: Any) -> Any:
        """The begin of the step that a moment, or a column of moments, is in."""
        return moment - (moment + self.shift_s) % self.step_s


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

    def work(connection: Connection) -> Usage:
        totals = _by_part(_cells(connection, _Cut("total", user_id, ("",)), span)).get("", {})
        dearest = _dearest(connection, _Cut(by, user_id), span, most_parts)
        parts: dict[str, dict[int, Sums]] = {name: {} for name in dearest}
        if dearest:
            parts |= _by_part(_cells(connection, _Cut(by, user_id, dearest), span))
        return Usage(
            steps=span.steps,
            total=_added(totals.values()),
            by_step=totals,
            parts=[(_shown(by, name), _added(parts[name].values()), parts[name]) for name in dearest],
        )

    return in_thread(log_engine, work)


def _shown(by: By, name: str) -> str:
    return "" if by == "channel" and name == "0" else name


# ---- reading a cut, from sums and from rows ----


class _Cut(NamedTuple):
    """What is wanted: the parts of a dimension, somebody's or all, all of them or those with these names."""

    dimension: Dimension
    user_id: int | None
    names: Collection[str] | None = None


class _Cell(NamedTuple):
    """The sums of one part in one step, or a share of them."""

    part: str
    step: int
    sums: Sums


# Where somebody's own are kept: all that he used is the row that tells of him.
_OWN: dict[Dimension, Dimension] = {"total": "user", "model": "own model", "token": "token"}


def _reach(connection: Connection, cut: _Cut) -> Reach:
    """How far the sums of that cut go; of somebody's channels none are kept."""
    return rollups.reach(connection) if cut.user_id is None or cut.dimension in _OWN else Reach(0, 0)


def _cells(connection: Connection, cut: _Cut, span: Span) -> Iterator[_Cell]:
    """The sums by part and step. Parts and steps that two stretches touch come several times."""
    by_days = span.step_s % DAY_S == 0 and span.shift_s % DAY_S == 0
    folded = _folding(connection)
    names = {folded(name): name for name in cut.names or ()}
    for stretch in _reach(connection, cut).split(span.steps[0], span.end, by_days=by_days):
        for row in connection.execute(_query(stretch, cut, span)):
            sums = Sums(**{field: int(getattr(row, field) or 0) for field in rollups.SUMS})
            yield _Cell(names.setdefault(folded(row.part), row.part), int(row.step), sums)


def _dearest(connection: Connection, cut: _Cut, span: Span, most: int) -> list[str]:
    """The names with the largest quota, then the most requests."""
    folded = _folding(connection)
    names: dict[str, str] = {}
    found: dict[str, tuple[int, int]] = {}
    for stretch in _reach(connection, cut).split(span.steps[0], span.end):
        for row in connection.execute(_query(stretch, cut, None)):
            name = names.setdefault(folded(row.part), row.part)
            quota, requests = found.get(name, (0, 0))
            found[name] = quota + int(row.quota or 0), requests + int(row.requests or 0)
    return sorted(found, key=lambda name: (*(-number for number in found[name]), name))[:most]


def _folding(connection: Connection) -> Callable[[str], str]:
    """What makes names alike that are the same to the database: MySQL gives any of those that differ in case."""
    return str.casefold if connection.dialect.name == "mysql" else str


def _query(stretch: Stretch, cut: _Cut, span: Span | None) -> Any:
    """Sums of the stretch by part, and with a span by step."""
    moment: Any = Log.created_at
    part: ColumnElement[str] = rollups.NAMES[cut.dimension]
    sums, where = rollups.SUMS, _of_rows(stretch, cut)
    if stretch.length_s != ROWS:
        moment, where = LogRollup.start, _of_rollups(stretch, cut)
        # In words that no index is used for: SQLite would go through the whole dimension for the sake of its order.
        part = part if cut.dimension == "total" else func.coalesce(LogRollup.name, "")
        sums = {name: func.sum(getattr(LogRollup, name)) for name in rollups.SUMS}
    columns: list[Any] = [part.label("part"), *(column.label(name) for name, column in sums.items())]
    # By the names: PostgreSQL takes the same expression with other parameters for another one.
    if span is None:
        return select(*columns).where(*where).group_by("part")
    return select(span.step_of(moment).label("step"), *columns).where(*where).group_by("step", "part")


def _of_rows(stretch: Stretch, cut: _Cut) -> Iterator[ColumnElement[bool]]:
    yield from (Log.type.in_(rollups.TYPES), Log.created_at >= stretch.begin, Log.created_at < stretch.end)
    if cut.user_id is not None:
        # In words that no index is used for: his rows of all times are more than everybody's of an hour.
        yield func.coalesce(Log.user_id, 0) == cut.user_id
    if cut.names is not None and cut.dimension != "total":
        yield rollups.NAMES[cut.dimension].in_(cut.names)


def _of_rollups(stretch: Stretch, cut: _Cut) -> Iterator[ColumnElement[bool]]:
    yield LogRollup.length_s == stretch.length_s
    if cut.user_id is None and cut.names is not None:
        # By the index of names.
        yield from (LogRollup.dimension == cut.dimension, LogRollup.name.in_(cut.names))
        yield from (LogRollup.start >= stretch.begin, LogRollup.start < stretch.end)
        return
    # By the key, for each time by its own: between lies what is not asked for.
    yield LogRollup.start.in_(range(stretch.begin, stretch.end, stretch.length_s))
    if cut.user_id is None:
        yield LogRollup.dimension == cut.dimension
        return
    yield from (LogRollup.dimension == _OWN[cut.dimension], LogRollup.user_id == cut.user_id)
    if cut.names is not None and cut.dimension != "total":
        # In words that no index is used for: each time with each name would be as many places to look at.
        yield func.coalesce(LogRollup.name, "").in_(cut.names)


def _by_part(cells: Iterable[_Cell]) -> dict[str, dict[int, Sums]]:
    found: dict[str, dict[int, Sums]] = {}
    for cell in cells:
        steps = found.setdefault(cell.part, {})
        steps[cell.step] = _added((steps[cell.step], cell.sums)) if cell.step in steps else cell.sums
    return found


def _added(several: Iterable[Sums]) -> Sums:
    rows = list(several)
    return Sums(**{field: sum(getattr(row, field) for row in rows) for field in rollups.SUMS})
