"""Revisions: numbers that tell every worker that something has changed.

A write that others must learn of raises the number in its own transaction, so that whoever sees the new number also
sees what was written.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.orm import Session

from oneapi.models import Revision

Name = Literal["channels", "options", "accounts"]


def bump(connection: Connection | Session, name: Name) -> None:
    """Raises a revision within the caller's transaction.

    Call it last: until the transaction ends, every other writer of the same kind waits for this row.
    """
    raised = connection.connection() if isinstance(connection, Session) else connection
    result = raised.execute(update(Revision).where(Revision.name == name).values(number=Revision.number + 1))
    if not result.rowcount:
        # The migration makes all three rows; this is for one that somebody has deleted.
        raised.execute(insert(Revision).values(name=name, number=1))


def numbers(connection: Connection) -> dict[str, int]:
    """The present number of each revision, by name."""
    return {name: number for name, number in connection.execute(select(Revision.name, Revision.number))}
