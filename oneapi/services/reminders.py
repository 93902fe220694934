"""Reminders: a letter to a user whose balance falls below QuotaRemindThreshold, and another when it is used up.

The hot path compares two numbers that it has at hand. Only where they say that the balance may be low, and at most once
a minute for each user and worker, a greenlet looks at the database. A marker there, taken away by every credit, makes
one letter of many workers' suspicions. Source: spec management.md §9.6.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select

from oneapi.database import run_write
from oneapi.i18n import letters
from oneapi.models import Hold, OneTimeCode, User
from oneapi.options import Options
from oneapi.relay.exchange import Exchange
from oneapi.services.notify import Notifier, language_of

_PURPOSE = "reminded"
_LOW, _USED_UP = "low", "used up"
_MARKER_S = 30 * 86400  # for databases whose credits another program writes
_LOOK_AGAIN_S = 60.0
_REMEMBERED_USERS = 10_000


@dataclass(frozen=True, slots=True)
class _Due:
    email: str
    language: str | None
    quota: int


class Reminders:
    """One per worker."""

    def __init__(
        self,
        engine: Engine,
        options: Callable[[], Options],
        notifier: Notifier,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._options = options
        self._notifier = notifier
        self._now = now
        self._monotonic = monotonic
        self._quiet_until: dict[int, float] = {}

    def observe(self, exchange: Exchange) -> None:
        """Suspects a low balance from what the call knew of it: the balance of the last look, less its own hold."""
        caller, hold = exchange.caller, exchange.hold
        if caller.user_quota - (hold.user_quota if hold else 0) >= self._options().quota_remind_threshold:
            return
        user_id, moment = caller.user_id, self._monotonic()
        if self._quiet_until.get(user_id, 0.0) > moment:
            return
        if len(self._quiet_until) >= _REMEMBERED_USERS:
            self._quiet_until.clear()
        self._quiet_until[user_id] = moment + _LOOK_AGAIN_S
        self._notifier.post(f"a reminder to user {user_id}", lambda: self.remind(user_id))

    def remind(self, user_id: int) -> None:
        """Writes to the user where his balance is low and nobody has told him since his last credit."""
        options = self._options()
        due = run_write(
            self._engine,
            lambda connection: _mark(connection, user_id, options.quota_remind_threshold, int(self._now())),
        )
        if due is None:
            return
        letter = letters.quota_low(
            language_of(due.language),
            system_name=options.system_name,
            quota=due.quota,
            is_used_up=due.quota <= 0,
            top_up_url=options.top_up_link or f"{options.server_address}/topup",
        )
        self._notifier.mail(due.email, letter)


def rearm(connection: Connection, user_id: int) -> None:
    """A credit: the user may be reminded anew. In the credit's own transaction."""
    connection.execute(delete(OneTimeCode).where(*_markers(user_id)))


def _mark(connection: Connection, user_id: int, threshold: int, now: int) -> _Due | None:
    """What to write, with the marker that it was written; None where there is nothing to say."""
    # Locked, so that of two who look at once one finds the other's marker.
    user = connection.execute(
        select(User.email, User.language, User.quota).where(User.id == user_id).with_for_update()
    ).first()
    if user is None or not user.email:
        return None
    held = select(func.sum(Hold.user_quota)).where(Hold.user_id == user_id, Hold.released_at.is_(None))
    # What running calls hold comes back in part: it is not spent yet.
    quota = (user.quota or 0) + int(connection.execute(held).scalar() or 0)
    if quota >= threshold and quota > 0:
        return None
    state = _USED_UP if quota <= 0 else _LOW
    marks = connection.scalars(select(OneTimeCode.code).where(*_markers(user_id), OneTimeCode.expires_at > now)).all()
    if state in marks or _USED_UP in marks:
        return None
    values = {"purpose": _PURPOSE, "subject": str(user_id), "code": state, "expires_at": now + _MARKER_S}
    connection.execute(insert(OneTimeCode).values(values))
    return _Due(user.email, user.language, quota)


def _markers(user_id: int) -> tuple[ColumnElement[bool], ...]:
    return OneTimeCode.purpose == _PURPOSE, OneTimeCode.subject == str(user_id)
