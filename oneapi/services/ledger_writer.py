"""The ledger writer: one greenlet per worker that takes whatever is queued and commits it as one transaction.

Beside it run a clock (renewing holds, spooling what waits too long) and the replay of spool files. Everything here
happens on the event loop of the worker; only SQLite's commits, and its waits for other writers, run in a thread.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar, cast

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from oneapi.errors import GatewayError, Unavailable
from oneapi.relay.exchange import Hold, Settlement
from oneapi.services.ledger_batch import Count, Operation, Outcome, Renew, Reserve, Settle, Statistics, Sums
from oneapi.services.ledger_store import Away, Store
from oneapi.services.log_rows import plain
from oneapi.services.spool import Entry, Spool, SpoolFile

_log = logging.getLogger(__name__)
_RELEASE = Settlement(quota=0, is_answered=False)
_LARGEST_BATCH = 256
_SWITCH_S = 0.0005

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take, in seconds."""

    tick_s: float = 0.5
    renew_s: float = 30
    patience_s: float = 5  # then a settlement is spooled and a reservation refused
    pause_s: float = 0.25  # between attempts while the database is away
    replay_s: float = 15
    count_s: float | None = None  # how long statistics may be put off; None: not at all


class Writer:
    def __init__(
        self, store: Store, spool: Spool, pace: Pace, *, is_threaded: bool, on_log: Callable[[], object]
    ) -> None:
        self._store = store
        self._spool = spool
        self._pace = pace
        self._is_threaded = is_threaded
        self._on_log = on_log  # log rows were committed
        self._queue: deque[Operation] = deque()
        self._at_work: Sequence[Operation] = ()
        self._put_off = Statistics()
        self._news = Event()
        self.is_accepting = False  # of reservations
        self._is_away = False
        self._has_returned = Event()  # the database, after it was away
        self._greenlets: list[gevent.Greenlet[[], None]] = []
        self._pool: ThreadPool | None = None

    # ---- for requests ----

    def perform(self, operation: Operation) -> Outcome:
        """Queues the operation and waits until it is finished; raises the error it ended with.

        A reservation whose greenlet is killed while it waits is taken back, whenever it is made; a settlement is made.
        """
        self.submit(operation)
        try:
            operation.waiter.get()
        except BaseException:
            if isinstance(operation, Reserve):
                self._abandon(operation)
            raise
        if isinstance(operation.outcome, GatewayError):
            raise operation.outcome
        return operation.outcome

    def submit(self, operation: Operation) -> None:
        self._queue.append(operation)
        if not self._news.is_set():
            self._news.set()

    @property
    def is_writing(self) -> bool:
        """Whether operations that are queued will be finished."""
        return bool(self._greenlets)

    # ---- for the worker's start and end ----

    def start(self) -> None:
        self.is_accepting = True
        if self._is_threaded:
            # A pool of its own: the shared one may be full of tokenising.
            self._pool = ThreadPool(1)
            self._store.wait = self._in_thread
            # A commit's end waits for the interpreter's lock at the most so long (5 ms by default).
            sys.setswitchinterval(_SWITCH_S)
        self._greenlets = [gevent.spawn(loop) for loop in (self._write, self._watch, self._replay)]

    def stop(self) -> None:
        """Returns when everything is committed or spooled; new reservations are refused from the beginning."""
        self.is_accepting = False
        deadline = time.monotonic() + self._pace.patience_s
        self._drain(deadline)
        self._write_statistics()
        self._drain(deadline)
        greenlets, self._greenlets = self._greenlets, []
        gevent.killall(greenlets)
        self._give_up([*self._at_work, *self._queue])
        if self._pool is not None:
            # The thread may be waiting for a file that somebody else has locked.
            with gevent.Timeout(self._pace.patience_s, False):  # type: ignore[arg-type]  # documented: ends the block
                self._pool.join()
                self._pool.kill()
        self._store.close()
        self._spool.close()

    def _drain(self, deadline: float) -> None:
        while (self._queue or self._at_work) and time.monotonic() < deadline:
            gevent.sleep(0.002)

    # ---- writing ----

    def _write(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            while self._queue:
                self._at_work = self._take()
                if self._at_work:
                    self._commit(self._at_work)
                self._at_work = ()
                if self._is_away:
                    gevent.sleep(self._pace.pause_s)

    def _take(self) -> list[Operation]:
        batch: list[Operation] = []
        queue = self._queue
        while queue and len(batch) < _LARGEST_BATCH:
            if batch and (batch[-1].is_alone or queue[0].is_alone):
                break
            operation = queue.popleft()
            if not operation.is_finished:
                batch.append(operation)
        return batch

    def _commit(self, batch: Sequence[Operation]) -> None:
        try:
            sums = self._store.run(batch)
        except Away as error:
            if not self._is_away:
                _log.warning("The ledger cannot write to the database: %s", error)
            self._is_away = True
            self._postpone(batch, error)
        except Exception as error:
            self._isolate(batch, error)
        else:
            if self._is_away:
                _log.warning("The ledger can write to the database again.")
                self._is_away = False
                self._has_returned.set()
            self._tell(sums)

    def _in_thread(self, work: Callable[[], T]) -> T:
        assert self._pool is not None
        result, error = self._pool.apply(_caught, (work,))
        if error is not None:
            raise error
        return cast(T, result)

    def _tell(self, sums: Sums) -> None:
        for operation, outcome in sums.outcomes:
            if isinstance(outcome, Hold) and operation.is_finished:
                self._release(outcome)  # nobody waits for it any more
            else:
                self._finish(operation, outcome)
        if self._pace.count_s is not None:
            for settle in sums.ended:
                self._put_off.add(settle.hold, settle.settlement)
        if sums.logs:
            self._on_log()

    def _postpone(self, batch: Sequence[Operation], error: Away) -> None:
        """The database is away: reservations are refused, everything else is tried again."""
        for hold in error.holds:
            self._release(hold)  # should it have been made after all
        kept: list[Operation] = []
        for operation in batch:
            match operation:
                case Reserve() | Settle(is_spooled=True):
                    self._finish(operation, Unavailable("The database cannot be reached. Try again in a few seconds."))
                case Renew():
                    self._finish(operation, None)  # the clock asks again
                case _:
                    kept.append(operation)
        self._queue.extendleft(reversed(kept))

    def _isolate(self, batch: Sequence[Operation], error: Exception) -> None:
        """Something in the batch is at fault: each operation is then run alone, so that it harms no other."""
        if len(batch) > 1:
            for operation in batch:
                operation.is_alone = True
            self._queue.extendleft(reversed(batch))
            return
        match batch[0]:
            case Settle() as settle:
                self._simplify(settle, error)
            case operation:
                _log.error("The ledger could not write an operation.", exc_info=error)
                self._finish(operation, _failed())

    def _simplify(self, settle: Settle, error: Exception) -> None:
        """The money is charged even if the database does not take the words of its log row."""
        log = settle.settlement.log
        if log is not None and (plain_log := plain(log)) != log:
            _log.warning("A log row is written in ASCII, because the database refuses it as it is: %s", error)
            settle.settlement = replace(settle.settlement, log=plain_log)
            settle.is_alone = True
            self._queue.appendleft(settle)
            return
        try:
            self._spool.reject(Entry(settle.hold, settle.settlement), error)
        except OSError:
            _log.exception("Nor could the settlement be put aside.")
            self._finish(settle, _failed())
        else:
            self._finish(settle, None)

    def _finish(self, operation: Operation, outcome: Outcome) -> None:
        if not operation.is_finished:
            operation.is_finished = True
            operation.outcome = outcome
            gevent.get_hub().loop.run_callback(operation.waiter.switch, None)

    def _abandon(self, reserve: Reserve) -> None:
        """Whoever reserved is gone: its hold is released, now or when it is made."""
        reserve.is_finished = True
        if isinstance(reserve.outcome, Hold):
            self._release(reserve.outcome)

    def _release(self, hold: Hold) -> None:
        self.submit(Settle(time.monotonic(), hold, _RELEASE))

    # ---- the clock ----

    def _watch(self) -> None:
        renew_at = time.monotonic() + self._pace.renew_s
        count_at = time.monotonic() + (self._pace.count_s or 0)
        while True:
            gevent.sleep(self._pace.tick_s)
            now = time.monotonic()
            # While the database is away and nothing waits for it, this is what finds out that it is back.
            is_asking = self._is_away and not self._queue and not self._at_work
            if now >= renew_at or is_asking:
                renew_at = now + self._pace.renew_s
                self.submit(Renew(now))
            if self._pace.count_s is not None and now >= count_at:
                count_at = now + self._pace.count_s
                self._write_statistics()
            waiting = chain(self._at_work, self._queue)
            self._give_up([operation for operation in waiting if now - operation.queued_s >= self._pace.patience_s])

    def _write_statistics(self) -> None:
        if self._put_off:
            self.submit(Count(time.monotonic(), self._put_off))
            self._put_off = Statistics()

    def _give_up(self, operations: Sequence[Operation]) -> None:
        """Ends the wait: settlements are spooled, reservations refused. One that is committed after all is undone.

        Where the spool cannot be written either, its settlements go on waiting.
        """
        settles = [op for op in operations if isinstance(op, Settle) and not op.is_finished and not op.is_spooled]
        if settles:
            try:
                self._spool.append([Entry(settle.hold, settle.settlement) for settle in settles])
            except OSError:
                _log.exception("Settlements can be written neither to the database nor to the spool.")
            else:
                _log.warning("%s settlements were put into the spool.", len(settles))
                for settle in settles:
                    self._finish(settle, None)
        for operation in operations:
            if isinstance(operation, Reserve):
                self._finish(operation, Unavailable("The database does not answer. Try again in a few seconds."))

    # ---- the spool ----

    def _replay(self) -> None:
        while True:
            if not self._is_away:
                with self._spool.claim() as files:
                    for file in files:
                        self._replay_file(file)
            self._has_returned.wait(self._pace.replay_s)
            self._has_returned.clear()

    def _replay_file(self, file: SpoolFile) -> None:
        settles = [Settle(time.monotonic(), entry.hold, entry.settlement, is_spooled=True) for entry in file.entries]
        for settle in settles:
            self.submit(settle)
        for settle in settles:
            settle.waiter.get()
        if all(settle.outcome is None for settle in settles):
            _log.info("%s settlements of %s were replayed.", len(settles), file.path.name)
            self._spool.finish(file)


def _caught(work: Callable[[], object]) -> tuple[object, Exception | None]:
    """For the thread, whose pool prints whatever is raised in it."""
    try:
        return work(), None
    except Exception as error:
        return None, error


def _failed() -> GatewayError:
    return GatewayError("The quota could not be written.", code="decrease_user_quota_failed")
