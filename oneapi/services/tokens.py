"""Tokens: the API keys of users. Issue, change, find by key, and say whether a key may be used now.

Whoever asks passes `Actor`; whose tokens are meant is said apart, so that an administrator's screen can manage another
user's. What may be left out of a change is `UNSET` (spec management.md §1.9).
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, Engine, delete, exists, insert, or_, select, update

from oneapi.config import Network
from oneapi.database import run_write, told_when_away
from oneapi.errors import Forbidden, InvalidRequest, Unauthenticated
from oneapi.limits import NO_LIMITS, Limits, parse_limits, render_limits, stored_limits
from oneapi.models import Hold, Token, TokenBudget, User
from oneapi.relay.exchange import Caller
from oneapi.services import audit, revisions
from oneapi.services.audit import Actor, Change
from oneapi.services.forms import Int64, given
from oneapi.services.paging import Listing, Page, listed
from oneapi.services.refusal import Refusal, invalid_input
from oneapi.services.roles import ADMIN
from oneapi.services.rows import AnyRow, AnySelect, inserted_id

log = logging.getLogger(__name__)

ENABLED, DISABLED, EXPIRED, EXHAUSTED = 1, 2, 3, 4
NEVER = -1
UNLIMITED_REMAINDER = -1  # what One API writes as the remainder of a new account's unlimited token
NAME_LIMIT = 30
SUBNET_LIMIT = 191
KEY_LENGTH = 48
_KEY_LETTERS = string.ascii_letters + string.digits  # no "-": the relay cuts a key there
_USER_ENABLED = 1
_CHANNEL_DIGITS = 18


class TokenFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a token of his."""

    id: Int64 | UnsetType = UNSET
    name: str | UnsetType = UNSET
    status: Int64 | UnsetType = UNSET
    expired_time: Int64 | UnsetType = UNSET
    remain_quota: Int64 | UnsetType = UNSET
    unlimited_quota: bool | UnsetType = UNSET
    models: str | UnsetType = UNSET
    subnet: str | UnsetType = UNSET
    limits: dict[str, Any] | UnsetType = UNSET  # as oneapi/limits.py has them; {} takes them away


# ---- reading ----


def list_page(engine: Engine, user_id: int, page: Page, order: str = "") -> Listing:
    """His tokens, newest first; `order`: "remain_quota" (unlimited first, then the most left) or "used_quota"."""
    query = select(Token).where(Token.user_id == user_id)
    if order == "remain_quota":
        query = query.order_by(Token.unlimited_quota.desc(), Token.remain_quota.desc())
    elif order == "used_quota":
        query = query.order_by(Token.used_quota.desc())
    with engine.connect() as connection:
        return listed(connection, query.order_by(Token.id.desc()), page)


def search(engine: Engine, user_id: int, keyword: str) -> list[AnyRow]:
    """His tokens whose name begins with the keyword."""
    query = select(Token).where(Token.user_id == user_id, Token.name.startswith(keyword, autoescape=True))
    with engine.connect() as connection:
        return list(connection.execute(query))


def get(engine: Engine, user_id: int, token_id: int) -> AnyRow:
    """One of his tokens. Raises Refusal when it is not his."""
    with engine.connect() as connection:
        return _owned(connection, user_id, token_id)


# ---- writing ----


def new_key() -> str:
    return "".join(secrets.choice(_KEY_LETTERS) for _ in range(KEY_LENGTH))


def create(engine: Engine, actor: Actor, user_id: int, fields: TokenFields, *, now: int) -> AnyRow:
    """A new token for the user; the returned row shows its key."""
    values = {
        "name": given(fields.name, ""),
        "expired_time": given(fields.expired_time, 0) or NEVER,
        "remain_quota": given(fields.remain_quota, 0),
        "unlimited_quota": given(fields.unlimited_quota, False),
        "models": given(fields.models, None),
        "subnet": given(fields.subnet, ""),
        "limits": limits_column(given(fields.limits, {})),
    }
    _check(values, stored_quota=0)

    def work(connection: Connection) -> AnyRow:
        token_id = insert_token(connection, user_id, values, now=now)
        audit.record(connection, actor, f"created token {token_id} ({values['name']})", now=now)
        revisions.bump(connection, "accounts")
        return _owned(connection, user_id, token_id)

    return run_write(engine, work)


def insert_token(connection: Connection, user_id: int, values: Mapping[str, Any], *, now: int) -> int:
    """Inserts an enabled token with a fresh key and returns its id."""
    inserted = connection.execute(
        insert(Token).values(
            user_id=user_id, key=new_key(), status=ENABLED, created_time=now, accessed_time=now, used_quota=0, **values
        )
    )
    return inserted_id(inserted)


def update_all(engine: Engine, actor: Actor, user_id: int, fields: TokenFields, *, now: int) -> AnyRow:
    """Writes all six editable fields, as One API does: what is left out is emptied, save `expired_time`, and `limits`,
    which its front ends do not know.

    The status is not written, but asking for "enabled" meets the same rules as `set_status`.
    """
    values: dict[str, Any] = {
        "name": given(fields.name, ""),
        "remain_quota": given(fields.remain_quota, 0),
        "unlimited_quota": given(fields.unlimited_quota, False),
        "models": given(fields.models, None),
        "subnet": given(fields.subnet, None),
    }
    if fields.expired_time is not UNSET:
        values["expired_time"] = fields.expired_time
    if not isinstance(fields.limits, UnsetType):
        values["limits"] = limits_column(fields.limits)

    def work(connection: Connection) -> AnyRow:
        stored = _owned(connection, user_id, given(fields.id, 0))
        _check(values, stored_quota=stored.remain_quota or 0)
        if fields.status == ENABLED:
            _check_enabling(stored, now)
        return _write(connection, actor, stored, values, now)

    return run_write(engine, work)


def set_status(engine: Engine, actor: Actor, user_id: int, token_id: int, status: int, *, now: int) -> AnyRow:
    """Enables or disables a token. One that is expired or used up must be given time or quota first."""

    def work(connection: Connection) -> AnyRow:
        stored = _owned(connection, user_id, token_id)
        if status not in (ENABLED, DISABLED, stored.status):
            raise Refusal("token_status_unknown")
        if status == ENABLED:
            _check_enabling(stored, now)
        return _write(connection, actor, stored, {"status": status}, now)

    return run_write(engine, work)


def remove(engine: Engine, actor: Actor, user_id: int, token_id: int, *, now: int) -> None:
    def work(connection: Connection) -> None:
        stored = _owned(connection, user_id, token_id)
        connection.execute(delete(Token).where(Token.id == token_id, Token.user_id == user_id))
        connection.execute(delete(TokenBudget).where(TokenBudget.token_id == token_id))
        audit.record(connection, actor, f"deleted token {token_id} ({stored.name})", now=now)
        revisions.bump(connection, "accounts")

    run_write(engine, work)


def _owned(connection: Connection, user_id: int, token_id: int) -> AnyRow:
    row = connection.execute(select(Token).where(Token.id == token_id, Token.user_id == user_id)).first()
    if row is None:
        raise Refusal("record_not_found")
    return row


def _write(connection: Connection, actor: Actor, stored: AnyRow, values: dict[str, Any], now: int) -> AnyRow:
    connection.execute(update(Token).where(Token.id == stored.id).values(values))
    written = _owned(connection, stored.user_id, stored.id)
    changes = [
        Change(name, getattr(stored, name), getattr(written, name))
        for name in values
        if getattr(stored, name) != getattr(written, name)
    ]
    audit.record(connection, actor, f"updated token {stored.id} ({written.name})", changes, now=now)
    revisions.bump(connection, "accounts")
    return written


def limits_column(value: Mapping[str, Any], *, may_budget: bool = True) -> str | None:
    """What column `limits` is to have for that JSON object. Raises Refusal."""
    return render_limits(checked_limits(value, may_budget=may_budget))


def checked_limits(value: Mapping[str, Any], *, may_budget: bool) -> Limits:
    """Limits as somebody gives them. Raises Refusal."""
    try:
        limits = parse_limits(value)
    except ValueError as error:
        raise invalid_input("limits_invalid", detail=str(error)) from None
    if limits.budget is not None and not may_budget:
        raise invalid_input("limits_invalid", detail="budgets are for tokens")
    return limits


def _check(values: Mapping[str, Any], *, stored_quota: int) -> None:
    if len(values["name"]) > NAME_LIMIT:
        raise invalid_input("token_name_too_long", limit=NAME_LIMIT)
    # An overdrawn token may be saved as it stands.
    if values["remain_quota"] < min(stored_quota, 0) and not values["unlimited_quota"]:
        raise invalid_input("quota_negative")
    subnet = values["subnet"] or ""
    if len(subnet) > SUBNET_LIMIT:
        raise invalid_input("subnet_too_long", limit=SUBNET_LIMIT)
    for item in _items(subnet):
        if _network(item) is None:
            raise invalid_input("subnet_invalid", subnet=item)


def _check_enabling(stored: AnyRow, now: int) -> None:
    if stored.status == EXPIRED and stored.expired_time != NEVER and stored.expired_time <= now:
        raise Refusal("token_expired")
    if stored.status == EXHAUSTED and stored.remain_quota <= 0 and not stored.unlimited_quota:
        raise Refusal("token_exhausted")


# ---- using a key ----


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAndUser:
    """A token with its user as of one look. `caller` is what the relay hands on when nothing speaks against it."""

    key: str = field(repr=False)
    status: int
    expired_time: int
    is_unlimited: bool
    remain_quota: int
    used_quota: int
    subnet: str
    networks: tuple[Network, ...]
    user_status: int
    user_used_quota: int
    caller: Caller


def find_by_key(engine: Engine, key: str) -> TokenAndUser | None:
    """The token with exactly this key and its user, read from the database."""
    with engine.connect() as connection:
        row = connection.execute(_TOKEN_AND_USER.where(Token.key == key)).first()
    # MySQL's collations find a key in the wrong case, too (D-13).
    if row is None or not hmac.compare_digest(row.key.encode(), key.encode()):
        return None
    subnets = tuple(_items(row.subnet or ""))
    limits = {name: _limits(text, row.id) for name, text in (("token", row.limits), ("user", row.user_limits)) if text}
    return TokenAndUser(
        key=key,
        status=row.status or 0,
        expired_time=row.expired_time or 0,
        is_unlimited=bool(row.unlimited_quota),
        remain_quota=row.remain_quota or 0,
        used_quota=row.used_quota or 0,
        subnet=row.subnet or "",
        networks=tuple(network for item in subnets if (network := _network(item)) is not None),
        user_status=row.user_status or 0,
        user_used_quota=row.user_used_quota or 0,
        caller=Caller(
            user_id=row.user_id,
            username=row.username or "",
            group=row.user_group or "default",
            role=row.role or 0,
            user_quota=row.user_quota or 0,
            token_id=row.id,
            token_name=row.name or "",
            token_quota=row.remain_quota or 0,
            is_unlimited=bool(row.unlimited_quota),
            models=frozenset(_items(row.models or "")),
            subnets=subnets,
            token_expires_at=row.expired_time or 0,
            limits=limits,
        ),
    )


def _limits(text: str, token_id: int) -> Limits:
    """What a column says. Only another program can have written what cannot be read: then nobody is locked out."""
    try:
        return stored_limits(text)
    except ValueError as error:
        log.warning("the limits of token %d or of its user cannot be read and are ignored: %s", token_id, error)
        return NO_LIMITS


_TOKEN_AND_USER: AnySelect = select(
    Token,
    User.username,
    User.role,
    User.status.label("user_status"),
    User.group.label("user_group"),
    User.quota.label("user_quota"),
    User.used_quota.label("user_used_quota"),
    User.limits.label("user_limits"),
).join(User, User.id == Token.user_id)


class TokenCache:
    """Keys found lately, per worker. A find that hits reads no database; the ledger's guarded statements, not this,
    have the last word on status, expiry and quota.

    `clear` is called when the revision of accounts moves, so that a ban or an edit is felt at once.
    """

    _LIMIT = 10_000

    def __init__(self, engine: Engine, ttl_s: float, monotonic: Callable[[], float]) -> None:
        self._engine = engine
        self._ttl_s = ttl_s
        self._monotonic = monotonic
        self._entries: dict[str, tuple[float, TokenAndUser]] = {}

    def find(self, key: str) -> TokenAndUser | None:
        entry = self._entries.get(key)
        if entry is not None and entry[0] > self._monotonic():
            return entry[1]
        entries = self._entries
        with told_when_away():
            found = find_by_key(self._engine, key)
        if found is None:
            entries.pop(key, None)
            return None
        if len(entries) >= self._LIMIT:
            entries.clear()
        # Where `clear` was called while the database answered, this goes to the discarded dict and is not kept.
        entries[key] = (self._monotonic() + self._ttl_s, found)
        return found

    def forget(self, key: str) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries = {}


def authenticate_key(
    cache: TokenCache, credential: str, *, client_ip: str, now: float, model: str = "", engine: Engine
) -> Caller:
    """Who calls with this credential: `[Bearer ][sk-]<key>[-<channel id>]`.

    Raises Unauthenticated (unknown, unusable, expired or used up), Forbidden (network, ban, model, pinned channel),
    InvalidRequest (a pinned channel that is no number) and Unavailable (the database is away).

    Source: spec relay.md §2.1 and §2.2, checks in that order.
    """
    key, suffix = parse_credential(credential)
    if not key:
        raise Unauthenticated("No API key was given")
    found = cache.find(key)
    if found is None:
        raise Unauthenticated("The API key is invalid")
    try:
        caller = authorize(found, client_ip=client_ip, now=now, model=model)
    except _Spent as spent:
        with told_when_away():
            _retire(engine, found, spent.becomes)
        cache.forget(key)
        raise
    return caller if suffix is None else _pinned(caller, suffix)


def parse_credential(credential: str) -> tuple[str, str | None]:
    """The key, and the text after its first "-" where there is one."""
    if credential[:7].lower() == "bearer ":
        credential = credential[7:].strip()
    key, dash, rest = credential.removeprefix("sk-").partition("-")
    return key, rest.partition("-")[0] if dash else None


def authorize(found: TokenAndUser, *, client_ip: str, now: float, model: str = "") -> Caller:
    """The caller, when his token may be used from that address for that model ("": no model is asked for)."""
    if found.status != ENABLED:
        raise Unauthenticated(
            _UNUSABLE.get(found.status, "The token {name} (id {id}) is not usable").format(
                name=found.caller.token_name, id=found.caller.token_id
            )
        )
    if found.expired_time != NEVER and found.expired_time < now:
        raise _Spent(EXPIRED, found)
    if not found.is_unlimited and found.remain_quota <= 0:
        raise _Spent(EXHAUSTED, found)
    if found.subnet and not _is_inside(client_ip, found.networks):
        raise Forbidden(f"The token may only be used from {found.subnet}, and you come from {client_ip}")
    if found.user_status != _USER_ENABLED:
        raise Forbidden("The user of this token is banned")
    if model and not found.caller.may_use(model):
        raise Forbidden(f"The token {found.caller.token_name} may not use the model {model}")
    return found.caller


_UNUSABLE = {
    EXHAUSTED: "The quota of token {name} (id {id}) is used up",
    EXPIRED: "The token {name} (id {id}) has expired",
}


class _Spent(Unauthenticated):
    """A token found to have come to its end: the row's status is to say so."""

    def __init__(self, status: int, found: TokenAndUser) -> None:
        super().__init__(_UNUSABLE[status].format(name=found.caller.token_name, id=found.caller.token_id))
        self.becomes = status


def _pinned(caller: Caller, suffix: str) -> Caller:
    if caller.role < ADMIN:
        raise Forbidden("Only administrators may choose a channel")
    if not suffix.isascii() or not suffix.isdigit() or len(suffix) > _CHANNEL_DIGITS:
        raise InvalidRequest("The channel id in the API key is invalid")
    return replace(caller, channel_id=int(suffix))


def _retire(engine: Engine, found: TokenAndUser, status: int) -> None:
    """Marks the token as expired or exhausted, unless that is no longer so.

    A remainder that running calls hold is not spent yet: settlement may give it back.
    """
    statement = update(Token).where(Token.id == found.caller.token_id, Token.status == ENABLED).values(status=status)
    if status == EXPIRED:
        statement = statement.where(Token.expired_time == found.expired_time)
    else:
        held = exists().where(Hold.token_id == Token.id, Hold.released_at.is_(None))
        limited = or_(Token.unlimited_quota.is_(False), Token.unlimited_quota.is_(None))
        statement = statement.where(Token.remain_quota <= 0, limited, ~held)
    run_write(engine, lambda connection: connection.execute(statement))


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is_inside(client_ip: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(client_ip)
    except ValueError:
        return False
    # A dual-stack socket reports IPv4 clients as ::ffff:a.b.c.d, which lies in no IPv4 network.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
