"""Leases: what one process of the installation does at a time, as rows of the database.

A lease that is not renewed ends by itself, so that nothing waits for a process that was killed.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from oneapi.database import Databases, run_write
from oneapi.models import Lease


def take_lease(databases: Databases, name: str, holder: str, *, now: int, seconds: int) -> bool:
    """Takes the lease, or renews it; False while another holds it."""

    def work(connection: Connection) -> bool:
        taken = connection.execute(
            update(Lease)
            .where(Lease.name == name, (Lease.holder == holder) | (Lease.expires_at < now))
            .values(holder=holder, expires_at=now + seconds)
        )
        return taken.rowcount == 1

    def first(connection: Connection) -> None:
        connection.execute(insert(Lease).values(name=name, holder=holder, expires_at=now + seconds))

    if run_write(databases.main, work):
        return True
    try:
        run_write(databases.main, first)
    except IntegrityError:
        return False
    return True


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
