"""The ledger when its database fails: nothing is lost, nothing taken twice, and nobody waits for ever."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import gevent
import psycopg
import pymysql
import pytest
from sqlalchemy import Connection, text

from oneapi.errors import GatewayError, Unavailable
from oneapi.services import orphans, spool
from oneapi.services.quota import HOLD_S
from tests.servers import DatabaseServer, FreshDatabase, sqlite_database
from tests.services.books import HASTY, Books, Wire, cost, eventually


@pytest.fixture
def books(kept_database: FreshDatabase, tmp_path: Path) -> Iterator[Books]:
    books = Books(kept_database, tmp_path)
    yield books
    books.close()


@pytest.fixture
def file_books(tmp_path: Path) -> Iterator[Books]:
    """On SQLite only: for what does not depend on the kind of database."""
    books = Books(sqlite_database(tmp_path), tmp_path)
    yield books
    books.close()


class Trouble:
    """Raises what it is told to, so many times."""

    def __init__(self, error: Exception, times: int = 1, only: str = "") -> None:
        self.error = error
        self.left = times
        self.only = only  # statements that begin so

    def __call__(self, sql: str = "") -> None:
        if self.left and sql.startswith(self.only):
            self.left -= 1
            raise self.error


# ---- connections that break ----


def test_a_connection_that_died_while_idle_is_replaced_without_anybody_noticing(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    wire = Wire(books)
    with books.ledger(driver=wire.driver()) as ledger:
        hold = ledger.reserve(limited, 10, "r1")
        wire.on_execute = Trouble(wire.lost())
        ledger.reserve(limited, 10, "r2")
        wire.on_execute = Trouble(wire.lost())
        ledger.settle(hold, cost(3, "r1"))
    assert (books.user(), books.token()) == ((87, 3, 1), (87, 3))


def test_a_commit_that_failed_leaves_nothing_and_refuses_the_reservation(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    wire = Wire(books)
    with books.ledger(driver=wire.driver()) as ledger:
        wire.before_commit = Trouble(wire.lost())
        with pytest.raises(Unavailable) as raised:
            ledger.reserve(limited, 10, "r1")
        assert raised.value.retry_after_s is not None
        eventually(lambda: (books.user(), books.token(), books.holds()) == ((100, 0, 0), (100, 0), {}))


def test_a_commit_whose_answer_was_lost_leaves_no_hold_behind(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    wire = Wire(books)
    with books.ledger(driver=wire.driver()) as ledger:
        wire.after_commit = Trouble(wire.lost())
        with pytest.raises(Unavailable):
            ledger.reserve(limited, 10, "r1")
        eventually(lambda: (books.user(), books.token(), books.holds()) == ((100, 0, 0), (100, 0), {}))


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_a_settlement_is_tried_until_it_is_there_once(books: Books, moment: str) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    wire = Wire(books)
    with books.ledger(driver=wire.driver()) as ledger:
        hold = ledger.reserve(limited, 10, "r1")
        setattr(wire, moment, Trouble(wire.lost(), times=3))
        ledger.settle(hold, cost(3, "r1"))
    assert (books.user(), books.token(), books.channel(), books.charges()) == ((97, 3, 1), (97, 3), 3, (1, 3))
    assert not books.spool_dir.exists()


_DEADLOCKS = {
    "mariadb": pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock"),
    "postgres": psycopg.errors.DeadlockDetected("deadlock detected"),
}


@pytest.mark.parametrize("name", ["mariadb", "postgres"])
def test_a_deadlock_is_run_again(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    server: DatabaseServer = request.getfixturevalue(name)
    books = Books(server.fresh(), tmp_path)
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    wire = Wire(books)
    with books.ledger(driver=wire.driver()) as ledger:
        wire.on_execute = Trouble(_DEADLOCKS[name], times=3, only="UPDATE tokens")
        hold = ledger.reserve(limited, 10, "r1")
        wire.on_execute = Trouble(_DEADLOCKS[name], times=3, only="UPDATE channels")
        ledger.settle(hold, cost(3, "r1"))
    assert (books.user(), books.token(), books.channel()) == ((97, 3, 1), (97, 3), 3)
    books.close()


# ---- the database is away ----


def test_while_the_database_is_away_settlements_are_spooled_and_replayed_once(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    wire = Wire(books)
    with books.ledger(driver=wire.driver(), pace=HASTY) as ledger:
        holds = [ledger.reserve(limited, 10, f"r{n}") for n in range(10)]
        wire.on_connect = wire.on_execute = Trouble(wire.lost(), times=10**9)
        began = time.monotonic()
        calls = [gevent.spawn(ledger.settle, hold, cost(3, hold.request_id)) for hold in holds]
        gevent.joinall(calls, raise_error=True)
        assert time.monotonic() - began < 5
        with pytest.raises(Unavailable):
            ledger.reserve(limited, 10, "later")
        assert sum(path.read_bytes().count(b"\n") for path in spool.find(books.spool_dir)) == 10
        assert books.user() == (900, 0, 0)
        wire.on_connect = wire.on_execute = lambda *_: None
        eventually(lambda: _reserves(ledger, limited))
        eventually(lambda: books.charges() == (10, 30))
        eventually(lambda: spool.find(books.spool_dir) == [])
    assert (books.user()[1:], books.token()[1], books.channel()) == ((30, 10), 30, 30)


def test_a_worker_with_nothing_else_to_do_notices_that_the_database_is_back(file_books: Books) -> None:
    books = file_books
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    wire = Wire(books)
    # Nothing that is done by the clock is done before the end of this test.
    with books.ledger(driver=wire.driver(), pace=replace(HASTY, renew_s=3600, replay_s=3600)) as ledger:
        hold = ledger.reserve(limited, 10, "r1")
        wire.on_connect = wire.on_execute = Trouble(wire.lost(), times=10**9)
        ledger.settle(hold, cost(3, "r1"))
        assert books.charges() == (0, 0)
        wire.on_connect = wire.on_execute = lambda *_: None
        eventually(lambda: books.charges() == (1, 3))
        eventually(lambda: spool.find(books.spool_dir) == [])


def _reserves(ledger, limited) -> bool:  # type: ignore[no-untyped-def]
    try:
        ledger.reserve(limited, 0, f"probe-{time.monotonic()}")
    except Unavailable:
        return False
    return True


def test_a_spool_that_was_left_is_replayed_by_the_next_start_even_after_the_hold_was_released(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    wire = Wire(books)
    ledger = books.make_ledger(driver=wire.driver(), pace=HASTY)
    holds = [ledger.reserve(limited, 10, f"r{n}") for n in range(3)]
    wire.on_connect = wire.on_execute = Trouble(wire.lost(), times=10**9)
    for hold in holds:
        ledger.settle(hold, cost(4, hold.request_id))
    ledger.stop()
    assert orphans.release(books.engine, now=int(books.time) + HOLD_S + 1) == 3
    assert books.user() == (1000, 0, 0)
    with books.ledger(worker="next"):
        eventually(lambda: spool.find(books.spool_dir) == [])
    assert (books.user(), books.token(), books.charges()) == ((988, 12, 3), (988, 12), (3, 12))


def test_stopping_while_the_database_is_away_spools_what_waits(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    wire = Wire(books)
    ledger = books.make_ledger(driver=wire.driver(), pace=replace(HASTY, tick_s=60))
    hold = ledger.reserve(limited, 10, "r1")
    wire.on_connect = wire.on_execute = Trouble(wire.lost(), times=10**9)
    call = gevent.spawn(ledger.settle, hold, cost(4, "r1"))
    gevent.sleep(0)
    ledger.stop()
    call.get()
    with books.ledger(worker="next"):
        eventually(lambda: books.user() == (996, 4, 1))


# The driver forgets its socket where a server that is just starting hangs up on the fixture's question.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["mariadb", "postgres"])
def test_a_server_that_is_killed_and_started_again_loses_no_charge(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    server: DatabaseServer = request.getfixturevalue(name)
    books = Books(server.fresh(), tmp_path)
    books.add_user(quota=100_000)
    limited = books.add_token(quota=100_000)
    ended: list[int] = []

    def call(ledger, number: int) -> None:  # type: ignore[no-untyped-def]
        try:
            hold = ledger.reserve(limited, 10, f"r{number}")
        except Unavailable:
            return
        gevent.sleep(0.01 * (number % 7))
        ledger.settle(hold, cost(3, hold.request_id))
        ended.append(number)

    with books.ledger(pace=replace(HASTY, patience_s=0.5)) as ledger:
        calls = []
        for number in range(200):
            calls.append(gevent.spawn(call, ledger, number))
            gevent.sleep(0.002)
            if number == 80:
                server.stop(signal.SIGKILL)
            if number == 160:
                server.start()
        gevent.joinall(calls, raise_error=True)
        eventually(lambda: _reserves(ledger, limited))
        eventually(lambda: not spool.find(books.spool_dir))
    assert 0 < len(ended) < 200
    # Probes hold nothing; a reservation that was refused in the crash may have left its hold to the orphan job.
    held = sum(hold[0] for hold in books.holds().values())
    assert books.charges() == (len(ended), 3 * len(ended))
    assert books.user() == (100_000 - held - 3 * len(ended), 3 * len(ended), len(ended))
    books.close()


# ---- one bad apple ----


def test_an_operation_at_fault_harms_no_other_of_its_batch(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    with books.ledger() as ledger:
        names = ["a", "b", "taken", "taken", "c"]
        calls = [gevent.spawn(_tried, ledger.reserve, limited, 10, name) for name in names]
        outcomes = [call.get() for call in calls]
    codes = [outcome.code if isinstance(outcome, GatewayError) else "" for outcome in outcomes]
    assert codes == ["", "", "", "decrease_user_quota_failed", ""]
    assert (books.user()[0], books.token()[0], len(books.holds())) == (960, 960, 4)


def test_words_that_a_database_refuses_do_not_spare_the_charge(file_books: Books) -> None:
    books = file_books
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    with books.engine.begin() as connection:
        _refuse_logs(connection, "NEW.content GLOB '*[^ -~]*'")
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(limited, 10, "r1"), cost(3, "r1", content="不"))
    assert (books.user(), books.charges()) == ((997, 3, 1), (1, 3))


def test_a_settlement_that_no_database_takes_is_put_aside(file_books: Books) -> None:
    books = file_books
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    with books.engine.begin() as connection:
        _refuse_logs(connection, "NEW.request_id = 'bad'")
    with books.ledger() as ledger:
        holds = [ledger.reserve(limited, 10, name) for name in ("good", "bad", "fine")]
        gevent.joinall(
            [gevent.spawn(ledger.settle, hold, cost(3, hold.request_id)) for hold in holds], raise_error=True
        )
    assert (books.user(), list(books.holds())) == ((984, 6, 2), ["bad"])
    assert spool.rejected(books.spool_dir).read_text().count('"bad"') == 2


def _refuse_logs(connection: Connection, condition: str) -> None:
    connection.execute(
        text(
            f"CREATE TRIGGER refuse BEFORE INSERT ON logs WHEN {condition} "
            "BEGIN SELECT RAISE(ABORT, 'this text is refused'); END"
        )
    )


# ---- processes ----


def test_two_processes_on_one_file_are_exact(file_books: Books) -> None:
    books = file_books
    books.add_user(quota=3_000)
    books.add_token(quota=2_500)
    children = [_spender(books, name) for name in ("a", "b")]
    for child in children:
        print(file=child.stdin, flush=True)
    outcomes = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    spent = sum(int(outcome[0]) for outcome in outcomes)
    # Together they tried 600 calls that hold 10 and cost 7: more than the token can pay for.
    assert spent + sum(int(outcome[1]) for outcome in outcomes) == 600
    assert books.charges() == (spent, 7 * spent)
    assert (books.user(), books.token()) == ((3_000 - 7 * spent, 7 * spent, spent), (2_500 - 7 * spent, 7 * spent))
    assert books.token()[0] < 10
    assert books.holds() == {}


def test_a_process_killed_at_any_moment_leaves_no_more_than_its_holds(file_books: Books) -> None:
    books = file_books
    books.add_user(quota=10**9)
    books.add_token(quota=10**9)
    for delay_s in (0.0, 0.03, 0.1):
        before = books.charges()
        child = _spender(books, f"k{delay_s}")
        print(file=child.stdin, flush=True)
        eventually(partial(_differs, books.charges, before))
        gevent.sleep(delay_s)
        child.kill()
        child.communicate()
    orphans.release(books.engine, now=int(time.time()) + HOLD_S + 1)
    count, charged = books.charges()
    assert (books.user(), books.token()) == ((10**9 - charged, charged, count), (10**9 - charged, charged))
    assert books.channel() == charged


def _differs(look: Callable[[], object], before: object) -> bool:
    return look() != before


def _spender(books: Books, name: str) -> "subprocess.Popen[str]":
    """A process that waits for a line to begin."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.services.spender", books.database.sqlite_path, str(books.spool_dir), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def _tried(call, *arguments):  # type: ignore[no-untyped-def]
    try:
        return call(*arguments)
    except GatewayError as error:
        return error
