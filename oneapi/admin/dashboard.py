"""The first page after login: what was used, by whom, and how well it went; before anything was, what to do first."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Response, request
from flask_babel import gettext, lazy_gettext
from sqlalchemy import select

from oneapi.admin.view import ADMIN, PanelView, actor, done, engine, expose, log_engine, me, now
from oneapi.models import Channel, Log, Token
from oneapi.services import statistics, users
from oneapi.services.logs import CONSUMPTION
from oneapi.services.numbers import id_of
from oneapi.services.statistics import By, Span, Sums

_HOUR, _DAY = 3600, 86400
SPANS = {"24h": (_DAY, _HOUR), "7d": (7 * _DAY, _DAY), "30d": (30 * _DAY, _DAY), "90d": (90 * _DAY, _DAY)}
_OWN: tuple[By, ...] = ("model", "token")
_ALL: tuple[By, ...] = ("model", "channel", "user", "token")
_FARTHEST_ZONE_MIN = 14 * 60


class DashboardView(PanelView):
    icon = "dashboard"

    @expose("/")
    def index(self) -> str:
        stored = users.get(engine(), actor(), me().id)
        return self.render(
            "panel/dashboard.html",
            balance=stored.quota or 0,
            spent=stored.used_quota or 0,
            steps=_first_steps(),
            spans=SPANS,
            may_see_all=me().role >= ADMIN,
        )

    @expose("/usage")
    def usage(self) -> Response:
        """Figures for the charts: `span`, `by`, `scope` ("own" or "all") and `zone`, the reader's minutes from UTC."""
        may_see_all = me().role >= ADMIN
        is_own = not may_see_all or request.args.get("scope") != "all"
        by = _chosen(request.args.get("by", ""), _OWN if is_own else _ALL)
        length, step = SPANS[request.args.get("span", "") if request.args.get("span") in SPANS else "7d"]
        moment = now()
        span = Span(start=moment - length + step, end=moment + 1, step_s=step, zone_s=_zone_s())
        used = statistics.usage(log_engine(), span, by, user_id=me().id if is_own else None)
        names = _channel_names([name for name, _, _ in used.parts]) if by == "channel" else {}
        return done(
            data={
                "steps": used.steps,
                "step_s": step,
                "total": _figures(used.total),
                "by_step": [_figures(used.by_step.get(begin, Sums())) for begin in used.steps],
                "parts": [
                    {
                        "name": names.get(name) or name or gettext("(none)"),
                        "total": _figures(total),
                        "by_step": [_figures(by_step.get(begin, Sums())) for begin in used.steps],
                    }
                    for name, total, by_step in used.parts
                ],
            }
        )


def _chosen(text: str, allowed: tuple[By, ...]) -> By:
    return next((by for by in allowed if by == text), allowed[0])


def _zone_s() -> int:
    text = request.args.get("zone", "0")
    minutes = id_of(text.removeprefix("-")) or 0
    return min(minutes, _FARTHEST_ZONE_MIN) * 60 * (-1 if text.startswith("-") else 1)


def _figures(sums: Sums) -> dict[str, Any]:
    return {
        "quota": sums.quota,
        "requests": sums.requests,
        "tokens": sums.prompt_tokens + sums.completion_tokens,
        "failures": sums.failures,
        "latency_ms": sums.elapsed_ms // sums.requests if sums.requests else None,
        "first_token_ms": sums.first_token_ms // sums.with_first_token if sums.with_first_token else None,
    }


def _channel_names(ids: list[str]) -> dict[str, str]:
    wanted = [int(id) for id in ids if id]
    with engine().connect() as connection:
        rows = connection.execute(select(Channel.id, Channel.name).where(Channel.id.in_(wanted)))
        return {str(row.id): f"#{row.id} {row.name or ''}".rstrip() for row in rows}


def _first_steps() -> list[dict[str, Any]]:
    """The way to the first working call; nothing once it has been walked."""
    with log_engine().connect() as connection:
        used = select(Log.id).where(Log.user_id == me().id, Log.type == CONSUMPTION).limit(1)
        if connection.execute(used).first():
            return []
    with engine().connect() as connection:
        has_channel = connection.execute(select(Channel.id).limit(1)).first() is not None
        has_token = connection.execute(select(Token.id).where(Token.user_id == me().id).limit(1)).first() is not None
    steps = [
        {
            "title": gettext("Create a token"),
            "text": gettext("Your programs call this site with a token, as they would call OpenAI with an API key."),
            "address": "/admin/token/",
            "action": gettext("Tokens"),
            "is_done": has_token,
        },
        {
            "title": gettext("Make the first call"),
            "text": gettext("Try a model in the playground, or copy a ready command from the home page."),
            "address": "/admin/playground/",
            "action": gettext("Playground"),
            "is_done": False,
        },
    ]
    if me().role >= ADMIN:
        channel = {
            "title": gettext("Add a channel"),
            "text": gettext("A channel is an account at a provider: its key, and the models it may be used for."),
            "address": "/admin/channel/add",
            "action": gettext("Add a channel"),
            "is_done": has_channel,
        }
        steps.insert(0, channel)
    return steps


VIEWS = (partial(DashboardView, name=lazy_gettext("Dashboard"), endpoint="admin", url="/admin"),)
