"""Brakes on guessing: how often something may fail within a while, counted in the database.

Every worker and node counts in the same place, and no forwarding header resets it: the subjects are accounts and
addresses as the trusted proxies report them (D-10, D-60). One row stands for one attempt, so that what is counted is
the last `window_s` seconds, and parallel attempts cannot overlook each other: a row is committed before rows are
counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select

from oneapi.database import run_write
from oneapi.models import OneTimeCode
from oneapi.services.refusal import Refusal
from oneapi.services.rows import AnySelect

_SUBJECT_LIMIT = 191


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `most` attempts for each subject within `window_s` seconds. `purpose` keeps its rows apart.

    `message` is the key of what is said to who has none left.
    """

    purpose: str
    most: int
    window_s: int
    message: str = "too_many_attempts"

    def check(self, engine: Engine, subjects: Sequence[str], now: int) -> None:
        """Raises Refusal (429) where one of the subjects has no attempt left."""
        with engine.connect() as connection:
            for subject in subjects:
                count, last_expiry = connection.execute(self._rows(subject, now)).one()
                if count >= self.most:
                    self._refuse(last_expiry, now)

    def count(self, engine: Engine, subjects: Sequence[str], now: int) -> None:
        """Records one attempt for each of the subjects."""

        def work(connection: Connection) -> None:
            for subject in subjects:
                connection.execute(delete(OneTimeCode).where(*self._of(subject), OneTimeCode.expires_at <= now))
                connection.execute(
                    insert(OneTimeCode).values(
                        purpose=self._name, subject=subject[:_SUBJECT_LIMIT], code="", expires_at=now + self.window_s
                    )
                )

        run_write(engine, work)

    def take(self, engine: Engine, subjects: Sequence[str], now: int) -> None:
        """Takes one attempt for each of the subjects, before it is made. Raises Refusal (429) where there is none."""
        self.check(engine, subjects, now)
        self.count(engine, subjects, now)
        with engine.connect() as connection:
            for subject in subjects:
                count, last_expiry = connection.execute(self._rows(subject, now)).one()
                if count > self.most:
                    self._refuse(last_expiry, now)

    def forget(self, engine: Engine, subjects: Sequence[str]) -> None:
        """Gives the subjects all their attempts back."""

        def work(connection: Connection) -> None:
            for subject in subjects:
                connection.execute(delete(OneTimeCode).where(*self._of(subject)))

        run_write(engine, work)

    def give_back(self, engine: Engine, subjects: Sequence[str]) -> None:
        """Gives each of the subjects one attempt back: one that turned out to be rightful."""

        def work(connection: Connection) -> None:
            for subject in subjects:
                newest = connection.scalar(select(func.max(OneTimeCode.id)).where(*self._of(subject)))
                connection.execute(delete(OneTimeCode).where(OneTimeCode.id == newest))

        run_write(engine, work)

    @property
    def _name(self) -> str:
        return f"throttle:{self.purpose}"

    def _of(self, subject: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return OneTimeCode.purpose == self._name, OneTimeCode.subject == subject[:_SUBJECT_LIMIT]

    def _rows(self, subject: str, now: int) -> AnySelect:
        """How many attempts the subject has made, and when the oldest of the last `most` is forgotten."""
        recent = (
            select(OneTimeCode.expires_at)
            .where(*self._of(subject), OneTimeCode.expires_at > now)
            .order_by(OneTimeCode.expires_at.desc())
            .limit(self.most + 1)
            .subquery()
        )
        return select(func.count(), func.min(recent.c.expires_at)).select_from(recent)

    def _refuse(self, expiry: int | None, now: int) -> None:
        seconds = max(1, (expiry or now) - now)
        raise Refusal(self.message, status=429, retry_after_s=seconds, seconds=seconds)
