"""DDL in the form in which One API's own ORM writes it, and the rules for touching tables that it has made.

The Go program reads the stored text of SQLite's tables at each start and takes a tab for a quote: on a table written
in another form its migration drops columns with their data. So tables are made in its words, in one line; columns are
added one by one at the end; nothing is ever rebuilt. All of it may run on a database in any state, any number of
times: what is there already is left as it is.

Source: statements logged by GORM 1.25.8 and 1.25.10 with its three drivers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import Inspector
from sqlalchemy.schema import Table as ModelTable
from sqlalchemy.types import TypeEngine

# Kind of column -> type in SQLite, MySQL and PostgreSQL. A kind that is not here is a type in the same words in all.
_TYPES = {
    "id": ("integer PRIMARY KEY AUTOINCREMENT", "bigint AUTO_INCREMENT", "bigserial"),
    "int": ("integer", "bigint", "bigint"),
    "unsigned": ("integer", "bigint unsigned", "bigint"),
    "float": ("real", "double", "decimal"),
    "bool": ("numeric", "boolean", "boolean"),
    "name": ("text", "varchar(191)", "text"),
    "longtext": ("text", "longtext", "text"),
}
_DIALECTS = ("sqlite", "mysql", "postgresql")

LARGE = 100_000  # rows, from which on an index is not made while the program starts


@dataclass(frozen=True, slots=True)
class Column:
    """`default` is SQL, with single quotes around text."""

    name: str
    kind: str
    default: str = ""
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    name: str
    columns: tuple[str, ...]
    is_unique: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`added` are columns that came with us, after the table's own; so are the indexes in `added_indexes`."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("id",)
    indexes: tuple[Index, ...] = ()
    unique: tuple[str, str] | None = None  # name of the constraint, column
    added: tuple[Column, ...] = ()
    added_indexes: tuple[Index, ...] = ()


def complete(connection: Connection, table: Table, *, is_growing: bool = False) -> None:
    """Makes the table, or what it lacks. The indexes of a growing one that is large already are left to a job."""
    inspector = inspect(connection)
    if inspector.has_table(table.name):
        there = {column["name"] for column in inspector.get_columns(table.name)}
        covered = indexed(inspector, table.name)
    else:
        connection.exec_driver_sql(_create(table, connection.dialect.name))
        there = {column.name for column in table.columns}
        covered = set()
    missing = [column for column in (*table.columns, *table.added) if column.name not in there]
    _add_columns(connection, table.name, missing)
    if is_growing and is_large(connection, table.name):
        return
    for index in (*table.indexes, *table.added_indexes):
        if not is_covered(index, covered):
            create_index(connection, table.name, index)


def strip(connection: Connection, table: Table) -> None:
    """Takes off what came with us. The table's own columns, indexes and rows stay."""
    inspector = inspect(connection)
    if not inspector.has_table(table.name):
        return
    names = {index["name"] for index in inspector.get_indexes(table.name)}
    for index in table.added_indexes:
        if index.name in names:
            drop_index(connection, table.name, index.name)
    there = {column["name"] for column in inspector.get_columns(table.name)}
    quote = _quoter(connection.dialect.name)
    for column in table.added:
        if column.name in there:
            connection.exec_driver_sql(f"ALTER TABLE {quote(table.name)} DROP COLUMN {quote(column.name)}")


def widen(connection: Connection, table: str, column: Column) -> None:
    """Gives a text column a longer type where its own is shorter."""
    existing = next(item for item in inspect(connection).get_columns(table) if item["name"] == column.name)
    if not is_shorter(existing["type"], column, connection.dialect.name):
        return
    wanted = _type(column, connection.dialect.name)
    quote = _quoter(connection.dialect.name)
    if connection.dialect.name == "mysql":
        change = f"MODIFY {_definition(column, 'mysql')}"
    else:
        change = f"ALTER COLUMN {quote(column.name)} TYPE {wanted}"
    connection.exec_driver_sql(f"ALTER TABLE {quote(table)} {change}")


def is_shorter(existing: TypeEngine[Any], column: Column, dialect: str) -> bool:
    """Whether a text column of this type holds less than it should. SQLite has no lengths."""
    length = getattr(existing, "length", None)
    if length is None or dialect == "sqlite":
        return False
    wanted = _type(column, dialect)
    return not wanted.startswith("varchar(") or int(length) < int(wanted[8:-1])


def create_index(connection: Connection, table: str, index: Index, *, is_online: bool = False) -> None:
    """Makes an index. Online, MySQL and PostgreSQL let others write to the table meanwhile; the latter then wants a
    connection in AUTOCOMMIT."""
    dialect = connection.dialect.name
    quote = _quoter(dialect)
    unique = "UNIQUE " if index.is_unique else ""
    before = "CONCURRENTLY " if is_online and dialect == "postgresql" else ""
    after = " ALGORITHM=INPLACE LOCK=NONE" if is_online and dialect == "mysql" else ""
    columns = ",".join(quote(column) for column in index.columns)
    connection.exec_driver_sql(f"CREATE {unique}INDEX {before}{quote(index.name)} ON {quote(table)}({columns}){after}")


def drop_index(connection: Connection, table: str, name: str) -> None:
    quote = _quoter(connection.dialect.name)
    of_table = f" ON {quote(table)}" if connection.dialect.name == "mysql" else ""
    connection.exec_driver_sql(f"DROP INDEX {quote(name)}{of_table}")


def indexed(inspector: Inspector, table: str) -> set[tuple[tuple[str, ...], bool]]:
    """(columns, unique?) of all that a table has in the way of indexes, whatever their names."""
    found: set[tuple[tuple[str, ...], bool]] = set()
    for index in inspector.get_indexes(table):
        found.add((tuple(name for name in index["column_names"] if name), bool(index["unique"])))
    for constraint in inspector.get_unique_constraints(table):
        found.add((tuple(constraint["column_names"]), True))
    return found


def is_covered(index: Index, covered: set[tuple[tuple[str, ...], bool]]) -> bool:
    """Whether an index on its columns is among the existing ones; a unique one serves as a plain one too."""
    return (index.columns, True) in covered or (not index.is_unique and (index.columns, False) in covered)


def missing_indexes(inspector: Inspector, table: ModelTable) -> list[Index]:
    """A model's indexes that the database's table has under no name."""
    covered = indexed(inspector, table.name)
    wanted = (
        Index(str(index.name), tuple(column.name for column in index.columns), bool(index.unique))
        for index in table.indexes
    )
    return sorted((index for index in wanted if not is_covered(index, covered)), key=lambda index: index.name)


def is_large(connection: Connection, table: str) -> bool:
    """Whether a table with an id has LARGE rows or more; reads no more than those."""
    quote = _quoter(connection.dialect.name)
    statement = f"SELECT {quote('id')} FROM {quote(table)} ORDER BY {quote('id')} LIMIT 1 OFFSET {LARGE - 1}"
    return connection.exec_driver_sql(statement).first() is not None


def _create(table: Table, dialect: str) -> str:
    quote = _quoter(dialect)
    parts = [_definition(column, dialect) for column in table.columns]
    if dialect != "sqlite" or table.columns[0].kind != "id":
        parts.append(f"PRIMARY KEY ({','.join(quote(name) for name in table.key)})")
    if table.unique:
        name, column = table.unique
        parts.append(f"CONSTRAINT {quote(name)} UNIQUE ({quote(column)})")
    return f"CREATE TABLE {quote(table.name)} ({','.join(parts)})"


def _add_columns(connection: Connection, table: str, columns: list[Column]) -> None:
    dialect = connection.dialect.name
    quote = _quoter(dialect)
    changes = [f"ADD {_definition(column, dialect)}" for column in columns]
    # One statement is one change of the table, where the database can do that.
    for change in changes if dialect == "sqlite" else [",".join(changes)] * bool(changes):
        connection.exec_driver_sql(f"ALTER TABLE {quote(table)} {change}")


def _definition(column: Column, dialect: str) -> str:
    quote = _quoter(dialect)
    text = f"{quote(column.name)} {_type(column, dialect)}"
    if column.is_required:
        text += " NOT NULL"
    if column.default:
        # In SQLite's tables the Go program expects the quotes that it writes itself.
        default = column.default.replace("'", '"') if dialect == "sqlite" else column.default
        text += f" DEFAULT {default}"
    return text


def _quoter(dialect: str) -> Callable[[str], str]:
    return '"{}"'.format if dialect == "postgresql" else "`{}`".format


def _type(column: Column, dialect: str) -> str:
    return _TYPES[column.kind][_DIALECTS.index(dialect)] if column.kind in _TYPES else column.kind
