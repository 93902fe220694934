"""Switching channels off and on by what is seen of them, and telling root. Source: spec management.md §9.

A channel that was off already, or that somebody else switched first, is not told of twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine, select

from oneapi.i18n import letters
from oneapi.i18n.letters import Letter
from oneapi.i18n.messages import Language
from oneapi.models import Channel
from oneapi.services import channels
from oneapi.services.notify import Notifier


class Monitor:
    """One per worker. Methods return whether the channel's status changed."""

    def __init__(
        self,
        engine: Engine,
        notifier: Notifier,
        publish: Callable[[], object],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._notifier = notifier
        self._publish = publish  # tells other workers that there is news in the database
        self._now = now

    def disable(self, channel_id: int, reason: str) -> bool:
        """Switches an enabled channel off (status 3)."""

        def write(language: Language) -> Letter:
            name = self._name(channel_id)
            return letters.channel_disabled(language, name=name, channel_id=channel_id, reason=reason)

        return self._disable(channel_id, reason, write)

    def disable_for_rate(self, channel_id: int, window: int, rate: float, threshold: float) -> bool:
        """The same because of too many failures among its last `window` requests."""

        def write(language: Language) -> Letter:
            return letters.channel_disabled_by_rate(
                language,
                name=self._name(channel_id),
                channel_id=channel_id,
                window=window,
                rate=rate,
                threshold=threshold,
            )

        reason = f"success rate {rate:.0%} of the last {window} requests, below {threshold:.0%}"
        return self._disable(channel_id, reason, write)

    def enable(self, channel_id: int) -> bool:
        """Switches on what was switched off automatically; what somebody disabled stays off (D-42)."""
        if not channels.auto_enable(self._engine, channel_id, now=int(self._now())):
            return False

        self._publish()

        def write(language: Language) -> Letter:
            return letters.channel_enabled(language, name=self._name(channel_id), channel_id=channel_id)

        self._notifier.tell_root(f"that channel {channel_id} was enabled", write)
        return True

    def report_slow(self, channel_id: int, seconds: float, limit: float) -> None:
        """Tells root of a channel that is slow and stays on."""

        def write(language: Language) -> Letter:
            name = self._name(channel_id)
            return letters.channel_slow(language, name=name, channel_id=channel_id, seconds=seconds, limit=limit)

        self._notifier.tell_root(f"that channel {channel_id} is slow", write)

    def report_tests(self, *, tested: int, failed: int, disabled: int, enabled: int) -> None:
        """Tells root that a test of all channels has come to its end."""

        def write(language: Language) -> Letter:
            return letters.tests_finished(language, tested=tested, failed=failed, disabled=disabled, enabled=enabled)

        self._notifier.tell_root("that the channels were tested", write)

    def _disable(self, channel_id: int, reason: str, write: Callable[[Language], Letter]) -> bool:
        if not channels.auto_disable(self._engine, channel_id, reason, now=int(self._now())):
            return False
        self._publish()
        self._notifier.tell_root(f"that channel {channel_id} was disabled", write)
        return True

    def _name(self, channel_id: int) -> str:
        with self._engine.connect() as connection:
            return connection.scalar(select(Channel.name).where(Channel.id == channel_id)) or ""
