"""Users: what people change of themselves, and administrators of others.

Rules that protect people from each other stand here and in roles.py, whichever door is used: nobody acts on an equal or
a higher role, a root account cannot be lost, a balance moves only together with a log row that explains it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, Engine, or_, select, update

from oneapi.database import run_write
from oneapi.models import User
from oneapi.relay.exchange import LogEntry
from oneapi.services import accounts, audit, passwords, quota, revisions
from oneapi.services.accounts import DELETED, DISABLED, ENABLED, Account
from oneapi.services.audit import MASKED, Actor, Change
from oneapi.services.forms import Int64, given
from oneapi.services.logs import MANAGEMENT, TOP_UP
from oneapi.services.numbers import id_of
from oneapi.services.paging import Listing, Page, listed
from oneapi.services.refusal import Refusal, invalid_input
from oneapi.services.registration import check_name_is_free, check_texts, check_username, insert_retrying
from oneapi.services.roles import ADMIN, COMMON, ROOT, may_act_on, may_grant
from oneapi.services.rows import AnyRow
from oneapi.services.tokens import limits_column

LARGEST_BALANCE = 10**18  # far below what a column holds, so that no sum of one request overflows it


class UserFields(msgspec.Struct, frozen=True, kw_only=True):
    """What may be changed of a user. All else that a user object holds is the program's own, and ignored (D-06)."""

    id: Int64 | UnsetType = UNSET
    username: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    display_name: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    role: Int64 | UnsetType = UNSET
    status: Int64 | UnsetType = UNSET
    quota: Int64 | UnsetType = UNSET
    group: str | UnsetType = UNSET
    limits: dict[str, Any] | UnsetType = UNSET  # as oneapi/limits.py has them; {} takes them away


class OwnFields(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may change of himself. `current_password` is checked where it is given."""

    username: str = ""
    password: str = ""
    display_name: str = ""
    current_password: str | UnsetType = UNSET


# ---- reading ----


def list_page(engine: Engine, page: Page, order: str = "") -> Listing:
    """Users that are not deleted, newest first, or by `order`: "quota", "used_quota" or "request_count", descending."""
    query = select(User).where(or_(User.status != DELETED, User.status.is_(None)))
    if order in ("quota", "used_quota", "request_count"):
        query = query.order_by(getattr(User, order).desc())
    with engine.connect() as connection:
        return listed(connection, query.order_by(User.id.desc()), page)


def search(engine: Engine, keyword: str) -> list[AnyRow]:
    """Users with that id, or whose name, e-mail address or display name begins with the keyword, deleted ones too."""
    texts = (User.username, User.email, User.display_name)
    matches = or_(*(text.startswith(keyword, autoescape=True) for text in texts))
    if (number := id_of(keyword)) is not None:
        matches = or_(matches, User.id == number)
    with engine.connect() as connection:
        return list(connection.execute(select(User).where(matches).order_by(User.id)))


def get(engine: Engine, actor: Actor, user_id: int) -> AnyRow:
    """A user's row, for himself or somebody above him."""
    with engine.connect() as connection:
        row = accounts.row_of(connection, user_id)
    if row.id != actor.user_id and not may_act_on(actor.role, row.role or 0):
        raise Refusal("role_not_below_yours")
    return row


# ---- changing ----


def update_one(engine: Engine, actor: Actor, fields: UserFields, *, now: int) -> None:
    """An administrator's edit. Texts that are empty stay; `quota`, where it is present, is the new balance (D-17).

    What is stored already is not judged again, so that a whole object may go back as it came.
    """
    password_hash = ""
    if given(fields.password, ""):
        passwords.check_rules(given(fields.password, ""))
        password_hash = passwords.hashed(given(fields.password, ""))

    def work(connection: Connection) -> None:
        stored = _target(connection, actor, User.id == given(fields.id, 0))
        candidates = {
            "username": given(fields.username, "").strip(),
            "display_name": given(fields.display_name, ""),
            "email": given(fields.email, ""),
            "group": given(fields.group, ""),
            "role": given(fields.role, 0),
            "status": given(fields.status, 0),
        }
        values = {name: value for name, value in candidates.items() if value and value != getattr(stored, name)}
        _check_change(connection, actor, stored, values)
        if password_hash:
            values["password"] = password_hash
        if not isinstance(fields.limits, UnsetType):
            values["limits"] = limits_column(fields.limits, may_budget=False)
        _write(connection, actor, stored, values, now)
        if not isinstance(fields.quota, UnsetType):
            _set_balance(connection, actor, stored, fields.quota, now)

    insert_retrying(engine, work)


def update_own(engine: Engine, actor: Actor, fields: OwnFields, *, now: int) -> Account:
    """Somebody's edit of himself; what is empty stays. Returns the account as it now is, for his session to go on."""
    if fields.password:
        passwords.check_rules(fields.password)
    password_hash = passwords.hashed(fields.password) if fields.password else ""
    if not isinstance(fields.current_password, UnsetType):
        accounts.check_password(engine, actor, fields.current_password, now=now)

    def work(connection: Connection) -> Account:
        stored = accounts.row_of(connection, actor.user_id, for_update=True)
        candidates = {"username": fields.username.strip(), "display_name": fields.display_name}
        values = {name: value for name, value in candidates.items() if value and value != getattr(stored, name)}
        _check_change(connection, actor, stored, values)
        if password_hash:
            values["password"] = password_hash
        _write(connection, actor, stored, values, now)
        return accounts.of_row(accounts.row_of(connection, actor.user_id))

    return insert_retrying(engine, work)


def manage(engine: Engine, actor: Actor, username: str, action: str, *, now: int) -> AnyRow:
    """One of the actions disable, enable, delete, promote and demote. Returns the row as it then is."""

    def work(connection: Connection) -> AnyRow:
        if not username:
            raise Refusal("user_not_found")
        stored = _target(connection, actor, User.username == username)
        is_root = stored.role == ROOT
        match action:
            case "disable":
                _refuse(is_root, "root_is_protected")
                _write(connection, actor, stored, {"status": DISABLED}, now)
            case "enable":
                _write(connection, actor, stored, {"status": ENABLED}, now)
            case "delete":
                _delete(connection, actor, stored, now)
            case "promote":
                _refuse(actor.role != ROOT, "only_root_promotes")
                _refuse((stored.role or 0) >= ADMIN, "already_admin")
                _write(connection, actor, stored, {"role": ADMIN}, now)
            case "demote":
                _refuse(is_root, "root_is_protected")
                _refuse(stored.role == COMMON, "already_common")
                _write(connection, actor, stored, {"role": COMMON}, now)
            case _:
                raise Refusal("action_unknown", action=action)
        return accounts.row_of(connection, stored.id)

    return run_write(engine, work)


def remove(engine: Engine, actor: Actor, user_id: int, *, now: int) -> None:
    """Deletes a user softly: his name is freed, his tokens and sessions stop working, his history stays."""

    def work(connection: Connection) -> None:
        _delete(connection, actor, _target(connection, actor, User.id == user_id), now)

    run_write(engine, work)


def remove_own(engine: Engine, actor: Actor, *, now: int) -> None:
    def work(connection: Connection) -> None:
        _delete(connection, actor, accounts.row_of(connection, actor.user_id, for_update=True), now)

    run_write(engine, work)


def top_up(engine: Engine, actor: Actor, user_id: int, amount: int, remark: str, *, now: int) -> None:
    """Credits a user, for payment scripts and administrators."""
    if amount < 0:
        raise invalid_input("quota_negative")

    def work(connection: Connection) -> None:
        stored = connection.execute(select(User).where(User.id == user_id).with_for_update()).first()
        if stored is None:
            raise Refusal("user_not_found")
        _check_balance((stored.quota or 0) + amount)
        log = LogEntry(
            user_id=user_id,
            username=stored.username or "",
            created_at=now,
            type=TOP_UP,
            quota=amount,
            content=remark or f"topped up by {amount}",
        )
        quota.credit(connection, user_id=user_id, quota=amount, log=log)
        audit.record(connection, actor, f"topped up user {user_id} ({stored.username}) by {amount}", now=now)
        revisions.bump(connection, "accounts")

    run_write(engine, work)


# ---- parts of a change ----


def _target(connection: Connection, actor: Actor, which: Any) -> AnyRow:
    """The user who is to be acted on, when the actor may."""
    row = connection.execute(select(User).where(which).with_for_update()).first()
    if row is None:
        raise Refusal("user_not_found")
    if not may_act_on(actor.role, row.role or 0):
        raise Refusal("role_not_below_yours")
    return row


def _check_change(connection: Connection, actor: Actor, stored: AnyRow, values: Mapping[str, Any]) -> None:
    """Raises Refusal for the first of these new values that this actor may not give this user."""
    if "username" in values:
        check_username(values["username"])
        check_name_is_free(connection, values["username"], owner_id=stored.id)
    check_texts(**{name: values[name] for name in ("display_name", "email", "group") if name in values})
    if stored.role == ROOT and ("role" in values or "status" in values):
        _refuse(values.get("role", ROOT) != ROOT or values.get("status", ENABLED) != ENABLED, "root_is_protected")
    if "role" in values:
        _refuse(not may_grant(actor.role, values["role"]), "role_not_grantable")
    if "status" in values:
        _refuse(values["status"] not in (ENABLED, DISABLED), "status_not_settable")


def _write(connection: Connection, actor: Actor, stored: AnyRow, values: dict[str, Any], now: int) -> None:
    """Writes what changes, ends sessions where access changes with it, and leaves the trail."""
    values = {name: value for name, value in values.items() if value != getattr(stored, name)}
    if not values:
        return
    if values.keys() & {"password", "role", "status"}:
        values["session_version"] = (stored.session_version or 0) + 1
    connection.execute(update(User).where(User.id == stored.id).values(values))
    changes = [
        Change(name, MASKED, MASKED) if name == "password" else Change(name, getattr(stored, name), value)
        for name, value in values.items()
        if name not in ("session_version", "access_token")
    ]
    audit.record(connection, actor, f"updated user {stored.id} ({stored.username})", changes, now=now)
    revisions.bump(connection, "accounts")


def _delete(connection: Connection, actor: Actor, stored: AnyRow, now: int) -> None:
    _refuse(stored.role == ROOT, "root_is_protected")
    values = {"username": f"deleted_{secrets.token_hex(16)}", "status": DELETED, "access_token": None}
    _write(connection, actor, stored, values, now)


def _set_balance(connection: Connection, actor: Actor, stored: AnyRow, balance: int, now: int) -> None:
    """Moves the locked row's balance to that amount, by its difference."""
    difference = balance - (stored.quota or 0)
    if not difference:
        return
    _check_balance(balance)
    log = LogEntry(
        user_id=stored.id,
        username=stored.username or "",
        created_at=now,
        type=MANAGEMENT,
        quota=difference,
        content=f"an administrator changed the balance from {stored.quota or 0} to {balance}",
    )
    quota.credit(connection, user_id=stored.id, quota=difference, log=log)
    change = Change("quota", stored.quota or 0, balance)
    audit.record(connection, actor, f"updated user {stored.id} ({stored.username})", [change], now=now)
    revisions.bump(connection, "accounts")


def _refuse(condition: bool, key: str) -> None:
    if condition:
        raise Refusal(key)


def _check_balance(balance: int) -> None:
    if abs(balance) > LARGEST_BALANCE:
        raise invalid_input("quota_too_large")
