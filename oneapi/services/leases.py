"""Leases: what one process of the installation does at a time, as rows of the database.

A lease that is not renewed ends by itself, so that nothing waits for a process that was killed.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, delete, insert, select, true, update
from sqlalchemy.exc import IntegrityError

from oneapi.database import Databases, run_write
from oneapi.models import Lease


def take_lease(databases: Databases, name: str, holder: str, *, now: int, seconds: int) -> bool:
    """Takes the lease, or renews it; False while another holds it."""
    is_free = (Lease.holder == holder) | (Lease.expires_at < now)
    return _write(databases, name, holder, now + seconds, is_free)


def set_lease(databases: Databases, name: str, holder: str, *, until: int) -> None:
    """Makes the lease the holder's, whoever had it: for what only the holder of another lease does."""
    _write(databases, name, holder, until, true())


def pass_lease(databases: Databases, name: str, holder: str, to: str, *, now: int, seconds: int) -> bool:
    """Renews the lease under another holder's name; False where it is no longer `holder`'s."""

    def work(connection: Connection) -> bool:
        held = update(Lease).where(Lease.name == name, Lease.holder == holder)
        return connection.execute(held.values(holder=to, expires_at=now + seconds)).rowcount == 1

    return run_write(databases.main, work)


def drop_lease(databases: Databases, name: str, holder: str) -> None:
    """Ends the lease if it is the holder's."""
    run_write(
        databases.main,
        lambda connection: connection.execute(delete(Lease).where(Lease.name == name, Lease.holder == holder)),
    )


def holder_of(databases: Databases, name: str, *, now: int) -> str | None:
    """Who holds the lease; None where nobody does."""
    with databases.main.connect() as connection:
        return connection.scalar(select(Lease.holder).where(Lease.name == name, Lease.expires_at >= now))


def ends_of(databases: Databases, names: Collection[str]) -> dict[str, int]:
    """When those of the leases end, or have ended, that were ever taken and not given up: by name, in Unix seconds."""
    with databases.main.connect() as connection:
        rows = connection.execute(select(Lease.name, Lease.expires_at).where(Lease.name.in_(names)))
        return {row.name: row.expires_at for row in rows}


def _write(databases: Databases, name: str, holder: str, until: int, where: ColumnElement[bool]) -> bool:
    values = {"holder": holder, "expires_at": until}

    def work(connection: Connection) -> bool:
        return connection.execute(update(Lease).where(Lease.name == name, where).values(values)).rowcount == 1

    if run_write(databases.main, work):
        return True
    try:
        run_write(databases.main, lambda connection: connection.execute(insert(Lease).values(name=name, **values)))
    except IntegrityError:
        return False
    return True
