"""The session cookie: who is logged in, for the API and the panel alike.

The cookie says which account and which version of its sessions; everything else is read from the database at each
request, so that a ban, a demotion or a new password is felt at once, on every worker (D-02).
"""

from __future__ import annotations

from datetime import timedelta

from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface

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


def claimed_id() -> int | None:
    """The id of the account that the cookie speaks of."""
    claimed = session.get(_ID)
    return claimed if isinstance(claimed, int) else None


def is_of(account: Account) -> bool:
    """Whether the cookie's version is the account's: a newer one means that its sessions were ended."""
    return bool(session.get(_VERSION) == account.session_version)
