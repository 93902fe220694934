"""Logs: everybody's own, and all of them for administrators; each with its receipt."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flask import Response, abort
from flask_babel import gettext, lazy_gettext
from sqlalchemy import ColumnElement, select

from oneapi.admin.lists import Filter, ListView
from oneapi.admin.view import ADMIN, COMMON, SECTION_USE, engine, expose, log_engine, me, now
from oneapi.models import Channel, Log
from oneapi.services import logs
from oneapi.services.logs import CONSUMPTION, FAILURE, MANAGEMENT, SYSTEM, TEST, TOP_UP, Filters
from oneapi.services.numbers import id_of
from oneapi.services.paging import Page

TYPES = (
    (str(TOP_UP), lazy_gettext("Top-up")),
    (str(CONSUMPTION), lazy_gettext("Consumption")),
    (str(MANAGEMENT), lazy_gettext("Management")),
    (str(SYSTEM), lazy_gettext("System")),
    (str(TEST), lazy_gettext("Channel test")),
    (str(FAILURE), lazy_gettext("Failed request")),
)
EXPORT_LIMIT = 50_000
_MONTH_S = 30 * 86400
_ADMINS_FILTERS = frozenset({"channel", "username"})
_EXPORTED = (
    "created_at", "type", "username", "token_name", "model_name", "prompt_tokens", "completion_tokens", "quota",
    "elapsed_time", "first_token_ms", "channel_id", "request_id", "content",
)  # fmt: skip
_ADMINS_COLUMNS = frozenset({"username", "channel_id"})


class LogView(ListView):
    role = COMMON
    icon, section = "list", SECTION_USE
    list_template = "panel/log.html"
    column_list = (
        "created_at", "type", "username", "channel_id", "model_name", "token_name", "prompt_tokens",
        "completion_tokens", "quota", "elapsed_time", "content",
    )  # fmt: skip
    column_sortable_list = ()
    filters = (
        Filter(name="type", label=lazy_gettext("Type"), kind="select", choices=lambda: TYPES),
        Filter(name="start", label=lazy_gettext("From"), kind="time"),
        Filter(name="end", label=lazy_gettext("Until"), kind="time"),
        Filter(name="model", label=lazy_gettext("Model")),
        Filter(name="token", label=lazy_gettext("Token")),
        Filter(name="username", label=lazy_gettext("User")),
        Filter(name="channel", label=lazy_gettext("Channel id")),
        Filter(name="request_id", label=lazy_gettext("Request id")),
    )

    @property
    def sees_all(self) -> bool:
        return me().role >= ADMIN

    def owned(self) -> Iterable[ColumnElement[bool]]:
        return () if self.sees_all else (Log.user_id == me().id,)

    def offered_filters(self) -> tuple[Filter, ...]:
        return tuple(one for one in self.filters if self.sees_all or one.name not in _ADMINS_FILTERS)

    def wanted(self) -> Filters:
        """The rows that are asked for, and that he may see."""
        chosen = {one.name: one.chosen for one in self.offered_filters()}
        return Filters(
            user_id=None if self.sees_all else me().id,
            type=id_of(chosen["type"]) or 0,
            start=id_of(chosen["start"]) or 0,
            end=id_of(chosen["end"]) or 0,
            username=chosen.get("username", ""),
            token_name=chosen["token"],
            model_name=chosen["model"],
            channel_id=id_of(chosen.get("channel", "")) or 0,
            request_id=chosen["request_id"],
        )

    def get_list(self, page: int | None, *_: Any, page_size: int | None = None, **_kwargs: Any) -> Any:
        """Flask-Admin asks for the rows of a page. Which way is quick, with millions of them, logs.py knows."""
        found = logs.list_page(log_engine(), self.wanted(), Page(page or 0, page_size or self.page_size))
        return None, found.rows

    def page(self) -> Mapping[str, Any]:
        return {"sees_all": self.sees_all, "types": dict(TYPES), "told": _told, "month_ago": now() - _MONTH_S}

    @expose("/receipt/<id>")
    def receipt(self, id: str) -> Any:
        """One row in full, with how its price came about."""
        row = self.get_one(id) or abort(404)
        try:
            receipt = json.loads(row.receipt) if row.receipt else {}
        except ValueError:
            receipt = {}
        return self.render(
            "panel/log_receipt.html",
            row=row,
            receipt=receipt,
            sees_all=self.sees_all,
            types=dict(TYPES),
            told=_told,
            channel_names=self._channel_names(row, receipt) if self.sees_all else {},
        )

    def _channel_names(self, row: Any, receipt: Mapping[str, Any]) -> dict[int, str]:
        ids = {row.channel_id, *(one.get("channel") for one in receipt.get("attempts", ()))}
        with engine().connect() as connection:
            query = select(Channel.id, Channel.name).where(Channel.id.in_([one for one in ids if one]))
            return {found.id: found.name for found in connection.execute(query)}

    @expose("/export.csv")
    def as_csv(self) -> Response:
        """The rows that the filters leave, newest first."""
        names = [name for name in _EXPORTED if self.sees_all or name not in _ADMINS_COLUMNS]
        query = select(*(getattr(Log, name) for name in names)).where(*self.wanted().conditions())
        query = query.order_by(Log.id.desc()).limit(EXPORT_LIMIT)
        with log_engine().connect() as connection:
            rows = connection.execute(query).all()
        response = Response(_csv(names, rows), mimetype="text/csv")
        response.headers["Content-Disposition"] = "attachment; filename=logs.csv"
        return response


def _told(row: Any) -> str:
    """What a row says. A call's row holds its ratios as One API writes them, in Chinese."""
    return (row.content or "").replace("倍率：", gettext("Ratios: "))


def _csv(names: list[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """The rows as CSV. What a spreadsheet would take for a formula is marked as text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    yield "\ufeff"  # without it Excel takes Chinese for Latin
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(name, value) for name, value in zip(names, row, strict=True)])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cell(name: str, value: Any) -> Any:
    if name == "created_at":
        return datetime.fromtimestamp(value or 0, UTC).isoformat()
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


VIEWS = (partial(LogView, Log, name=lazy_gettext("Logs"), endpoint="log"),)
