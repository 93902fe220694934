"""One's own account; and the page that asks for a new password before anything else."""

from __future__ import annotations

from functools import partial

from flask_babel import lazy_gettext

from oneapi.admin.view import SECTION_OWN, PanelView, expose


class AccountView(PanelView):
    icon, section = "user-circle", SECTION_OWN

    @expose("/")
    def index(self) -> str:
        return str(self.render("panel/account.html"))


class PasswordView(PanelView):
    needs_new_password = False

    def is_visible(self) -> bool:
        return False

    @expose("/")
    def index(self) -> str:
        return str(self.render("panel/account.html"))


VIEWS = (
    partial(AccountView, name=lazy_gettext("My account"), endpoint="account"),
    partial(PasswordView, name=lazy_gettext("New password"), endpoint="password"),
)
