"""What one transaction of the ledger comes to: operations, and their sums per row. Nothing here touches a database.

A batch is first added up on the assumption that everything is as expected (`assume`). Where a statement then finds
that it is not, the rows are read under lock (`Facts`), and each operation is decided by itself (`decide`): first
settlements, which cannot be refused, then reservations in order of arrival.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from gevent.hub import Waiter

from oneapi.errors import Forbidden, GatewayError, InsufficientQuota, Unauthenticated
from oneapi.relay.exchange import Caller, Hold, LogEntry, Settlement

CONSUMPTION = 2  # the type of log row that says what a user was charged
_ENABLED, _EXPIRED, _EXHAUSTED = 1, 3, 4

Outcome = Hold | GatewayError | None


class Operation:
    """Something the ledger writer is asked for. It is finished whether or not its greenlet still waits for it."""

    __slots__ = ("is_alone", "is_finished", "outcome", "queued_s", "waiter")

    def __init__(self, queued_s: float) -> None:
        self.queued_s = queued_s  # on the monotonic clock
        self.waiter: Waiter[None] = Waiter()
        self.is_finished = False
        self.is_alone = False  # not to be run together with others
        self.outcome: Outcome = None

    def assume(self, sums: Sums) -> None:
        """Adds what this comes to if all is as expected."""
        raise NotImplementedError

    def decide(self, sums: Sums, facts: Facts) -> None:
        """Adds what this comes to, given the rows as they are."""
        raise NotImplementedError


class Reserve(Operation):
    """Take `quota` from a user and his token until the call is settled."""

    __slots__ = ("is_unlimited", "quota", "request_id", "token_id", "user_id")

    def __init__(self, queued_s: float, caller: Caller, quota: int, request_id: str) -> None:
        super().__init__(queued_s)
        self.user_id = caller.user_id
        self.token_id = caller.token_id  # 0: no token, as when an administrator tests a channel
        self.is_unlimited = caller.is_unlimited
        self.quota = quota
        self.request_id = request_id

    def assume(self, sums: Sums) -> None:
        sums.reserve(self, self.is_unlimited)

    def decide(self, sums: Sums, facts: Facts) -> None:
        user, token = facts.users.get(self.user_id), facts.tokens.get(self.token_id)
        if refusal := self._refusal(user, token, facts.now):
            sums.outcomes.append((self, refusal))
            return
        assert user is not None
        user.quota -= self.quota
        if token is None or token.is_unlimited:
            sums.reserve(self, True)
        else:
            token.remain_quota -= self.quota
            sums.reserve(self, False)

    def _refusal(self, user: UserFacts | None, token: TokenFacts | None, now: int) -> GatewayError | None:
        if self.token_id:
            if token is None:
                return Unauthenticated("This token does not exist.")
            if token.status == _EXHAUSTED:
                return Unauthenticated("The quota of this token is used up.")
            if token.status == _EXPIRED or (token.expired_time != -1 and token.expired_time < now):
                return Unauthenticated("This token has expired.")
            if token.status != _ENABLED:
                return Unauthenticated("This token is disabled.")
        if user is None or user.status != _ENABLED:
            return Forbidden("This user is banned or deleted.")
        if user.quota < self.quota:
            return InsufficientQuota(
                f"The user's quota is not enough: this request may cost {self.quota}, {user.quota} is left.",
                code="insufficient_user_quota",
            )
        if token is not None and not token.is_unlimited and token.remain_quota < self.quota:
            return InsufficientQuota(
                f"The token's quota is not enough: this request may cost {self.quota}, {token.remain_quota} is left.",
                code="pre_consume_token_quota_failed",
            )
        return None


class Settle(Operation):
    """Put the whole cost of a call in the place of its hold. `is_spooled`: the spool file has it too."""

    __slots__ = ("hold", "is_spooled", "settlement")

    def __init__(self, queued_s: float, hold: Hold, settlement: Settlement, *, is_spooled: bool = False) -> None:
        super().__init__(queued_s)
        self.hold = hold
        self.settlement = settlement
        self.is_spooled = is_spooled

    def assume(self, sums: Sums) -> None:
        sums.settle(self, was_released=False)

    def decide(self, sums: Sums, facts: Facts) -> None:
        # Taken out of the facts, so that a second settlement of the same hold finds it gone.
        was_released = facts.holds.pop(self.hold.request_id, None)
        if was_released is None:
            sums.outcomes.append((self, None))
            return
        sums.settle(self, was_released=was_released)
        cost, hold = self.settlement.quota, self.hold
        if user := facts.users.get(hold.user_id):
            user.quota += (0 if was_released else hold.user_quota) - cost
        if token := facts.tokens.get(hold.token_id):
            token.remain_quota += (0 if was_released else hold.token_quota) - (0 if token.is_unlimited else cost)


class Renew(Operation):
    """Push the expiry of all live holds of this worker ahead."""

    __slots__ = ()

    def assume(self, sums: Sums) -> None:
        sums.is_renewing = True
        sums.outcomes.append((self, None))

    def decide(self, sums: Sums, facts: Facts) -> None:
        self.assume(sums)


class Count(Operation):
    """Write statistics that were put off."""

    __slots__ = ("statistics",)

    def __init__(self, queued_s: float, statistics: Statistics) -> None:
        super().__init__(queued_s)
        self.statistics = statistics

    def assume(self, sums: Sums) -> None:
        for user_id, (used, requests) in self.statistics.users.items():
            user = sums.users[user_id]
            user.used += used
            user.requests += requests
        for token_id, used in self.statistics.tokens.items():
            sums.tokens[token_id].used += used
        for channel_id, used in self.statistics.channels.items():
            sums.channels[channel_id] += used
        sums.outcomes.append((self, None))

    def decide(self, sums: Sums, facts: Facts) -> None:
        self.assume(sums)


@dataclass(slots=True)
class UserFacts:
    status: int
    quota: int


@dataclass(slots=True)
class TokenFacts:
    status: int
    expired_time: int
    is_unlimited: bool
    remain_quota: int


@dataclass(slots=True)
class Facts:
    """The rows a batch is about, locked until its transaction ends; running balances while it is decided."""

    now: int
    holds: dict[str, bool]  # request id -> whether the orphan job has released it
    users: dict[int, UserFacts]
    tokens: dict[int, TokenFacts]


@dataclass(slots=True)
class UserSum:
    """What becomes of one row of `users`."""

    returned: int = 0  # by settlements: holds less costs; may be negative
    taken: int = 0  # by reservations
    is_reserving: bool = False
    used: int = 0
    requests: int = 0


@dataclass(slots=True)
class TokenSum:
    """What becomes of one row of `tokens`."""

    returned: int = 0  # holds that end
    cost: int = 0  # of settlements; taken off where the token is limited now
    taken: int = 0
    is_reserving: bool = False
    is_unlimited: bool = False  # as the reservations take it to be
    used: int = 0


def _two_zeros() -> list[int]:
    return [0, 0]


@dataclass(slots=True)
class Statistics:
    """Numbers for display that may be written later (BATCH_UPDATE_ENABLED)."""

    users: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(_two_zeros))  # used, requests
    tokens: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    channels: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    def __bool__(self) -> bool:
        return bool(self.users or self.tokens or self.channels)

    def add(self, hold: Hold, settlement: Settlement) -> None:
        cost = settlement.quota
        user = self.users[hold.user_id]
        user[0] += cost
        user[1] += settlement.is_answered
        if hold.token_id:
            self.tokens[hold.token_id] += cost
        if settlement.channel_id:
            self.channels[settlement.channel_id] += cost


class Sums:
    """All that one transaction changes, per row, and what it means for each operation."""

    __slots__ = (
        "channels",
        "ended",
        "holds",
        "is_contradictory",
        "is_deferring",
        "is_renewing",
        "logs",
        "outcomes",
        "tokens",
        "unlogged",
        "users",
    )

    def __init__(self, *, is_deferring: bool) -> None:
        self.is_deferring = is_deferring  # statistics are left out
        self.users: defaultdict[int, UserSum] = defaultdict(UserSum)
        self.tokens: defaultdict[int, TokenSum] = defaultdict(TokenSum)
        self.channels: defaultdict[int, int] = defaultdict(int)
        self.unlogged: defaultdict[int, int] = defaultdict(int)  # charges per user that no log row tells
        self.holds: list[Hold] = []
        self.ended: list[Settle] = []  # whose holds go
        self.logs: list[LogEntry] = []
        self.is_renewing = False
        self.is_contradictory = False  # reservations disagree on whether a token is unlimited
        self.outcomes: list[tuple[Operation, Outcome]] = []

    @classmethod
    def assumed(cls, batch: Sequence[Operation], *, is_deferring: bool) -> Sums:
        sums = cls(is_deferring=is_deferring)
        for operation in batch:
            operation.assume(sums)
        return sums

    @classmethod
    def decided(cls, batch: Sequence[Operation], facts: Facts, *, is_deferring: bool) -> Sums:
        sums = cls(is_deferring=is_deferring)
        users, tokens = set(facts.users), set(facts.tokens)
        for operation in sorted(batch, key=lambda operation: isinstance(operation, Reserve)):
            operation.decide(sums, facts)
        # Who was deleted meanwhile cannot be charged; the others of the same settlement are.
        for user_id in sums.users.keys() - users:
            del sums.users[user_id]
        for token_id in sums.tokens.keys() - tokens:
            del sums.tokens[token_id]
        return sums

    def reserve(self, operation: Reserve, is_unlimited: bool) -> None:
        quota = operation.quota
        user = self.users[operation.user_id]
        user.is_reserving = True
        user.taken += quota
        token_quota = 0 if is_unlimited else quota
        if operation.token_id:
            token = self.tokens[operation.token_id]
            if not token.is_reserving:
                token.is_reserving = True
                token.is_unlimited = is_unlimited
            elif token.is_unlimited != is_unlimited:
                self.is_contradictory = True
            token.taken += token_quota
        hold = Hold(operation.request_id, operation.user_id, operation.token_id, quota, token_quota)
        self.holds.append(hold)
        self.outcomes.append((operation, hold))

    def settle(self, operation: Settle, *, was_released: bool) -> None:
        hold, settlement = operation.hold, operation.settlement
        cost = settlement.quota
        user = self.users[hold.user_id]
        user.returned += -cost if was_released else hold.user_quota - cost
        if hold.token_id:
            token = self.tokens[hold.token_id]
            token.cost += cost
            if not was_released:
                token.returned += hold.token_quota
            if not self.is_deferring:
                token.used += cost
        if not self.is_deferring:
            user.used += cost
            user.requests += settlement.is_answered
            if cost and settlement.channel_id:
                self.channels[settlement.channel_id] += cost
        self.ended.append(operation)
        log = settlement.log
        if log is not None:
            self.logs.append(log)
        if unlogged := cost - (log.quota if log is not None and log.type == CONSUMPTION else 0):
            self.unlogged[hold.user_id] += unlogged
        self.outcomes.append((operation, None))
