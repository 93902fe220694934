"""Channels by their success rate (ENABLE_METRIC): one whose last requests mostly failed is disabled.

Each worker has its own window for each channel, as One API's processes have. A request that succeeds at its first
channel counts for that channel; failures count against the channel that failed, where its provider is to blame
(`routing.verdict`), and unless its key was at fault and the channel is switched off for that already.
Source: spec management.md §9.4.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from oneapi.options import Options
from oneapi.relay.exchange import Exchange
from oneapi.relay.routing import verdict

log = logging.getLogger(__name__)


class SuccessRate:
    """`disable(channel_id, window, rate)` switches a channel off; `threshold` is a share from 0 to 1."""

    def __init__(
        self,
        *,
        window: int,
        threshold: float,
        options: Callable[[], Options],
        disable: Callable[[int, int, float], object],
    ) -> None:
        self._window = window
        self._threshold = threshold
        self._options = options
        self._disable = disable
        self._outcomes: dict[int, deque[bool]] = {}

    def observe(self, exchange: Exchange) -> None:
        """Counts every attempt of a finished exchange."""
        attempts = exchange.attempts
        for attempt in attempts:
            is_last = attempt is attempts[-1]
            error = attempt.error or (exchange.error if is_last else None)
            if error is None:
                if attempt is attempts[0]:
                    self._of(attempt.channel_id).append(True)
            elif self._counts(error, has_begun=is_last and exchange.has_begun):
                self._failed(attempt.channel_id)

    def _counts(self, error: BaseException, *, has_begun: bool) -> bool:
        blame = verdict(error, has_begun=has_begun).blame
        if blame == "disable":
            return not self._options().automatic_disable_channel_enabled
        return blame != "none"

    def _failed(self, channel_id: int) -> None:
        outcomes = self._of(channel_id)
        outcomes.append(False)
        rate = sum(outcomes) / len(outcomes)
        if len(outcomes) == self._window and rate < self._threshold:
            outcomes.clear()
            try:
                self._disable(channel_id, self._window, rate)
            except SQLAlchemyError as error:  # the call that was observed has been answered, and must not fail for it
                log.warning("Channel %d could not be disabled: %s", channel_id, type(error).__name__)

    def _of(self, channel_id: int) -> deque[bool]:
        return self._outcomes.setdefault(channel_id, deque(maxlen=self._window))
