"""Groups of users: their price factors, and what each of them is offered."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from flask import Response
from flask_babel import gettext, lazy_gettext

from oneapi.admin import limits
from oneapi.admin.view import ROOT, SECTION_OPERATE, PanelView, actor, body, done, engine, expose, now, options, program
from oneapi.limits import NO_LIMITS
from oneapi.services import groups


class _Form(msgspec.Struct, frozen=True):
    name: str = ""
    ratio: str = ""


class _Limits(limits.LimitFields, frozen=True, kw_only=True):
    name: str = ""


class GroupView(PanelView):
    role = ROOT
    icon, section = "tags", SECTION_OPERATE

    @expose("/")
    def index(self) -> Any:
        return self.render(
            "panel/group.html",
            groups=groups.overview(engine(), options()),
            no_limits=NO_LIMITS,
            limits_told=limits.told,
            as_fields=msgspec.to_builtins,
        )

    @expose("/save", methods=["POST"])
    def save(self) -> Response:
        form = body(_Form)
        groups.save(engine(), actor(), form.name, form.ratio, now=now())
        program().snapshots.refresh()
        return done(gettext("Saved."))

    @expose("/limits", methods=["POST"])
    def save_limits(self) -> Response:
        form = body(_Limits)
        groups.save_limits(engine(), actor(), form.name, limits.typed(form), now=now())
        program().snapshots.refresh()
        return done(gettext("Saved."))

    @expose("/remove", methods=["POST"])
    def remove(self) -> Response:
        groups.remove(engine(), actor(), body(_Form).name, now=now())
        program().snapshots.refresh()
        return done(gettext("Group removed."))


VIEWS = (partial(GroupView, name=lazy_gettext("Groups"), endpoint="group"),)
