"""The ledger against a model of it: whatever happens in whatever order, the rows are what the model says.

The model is a page of plain arithmetic. Bursts run in many greenlets at once; between them callers are killed,
connections break before or after a commit, workers crash, holds expire, spools fill and are replayed.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import gevent
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from oneapi.errors import Forbidden, GatewayError, InsufficientQuota, Unauthenticated, Unavailable
from oneapi.models import Token
from oneapi.relay.exchange import Hold, Settlement
from oneapi.services import orphans, spool
from oneapi.services.quota import HOLD_S, Ledger
from oneapi.services.verify import verify
from tests.servers import FreshDatabase, sqlite_database
from tests.services.books import PATIENT, Books, Wire, caller, cost, eventually

USERS = (1, 2)
TOKENS = {1: 1, 2: 1, 3: 2, 4: 2}  # token -> user
OPENING = 1000

small = st.integers(0, 400)
tokens = st.sampled_from(sorted(TOKENS))
# Which calls are served depends on who comes first, and what is drawn must not: so holds are picked by a number.
picks = st.integers(0, 10**6)
costs = st.lists(st.tuples(picks, small), min_size=1, max_size=6)


@dataclass
class ModelToken:
    quota: int = 600
    used: int = 0
    is_unlimited: bool = False
    is_enabled: bool = True
    is_there: bool = True


@dataclass
class ModelUser:
    quota: int = OPENING
    used: int = 0
    requests: int = 0
    is_enabled: bool = True


@dataclass
class Model:
    users: dict[int, ModelUser] = field(default_factory=lambda: {user: ModelUser() for user in USERS})
    tokens: dict[int, ModelToken] = field(default_factory=lambda: {token: ModelToken() for token in TOKENS})
    holds: dict[str, tuple[int, int, bool]] = field(default_factory=dict)  # as Books.holds
    charges: int = 0
    charged: int = 0

    def reserve(self, hold: Hold) -> None:
        self.users[hold.user_id].quota -= hold.user_quota
        self.tokens[hold.token_id].quota -= hold.token_quota
        self.holds[hold.request_id] = (hold.user_quota, hold.token_quota, False)

    def settle(self, hold: Hold, quota: int, *, is_answered: bool = True) -> None:
        if hold.request_id not in self.holds:
            return
        user_quota, token_quota, is_released = self.holds.pop(hold.request_id)
        user, token = self.users[hold.user_id], self.tokens[hold.token_id]
        user.quota += (0 if is_released else user_quota) - quota
        user.used += quota
        user.requests += is_answered
        token.quota += (0 if is_released else token_quota) - (0 if token.is_unlimited else quota)
        token.used += quota
        if is_answered:
            self.charges += 1
            self.charged += quota

    def release(self) -> None:
        for request_id, (user_quota, token_quota, is_released) in self.holds.items():
            if not is_released:
                user_id, token_id = OWNERS[request_id]
                self.users[user_id].quota += user_quota
                self.tokens[token_id].quota += token_quota
                self.holds[request_id] = (user_quota, token_quota, True)


OWNERS: dict[str, tuple[int, int]] = {}  # request id -> user, token


class LedgerMachine(RuleBasedStateMachine):
    database: FreshDatabase  # set by the test

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.books = Books(self.database, Path(self.folder.name))
        for user_id in USERS:
            self.books.add_user(user_id, OPENING)
        for token_id, user_id in TOKENS.items():
            self.books.add_token(token_id, user_id, 600)
        self.model = Model()
        self.wire = Wire(self.books)
        self.count = 0
        self.known: list[Hold] = []  # every hold that was ever made
        self.ledger = self.make_ledger()

    def make_ledger(self) -> Ledger:
        return self.books.make_ledger(driver=self.wire.driver(), pace=PATIENT)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.stop()
            self.books.close()
            self.folder.cleanup()

    # ---- calls ----

    @rule(wanted=st.lists(st.tuples(tokens, small, st.booleans()), min_size=1, max_size=12))
    def reserve_at_once(self, wanted):
        """Whoever is refused could not be served; whoever is served could pay."""
        requests = [(self.caller_of(token, is_stale), quota, self.new_id(token)) for token, quota, is_stale in wanted]
        calls = [gevent.spawn(tried, self.ledger.reserve, *request) for request in requests]
        gevent.joinall(calls, raise_error=True)
        made = []
        for (who, _, request_id), call in zip(requests, calls, strict=True):
            if isinstance(call.value, Hold):
                assert call.value.request_id == request_id
                token = self.model.tokens[who.token_id]
                assert token.is_there and token.is_enabled and self.model.users[who.user_id].is_enabled
                assert (call.value.token_quota == 0) == (token.is_unlimited or call.value.user_quota == 0)
                self.model.reserve(call.value)
                made.append(call.value)
        for hold in made:
            assert self.model.users[hold.user_id].quota >= 0
            assert self.model.tokens[hold.token_id].quota >= 0 or hold.token_quota == 0
        for (who, quota, _), call in zip(requests, calls, strict=True):
            token, user = self.model.tokens[who.token_id], self.model.users[who.user_id]
            match call.value:
                case Hold():
                    pass
                case Unauthenticated():
                    assert not token.is_enabled or not token.is_there
                case InsufficientQuota(code="pre_consume_token_quota_failed"):
                    assert token.quota < quota and not token.is_unlimited
                case InsufficientQuota(code="insufficient_user_quota"):
                    assert user.quota < quota
                case Forbidden():
                    assert not user.is_enabled
                case other:
                    raise AssertionError(other)
        self.known += made

    @rule(wanted=st.lists(st.tuples(picks, small, st.booleans()), min_size=1, max_size=8))
    def settle_at_once(self, wanted):
        """The same hold may come several times, with one cost: the first counts."""
        if not self.known:
            return
        holds = [self.pick(number) for number, _, _ in wanted]
        wanted = {hold: rest for hold, (_, *rest) in zip(reversed(holds), reversed(wanted), strict=True)}
        calls = [gevent.spawn(self.ledger.settle, hold, settlement_of(hold, *wanted[hold])) for hold in holds]
        gevent.joinall(calls, raise_error=True)
        for hold, (quota, is_answered) in wanted.items():
            self.model.settle(hold, quota if is_answered else 0, is_answered=is_answered)

    @rule(wanted=st.lists(st.tuples(tokens, small), min_size=1, max_size=6), turns=st.integers(0, 3))
    def kill_who_reserves(self, wanted, turns):
        calls = [
            gevent.spawn(tried, self.ledger.reserve, self.caller_of(token, False), quota, self.new_id(token))
            for token, quota in wanted
        ]
        for _ in range(turns):
            gevent.sleep(0.0005)
        for call in calls:
            call.kill()
            # Who had his hold before the kill keeps it; it is then up to him.
            if isinstance(call.value, Hold):
                self.ledger.settle(call.value, Settlement(quota=0, is_answered=False))

    @rule(wanted=costs)
    def kill_who_settles(self, wanted):
        wanted = self.picked(wanted)
        calls = [
            gevent.spawn(self.ledger.settle, hold, settlement_of(hold, quota, True)) for hold, quota in wanted.items()
        ]
        gevent.sleep(0)
        gevent.killall(calls)
        self.settled(wanted)

    # ---- what others do to the rows ----

    @rule(user=st.sampled_from(USERS), quota=st.integers(-300, 500), kind=st.sampled_from((1, 3, 4)))
    def credit(self, user, quota, kind):
        self.books.credit(user, quota, kind)
        self.model.users[user].quota += quota

    @rule(user=st.sampled_from(USERS))
    def switch_user(self, user):
        model = self.model.users[user]
        model.is_enabled = not model.is_enabled
        self.books.set_user(user, status=1 if model.is_enabled else 2)

    @rule(token=tokens)
    def switch_token(self, token):
        model = self.model.tokens[token]
        model.is_enabled = not model.is_enabled
        self.books.set_token(token, status=1 if model.is_enabled else 2)

    @rule(token=tokens)
    def switch_limit(self, token):
        model = self.model.tokens[token]
        model.is_unlimited = not model.is_unlimited
        self.books.set_token(token, unlimited_quota=model.is_unlimited)

    @rule(token=tokens)
    def delete_token(self, token):
        self.books.drop(Token, token)
        self.model.tokens[token].is_there = False

    # ---- time, and what goes wrong ----

    @rule()
    def expire_and_release(self):
        self.books.time += HOLD_S + 1
        orphans.release(self.books.engine, now=int(self.books.time))
        self.model.release()

    @rule()
    def a_day_passes(self):
        self.expire_and_release()
        self.books.time += orphans.KEPT_S + 1
        orphans.purge(self.books.engine, now=int(self.books.time))
        self.model.holds.clear()

    @rule(wanted=costs)
    def settle_while_away(self, wanted):
        wanted = self.picked(wanted)
        with self.away():
            calls = [
                gevent.spawn(self.ledger.settle, hold, settlement_of(hold, quota, True))
                for hold, quota in wanted.items()
            ]
            gevent.joinall(calls, raise_error=True)
        self.be_back()
        self.settled(wanted)

    @rule(wanted=costs)
    def settle_while_away_and_start_again(self, wanted):
        wanted = self.picked(wanted)
        with self.away():
            for hold, quota in wanted.items():
                gevent.spawn(self.ledger.settle, hold, settlement_of(hold, quota, True))
            gevent.sleep(0)
            self.ledger.stop()
        self.ledger = self.make_ledger()
        self.settled(wanted)

    @rule(
        moment=st.sampled_from(("before_commit", "after_commit")),
        times=st.integers(1, 3),
        reserves=st.lists(st.tuples(tokens, small), max_size=4),
        settles=costs,
    )
    def commits_fail(self, moment, times, reserves, settles):
        """A reservation may be refused then; what is answered holds, and nothing else does."""
        settles = self.picked(settles)
        left = [times]

        def fail():
            if left[0]:
                left[0] -= 1
                raise self.wire.lost()

        setattr(self.wire, moment, fail)
        calls = [
            gevent.spawn(tried, self.ledger.reserve, self.caller_of(token, False), quota, self.new_id(token))
            for token, quota in reserves
        ]
        others = [
            gevent.spawn(self.ledger.settle, hold, settlement_of(hold, quota, True)) for hold, quota in settles.items()
        ]
        gevent.joinall([*calls, *others], raise_error=True)
        setattr(self.wire, moment, lambda: None)
        self.ledger.settle(NOBODYS, Settlement(quota=0, is_answered=False))  # releases are behind us then
        self.settled(settles)
        made = [call.value for call in calls if isinstance(call.value, Hold)]
        for hold in made:
            self.model.reserve(hold)
        self.known += made

    @rule(wanted=st.lists(st.tuples(tokens, small), min_size=1, max_size=6), turns=st.integers(0, 3))
    def the_worker_crashes(self, wanted, turns):
        """Without any goodbye. What its database then holds for nobody is the orphan job's."""
        calls = [
            gevent.spawn(tried, self.ledger.reserve, self.caller_of(token, False), quota, self.new_id(token))
            for token, quota in wanted
        ]
        for _ in range(turns):
            gevent.sleep(0.0005)
        gevent.killall(calls)
        writer = self.ledger._writer
        writer._queue.clear()
        gevent.killall(writer._greenlets)
        if writer._pool is not None:
            writer._pool.join()
        writer._queue.clear()
        writer._store.close()
        writer._spool.close()
        self.ledger = self.make_ledger()
        self.books.time += HOLD_S + 1
        # A commit may be on its way still; whoever wants the same rows waits for it.
        for user_id in USERS:
            self.books.set_user(user_id, display_name="")
        found = {
            request_id: Hold(request_id, *OWNERS[request_id], *row[:2])
            for request_id, row in self.books.holds().items()
            if request_id not in self.model.holds
        }
        for hold in found.values():
            self.model.reserve(hold)
        orphans.release(self.books.engine, now=int(self.books.time))
        self.model.release()
        self.known += found.values()

    # ---- laws ----

    @invariant()
    def rows_are_as_the_model_says(self):
        if not hasattr(self, "ledger"):
            return
        eventually(lambda: spool.find(self.books.spool_dir) == [] or not self.books.spool_dir.exists())
        try:
            eventually(lambda: self.rows() == self.expected(), seconds=2)
        except AssertionError:
            assert self.rows() == self.expected()
            raise
        assert (
            verify(self.books.engine, self.books.log_engine, now=self.books.now, recompute=lambda _: 0).findings == ()
        )

    def rows(self):
        there = [token for token, model in self.model.tokens.items() if model.is_there]
        return (
            {user: self.books.user(user) for user in USERS},
            {token: self.books.token(token) for token in there},
            self.books.holds(),
            self.books.charges(),
        )

    def expected(self):
        return (
            {user: (model.quota, model.used, model.requests) for user, model in self.model.users.items()},
            {token: (model.quota, model.used) for token, model in self.model.tokens.items() if model.is_there},
            self.model.holds,
            (self.model.charges, self.model.charged),
        )

    # ---- tools ----

    def picked(self, wanted):
        """The holds that are meant, each with its cost."""
        return {self.pick(number): quota for number, quota in wanted if self.known}

    def pick(self, number):
        """One of the last holds: most of those before are settled."""
        recent = self.known[-15:]
        return recent[number % len(recent)]

    def settled(self, wanted):
        for hold, quota in wanted.items():
            self.model.settle(hold, quota)

    def caller_of(self, token, is_stale):
        """The caller as a cache has him, which may be wrong about the token's limit."""
        return caller(TOKENS[token], token, is_unlimited=self.model.tokens[token].is_unlimited != is_stale)

    def new_id(self, token):
        self.count += 1
        request_id = f"r{self.count}"
        OWNERS[request_id] = (TOKENS[token], token)
        return request_id

    @contextmanager
    def away(self) -> Iterator[None]:
        def fail(*_):
            raise self.wire.lost()

        writer = self.ledger._writer
        writer._pace = replace(PATIENT, patience_s=0.03)
        self.wire.on_connect = self.wire.on_execute = fail
        yield
        writer._pace = PATIENT
        self.wire.on_connect = self.wire.on_execute = lambda *_: None

    def be_back(self) -> None:
        # The first attempt tells the ledger that the database is back.
        eventually(lambda: not isinstance(tried(self.ledger.reserve, caller(9, 9), 0, "nobody"), Unavailable))


NOBODYS = Hold("nobody", 1, 1, 0, 0)


def settlement_of(hold, quota, is_answered):
    if not is_answered:
        return Settlement(quota=0, is_answered=False)
    return cost(quota, hold.request_id, user_id=hold.user_id)


def tried(call, *arguments):
    try:
        return call(*arguments)
    except GatewayError as error:
        return error


@pytest.mark.parametrize(("name", "examples"), [("sqlite", 30), ("mariadb", 4), ("postgres", 4)])
def test_the_ledger_does_what_its_model_does(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, examples: int
) -> None:
    database = sqlite_database(tmp_path) if name == "sqlite" else request.getfixturevalue(name).fresh()
    machine = type("Machine", (LedgerMachine,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.generate],  # a run takes too long to be repeated until it is short
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
