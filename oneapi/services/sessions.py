"""The session cookie: who is logged in, for the API and the panel alike.

The cookie says which account and which version of its sessions; everything else is read from the database at each
request, so that a ban, a demotion or a new password is felt at once, on every worker (D-02).
"""

from __future__ import annotations

from datetime import timedelta

from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface
from sqlalchemy import Engine

from oneapi.services import accounts
from oneapi.services.accounts import Account

LIFETIME = timedelta(days=30)
_ID, _NAME, _ROLE, _STATUS, _VERSION = "id", "username", "role", "status", "version"


class _Interface(SecureCookieSessionInterface):
    """The cookie is sent over HTTPS only where it came by HTTPS; behind a proxy that is for the proxy to say."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def init_app(app: Flask) -> None:
    app.session_interface = _Interface()
    app.config.update(
        SESSION_COOKIE_NAME="session",
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFETIME,
    )


def begin(account: Account) -> None:
    """Logs the account in. What an anonymous session held is gone, lest somebody planted it."""
    session.clear()
    session.permanent = True
    session.update(
        {
            _ID: account.id,
            _NAME: account.username,
            _ROLE: account.role,
            _STATUS: account.status,
            _VERSION: account.session_version,
        }
    )


def end() -> None:
    if session:
        session.clear()


def is_of(account: Account) -> bool:
    """Whether this request came with a session of that account."""
    return bool(session.get(_ID) == account.id)


def claimed(engine: Engine) -> Account | None:
    """The account of the request's session, a disabled one included: for a door that says so.

    A cookie of another version is of a session that was ended; it is taken away, and so is one whose account is gone.
    """
    user_id = session.get(_ID)
    if not isinstance(user_id, int):
        return None
    account = accounts.find(engine, user_id)
    if account is None or (account.status != accounts.DISABLED and session.get(_VERSION) != account.session_version):
        end()
        return None
    return account


def current(engine: Engine) -> Account | None:
    """Who is logged in, None where nobody is."""
    account = claimed(engine)
    return account if account is not None and account.status == accounts.ENABLED else None
