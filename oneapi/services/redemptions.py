"""Redemption codes: made by administrators, each giving its quota once.

That it is once is one conditional statement (D-01): the row that changes from unused to used pays, in the transaction
that credits the user.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, Engine, delete, insert, or_, select, update

from oneapi.database import run_write
from oneapi.models import Redemption
from oneapi.relay.exchange import LogEntry
from oneapi.services import audit, logs, quota, revisions
from oneapi.services.audit import Actor, Change
from oneapi.services.forms import Int64, given
from oneapi.services.numbers import id_of
from oneapi.services.paging import Listing, Page, listed
from oneapi.services.refusal import Refusal, invalid_input
from oneapi.services.rows import AnyRow
from oneapi.services.throttle import Throttle

UNUSED, DISABLED, USED = 1, 2, 3
DEFAULT_QUOTA = 100
NAME_LIMIT = 20
COUNT_LIMIT = 100

# Codes cannot be guessed; this keeps those who try from loading the database.
_GUESSES = Throttle("redeem", most=20, window_s=600)


class RedemptionFields(msgspec.Struct, frozen=True, kw_only=True):
    """What an administrator says about a code, or about several that are to be made alike."""

    id: Int64 | UnsetType = UNSET
    name: str | UnsetType = UNSET
    quota: Int64 | UnsetType = UNSET
    count: Int64 | UnsetType = UNSET
    status: Int64 | UnsetType = UNSET
    expired_time: Int64 | UnsetType = UNSET


# ---- reading ----


def list_page(engine: Engine, page: Page) -> Listing:
    """Codes, newest first."""
    with engine.connect() as connection:
        return listed(connection, select(Redemption).order_by(Redemption.id.desc()), page)


def search(engine: Engine, keyword: str) -> list[AnyRow]:
    """Codes with that id, or whose name begins with the keyword."""
    matches = Redemption.name.startswith(keyword, autoescape=True)
    if (number := id_of(keyword)) is not None:
        matches = or_(matches, Redemption.id == number)
    with engine.connect() as connection:
        return list(connection.execute(select(Redemption).where(matches)))


def get(engine: Engine, redemption_id: int) -> AnyRow:
    with engine.connect() as connection:
        return _stored(connection, redemption_id)


# ---- writing ----


def create_many(engine: Engine, actor: Actor, fields: RedemptionFields, *, now: int) -> list[str]:
    """Makes `count` codes, all or none of them, and returns them."""
    name, count = given(fields.name, ""), given(fields.count, 0)
    amount = given(fields.quota, 0) or DEFAULT_QUOTA
    if not 1 <= count <= COUNT_LIMIT:
        raise invalid_input("redemption_count", limit=COUNT_LIMIT)
    _check(name, amount)
    codes = [secrets.token_hex(16) for _ in range(count)]

    def work(connection: Connection) -> list[str]:
        shared = {
            "user_id": actor.user_id,
            "name": name,
            "quota": amount,
            "status": UNUSED,
            "created_time": now,
            "redeemed_time": 0,
            "expired_time": given(fields.expired_time, None),
        }
        connection.execute(insert(Redemption), [{"key": code, **shared} for code in codes])
        audit.record(connection, actor, f"created {count} redemption codes ({name}) of {amount} each", now=now)
        return codes

    return run_write(engine, work)


def update_one(engine: Engine, actor: Actor, fields: RedemptionFields, *, now: int) -> AnyRow:
    """Changes name, quota and expiry where they are given."""
    names = ("name", "quota", "expired_time")
    values = {name: value for name in names if (value := getattr(fields, name)) is not UNSET}

    def work(connection: Connection) -> AnyRow:
        stored = _stored(connection, given(fields.id, 0), for_update=True)
        changed = {name: value for name, value in values.items() if value != getattr(stored, name)}
        if not changed:
            return stored
        if stored.status == USED:
            raise Refusal("redemption_is_used")
        _check(changed.get("name", stored.name or "-"), changed.get("quota", DEFAULT_QUOTA))
        return _write(connection, actor, stored, changed, now)

    return run_write(engine, work)


def set_status(engine: Engine, actor: Actor, redemption_id: int, status: int, *, now: int) -> AnyRow:
    """Disables a code, or makes it usable again. A used one stays used."""

    def work(connection: Connection) -> AnyRow:
        stored = _stored(connection, redemption_id, for_update=True)
        if status == stored.status:
            return stored
        if stored.status == USED:
            raise Refusal("redemption_is_used")
        if status not in (UNUSED, DISABLED):
            raise Refusal("redemption_status_unknown")
        return _write(connection, actor, stored, {"status": status}, now)

    return run_write(engine, work)


def remove(engine: Engine, actor: Actor, redemption_id: int, *, now: int) -> None:
    def work(connection: Connection) -> None:
        stored = _stored(connection, redemption_id)
        connection.execute(delete(Redemption).where(Redemption.id == redemption_id))
        audit.record(connection, actor, f"deleted redemption code {redemption_id} ({stored.name})", now=now)

    run_write(engine, work)


def redeem(engine: Engine, actor: Actor, code: str, *, now: int) -> int:
    """Credits the code's quota to whoever asks and returns it. Raises Refusal for a code that cannot be redeemed."""
    code = code.strip()
    if not code:
        raise Refusal("code_required")
    subjects = (f"user:{actor.user_id}", f"address:{actor.address}")
    _GUESSES.check(engine, subjects, now)

    def work(connection: Connection) -> int:
        stored = connection.execute(select(Redemption).where(Redemption.key == code)).first()
        # MySQL's collations find a code in the wrong case, too (D-13).
        if stored is None or not hmac.compare_digest(stored.key.encode(), code.encode()):
            raise Refusal("code_unknown")
        if stored.status == UNUSED and (stored.expired_time or 0) > 0 and stored.expired_time <= now:
            raise Refusal("code_expired")
        taken = connection.execute(
            update(Redemption)
            .where(Redemption.id == stored.id, Redemption.status == UNUSED)
            .values(status=USED, redeemed_time=now, redeemed_by=actor.user_id)
        )
        if taken.rowcount != 1:
            raise Refusal("code_used" if stored.status in (UNUSED, USED) else "code_unknown")
        quota.credit(
            connection,
            user_id=actor.user_id,
            quota=stored.quota,
            log=LogEntry(
                user_id=actor.user_id,
                username=actor.username,
                created_at=now,
                type=logs.TOP_UP,
                quota=stored.quota,
                content=f"redeemed code {stored.id} ({stored.name}) for {stored.quota}",
            ),
        )
        revisions.bump(connection, "accounts")
        return int(stored.quota)

    try:
        return run_write(engine, work)
    except Refusal:
        _GUESSES.count(engine, subjects, now)
        raise


def _stored(connection: Connection, redemption_id: int, *, for_update: bool = False) -> AnyRow:
    query = select(Redemption).where(Redemption.id == redemption_id)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    if row is None:
        raise Refusal("record_not_found")
    return row


def _write(connection: Connection, actor: Actor, stored: AnyRow, values: dict[str, Any], now: int) -> AnyRow:
    # Guarded, because a code may be redeemed at this very moment; its price may not change under it.
    written = connection.execute(
        update(Redemption).where(Redemption.id == stored.id, Redemption.status == stored.status).values(values)
    )
    if written.rowcount != 1:
        raise Refusal("redemption_is_used")
    changes = [Change(name, getattr(stored, name), value) for name, value in values.items()]
    audit.record(connection, actor, f"updated redemption code {stored.id} ({stored.name})", changes, now=now)
    return _stored(connection, stored.id)


def _check(name: str, amount: int) -> None:
    if not 1 <= len(name) <= NAME_LIMIT:
        raise invalid_input("redemption_name_length", limit=NAME_LIMIT)
    if amount <= 0:
        raise invalid_input("redemption_quota")
