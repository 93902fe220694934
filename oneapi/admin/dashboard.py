"""The first page after login: what was used, by whom, and how well it went."""

from __future__ import annotations

from functools import partial

from flask_babel import lazy_gettext

from oneapi.admin.view import PanelView, expose


class DashboardView(PanelView):
    icon = "dashboard"

    @expose("/")
    def index(self) -> str:
        return str(self.render("panel/dashboard.html"))


VIEWS = (partial(DashboardView, name=lazy_gettext("Dashboard"), endpoint="admin", url="/admin"),)
