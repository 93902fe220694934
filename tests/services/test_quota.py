"""The ledger on each kind of database, through its two functions."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent import monkey
from gevent.pool import Group
from sqlalchemy import select

from oneapi.errors import Forbidden, GatewayError, InsufficientQuota, NotFound, Unauthenticated, Unavailable
from oneapi.models import Log, Opening, Token, User
from oneapi.relay.exchange import Hold, LogEntry, Settlement
from oneapi.services import orphans
from oneapi.services.ledger_writer import Pace
from oneapi.services.quota import HOLD_S
from tests.servers import FreshDatabase
from tests.services.books import Books, Wire, caller, cost, eventually


@pytest.fixture
def books(kept_database: FreshDatabase, tmp_path: Path) -> Iterator[Books]:
    books = Books(kept_database, tmp_path)
    yield books
    books.close()


# ---- one call ----


def test_reserves_from_user_and_limited_token_and_settles_the_difference(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=500)
    with books.ledger() as ledger:
        hold = ledger.reserve(limited, 100, "r1")
        assert hold == Hold("r1", 1, 1, 100, 100)
        assert (books.user(), books.token(), books.holds()) == ((900, 0, 0), (400, 0), {"r1": (100, 100, False)})
        ledger.settle(hold, cost(30, "r1"))
    assert (books.user(), books.token(), books.holds()) == ((970, 30, 1), (470, 30), {})
    assert (books.channel(), books.charges()) == (30, (1, 30))


def test_unlimited_token_counts_what_it_used_and_keeps_its_allowance(books: Books) -> None:
    books.add_user(quota=1000)
    unlimited = books.add_token()
    with books.ledger() as ledger:
        hold = ledger.reserve(unlimited, 100, "r1")
        assert hold.token_quota == 0
        ledger.settle(hold, cost(30, "r1"))
    assert (books.user(), books.token()) == ((970, 30, 1), (0, 30))


def test_settles_once_however_often_it_is_called(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=500)
    wire = Wire(books)
    with books.ledger(driver=wire.driver()) as ledger:
        hold = ledger.reserve(limited, 100, "r1")
        callers = Group()
        for _ in range(5):
            callers.spawn(ledger.settle, hold, cost(30, "r1"))
        callers.join(raise_error=True)
        assert wire.commits == 2  # they were one batch, decided by itself
        ledger.settle(hold, cost(30, "r1"))
    assert (books.user(), books.token(), books.channel(), books.charges()) == ((970, 30, 1), (470, 30), 30, (1, 30))


def test_a_cost_above_the_hold_is_taken_below_zero(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(limited, 100, "r1"), cost(250, "r1"))
        with pytest.raises(InsufficientQuota):
            ledger.reserve(limited, 0, "r2")
    assert (books.user(), books.token()) == ((-150, 250, 1), (-150, 250))


def test_a_failure_gives_everything_back_and_is_not_counted(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=500)
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(limited, 100, "r1"), Settlement(quota=0, is_answered=False))
    assert (books.user(), books.token(), books.holds(), books.charges()) == ((1000, 0, 0), (500, 0), {}, (0, 0))


def test_a_free_model_holds_nothing_and_is_counted(books: Books) -> None:
    books.add_user(quota=0)
    limited = books.add_token(quota=0)
    with books.ledger() as ledger:
        hold = ledger.reserve(limited, 0, "r1")
        ledger.settle(hold, cost(0, "r1"))
    assert (books.user(), books.token(), books.charges()) == ((0, 0, 1), (0, 0), (1, 0))


def test_a_call_without_a_token_takes_from_the_user_only(books: Books) -> None:
    books.add_user(quota=100)
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(caller(token_id=0), 50, "r1"), cost(20, "r1"))
    assert books.user() == (80, 20, 1)


def test_the_log_row_keeps_every_field_as_given(books: Books) -> None:
    books.add_user(quota=1000)
    unlimited = books.add_token()
    entry = LogEntry(
        user_id=1,
        created_at=1_700_000_001,
        type=2,
        content="倍率：0.25 × 1.00 × 4.00 'quoted' \"twice\" \\ % %s ? 😀",
        username="用户'; --",
        token_name="a\\b",
        model_name="gpt-4o",
        quota=7,
        prompt_tokens=11,
        completion_tokens=13,
        channel_id=17,
        request_id="r1",
        elapsed_time=1900,
        is_stream=True,
        system_prompt_reset=True,
        token_id=1,
        first_token_ms=230,
        requested_model="gpt-4o-latest",
        receipt='{"quota":7,"text":"it\'s \\"x\\""}',
    )
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(unlimited, 10, "r1"), Settlement(quota=7, channel_id=17, log=entry))
    with books.log_engine.connect() as connection:
        row = connection.execute(select(Log)).one()
    assert {name: getattr(row, name) for name in LogEntry.__slots__} == {
        name: getattr(entry, name) for name in LogEntry.__slots__
    }


def test_text_that_no_column_takes_does_not_stop_a_settlement(books: Books) -> None:
    books.add_user(quota=1000)
    unlimited = books.add_token()
    with books.ledger() as ledger:
        settlement = cost(7, "r1", model_name="m\0\ud800" + "x" * 300, requested_model="\ud800", content="y" * 100_000)
        ledger.settle(ledger.reserve(unlimited, 10, "r1"), settlement)
    with books.log_engine.connect() as connection:
        row = connection.execute(select(Log.model_name, Log.requested_model, Log.content)).one()
    assert row == ("m?" + "x" * 189, "?", "y" * 65535)
    assert books.user() == (993, 7, 1)


# ---- refusals ----


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"status": 2}, Unauthenticated, "invalid_api_key"),
        ({"status": 3}, Unauthenticated, "invalid_api_key"),
        ({"status": 4}, Unauthenticated, "invalid_api_key"),
        ({"expired_time": 1_699_999_999}, Unauthenticated, "invalid_api_key"),
        ({"remain_quota": 9}, InsufficientQuota, "pre_consume_token_quota_failed"),
    ],
)
def test_a_token_that_may_not_spend_is_refused_and_nothing_taken(
    books: Books, change: dict[str, int], error: type[GatewayError], code: str
) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    books.set_token(**change)
    before = books.token()
    with books.ledger() as ledger, pytest.raises(error) as raised:
        ledger.reserve(limited, 10, "r1")
    assert raised.value.code == code
    assert (books.user(), books.token(), books.holds()) == ((100, 0, 0), before, {})


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"status": 2}, Forbidden, "forbidden"),
        ({"status": 3}, Forbidden, "forbidden"),
        ({"quota": 9}, InsufficientQuota, "insufficient_user_quota"),
    ],
)
def test_a_user_who_may_not_spend_is_refused_and_his_token_untouched(
    books: Books, change: dict[str, int], error: type[GatewayError], code: str
) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    books.set_user(**change)
    with books.ledger() as ledger, pytest.raises(error) as raised:
        ledger.reserve(limited, 10, "r1")
    assert raised.value.code == code
    assert (books.token(), books.holds()) == ((100, 0), {})


def test_a_token_is_good_to_the_last_second(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    books.set_token(expired_time=int(books.time))
    with books.ledger() as ledger:
        assert ledger.reserve(limited, 10, "r1").user_quota == 10


def test_deleted_token_and_deleted_user_are_refused(books: Books) -> None:
    books.add_user(quota=100)
    with books.ledger() as ledger:
        with pytest.raises(Unauthenticated):
            ledger.reserve(caller(token_id=77), 10, "r1")
        with pytest.raises(Forbidden):
            ledger.reserve(caller(user_id=77, token_id=0), 10, "r2")


def test_negative_amounts_are_faults_of_the_program(books: Books) -> None:
    books.add_user(quota=100)
    with books.ledger() as ledger:
        with pytest.raises(ValueError, match="no hold"):
            ledger.reserve(caller(), -1, "r1")
        with pytest.raises(ValueError, match="cannot cost"):
            ledger.settle(Hold("r1", 1, 1, 0, 0), Settlement(quota=-1))


def test_columns_that_are_null_count_as_their_defaults(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    books.set_user(used_quota=None, request_count=None)
    books.set_token(expired_time=None, unlimited_quota=None, used_quota=None)
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(limited, 10, "r1"), cost(4, "r1"))
        books.set_user(quota=None)
        with pytest.raises(InsufficientQuota):
            ledger.reserve(limited, 10, "r2")
        ledger.reserve(limited, 0, "r3")
    assert (books.user(), books.token()) == ((0, 4, 1), (96, 4))


# ---- what changes between reservation and settlement ----


@pytest.mark.parametrize(("was_unlimited", "held"), [(True, 100), (False, 0)])
def test_the_hold_follows_what_the_token_is_now_not_what_the_caller_remembers(
    books: Books, was_unlimited: bool, held: int
) -> None:
    books.add_user(quota=1000)
    books.add_token(quota=500)
    books.set_token(unlimited_quota=not was_unlimited)
    with books.ledger() as ledger:
        hold = ledger.reserve(caller(is_unlimited=was_unlimited), 100, "r1")
    assert (hold.token_quota, books.token()) == (held, (500 - held, 0))


def test_callers_of_one_token_may_remember_it_differently(books: Books) -> None:
    books.add_user(quota=1000)
    books.add_token(quota=500)
    with books.ledger() as ledger:
        calls = [gevent.spawn(ledger.reserve, caller(is_unlimited=n % 2 == 0), 10, f"r{n}") for n in range(10)]
        holds = [call.get() for call in calls]
    assert [hold.token_quota for hold in holds] == [10] * 10
    assert books.token() == (400, 0)


@pytest.mark.parametrize(("is_unlimited_then", "remain"), [(True, 500), (False, 470)])
def test_a_limited_token_made_unlimited_gets_its_hold_back_and_the_reverse_pays(
    books: Books, is_unlimited_then: bool, remain: int
) -> None:
    books.add_user(quota=1000)
    books.add_token(quota=500)
    books.set_token(unlimited_quota=not is_unlimited_then)
    with books.ledger() as ledger:
        hold = ledger.reserve(caller(is_unlimited=not is_unlimited_then), 100, "r1")
        books.set_token(unlimited_quota=is_unlimited_then)
        ledger.settle(hold, cost(30, "r1"))
    assert (books.user(), books.token()) == ((970, 30, 1), (remain, 30))


def test_a_deleted_token_does_not_spare_its_user(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=500)
    with books.ledger() as ledger:
        hold = ledger.reserve(limited, 100, "r1")
        books.drop(Token, 1)
        ledger.settle(hold, cost(30, "r1"))
    assert (books.user(), books.channel(), books.charges()) == ((970, 30, 1), 30, (1, 30))


def test_a_deleted_user_does_not_spare_his_token(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=500)
    with books.ledger() as ledger:
        hold = ledger.reserve(limited, 100, "r1")
        books.drop(User, 1)
        ledger.settle(hold, cost(30, "r1"))
    assert (books.token(), books.channel(), books.holds()) == ((470, 30), 30, {})


def test_charges_that_no_log_row_tells_are_kept_in_the_opening(books: Books) -> None:
    books.add_user(quota=1000)
    unlimited = books.add_token()
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(unlimited, 100, "r1"), Settlement(quota=30, channel_id=1))
        ledger.settle(ledger.reserve(unlimited, 100, "r2"), cost(40, "r2"))
    assert books.one(select(Opening.charged)) == (30,)


# ---- many calls ----


def test_no_more_than_the_balance_is_spent_by_300_parallel_calls(books: Books) -> None:
    books.add_user(quota=20)
    limited = books.add_token(quota=1000)
    with books.ledger() as ledger:
        calls = [gevent.spawn(_tried, ledger.reserve, limited, 1, f"r{n}") for n in range(300)]
        outcomes = [call.get() for call in calls]
        holds = [outcome for outcome in outcomes if isinstance(outcome, Hold)]
        assert [hold.request_id for hold in holds] == [f"r{n}" for n in range(20)]
        assert {type(outcome) for outcome in outcomes[20:]} == {InsufficientQuota}
        assert (books.user()[0], books.token()[0]) == (0, 980)
        gevent.joinall([gevent.spawn(ledger.settle, hold, cost(1, hold.request_id)) for hold in holds])
    assert (books.user(), books.token(), books.charges()) == ((0, 20, 20), (980, 20), (20, 20))


def test_two_workers_share_a_balance_without_overspending_it(books: Books) -> None:
    books.add_user(quota=50)
    limited = books.add_token(quota=70)
    with books.ledger(worker="a") as first, books.ledger(worker="b") as second:
        calls = [
            gevent.spawn(_tried, ledger.reserve, limited, 1, f"{name}{n}")
            for n in range(100)
            for name, ledger in (("a", first), ("b", second))
        ]
        outcomes = [call.get() for call in calls]
    assert sum(isinstance(outcome, Hold) for outcome in outcomes) == 50
    assert (books.user()[0], books.token()[0], len(books.holds())) == (0, 20, 50)


def test_workers_that_touch_the_same_rows_in_any_order_all_finish(books: Books) -> None:
    for number in range(1, 9):
        books.add_user(number, quota=10_000)
        books.add_token(number, number, quota=10_000)

    def spend(ledger, name: str, number: int) -> None:  # type: ignore[no-untyped-def]
        for turn in range(6):
            user_id = (number * 5 + turn * 3) % 8 + 1
            request_id = f"{name}-{number}-{turn}"
            hold = ledger.reserve(caller(user_id, user_id, is_unlimited=False), 10, request_id)
            ledger.settle(hold, cost(3, request_id, user_id=user_id))

    with books.ledger(worker="a") as first, books.ledger(worker="b") as second:
        calls = [
            gevent.spawn(spend, ledger, name, number)
            for number in range(16)
            for name, ledger in (("a", first), ("b", second))
        ]
        gevent.joinall(calls, raise_error=True)
    assert sum(books.user(number)[0] for number in range(1, 9)) == 80_000 - 192 * 3
    assert sum(books.token(number)[0] for number in range(1, 9)) == 80_000 - 192 * 3
    assert (books.charges(), books.holds()) == ((192, 576), {})


def test_one_who_is_refused_does_not_cost_the_others_of_his_batch(books: Books) -> None:
    books.add_user(1, quota=100)
    books.add_user(2, quota=100)
    poor = books.add_token(1, 1, quota=15)
    rich = books.add_token(2, 2)
    wire = Wire(books)
    with books.ledger(driver=wire.driver()) as ledger:
        calls = [
            gevent.spawn(_tried, ledger.reserve, poor, 10, "p1"),
            gevent.spawn(_tried, ledger.reserve, rich, 60, "q1"),
            gevent.spawn(_tried, ledger.reserve, poor, 10, "p2"),
            gevent.spawn(_tried, ledger.reserve, rich, 60, "q2"),
            gevent.spawn(_tried, ledger.reserve, poor, 5, "p3"),
            gevent.spawn(_tried, ledger.reserve, rich, 40, "q3"),
        ]
        outcomes = [call.get() for call in calls]
    assert wire.commits == 1
    codes = [outcome.code if isinstance(outcome, GatewayError) else "" for outcome in outcomes]
    assert codes == ["", "", "pre_consume_token_quota_failed", "insufficient_user_quota", "", ""]
    # The part of the user whose token refused came back.
    assert (books.user(1)[0], books.token(1)[0], books.user(2)[0]) == (85, 0, 0)


def test_a_settlement_pays_for_a_reservation_of_the_same_batch(books: Books) -> None:
    books.add_user(quota=100)
    unlimited = books.add_token()
    with books.ledger() as ledger:
        hold = ledger.reserve(unlimited, 100, "r1")
        second = gevent.spawn(ledger.reserve, unlimited, 60, "r2")
        gevent.spawn(ledger.settle, hold, cost(30, "r1"))
        assert second.get().user_quota == 60
    assert books.user() == (10, 30, 1)


def test_a_batch_takes_the_same_few_statements_whatever_its_size(books: Books) -> None:
    for number in range(1, 6):
        books.add_user(number, quota=10_000)
        books.add_token(number, number, quota=10_000)
    wire = Wire(books)
    with books.ledger(driver=wire.driver()) as ledger:
        ledger.settle(ledger.reserve(caller(is_unlimited=False), 10, "r0"), cost(3, "r0"))
        wire.statements.clear()
        wire.commits = 0
        callers = [caller(number % 5 + 1, number % 5 + 1, is_unlimited=False) for number in range(32)]
        holds = _gathered([gevent.spawn(ledger.reserve, callers[n], 10, f"a{n}") for n in range(32)])
        tables = [sql.split(" FROM locked")[0].split(" SET ")[0].split(" (")[0] for sql in wire.statements]
        begin = ["BEGIN IMMEDIATE"] if books.database.kind == "sqlite" else []
        assert wire.commits == 1
        assert len(tables) == len(begin) + 3
        wire.statements.clear()
        gevent.joinall([gevent.spawn(ledger.settle, hold, cost(3, hold.request_id)) for hold in holds])
        assert wire.commits == 2
        assert len(wire.statements) == len(begin) + 5


# ---- whoever waits ----


def test_a_reservation_whose_caller_is_killed_is_taken_back(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    with books.ledger() as ledger:
        calls = [gevent.spawn(ledger.reserve, limited, 10, f"r{n}") for n in range(5)]
        gevent.sleep(0)
        gevent.killall(calls)
        assert all(isinstance(call.value, gevent.GreenletExit) for call in calls)
        eventually(lambda: (books.user(), books.token(), books.holds()) == ((100, 0, 0), (100, 0), {}))


def test_a_reservation_whose_caller_is_killed_after_the_commit_is_taken_back(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    # On SQLite the commit is made in a native thread.
    pause = monkey.get_original("time", "sleep") if books.database.kind == "sqlite" else gevent.sleep
    wire = Wire(books, after_commit=lambda: pause(0.05))
    with books.ledger(driver=wire.driver()) as ledger:
        call = gevent.spawn(ledger.reserve, limited, 10, "r1")
        eventually(lambda: wire.commits == 1)
        call.kill()
        assert isinstance(call.value, gevent.GreenletExit)
        eventually(lambda: (books.user(), books.token(), books.holds()) == ((100, 0, 0), (100, 0), {}))


def test_a_settlement_whose_caller_is_killed_is_made(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    with books.ledger() as ledger:
        hold = ledger.reserve(limited, 10, "r1")
        call = gevent.spawn(ledger.settle, hold, cost(3, "r1"))
        gevent.sleep(0)
        call.kill()
        eventually(lambda: (books.user(), books.token(), books.holds()) == ((97, 3, 1), (97, 3), {}))


def test_a_timeout_of_the_caller_ends_his_wait_only(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    with books.ledger() as ledger:
        hold = ledger.reserve(limited, 10, "r1")
        with gevent.Timeout(0, False):
            ledger.settle(hold, cost(3, "r1"))
        with gevent.Timeout(0, False):
            ledger.reserve(limited, 10, "r2")
        eventually(lambda: (books.user(), books.token(), books.holds()) == ((97, 3, 1), (97, 3), {}))


# ---- holds in time ----


def test_live_holds_are_renewed_and_those_of_the_dead_expire(books: Books) -> None:
    books.add_user(quota=100)
    unlimited = books.add_token()
    with books.ledger(worker="dead") as dead:
        dead.reserve(unlimited, 10, "dead")
    pace = Pace(tick_s=0.01, renew_s=0.05, patience_s=5, pause_s=0.01, replay_s=60)
    with books.ledger(pace=pace) as living:
        living.reserve(unlimited, 20, "living")
        books.time += HOLD_S - 1

        def is_renewed() -> bool:
            return orphans.release(books.engine, now=int(books.time) + 2) >= 0 and books.holds()["dead"][2]

        gevent.sleep(0.2)
        eventually(is_renewed)
    assert books.holds() == {"dead": (10, 0, True), "living": (20, 0, False)}
    assert books.user()[0] == 80


def test_a_late_settlement_of_a_released_hold_takes_the_whole_cost(books: Books) -> None:
    books.add_user(quota=100)
    limited = books.add_token(quota=100)
    with books.ledger() as ledger:
        hold = ledger.reserve(limited, 10, "r1")
        assert orphans.release(books.engine, now=int(books.time) + HOLD_S + 1) == 1
        assert (books.user(), books.token(), books.holds()) == ((100, 0, 0), (100, 0), {"r1": (10, 10, True)})
        assert orphans.release(books.engine, now=int(books.time) + HOLD_S + 1) == 0
        ledger.settle(hold, cost(30, "r1"))
        ledger.settle(hold, cost(30, "r1"))
    assert (books.user(), books.token(), books.holds()) == ((70, 30, 1), (70, 30), {})


def test_released_holds_are_kept_for_a_day(books: Books) -> None:
    books.add_user(quota=100)
    unlimited = books.add_token()
    with books.ledger() as ledger:
        ledger.reserve(unlimited, 10, "r1")
    released_at = int(books.time) + HOLD_S + 1
    orphans.release(books.engine, now=released_at)
    assert orphans.purge(books.engine, now=released_at + 86400) == 0
    assert orphans.purge(books.engine, now=released_at + 86401) == 1
    assert books.holds() == {}


def test_many_orphans_of_many_users_are_released(books: Books) -> None:
    for number in range(1, 4):
        books.add_user(number, quota=1000)
        books.add_token(number, number, quota=1000)
    with books.ledger() as ledger:
        _gathered(
            [
                gevent.spawn(ledger.reserve, caller(n % 3 + 1, n % 3 + 1, is_unlimited=False), 2, f"r{n}")
                for n in range(250)
            ]
        )
    assert orphans.release(books.engine, now=int(books.time) + HOLD_S + 1) == 250
    assert [(books.user(n)[0], books.token(n)[0]) for n in (1, 2, 3)] == [(1000, 1000)] * 3


# ---- start and end ----


def test_a_ledger_that_is_not_started_takes_no_reservation(books: Books) -> None:
    books.add_user(quota=100)
    unlimited = books.add_token()
    ledger = books.make_ledger()
    hold = ledger.reserve(unlimited, 10, "r1")
    ledger.stop()
    with pytest.raises(Unavailable):
        ledger.reserve(unlimited, 10, "r2")
    # What is settled after the end waits on the disk for the next start.
    ledger.settle(hold, cost(4, "r1"))
    assert books.user()[0] == 90
    with books.ledger(worker="next"):
        eventually(lambda: books.user() == (96, 4, 1))
    assert list(books.spool_dir.iterdir()) == []


def test_stopping_finishes_what_is_queued(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    ledger = books.make_ledger()
    holds = _gathered([gevent.spawn(ledger.reserve, limited, 10, f"r{n}") for n in range(20)])
    calls = [gevent.spawn(ledger.settle, hold, cost(3, hold.request_id)) for hold in holds]
    gevent.sleep(0)
    ledger.stop()
    gevent.joinall(calls, raise_error=True)
    assert (books.user(), books.token(), books.holds()) == ((940, 60, 20), (940, 60), {})


def test_put_off_statistics_are_written_at_the_end_and_balances_at_once(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    with books.ledger(pace=Pace(count_s=3600)) as ledger:
        for number in range(3):
            ledger.settle(ledger.reserve(limited, 10, f"r{number}"), cost(3, f"r{number}"))
        assert (books.user(), books.token(), books.channel()) == ((991, 0, 0), (991, 0), 0)
    assert (books.user(), books.token(), books.channel()) == ((991, 9, 3), (991, 9), 9)


def test_put_off_statistics_are_written_when_due(books: Books) -> None:
    books.add_user(quota=1000)
    limited = books.add_token(quota=1000)
    books.add_user(2, quota=1000)
    gone = books.add_token(2, 2)
    with books.ledger(pace=Pace(tick_s=0.01, count_s=0.05)) as ledger:
        ledger.settle(ledger.reserve(limited, 10, "r1"), cost(3, "r1"))
        ledger.settle(ledger.reserve(gone, 10, "r2"), cost(3, "r2", user_id=2))
        books.drop(User, 2)
        books.drop(Token, 2)
        eventually(lambda: (books.user(), books.token(), books.channel()) == ((997, 3, 1), (997, 3), 6))


# ---- credits ----


def test_a_credit_changes_the_balance_and_says_so(books: Books) -> None:
    books.add_user(quota=100)
    books.credit(1, 50)
    books.credit(1, -500, kind=3)
    assert books.user() == (-350, 0, 0)
    with books.log_engine.connect() as connection:
        assert connection.execute(select(Log.type, Log.quota, Log.user_id).order_by(Log.id)).all() == [
            (1, 50, 1),
            (3, -500, 1),
        ]


def test_a_credit_to_nobody_is_refused_and_leaves_no_row(books: Books) -> None:
    with pytest.raises(NotFound):
        books.credit(77, 50)
    with books.log_engine.connect() as connection:
        assert connection.execute(select(Log)).all() == []


def _tried(call, *arguments):  # type: ignore[no-untyped-def]
    """The result, or the error."""
    try:
        return call(*arguments)
    except GatewayError as error:
        return error


def _gathered(calls):  # type: ignore[no-untyped-def]
    gevent.joinall(calls, raise_error=True)
    return [call.value for call in calls]
