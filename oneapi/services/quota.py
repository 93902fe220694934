"""The ledger: quota is reserved before a call and settled after it, to the last unit (architecture.md §3).

`Ledger` is what a worker's requests use; its transactions are group-committed by `ledger_writer`. `credit` is for
everything outside the relay that changes a balance. Nothing else writes `users.quota` or `tokens.remain_quota` of a
row that exists, save an owner's edit of his token's allowance.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gevent
from gevent.event import Event
from sqlalchemy import Connection, Engine, func, update

from oneapi.errors import NotFound, Unavailable
from oneapi.models import User
from oneapi.relay.exchange import Caller, Hold, LogEntry, Settlement
from oneapi.services import logs, outbox, reminders
from oneapi.services.ledger_batch import Reserve, Settle
from oneapi.services.ledger_store import Driver, Store, driver_of
from oneapi.services.ledger_writer import Pace, Writer
from oneapi.services.log_rows import cleaned
from oneapi.services.spool import Entry, Spool

HOLD_S = 120  # a hold expires so long after its worker has last renewed it
_USUAL = Pace()
_MOVE_PAUSE_S = 5.0
_log = logging.getLogger(__name__)


class Ledger:
    """One per worker: made and started in the worker, stopped at its end.

    `worker_id` is what its holds are marked with; it begins with the name that is given, and is never used again.
    `log_engine` is given where logs live in a database of their own. `pace` and `driver` are for tests, save
    `pace.count_s`: how long statistics may be put off (BATCH_UPDATE_ENABLED).
    """

    def __init__(
        self,
        *,
        engine: Engine,
        log_engine: Engine | None = None,
        spool_dir: Path,
        worker_id: str,
        sqlite_busy_timeout_ms: int = 3000,
        now: Callable[[], float] = time.time,
        pace: Pace = _USUAL,
        driver: Driver | None = None,
    ) -> None:
        self._engine = engine
        self._log_engine = log_engine
        self._spool_dir = spool_dir
        # Holds that a dead process left must not be renewed by its successor, whatever its name: so this is unique.
        self.worker_id = f"{worker_id[:50]}:{secrets.token_hex(6)}"
        self._now = now
        self._pace = pace
        self._driver = driver or driver_of(engine, sqlite_busy_timeout_ms)
        self._writer: Writer | None = None
        self._logged = Event()
        self._mover: gevent.Greenlet[[Engine], None] | None = None

    def start(self) -> None:
        self._writer = Writer(
            Store(
                self._driver,
                worker_id=self.worker_id,
                has_outbox=self._log_engine is not None,
                hold_s=HOLD_S,
                is_deferring=self._pace.count_s is not None,
                now=self._now,
            ),
            Spool(self._spool_dir, self.worker_id),
            self._pace,
            is_threaded=self._engine.dialect.name == "sqlite",
            on_log=self._logged.set,
        )
        self._writer.start()
        if self._log_engine is not None:
            self._mover = gevent.spawn(self._move_logs, self._log_engine)

    def stop(self) -> None:
        """Refuses new reservations and returns when everything else is committed, or spooled."""
        if self._writer is not None:
            self._writer.stop()
        if self._mover is not None:
            self._mover.kill()

    def reserve(self, caller: Caller, quota: int, request_id: str) -> Hold:
        """Takes quota from the caller's user and token until the hold is settled.

        Raises InsufficientQuota, Unauthenticated (the token is disabled, expired, used up or gone), Forbidden (the
        user is), and Unavailable when the database is away or this worker is stopping.
        """
        if quota < 0:
            raise ValueError(f"A hold of {quota} is no hold.")
        if self._writer is None or not self._writer.is_accepting:
            raise Unavailable("This node is stopping. Try again.")
        hold = self._writer.perform(Reserve(time.monotonic(), caller, quota, request_id))
        assert isinstance(hold, Hold)
        return hold

    def settle(self, hold: Hold, settlement: Settlement) -> None:
        """Charges the whole cost instead of the hold, once however often it is called.

        Returns when that is durable: committed, or on the disk in the spool when the database is away.
        """
        if settlement.quota < 0:
            raise ValueError(f"A call cannot cost {settlement.quota}.")
        if settlement.log is not None and (log := cleaned(settlement.log)) is not settlement.log:
            settlement = replace(settlement, log=log)
        if self._writer is not None and self._writer.is_writing:
            self._writer.perform(Settle(time.monotonic(), hold, settlement))
        else:
            spool = Spool(self._spool_dir, self.worker_id)
            spool.append([Entry(hold, settlement)])
            spool.close()

    def _move_logs(self, log_engine: Engine) -> None:
        """Moves what was committed; what another worker left behind, a job moves (jobs.py)."""
        while True:
            self._logged.wait()
            self._logged.clear()
            try:
                outbox.move(self._engine, log_engine)
            except Exception:
                _log.exception("Log rows have to wait in the outbox.")
                gevent.sleep(_MOVE_PAUSE_S)
                self._logged.set()


def credit(connection: Connection, *, user_id: int, quota: int, log: LogEntry) -> None:
    """Changes a user's balance by `quota` (negative takes) in the caller's transaction, with the row that says so.

    `log` is of type 1, 3 or 4; its user and its quota are set from the arguments: the sum of these rows is what
    verify proves the balance from. A balance may go below zero.

    Raises NotFound when there is no such user.
    """
    changed = connection.execute(
        update(User).where(User.id == user_id).values(quota=func.coalesce(User.quota, 0) + quota)
    )
    if changed.rowcount != 1:
        raise NotFound(f"User {user_id} does not exist.")
    if quota > 0:
        reminders.rearm(connection, user_id)
    logs.record(connection, replace(log, user_id=user_id, quota=quota))
