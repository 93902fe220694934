"""Runs: long work over all channels, of which there is one of a kind at a time in the whole installation.

How far a run has come stands in its lease, where every worker can read it; a run whose worker was killed is over when
the lease ends (D-23).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from oneapi.database import Databases
from oneapi.services import leases
from oneapi.services.refusal import Refusal

Name = Literal["channel tests", "channel balances"]

LEASE_S = 300  # longer than one channel may take
_HOLDER = re.compile(r"(?P<id>[0-9a-f]{12}) (?P<scope>\w+) (?P<done>\d+)/(?P<total>\d+)")


class RunLost(Exception):
    """The lease ended before it was renewed: another process may have begun a run of the same kind."""


@dataclass(frozen=True, slots=True)
class Progress:
    scope: str
    done: int
    total: int


class Run:
    """Begun where it is made. Raises Refusal while another of that name is active."""

    def __init__(
        self, databases: Databases, name: Name, scope: str, total: int, *, now: Callable[[], float] = time.time
    ) -> None:
        self._databases = databases
        self._name = name
        self._now = now
        self._id = secrets.token_hex(6)
        self._progress = Progress(scope, 0, total)
        moment = int(now())
        if not leases.take_lease(databases, name, self._holder, now=moment, seconds=LEASE_S):
            active = progress(databases, name, now=moment)
            raise Refusal("run_is_active", done=active.done if active else 0, total=active.total if active else 0)

    def advance(self, by: int = 1) -> None:
        """Says that so many channels more are done, and renews the lease. Raises RunLost."""
        before, self._progress = (
            self._holder,
            Progress(self._progress.scope, self._progress.done + by, self._progress.total),
        )
        moment = int(self._now())
        if not leases.pass_lease(self._databases, self._name, before, self._holder, now=moment, seconds=LEASE_S):
            raise RunLost(self._name)

    def end(self) -> None:
        leases.drop_lease(self._databases, self._name, self._holder)

    @property
    def _holder(self) -> str:
        return f"{self._id} {self._progress.scope} {self._progress.done}/{self._progress.total}"


def progress(databases: Databases, name: Name, *, now: int) -> Progress | None:
    """How far the run of that name has come; None where none is active."""
    found = _HOLDER.fullmatch(leases.holder_of(databases, name, now=now) or "")
    return Progress(found["scope"], int(found["done"]), int(found["total"])) if found else None
