"""Checks of a database, for check-db and doctor alike: version, rights, character sets, duplicates, the clock.

They only read, on a connection that could do nothing else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    column,
    create_engine,
    func,
    inspect,
    select,
    table,
    text,
)

from oneapi.config import Config
from oneapi.database import logs_url, main_url, unpooled_engine
from oneapi.models import Option
from oneapi.options import Options
from oneapi.services import bootstrap, upgrade_plan
from oneapi.services.findings import Finding, fault, ok, warning

# The oldest the drivers work with. Source: changes of PyMySQL 1.0.3, psycopg's installation page (read 2026-11-25).
_OLDEST = {"MySQL": (5, 7), "MariaDB": (10, 3), "PostgreSQL": (10,), "SQLite": (3, 24)}
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX")
_SHOWN = 10
_CLOCK_S = 2.0
_CLOCK_FAULT_S = 30.0


def urls(config: Config) -> dict[str, URL]:
    """Where the databases are, by what they serve as: "main", and "logs" where those are apart. Raises ConfigError."""
    return {"main": main_url(config)} | ({"logs": logs_url(config)} if config.log_sql_dsn.strip() else {})


def engine_for_reading(url: URL, config: Config) -> Engine:
    """The database, for one look. An SQLite file is opened for reading alone: as the program opens it, it would be
    changed to WAL, and made where it is missing.
    """
    if url.get_backend_name() != "sqlite":
        return unpooled_engine(url, config)
    readable = url.set(database=f"file:{quote(url.database or '')}", query={"mode": "ro", "uri": "true"})
    return create_engine(readable, poolclass=NullPool, hide_parameters=True)


@contextmanager
def reading(url: URL, config: Config) -> Iterator[Connection]:
    """A connection on which nothing can be written, and whose statements all see the same moment."""
    engine = engine_for_reading(url, config)
    with engine.connect() as connection:
        match engine.dialect.name:
            case "mysql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
                connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
                connection.rollback()
            case "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


def product(connection: Connection) -> tuple[str, str]:
    """What serves: "MariaDB", "10.11.6"."""
    numbers = connection.dialect.server_version_info or ()
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(connection.dialect.name)
    if name is None:
        name = "MariaDB" if getattr(connection.dialect, "is_mariadb", False) else "MySQL"
    return name, ".".join(str(part) for part in numbers if isinstance(part, int))


def version(connection: Connection, subject: str) -> Finding:
    name, number = product(connection)
    least = _OLDEST[name]
    if tuple(int(part) for part in number.split(".")) < least:
        return fault(subject, "version_too_old", product=name, version=number, least=".".join(map(str, least)))
    return ok(subject, "database", product=name, version=number)


# ---- rights ----


def rights(connection: Connection, subject: str) -> Iterator[Finding]:
    """Whether the account may do what a start and serving need. SQLite's rights are those of its file."""
    if connection.dialect.name == "mysql":
        yield _mysql_rights(connection, subject)
    elif connection.dialect.name == "postgresql":
        yield _postgresql_rights(connection, subject)


def _mysql_rights(connection: Connection, subject: str) -> Finding:
    grants = connection.scalars(text("SHOW GRANTS")).all()
    database, account = connection.execute(text("SELECT DATABASE(), CURRENT_USER()")).one()
    granted, has_roles = granted_in(grants, database)
    missing = [] if "ALL PRIVILEGES" in granted else [right for right in _RIGHTS if right not in granted]
    if not missing:
        return ok(subject, "rights")
    if has_roles:
        return ok(subject, "rights_unseen")
    user, _, host = account.rpartition("@")
    statement = f"GRANT {', '.join(missing)} ON `{database}`.* TO '{user}'@'{host}';"
    return fault(subject, "rights_missing", rights=", ".join(missing), statement=statement)


def granted_in(grants: Sequence[str], database: str) -> tuple[set[str], bool]:
    """The rights in a database that lines of SHOW GRANTS give, and whether some line names a role instead."""
    granted: set[str] = set()
    has_roles = False
    for grant in grants:
        found = re.match(r"GRANT (.+?) ON (?:(\*)|`((?:[^`]|``)+)`)\.\* TO ", grant)
        if found is None:
            has_roles = has_roles or " ON " not in grant
        elif found[2] or _is_like(database, found[3].replace("``", "`")):
            granted.update(right.strip().upper() for right in found[1].split(","))
    return granted, has_roles


def _is_like(database: str, pattern: str) -> bool:
    """Whether a database is meant by MySQL's pattern, in which _ and % are wild unless a backslash precedes them."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    expression = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(expression, database, re.DOTALL) is not None


def _postgresql_rights(connection: Connection, subject: str) -> Finding:
    schema, account = connection.execute(text("SELECT current_schema(), current_user")).one()
    missing, statements = [], []
    if schema is None:
        return fault(
            subject,
            "rights_missing",
            rights="USAGE, CREATE",
            statement=f'GRANT USAGE, CREATE ON SCHEMA public TO "{account}";',
        )
    if not connection.scalar(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")):
        missing.append(f"CREATE in the schema {schema}")
        statements.append(f'GRANT CREATE ON SCHEMA "{schema}" TO "{account}";')
    # Only its owner may change a table.
    foreign = connection.scalars(
        text(
            "SELECT tablename FROM pg_tables"
            " WHERE schemaname = current_schema() AND NOT pg_has_role(tableowner, 'USAGE')"
        )
    ).all()
    for model in bootstrap.tables("main"):
        if model.name in foreign:
            missing.append(f"ALTER of {model.name}")
            statements.append(f'ALTER TABLE "{model.name}" OWNER TO "{account}";')
    if missing:
        return fault(subject, "rights_missing", rights=", ".join(missing), statement=" ".join(statements))
    return ok(subject, "rights")


# ---- text ----


def charset(connection: Connection, subject: str) -> Iterator[Finding]:
    """Whether all text that people type can be stored."""
    if connection.dialect.name == "mysql":
        yield _mysql_charset(connection, subject)
    elif connection.dialect.name == "postgresql":
        encoding = connection.scalar(text("SHOW server_encoding"))
        yield (ok if encoding == "UTF8" else fault)(
            subject, "charset" if encoding == "UTF8" else "encoding", charset=encoding
        )


def _mysql_charset(connection: Connection, subject: str) -> Finding:
    ours = {model.name for model in bootstrap.tables("main")}
    columns = connection.execute(
        text(
            "SELECT table_name, character_set_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND character_set_name IS NOT NULL"
        )
    )
    narrow = {name: charset for name, charset in columns if name in ours and charset != "utf8mb4"}
    statements = [f"ALTER TABLE `{name}` CONVERT TO CHARACTER SET utf8mb4;" for name in sorted(narrow)]
    default = connection.scalar(text("SELECT @@character_set_database"))
    if default != "utf8mb4":  # in which the start would make its tables
        database = connection.scalar(text("SELECT DATABASE()"))
        narrow[f"new tables in {database}"] = default
        statements.append(f"ALTER DATABASE `{database}` CHARACTER SET utf8mb4;")
    if not narrow:
        return ok(subject, "charset", charset="utf8mb4")
    tables = ", ".join(f"{name} ({charset})" for name, charset in sorted(narrow.items()))
    # The older utf8 lacks only characters beyond the basic plane.
    level = warning if set(narrow.values()) <= {"utf8", "utf8mb3"} else fault
    return level(subject, "charset_narrow", wanted="utf8mb4", tables=tables, statement=" ".join(statements))


# ---- what stands in the tables ----


def duplicates(connection: Connection, subject: str, role: str) -> Iterator[Finding]:
    """Values that stand in the way of a unique index which the start would make. The values themselves are secrets."""
    for name, key in upgrade_plan.would_collide(connection, role):
        found = table(name, column("id"), column(key))
        repeated = select(found.c[key]).where(found.c[key].is_not(None)).group_by(found.c[key]).having(func.count() > 1)
        count = connection.scalar(select(func.count()).select_from(repeated.subquery())) or 0
        if count:
            rows = select(found.c.id).where(found.c[key].in_(repeated)).order_by(found.c.id).limit(_SHOWN + 1)
            ids = list(map(str, connection.scalars(rows)))
            shown = ", ".join(ids[:_SHOWN]) + (" and others" if len(ids) > _SHOWN else "")
            yield fault(subject, "duplicates", count=count, column=f"{name}.{key}", rows=shown)


def option_values(connection: Connection, subject: str) -> Iterator[Finding]:
    if not inspect(connection).has_table(Option.__tablename__):
        return
    rows = {key: value or "" for key, value in connection.execute(select(Option.key, Option.value))}
    warnings = Options.from_rows(rows).warnings
    for line in warnings:
        yield warning(subject, "option_unreadable", warning=line)
    if not warnings:
        yield ok(subject, "options")


# ---- the server ----


def clock(connection: Connection, subject: str, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Whether the server's clock and ours agree, to within the time that asking takes."""
    statement = {
        "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
        "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    }.get(connection.dialect.name)
    if statement is None:
        return
    asked_s = now()
    told_s = float(connection.scalar(text(statement)) or 0)
    answered_s = now()
    apart_s = max(asked_s - told_s, told_s - answered_s, 0.0)
    if apart_s < _CLOCK_S:
        yield ok(subject, "clock")
    else:
        yield (fault if apart_s >= _CLOCK_FAULT_S else warning)(subject, "clock_differs", seconds=round(apart_s))


def journal(connection: Connection, subject: str) -> Iterator[Finding]:
    if connection.dialect.name == "sqlite":
        mode = connection.scalar(text("PRAGMA journal_mode"))
        yield ok(subject, "sqlite_wal") if mode == "wal" else warning(subject, "sqlite_no_wal", mode=mode)


def connections(connection: Connection, subject: str, wanted: int) -> Iterator[Finding]:
    """Whether the server lets this node's workers open as many connections as they may want."""
    statement = {"mysql": "SELECT @@max_connections", "postgresql": "SHOW max_connections"}.get(connection.dialect.name)
    if statement is None:
        return
    allowed = int(connection.scalar(text(statement)) or 0)
    is_enough = allowed >= wanted
    yield (ok if is_enough else warning)(
        subject, "connections" if is_enough else "connections_few", allowed=allowed, wanted=wanted
    )
