"""Accounts: who somebody is, and the secrets he proves it with.

New accounts are made in registration.py; what people change of themselves and of others is in users.py.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, update

from oneapi.database import run_write
from oneapi.models import User
from oneapi.options import Options
from oneapi.services import audit, passwords
from oneapi.services.audit import Actor
from oneapi.services.refusal import Refusal
from oneapi.services.rows import AnyRow
from oneapi.services.throttle import Throttle

ENABLED, DISABLED, DELETED = 1, 2, 3

_LOGINS = Throttle("login", most=10, window_s=900)
_LOGINS_FROM = Throttle("login-from", most=60, window_s=900)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who somebody is, read for each request, so that a ban, a demotion or a new password is felt at once."""

    id: int
    username: str
    display_name: str
    role: int
    status: int
    group: str
    session_version: int

    def actor(self, address: str) -> Actor:
        return Actor(user_id=self.id, username=self.username, role=self.role, address=address)


def find(engine: Engine, user_id: int) -> Account | None:
    with engine.connect() as connection:
        row = connection.execute(_ACCOUNT.where(User.id == user_id)).first()
    return None if row is None else of_row(row)


def find_by_access_token(engine: Engine, token: str) -> Account | None:
    """Whose access token this is; whether he may use it is for the caller to ask (status)."""
    token = token.removeprefix("Bearer ").strip()
    if not token:
        return None
    with engine.connect() as connection:
        row = connection.execute(_ACCOUNT.where(User.access_token == token)).first()
    # MySQL's collations find a token in the wrong case, too (D-13).
    if row is None or not hmac.compare_digest(row.access_token.encode(), token.encode()):
        return None
    return of_row(row)


def log_in(engine: Engine, options: Options, name: str, password: str, *, address: str, now: int) -> Account:
    """The account of that user name or e-mail address. Raises Refusal, in the same words whatever was wrong."""
    if not options.password_login_enabled:
        raise Refusal("password_login_disabled")
    if not name or not password:
        raise Refusal("credentials_wrong")
    with engine.connect() as connection:
        row = connection.execute(_CREDENTIALS.where(User.username == name)).first()
        if row is None:
            by_email = _CREDENTIALS.where(User.email == name, User.status != DELETED).order_by(User.id)
            row = connection.execute(by_email).first()
    who = (f"name:{name.casefold()}" if row is None else f"user:{row.id}",)
    _LOGINS_FROM.take(engine, (address,), now)
    _LOGINS.take(engine, who, now)
    if not passwords.matches(None if row is None else row.password, password) or row is None or row.status != ENABLED:
        raise Refusal("credentials_wrong")
    _LOGINS.forget(engine, who)
    # Many may log in from behind one address; only guesses count against it.
    _LOGINS_FROM.give_back(engine, (address,))
    account = of_row(row)
    run_write(engine, lambda connection: audit.record(connection, account.actor(address), "logged in", now=now))
    return account


def check_password(engine: Engine, actor: Actor, password: str, *, now: int) -> None:
    """Raises Refusal where this is not the actor's present password; guesses are counted like logins."""
    who = (f"user:{actor.user_id}",)
    _LOGINS.take(engine, who, now)
    with engine.connect() as connection:
        stored = row_of(connection, actor.user_id)
    if not passwords.matches(stored.password, password):
        raise Refusal("current_password_wrong")
    _LOGINS.forget(engine, who)


def rotate_access_token(engine: Engine, actor: Actor, *, now: int) -> str:
    """A new access token; the old one stops working. Shown here, and never again (D-04)."""

    def work(connection: Connection) -> str:
        token = secrets.token_hex(16)
        connection.execute(update(User).where(User.id == actor.user_id).values(access_token=token))
        audit.record(connection, actor, "made a new access token", now=now)
        return token

    return run_write(engine, work)


def row_of(connection: Connection, user_id: int, *, for_update: bool = False) -> AnyRow:
    """A user's whole row, locked if so wished. Raises Refusal where there is none."""
    query = select(User).where(User.id == user_id)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    if row is None:
        raise Refusal("user_not_found")
    return row


def of_row(row: AnyRow) -> Account:
    return Account(
        id=row.id,
        username=row.username or "",
        display_name=row.display_name or "",
        role=row.role or 0,
        status=row.status or 0,
        group=row.group or "default",
        session_version=row.session_version or 0,
    )


_ACCOUNT = select(
    User.id,
    User.username,
    User.display_name,
    User.role,
    User.status,
    User.group,
    User.session_version,
    User.access_token,
)
_CREDENTIALS = _ACCOUNT.add_columns(User.password)
