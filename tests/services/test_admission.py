"""Limits of tokens and users: who is let in, who is told to wait, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import delete, event, insert

from oneapi.config import Config
from oneapi.errors import RateLimited
from oneapi.limits import Limits, parse_group_limits, parse_limits
from oneapi.models import Hold, TokenBudget
from oneapi.options import Options
from oneapi.relay import ir
from oneapi.relay.exchange import Call, Caller, Exchange
from oneapi.relay.head import Head
from oneapi.services.admission import Admission, TokenUse, period_of, token_use
from tests.servers import FreshDatabase, Redis
from tests.services.books import Books, caller, cost

HEAD = Head(mode="chat", model="m", input_bytes=200)  # estimated at 90 tokens
NOON = 1_700_049_600.0  # Wednesday, 2023-11-15 12:00:00 UTC


@pytest.fixture
def books(kept_database: FreshDatabase, tmp_path: Path) -> Iterator[Books]:
    books = Books(kept_database, tmp_path, time=NOON)
    with books.engine.begin() as connection:
        connection.execute(delete(TokenBudget))
    books.add_user(quota=10_000)
    books.add_token()
    yield books
    books.close()


class Gate:
    """The admission of one worker."""

    def __init__(self, books: Books, worker: str = "worker", options: Options | None = None, **config: Any) -> None:
        self.books = books
        given = options or Options()
        self.admission = Admission(
            books.engine, Config(web_concurrency=1, **config), worker, lambda: given, now=books.now
        )

    def enter(self, who: Caller) -> Any:
        return self.admission.admit(who, HEAD)

    def refuses(self, who: Caller) -> RateLimited:
        with pytest.raises(RateLimited) as caught:
            self.enter(who)
        return caught.value


def limited(scope: str = "token", **limits: Any) -> Caller:
    return replace(caller(), limits={scope: parse_limits(limits)})


def exchange(who: Caller, tokens: int | None) -> Exchange:
    call = Call(
        request_id="r", dialect="openai", mode="chat", method="POST", path="/", query="", headers={}, client_ip="",
        received_at=0, received_s=0,
    )  # fmt: skip
    usage = None if tokens is None else ir.Usage(input_tokens=tokens, output_tokens=0)
    return Exchange(call=call, caller=who, usage=usage, has_begun=tokens is not None)


# ---- without limits ----


def test_who_has_no_limits_is_let_in_without_a_query(books: Books) -> None:
    gate = Gate(books)
    statements: list[str] = []
    event.listen(books.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert gate.enter(caller()) is None
    assert statements == []


# ---- requests a minute ----


@pytest.mark.parametrize("scope", ["token", "user"])
def test_one_request_too_many_is_told_which_limit_how_much_and_when(books: Books, scope: str) -> None:
    gate, who = Gate(books), limited(scope, requests_per_minute=2)
    gate.enter(who)
    gate.enter(who)
    error = gate.refuses(who)
    assert f"The {scope} {'token1' if scope == 'token' else 'user1'} " in error.message
    assert "2 of 2 requests per minute are used" in error.message
    assert error.retry_after_s is not None and 1 <= error.retry_after_s <= 60
    assert f"in {error.retry_after_s} s" in error.message
    gate.enter(replace(who, token_id=2, user_id=2))


def test_workers_without_redis_count_a_share_each(books: Books) -> None:
    gate = Gate(books)
    gate.admission = Admission(books.engine, Config(web_concurrency=2), "worker", Options, now=books.now)
    who = limited(requests_per_minute=4)
    gate.enter(who)
    gate.enter(who)
    gate.refuses(who)


def test_workers_with_redis_count_together_and_memory_counts_while_it_is_away(
    books: Books, redis_server: Redis
) -> None:
    redis_server.flush()
    one, other = (Gate(books, name, redis_conn_string=redis_server.url) for name in ("one", "other"))
    who = limited(requests_per_minute=3, tokens_per_minute=100_000)
    one.enter(who)
    other.enter(who)
    one.enter(who)
    other.refuses(who)
    redis_server.stop()
    try:
        for _ in range(3):
            other.enter(who)
        other.refuses(who)
    finally:
        redis_server.start()


def test_a_groups_limits_are_for_each_of_its_users_unless_his_own_say_otherwise(books: Books) -> None:
    options = Options(ext_group_limits=parse_group_limits('{"default": {"requests_per_minute": 1}}'))
    gate = Gate(books, options=options)
    gate.enter(caller())
    gate.refuses(caller())
    gate.enter(caller(user_id=2))
    own = replace(limited("user", requests_per_minute=2), user_id=3)
    gate.enter(own)
    gate.enter(own)
    gate.refuses(own)
    gate.enter(replace(caller(), group="vip"))


# ---- language tokens a minute ----


def test_language_tokens_are_counted_as_the_provider_says(books: Books) -> None:
    gate, who = Gate(books), limited(tokens_per_minute=100)
    gate.enter(who)(exchange(who, 40))
    gate.enter(who)(exchange(who, 60))
    error = gate.refuses(who)
    assert "100 of 100 tokens per minute" in error.message
    assert error.retry_after_s == 60
    books.time += 60
    gate.enter(who)


def test_what_runs_counts_by_its_estimate_and_what_failed_not_at_all(books: Books) -> None:
    gate, who = Gate(books), limited(tokens_per_minute=90)
    release = gate.enter(who)
    gate.refuses(who)
    release(exchange(who, None))
    gate.enter(who)


# ---- calls at once ----


def test_calls_at_once_are_counted_in_this_worker_and_in_others(books: Books) -> None:
    gate, who = Gate(books), limited(concurrency=2)
    with books.ledger(worker="elsewhere") as ledger:
        hold = ledger.reserve(who, 10, "elsewhere-1")
        release = gate.enter(who)
        error = gate.refuses(who)
        assert "2 of 2 calls at once" in error.message
        assert error.retry_after_s == 1
        release(exchange(who, 1))
        release = gate.enter(who)
        ledger.settle(hold, cost(1, "elsewhere-1"))
        gate.enter(who)
        gate.refuses(who)


def test_a_workers_own_calls_are_counted_once(books: Books) -> None:
    with books.ledger() as ledger:
        gate, who = Gate(books, ledger.worker_id), limited(concurrency=2)
        for name in ("r1", "r2"):
            gate.enter(who)
            ledger.reserve(who, 10, name)
        assert "2 of 2 calls at once" in gate.refuses(who).message


def test_calls_that_come_at_the_same_moment_cannot_overlook_each_other(books: Books) -> None:
    gate, who = Gate(books), limited("user", concurrency=3)

    def call() -> bool:
        try:
            gate.enter(who)
        except RateLimited:
            return False
        return True

    calls = [gevent.spawn(call) for _ in range(20)]
    gevent.joinall(calls)
    assert sum(bool(one.value) for one in calls) <= 3


def test_a_killed_workers_calls_count_until_they_are_released(books: Books) -> None:
    gate, who = Gate(books), limited(concurrency=1)
    values = {"request_id": "x", "user_id": 1, "token_id": 1, "user_quota": 1, "token_quota": 0, "worker": "gone"}
    with books.engine.begin() as connection:
        connection.execute(insert(Hold).values(created_at=0, expires_at=0, **values))
    gate.refuses(who)
    with books.engine.begin() as connection:
        connection.execute(Hold.__table__.update().values(released_at=1))
    gate.enter(who)


# ---- budgets ----


def budgeted(period: str, quota: int) -> Caller:
    return limited(budget={"period": period, "quota": quota})


@pytest.mark.parametrize(("period", "rest_s"), [("day", 43_200), ("week", 388_800), ("month", 1_339_200)])
def test_a_budget_ends_and_begins_again_with_the_next_period(books: Books, period: str, rest_s: int) -> None:
    gate, who = Gate(books), budgeted(period, 100)
    books.set_token(used_quota=5000)
    gate.enter(who)
    books.set_token(used_quota=5099)
    gate.enter(who)
    books.set_token(used_quota=5100)
    error = gate.refuses(who)
    assert f"100 of 100 quota per {period}" in error.message
    assert error.retry_after_s == rest_s
    books.time += rest_s
    gate.enter(who)
    books.set_token(used_quota=5200)
    gate.refuses(who)


def test_what_is_held_counts_towards_a_budget(books: Books) -> None:
    gate, who = Gate(books), budgeted("day", 100)
    gate.enter(who)
    with books.ledger() as ledger:
        hold = ledger.reserve(who, 100, "r1")
        gate.refuses(who)
        ledger.settle(hold, cost(99, "r1", token_id=1))
    gate.enter(who)


def test_what_a_token_uses_is_told_as_it_is_counted(books: Books) -> None:
    gate, who = Gate(books), budgeted("day", 9)
    limits = parse_limits({"budget": {"period": "day", "quota": 9}})
    books.set_token(used_quota=5000)
    midnight = int(NOON) + 43_200
    assert token_use(books.engine, 1, limits, NOON) == TokenUse(running=0, spent=0, resets_at=midnight)
    gate.enter(who)
    books.set_token(used_quota=5003)
    with books.ledger() as ledger:
        hold = ledger.reserve(who, 4, "r1")
        assert token_use(books.engine, 1, limits, NOON) == TokenUse(running=1, spent=7, resets_at=midnight)
        assert token_use(books.engine, 1, Limits(), NOON) == TokenUse(running=1)
        ledger.settle(hold, cost(0, "r1", token_id=1))
    assert token_use(books.engine, 1, limits, NOON + 86_400).spent == 0


def test_another_period_begins_at_once(books: Books) -> None:
    gate = Gate(books)
    gate.enter(budgeted("day", 100))
    books.set_token(used_quota=100)
    gate.refuses(budgeted("day", 100))
    gate.enter(budgeted("month", 100))


def test_workers_that_begin_a_period_together_agree(books: Books) -> None:
    gate, who = Gate(books), budgeted("day", 100)
    calls = [gevent.spawn(gate.enter, who) for _ in range(8)]
    gevent.joinall(calls, raise_error=True)
    books.set_token(used_quota=100)
    gate.refuses(who)


def test_periods_begin_at_midnight_on_monday_and_on_the_first() -> None:
    def text(period: Any, moment: float) -> list[str]:
        return [datetime.fromtimestamp(edge, UTC).isoformat()[:16] for edge in period_of(period, moment)]

    assert text("day", NOON) == ["2023-11-15T00:00", "2023-11-16T00:00"]
    assert text("week", NOON) == ["2023-11-13T00:00", "2023-11-20T00:00"]
    assert text("month", NOON) == ["2023-11-01T00:00", "2023-12-01T00:00"]
    assert text("month", NOON + 31 * 86400) == ["2023-12-01T00:00", "2024-01-01T00:00"]


# ---- what may be said ----


@pytest.mark.parametrize(
    "value",
    [
        {"requests_per_minute": -1},
        {"requests_per_minute": "many"},
        {"speed": 1},
        {"budget": {"period": "year", "quota": 1}},
        {"budget": {"period": "day"}},
        [],
    ],
)
def test_limits_that_make_no_sense_are_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        parse_limits(value)


def test_zero_and_null_limit_nothing() -> None:
    assert parse_limits({"concurrency": 0, "budget": {"period": "day", "quota": 0}}) == Limits()
    assert parse_limits({"concurrency": None, "budget": None}) == Limits()


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', '{"a": {"budget": {"period": "day", "quota": 1}}}'])
def test_group_limits_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_group_limits(text)
