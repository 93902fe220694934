"""Databases: opening them, writing to them, reading from them.

Every rule of a kind of database is kept with its own connections, so that the main database and the logs may be of
different kinds. SQLite never stops the event loop for long: on it, a write that finds the file locked waits as a
greenlet, and what takes long runs in a native thread.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar, cast

import gevent
from flask import Flask
from gevent.lock import RLock
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from oneapi.config import Config, ConfigError
from oneapi.dsn import url_of
from oneapi.errors import Unavailable
from oneapi.extensions import db
from oneapi.keyring import Keyring

T = TypeVar("T")
P = ParamSpec("P")

# A writer on the event loop waits inside SQLite no longer than this, because everything else waits with it.
_LOOP_BUSY_S = 0.2
_PATIENCE_S = 10.0
_RETRIES = 5

# What a database says when it cannot serve now, as opposed to when it was asked something wrong.
_SQLITE_AWAY = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)
_MYSQL_DEADLOCK, _MYSQL_LOCK_WAIT = 1213, 1205
_MYSQL_AWAY = (
    0,  # PyMySQL's "the connection is closed"
    1021,  # the disk is full
    1040,  # too many connections
    1053,  # the server is being shut down
    1114,  # a table is full
    1129,  # the host is blocked after many failures
    _MYSQL_LOCK_WAIT,
    1203,  # too many connections of one user
    _MYSQL_DEADLOCK,
    1290,  # read-only
    1317,  # interrupted
)
_MYSQL_REFUSALS = (1044, 1045, 1049)  # no right to the database, wrong credentials, no such database
# Classes of states: connection, read-only, rolled back, resources, not available now, operator, system.
_POSTGRESQL_AWAY = ("08", "25006", "40", "53", "55", "57", "58")
_POSTGRESQL_REFUSALS = ("password authentication failed", "no pg_hba.conf entry", "does not exist")

_sqlite_writer = RLock()


@dataclass(frozen=True, slots=True)
class Databases:
    """The engines of one process. Without LOG_SQL_DSN `logs` is the same object as `main`."""

    main: Engine
    logs: Engine

    @property
    def is_split(self) -> bool:
        """Whether logs live in a database of their own, where no transaction of the main database reaches."""
        return self.logs is not self.main

    def dispose(self) -> None:
        """Closes all connections that are not in use."""
        self.main.dispose()
        self.logs.dispose()


def main_url(config: Config) -> URL:
    """Where the main database is. Raises ConfigError."""
    return _configured("SQL_DSN", config.sql_dsn, config)


def logs_url(config: Config) -> URL:
    """Where the logs are. Raises ConfigError."""
    return _configured("LOG_SQL_DSN", config.log_sql_dsn, config) if config.log_sql_dsn.strip() else main_url(config)


def open_databases(config: Config) -> Databases:
    """The engines that a worker uses; they connect when first used. Raises ConfigError."""
    is_split = bool(config.log_sql_dsn.strip())
    main = open_engine(main_url(config), config)
    # Whoever writes a log row within a transaction of the main database reads the one (services/logs.py), and whoever
    # reads or writes a channel's credentials the other (keyring.keyring_of).
    main.update_execution_options(has_outbox=is_split, keyring=Keyring(config.key_encryption_key))
    return Databases(main, open_engine(logs_url(config), config) if is_split else main)


def open_engine(url: URL, config: Config) -> Engine:
    """One database, for a worker's requests."""
    if config.debug_sql:
        logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)  # read once, when an engine is made
    engine = create_engine(url, **engine_options(url, config))
    pool = type(engine.pool)
    logging.getLogger(f"{pool.__module__}.{pool.__name__}").addFilter(_told_in_a_line)
    tune(engine)
    return engine


def init_app(app: Flask, databases: Databases) -> None:
    """Binds `db` to the application, on these engines.

    Flask-SQLAlchemy would make an engine per bind, and with it a second connection and transaction for the logs.
    """
    app.config["SQLALCHEMY_DATABASE_URI"] = databases.main.url
    db.init_app(app)
    with app.app_context():
        cast(dict[str | None, Engine], db.engines).update({None: databases.main, "logs": databases.logs})


def engine_options(url: URL, config: Config) -> dict[str, Any]:
    """What SQLAlchemy's create_engine is given for a worker. Parameters of the DSN win over these."""
    # Parameters would carry keys and password hashes into logs and error texts.
    common: dict[str, Any] = {"hide_parameters": True, "pool_timeout": 10}
    if url.get_backend_name() == "sqlite":
        # isolation_level None: BEGIN is ours to send, see `tune`.
        connect = {"timeout": _LOOP_BUSY_S, "isolation_level": None}
        return common | {"connect_args": connect, "pool_size": 5, "max_overflow": 5}
    size = min(config.sql_max_idle_conns, config.sql_max_open_conns)
    pool: dict[str, Any] = {
        "pool_size": size,
        "max_overflow": config.sql_max_open_conns - size,
        "pool_recycle": config.sql_max_lifetime,
        "pool_pre_ping": True,
        "pool_use_lifo": True,
    }
    if url.get_backend_name() == "mysql":
        defaults: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 60, "write_timeout": 60}
        pool["isolation_level"] = "READ COMMITTED"
    else:
        # No parameter of the session is set: poolers such as PgBouncer refuse them. Nor are statements prepared on
        # the server, where the next transaction may meet another connection.
        defaults = {"connect_timeout": 5, "prepare_threshold": None, "tcp_user_timeout": 60000}
    return common | pool | {"connect_args": {key: value for key, value in defaults.items() if key not in url.query}}


def tune(engine: Engine) -> None:
    """Makes SQLite durable, concurrent, and honest about who writes: for the other kinds nothing is left to do."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Changing to WAL wants the file for itself. Where another program reads it just now, this connection
            # works in the old mode, and a later one will change it.
            if not _is_locked(error):
                raise
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # A transaction that reads first and writes then cannot wait for another writer: SQLite makes it fail.
        is_write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


def unpooled_engine(url: URL, config: Config) -> Engine:
    """A database outside the event loop: for native threads on SQLite, and for what may take longer than a request.

    Connections are made per use, have no limit of time, and wait SQLITE_BUSY_TIMEOUT for SQLite's lock; `run_write`
    then takes no lock of the event loop.
    """
    connect: dict[str, Any] = {"connect_timeout": 5}
    options: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True, "execution_options": {"native": True}}
    match url.get_backend_name():
        case "sqlite":
            connect = {"timeout": config.sqlite_busy_timeout / 1000, "isolation_level": None}
        case "mysql":
            options["isolation_level"] = "READ COMMITTED"
        case _:
            connect["prepare_threshold"] = None
    options["connect_args"] = {key: value for key, value in connect.items() if key not in url.query}
    engine = create_engine(url, **options)
    tune(engine)
    return engine


def run_write(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work` in one short write transaction and gives its result.

    `work` must wait on nothing but the database, and may be run again where the transaction lost against another:
    what it does beside the database must bear that.
    """
    if engine.dialect.name != "sqlite":
        return _retried(engine, work)
    if engine.get_execution_options().get("native"):
        return _transaction(engine, work)  # has waited inside SQLite already
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with _sqlite_writer:
                return _transaction(engine, work)
        except OperationalError as error:
            if not _is_locked(error.orig) or time.monotonic() > deadline:
                raise
        gevent.sleep(random.uniform(0.005, 0.05))


def in_thread(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Runs `work`, which only reads and may take long, in one transaction; on SQLite in a native thread, so that other
    greenlets go on meanwhile. The other drivers let them by themselves.

    Rows must be fetched within `work`: the connection is closed after it.
    """
    if engine.dialect.name != "sqlite":
        return _read(engine, work)
    return natively(_read, _reader(engine.url), work)


def natively(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a function in gevent's pool of native threads, and raises here what it raises there."""

    def call() -> tuple[T | None, Exception | None]:
        try:
            return function(*args, **kwargs), None
        except Exception as error:  # handed over as a value, because gevent prints what a thread raises
            return None, error

    result, error = gevent.get_hub().threadpool.apply(call)
    if error is not None:
        raise error
    return cast(T, result)


def is_unavailable(error: BaseException) -> bool:
    """Whether a database failed because it is away, full, locked or too busy, not because of what it was asked."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    number, state = _codes(error)
    if isinstance(error.orig, sqlite3.Error):
        return number in _SQLITE_AWAY
    if _is_mysql(error):
        # 2000 to 2999 are the client's own: no connection, or a lost one.
        return error.connection_invalidated or number in _MYSQL_AWAY or 2000 <= number < 3000
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or state.startswith(_POSTGRESQL_AWAY)


@contextmanager
def told_when_away() -> Iterator[None]:
    """Within it a database that cannot serve now raises Unavailable, which callers are told, and not its own error."""
    try:
        yield
    except SQLAlchemyError as error:
        if is_unavailable(error):
            raise Unavailable("The database does not answer. Please try again in a few seconds.") from error
        raise


def is_hopeless(error: BaseException) -> bool:
    """Whether a connection failed for a reason that waiting does not cure: credentials, a name, a file's place."""
    if not isinstance(error, DBAPIError):
        return False
    number, state = _codes(error)
    if isinstance(error.orig, sqlite3.Error):
        return number in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB)
    if _is_mysql(error):
        return number in _MYSQL_REFUSALS
    # Before a session exists, libpq gives the server's refusal as text only.
    return state is None and any(words in str(error.orig) for words in _POSTGRESQL_REFUSALS)


@lru_cache(maxsize=8)
def _reader(url: URL) -> Engine:
    """An SQLite database for native threads, for which a pool that greenlets share is not made."""
    return unpooled_engine(url, Config())


def _read(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection, connection.begin():
        return work(connection)


def _retried(engine: Engine, work: Callable[[Connection], T]) -> T:
    for attempt in range(_RETRIES):
        try:
            return _transaction(engine, work)
        except DBAPIError as error:
            if not _is_deadlock(error) or attempt + 1 == _RETRIES:
                raise
        gevent.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")


def _transaction(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        return work(connection)


def _told_in_a_line(record: logging.LogRecord) -> bool:
    """A pool replaces a connection that it finds broken: with a traceback that would look like a fault of ours."""
    if record.exc_info:
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info = None
    return True


def _is_locked(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _is_mysql(error: DBAPIError) -> bool:
    # By name: a driver is loaded where its database is used, and nowhere else.
    return type(error.orig).__module__.partition(".")[0] == "pymysql"


def _is_deadlock(error: DBAPIError) -> bool:
    number, state = _codes(error)
    return number in (_MYSQL_DEADLOCK, _MYSQL_LOCK_WAIT) or state in ("40P01", "40001")


def _codes(error: DBAPIError) -> tuple[int, str | None]:
    """SQLite's or MySQL's number of an error, 0 for none, and PostgreSQL's state."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF, None
    first = original.args[0] if original and original.args else None
    return first if isinstance(first, int) else 0, getattr(original, "sqlstate", None)


def _configured(name: str, dsn: str, config: Config) -> URL:
    try:
        return url_of(dsn, config.sqlite_path)
    except ValueError as error:
        raise ConfigError(f"{name} {error}.") from None
