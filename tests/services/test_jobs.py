"""Jobs run in one process at a time, the lease's holder, and stop before another may begin."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import TimeoutError as PoolTimeout

from oneapi.jobs import JOBS, LEASE, LEASE_S, Job, Jobs, Tools
from oneapi.models import Lease, OneTimeCode
from oneapi.services.leases import drop_lease, ends_of, holder_of, set_lease, take_lease
from oneapi.services.quota import HOLD_S
from tests.servers import FreshDatabase, sqlite_database
from tests.services.books import Books, caller, eventually


@pytest.fixture
def books(kept_database: FreshDatabase, tmp_path: Path) -> Iterator[Books]:
    books = Books(kept_database, tmp_path)
    with books.engine.begin() as connection:
        for model in (Lease, OneTimeCode):
            connection.execute(model.__table__.delete())
    yield books
    books.close()


@pytest.fixture
def file_books(tmp_path: Path) -> Iterator[Books]:
    books = Books(sqlite_database(tmp_path), tmp_path)
    yield books
    books.close()


class Clock:
    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


def test_a_lease_is_one_holders_until_it_ends(books: Books) -> None:
    def take(holder: str, now: int) -> bool:
        return take_lease(books.databases, "jobs", holder, now=now, seconds=60)

    assert take("a", 100)
    assert not take("b", 100)
    assert not take("b", 160)
    assert take("a", 150)
    assert not take("b", 210)
    assert take("b", 211)
    assert not take("a", 211)


def test_of_many_who_ask_at_once_one_gets_the_lease(books: Books) -> None:
    for now in (100, 200):
        asking = [gevent.spawn(take_lease, books.databases, "jobs", f"w{n}", now=now, seconds=60) for n in range(10)]
        gevent.joinall(asking, raise_error=True)
        assert sum(call.value for call in asking) == 1


def test_a_lease_that_is_given_up_is_free(books: Books) -> None:
    assert take_lease(books.databases, "jobs", "a", now=100, seconds=60)
    drop_lease(books.databases, "jobs", "b")
    assert not take_lease(books.databases, "jobs", "b", now=100, seconds=60)
    drop_lease(books.databases, "jobs", "a")
    assert take_lease(books.databases, "jobs", "b", now=100, seconds=60)


def test_a_lease_that_is_set_is_the_setters_whoever_had_it(books: Books) -> None:
    set_lease(books.databases, "job", "a", until=100)
    set_lease(books.databases, "job", "b", until=90)
    assert take_lease(books.databases, "other", "a", now=100, seconds=60)
    assert ends_of(books.databases, ["job", "other", "never"]) == {"job": 90, "other": 160}
    assert holder_of(books.databases, "job", now=90) == "b"
    assert holder_of(books.databases, "job", now=91) is None


def test_jobs_run_when_due_in_the_holder_only(file_books: Books) -> None:
    ran: list[str] = []
    clock = Clock()
    tools = Tools(databases=file_books.databases, config=file_books.config, now=clock)
    workers = {
        name: Jobs(
            tools,
            name,
            [
                Job("often", 10, lambda _, name=name: ran.append(name)),
                Job("late", 1000, lambda _: ran.append("late"), 30),
            ],
            monotonic=clock,
        )
        for name in ("a", "b")
    }
    for _ in range(4):
        for worker in workers.values():
            worker.tick()
        gevent.sleep(0)
        clock.time += 10
    assert ran == ["a", "a", "a", "a", "late"]


def test_another_holder_runs_no_job_sooner_than_the_first_would_have(file_books: Books) -> None:
    ran: list[tuple[str, str]] = []
    clock = Clock()
    tools = Tools(databases=file_books.databases, config=file_books.config, now=clock)

    def worker(name: str) -> Jobs:
        def job(what: str, every_s: float, first_s: float) -> Job:
            return Job(what, every_s, lambda _: ran.append((name, what)), first_s)

        return Jobs(tools, name, [job("often", 10, 0), job("late", 1000, 30), job("later", 1000, 500)], monotonic=clock)

    first, second = worker("a"), worker("b")
    for _ in range(4):
        first.tick()
        gevent.sleep(0)
        clock.time += 10
    assert ran == [("a", "often")] * 4 + [("a", "late")]
    clock.time += LEASE_S  # the first was killed: its lease runs out, and both are past all their first waits
    for _ in range(50):
        second.tick()
        gevent.sleep(0)
        clock.time += 20
    assert [what for _, what in ran[5:]].count("late") == 1
    assert [what for _, what in ran[5:]].count("later") == 1
    assert ran.index(("b", "later")) < ran.index(("b", "late"))
    assert ran.count(("b", "often")) == 50


def test_a_restart_neither_repeats_nor_forgets_a_job(file_books: Books) -> None:
    ran: list[float] = []
    clock = Clock()
    tools = Tools(databases=file_books.databases, config=file_books.config, now=clock)

    def run(every_s: float, until: float) -> None:
        job = Job("seldom", every_s, lambda _: ran.append(clock.time - begin), first_s=every_s)
        jobs = Jobs(tools, f"process {clock.time}", [job], monotonic=clock)
        while clock.time < until:
            jobs.tick()
            gevent.sleep(0)
            clock.time += 10
        jobs.stop()

    begin = clock.time
    for number in range(1, 11):
        run(100, begin + number * 60)
    assert ran == [100, 200, 300, 400, 500]
    run(20, begin + 660)
    assert ran[5:] == [600, 620, 640]


def test_a_holder_that_cannot_renew_stops_before_another_begins(file_books: Books) -> None:
    clock = Clock()
    running: list[str] = []

    def work(_: Tools, name: str) -> None:
        running.append(name)
        try:
            gevent.sleep(60)
        finally:
            running.remove(name)

    tools = Tools(databases=file_books.databases, config=file_books.config, now=clock)
    first = Jobs(tools, "a", [Job("long", 1, lambda tools: work(tools, "a"))], monotonic=clock)
    second = Jobs(tools, "b", [Job("long", 1, lambda tools: work(tools, "b"))], monotonic=clock)
    first.tick()
    gevent.sleep(0)
    assert running == ["a"]
    # The first one's database goes away: its ticks raise, and time passes.
    first._tools = Tools(databases=_Away(), config=file_books.config, now=clock)  # type: ignore[arg-type]
    for _ in range(LEASE_S):
        clock.time += 1
        with pytest.raises(ConnectionError) if clock.time >= first._renew_at else _nothing():
            first.tick()
        second.tick()
        gevent.sleep(0)
        assert len(running) <= 1
    clock.time += 15
    second.tick()
    gevent.sleep(0)
    assert running == ["b"]
    second.stop()
    assert running == []


def test_a_job_that_fails_is_tried_again_and_harms_no_other(
    file_books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []
    clock = Clock()

    def fail(_: Tools) -> None:
        ran.append("bad")
        raise RuntimeError("no luck")

    jobs = Jobs(
        Tools(databases=file_books.databases, config=file_books.config, now=clock),
        "a",
        [Job("bad", 5, fail), Job("good", 5, lambda _: ran.append("good"))],
        monotonic=clock,
    )
    for _ in range(2):
        jobs.tick()
        gevent.sleep(0)
        clock.time += 5
    assert ran == ["bad", "good", "bad", "good"]
    assert "no luck" in caplog.text


def test_a_job_that_misses_its_database_is_tried_again_soon(
    file_books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[float] = []
    clock = Clock()

    def work(_: Tools) -> None:
        ran.append(clock.time)
        if len(ran) == 1:
            raise PoolTimeout()

    jobs = Jobs(
        Tools(databases=file_books.databases, config=file_books.config, now=clock),
        "a",
        [Job("daily", 86400, work)],
        monotonic=clock,
    )
    for _ in range(4):
        jobs.tick()
        gevent.sleep(0)
        clock.time += 15
    assert [moment - ran[0] for moment in ran] == [0, 15]
    assert "Traceback" not in caplog.text


def test_a_job_is_not_started_again_while_it_runs(file_books: Books) -> None:
    ran: list[float] = []
    clock = Clock()

    def work(_: Tools) -> None:
        ran.append(clock())
        gevent.sleep(0.02)

    jobs = Jobs(
        Tools(databases=file_books.databases, config=file_books.config, now=clock),
        "a",
        [Job("long", 1, work)],
        monotonic=clock,
    )
    for _ in range(5):
        jobs.tick()
        gevent.sleep(0)
        clock.time += 1
    assert len(ran) == 1
    gevent.sleep(0.03)
    clock.time += 1
    jobs.tick()
    gevent.sleep(0)
    assert len(ran) == 2
    jobs.stop()


def test_the_loop_runs_until_it_is_stopped(file_books: Books) -> None:
    ran: list[int] = []
    jobs = Jobs(
        Tools(databases=file_books.databases, config=file_books.config), "a", [Job("often", 0, lambda _: ran.append(1))]
    )
    jobs.start()
    eventually(lambda: len(ran) > 0)
    jobs.stop()
    assert file_books.all(select(Lease).where(Lease.name == LEASE)) == []
    count = len(ran)
    gevent.sleep(0.01)
    assert len(ran) == count


def test_the_jobs_of_the_ledger_clear_up(books: Books) -> None:
    books.add_user(quota=100)
    books.add_token()
    with books.ledger() as ledger:
        ledger.reserve(caller(), 10, "r1")
    with books.engine.begin() as connection:
        codes = [
            {
                "purpose": "reset",
                "subject": str(number),
                "code": "x",
                "expires_at": int(books.time) + number % 2 * 10**6,
            }
            for number in range(1200)
        ]
        connection.execute(insert(OneTimeCode), codes)
    books.time += HOLD_S + 1

    def run_all() -> None:
        for job in JOBS:
            job.run(Tools(databases=books.databases, config=books.config, now=books.now))

    run_all()
    assert (books.user()[0], books.holds()) == (100, {"r1": (10, 0, True)})
    assert books.one(select(func.count(), func.min(OneTimeCode.expires_at))) == (600, 1_701_000_000)
    books.time += 86401
    run_all()
    assert books.holds() == {}


class _Away:
    @property
    def main(self) -> None:
        raise ConnectionError("away")


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
