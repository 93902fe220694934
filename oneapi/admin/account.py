"""One's own account; and the page that asks for a new password before anything else."""

from __future__ import annotations

from flask_babel import lazy_gettext

from oneapi.admin.view import SECTION_OWN, PanelView, expose


class AccountView(PanelView):
    noun, title = "account", lazy_gettext("My account")
    icon, section = "user-circle", SECTION_OWN

    @expose("/")
    def index(self) -> str:
        return str(self.render("panel/account.html"))


class PasswordView(PanelView):
    noun, title = "password", lazy_gettext("New password")
    needs_new_password = False

    def is_visible(self) -> bool:
        return False

    @expose("/")
    def index(self) -> str:
        return str(self.render("panel/account.html"))


VIEWS = (AccountView, PasswordView)
