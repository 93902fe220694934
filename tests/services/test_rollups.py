"""Hours of the logs are summed up once they are over, late rows included, and pruning takes nothing from the sums."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from oneapi.jobs import Job, Tools, jobs_of, prune_logs, roll_up_logs
from oneapi.models import Log, LogRollup
from oneapi.options import Options
from oneapi.services.logs import FAILURE
from oneapi.services.rollups import DAY_S, HOUR_S, NAMES, ROWS, Reach, Stretch, reach, roll_up
from tests.servers import FreshDatabase, sqlite_database
from tests.services.books import Books

HOUR = 1_700_000_000 // HOUR_S * HOUR_S
NOW = HOUR + 5 * HOUR_S + 600
DAY = HOUR - HOUR % DAY_S


@pytest.fixture
def books(kept_database: FreshDatabase, tmp_path: Path) -> Iterator[Books]:
    yield from opened(Books(kept_database, tmp_path))


@pytest.fixture
def file_books(tmp_path: Path) -> Iterator[Books]:
    yield from opened(Books(sqlite_database(tmp_path), tmp_path))


def opened(books: Books) -> Iterator[Books]:
    with books.log_engine.begin() as connection:
        connection.execute(delete(LogRollup))
    yield books
    books.close()


def log(books: Books, at: int, **columns: Any) -> None:
    values = {
        "type": 2, "user_id": 1, "username": "alice", "token_name": "t", "channel_id": 5, "model_name": "gpt-4o",
        "quota": 10, "prompt_tokens": 4, "completion_tokens": 2, "elapsed_time": 100, "first_token_ms": 30,
    }  # fmt: skip
    with books.log_engine.begin() as connection:
        connection.execute(insert(Log).values(created_at=at, **{**values, **columns}))


def sums(books: Books, dimension: str, length_s: int = HOUR_S) -> list[dict[str, Any]]:
    """Rows of one dimension, in the order of the key, without it."""
    order = (LogRollup.start, LogRollup.user_id, LogRollup.name)
    query = select(LogRollup).where(LogRollup.dimension == dimension, LogRollup.length_s == length_s).order_by(*order)
    with books.log_engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [{name: value for name, value in row.items() if name not in ("dimension", "length_s")} for row in rows]


def requests(books: Books, length_s: int = HOUR_S) -> list[tuple[int, int]]:
    """All requests by time."""
    return [(row["start"], row["requests"]) for row in sums(books, "total", length_s)]


def reached(books: Books) -> Reach:
    with books.log_engine.connect() as connection:
        return reach(connection)


def test_an_hour_is_summed_up_in_each_way_that_charts_cut_it(books: Books) -> None:
    log(books, HOUR, quota=10)
    log(books, HOUR + 3599, quota=5, first_token_ms=None)
    log(books, HOUR + 7, type=FAILURE, quota=7, prompt_tokens=7, completion_tokens=0)
    log(books, HOUR + 8, model_name="gpt-4", user_id=2, username="bob", token_name=None, channel_id=None)
    log(books, HOUR + HOUR_S)
    for kind in (1, 3, 4, 5):
        log(books, HOUR + 10, type=kind)
    assert roll_up(books.log_engine, now=NOW) == 2
    first = {
        "start": HOUR, "user_id": 0, "name": "gpt-4o", "requests": 2, "failures": 1, "quota": 15, "prompt_tokens": 8,
        "completion_tokens": 4, "elapsed_ms": 200, "first_token_ms": 30, "with_first_token": 1,
    }  # fmt: skip
    assert first in sums(books, "model")
    assert {**first, "user_id": 1, "name": "alice"} in sums(books, "user")
    found = {name: [row for row in sums(books, name) if row["start"] == HOUR] for name in NAMES}
    assert {name: [(row["user_id"], row["name"], row["requests"]) for row in rows] for name, rows in found.items()} == {
        "total": [(0, "", 3)],
        "model": [(0, "gpt-4", 1), (0, "gpt-4o", 2)],
        "channel": [(0, "0", 1), (0, "5", 2)],
        "user": [(1, "alice", 2), (2, "bob", 1)],
        "token": [(1, "t", 2), (2, "", 1)],
        "own model": [(1, "gpt-4o", 2), (2, "gpt-4", 1)],
    }


def test_an_hour_that_is_not_over_waits(books: Books) -> None:
    log(books, HOUR)
    assert roll_up(books.log_engine, now=HOUR + HOUR_S + 60) == 0
    assert reached(books) == Reach(0, 0)
    assert roll_up(books.log_engine, now=HOUR + HOUR_S + 120) == 1
    assert reached(books) == Reach(HOUR + HOUR_S, 0)


def test_summing_up_again_changes_nothing(books: Books) -> None:
    log(books, HOUR)
    log(books, HOUR + 3 * HOUR_S)
    assert roll_up(books.log_engine, now=NOW) == 2
    before = sums(books, "model")
    assert roll_up(books.log_engine, now=NOW) == 0
    assert sums(books, "model") == before


def test_a_day_is_the_sum_of_its_hours(books: Books) -> None:
    log(books, DAY)
    log(books, DAY + 5 * HOUR_S, first_token_ms=None)
    log(books, DAY + 23 * HOUR_S, type=FAILURE)
    log(books, DAY + DAY_S)
    roll_up(books.log_engine, now=DAY + DAY_S + 2 * HOUR_S)
    assert reached(books) == Reach(DAY + DAY_S + HOUR_S, DAY + DAY_S)
    assert sums(books, "model", DAY_S)[0] == {
        "start": DAY, "user_id": 0, "name": "gpt-4o", "requests": 2, "failures": 1, "quota": 20, "prompt_tokens": 8,
        "completion_tokens": 4, "elapsed_ms": 200, "first_token_ms": 30, "with_first_token": 1,
    }  # fmt: skip


def test_a_row_that_comes_late_is_added_to_its_hour_and_its_day(books: Books) -> None:
    log(books, DAY)
    log(books, DAY + DAY_S + 3 * HOUR_S)
    now = DAY + DAY_S + 5 * HOUR_S
    roll_up(books.log_engine, now=now)
    log(books, DAY + 30)
    assert roll_up(books.log_engine, now=now) == 1
    assert requests(books) == [(DAY, 2), (DAY + DAY_S + 3 * HOUR_S, 1)]
    assert requests(books, DAY_S) == [(DAY, 2)]


def test_rows_that_are_gone_stay_in_the_sums(books: Books) -> None:
    log(books, HOUR)
    log(books, HOUR + 1, model_name="gpt-4")
    roll_up(books.log_engine, now=NOW)
    before = sums(books, "model")
    with books.log_engine.begin() as connection:
        connection.execute(delete(Log).where(Log.model_name == "gpt-4"))
    assert roll_up(books.log_engine, now=NOW) == 0
    assert sums(books, "model") == before


def test_names_that_differ_in_case_fit_the_key_of_every_database(books: Books) -> None:
    for name in ("GPT-4o", "gpt-4o"):
        log(books, HOUR, model_name=name)
    roll_up(books.log_engine, now=NOW)
    assert sum(row["requests"] for row in sums(books, "model")) == 2


def test_a_long_past_is_summed_up_at_the_first_time(file_books: Books) -> None:
    for hour in range(0, 400, 40):
        log(file_books, HOUR - hour * HOUR_S)
    assert roll_up(file_books.log_engine, now=NOW) == 10
    assert sum(count for _, count in requests(file_books, DAY_S)) == 9


@pytest.mark.parametrize(
    ("begin", "end", "by_days", "parts"),
    [
        (DAY + 10, DAY + 20, True, [(ROWS, DAY + 10, DAY + 20)]),
        (DAY, DAY + HOUR_S, True, [(HOUR_S, DAY, DAY + HOUR_S)]),
        (DAY - 10, DAY + DAY_S, True, [(ROWS, DAY - 10, DAY), (DAY_S, DAY, DAY + DAY_S)]),
        (DAY, DAY + DAY_S + 10, False, [(HOUR_S, DAY, DAY + DAY_S), (ROWS, DAY + DAY_S, DAY + DAY_S + 10)]),
        (
            DAY - HOUR_S,
            DAY + 3 * DAY_S + 10,
            True,
            [
                (HOUR_S, DAY - HOUR_S, DAY),
                (DAY_S, DAY, DAY + 2 * DAY_S),
                (HOUR_S, DAY + 2 * DAY_S, DAY + 2 * DAY_S + 3 * HOUR_S),
                (ROWS, DAY + 2 * DAY_S + 3 * HOUR_S, DAY + 3 * DAY_S + 10),
            ],
        ),
        (DAY + 4 * DAY_S, DAY + 5 * DAY_S, True, [(ROWS, DAY + 4 * DAY_S, DAY + 5 * DAY_S)]),
    ],
)
def test_a_period_is_cut_into_days_hours_and_rows(
    begin: int, end: int, by_days: bool, parts: list[tuple[int, int, int]]
) -> None:
    known = Reach(hours_end=DAY + 2 * DAY_S + 3 * HOUR_S, days_end=DAY + 2 * DAY_S)
    assert known.split(begin, end, by_days=by_days) == [Stretch(*one) for one in parts]


# ---- the jobs ----


def tools(books: Books, **options: str) -> Tools:
    read = Options.from_rows(options)
    return Tools(databases=books.databases, config=books.config, options=lambda: read, now=lambda: NOW)


def ages(books: Books) -> list[tuple[int, int]]:
    with books.log_engine.connect() as connection:
        rows = connection.execute(select(Log.type, Log.created_at).order_by(Log.created_at, Log.type))
        return [(row.type, (NOW - row.created_at) // DAY_S) for row in rows]


def test_old_rows_go_once_they_are_summed_up_and_credits_stay(books: Books) -> None:
    for kind in (1, 2, 3, 4, 5, 6):
        log(books, NOW - 10 * DAY_S, type=kind)
    log(books, NOW - 2 * DAY_S)
    kept = tools(books, ExtLogRetentionDays="7")
    prune_logs(kept)
    assert [age for age in ages(books) if age[1]] == [(1, 10), (3, 10), (4, 10), (2, 2)]
    assert [count for _, count in requests(books)] == [1, 1]


def test_without_the_option_nothing_goes(file_books: Books) -> None:
    log(file_books, NOW - 1000 * DAY_S)
    roll_up_logs(tools(file_books))
    prune_logs(tools(file_books))
    assert len(ages(file_books)) == 1


class _Rounds:
    def run_tests(self) -> None: ...

    def run_balances(self) -> None: ...


def test_rounds_of_channels_are_jobs_where_their_frequency_is_set(file_books: Books) -> None:
    def rounds(**frequencies: int) -> dict[str, Job]:
        made = jobs_of(file_books.database.config(**frequencies), _Rounds())  # type: ignore[arg-type]
        return {job.name: job for job in made if job.name in ("test channels", "refresh balances")}

    assert rounds() == {}
    found = rounds(channel_test_frequency=10, channel_update_frequency=1440)
    assert (found["test channels"].every_s, found["test channels"].first_s) == (600, 600)
    assert (found["refresh balances"].every_s, found["refresh balances"].first_s) == (86400, 86400)
