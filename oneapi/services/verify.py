"""Verify: proves every balance from the rows that explain it, and every charge from its receipt.

For each user: balance + open holds = opening balance + credits - charges, where credits and charges are log rows, rows
still in the outbox, and the sums that pruned rows left (docs/architecture.md §1.1 and §3). It reads only, and may run
while the program serves.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from oneapi.config import Config
from oneapi.database import open_databases
from oneapi.models import Hold, Log, Opening, Option, OutboxEntry, Token, User
from oneapi.relay import pricing
from oneapi.relay.exchange import LogEntry
from oneapi.services import spool
from oneapi.services.logs import CONSUMPTION, MANAGEMENT, SYSTEM, TOP_UP
from oneapi.services.orphans import KEPT_S
from oneapi.services.rows import AnyRow

Recompute = Callable[[Mapping[str, Any]], int]  # the quota a receipt implies; ValueError where it is none

_SIGNS = {TOP_UP: 1, MANAGEMENT: 1, SYSTEM: 1, CONSUMPTION: -1}
_ROUNDS = 3
_ROUND_S = 1.0
_GRACE_S = 600  # the jobs that clear up may be so late
_PAGE = 1000
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should not be. `subject`: what it is about, such as "user 7"."""

    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was looked at and found. `unseen`: what could not be proved, in sentences."""

    users: int
    receipts: int
    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Whose log rows are recomputed, and from when: Unix seconds, `start` inclusive, `end` not."""

    start: int = 0
    end: int | None = None
    user_id: int | None = None


def verify(
    engine: Engine,
    log_engine: Engine,
    *,
    recompute: Recompute = pricing.recompute,
    within: Range | None = None,
    spool_dir: Path | None = None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> Verification:
    """Proves all balances, and the charges within the range (without one, all)."""
    users, findings, unopened = _balances(engine, log_engine, sleep)
    findings += _leftovers(engine, int(now()))
    findings += _negatives(engine)
    if spool_dir is not None:
        findings += _spooled(spool_dir)
    receipts, missing, wrong = _receipts(log_engine, within or Range(), recompute)
    return Verification(
        users=users,
        receipts=receipts,
        findings=(*findings, *wrong),
        unseen=tuple(_unseen(engine, unopened, missing)),
    )


# ---- balances ----


@dataclass(frozen=True, slots=True)
class _Accounts:
    """Per user, as of one moment: what he has and holds, and what it should be."""

    actual: Mapping[int, int]
    expected: Mapping[int, int]
    unopened: Collection[int]  # users without an opening balance

    def differences(self) -> dict[int, int]:
        return {
            user_id: actual - self.expected.get(user_id, 0)
            for user_id, actual in self.actual.items()
            if user_id not in self.unopened and actual != self.expected.get(user_id, 0)
        }


def _balances(
    engine: Engine, log_engine: Engine, sleep: Callable[[float], object]
) -> tuple[int, list[Finding], Collection[int]]:
    """With logs in a database of their own there is no common moment, so a difference must stay to be believed."""
    accounts = _read_accounts(engine, log_engine)
    differences = accounts.differences()
    for _ in range(_ROUNDS - 1 if log_engine is not engine else 0):
        if not differences:
            break
        sleep(_ROUND_S)
        accounts = _read_accounts(engine, log_engine)
        again = accounts.differences()
        differences = {key: value for key, value in differences.items() if again.get(key) == value}
    findings = [
        Finding(
            f"user {user_id}",
            f"balance and open holds are {accounts.actual[user_id]}, the logs explain {accounts.expected[user_id]}: "
            f"{abs(difference)} too {'much' if difference > 0 else 'little'}",
        )
        for user_id, difference in sorted(differences.items())
    ]
    return len(accounts.actual), findings, accounts.unopened


def _read_accounts(engine: Engine, log_engine: Engine) -> _Accounts:
    with _snapshot(engine) as connection:
        actual = _numbers(connection.execute(select(User.id, User.quota)).all())
        holds = select(Hold.user_id, func.sum(Hold.user_quota)).where(Hold.released_at.is_(None)).group_by(Hold.user_id)
        for user_id, quota in _numbers(connection.execute(holds).all()).items():
            if user_id in actual:
                actual[user_id] += quota
        expected: defaultdict[int, int] = defaultdict(int)
        openings = connection.execute(select(Opening.user_id, Opening.quota + Opening.credited - Opening.charged)).all()
        for user_id, quota in _numbers(openings).items():
            expected[user_id] += quota
        unopened = actual.keys() - expected.keys()
        waiting = {_key(entry): entry for entry in map(_entry, connection.scalars(select(OutboxEntry.row)))}
        for entry in waiting.values():
            expected[entry.user_id] += _SIGNS.get(entry.type, 0) * entry.quota
        if log_engine is engine:
            _add_logs(expected, connection)
    if log_engine is not engine:
        with log_engine.connect() as connection:
            _add_logs(expected, connection)
            _subtract_moved(expected, connection, waiting)
    return _Accounts(actual, expected, unopened)


def _add_logs(expected: defaultdict[int, int], connection: Connection) -> None:
    sums = (
        select(Log.user_id, Log.type, func.sum(Log.quota)).where(Log.type.in_(_SIGNS)).group_by(Log.user_id, Log.type)
    )
    for user_id, kind, quota in connection.execute(sums):
        expected[user_id or 0] += _SIGNS[kind or 0] * int(quota or 0)


def _subtract_moved(
    expected: defaultdict[int, int], connection: Connection, waiting: Mapping[tuple[str, int, int], LogEntry]
) -> None:
    """Rows that were moved between the two looks have been counted twice."""
    keys = list(waiting)
    for start in range(0, len(keys), _PAGE):
        ids = [key[0] for key in keys[start : start + _PAGE]]
        present = select(Log.request_id, Log.type, Log.user_id).where(Log.request_id.in_(ids))
        for row in connection.execute(present):
            if entry := waiting.get((row.request_id, row.type, row.user_id)):
                expected[entry.user_id] -= _SIGNS.get(entry.type, 0) * entry.quota


def _key(entry: LogEntry) -> tuple[str, int, int]:
    """What a log row is known by in both databases."""
    return entry.request_id, entry.type, entry.user_id


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection whose statements all see the same moment."""
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":  # whose transactions always do
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


def _numbers(rows: Sequence[AnyRow]) -> dict[int, int]:
    return {row[0]: int(row[1] or 0) for row in rows}


_entry = msgspec.json.Decoder(LogEntry).decode


# ---- what was left lying ----


def _leftovers(engine: Engine, now: int) -> list[Finding]:
    with engine.connect() as connection:
        expired = connection.execute(
            select(Hold.request_id, Hold.user_id, Hold.user_quota, Hold.expires_at)
            .where(Hold.released_at.is_(None), Hold.expires_at < now - _GRACE_S)
            .order_by(Hold.expires_at)
        ).all()
        released = connection.execute(
            select(func.count()).select_from(Hold).where(Hold.released_at < now - KEPT_S - _GRACE_S)
        ).scalar_one()
        waiting = connection.execute(
            select(func.count()).select_from(OutboxEntry).where(OutboxEntry.created_at < now - _GRACE_S)
        ).scalar_one()
    findings = [
        Finding(
            f"hold {row.request_id}",
            f"keeps {row.user_quota} from user {row.user_id} though it expired {now - row.expires_at} s ago",
        )
        for row in expired
    ]
    if released:
        findings.append(Finding("holds", f"{released} were released more than a day ago and are still there"))
    if waiting:
        findings.append(Finding("outbox", f"{waiting} log rows have waited for the log database for {_GRACE_S} s"))
    return findings


def _negatives(engine: Engine) -> list[Finding]:
    """Numbers that nothing can bring below zero, or above another. A balance may be negative, a hold never."""
    with engine.connect() as connection:
        holds = connection.execute(
            select(Hold.request_id, Hold.user_quota, Hold.token_quota).where(
                or_(Hold.user_quota < 0, Hold.token_quota < 0, Hold.token_quota > Hold.user_quota)
            )
        ).all()
        users = connection.scalars(select(User.id).where(or_(User.used_quota < 0, User.request_count < 0))).all()
        tokens = connection.scalars(select(Token.id).where(Token.used_quota < 0)).all()
    return [
        *(
            Finding(
                f"hold {row.request_id}",
                f"takes {row.user_quota} from the user and {row.token_quota} of it from the token",
            )
            for row in holds
        ),
        *(Finding(f"user {user_id}", "has used less than nothing") for user_id in users),
        *(Finding(f"token {token_id}", "has used less than nothing") for token_id in tokens),
    ]


def _spooled(folder: Path) -> list[Finding]:
    findings = [
        Finding(f"spool {path.name}", f"{count} settlements wait for the database")
        for path in spool.find(folder)
        if (count := path.read_bytes().count(b"\n"))
    ]
    rejected = spool.rejected(folder)
    if rejected.exists():
        count = rejected.read_bytes().count(b"\n")
        findings.append(Finding(f"spool {rejected.name}", f"{count} settlements were refused by the database"))
    return findings


# ---- receipts ----


def _receipts(log_engine: Engine, within: Range, recompute: Recompute) -> tuple[int, int, list[Finding]]:
    """How many charges were recomputed, how many have no receipt, and what is wrong with the others."""
    checked = missing = 0
    findings: list[Finding] = []
    with log_engine.connect() as connection:
        for row in _charges(connection, within):
            if row.quota is not None and row.quota < 0:
                findings.append(Finding(f"log row {row.id}", f"charges {row.quota}"))
            if row.receipt is None:
                missing += 1
                continue
            checked += 1
            try:
                implied = recompute(msgspec.json.decode(row.receipt))
            except (ValueError, TypeError) as error:
                findings.append(Finding(f"log row {row.id}", f"has a receipt that cannot be read: {error}"))
                continue
            if implied != row.quota:
                text = f"charges user {row.user_id} {row.quota} for {row.request_id}, its receipt says {implied}"
                findings.append(Finding(f"log row {row.id}", text))
    return checked, missing, findings


def _charges(connection: Connection, within: Range) -> Iterator[AnyRow]:
    conditions = [Log.type == CONSUMPTION, Log.created_at >= within.start]
    if within.end is not None:
        conditions.append(Log.created_at < within.end)
    if within.user_id is not None:
        conditions.append(Log.user_id == within.user_id)
    columns = (Log.id, Log.user_id, Log.request_id, Log.quota, Log.receipt)
    last = 0
    while True:
        page = select(*columns).where(*conditions, Log.id > last).order_by(Log.id).limit(_PAGE)
        rows = connection.execute(page).all()
        yield from rows
        if len(rows) < _PAGE:
            return
        last = rows[-1].id


def _unseen(engine: Engine, unopened: Collection[int], missing: int) -> Iterator[str]:
    with engine.connect() as connection:
        is_logged = connection.scalar(select(Option.value).where(Option.key == "LogConsumeEnabled")) != "false"
    if not is_logged:
        yield "LogConsumeEnabled is off: new charges are only counted, and have neither log row nor receipt."
    if unopened:
        some = ", ".join(map(str, sorted(unopened)[:_SHOWN])) + (" and others" if len(unopened) > _SHOWN else "")
        yield f"{len(unopened)} users have no opening balance yet (a master node makes it at its start): {some}."
    if missing:
        yield f"{missing} charges have no receipt: they are older than this program, or another program wrote them."


# ---- the command ----


_HELP = """\
Proves every balance and every charge. For each user the balance and what running requests hold must be his opening
balance, plus all credits, less all charges; each charge must be what its receipt says; and nothing may have been left
lying: holds whose worker is gone, log rows on their way to another database, charges that the database could not take.

It only reads, and may run while the program serves: on the same machine, with the same environment or .env."""
_STATUS = """\
TIME is Unix seconds or ISO 8601, such as 2030-01-31 or 2030-01-31T12:00:00+08:00; all balances are proved whatever the
range. "Not seen" stands before what cannot be proved, such as charges from before this program.

exit status: 0 nothing found, 1 something found, 2 it could not look"""


def verify_command(config: Config, arguments: Sequence[str]) -> int:
    """`oneapi verify`: prints what is found, and gives the exit status that its help promises."""
    parser = argparse.ArgumentParser(
        prog="oneapi verify",
        description=_HELP,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--since", metavar="TIME", type=_moment, default=0, help="recompute charges from this time on")
    parser.add_argument("--until", metavar="TIME", type=_moment, help="recompute charges before this time")
    parser.add_argument("--user", metavar="ID", type=int, help="recompute only the charges of this user")
    given = parser.parse_args(arguments)
    databases = open_databases(config)
    try:
        path = databases.main.url.database
        if config.is_sqlite and not (path and Path(path).exists()):
            return _cannot_look(f"there is no database {path}")
        verification = verify(
            databases.main,
            databases.logs,
            within=Range(start=given.since, end=given.until, user_id=given.user),
            spool_dir=spool.folder_of(config),
        )
    except SQLAlchemyError as error:
        return _cannot_look(str(getattr(error, "orig", None) or error))
    finally:
        databases.dispose()
    for finding in verification.findings:
        print(finding)
    for sentence in verification.unseen:
        print(f"Not seen: {sentence}")
    print(
        f"{verification.users} balances and {verification.receipts} receipts were checked, "
        f"{len(verification.findings)} findings."
    )
    return 1 if verification.findings else 0


def _cannot_look(reason: str) -> int:
    print(f"The database cannot be read: {reason}", file=sys.stderr)
    return 2


def _moment(text: str) -> int:
    """Unix seconds, or a date and time of ISO 8601 (local time where it names no zone)."""
    return int(text) if text.isdecimal() else int(datetime.fromisoformat(text).timestamp())
