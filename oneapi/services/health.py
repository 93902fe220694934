"""Channel health: a breaker per (channel, model), and the switching off of channels whose key or account failed.

Each worker counts for itself; only a change of state is written (with its reason, and a bump of the channels'
revision), so that the other workers and the panel see it. Only failures that the provider is to blame for count, by
`routing.verdict`. What an operator disabled is never touched. docs/architecture.md §6.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from oneapi.errors import GatewayError, UpstreamRejected
from oneapi.options import Options
from oneapi.relay.exchange import Attempt, Directory, Exchange
from oneapi.relay.routing import Blame, verdict

log = logging.getLogger(__name__)

WINDOW_S = 60.0
FAILURES_IN_A_ROW = 5
FAILURES_IN_WINDOW = 10  # with at least half of the window's answers failed
FIRST_REST_S = 15.0
LONGEST_REST_S = 600.0
RATE_REST_S = 10.0
MODEL_REST_S = 300.0
KEY_REST_S = 600.0  # of a key that was refused, in a channel that has others
_OUTCOMES_KEPT = 100
PROBE_S = 60.0  # a probe that has not come back by then is given up

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class _KeyRest:
    """One key of a channel that has several. `is_told`: other workers know of it."""

    until: float
    reason: str
    is_told: bool


@dataclass(slots=True)
class _Breaker:
    """One (channel, model). `until` is 0 while closed; past it, one live request probes."""

    in_a_row: int = 0
    openings: int = 0
    until: float = 0.0
    probing_until: float = 0.0
    reason: str = ""
    is_rate: bool = False
    outcomes: list[tuple[float, bool]] = field(default_factory=list)  # (when, failed) within the window

    def saw(self, now: float, *, has_failed: bool) -> None:
        recent = [seen for seen in self.outcomes if seen[0] > now - WINDOW_S]
        self.outcomes = [*recent[-_OUTCOMES_KEPT:], (now, has_failed)]

    def failures(self) -> int:
        return sum(has_failed for _, has_failed in self.outcomes)


@dataclass(frozen=True, slots=True)
class Change:
    """A breaker that opened or closed; `until` is 0 when it closed.

    With `key_id` it is about one of the channel's keys, for all models, and `model` is empty.
    """

    channel_id: int
    model: str
    reason: str
    failures: int
    until: float
    key_id: str = ""


class Health:
    """`write` stores a change of state, `disable` switches a channel off (status 3); services/channels has both."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        directory: Callable[[], Directory],
        options: Callable[[], Options],
        write: Callable[[Change], None],
        disable: Callable[[int, str], object],
    ) -> None:
        self._now = now
        self._directory = directory
        self._options = options
        self._write = write
        self._disable = disable
        self._breakers: dict[Key, _Breaker] = {}
        self._resting_keys: dict[Key, _KeyRest] = {}  # by (channel, key id), until the key has worked again

    def is_cooling(self, channel_id: int, model: str) -> bool:
        """Whether the pair should be left alone. When its rest is over, one caller gets False, as the probe."""
        breaker = self._breakers.get((channel_id, model))
        if breaker is None or not breaker.until:
            return False
        now = self._now()
        if now < breaker.until or now < breaker.probing_until:
            return True
        breaker.probing_until = now + PROBE_S
        return False

    def is_key_resting(self, channel_id: int, key_id: str) -> bool:
        """Whether this one of a channel's keys was refused, or was told to slow down, a while ago."""
        rest = self._resting_keys.get((channel_id, key_id))
        return rest is not None and rest.until > self._now()

    def observe(self, exchange: Exchange) -> None:
        """Learns from every attempt of a finished exchange."""
        for attempt in exchange.attempts:
            error = attempt.error
            is_last = attempt is exchange.attempts[-1]
            if error is None and is_last:
                error = exchange.error  # what happened after the answer had begun
            self._learn(exchange, attempt, error, has_begun=is_last and exchange.has_begun)

    def adopt(self, changes: Iterable[Change]) -> None:
        """Takes over what other workers wrote; a pair they closed is closed here too."""
        changes = list(changes)
        self._adopt_keys({(change.channel_id, change.key_id): change for change in changes if change.key_id})
        open_now = {(change.channel_id, change.model): change for change in changes if not change.key_id}
        for key, breaker in self._breakers.items():
            if breaker.until and key not in open_now:
                breaker.until, breaker.in_a_row = 0.0, 0
        for key, change in open_now.items():
            breaker = self._breakers.setdefault(key, _Breaker())
            breaker.until, breaker.reason = change.until, change.reason
            breaker.openings = max(breaker.openings, change.failures)

    def _adopt_keys(self, resting: Mapping[Key, Change]) -> None:
        own = {key: rest for key, rest in self._resting_keys.items() if not rest.is_told}
        told = {key: _KeyRest(change.until, change.reason, is_told=True) for key, change in resting.items()}
        self._resting_keys = {**own, **told}

    def _learn(self, exchange: Exchange, attempt: Attempt, error: BaseException | None, *, has_begun: bool) -> None:
        key = (attempt.channel_id, attempt.model)
        if error is None:
            self._key_worked((attempt.channel_id, attempt.key_id))
            self._succeeded(key)
            return
        blame = verdict(error, has_begun=has_begun).blame
        reason = _reason(error)
        if attempt.key_id and blame in ("cool", "disable") and self._rests_alone(attempt, error, blame):
            return
        match blame:
            case "none":
                breaker = self._breakers.get(key)
                if breaker is not None:
                    breaker.probing_until = 0.0  # the probe told nothing: the next request probes
            case "count":
                self._failed(key, reason)
            case "cool":
                retry_after_s = error.retry_after_s if isinstance(error, GatewayError) else None
                if not self._would_rest_half_the_tier(exchange, key):
                    self._open(key, reason, min(retry_after_s or RATE_REST_S, LONGEST_REST_S), is_rate=True)
            case "cool_model":
                self._open(key, reason, MODEL_REST_S)
            case "disable":
                if self._options().automatic_disable_channel_enabled:
                    self._tell(lambda: self._disable(attempt.channel_id, reason))
                else:
                    self._open(key, reason, MODEL_REST_S)

    def _rests_alone(self, attempt: Attempt, error: BaseException, blame: Blame) -> bool:
        """Has one key of a channel rest. False where no other key of the channel is left: then the channel is to blame.

        A key that was refused is told to the other workers and the panel. That one is to slow down, each worker finds
        out for itself: what passes in seconds is not worth a write.
        """
        key, now, reason = (attempt.channel_id, attempt.key_id), self._now(), _reason(error)
        rest_s = KEY_REST_S
        if blame == "cool":
            retry_after_s = error.retry_after_s if isinstance(error, GatewayError) else None
            rest_s = min(retry_after_s or RATE_REST_S, LONGEST_REST_S)
        before = self._resting_keys.get(key)
        was_told = before is not None and before.is_told
        self._resting_keys[key] = rest = _KeyRest(now + rest_s, reason, is_told=was_told or blame == "disable")
        log.warning("key %s of channel %d rests for %d s: %s", attempt.key_id, attempt.channel_id, rest_s, reason)
        channel = self._directory().channel(attempt.channel_id)
        is_left = channel is not None and not all(self.is_key_resting(channel.id, one.id) for one in channel.pool)
        if blame == "disable" and not (was_told and before is not None and before.until > now):
            change = Change(key[0], "", reason=reason, failures=1, until=rest.until, key_id=key[1])
            self._tell(lambda: self._write(change))
        return is_left

    def _key_worked(self, key: Key) -> None:
        """Forgets a rest that is over. What was under way when the key was refused says nothing about it."""
        rest = self._resting_keys.get(key)
        if rest is None or rest.until > self._now():
            return
        del self._resting_keys[key]
        if rest.is_told:
            change = Change(key[0], "", reason="", failures=0, until=0.0, key_id=key[1])
            self._tell(lambda: self._write(change))

    def _succeeded(self, key: Key) -> None:
        breaker = self._breakers.get(key)
        if breaker is None:
            return
        was_open = breaker.until > 0
        breaker.until = breaker.probing_until = 0.0
        breaker.in_a_row = 0
        breaker.saw(self._now(), has_failed=False)
        if not breaker.failures():
            del self._breakers[key]
        if was_open:  # told at last: meanwhile other calls learn
            self._tell(lambda: self._write(Change(*key, reason="", failures=0, until=0.0)))

    def _failed(self, key: Key, reason: str) -> None:
        breaker = self._breakers.setdefault(key, _Breaker())
        breaker.in_a_row += 1
        breaker.saw(self._now(), has_failed=True)
        failures = breaker.failures()
        is_half = failures >= FAILURES_IN_WINDOW and 2 * failures >= len(breaker.outcomes)
        if breaker.until or breaker.in_a_row >= FAILURES_IN_A_ROW or is_half:
            self._open(key, reason, min(FIRST_REST_S * 2**breaker.openings, LONGEST_REST_S))

    def _open(self, key: Key, reason: str, rest_s: float, *, is_rate: bool = False) -> None:
        breaker = self._breakers.setdefault(key, _Breaker())
        now = self._now()
        was_open = breaker.until > now
        breaker.until = max(breaker.until, now + rest_s)
        breaker.probing_until = 0.0
        breaker.reason, breaker.is_rate = reason, is_rate
        if not was_open:
            breaker.openings += 1
            log.warning("channel %d rests for %d s for model %s: %s", key[0], rest_s, key[1], reason)
            change = Change(*key, reason=reason, failures=breaker.openings, until=breaker.until)
            self._tell(lambda: self._write(change))

    def _tell(self, write: Callable[[], object]) -> None:
        """Writes what other workers should know. Where the database is away they find out by themselves: the call that
        was observed here has been answered, and must not fail for it."""
        try:
            write()
        except SQLAlchemyError as error:
            log.warning("The health of a channel could not be written: %s", type(error).__name__)

    def _would_rest_half_the_tier(self, exchange: Exchange, key: Key) -> bool:
        """At most half of a tier rests for rate errors: when all are busy, asking all of them is still best."""
        now = self._now()
        for tier in self._directory().tiers(exchange.caller.group, exchange.model):
            if any(channel.id == key[0] for channel in tier):
                resting = sum(
                    1
                    for channel in tier
                    if channel.id != key[0]
                    and (breaker := self._breakers.get((channel.id, key[1]))) is not None
                    and breaker.is_rate
                    and breaker.until > now
                )
                return resting + 1 > len(tier) // 2
        return False


def _reason(error: BaseException) -> str:
    if isinstance(error, UpstreamRejected):
        return f"HTTP {error.upstream_status}: {error.message}"[:500]
    return f"{type(error).__name__}: {error}"[:500]
