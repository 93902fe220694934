"""A small installation for tests of money: its tables, its ledger, and what its rows say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from oneapi.database import open_databases, run_write
from oneapi.extensions import db
from oneapi.models import Channel, Hold, Log, Opening, OutboxEntry, Token, User
from oneapi.relay.exchange import Caller, LogEntry, Settlement
from oneapi.services.ledger_store import Driver, driver_of
from oneapi.services.ledger_writer import Pace
from oneapi.services.quota import Ledger, credit
from tests.servers import DatabaseServer, FreshDatabase, sqlite_database

CHANNEL = 1


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgres"])
def kept_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FreshDatabase:
    """A database of each kind whose tables a module's tests share; `Books` empties them."""
    if request.param == "sqlite":
        return sqlite_database(tmp_path_factory.mktemp("database"))
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server.fresh()


# A slow machine must not be taken for a dead database; where the database is to be dead, nobody waits for long.
PATIENT = Pace(tick_s=0.01, renew_s=3600, patience_s=30, pause_s=0.01, replay_s=0.02)
HASTY = replace(PATIENT, patience_s=0.4)


@dataclass
class Books:
    """One database with a channel; users and tokens are added as a test needs them."""

    database: FreshDatabase
    folder: Path
    logs: FreshDatabase | None = None
    time: float = 1_700_000_000

    def __post_init__(self) -> None:
        more = {"log_sql_dsn": self.logs.dsn} if self.logs else {}
        self.config = self.database.config(**more)
        self.databases = open_databases(self.config)
        db.metadatas[None].create_all(self.engine)
        db.metadatas["logs"].create_all(self.log_engine)
        self.clear()

    @property
    def engine(self) -> Engine:
        return self.databases.main

    @property
    def log_engine(self) -> Engine:
        return self.databases.logs

    def now(self) -> float:
        return self.time

    def clear(self) -> None:
        def work(connection: Connection) -> None:
            for model in (User, Token, Channel, Hold, Opening, OutboxEntry):
                connection.execute(delete(model))
            connection.execute(insert(Channel).values(id=CHANNEL, name="upstream", key="", used_quota=0))

        run_write(self.engine, work)
        run_write(self.log_engine, lambda connection: connection.execute(delete(Log)))

    def close(self) -> None:
        self.databases.dispose()

    # ---- what there is ----

    def add_user(self, user_id: int = 1, quota: int = 0, status: int = 1) -> None:
        def work(connection: Connection) -> None:
            values = {"username": f"user{user_id}", "aff_code": f"a{user_id}", "access_token": f"t{user_id}"}
            connection.execute(insert(User).values(id=user_id, quota=quota, status=status, **values))
            connection.execute(insert(Opening).values(user_id=user_id, quota=quota, created_at=0))

        run_write(self.engine, work)

    def add_token(self, token_id: int = 1, user_id: int = 1, quota: int | None = None) -> Caller:
        """A token without a limit, where no quota is given."""
        self._write(
            insert(Token).values(
                id=token_id,
                user_id=user_id,
                key=f"key{token_id}",
                remain_quota=quota or 0,
                unlimited_quota=quota is None,
            )
        )
        return caller(user_id, token_id, is_unlimited=quota is None)

    def set_user(self, user_id: int = 1, **values: Any) -> None:
        self._write(update(User).where(User.id == user_id).values(**values))

    def set_token(self, token_id: int = 1, **values: Any) -> None:
        self._write(update(Token).where(Token.id == token_id).values(**values))

    def drop(self, model: type[User] | type[Token], row_id: int) -> None:
        self._write(delete(model).where(model.id == row_id))

    def credit(self, user_id: int, quota: int, kind: int = 1) -> None:
        log = LogEntry(user_id=user_id, created_at=int(self.time), type=kind, content="a gift")
        run_write(self.engine, lambda connection: credit(connection, user_id=user_id, quota=quota, log=log))

    def _write(self, statement: Any) -> None:
        run_write(self.engine, lambda connection: connection.execute(statement))

    # ---- the ledger ----

    @contextmanager
    def ledger(self, *, pace: Pace = PATIENT, driver: Driver | None = None, worker: str = "worker") -> Iterator[Ledger]:
        ledger = self.make_ledger(pace=pace, driver=driver, worker=worker)
        try:
            yield ledger
        finally:
            ledger.stop()

    def make_ledger(self, *, pace: Pace = PATIENT, driver: Driver | None = None, worker: str = "worker") -> Ledger:
        """A started ledger, which the caller stops."""
        ledger = Ledger(
            engine=self.engine,
            log_engine=self.log_engine if self.databases.is_split else None,
            spool_dir=self.spool_dir,
            worker_id=worker,
            now=self.now,
            pace=pace,
            driver=driver,
        )
        ledger.start()
        return ledger

    @property
    def spool_dir(self) -> Path:
        return self.folder / "spool"

    # ---- what the rows say ----

    def user(self, user_id: int = 1) -> tuple[int, int, int]:
        """Balance, used quota, number of requests."""
        return tuple(self.one(select(User.quota, User.used_quota, User.request_count).where(User.id == user_id)))  # type: ignore[return-value]

    def token(self, token_id: int = 1) -> tuple[int, int]:
        """Allowance left, used quota."""
        return tuple(self.one(select(Token.remain_quota, Token.used_quota).where(Token.id == token_id)))  # type: ignore[return-value]

    def channel(self) -> int:
        return int(self.one(select(Channel.used_quota))[0])

    def holds(self) -> dict[str, tuple[int, int, bool]]:
        """Request id -> quota of the user, of the token, and whether it was released."""
        columns = select(Hold.request_id, Hold.user_quota, Hold.token_quota, Hold.released_at)
        return {row[0]: (row[1], row[2], row[3] is not None) for row in self.all(columns)}

    def charges(self) -> tuple[int, int]:
        """How many log rows of consumption, and what they add up to."""
        with self.log_engine.connect() as connection:
            row = connection.execute(select(func.count(), func.sum(Log.quota)).where(Log.type == 2)).one()
        return row[0], int(row[1] or 0)

    def one(self, query: Any) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(query).one()

    def all(self, query: Any) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(query).all()


def caller(user_id: int = 1, token_id: int = 1, *, is_unlimited: bool = True) -> Caller:
    return Caller(
        user_id=user_id,
        username=f"user{user_id}",
        group="default",
        role=1,
        user_quota=0,
        token_id=token_id,
        token_name=f"token{token_id}",
        token_quota=0,
        is_unlimited=is_unlimited,
    )


def cost(quota: int, request_id: str, *, user_id: int = 1, **more: Any) -> Settlement:
    """A settlement as the pipeline makes it."""
    log = LogEntry(user_id=user_id, created_at=1_700_000_000, type=2, quota=quota, request_id=request_id, **more)
    return Settlement(quota=quota, channel_id=CHANNEL, log=log)


def eventually(is_so: Callable[[], bool], seconds: float = 10) -> None:
    """Returns when it is so, and fails when it does not become so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "It did not happen in time."
        gevent.sleep(0.005)


@dataclass
class Wire:
    """A tap on the ledger's connection: counts what passes, and breaks it where a test says so."""

    books: Books
    statements: list[str] = field(default_factory=list)
    commits: int = 0
    on_connect: Callable[[], object] = lambda: None
    on_execute: Callable[[str], object] = lambda sql: None
    before_commit: Callable[[], object] = lambda: None
    after_commit: Callable[[], object] = lambda: None

    def driver(self) -> Driver:
        driver = driver_of(self.books.engine, 3000)

        def connect() -> Any:
            self.on_connect()
            return _Connection(driver.connect(), self)

        return replace(driver, connect=connect)

    def lost(self) -> Exception:
        """What this kind of database raises when the connection breaks."""
        dbapi: Any = self.books.engine.dialect.loaded_dbapi
        match self.books.database.kind:
            case "mysql":
                return dbapi.OperationalError(2013, "Lost connection to MySQL server during query")
            case "postgresql":
                return dbapi.OperationalError("server closed the connection unexpectedly")
            case _:
                return dbapi.OperationalError("disk I/O error")


class _Connection:
    def __init__(self, connection: Any, wire: Wire) -> None:
        self._connection = connection
        self._wire = wire

    def cursor(self) -> Any:
        return _Cursor(self._connection.cursor(), self._wire)

    def commit(self) -> None:
        self._wire.before_commit()
        self._connection.commit()
        self._wire.commits += 1
        self._wire.after_commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()


class _Cursor:
    def __init__(self, cursor: Any, wire: Wire) -> None:
        self._cursor = cursor
        self._wire = wire

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        self._wire.statements.append(sql)
        self._wire.on_execute(sql)
        return self._cursor.execute(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)
