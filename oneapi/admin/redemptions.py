"""Redemption codes: made many at a time, handed out as text."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from flask import Response, abort
from flask_babel import gettext, lazy_gettext
from sqlalchemy import select

from oneapi.admin import amounts
from oneapi.admin.lists import Filter, ListView, equals, equals_number
from oneapi.admin.view import ADMIN, SECTION_OPERATE, actor, body, done, engine, expose, now
from oneapi.models import Redemption
from oneapi.services import redemptions
from oneapi.services.redemptions import COUNT_LIMIT, DISABLED, UNUSED, USED, RedemptionFields

STATUSES = (
    (str(UNUSED), lazy_gettext("Unused")),
    (str(DISABLED), lazy_gettext("Disabled")),
    (str(USED), lazy_gettext("Used")),
)
EXPORT_LIMIT = 10_000
_FIRST_QUOTA = 100_000
_NEVER = -1


class _Form(msgspec.Struct, frozen=True, kw_only=True):
    id: int = 0
    name: str = ""
    quota: str = ""
    count: int = 1
    expired_time: int = _NEVER


class RedemptionView(ListView):
    role = ADMIN
    icon, section = "ticket", SECTION_OPERATE
    list_template = "panel/redemption.html"
    column_list = ("id", "name", "status", "quota", "created_time", "expired_time", "redeemed_time")
    loaded_columns = ("redeemed_by",)
    column_sortable_list = column_list
    column_searchable_list = ("name",)
    filters = (
        Filter(
            name="status",
            label=lazy_gettext("Status"),
            where=equals_number(Redemption.status),
            kind="select",
            choices=lambda: STATUSES,
        ),
        Filter(name="name", label=lazy_gettext("Name"), where=equals(Redemption.name)),
    )

    @expose("/add")
    def add(self) -> Any:
        return self._form(None)

    @expose("/edit/<id>")
    def edit(self, id: str) -> Any:
        return self._form(self.get_one(id) or abort(404))

    def _form(self, row: Any) -> Any:
        return self.render(
            "panel/redemption_form.html",
            row=row,
            unit=amounts.unit(),
            quota=amounts.shown(_FIRST_QUOTA if row is None else row.quota),
            most=COUNT_LIMIT,
        )

    @expose("/save", methods=["POST"])
    def save(self) -> Response:
        form = body(_Form)
        row = self.get_one(form.id) if form.id else None
        if form.id and row is None:
            abort(404)
        if row is not None and form.quota.strip() == amounts.shown(row.quota):
            quota = int(row.quota or 0)  # it was not touched, whatever its digits on the page
        else:
            quota = amounts.typed(form.quota)
        name, expired_time = form.name.strip(), form.expired_time or _NEVER
        if row is not None:
            fields = RedemptionFields(id=row.id, name=name, quota=quota, expired_time=expired_time)
            redemptions.update_one(engine(), actor(), fields, now=now())
            return done(gettext("Saved."), location=self.get_url(".index_view"))
        # Of a new code 0 would mean "the usual quota" to One API's scripts, and a slip to who types it here.
        fields = RedemptionFields(name=name, quota=quota or -1, count=form.count, expired_time=expired_time)
        return done(data={"name": name, "codes": redemptions.create_many(engine(), actor(), fields, now=now())})

    @expose("/code/<id>")
    def code(self, id: str) -> Response:
        """One code, to be copied; lists do not hold them."""
        row = self.get_one(id) or abort(404)
        return done(data=row.key)

    @expose("/codes.txt")
    def codes(self) -> Response:
        """The unused codes that the filters leave, one a line."""
        query = select(Redemption.key).where(Redemption.status == UNUSED, *self.conditions())
        with engine().connect() as connection:
            keys = [row.key for row in connection.execute(query.order_by(Redemption.id).limit(EXPORT_LIMIT))]
        response = Response("".join(f"{key}\n" for key in keys), mimetype="text/plain")
        response.headers["Content-Disposition"] = "attachment; filename=codes.txt"
        response.headers["Cache-Control"] = "no-store"
        return response


VIEWS = (partial(RedemptionView, Redemption, name=lazy_gettext("Redemption codes"), endpoint="redemption"),)
