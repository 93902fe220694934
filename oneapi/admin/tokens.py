"""Everybody's own API keys, administrators' too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from flask import Response, abort
from flask_babel import gettext, lazy_gettext
from sqlalchemy import ColumnElement

from oneapi.admin import amounts, limits
from oneapi.admin.lists import Filter, ListView, equals_number
from oneapi.admin.names import Names, joined
from oneapi.admin.view import COMMON, SECTION_USE, actor, body, done, engine, expose, me, now, options
from oneapi.models import Token
from oneapi.services import admission, groups, tokens
from oneapi.services.tokens import DISABLED, ENABLED, EXHAUSTED, EXPIRED, NEVER, TokenFields

STATUSES = (
    (str(ENABLED), lazy_gettext("Enabled")),
    (str(DISABLED), lazy_gettext("Disabled")),
    (str(EXPIRED), lazy_gettext("Expired")),
    (str(EXHAUSTED), lazy_gettext("Used up")),
)
_FIRST_QUOTA = 500_000


class _Form(limits.LimitFields, frozen=True, kw_only=True):
    id: int = 0
    name: str = ""
    quota: str = "0"
    unlimited_quota: bool = False
    expired_time: int = NEVER
    models: Names = ""
    subnet: str = ""


class TokenView(ListView):
    role = COMMON
    icon, section = "key", SECTION_USE
    list_template = "panel/token.html"
    column_list = ("name", "status", "used_quota", "remain_quota", "created_time", "accessed_time", "expired_time")
    loaded_columns = ("unlimited_quota", "limits")
    column_sortable_list = column_list
    column_searchable_list = ("name",)
    filters = (
        Filter(
            name="status",
            label=lazy_gettext("Status"),
            where=equals_number(Token.status),
            kind="select",
            choices=lambda: STATUSES,
        ),
    )

    def owned(self) -> Iterable[ColumnElement[bool]]:
        return (Token.user_id == me().id,)

    def page(self) -> Mapping[str, Any]:
        return {
            "server_address": options().server_address,
            "some_models": groups.available_models(engine(), me().group)[:200],
            "chat_link": options().chat_link,
            "limits_told": lambda text: limits.told(limits.of(text)),
        }

    @expose("/add")
    def add(self) -> Any:
        return self._form(None)

    @expose("/edit/<id>")
    def edit(self, id: str) -> Any:
        return self._form(self.get_one(id) or abort(404))

    def _form(self, row: Any) -> Any:
        chosen = joined(row.models or "").split(",") if row is not None and row.models else []
        limited = limits.of(row.limits if row is not None else None)
        return self.render(
            "panel/token_form.html",
            row=row,
            unit=amounts.unit(),
            quota=amounts.shown(_FIRST_QUOTA if row is None else row.remain_quota),
            chosen=chosen,
            limits=limited,
            budget=limits.budget_shown(limited),
            use=admission.token_use(engine(), row.id, limited, now()) if row is not None else None,
            all_models=sorted({*groups.available_models(engine(), me().group), *chosen}),
        )

    @expose("/save", methods=["POST"])
    def save(self) -> Response:
        form = body(_Form)
        row = self.get_one(form.id) if form.id else None
        if form.id and row is None:
            abort(404)
        fields = TokenFields(
            id=form.id,
            name=form.name.strip(),
            remain_quota=amounts.edited(form.quota, None if row is None else row.remain_quota or 0),
            unlimited_quota=form.unlimited_quota,
            expired_time=form.expired_time or NEVER,
            models=joined(form.models),
            subnet=form.subnet.strip(),
            limits=limits.typed(form, limits.of(row.limits if row is not None else None)),
        )
        if row is not None:
            tokens.update_all(engine(), actor(), me().id, fields, now=now())
            return done(gettext("Saved."), location=self.get_url(".index_view"))
        made = tokens.create(engine(), actor(), me().id, fields, now=now())
        # The list shows at once how the new token is used.
        return done(gettext("Token created."), location=self.get_url(".index_view", use=made.id))


VIEWS = (partial(TokenView, Token, name=lazy_gettext("Tokens"), endpoint="token"),)
