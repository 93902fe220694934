"""/api/stat: what was used, by whom, of what, and when; and log rows as CSV. Ours; One API has nothing like it.

    GET /api/stat/?by=user&start_timestamp=…&end_timestamp=…&step=day     all users; administrators
    GET /api/stat/self?by=model&…                                         one's own
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import cast, get_args

from flask import Response

from oneapi.api import logs as log_routes
from oneapi.api.asked import Asked
from oneapi.api.routing import ADMIN, COMMON, Route
from oneapi.services import exports, statistics
from oneapi.services.refusal import invalid_parameter
from oneapi.services.rollups import DAY_S
from oneapi.services.statistics import By, Span, Sums

_STEPS = {"hour": 3600, "day": DAY_S, "": DAY_S}
_MOST_STEPS = 1000
_MOST_PARTS = 100


def everybodys(asked: Asked) -> object:
    return _usage(asked, None)


def own(asked: Asked) -> object:
    return _usage(asked, asked.account.id)


def _usage(asked: Asked, user_id: int | None) -> object:
    by, step = asked.text("by") or "model", _STEPS.get(asked.text("step"))
    if by not in get_args(By) or (user_id is not None and by in ("user", "channel")) or step is None:
        raise invalid_parameter("statistics_unknown")
    end = asked.number("end_timestamp") or asked.now
    start = asked.number("start_timestamp") or end - 7 * DAY_S
    if not 0 <= start < end or (end - start) // step >= _MOST_STEPS:
        raise invalid_parameter("period_unknown", limit=_MOST_STEPS)
    found = statistics.usage(
        asked.log_engine, Span(start=start, end=end, step_s=step), cast(By, by), user_id=user_id, most_parts=_MOST_PARTS
    )
    return {
        "steps": found.steps,
        "total": asdict(found.total),
        "by_step": _by_step(found.by_step),
        by: [{"name": name, **asdict(sums), "by_step": _by_step(steps)} for name, sums, steps in found.parts],
    }


def _by_step(steps: Mapping[int, Sums]) -> dict[str, object]:
    return {str(begin): asdict(sums) for begin, sums in sorted(steps.items())}


def export(asked: Asked) -> Response:
    return _csv(exports.log_rows_as_csv(asked.log_engine, log_routes.filters_of(asked)))


def own_export(asked: Asked) -> Response:
    filters = replace(log_routes.own_filters_of(asked), before_id=0)
    return _csv(exports.log_rows_as_csv(asked.log_engine, filters, is_own=True))


def _csv(rows: object) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="logs.csv"', "X-Content-Type-Options": "nosniff"}
    return Response(rows, content_type="text/csv; charset=utf-8", headers=headers)  # type: ignore[arg-type]


ROUTES = (
    Route("GET", "/api/stat/", ADMIN, everybodys),
    Route("GET", "/api/stat/self", COMMON, own),
    Route("GET", "/api/log/export", ADMIN, export),
    Route("GET", "/api/log/self/export", COMMON, own_export),
)
