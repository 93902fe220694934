"""One's own account; and the page that asks for a new password before anything else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from flask import Response, redirect, session, url_for
from flask_babel import gettext, lazy_gettext

from oneapi.admin import limits
from oneapi.admin.view import (
    PanelView,
    actor,
    body,
    current,
    done,
    engine,
    expose,
    has_default_password,
    me,
    now,
    options,
    program,
)
from oneapi.limits import NO_LIMITS
from oneapi.services import accounts, passwords, recovery, registration, sessions, users
from oneapi.services.passwords import LEAST_CHARACTERS, MOST_CHARACTERS
from oneapi.services.refusal import Refusal
from oneapi.services.roles import ROOT
from oneapi.services.users import OwnFields


class _Profile(msgspec.Struct, frozen=True):
    username: str = ""
    display_name: str = ""


class _NewPassword(msgspec.Struct, frozen=True):
    password: str = ""
    current_password: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """A login elsewhere. `name` is what the API calls it."""

    name: str
    label: str
    icon: str
    bound_to: str
    is_offered: bool


class AccountView(PanelView):
    icon = "user-circle"

    @expose("/")
    def index(self) -> str:
        stored = users.get(engine(), actor(), me().id)
        settings = options()
        of_group = settings.ext_group_limits.get(stored.group or "default", NO_LIMITS)
        bindings = [
            Binding("github", "GitHub", "brand-github", stored.github_id or "", settings.github_oauth_enabled),
            Binding("oidc", "OpenID Connect", "id", stored.oidc_id or "", settings.oidc_enabled),
            Binding("lark", gettext("Lark"), "message", stored.lark_id or "", bool(settings.lark_client_id)),
            Binding("wechat", gettext("WeChat"), "brand-wechat", stored.wechat_id or "", settings.wechat_auth_enabled),
        ]
        return self.render(
            "panel/account.html",
            user=stored,
            bindings=[binding for binding in bindings if binding.is_offered or binding.bound_to],
            has_password=bool(stored.password),
            aff_code=registration.aff_code(engine(), stored.id),
            may_leave=stored.role != ROOT,
            limits=limits.told(limits.of(stored.limits).over(of_group)),
            least=LEAST_CHARACTERS,
            most=MOST_CHARACTERS,
        )

    @expose("/profile", methods=["POST"])
    def profile(self) -> Response:
        form = body(_Profile)
        fields = OwnFields(username=form.username, display_name=form.display_name)
        _go_on(users.update_own(engine(), actor(), fields, now=now()))
        return done(gettext("Saved."))

    @expose("/password", methods=["POST"])
    def password(self) -> Response:
        form = body(_NewPassword)
        with engine().connect() as connection:
            has_password = bool(accounts.row_of(connection, me().id).password)
        passwords.check_rules(form.password)
        fields = OwnFields(password=form.password, current_password=form.current_password)
        if not has_password:  # made by a third party's login: there is nothing to prove
            fields = OwnFields(password=form.password)
        _go_on(users.update_own(engine(), actor(), fields, now=now()))
        recovery.tell_changed(program().notifier, options(), actor())
        return done(gettext("The password was changed. All other sessions have ended."))

    @expose("/token", methods=["POST"])
    def token(self) -> Response:
        return done(data=accounts.rotate_access_token(engine(), actor(), now=now()))

    @expose("/leave", methods=["POST"])
    def leave(self) -> Response:
        users.remove_own(engine(), actor(), now=now())
        sessions.end()
        return done(gettext("The account was deleted."), location=url_for("public.home"))


class PasswordView(PanelView):
    """Asks for a password of one's own in place of the one that everybody knows. Nothing else is shown before."""

    needs_new_password = False

    def is_visible(self) -> bool:
        return False

    def _handle_view(self, name: str, **kwargs: Any) -> Any:
        account = current()
        if account is not None and not has_default_password(account):
            return redirect(url_for("account.index"))  # where the present password is asked for
        return super()._handle_view(name, **kwargs)

    @expose("/")
    def index(self) -> str:
        return self.render("panel/password.html", least=LEAST_CHARACTERS, most=MOST_CHARACTERS)

    @expose("/", methods=["POST"])
    def save(self) -> Response:
        form = body(_NewPassword)
        if not form.password:
            raise Refusal("password_length", least=LEAST_CHARACTERS, most=MOST_CHARACTERS)
        _go_on(users.update_own(engine(), actor(), OwnFields(password=form.password), now=now()))
        return done(gettext("The new password is set."), location=url_for("admin.index"))


def _go_on(account: accounts.Account) -> None:
    """A new password ends all sessions; the one that set it goes on, with the tokens of its open pages."""
    token = session.get("csrf_token")
    sessions.begin(account)
    if token:
        session["csrf_token"] = token


VIEWS = (
    partial(AccountView, name=lazy_gettext("My account"), endpoint="account"),
    partial(PasswordView, name=lazy_gettext("New password"), endpoint="password"),
)
