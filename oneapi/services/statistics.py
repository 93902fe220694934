"""Figures for dashboards. Days are days of UTC, whatever zone a database lives in (D-35)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, func, select

from oneapi.models import Log
from oneapi.services.logs import CONSUMPTION

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
