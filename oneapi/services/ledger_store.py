"""The ledger's transactions as SQL, on a connection of their own, below SQLAlchemy: this is the hottest write there is.

A batch takes a handful of statements, however many operations it holds. Numbers are written into the statements, text
is always given to the driver. Rows are locked in one order (holds, users, tokens, channels, each by id), so that two
workers never wait for each other crosswise.
"""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal, Protocol, TypeVar

import gevent
import msgspec
from sqlalchemy import Engine

from oneapi.relay.exchange import Hold
from oneapi.services.ledger_batch import Facts, Operation, Sums, TokenFacts, TokenSum, UserFacts, UserSum
from oneapi.services.log_rows import COLUMNS as LOG_COLUMNS
from oneapi.services.log_rows import OUTBOX_COLUMNS, outbox_values, values

T = TypeVar("T")
Verdict = Literal["again", "away", "fault"]
Columns = Mapping[str, bool]  # name -> whether it holds text
Row = tuple[Any, ...]

HOLD_COLUMNS: Columns = {
    "request_id": True,
    "user_id": False,
    "token_id": False,
    "user_quota": False,
    "token_quota": False,
    "worker": True,
    "created_at": False,
    "expires_at": False,
}
_TRIES = 8
_ENABLED = 1  # status of users and tokens
_MYSQL_AGAIN = frozenset({1205, 1213})  # lock wait timeout, deadlock
_POSTGRES_AGAIN = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available


class Waiting(Protocol):
    """Runs something that may block, wherever that does no harm, and gives its result."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


class Away(Exception):
    """The database cannot be written to now. `holds` may exist all the same: the connection was lost in the commit."""

    def __init__(self, reason: BaseException, holds: Sequence[Hold] = ()) -> None:
        super().__init__(str(reason))
        self.holds = holds


class Surprise(Exception):
    """Rows under lock are not what they were a moment ago, which no database does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """What differs between databases. Connections are DBAPI connections, used by one thread."""

    connect: Callable[[], Any]
    insert: Callable[[Any, str, Columns, Sequence[Row]], None]  # (cursor, table, columns, rows)
    judge: Callable[[Exception], Verdict]
    mark: str  # for a parameter
    for_update: str
    is_lock_first: bool  # UPDATE takes its rows in an order of its own, so they are locked before
    turn: Callable[[Waiting], AbstractContextManager[None]]  # held during a transaction
    begin: str  # "" where the driver begins by itself
    # where beginning fails because somebody else is writing: the statements that wait for him, in place of `begin`
    is_busy: Callable[[Exception], bool] = lambda error: False
    begin_waiting: tuple[str, ...] = ()


def _no_turn(wait: Waiting) -> AbstractContextManager[None]:
    """Servers serialise by their own locks."""
    return nullcontext()


def directly(work: Callable[[], T]) -> T:
    """For drivers whose waits let other greenlets run."""
    return work()


class Store:
    """Runs batches, one at a time.

    `wait` runs what may block: connecting, waiting for another writer, and the commit. Where that would stop the event
    loop, the ledger's writer puts a native thread there. The statements between take microseconds and stay on the
    loop: in a thread, each would have to win the interpreter's lock back from it, milliseconds at a time.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        worker_id: str,
        has_outbox: bool,
        hold_s: int,
        is_deferring: bool,
        now: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._worker_id = worker_id
        self._has_outbox = has_outbox
        self._hold_s = hold_s
        self._is_deferring = is_deferring
        self._now = now
        self._connection: Any = None
        self.wait: Waiting = directly

    def run(self, batch: Sequence[Operation]) -> Sums:
        """Commits the batch and says what it came to.

        Raises Away when the database is, and the driver's own error when something in the batch is at fault.
        """
        attempt = 0
        while True:
            attempt += 1
            is_fresh = self._connection is None
            holds: Sequence[Hold] = ()
            try:
                with self._driver.turn(self.wait):
                    sums = self._prepare(batch)
                    holds = sums.holds
                    self.wait(self._connection.commit)
                return sums
            except Exception as error:
                self._undo()
                verdict = self._driver.judge(error)
                if verdict == "fault":
                    raise
                if verdict == "away":
                    self.close()
                    # A connection that has been idle may be dead without the database being so.
                    if is_fresh or holds or attempt > 1:
                        raise Away(error, holds) from error
                elif attempt >= _TRIES:
                    raise Away(error) from error
                else:
                    gevent.sleep(random.uniform(0.001, 0.01) * attempt)
            except BaseException:  # the writer is killed
                if self.wait is directly:
                    self.close()
                self._connection = None  # else a thread may still be at work with it
                raise

    def close(self) -> None:
        """Drops the connection; the next batch makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # a broken connection may say so once more
                connection.close()

    def _undo(self) -> None:
        if self._connection is not None:
            try:
                self._connection.rollback()
            except Exception:
                self.close()

    def _prepare(self, batch: Sequence[Operation]) -> Sums:
        """Everything but the commit."""
        now = int(self._now())
        self._begin()
        sums = Sums.assumed(batch, is_deferring=self._is_deferring)
        if sums.is_contradictory or not self._apply(sums, now, is_assumed=True):
            self._connection.rollback()
            self._begin()
            sums = Sums.decided(batch, self._look(sums, now), is_deferring=self._is_deferring)
            if not self._apply(sums, now, is_assumed=False):
                raise Surprise("Rows changed under the ledger's lock.")
        return sums

    def _begin(self) -> None:
        if self._connection is None:
            self._connection = self.wait(self._driver.connect)
        if self._driver.begin:
            try:
                self._execute(self._driver.begin)
            except Exception as error:
                if not self._driver.is_busy(error):
                    raise
                self.wait(self._begin_waiting)

    def _begin_waiting(self) -> None:
        for statement in self._driver.begin_waiting:
            self._execute(statement)

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(sql, parameters)
        return cursor

    def _apply(self, sums: Sums, now: int, *, is_assumed: bool) -> bool:
        """Writes the sums; False as soon as a guarded statement has not found all its rows as assumed."""
        if sums.is_renewing:
            self._execute(
                f"UPDATE holds SET expires_at = {now + self._hold_s} "
                f"WHERE worker = {self._driver.mark} AND released_at IS NULL",
                (self._worker_id,),
            )
        if sums.ended:
            ids = [operation.hold.request_id for operation in sums.ended]
            live = " AND released_at IS NULL" if is_assumed else ""
            cursor = self._execute(f"DELETE FROM holds WHERE request_id IN ({self._marks(len(ids))}){live}", ids)
            if cursor.rowcount != len(ids):
                return False
        if sums.users:
            sql = _update("users", sums.users, *_user_changes(sums.users), is_lock_first=self._driver.is_lock_first)
            if self._execute(sql).rowcount != len(sums.users):
                return False
        if sums.tokens:
            changes = _token_changes(sums.tokens, now)
            sql = _update("tokens", sums.tokens, *changes, is_lock_first=self._driver.is_lock_first)
            if self._execute(sql).rowcount != len(sums.tokens):
                return False
        for table, column, key, counts in (
            ("channels", "used_quota", "id", sums.channels),
            ("openings", "charged", "user_id", sums.unlogged),
        ):
            if counts:
                change = f"{column} = COALESCE({column}, 0) + {_pick(f'{table}.{key}', counts)}"
                self._execute(_update(table, counts, change, key=key, is_lock_first=self._driver.is_lock_first))
        if sums.holds:
            self._insert_holds(sums.holds, now)
        if sums.logs and self._has_outbox:
            self._insert("outbox", OUTBOX_COLUMNS, [outbox_values(log) for log in sums.logs])
        elif sums.logs:
            self._insert("logs", LOG_COLUMNS, [values(log) for log in sums.logs])
        return True

    def _insert_holds(self, holds: Sequence[Hold], now: int) -> None:
        worker, until = self._worker_id, now + self._hold_s
        self._insert(
            "holds",
            HOLD_COLUMNS,
            [
                (hold.request_id, hold.user_id, hold.token_id, hold.user_quota, hold.token_quota, worker, now, until)
                for hold in holds
            ],
        )

    def _insert(self, table: str, columns: Columns, rows: Sequence[Row]) -> None:
        self._driver.insert(self._connection.cursor(), table, columns, rows)

    def _look(self, assumed: Sums, now: int) -> Facts:
        """Locks and reads the rows that the sums are about."""
        holds: dict[str, bool] = {}
        if assumed.ended:
            ids = sorted(operation.hold.request_id for operation in assumed.ended)
            rows = self._execute(
                f"SELECT request_id, released_at FROM holds WHERE request_id IN ({self._marks(len(ids))}) "
                f"ORDER BY request_id{self._driver.for_update}",
                ids,
            ).fetchall()
            holds = {request_id: released_at is not None for request_id, released_at in rows}
        return Facts(
            now=now,
            holds=holds,
            users={
                row[0]: UserFacts(row[1] or 0, row[2] or 0)
                for row in self._select("users", "id, status, quota", assumed.users)
            },
            tokens={
                row[0]: TokenFacts(row[1] or 0, -1 if row[2] is None else row[2], bool(row[3]), row[4] or 0)
                for row in self._select(
                    "tokens", "id, status, expired_time, unlimited_quota, remain_quota", assumed.tokens
                )
            },
        )

    def _select(self, table: str, columns: str, ids: Mapping[int, object]) -> Sequence[Row]:
        if not ids:
            return ()
        rows: Sequence[Row] = self._execute(
            f"SELECT {columns} FROM {table} WHERE id IN ({_numbers(ids)}) ORDER BY id{self._driver.for_update}"
        ).fetchall()
        return rows

    def _marks(self, count: int) -> str:
        return ", ".join([self._driver.mark] * count)


# ---- statements ----


def _update(
    table: str, rows: Mapping[int, object], changes: str, guard: str = "", *, key: str = "id", is_lock_first: bool
) -> str:
    condition = f" AND {guard}" if guard else ""
    if is_lock_first and len(rows) > 1:
        return (
            f"WITH locked AS (SELECT {key} FROM {table} WHERE {key} IN ({_numbers(rows)}) ORDER BY {key} FOR UPDATE) "
            f"UPDATE {table} SET {changes} FROM locked WHERE {table}.{key} = locked.{key}{condition}"
        )
    return f"UPDATE {table} SET {changes} WHERE {table}.{key} IN ({_numbers(rows)}){condition}"


def _user_changes(users: Mapping[int, UserSum]) -> tuple[str, str]:
    """The SET list, and the guard of rows that reservations are taken from."""
    pick = partial(_pick, "users.id")
    changes = [f"quota = COALESCE(quota, 0) + {pick({key: user.returned - user.taken for key, user in users.items()})}"]
    if any(user.used for user in users.values()):
        used = pick({key: user.used for key, user in users.items()})
        changes.append(f"used_quota = COALESCE(used_quota, 0) + {used}")
    if any(user.requests for user in users.values()):
        requests = pick({key: user.requests for key, user in users.items()})
        changes.append(f"request_count = COALESCE(request_count, 0) + {requests}")
    guards = {
        key: f"status = {_ENABLED} AND COALESCE(quota, 0) >= {user.taken - user.returned}"
        for key, user in users.items()
        if user.is_reserving
    }
    return ", ".join(changes), _guard("users.id", guards, len(users))


def _token_changes(tokens: Mapping[int, TokenSum], now: int) -> tuple[str, str]:
    """The SET list, and the guard of rows that reservations are taken from."""
    pick = partial(_pick, "tokens.id")
    change = pick({key: token.returned - token.taken for key, token in tokens.items()})
    changes = f"accessed_time = {now}, remain_quota = COALESCE(remain_quota, 0) + {change}"
    if any(token.cost for token in tokens.values()):
        cost = pick({key: token.cost for key, token in tokens.items()})
        changes += f" - CASE WHEN unlimited_quota THEN 0 ELSE {cost} END"
    if any(token.used for token in tokens.values()):
        used = pick({key: token.used for key, token in tokens.items()})
        changes += f", used_quota = COALESCE(used_quota, 0) + {used}"
    usable = f"status = {_ENABLED} AND (expired_time IS NULL OR expired_time = -1 OR expired_time >= {now}) AND "
    guards = {
        key: usable
        + (
            "unlimited_quota"
            if token.is_unlimited
            else "(unlimited_quota IS NULL OR NOT unlimited_quota) "
            f"AND COALESCE(remain_quota, 0) >= {token.taken - token.returned + token.cost}"
        )
        for key, token in tokens.items()
        if token.is_reserving
    }
    return changes, _guard("tokens.id", guards, len(tokens))


def _pick(key: str, numbers: Mapping[int, int]) -> str:
    """An expression for the number that belongs to the row at hand."""
    if len(numbers) == 1:
        return f"({next(iter(numbers.values()))})"
    return f"CASE {key}{''.join([f' WHEN {number} THEN {value}' for number, value in numbers.items()])} END"


def _guard(key: str, guards: Mapping[int, str], rows: int) -> str:
    """A condition for the rows that have a guard; the others pass."""
    if not guards:
        return ""
    if len(guards) == rows == 1:
        return f"({next(iter(guards.values()))})"
    return f"CASE {key}{''.join([f' WHEN {number} THEN {guard}' for number, guard in guards.items()])} ELSE 1 = 1 END"


def _numbers(rows: Mapping[int, object]) -> str:
    return ", ".join(map(str, sorted(rows)))


# ---- SQLite ----


def sqlite_driver(engine: Engine, busy_timeout_ms: int) -> Driver:
    """For a file that at most a few workers share."""
    path = engine.url.database
    if not path or path == ":memory:":
        raise ValueError("The ledger needs a database file.")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, timeout=busy_timeout_ms / 1000, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 0"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    return Driver(
        connect=connect,
        insert=_insert_sqlite,
        judge=_judge_sqlite,
        mark="?",
        for_update="",
        is_lock_first=False,
        turn=partial(_file_turn, f"{path}.ledger-lock"),
        begin="BEGIN IMMEDIATE",
        is_busy=_is_busy_sqlite,
        begin_waiting=(f"PRAGMA busy_timeout = {busy_timeout_ms}", "BEGIN IMMEDIATE", "PRAGMA busy_timeout = 0"),
    )


def _is_busy_sqlite(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


@contextmanager
def _file_turn(path: str, wait: Waiting) -> Iterator[None]:
    """Waits in the kernel for the other workers' transactions; SQLite itself would poll, ever more seldom."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait(partial(fcntl.flock, handle, fcntl.LOCK_EX))
        yield
    finally:
        os.close(handle)


def _insert_sqlite(cursor: Any, table: str, columns: Columns, rows: Sequence[Row]) -> None:
    """Statements of 32, 16, 8… rows: few texts, which the connection keeps prepared, and few switches of threads."""
    start, size = 0, 32
    while start < len(rows):
        if len(rows) - start >= size:
            cursor.execute(_values_sql(table, columns, size), list(chain.from_iterable(rows[start : start + size])))
            start += size
        else:
            size //= 2


def _values_sql(table: str, columns: Columns, size: int) -> str:
    key = (table, size)
    sql = _VALUES_SQL.get(key)
    if sql is None:
        row = f"({', '.join('?' * len(columns))})"
        sql = f"INSERT INTO {table} ({', '.join(_quoted(columns))}) VALUES {', '.join([row] * size)}"
        _VALUES_SQL[key] = sql
    return sql


_VALUES_SQL: dict[tuple[str, int], str] = {}


def _quoted(columns: Columns, quote: str = '"') -> list[str]:
    return [f"{quote}{name}{quote}" for name in columns]


def _judge_sqlite(error: Exception) -> Verdict:
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)):
        return "fault"
    return "away" if isinstance(error, (sqlite3.DatabaseError, OSError)) else "fault"


# ---- MySQL, MariaDB ----


def mysql_driver(engine: Engine) -> Driver:
    dbapi: Any = engine.dialect.loaded_dbapi

    def connect() -> Any:
        connection = _detached(engine)
        # Half of what escaping text costs; the driver follows the server's mode.
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')")
        return connection

    def judge(error: Exception) -> Verdict:
        if isinstance(error, dbapi.OperationalError) and error.args and error.args[0] in _MYSQL_AGAIN:
            return "again"
        return _judge_server(dbapi, error)

    return Driver(
        connect=connect,
        insert=_insert_mysql,
        judge=judge,
        mark="%s",
        for_update=" FOR UPDATE",
        is_lock_first=False,
        turn=_no_turn,
        begin="",
    )


def _insert_mysql(cursor: Any, table: str, columns: Columns, rows: Sequence[Row]) -> None:
    """One statement. The driver takes 0.6 µs for each number it is given, so it is given the text only."""
    template = f"({', '.join('%%s' if is_text else '%s' for is_text in columns.values())})"
    numbers = [position for position, is_text in enumerate(columns.values()) if not is_text]
    texts = [position for position, is_text in enumerate(columns.values()) if is_text]
    tuples = [
        template % tuple(["NULL" if row[position] is None else int(row[position]) for position in numbers])
        for row in rows
    ]
    sql = f"INSERT INTO {table} ({', '.join(_quoted(columns, '`'))}) VALUES {', '.join(tuples)}"
    cursor.execute(sql, [row[position] for row in rows for position in texts])


# ---- PostgreSQL ----


def postgres_driver(engine: Engine) -> Driver:
    dbapi: Any = engine.dialect.loaded_dbapi

    def judge(error: Exception) -> Verdict:
        if getattr(error, "sqlstate", None) in _POSTGRES_AGAIN:
            return "again"
        return _judge_server(dbapi, error)

    return Driver(
        connect=partial(_detached, engine),
        insert=_insert_postgres,
        judge=judge,
        mark="%s",
        for_update=" FOR UPDATE",
        is_lock_first=True,
        turn=_no_turn,
        begin="",
    )


def _insert_postgres(cursor: Any, table: str, columns: Columns, rows: Sequence[Row]) -> None:
    """One statement with one parameter: hundreds of them cost the driver five times as much as this JSON."""
    names = ", ".join(_quoted(columns))
    document = msgspec.json.encode([dict(zip(columns, row, strict=True)) for row in rows]).decode()
    cursor.execute(
        f"INSERT INTO {table} ({names}) SELECT {names} FROM json_populate_recordset(NULL::{table}, %s::json)",
        (document,),
    )


# ---- both servers ----


def _detached(engine: Engine) -> Any:
    """A connection as the engine makes them, taken out of its pool for good."""
    pooled = engine.raw_connection()
    connection = pooled.dbapi_connection
    pooled.detach()
    return connection


def _judge_server(dbapi: Any, error: Exception) -> Verdict:
    is_away = isinstance(error, (dbapi.OperationalError, dbapi.InterfaceError, dbapi.InternalError, OSError))
    return "away" if is_away else "fault"


def driver_of(engine: Engine, busy_timeout_ms: int) -> Driver:
    match engine.dialect.name:
        case "sqlite":
            return sqlite_driver(engine, busy_timeout_ms)
        case "mysql" | "mariadb":
            return mysql_driver(engine)
        case "postgresql":
            return postgres_driver(engine)
        case name:
            raise ValueError(f"The ledger does not know the database {name}.")
