"""The steps by which a database is migrated: which it has taken, and taking the others.

Alembic is loaded where there is something to do, which at most starts there is not: it takes as long to load as all the
rest of the preparation.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

import oneapi

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig
    from alembic.script import Script

logging.getLogger("alembic").setLevel(logging.WARNING)  # what it does is said by bootstrap.py, in one line

# In a checkout the steps stand beside the package, with a link to them within it; an installation has them within it.
# A link does not survive every way of copying a folder.
SCRIPTS = next(
    folder
    for folder in (Path(oneapi.__file__).parent / "migrations", Path(oneapi.__file__).parent.parent / "migrations")
    if folder.is_dir()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """How far a database has been migrated: its last step, None for none of ours; and the steps that it lacks."""

    step: str | None
    is_newer: bool  # the step is one that this program does not know
    pending: tuple[Script, ...]


def newest() -> str:
    """The last step: their files are named by number."""
    return max(file.name.partition("_")[0] for file in (SCRIPTS / "versions").glob("[0-9]*_*.py"))


def is_newest(connection: Connection) -> bool:
    """Whether the database has taken the last step, without loading Alembic to ask."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    return connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [newest()]


def version_of(connection: Connection) -> Version:
    """How far this database has been migrated."""
    if is_newest(connection):
        return Version(step=newest(), is_newer=False, pending=())
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    step = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_settings())
    if step and step not in {script.revision for script in scripts.walk_revisions()}:
        return Version(step=step, is_newer=True, pending=())
    pending = tuple(scripts.iterate_revisions("head", step or "base"))
    return Version(step=step, is_newer=False, pending=pending)


def upgrade(connection: Connection, role: str) -> None:
    """Takes the steps that a database which serves as "main" or as "logs" lacks, in the connection's transaction."""
    from alembic import command

    settings = _settings()
    settings.attributes.update(connection=connection, role=role)
    command.upgrade(settings, "head")


def _settings() -> AlembicConfig:
    from alembic.config import Config as AlembicConfig

    settings = AlembicConfig()
    settings.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    return settings
