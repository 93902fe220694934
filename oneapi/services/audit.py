"""Who did what: each administrative write leaves a log row of type 3 in its own transaction (D-41).

The row belongs to who acted, so that nobody reads an administrator's address in his own log; a change of somebody's
balance has a row of its own beside it, which belongs to him (quota.credit).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from oneapi.relay.exchange import LogEntry
from oneapi.services import logs

MASKED = "***"
_LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks for a change, and from where. The program itself is `SYSTEM`."""

    user_id: int
    username: str
    role: int
    address: str = ""


SYSTEM = Actor(user_id=0, username="", role=100)


@dataclass(frozen=True, slots=True)
class Change:
    """One field, before and after. Give secrets masked: `MASKED`."""

    field: str
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.field}: {_short(self.before)} → {_short(self.after)}"


def record(connection: Connection, actor: Actor, what: str, changes: Iterable[Change] = (), *, now: int) -> None:
    """Writes the row. `what` is a sentence's middle: "updated channel 3 (openai)"."""
    content = f"{actor.username or 'the program'} {what}"
    if told := "; ".join(map(str, changes)):
        content += f": {told}"
    if actor.address:
        content += f" [from {actor.address}]"
    logs.record(
        connection,
        LogEntry(user_id=actor.user_id, username=actor.username, created_at=now, type=logs.MANAGEMENT, content=content),
    )


def _short(value: object) -> str:
    text = "–" if value is None or value == "" else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
