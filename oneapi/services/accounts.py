"""Accounts: register, log in, change, invite, top up, delete.

Rules that protect people from each other stand here and in roles.py, whichever door is used: nobody acts on an equal or
a higher role, a root account cannot be lost, a balance moves only together with a log row that explains it.
"""

from __future__ import annotations

import hmac
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, Engine, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from oneapi.database import run_write
from oneapi.models import Opening, User
from oneapi.options import Options
from oneapi.relay.exchange import LogEntry
from oneapi.services import audit, passwords, quota, revisions, tokens
from oneapi.services.audit import MASKED, Actor, Change
from oneapi.services.forms import Int64, given
from oneapi.services.logs import MANAGEMENT, SYSTEM, TOP_UP
from oneapi.services.numbers import id_of
from oneapi.services.paging import Listing, Page, listed
from oneapi.services.refusal import Refusal, invalid_input
from oneapi.services.roles import ADMIN, COMMON, ROOT, may_act_on, may_grant
from oneapi.services.rows import AnyRow, inserted_id
from oneapi.services.throttle import Throttle

T = TypeVar("T")

ENABLED, DISABLED, DELETED = 1, 2, 3
USERNAME_LIMIT, DISPLAY_NAME_LIMIT, EMAIL_LIMIT, GROUP_LIMIT = 30, 20, 50, 32
LARGEST_BALANCE = 10**18  # far below what a column holds, so that no sum of one request overflows it

_LOGINS = Throttle("login", most=10, window_s=900)
_LOGINS_FROM = Throttle("login-from", most=60, window_s=900)
_AFF_LETTERS = string.digits + string.ascii_letters
_AFF_LENGTH = 4
_TRIES = 5


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


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody types in to get an account, for himself or, as an administrator, for another."""

    username: str = ""
    password: str = ""
    display_name: str = ""
    email: str = ""
    verification_code: str = ""
    aff_code: str = ""
    role: Int64 = 0


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


class OwnFields(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may change of himself. `current_password` is checked where it is given."""

    username: str = ""
    password: str = ""
    display_name: str = ""
    current_password: str | UnsetType = UNSET


# ---- who is it ----


def find(engine: Engine, user_id: int) -> Account | None:
    with engine.connect() as connection:
        row = connection.execute(_ACCOUNT.where(User.id == user_id)).first()
    return None if row is None else _account(row)


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
    return _account(row)


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
    account = _account(row)
    run_write(engine, lambda connection: audit.record(connection, account.actor(address), "logged in", now=now))
    return account


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


def _account(row: AnyRow) -> Account:
    return Account(
        id=row.id,
        username=row.username or "",
        display_name=row.display_name or "",
        role=row.role or 0,
        status=row.status or 0,
        group=row.group or "default",
        session_version=row.session_version or 0,
    )


# ---- new accounts ----


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account to be made. `bindings` are columns of third parties' logins, such as github_id."""

    username: str
    display_name: str
    password_hash: str = ""
    email: str = ""
    aff_code: str = ""  # of who invited him
    bindings: Mapping[str, str] | None = None


def register(engine: Engine, options: Options, form: Registration, *, email: str = "", now: int) -> int:
    """Makes an account for who asks, and returns its id. `email` is an address that was verified."""
    if not options.register_enabled:
        raise Refusal("registration_disabled")
    if not options.password_register_enabled:
        raise Refusal("password_registration_disabled")
    new = _from_form(form, display_name=form.username.strip(), email=email, aff_code=form.aff_code)
    return _insert_retrying(engine, lambda connection: insert_account(connection, options, new, now=now))


def create(engine: Engine, options: Options, actor: Actor, form: Registration, *, now: int) -> AnyRow:
    """Makes a common user for an administrator, and returns its row."""
    if form.role >= actor.role:
        raise Refusal("role_not_grantable")
    new = _from_form(form, display_name=(form.display_name or form.username).strip())

    def work(connection: Connection) -> AnyRow:
        user_id = insert_account(connection, options, new, now=now)
        audit.record(connection, actor, f"created user {user_id} ({new.username})", now=now)
        return _stored(connection, user_id)

    return _insert_retrying(engine, work)


def sign_up(engine: Engine, options: Options, new: NewAccount, *, now: int) -> int:
    """Makes an account for somebody whom a third party vouches for, and returns its id."""
    if not options.register_enabled:
        raise Refusal("registration_disabled")
    return _insert_retrying(engine, lambda connection: insert_account(connection, options, new, now=now))


def insert_account(connection: Connection, options: Options, new: NewAccount, *, now: int) -> int:
    """The account with its gifts and its default token, in the caller's transaction; the new id.

    Source: spec management.md §6.3.
    """
    _check_name_is_free(connection, new.username)
    inviter = None
    if new.aff_code:
        inviter = connection.execute(select(User.id, User.username).where(User.aff_code == new.aff_code)).first()
    inserted = connection.execute(
        insert(User).values(
            username=new.username,
            password=new.password_hash,
            display_name=new.display_name,
            email=new.email,
            role=COMMON,
            status=ENABLED,
            quota=0,
            access_token=secrets.token_hex(16),
            aff_code=_free_aff_code(connection),
            inviter_id=0 if inviter is None else inviter.id,
            created_time=now,
            **(new.bindings or {}),
        )
    )
    user_id = inserted_id(inserted)
    connection.execute(insert(Opening).values(user_id=user_id, quota=0, credited=0, charged=0, created_at=now))
    gifts = [(user_id, new.username, options.quota_for_new_user, "gift for a new account")]
    if inviter is not None:
        gifts.append((user_id, new.username, options.quota_for_invitee, "gift for having been invited"))
        gifts.append((inviter.id, inviter.username, options.quota_for_inviter, f"gift for inviting {new.username}"))
    for receiver, name, amount, content in gifts:
        if amount > 0:
            log = LogEntry(
                user_id=receiver, username=name or "", created_at=now, type=SYSTEM, quota=amount, content=content
            )
            quota.credit(connection, user_id=receiver, quota=amount, log=log)
    default_token = {"name": "default", "unlimited_quota": True, "remain_quota": tokens.UNLIMITED_REMAINDER}
    tokens.insert_token(connection, user_id, {**default_token, "expired_time": tokens.NEVER}, now=now)
    revisions.bump(connection, "accounts")
    return user_id


def _from_form(form: Registration, *, display_name: str, email: str = "", aff_code: str = "") -> NewAccount:
    username = form.username.strip()
    _check_username(username)
    passwords.check_rules(form.password)
    # A name longer than a display name may be is cut for it, not refused.
    display_name = display_name[:DISPLAY_NAME_LIMIT] if display_name == username else display_name
    _check_texts(display_name=display_name, email=email)
    return NewAccount(
        username=username,
        display_name=display_name,
        password_hash=passwords.hashed(form.password),
        email=email,
        aff_code=aff_code,
    )


def _insert_retrying(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Two who take the same name or invitation code at once meet in a unique index; the second try sees the first."""
    for _ in range(_TRIES - 1):
        try:
            return run_write(engine, work)
        except IntegrityError:
            continue
    return run_write(engine, work)


def _check_name_is_free(connection: Connection, username: str, *, owner_id: int = 0) -> None:
    if connection.execute(select(exists().where(User.username == username, User.id != owner_id))).scalar():
        raise Refusal("username_taken")


def _free_aff_code(connection: Connection) -> str:
    """A code that nobody has; it grows where short ones have become scarce (D-29)."""
    length = _AFF_LENGTH
    while True:
        code = "".join(secrets.choice(_AFF_LETTERS) for _ in range(length))
        if not connection.execute(select(exists().where(User.aff_code == code))).scalar():
            return code
        length += 1


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
        row = _stored(connection, user_id)
    if row.id != actor.user_id and not may_act_on(actor.role, row.role or 0):
        raise Refusal("role_not_below_yours")
    return row


# ---- changing ----


def update_user(engine: Engine, actor: Actor, fields: UserFields, *, now: int) -> None:
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
        _write(connection, actor, stored, values, now)
        if not isinstance(fields.quota, UnsetType):
            _set_balance(connection, actor, stored, fields.quota, now)

    _insert_retrying(engine, work)


def update_own(engine: Engine, actor: Actor, fields: OwnFields, *, now: int) -> Account:
    """Somebody's edit of himself; what is empty stays. Returns the account as it now is, for his session to go on."""
    if fields.password:
        passwords.check_rules(fields.password)
    password_hash = passwords.hashed(fields.password) if fields.password else ""
    if not isinstance(fields.current_password, UnsetType):
        check_password(engine, actor, fields.current_password, now=now)

    def work(connection: Connection) -> Account:
        stored = _stored(connection, actor.user_id, for_update=True)
        candidates = {"username": fields.username.strip(), "display_name": fields.display_name}
        values = {name: value for name, value in candidates.items() if value and value != getattr(stored, name)}
        _check_change(connection, actor, stored, values)
        if password_hash:
            values["password"] = password_hash
        _write(connection, actor, stored, values, now)
        return _account(_stored(connection, actor.user_id))

    return _insert_retrying(engine, work)


def check_password(engine: Engine, actor: Actor, password: str, *, now: int) -> None:
    """Raises Refusal where this is not the actor's present password; guesses are counted like logins."""
    who = (f"user:{actor.user_id}",)
    _LOGINS.take(engine, who, now)
    with engine.connect() as connection:
        stored = _stored(connection, actor.user_id)
    if not passwords.matches(stored.password, password):
        raise Refusal("current_password_wrong")
    _LOGINS.forget(engine, who)


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
        return _stored(connection, stored.id)

    return run_write(engine, work)


def remove(engine: Engine, actor: Actor, user_id: int, *, now: int) -> None:
    """Deletes a user softly: his name is freed, his tokens and sessions stop working, his history stays."""

    def work(connection: Connection) -> None:
        _delete(connection, actor, _target(connection, actor, User.id == user_id), now)

    run_write(engine, work)


def remove_own(engine: Engine, actor: Actor, *, now: int) -> None:
    def work(connection: Connection) -> None:
        _delete(connection, actor, _stored(connection, actor.user_id, for_update=True), now)

    run_write(engine, work)


def rotate_access_token(engine: Engine, actor: Actor, *, now: int) -> str:
    """A new access token; the old one stops working. Shown here, and never again (D-04)."""

    def work(connection: Connection) -> str:
        token = secrets.token_hex(16)
        connection.execute(update(User).where(User.id == actor.user_id).values(access_token=token))
        audit.record(connection, actor, "made a new access token", now=now)
        return token

    return _insert_retrying(engine, work)


def aff_code(engine: Engine, user_id: int) -> str:
    """The user's invitation code, made where he has none."""

    def work(connection: Connection) -> str:
        stored = _stored(connection, user_id, for_update=True)
        if stored.aff_code:
            return str(stored.aff_code)
        code = _free_aff_code(connection)
        connection.execute(update(User).where(User.id == user_id).values(aff_code=code))
        return code

    return _insert_retrying(engine, work)


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


def _stored(connection: Connection, user_id: int, *, for_update: bool = False) -> AnyRow:
    query = select(User).where(User.id == user_id)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    if row is None:
        raise Refusal("user_not_found")
    return row


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
        _check_username(values["username"])
        _check_name_is_free(connection, values["username"], owner_id=stored.id)
    _check_texts(**{name: values[name] for name in ("display_name", "email", "group") if name in values})
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


def _check_username(username: str) -> None:
    if not username:
        raise invalid_input("username_required")
    if len(username) > USERNAME_LIMIT:
        raise invalid_input("username_too_long", limit=USERNAME_LIMIT)


_LIMITS = {"display_name": DISPLAY_NAME_LIMIT, "email": EMAIL_LIMIT, "group": GROUP_LIMIT}


def _check_texts(**texts: str) -> None:
    for name, text in texts.items():
        if len(text) > _LIMITS[name]:
            raise invalid_input(f"{name}_too_long", limit=_LIMITS[name])
