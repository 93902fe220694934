"""Periodic jobs: each runs in exactly one process of the installation, the holder of a lease in the database.

Only masters compete for the lease. Its holder renews it while it lives; where it cannot, it stops starting jobs before
the lease ends, so that two processes never both take themselves for the holder. A job is a row of `JOBS`: a function
that may be run again at any time, and may take long: it runs in a greenlet of its own. When it has run is noted, as a
lease of its own that lasts until it is due again, so that neither another holder nor a restart makes it run too soon.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gevent
from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import SQLAlchemyError

from oneapi.config import Config
from oneapi.database import Databases, is_unavailable, run_write
from oneapi.models import OneTimeCode
from oneapi.options import Options
from oneapi.services import bootstrap, orphans, outbox, pruning, rollups
from oneapi.services.audit import SYSTEM
from oneapi.services.leases import drop_lease, ends_of, set_lease, take_lease
from oneapi.services.refusal import Refusal
from oneapi.services.rounds import Rounds

_log = logging.getLogger(__name__)

LEASE = "jobs"
LEASE_S = 60
_RENEW_S = 15.0
_TICK_S = 1.0
_CODES_A_TIME = 500
_DAY_S = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What jobs work with."""

    databases: Databases
    config: Config
    options: Callable[[], Options] = Options
    now: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Job:
    """`every_s` counts from the end of a run to the next one; `first_s` is the wait before the first one of all."""

    name: str
    every_s: float
    run: Callable[[Tools], object]
    first_s: float = 0

    @property
    def lease(self) -> str:
        """The lease that lasts from the end of a run until the next one."""
        return f"{LEASE}: {self.name}"


def release_orphans(tools: Tools) -> None:
    if count := orphans.release(tools.databases.main, now=int(tools.now())):
        _log.warning("%s holds of workers that are gone were released.", count)


def purge_released_holds(tools: Tools) -> None:
    orphans.purge(tools.databases.main, now=int(tools.now()))


def move_outbox_leftovers(tools: Tools) -> None:
    """Each worker moves its own rows; these are of workers that are gone, or that the log database was away for."""
    if tools.databases.is_split:
        outbox.move(tools.databases.main, tools.databases.logs)


def expire_codes(tools: Tools) -> None:
    """One-time codes and counted attempts that are over. Few at a time: nobody waits long for the table."""

    def work(connection: Connection) -> int:
        expired = select(OneTimeCode.id).where(OneTimeCode.expires_at < int(tools.now())).limit(_CODES_A_TIME)
        doomed = connection.scalars(expired).all()
        if doomed:
            connection.execute(delete(OneTimeCode).where(OneTimeCode.id.in_(doomed)))
        return len(doomed)

    while run_write(tools.databases.main, work) == _CODES_A_TIME:
        pass


def roll_up_logs(tools: Tools) -> None:
    rollups.roll_up(tools.databases.logs, now=int(tools.now()))


def prune_logs(tools: Tools) -> None:
    """Rows older than ExtLogRetentionDays go. Those that tell of credits stay."""
    now, days = int(tools.now()), tools.options().ext_log_retention_days
    if days:
        pruning.prune(tools.databases, SYSTEM, before=now - days * _DAY_S, now=now)


def build_indexes(tools: Tools) -> None:
    """Those that a start left out because their table is large, and that somebody may have dropped since."""
    bootstrap.build_indexes(tools.config)


JOBS: tuple[Job, ...] = (
    Job("release orphaned holds", 15, release_orphans),
    Job("purge released holds", 3600, purge_released_holds),
    Job("move outbox leftovers", 60, move_outbox_leftovers),
    Job("expire one-time codes", 600, expire_codes),
    Job("roll up logs", 900, roll_up_logs, first_s=60),
    Job("prune logs", 3600, prune_logs, first_s=300),
    Job("build indexes", _DAY_S, build_indexes, first_s=30),
)


def jobs_of(config: Config, rounds: Rounds) -> tuple[Job, ...]:
    """The jobs of an installation: those above, and the rounds of channels that its operator asks for."""
    found = list(JOBS)
    for name, minutes, run in (
        ("test channels", config.channel_test_frequency, rounds.run_tests),
        ("refresh balances", config.channel_update_frequency, rounds.run_balances),
    ):
        if minutes:
            found.append(Job(name, minutes * 60, _unless_active(name, run), first_s=minutes * 60))
    return tuple(found)


def _unless_active(name: str, run: Callable[[], None]) -> Callable[[Tools], None]:
    def job(tools: Tools) -> None:
        try:
            run()
        except Refusal as refusal:
            _log.info("The job %r is left out this time: %s", name, refusal)

    return job


class Jobs:
    """The loop of one worker. `holder` names the process and is never used again."""

    def __init__(
        self,
        tools: Tools,
        holder: str,
        jobs: Sequence[Job] = JOBS,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools = tools
        self._holder = holder
        self._monotonic = monotonic
        self._held_until = 0.0  # on the monotonic clock, as is all of this
        self._renew_at = 0.0
        started = monotonic()
        self._due = {job: started + job.first_s for job in jobs}
        self._running: dict[Job, gevent.Greenlet[[Job], None]] = {}
        self._loop: gevent.Greenlet[[], None] | None = None

    @property
    def is_holder(self) -> bool:
        return self._monotonic() < self._held_until

    def start(self) -> None:
        self._loop = gevent.spawn(self._run)

    def stop(self) -> None:
        """Ends the jobs that are running and gives the lease up, so that another process need not wait for its end."""
        if self._loop is not None:
            self._loop.kill()
        gevent.killall(list(self._running.values()))
        if self.is_holder:
            self._held_until = 0
            try:
                drop_lease(self._tools.databases, LEASE, self._holder)
            except SQLAlchemyError as error:
                _log.warning("The lease of the jobs could not be given up: %s", error)

    def tick(self) -> None:
        """Renews or asks for the lease when it is time; starts what is due, or ends what runs without a lease."""
        moment = self._monotonic()
        if moment >= self._renew_at:
            self._renew_at = moment + _RENEW_S
            if take_lease(self._tools.databases, LEASE, self._holder, now=int(self._tools.now()), seconds=LEASE_S):
                if not self.is_holder:
                    self._take_over(moment)
                # Counted from before the question, and less than the lease, so that it ends here first.
                self._held_until = moment + LEASE_S - _RENEW_S
            else:
                self._held_until = 0
        if not self.is_holder:
            gevent.killall(list(self._running.values()))
        else:
            for job, due in self._due.items():
                if moment >= due and job not in self._running:
                    self._running[job] = gevent.spawn(self._do, job)

    def _take_over(self, moment: float) -> None:
        """What others have run, or this process before its start, is due when they would have run it again."""
        now = self._tools.now()
        ends = ends_of(self._tools.databases, [job.lease for job in self._due])
        for job in self._due:
            if job.lease in ends:
                # Never later than from now on: it may have been configured to run more seldom then.
                self._due[job] = moment + min(ends[job.lease] - now, job.every_s)
            elif job.first_s:
                self._note(job, job.first_s)  # or processes that live shorter than this would never run it

    def _run(self) -> None:
        while True:
            try:
                self.tick()
            except SQLAlchemyError as error:
                _log.warning("The lease of the jobs could not be renewed: %s", error)
            gevent.sleep(_TICK_S)

    def _do(self, job: Job) -> None:
        wait_s = job.every_s
        try:
            job.run(self._tools)
            self._note(job, job.every_s)
        except Exception as error:
            if is_unavailable(error):
                wait_s = min(wait_s, _RENEW_S)
                _log.warning("The job %r is tried again in %s s: the database does not answer.", job.name, wait_s)
            else:
                _log.exception("The job %r failed; it is tried again in %s s.", job.name, wait_s)
        finally:
            self._due[job] = self._monotonic() + wait_s
            del self._running[job]

    def _note(self, job: Job, due_in_s: float) -> None:
        set_lease(self._tools.databases, job.lease, self._holder, until=int(self._tools.now() + due_in_s))
