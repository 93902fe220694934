"""Hours of the logs are summed up once they are over, late rows included, and pruning takes nothing from the sums."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from oneapi.jobs import Job, Tools, jobs_of, prune_logs, roll_up_logs
from oneapi.models import Log, LogRollup
from oneapi.options import Options
from oneapi.services.rollups import HOUR_S, roll_up, rolled_up_to
from tests.servers import FreshDatabase, sqlite_database
from tests.services.books import Books

HOUR = 1_700_000_000 // HOUR_S * HOUR_S
NOW = HOUR + 5 * HOUR_S + 600
DAY_S = 86400


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
        "type": 2, "user_id": 1, "username": "alice", "token_id": 3, "channel_id": 5, "model_name": "gpt-4o",
        "quota": 10, "prompt_tokens": 4, "completion_tokens": 2, "elapsed_time": 100, "first_token_ms": 30,
    }  # fmt: skip
    with books.log_engine.begin() as connection:
        connection.execute(insert(Log).values(created_at=at, **{**values, **columns}))


def sums(books: Books) -> list[dict[str, Any]]:
    order = (LogRollup.hour, LogRollup.user_id, LogRollup.token_id, LogRollup.channel_id, LogRollup.model_name)
    with books.log_engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(LogRollup).order_by(*order)).mappings()]


def test_an_hour_is_summed_up_by_user_token_channel_and_model(books: Books) -> None:
    log(books, HOUR, quota=10)
    log(books, HOUR + 3599, quota=5, first_token_ms=None)
    log(books, HOUR + 7, type=6, quota=0, prompt_tokens=0, completion_tokens=0)
    log(books, HOUR + 8, model_name="gpt-4")
    log(books, HOUR + 9, user_id=2, username="bob", token_id=None, channel_id=None, model_name=None)
    log(books, HOUR + HOUR_S)
    for kind in (1, 3, 4, 5):
        log(books, HOUR + 10, type=kind)
    assert roll_up(books.log_engine, now=NOW) == 2
    found = sums(books)
    assert len(found) == 4
    assert found[1] == {
        "hour": HOUR, "user_id": 1, "token_id": 3, "channel_id": 5, "model_name": "gpt-4o", "username": "alice",
        "requests": 2, "errors": 1, "quota": 15, "prompt_tokens": 8, "completion_tokens": 4, "elapsed_ms": 200,
        "first_token_ms": 30,
    }  # fmt: skip
    assert (found[2]["user_id"], found[2]["token_id"], found[2]["channel_id"], found[2]["model_name"]) == (2, 0, 0, "")
    assert found[3]["hour"] == HOUR + HOUR_S


def test_an_hour_that_is_not_over_waits(books: Books) -> None:
    log(books, HOUR)
    assert roll_up(books.log_engine, now=HOUR + HOUR_S + 60) == 0
    assert rolled_up_to(books.log_engine) == 0
    assert roll_up(books.log_engine, now=HOUR + HOUR_S + 120) == 1
    assert rolled_up_to(books.log_engine) == HOUR + HOUR_S


def test_summing_up_again_changes_nothing(books: Books) -> None:
    log(books, HOUR)
    log(books, HOUR + 3 * HOUR_S)
    assert roll_up(books.log_engine, now=NOW) == 2
    before = sums(books)
    assert roll_up(books.log_engine, now=NOW) == 0
    assert sums(books) == before


def test_a_row_that_comes_late_is_added(books: Books) -> None:
    log(books, HOUR)
    log(books, HOUR + 3 * HOUR_S)
    roll_up(books.log_engine, now=NOW)
    log(books, HOUR + 30)
    assert roll_up(books.log_engine, now=NOW) == 1
    assert [row["requests"] for row in sums(books)] == [2, 1]


def test_rows_that_are_gone_stay_in_the_sums(books: Books) -> None:
    log(books, HOUR)
    log(books, HOUR + 1, model_name="gpt-4")
    roll_up(books.log_engine, now=NOW)
    before = sums(books)
    with books.log_engine.begin() as connection:
        connection.execute(delete(Log).where(Log.model_name == "gpt-4"))
    assert roll_up(books.log_engine, now=NOW) == 0
    assert sums(books) == before


def test_names_that_differ_in_case_fit_the_key_of_every_database(books: Books) -> None:
    for name in ("GPT-4o", "gpt-4o"):
        log(books, HOUR, model_name=name)
    roll_up(books.log_engine, now=NOW)
    assert sum(row["requests"] for row in sums(books)) == 2


def test_a_long_past_is_summed_up_at_the_first_time(file_books: Books) -> None:
    for hour in range(0, 400, 40):
        log(file_books, HOUR - hour * HOUR_S)
    assert roll_up(file_books.log_engine, now=NOW) == 10


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
    assert len(ages(books)) == 7  # nothing is summed up yet
    roll_up_logs(kept)
    prune_logs(kept)
    assert [age for age in ages(books) if age[1]] == [(1, 10), (3, 10), (4, 10), (2, 2)]
    assert sum(row["requests"] for row in sums(books)) == 2


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
