"""Users, for administrators: nobody is shown a way to act on an equal or a higher role, and services refuse it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from flask import Response, abort
from flask_babel import gettext, lazy_gettext
from msgspec import UNSET
from sqlalchemy import ColumnElement, or_

from oneapi.admin import amounts, limits
from oneapi.admin.lists import Filter, ListView, equals, equals_number
from oneapi.admin.view import (
    ADMIN,
    COMMON,
    ROOT,
    SECTION_OPERATE,
    actor,
    body,
    done,
    engine,
    expose,
    me,
    now,
    options,
)
from oneapi.limits import NO_LIMITS
from oneapi.models import User
from oneapi.services import groups, registration, users
from oneapi.services.accounts import DELETED, DISABLED, ENABLED
from oneapi.services.registration import Registration
from oneapi.services.roles import may_act_on
from oneapi.services.users import UserFields

STATUSES = (
    (str(ENABLED), lazy_gettext("Enabled")),
    (str(DISABLED), lazy_gettext("Disabled")),
    (str(DELETED), lazy_gettext("Deleted")),
)
ROLES = (
    (str(COMMON), lazy_gettext("User")),
    (str(ADMIN), lazy_gettext("Administrator")),
    (str(ROOT), lazy_gettext("Root")),
)


class _NewUser(msgspec.Struct, frozen=True, kw_only=True):
    username: str = ""
    display_name: str = ""
    password: str = ""


class _Form(limits.LimitFields, frozen=True, kw_only=True):
    id: int
    username: str = ""
    display_name: str = ""
    email: str = ""
    group: str = ""
    quota: str = ""
    password: str = ""


class _TopUp(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    quota: str = ""
    remark: str = ""


class UserView(ListView):
    role = ADMIN
    icon, section = "users", SECTION_OPERATE
    list_template = "panel/user.html"
    column_list = ("id", "username", "group", "role", "status", "quota", "used_quota", "request_count")
    loaded_columns = ("display_name", "email", "created_time", "inviter_id")
    column_sortable_list = column_list
    column_searchable_list = ("username", "email", "display_name")
    filters = (
        Filter(
            name="role",
            label=lazy_gettext("Role"),
            where=equals_number(User.role),
            kind="select",
            choices=lambda: ROLES,
        ),
        Filter(
            name="status",
            label=lazy_gettext("Status"),
            where=equals_number(User.status),
            kind="select",
            choices=lambda: STATUSES,
        ),
        Filter(name="group", label=lazy_gettext("Group"), where=equals(User.group)),
    )

    def conditions(self) -> Iterable[ColumnElement[bool]]:
        yield from super().conditions()
        if not any(one.name == "status" and one.chosen for one in self.filters):
            yield or_(User.status != DELETED, User.status.is_(None))

    def page(self) -> Mapping[str, Any]:
        return {
            "may_act_on": lambda role: may_act_on(me().role, role or 0),
            "is_root": me().role == ROOT,
            "unit": amounts.unit(),
        }

    @expose("/add")
    def add(self) -> Any:
        return self.render("panel/user_add.html")

    @expose("/create", methods=["POST"])
    def create(self) -> Response:
        form = body(_NewUser)
        new = Registration(
            username=form.username.strip(), display_name=form.display_name.strip(), password=form.password
        )
        made = registration.create(engine(), options(), actor(), new, now=now())
        # A group and a balance come next.
        return done(gettext("User created."), location=self.get_url(".edit", id=made.id))

    @expose("/edit/<id>")
    def edit(self, id: str) -> Any:
        row = self.get_one(id) or abort(404)
        if row.id != me().id and not may_act_on(me().role, row.role or 0):
            abort(403)
        return self.render(
            "panel/user_form.html",
            row=row,
            unit=amounts.unit(),
            quota=amounts.shown(row.quota),
            all_groups=groups.names(options()),
            limits=limits.of(row.limits),
            of_group=limits.told(options().ext_group_limits.get(row.group or "default", NO_LIMITS)),
            roles=dict(ROLES),
        )

    @expose("/save", methods=["POST"])
    def save(self) -> Response:
        form = body(_Form)
        row = self.get_one(form.id) or abort(404)
        # A balance that was not typed in is not set: it goes on changing while the form is open.
        is_typed = form.quota.strip() != ""
        fields = UserFields(
            id=row.id,
            username=form.username.strip(),
            display_name=form.display_name.strip(),
            email=form.email.strip(),
            group=form.group.strip(),
            quota=amounts.typed(form.quota) if is_typed else UNSET,
            password=form.password,
            limits=limits.typed(form),
        )
        users.update_one(engine(), actor(), fields, now=now())
        return done(gettext("Saved."), location=self.get_url(".index_view"))

    @expose("/top-up", methods=["POST"])
    def top_up(self) -> Response:
        form = body(_TopUp)
        row = self.get_one(form.id) or abort(404)
        users.top_up(engine(), actor(), row.id, amounts.typed(form.quota), form.remark.strip(), now=now())
        return done(gettext("Credited."))


VIEWS = (partial(UserView, User, name=lazy_gettext("Users"), endpoint="user"),)
