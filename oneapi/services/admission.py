"""Who may make one more call now: limits of tokens and users, counted before anything is reserved.

Requests and language tokens per minute are counted by `limits`, in the Redis that all workers share; without Redis each
worker counts its share in memory, and so it does for a while when Redis does not answer: never is nobody counting.
Calls at once and budgets are read from what the ledger keeps anyway, open holds and a token's used quota, so that they
survive restarts, hold across nodes, and nothing leaks when a worker is killed. A caller without limits costs a look
into a dict; one with requests per minute a round trip to Redis; one with calls at once or a budget a query.

What runs in the moment a limit is reached is not ended: tokens per minute and a budget may be overrun by it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter
from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from oneapi.config import Config
from oneapi.database import run_write, told_when_away
from oneapi.errors import RateLimited
from oneapi.limits import NO_LIMITS, Limits, Period
from oneapi.models import Hold, Token, TokenBudget
from oneapi.options import Options
from oneapi.relay.exchange import Caller, Exchange
from oneapi.relay.head import Head
from oneapi.relay.tokencount import estimate_tokens
from oneapi.services.cache import limits_storage

log = logging.getLogger(__name__)

MINUTE_S = 60
REDIS_REST_S = 10.0  # how long memory counts after Redis has not answered

Release = Callable[[Exchange], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Subject:
    """Whose limits these are. `key` names him to the counters, `name` to the client."""

    kind: str  # "token" or "user"
    id: int
    name: str
    limits: Limits

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.id}"

    def refusal(self, what: str, used: int, most: int, wait_s: float) -> RateLimited:
        wait = max(1, math.ceil(wait_s))
        return RateLimited(
            f"The {self.kind} {self.name} has reached a limit: {used} of {most} {what} are used. "
            f"Try again in {wait} s.",
            retry_after_s=wait,
        )


class Admission:
    """The port `admit`. `worker_id` is the one the ledger marks this worker's holds with."""

    def __init__(
        self,
        engine: Engine,
        config: Config,
        worker_id: str,
        options: Callable[[], Options],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._options = options
        self._now = now
        self._counters = _Counters(config, now)
        self._running: dict[str, int] = {}  # this worker's calls by subject

    def admit(self, caller: Caller, head: Head) -> Release | None:
        """Counts the call in, and returns what counts it out; None where the caller has no limits.

        Raises RateLimited, which says which limit, how much of it is used, and when to try again.
        """
        of_group = self._options().ext_group_limits.get(caller.group)
        if of_group is None and not caller.limits:
            return None
        subjects = tuple(_subjects(caller, of_group or NO_LIMITS))
        limited = [subject.key for subject in subjects if subject.limits.concurrency]
        # Counted before anything is asked for: while the database answers, other calls come in.
        for key in limited:
            self._running[key] = self._running.get(key, 0) + 1
        try:
            tokens = self._check(subjects, estimate_tokens(head.input_bytes))
        except BaseException:
            self._leave(limited)
            raise
        minute = int(self._now()) // MINUTE_S

        def release(exchange: Exchange) -> None:
            self._leave(limited)
            difference = _used_tokens(exchange, tokens) - tokens
            for subject in subjects:
                if subject.limits.tokens_per_minute:
                    self._counters.add_tokens(subject.key, minute, difference)

        return release

    def _check(self, subjects: tuple[_Subject, ...], tokens: int) -> int:
        for subject in subjects:
            if subject.limits.concurrency:
                self._check_concurrency(subject)
            if subject.limits.budget is not None:
                self._check_budget(subject)
        minute, second = divmod(int(self._now()), MINUTE_S)
        for subject in subjects:
            if most := subject.limits.tokens_per_minute:
                used, share = self._counters.tokens(subject.key, minute, most)
                if used >= share:
                    raise subject.refusal("tokens per minute", used, share, MINUTE_S - second)
        for subject in subjects:
            if most := subject.limits.requests_per_minute:
                wait_s, share = self._counters.hit(subject.key, most)
                if wait_s is not None:
                    raise subject.refusal("requests per minute", share, share, wait_s)
        for subject in subjects:
            if subject.limits.tokens_per_minute:
                self._counters.add_tokens(subject.key, minute, tokens)
        return tokens

    def _check_concurrency(self, subject: _Subject) -> None:
        column = Hold.token_id if subject.kind == "token" else Hold.user_id
        query = select(func.count()).where(
            column == subject.id, Hold.worker != self._worker_id, Hold.released_at.is_(None)
        )
        with self._reading() as connection:
            elsewhere = int(connection.execute(query).scalar_one())
        others = elsewhere + self._running[subject.key] - 1
        if others >= subject.limits.concurrency:
            raise subject.refusal("calls at once", others, subject.limits.concurrency, 1)

    def _check_budget(self, subject: _Subject) -> None:
        budget = subject.limits.budget
        assert budget is not None
        now = self._now()
        start, end = period_of(budget.period, now)
        with self._reading() as connection:
            found = _spending(connection, subject.id, budget.period, start)
        if found is None:
            return  # deleted meanwhile: the ledger says so
        used, before, held = found
        if before is None:
            before = self._begin_period(subject.id, budget.period, start, used)
        spent = used - before + held
        if spent >= budget.quota:
            raise subject.refusal(f"quota per {budget.period}", spent, budget.quota, end - now)

    def _begin_period(self, token_id: int, period: Period, start: int, used: int) -> int:
        """Notes what the token had used when its period began, once; what it had used is returned."""
        values = {"period": period, "start": start, "used": used}
        is_older = (TokenBudget.period != period) | (TokenBudget.start < start)

        def renew(connection: Connection) -> int:
            of_token = TokenBudget.token_id == token_id
            if not connection.execute(update(TokenBudget).where(of_token, is_older).values(values)).rowcount:
                found = connection.execute(select(TokenBudget.used).where(of_token)).scalar()
                if found is not None:
                    return int(found)
                connection.execute(insert(TokenBudget).values(token_id=token_id, **values))
            return used

        with told_when_away():
            try:
                return run_write(self._engine, renew)
            except IntegrityError:  # another worker was first
                return run_write(self._engine, renew)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with told_when_away(), self._engine.connect() as connection:
            yield connection

    def _leave(self, keys: list[str]) -> None:
        for key in keys:
            left = self._running[key] - 1
            if left:
                self._running[key] = left
            else:
                del self._running[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUse:
    """What a token uses of its limits: calls that run, and what was spent in the period of its budget, which ends at
    `resets_at`; 0 where it has none."""

    running: int
    spent: int = 0
    resets_at: int = 0


def token_use(engine: Engine, token_id: int, limits: Limits, now: float) -> TokenUse:
    """For people to see. What is counted by the minute is gone before it is read, and not among it."""
    query = select(func.count()).where(Hold.token_id == token_id, Hold.released_at.is_(None))
    with engine.connect() as connection:
        running = int(connection.execute(query).scalar_one())
        if limits.budget is None:
            return TokenUse(running=running)
        start, end = period_of(limits.budget.period, now)
        used, before, held = _spending(connection, token_id, limits.budget.period, start) or (0, 0, 0)
    return TokenUse(running=running, spent=(0 if before is None else used - before) + held, resets_at=end)


def _spending(connection: Connection, token_id: int, period: Period, start: int) -> tuple[int, int | None, int] | None:
    """What a token has used, what of that before the period (None: the period has not begun for it), and what is held.

    None where there is no such token.
    """
    held = select(func.coalesce(func.sum(Hold.user_quota), 0)).where(
        Hold.token_id == token_id, Hold.released_at.is_(None)
    )
    query = (
        select(Token.used_quota, TokenBudget.period, TokenBudget.start, TokenBudget.used, held.scalar_subquery())
        .outerjoin(TokenBudget, TokenBudget.token_id == Token.id)
        .where(Token.id == token_id)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    used, of_period, since, before, in_flight = row
    return int(used or 0), before if (of_period, since) == (period, start) else None, int(in_flight)


def period_of(period: Period, now: float) -> tuple[int, int]:
    """When the period that it is in began and ends, in Unix seconds."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            begin, end = day, day + timedelta(days=1)
        case "week":
            begin = day - timedelta(days=day.weekday())
            end = begin + timedelta(days=7)
        case "month":
            begin = day.replace(day=1)
            end = (begin + timedelta(days=31)).replace(day=1)
    return int(begin.timestamp()), int(end.timestamp())


def _subjects(caller: Caller, of_group: Limits) -> Iterator[_Subject]:
    own: Limits = caller.limits.get("user", NO_LIMITS)
    if (limits := own.over(of_group)) != NO_LIMITS:
        yield _Subject("user", caller.user_id, caller.username, limits)
    if "token" in caller.limits:
        yield _Subject("token", caller.token_id, caller.token_name, caller.limits["token"])


def _used_tokens(exchange: Exchange, estimated: int) -> int:
    """What the call used as the provider says; the estimate where it was answered and nobody says."""
    if not exchange.has_begun:
        return 0
    usage = exchange.usage
    return estimated if usage is None else usage.input_tokens + usage.output_tokens


class _Counters:
    """Counts per minute, in the configured storage, or in memory while that does not answer."""

    def __init__(self, config: Config, now: Callable[[], float]) -> None:
        uri, options = limits_storage(config)
        self._now = now
        self._workers = max(1, config.web_concurrency)
        self._memory = MemoryStorage()
        self._shared: Any = None if uri == "memory://" else storage_from_string(uri, wrap_exceptions=True, **options)
        self._away_until = 0.0

    def hit(self, key: str, most: int) -> tuple[float | None, int]:
        """Counts one request. None, or in how many seconds one more fits; and this storage's part of the limit."""

        def count(storage: Any, share: int) -> tuple[float | None, int]:
            window = SlidingWindowCounterRateLimiter(storage)
            item = RateLimitItemPerMinute(share)
            if window.hit(item, "oneapi", key):
                return None, share
            return window.get_window_stats(item, "oneapi", key).reset_time - time.time(), share

        return self._counted(count, most)

    def tokens(self, key: str, minute: int, most: int) -> tuple[int, int]:
        """Language tokens counted in that minute, and this storage's part of the limit."""
        return self._counted(lambda storage, share: (int(storage.get(_minute_key(key, minute)) or 0), share), most)

    def add_tokens(self, key: str, minute: int, count: int) -> None:
        """Counts language tokens; fewer than none take back what an estimate had too many."""
        if count:
            self._counted(lambda storage, _: storage.incr(_minute_key(key, minute), 2 * MINUTE_S, amount=count), 0)

    def _counted(self, count: Callable[[Any, int], T], most: int) -> T:
        if self._shared is not None and self._now() >= self._away_until:
            try:
                return count(self._shared, most)
            except StorageError as error:
                self._away_until = self._now() + REDIS_REST_S
                told = type(error.__cause__ or error).__name__
                log.warning("Redis does not answer (%s): each worker counts its share.", told)
        return count(self._memory, max(1, most // self._workers))


def _minute_key(key: str, minute: int) -> str:
    return f"oneapi/tokens/{key}/{minute}"
