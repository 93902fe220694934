"""Calls that a limit refused stand in the log once a minute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from oneapi.errors import GatewayError, InsufficientQuota, RateLimited
from oneapi.models import Log
from oneapi.options import Options
from oneapi.relay.exchange import Call, Exchange, Hold
from oneapi.services.refused import RefusedCalls
from tests.servers import FreshDatabase
from tests.services.books import Books, caller


@pytest.fixture
def books(kept_database: FreshDatabase, tmp_path: Path) -> Iterator[Books]:
    books = Books(kept_database, tmp_path, time=600)
    books.add_user(quota=10_000)
    books.add_token()
    yield books
    books.close()


def refused(error: GatewayError, token_id: int = 1) -> Exchange:
    call = Call(
        request_id=f"r{token_id}", dialect="openai", mode="chat", method="POST", path="/", query="", headers={},
        client_ip="", received_at=0, received_s=0,
    )  # fmt: skip
    return Exchange(call=call, caller=replace(caller(), token_id=token_id, token_name=f"t{token_id}"), error=error)


def rows(books: Books) -> list[tuple[object, ...]]:
    query = select(Log.type, Log.user_id, Log.token_name, Log.content, Log.quota, Log.request_id, Log.elapsed_time)
    with books.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(Log.id)) if row.type == 6]


def test_the_first_refused_call_of_a_token_in_a_minute_is_logged(books: Books) -> None:
    calls = RefusedCalls(books.engine, Options, now=books.now, monotonic=lambda: 0.25)
    before = len(rows(books))
    for token_id in (1, 1, 2, 1):
        calls.observe(refused(RateLimited("too many"), token_id))
    found = rows(books)[before:]
    assert found == [
        (6, 1, "t1", "429: too many", 0, "r1", 250),
        (6, 1, "t2", "429: too many", 0, "r2", 250),
    ]
    books.time += 60
    calls.observe(refused(RateLimited("too many")))
    assert len(rows(books)) == before + 3


def test_what_the_ledger_logs_and_what_nobody_wants_logged_is_not(books: Books) -> None:
    calls = RefusedCalls(books.engine, lambda: Options(ext_log_failures=False), now=books.now)
    before = rows(books)
    calls.observe(refused(RateLimited("too many")))
    calls = RefusedCalls(books.engine, Options, now=books.now)
    calls.observe(refused(InsufficientQuota("nothing left")))
    held = refused(RateLimited("too many"))
    held.hold = Hold("r", 1, 1, 5, 5)
    calls.observe(held)
    assert rows(books) == before


def test_a_database_that_is_away_fails_no_call(books: Books) -> None:
    calls = RefusedCalls(books.engine, Options, now=books.now)
    with books.engine.begin() as connection:
        Log.__table__.drop(connection)
    try:
        calls.observe(refused(RateLimited("too many")))
    finally:
        with books.engine.begin() as connection:
            Log.__table__.create(connection)
