"""How Alembic reaches the databases.

The program gives it an open connection and what the database is for (oneapi/services/bootstrap.py). `flask db` gives
it the application instead: then both databases are gone through, under the same lock as at a start. Each database
has its own version; a step is told by `role` ("main" or "logs") which one it is in.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection


def run(connection: Connection, role: str) -> None:
    context.configure(connection=connection, target_metadata=None, transactional_ddl=connection.dialect.name != "mysql")
    with context.begin_transaction():
        context.run_migrations(role=role)


def run_for_flask() -> None:
    from flask import current_app

    from oneapi.services.bootstrap import exclusive

    engines = current_app.extensions["migrate"].db.engines
    roles = {"main": engines[None]} | ({"logs": engines["logs"]} if engines["logs"] is not engines[None] else {})
    for role, engine in roles.items():
        with exclusive(engine), engine.connect().execution_options(write=True) as connection, connection.begin():
            run(connection, role)


if context.is_offline_mode():
    raise SystemExit("The steps look at the database to see what it lacks: they cannot be written out as SQL.")
attributes = context.config.attributes
if "connection" in attributes:
    run(attributes["connection"], attributes["role"])
else:
    run_for_flask()
