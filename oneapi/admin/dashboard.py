"""The first page after login: what was used, by whom, and how well it went."""

from __future__ import annotations

from flask_babel import lazy_gettext

from oneapi.admin.view import PanelView, expose


class DashboardView(PanelView):
    noun, title, address = "admin", lazy_gettext("Dashboard"), "/admin"
    icon = "dashboard"

    @expose("/")
    def index(self) -> str:
        return str(self.render("panel/dashboard.html"))


VIEWS = (DashboardView,)
