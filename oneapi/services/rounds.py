"""Rounds: all channels in turn, tested or asked for their balance, and what follows for them.

Source: spec management.md §9.1, §9.2, with D-42 and D-63 mended.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, get_args

import gevent
from sqlalchemy import ColumnElement, Engine, select

from oneapi.database import Databases
from oneapi.models import Channel as ChannelRow
from oneapi.options import Options
from oneapi.relay.exchange import Channel, Ports
from oneapi.relay.routing import verdict
from oneapi.relay.upstream import Upstream
from oneapi.services import balances, runs, testing
from oneapi.services.channels import AUTO_DISABLED, DISABLED, ENABLED, relayed
from oneapi.services.monitor import Monitor
from oneapi.services.refusal import Refusal, invalid_parameter
from oneapi.services.rows import AnyRow
from oneapi.services.runs import Run, RunLost
from oneapi.services.testing import Tested
from oneapi.services.trials import trial_of

Scope = Literal["all", "disabled"]

_LIMITLESS_S = 10_000.0  # One API's reading of a threshold of 0
_RENEW_S = 60.0

log = logging.getLogger(__name__)


class Rounds:
    """One per worker. `begin_` goes on in a greenlet of its own, `run_` returns at the end of the round.

    Both raise Refusal while a round of that kind is under way, wherever that is.
    """

    def __init__(
        self,
        databases: Databases,
        ports: Ports,
        upstream: Upstream,
        monitor: Monitor,
        *,
        prompt: str,
        pause_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._databases = databases
        self._ports = ports
        self._upstream = upstream
        self._monitor = monitor
        self._prompt = prompt
        self._pause_s = pause_s
        self._now = now
        self._greenlets: set[gevent.Greenlet[..., None]] = set()

    def begin_tests(self, scope: str) -> None:
        """Tests all channels, or those that are switched off, and tells root at the end."""
        if scope not in get_args(Scope):
            raise invalid_parameter("scope_unknown")
        is_wanted = ChannelRow.status.in_((DISABLED, AUTO_DISABLED)) if scope == "disabled" else None
        ids = self._ids(is_wanted)
        run = Run(self._databases, "channel tests", scope, len(ids), now=self._now)
        self._spawn(self._test_all, run, ids, False)

    def run_tests(self) -> None:
        """The periodic test of all channels; those that would cost real money each time are left out."""
        ids = self._ids()
        self._test_all(Run(self._databases, "channel tests", "all", len(ids), now=self._now), ids, True)

    def begin_balances(self) -> None:
        """Asks all enabled channels for their balance."""
        ids = self._ids(ChannelRow.status == ENABLED)
        self._spawn(self._ask_all, Run(self._databases, "channel balances", "enabled", len(ids), now=self._now), ids)

    def run_balances(self) -> None:
        ids = self._ids(ChannelRow.status == ENABLED)
        self._ask_all(Run(self._databases, "channel balances", "enabled", len(ids), now=self._now), ids)

    def progress(self) -> dict[str, runs.Progress | None]:
        """How far the rounds have come that are under way."""
        moment = int(self._now())
        return {name: runs.progress(self._databases, name, now=moment) for name in get_args(runs.Name)}

    def stop(self) -> None:
        """Ends the rounds of this worker where they are."""
        gevent.killall(list(self._greenlets))

    # ---- tests ----

    def _test_all(self, run: Run, ids: list[int], is_scheduled: bool) -> None:
        outcomes: Counter[str] = Counter()

        def test_one(row: AnyRow, channel: Channel) -> None:
            trial = trial_of(channel, "")
            if trial is None or (is_scheduled and trial.kind.is_costly):
                return
            tested = testing.test(channel, self._ports, self._prompt)
            outcomes["tested"] += 1
            outcomes["failed"] += not tested.is_ok
            outcomes[self._judge(row, tested)] += 1
            elapsed_ms = round(tested.elapsed_s * 1000)
            testing.record(self._engine, channel, tested, response_time_ms=elapsed_ms, now=int(self._now()))

        self._for_each(run, ids, test_one)
        if not is_scheduled:
            self._monitor.report_tests(
                tested=outcomes["tested"],
                failed=outcomes["failed"],
                disabled=outcomes["disabled"],
                enabled=outcomes["enabled"],
            )

    def _judge(self, row: AnyRow, tested: Tested) -> str:
        """Switches the channel as its test says, and gives what was done: "disabled", "enabled" or "nothing"."""
        options: Options = self._ports.options()
        limit_s = float(options.channel_disable_threshold) or _LIMITLESS_S
        is_slow = tested.is_timed and tested.elapsed_s > limit_s
        may_disable = options.automatic_disable_channel_enabled
        if row.status == ENABLED and is_slow:
            if not may_disable:
                self._monitor.report_slow(row.id, tested.elapsed_s, limit_s)
                return "nothing"
            reason = f"the test took {tested.elapsed_s:.2f} s, more than {limit_s:g} s"
            return "disabled" if self._monitor.disable(row.id, reason) else "nothing"
        if row.status == ENABLED and may_disable and tested.error and verdict(tested.error).blame == "disable":
            return "disabled" if self._monitor.disable(row.id, tested.message) else "nothing"
        may_enable = options.automatic_enable_channel_enabled and row.status == AUTO_DISABLED
        if may_enable and tested.is_ok and not is_slow and self._monitor.enable(row.id):
            return "enabled"
        return "nothing"

    # ---- balances ----

    def _ask_all(self, run: Run, ids: list[int]) -> None:
        def ask_one(row: AnyRow, channel: Channel) -> None:
            if channel.adaptor.balance_requests is None:
                return
            try:
                balance = balances.refresh(self._engine, self._upstream, channel, now=int(self._now()))
            except Refusal as refusal:
                log.info("Channel %d (%s): %s", channel.id, channel.name, refusal)
                return
            if balance <= 0:
                self._monitor.disable(channel.id, f"the balance is used up: {balance:g} {channel.adaptor.balance_unit}")

        self._for_each(run, ids, ask_one)

    # ---- going round ----

    def _for_each(self, run: Run, ids: list[int], visit: Callable[[AnyRow, Channel], None]) -> None:
        try:
            for number, channel_id in enumerate(ids):
                if number:
                    self._pause(run)
                if (row := self._row(channel_id)) is not None:
                    self._visit(row, visit)
                run.advance()
        except RunLost:
            log.error("A round of channels was given up: its lease had ended, and another may be under way.")
        finally:
            run.end()

    def _visit(self, row: AnyRow, visit: Callable[[AnyRow, Channel], None]) -> None:
        try:
            channel = relayed(self._engine, row)
        except Refusal as refusal:
            log.warning("Channel %d (%s) is passed over: %s", row.id, row.name, refusal)
            return
        visit(row, channel)

    def _pause(self, run: Run) -> None:
        left_s = self._pause_s
        while left_s > 0:
            gevent.sleep(min(left_s, _RENEW_S))
            left_s -= _RENEW_S
            run.advance(0)

    def _ids(self, which: ColumnElement[bool] | None = None) -> list[int]:
        query = select(ChannelRow.id).order_by(ChannelRow.id)
        with self._engine.connect() as connection:
            return list(connection.scalars(query if which is None else query.where(which)))

    def _row(self, channel_id: int) -> AnyRow | None:
        """As it is now: a round may take long."""
        with self._engine.connect() as connection:
            return connection.execute(select(ChannelRow).where(ChannelRow.id == channel_id)).first()

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        greenlet = gevent.spawn(work, *arguments)
        self._greenlets.add(greenlet)
        greenlet.link(self._greenlets.discard)

    @property
    def _engine(self) -> Engine:
        return self._databases.main
