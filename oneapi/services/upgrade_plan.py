"""What the first start of this program adds to a database: found by comparing it with the models and the steps that
bootstrap takes, and never by a list of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.engine import Inspector

from oneapi.config import Config
from oneapi.models import Opening, Option, User, ddl
from oneapi.services import bootstrap, steps

if TYPE_CHECKING:
    from alembic.script import Script

# What came with which version of One API, newest first. Source: spec management.md §1.6.
_CAME_WITH = (
    ("logs", "request_id", "0.6.11"),
    ("channels", "system_prompt", "0.6.10"),
    ("users", "oidc_id", "0.6.9"),
    ("tokens", "subnet", "0.6.5"),
    ("channels", "config", "0.6.0"),
    ("channels", "priority", "0.5.6"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a start would do. `lacking` is what should be there by what the database says of itself; it stays away."""

    tables: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()  # as table.column
    indexes: tuple[str, ...] = ()
    later_indexes: tuple[str, ...] = ()  # made after the start, by a job, because their table is large
    wider: tuple[str, ...] = ()
    dropped_indexes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    has_root: bool = True
    openings: int = 0  # users who get an opening balance
    lacking: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """What would be done, in sentences' halves: "add the tables …"."""
        for doing, names in (
            ("add tables", self.tables),
            ("add columns", self.columns),
            ("add indexes", self.indexes),
            ("add indexes later, while it serves", self.later_indexes),
            ("allow longer text in", self.wider),
            ("drop indexes", self.dropped_indexes),
            ("add options", self.options),
        ):
            if names:
                yield f"{doing}: {', '.join(names)}"
        if not self.has_root:
            yield "make the account root"
        if self.openings:
            yield f"note the balances of {self.openings} users, from which `oneapi verify` reckons"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(connection: Connection, config: Config, role: str) -> Plan:
    """What a start on a master node would do to this database, which serves as "main" or as "logs"."""
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    version = steps.version_of(connection)
    tables = tuple(table.name for table in bootstrap.tables(role) if table.name not in present)
    columns = tuple(
        f"{table.name}.{column.name}"
        for table in bootstrap.tables(role)
        if table.name in present
        for column in table.columns
        if column.name not in _columns(inspector, table.name)
    )
    rows = _rows(connection, present, config) if role == "main" else Plan()
    pending = version.pending if role == "main" else ()
    return Plan(
        tables=tables if version.pending else (),
        columns=columns if version.pending else (),
        lacking=() if version.pending else (*tables, *columns),
        # Unique ones are made by the steps; the others, where they are gone, by every start.
        indexes=_indexes(connection, inspector, role, is_large=False, and_unique=bool(version.pending)),
        later_indexes=_indexes(connection, inspector, role, is_large=True, and_unique=bool(version.pending)),
        wider=tuple(_wider(connection, inspector, pending)),
        dropped_indexes=tuple(_dropped(inspector, pending)),
        options=rows.options,
        has_root=rows.has_root,
        openings=rows.openings,
    )


def origin(connection: Connection) -> str:
    """Which program made the database, and how far it has come, as a sentence."""
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    version = steps.version_of(connection)
    if version.is_newer:
        return f"It was migrated by a newer version of this program, to step {version.step}."
    if version.step:
        return f"This program has served from it; it is migrated to step {version.step}" + (
            ", which is not the newest." if version.pending else ", the newest."
        )
    if not present:
        return "It is empty."
    of_one_api = {table for table, _, _ in _CAME_WITH} & present
    if not of_one_api:
        return "It holds tables of another program, and none of One API's."
    before = ""
    for table, column, release in _CAME_WITH:
        if table in present and column in _columns(inspector, table):
            until = f", but before {before}" if before else ""
            return f"It is One API's, of version {release} or later{until}; this program has not served from it yet."
        if table in present:
            before = release
    return f"It is One API's, of a version before {before}; this program has not served from it yet."


def would_collide(connection: Connection, role: str) -> Iterator[tuple[str, str]]:
    """(table, column) of unique indexes that the start would make on a column that is there already."""
    if not steps.version_of(connection).pending:
        return
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    for table in bootstrap.tables(role):
        if table.name not in present:
            continue
        for index in ddl.missing_indexes(inspector, table):
            if index.is_unique and len(index.columns) == 1 and index.columns[0] in _columns(inspector, table.name):
                yield table.name, index.columns[0]


# ---- parts of the plan ----


def _columns(inspector: Inspector, table: str) -> set[str]:
    return {column["name"] for column in inspector.get_columns(table)}


def _indexes(
    connection: Connection, inspector: Inspector, role: str, *, is_large: bool, and_unique: bool
) -> tuple[str, ...]:
    present = set(inspector.get_table_names())
    return tuple(
        index.name
        for table in bootstrap.tables(role)
        if table.name in present and bootstrap.is_large(connection, table.name) is is_large
        for index in ddl.missing_indexes(inspector, table)
        if and_unique or not index.is_unique
    )


def _wider(connection: Connection, inspector: Inspector, pending: Sequence[Script]) -> Iterator[str]:
    """Columns that the steps widen; one that is not there yet is made as long as it should be."""
    present = set(inspector.get_table_names())
    for step in pending:
        for table, columns in getattr(step.module, "WIDER", {}).items():
            for column in columns if table in present else ():
                there = {item["name"]: item["type"] for item in inspector.get_columns(table)}
                if column.name in there and ddl.is_shorter(there[column.name], column, connection.dialect.name):
                    yield f"{table}.{column.name}"


def _dropped(inspector: Inspector, pending: Sequence[Script]) -> Iterator[str]:
    present = set(inspector.get_table_names())
    for step in pending:
        for table, names in getattr(step.module, "LEFTOVERS", {}).items():
            if table in present:
                yield from {str(index["name"]) for index in inspector.get_indexes(table)}.intersection(names)


def _rows(connection: Connection, present: Collection[str], config: Config) -> Plan:
    """The rows that a start adds."""
    secret = select(Option.key).where(Option.key == bootstrap.SECRET_OPTION)
    has_secret = config.session_secret or ("options" in present and connection.execute(secret).first())
    newcomers = select(func.count(User.id))
    if "openings" in present:
        newcomers = newcomers.where(~select(Opening.user_id).where(Opening.user_id == User.id).exists())
    has_users = "users" in present and connection.execute(select(User.id).limit(1)).first() is not None
    return Plan(
        options=() if has_secret else (bootstrap.SECRET_OPTION,),
        has_root=has_users,
        openings=connection.scalar(newcomers) or 0 if has_users else 0,
    )
