"""New accounts: by registering, by an administrator, or by signing in through a third party.

An account comes into being in one transaction with its gifts, their log rows, its opening balance and its default
token (D-61). Source: spec management.md §6.3.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, Engine, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from oneapi.database import run_write
from oneapi.models import Opening, User
from oneapi.options import Options
from oneapi.relay.exchange import LogEntry
from oneapi.services import audit, passwords, quota, revisions, tokens
from oneapi.services.accounts import ENABLED, row_of
from oneapi.services.audit import Actor
from oneapi.services.codes import Proof
from oneapi.services.forms import Int64
from oneapi.services.logs import SYSTEM
from oneapi.services.refusal import Refusal, invalid_input
from oneapi.services.roles import COMMON
from oneapi.services.rows import AnyRow, inserted_id

T = TypeVar("T")

USERNAME_LIMIT, DISPLAY_NAME_LIMIT, EMAIL_LIMIT, GROUP_LIMIT = 30, 20, 50, 32
TEXT_LIMITS = {"display_name": DISPLAY_NAME_LIMIT, "email": EMAIL_LIMIT, "group": GROUP_LIMIT}

_AFF_LETTERS = string.digits + string.ascii_letters
_AFF_LENGTH = 4
_TRIES = 5


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody types in to get an account, for himself or, as an administrator, for another."""

    username: str = ""
    password: str = ""
    display_name: str = ""
    email: str = ""
    verification_code: str = ""
    aff_code: str = ""
    role: Int64 = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account to be made. `bindings` are columns of third parties' logins, such as github_id."""

    username: str
    display_name: str
    password_hash: str = ""
    email: str = ""
    aff_code: str = ""  # of who invited him
    bindings: Mapping[str, str] | None = None


def register(engine: Engine, options: Options, form: Registration, *, proof: Proof | None = None, now: int) -> int:
    """Makes an account for who asks, and returns its id. `proof` says that the form's address is his own."""
    if not options.register_enabled:
        raise Refusal("registration_disabled")
    if not options.password_register_enabled:
        raise Refusal("password_registration_disabled")
    email = form.email.strip() if proof is not None else ""
    new = _from_form(form, display_name=form.username.strip(), email=email, aff_code=form.aff_code)

    def work(connection: Connection) -> int:
        if proof is not None:
            proof.spend(connection)
            if is_email_taken(connection, email):
                raise Refusal("email_taken")
        return insert_account(connection, options, new, now=now)

    return insert_retrying(engine, work)


def create(engine: Engine, options: Options, actor: Actor, form: Registration, *, now: int) -> AnyRow:
    """Makes a common user for an administrator, and returns its row."""
    if form.role >= actor.role:
        raise Refusal("role_not_grantable")
    new = _from_form(form, display_name=(form.display_name or form.username).strip())

    def work(connection: Connection) -> AnyRow:
        user_id = insert_account(connection, options, new, now=now)
        audit.record(connection, actor, f"created user {user_id} ({new.username})", now=now)
        return row_of(connection, user_id)

    return insert_retrying(engine, work)


def sign_up(engine: Engine, options: Options, make: Callable[[Connection], NewAccount], *, now: int) -> int:
    """Makes an account for somebody whom a third party vouches for, and returns its id.

    `make` describes it, by what it finds in the database; it is called again where another account came in between.
    """
    if not options.register_enabled:
        raise Refusal("registration_disabled")
    return insert_retrying(engine, lambda connection: insert_account(connection, options, make(connection), now=now))


def insert_account(connection: Connection, options: Options, new: NewAccount, *, now: int) -> int:
    """The account with its gifts and its default token, in the caller's transaction; the new id.

    Source: spec management.md §6.3.
    """
    check_name_is_free(connection, new.username)
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


def aff_code(engine: Engine, user_id: int) -> str:
    """The user's invitation code, made where he has none."""

    def work(connection: Connection) -> str:
        stored = row_of(connection, user_id, for_update=True)
        if stored.aff_code:
            return str(stored.aff_code)
        code = _free_aff_code(connection)
        connection.execute(update(User).where(User.id == user_id).values(aff_code=code))
        return code

    return insert_retrying(engine, work)


# ---- what names and texts may be ----


def check_username(username: str) -> None:
    if not username:
        raise invalid_input("username_required")
    if len(username) > USERNAME_LIMIT:
        raise invalid_input("username_too_long", limit=USERNAME_LIMIT)


def check_name_is_free(connection: Connection, username: str, *, owner_id: int = 0) -> None:
    if connection.execute(select(exists().where(User.username == username, User.id != owner_id))).scalar():
        raise Refusal("username_taken")


def is_email_taken(connection: Connection, email: str, *, owner_id: int = 0) -> bool:
    """Whether another account has the address, a deleted one included."""
    query = select(exists().where(User.email.in_(email_spellings(email)), User.id != owner_id))
    return bool(connection.execute(query).scalar())


def email_spellings(email: str) -> tuple[str, ...]:
    """The address as it was given and in lower case: both may be stored, and both are looked up by the index."""
    return tuple(dict.fromkeys((email, email.lower())))


def check_texts(**texts: str) -> None:
    for name, text in texts.items():
        if len(text) > TEXT_LIMITS[name]:
            raise invalid_input(f"{name}_too_long", limit=TEXT_LIMITS[name])


# ---- parts ----


def insert_retrying(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Two who take the same name or invitation code at once meet in a unique index; the second try sees the first."""
    for _ in range(_TRIES - 1):
        try:
            return run_write(engine, work)
        except IntegrityError:
            continue
    return run_write(engine, work)


def _from_form(form: Registration, *, display_name: str, email: str = "", aff_code: str = "") -> NewAccount:
    username = form.username.strip()
    check_username(username)
    passwords.check_rules(form.password)
    # A name longer than a display name may be is cut for it, not refused.
    display_name = display_name[:DISPLAY_NAME_LIMIT] if display_name == username else display_name
    check_texts(display_name=display_name, email=email)
    return NewAccount(
        username=username,
        display_name=display_name,
        password_hash=passwords.hashed(form.password),
        email=email,
        aff_code=aff_code,
    )


def _free_aff_code(connection: Connection) -> str:
    """A code that nobody has; it grows where short ones have become scarce (D-29)."""
    length = _AFF_LENGTH
    while True:
        code = "".join(secrets.choice(_AFF_LETTERS) for _ in range(length))
        if not connection.execute(select(exists().where(User.aff_code == code))).scalar():
            return code
        length += 1
