import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gevent
import pytest
from flask import Flask
from gevent.event import Event
from sqlalchemy import Connection, Engine, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from oneapi.config import Config, ConfigError
from oneapi.database import (
    Databases,
    in_thread,
    init_app,
    is_hopeless,
    is_unavailable,
    open_databases,
    run_write,
)
from oneapi.extensions import db
from oneapi.models import Log, Option, Token, User
from oneapi.services import revisions
from oneapi.services.bootstrap import prepare
from tests.servers import DatabaseServer, FreshDatabase, MariaDB, PostgreSQL, free_port, sqlite_database


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A prepared database of each kind, for all tests of this file: each has names of its own in it."""
    if request.param == "sqlite":
        database = sqlite_database(tmp_path_factory.mktemp("database"))
    else:
        server: DatabaseServer = request.getfixturevalue(request.param)
        database = server.fresh()
    yield from _prepared(database)


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    yield from _prepared(sqlite_database(tmp_path))


def _prepared(database: FreshDatabase) -> Iterator[Engine]:
    prepare(database.config())
    databases = open_databases(database.config())
    yield databases.main
    databases.dispose()


def add_option(connection: Connection, key: str) -> None:
    connection.execute(insert(Option).values(key=key, value="x"))


def option_keys(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.scalars(select(Option.key)))


def test_write_gives_what_its_work_gives_and_is_committed(engine: Engine) -> None:
    assert run_write(engine, lambda connection: add_option(connection, "kept") or 7) == 7
    assert "kept" in option_keys(engine)


def test_write_that_raises_leaves_nothing(engine: Engine) -> None:
    def work(connection: Connection) -> None:
        add_option(connection, "lost")
        raise LookupError

    with pytest.raises(LookupError):
        run_write(engine, work)
    assert "lost" not in option_keys(engine)


def numbers(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return revisions.numbers(connection)


def test_writes_of_many_greenlets_all_count(engine: Engine) -> None:
    before = numbers(engine)
    greenlets = [
        gevent.spawn(run_write, engine, lambda connection: revisions.bump(connection, "accounts")) for _ in range(50)
    ]
    gevent.joinall(greenlets, raise_error=True)
    assert numbers(engine) == before | {"accounts": before["accounts"] + 50}


def test_revision_whose_row_was_deleted_begins_anew(engine: Engine) -> None:
    run_write(engine, lambda connection: connection.exec_driver_sql("DELETE FROM revisions WHERE name = 'options'"))
    run_write(engine, lambda connection: revisions.bump(connection, "options"))
    assert numbers(engine)["options"] == 1


def test_sqlite_write_waits_for_another_process_while_greenlets_go_on(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oneapi.database._LOOP_BUSY_S", 0)
    path = sqlite_engine.url.database
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline() == b"locked\n"
        writer = gevent.spawn(run_write, sqlite_engine, lambda connection: add_option(connection, "waited"))
        longest = 0.0
        for _ in range(20):
            before = time.monotonic()
            gevent.sleep(0.02)
            longest = max(longest, time.monotonic() - before)
        assert not writer.ready()
        holder.stdin.close()
        writer.get(timeout=10)
    assert "waited" in option_keys(sqlite_engine)
    assert longest < 0.5  # not the ten seconds for which it would wait


_HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_sqlite_write_gives_up_in_the_end(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi.database._PATIENCE_S", 0.1)
    with closing(sqlite3.connect(str(sqlite_engine.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DBAPIError) as caught:
            run_write(sqlite_engine, lambda connection: add_option(connection, "never"))
        other.execute("ROLLBACK")
    assert is_unavailable(caught.value)
    assert not is_hopeless(caught.value)


def test_sqlite_is_durable_and_readers_do_not_wait(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        with closing(sqlite3.connect(str(sqlite_engine.url.database), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert connection.scalar(select(func.count()).select_from(User)) == 1
            other.execute("ROLLBACK")


def test_deadlock_is_retried(mariadb: MariaDB, postgres: PostgreSQL) -> None:
    for server in (mariadb, postgres):
        config = server.fresh().config()
        prepare(config)
        databases = open_databases(config)
        for key in ("a", "b"):
            run_write(databases.main, lambda connection, key=key: add_option(connection, key))
        _cross(databases.main)
        with databases.main.connect() as connection:
            values = dict(connection.execute(select(Option.key, Option.value).where(Option.key.in_(("a", "b")))).all())
        assert values == {"a": "xfs", "b": "xfs"} or values == {"a": "xsf", "b": "xsf"}
        databases.dispose()


def _cross(engine: Engine) -> None:
    """Two transactions that take two rows in opposite order, each once the other has its first."""
    reached = {"f": Event(), "s": Event()}

    def write(mark: str, other: str, order: tuple[str, str]) -> None:
        def work(connection: Connection) -> None:
            for key in order:
                value = func.concat(Option.value, mark)
                connection.execute(update(Option).where(Option.key == key).values(value=value))
                reached[mark].set()
                reached[other].wait(5)

        run_write(engine, work)

    greenlets = [gevent.spawn(write, "f", "s", ("a", "b")), gevent.spawn(write, "s", "f", ("b", "a"))]
    gevent.joinall(greenlets, raise_error=True, timeout=30)
    assert all(greenlet.successful() for greenlet in greenlets)


def test_long_read_on_sqlite_lets_greenlets_go_on(sqlite_engine: Engine) -> None:
    slow = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500000) SELECT count(*) FROM n"
    )
    turns = 0
    reader = gevent.spawn(in_thread, sqlite_engine, lambda connection: (connection.scalar(slow), threading.get_ident()))
    while not reader.ready():
        gevent.sleep(0.005)
        turns += 1
    assert reader.get()[0] == 1500000
    assert turns > 5


def test_read_in_thread_sees_what_is_committed(engine: Engine) -> None:
    run_write(engine, lambda connection: add_option(connection, "seen"))
    assert "seen" in in_thread(engine, lambda connection: set(connection.scalars(select(Option.key))))


def test_read_that_fails_in_its_thread_raises_here_and_prints_nothing(
    sqlite_engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DBAPIError, match="no such table"):
        in_thread(sqlite_engine, lambda connection: connection.exec_driver_sql("SELECT 1 FROM nowhere"))
    assert capfd.readouterr() == ("", "")


def test_logs_share_the_transaction_where_they_share_the_database(database: FreshDatabase) -> None:
    prepare(database.config())
    databases = open_databases(database.config())
    app = Flask("test")
    init_app(app, databases)
    with app.app_context():
        assert db.engines[None] is db.engines["logs"] is databases.main
        db.session.add_all([User(username="u"), Log(user_id=2, type=4)])
        db.session.flush()
        assert db.session.connection() is db.session.connection(bind_arguments={"mapper": Log.__mapper__})
        db.session.rollback()
        assert db.session.scalar(select(func.count()).select_from(Log)) == 0
    databases.dispose()


def test_logs_live_where_log_sql_dsn_says(database: FreshDatabase, mariadb: MariaDB) -> None:
    logs = mariadb.fresh()
    config = database.config(log_sql_dsn=logs.dsn)
    prepare(config)
    databases = open_databases(config)
    app = Flask("test")
    init_app(app, databases)
    with app.app_context():
        db.session.add(Log(user_id=1, type=4, content="here"))
        db.session.commit()
    with databases.logs.connect() as connection:
        assert connection.scalar(select(Log.content)) == "here"
    with databases.main.connect() as connection:  # the table is there too, empty
        assert connection.scalar(select(func.count()).select_from(Log)) == 0
    databases.dispose()


def test_keys_come_back_without_postgresqls_padding(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Token).values(key="short", user_id=1))
        assert connection.scalar(select(Token.key).where(Token.user_id == 1)) == "short"
        assert connection.scalar(select(Token.id).where(Token.key == "short")) is not None


@pytest.fixture
def quiet_again() -> Iterator[None]:
    yield
    logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("quiet_again")
def test_debug_sql_logs_statements_without_their_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = sqlite_database(tmp_path)
    prepare(database.config())
    databases = open_databases(database.config(debug_sql=True))
    run_write(databases.main, lambda connection: add_option(connection, "geheim"))
    databases.dispose()
    assert "INSERT INTO options" in caplog.text
    assert "geheim" not in caplog.text


def test_error_texts_hold_no_values(engine: Engine) -> None:
    with engine.begin() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT nothing FROM nowhere WHERE name = :name"), {"name": "geheim"})
    assert "geheim" not in str(caught.value)
    assert not is_unavailable(caught.value)


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_server_that_is_away_is_told_from_a_wrong_question(kind: str, request: pytest.FixtureRequest) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    databases = open_databases(server.fresh().config())
    with databases.main.connect() as connection:
        server.stop(signal.SIGKILL)
        try:
            with pytest.raises(DBAPIError) as lost:
                connection.execute(text("SELECT 1"))
            connection.invalidate()
            with pytest.raises(DBAPIError) as refused:
                databases.main.connect()
        finally:
            server.start()
    assert is_unavailable(lost.value)
    assert is_unavailable(refused.value)
    assert not is_hopeless(refused.value)
    with databases.main.connect() as connection:  # and it recovers by itself
        assert connection.scalar(text("SELECT 1")) == 1
    databases.dispose()


def test_a_connection_that_breaks_in_use_is_told_of_in_a_line(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    @event.listens_for(sqlite_engine, "reset")
    def break_off(*_: object) -> None:
        raise OSError("the line is dead: 100%")

    with sqlite_engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    assert "the line is dead: 100%" in caplog.text
    assert "Traceback" not in caplog.text


def test_wrong_credentials_and_names_are_hopeless(mariadb: MariaDB, postgres: PostgreSQL) -> None:
    dsns = [
        mariadb.dsn("nowhere"),
        f"oneapi:wrong@tcp(127.0.0.1:{mariadb.port})/shared",
        postgres.dsn("nowhere"),
        f"postgres://oneapi:wrong@127.0.0.1:{postgres.port}/shared",
    ]
    for dsn in dsns:
        databases = open_databases(Config(sql_dsn=dsn))
        with pytest.raises(DBAPIError) as caught:
            databases.main.connect()
        assert is_hopeless(caught.value), dsn
        databases.dispose()


def test_nobody_listening_is_not_hopeless() -> None:
    for dsn in (f"u:p@tcp(127.0.0.1:{free_port()})/x", f"postgres://u:p@127.0.0.1:{free_port()}/x"):
        databases = open_databases(Config(sql_dsn=dsn))
        with pytest.raises(DBAPIError) as caught:
            databases.main.connect()
        assert is_unavailable(caught.value)
        assert not is_hopeless(caught.value)
        databases.dispose()


def test_parameters_of_the_dsn_reach_the_server(mariadb: MariaDB, postgres: PostgreSQL) -> None:
    dsn, _ = mariadb.create_database()
    databases = open_databases(Config(sql_dsn=f"{dsn}?tls=skip-verify&wait_timeout=77&timeout=9s"))
    with databases.main.connect() as connection:
        assert connection.execute(text("SHOW STATUS LIKE 'Ssl_version'")).one()[1].startswith("TLS")
        assert connection.scalar(text("SELECT @@wait_timeout")) == 77
        assert connection.scalar(text("SELECT @@collation_connection")) == "utf8mb4_general_ci"
        assert connection.scalar(text("SELECT @@tx_isolation")) == "READ-COMMITTED"
    databases.dispose()
    dsn, _ = postgres.create_database()
    databases = open_databases(Config(sql_dsn=f"{dsn}&TimeZone=Asia/Shanghai&application_name=one%20api"))
    with databases.main.connect() as connection:
        assert connection.scalar(text("SHOW TimeZone")) == "Asia/Shanghai"
        assert connection.scalar(text("SHOW application_name")) == "one api"
    databases.dispose()


def test_mysql_with_tls_true_refuses_a_certificate_that_nobody_vouches_for(mariadb: MariaDB) -> None:
    databases = open_databases(Config(sql_dsn=f"{mariadb.dsn_go}?tls=true"))
    with pytest.raises(DBAPIError, match="certificate verify failed"):
        databases.main.connect()
    databases.dispose()


def test_pool_never_exceeds_its_limit(mariadb: MariaDB) -> None:
    config = Config(sql_dsn=mariadb.dsn_go, sql_max_idle_conns=50, sql_max_open_conns=3)
    databases = open_databases(config)
    connections = [databases.main.connect() for _ in range(3)]
    waiting = gevent.spawn(databases.main.connect)
    gevent.sleep(0.1)
    assert not waiting.ready()
    connections.pop().close()
    connections.append(waiting.get(timeout=5))
    for connection in connections:
        connection.close()
    databases.dispose()


def test_unreadable_dsn_names_its_variable() -> None:
    with pytest.raises(ConfigError, match=r"^SQL_DSN has no slash"):
        open_databases(Config(sql_dsn="geheim"))
    with pytest.raises(ConfigError, match=r"^LOG_SQL_DSN has no slash"):
        open_databases(Config(log_sql_dsn="geheim"))


def test_databases_say_whether_they_are_split(tmp_path: Path, mariadb: MariaDB) -> None:
    path = os.fspath(tmp_path / "one-api.db")
    for log_sql_dsn, expected in (("", False), (mariadb.dsn_go, True)):
        databases: Databases = open_databases(Config(sqlite_path=path, log_sql_dsn=log_sql_dsn))
        assert databases.is_split is expected
