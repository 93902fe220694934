"""Bootstrap: what a database needs before a worker may serve from it.

Any number of processes and nodes may start at once: one prepares at a time, and those after it find nothing to do.
All of it may be interrupted and started again, and the Go program may use the database before, after and in between.
"""

from __future__ import annotations

import fcntl
import logging
import secrets
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from sqlalchemy import Connection, Engine, Table, case, func, inspect, select, text
from sqlalchemy import insert as insert_into
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute

from oneapi.config import Config, ConfigError
from oneapi.database import (
    Databases,
    is_hopeless,
    is_unavailable,
    logs_url,
    main_url,
    natively,
    run_write,
    unpooled_engine,
)
from oneapi.extensions import db
from oneapi.models import Hold, Log, Opening, Option, Token, User, ddl
from oneapi.services import passwords, steps

log = logging.getLogger(__name__)

SECRET_OPTION = "ExtSessionSecret"  # a reference node hides options whose names end in Secret
DEFAULT_PASSWORD = "123456"
ROOT_QUOTA = 500_000_000_000_000

_MOST_IN = 500  # users in one IN
_POSTGRESQL_LOCK = zlib.crc32(b"oneapi prepares this database")


class NotReady(Exception):
    """A database cannot be used. The message says why."""


def prepare(config: Config, *, patience_s: float = 300) -> None:
    """Waits for the databases, migrates them (masters only), and makes the root account and the session secret.

    Raises NotReady when a database is away, or on a slave not migrated, for `patience_s`, and at once where waiting
    cannot help; ConfigError when a variable cannot be meant.
    """
    main = unpooled_engine(main_url(config), config)
    databases = Databases(main, unpooled_engine(logs_url(config), config) if config.log_sql_dsn.strip() else main)
    deadline = time.monotonic() + patience_s
    pause_s = 0.5
    while True:
        try:
            return _prepare(databases, config)
        except _Unmigrated as error:
            reason = str(error)
        except DBAPIError as error:
            reason = str(error.orig).strip().partition("\n")[0]
            if is_hopeless(error):
                raise NotReady(f"The database refuses: {reason}") from error
            if not is_unavailable(error):
                raise
        if time.monotonic() + pause_s > deadline:
            raise NotReady(f"The database cannot be used: {reason}")
        log.warning("The database cannot be used yet: %s. Next attempt in %s s.", reason, pause_s)
        gevent.sleep(pause_s)
        pause_s = min(pause_s * 2, 5)


def session_secret(engine: Engine, config: Config) -> str:
    """What signs session cookies: SESSION_SECRET, or what `prepare` has put into the database instead."""
    if config.session_secret:
        return config.session_secret
    with engine.connect() as connection:
        value = connection.scalar(select(Option.value).where(Option.key == SECRET_OPTION))
    if not value:
        raise NotReady(f"The option {SECRET_OPTION} is missing: this database has not been prepared.")
    return value


def tables(role: str) -> Iterator[Table]:
    """The models' tables in a database that serves as "main" or as "logs"."""
    for key in (None, "logs") if role == "main" else ("logs",):
        yield from db.metadatas[key].sorted_tables


def build_indexes(config: Config) -> None:
    """Makes the indexes that a start left out because their table is large: the work of a job, on one node.

    MySQL and PostgreSQL go on writing meanwhile, SQLite cannot.
    """
    urls = {"main": main_url(config)} | ({"logs": logs_url(config)} if config.log_sql_dsn.strip() else {})
    for role, url in urls.items():
        engine = unpooled_engine(url, config)
        if engine.dialect.name == "sqlite":
            natively(_build_indexes, engine, role)
        else:
            _build_indexes(engine, role)


@contextmanager
def exclusive(engine: Engine) -> Iterator[None]:
    """Whoever is inside prepares this database; processes on all nodes wait their turn."""
    lock: AbstractContextManager[None]
    match engine.dialect.name:
        case "sqlite":
            lock = _file_lock(engine)
        case "mysql":
            lock = _mysql_lock(engine)
        case _:
            lock = _postgresql_lock(engine)
    with lock:
        yield


# ---- the steps, in order ----


class _Unmigrated(Exception):
    """A slave has come before its master."""


def _prepare(databases: Databases, config: Config) -> None:
    roles = {"main": databases.main} | ({"logs": databases.logs} if databases.is_split else {})
    for role, engine in roles.items():
        if config.is_master:
            with exclusive(engine):
                _migrate(engine, role)
        elif not _is_current(engine):
            raise _Unmigrated(f"{_name(engine)} lacks tables or columns; a master node makes them when it starts")
    with exclusive(databases.main):
        _make_root(databases.main, config)
        if not config.session_secret:
            _make_secret(databases.main)
        if config.is_master:
            _open_accounts(databases)
    _warn_of_default_password(databases.main)


def _migrate(engine: Engine, role: str) -> None:
    if not _is_current(engine):
        log.info("Migrating %s.", _name(engine))
        with engine.connect().execution_options(write=True) as connection, connection.begin():
            steps.upgrade(connection, role)
    # Where the Go program has rebuilt a table on SQLite, indexes that are not its own are gone.
    with engine.connect() as connection:
        missing = [item for item in _missing_indexes(connection, role) if not is_large(connection, item[0])]
    for table, index in missing:
        run_write(engine, partial(ddl.create_index, table=table, index=index))


def _is_current(engine: Engine) -> bool:
    with engine.connect() as connection:
        version = steps.version_of(connection)
    if version.is_newer:
        # Steps only add, so that an older program works on; during a rolling update it must.
        log.warning("%s was migrated by a newer version of this program, to step %s.", _name(engine), version.step)
    return not version.pending


def _make_root(engine: Engine, config: Config) -> None:
    def has_users(connection: Connection) -> bool:
        return connection.execute(select(User.id).limit(1)).first() is not None

    with engine.connect() as connection:
        if has_users(connection):
            return
    key, access_token, password = _initial(config)
    digest = passwords.hashed(password)
    now = int(time.time())

    def work(connection: Connection) -> None:
        if has_users(connection):
            return
        user = {
            "username": "root",
            "password": digest,
            "display_name": "Root User",
            "role": 100,
            "access_token": access_token,
            "quota": ROOT_QUOTA,
            "aff_code": "",
            "created_time": now,
        }
        connection.execute(insert_into(User).values(user))
        user_id = connection.scalar(select(User.id).where(User.username == "root"))
        connection.execute(insert_into(Opening).values(user_id=user_id, quota=ROOT_QUOTA, created_at=now))
        if key:
            token = {
                "user_id": user_id,
                "key": key,
                "name": "Initial Root Token",
                "created_time": now,
                "accessed_time": now,
                "remain_quota": ROOT_QUOTA,
                "unlimited_quota": True,
            }
            connection.execute(insert_into(Token).values(token))

    run_write(engine, work)
    log.info("The account root was made.")


def _initial(config: Config) -> tuple[str, str, str]:
    """API key ("" for none), access token and password of the root account to make."""
    key = config.initial_root_token.removeprefix("sk-")
    if "-" in key:
        # What stands behind a dash in the key that a client sends names a channel.
        raise ConfigError("INITIAL_ROOT_TOKEN must have no dash but that of a leading sk-, or no client could use it.")
    if len(key) > 48 or not key.isascii() or any(character.isspace() for character in key):
        raise ConfigError("INITIAL_ROOT_TOKEN must have at most 48 characters after sk-, all ASCII, and no blanks.")
    access_token = config.initial_root_access_token or secrets.token_hex(16)
    if len(access_token) > 32:
        raise ConfigError("INITIAL_ROOT_ACCESS_TOKEN must have at most 32 characters.")
    password = config.initial_root_password or DEFAULT_PASSWORD
    if len(password.encode()) > passwords.MOST_BYTES:
        raise ConfigError(f"INITIAL_ROOT_PASSWORD must have at most {passwords.MOST_BYTES} bytes.")
    return key, access_token, password


def _make_secret(engine: Engine) -> None:
    def work(connection: Connection) -> None:
        if connection.execute(select(Option.key).where(Option.key == SECRET_OPTION)).first() is None:
            connection.execute(insert_into(Option).values(key=SECRET_OPTION, value=secrets.token_hex(32)))

    run_write(engine, work)


def _open_accounts(databases: Databases) -> None:
    """Gives each user without one an opening balance: what he has, and with the opposite sign what his log rows sum
    up to so far, so that balance and log agree from here on.
    """

    def work(connection: Connection) -> None:
        has_one = select(Opening.user_id).where(Opening.user_id == User.id).exists()
        # Locked, so that no charge falls between the balance and the sums.
        newcomers = select(User.id, User.quota).where(~has_one).order_by(User.id).with_for_update()
        balances = {user_id: quota or 0 for user_id, quota in connection.execute(newcomers)}
        if not balances:
            return
        held = _by_user(connection, Hold.user_id, [func.sum(Hold.user_quota)], balances)
        if databases.is_split:
            with databases.logs.connect() as logs:
                logged = _by_user(logs, Log.user_id, _LOGGED, balances)
        else:
            logged = _by_user(connection, Log.user_id, _LOGGED, balances)
        now = int(time.time())
        rows = []
        for user_id, quota in balances.items():
            (on_hold,) = held.get(user_id, (0,))
            credited, charged = logged.get(user_id, (0, 0))
            sums = {"quota": quota + on_hold, "credited": -credited, "charged": -charged}
            rows.append({"user_id": user_id, "created_at": now} | sums)
        connection.execute(insert_into(Opening), rows)

    run_write(databases.main, work)


_LOGGED = [
    func.sum(case((Log.type.in_((1, 3, 4)), Log.quota), else_=0)),
    func.sum(case((Log.type == 2, Log.quota), else_=0)),
]


def _by_user(
    connection: Connection, user: InstrumentedAttribute[Any], sums: list[Any], users: Collection[int]
) -> dict[int, tuple[int, ...]]:
    """The sums of each user's rows, for users that have any."""
    statement = select(user, *sums).group_by(user)
    if len(users) <= _MOST_IN:  # for more, one pass over the table is cheaper
        statement = statement.where(user.in_(users))
    # Drivers give a sum as Decimal, or None where all was NULL.
    return {row[0]: tuple(int(value or 0) for value in row[1:]) for row in connection.execute(statement)}


def _warn_of_default_password(engine: Engine) -> None:
    with engine.connect() as connection:
        stored = connection.scalar(select(User.password).where(User.username == "root"))
    if stored and passwords.matches(stored, DEFAULT_PASSWORD):
        log.warning("The account root still has the password that everyone knows: change it.")


# ---- indexes ----


def _missing_indexes(connection: Connection, role: str) -> list[tuple[str, ddl.Index]]:
    """Plain indexes of the models, with their tables, that the database has under no name."""
    inspector = inspect(connection)
    return [
        (table.name, index)
        for table in tables(role)
        for index in ddl.missing_indexes(inspector, table)
        if not index.is_unique
    ]


def is_large(connection: Connection, table: str) -> bool:
    """Whether the indexes of this table are made after the start, by a job."""
    return table == Log.__tablename__ and ddl.is_large(connection, table)


def _build_indexes(engine: Engine, role: str) -> None:
    if engine.dialect.name != "sqlite":
        # PostgreSQL makes an index for a table in use outside of any transaction.
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            _drop_broken_indexes(connection)
        for table, index in _missing_indexes(connection, role):
            log.info("Making index %s in %s.", index.name, _name(engine))
            ddl.create_index(connection, table, index, is_online=True)
        connection.commit()


def _drop_broken_indexes(connection: Connection) -> None:
    """An index whose making was interrupted stays, is kept up to date, and serves nobody."""
    broken = text(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid"
        " WHERE NOT i.indisvalid AND t.relname = :table AND t.relnamespace = current_schema()::regnamespace"
    )
    for name in connection.scalars(broken, {"table": Log.__tablename__}).all():
        ddl.drop_index(connection, Log.__tablename__, name)


# ---- locks between processes and nodes ----

_POLL_S = 0.2


@contextmanager
def _file_lock(engine: Engine) -> Iterator[None]:
    path = Path(engine.url.database or "").with_suffix(".lock.db")
    try:
        file = path.open("ab")
    except OSError as error:
        raise NotReady(f"{path} cannot be written ({error.strerror}), and so neither can the database.") from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                gevent.sleep(_POLL_S)
        yield  # closing the file gives the lock back


@contextmanager
def _mysql_lock(engine: Engine) -> Iterator[None]:
    # Names of locks are the server's, not the database's, and have at most 64 characters.
    name = f"oneapi-prepare-{zlib.crc32((engine.url.database or '').encode()):08x}"
    with engine.connect() as connection:
        while connection.scalar(text("SELECT GET_LOCK(:name, 1)"), {"name": name}) != 1:
            pass
        try:
            yield
        finally:
            connection.execute(text("DO RELEASE_LOCK(:name)"), {"name": name})


@contextmanager
def _postgresql_lock(engine: Engine) -> Iterator[None]:
    # A transaction's lock, because a session's is not ours alone behind a pooler.
    with engine.connect() as connection, connection.begin():
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        take = text("SELECT pg_try_advisory_xact_lock(:key)")
        while not connection.scalar(take, {"key": _POSTGRESQL_LOCK}):
            gevent.sleep(_POLL_S)
        yield


def _name(engine: Engine) -> str:
    return engine.url.set(query={}).render_as_string(hide_password=True)
