"""Check-db: what a start of this program would add to a database, and the proof that nothing else changes.

An SQLite file is copied, the copy is upgraded by the very steps that a start takes, and compared. A database on a
server is only read: what it holds is digested before the upgrade and after it (digests.py).
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from oneapi.config import Config, ConfigError
from oneapi.database import main_url
from oneapi.services import bootstrap, database_checks, digests, upgrade_plan
from oneapi.services.database_checks import reading
from oneapi.services.digests import Digests
from oneapi.services.findings import Finding, fault, has_fault, ok, print_all
from oneapi.services.upgrade_plan import Plan

_Saved = dict[str, Digests]  # role ("main", "logs") → tables


class CannotLook(Exception):
    """A database or a file cannot be read. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One database: `role` is "main" or "logs"; `place`: where it is, without its password."""

    role: str
    place: str
    product: str
    origin: str
    plan: Plan
    digests: Digests
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "place": self.place,
            "product": self.product,
            "origin": self.origin,
            "would_add": self.plan.as_json(),
            "digests": msgspec.to_builtins(self.digests),
            "findings": [finding.as_json() for finding in self.findings],
        }


def survey(config: Config, saved: _Saved | None = None) -> list[Survey]:
    """Looks at the databases that the configuration names and changes nothing. Raises CannotLook.

    With `saved`, digests of an earlier moment, each database is compared with them.
    """
    found = []
    try:
        for role, url in database_checks.urls(config).items():
            if saved is not None and role not in saved:
                raise CannotLook(f"the file says nothing of the database {role}")
            like = None if saved is None else saved[role]
            look = _survey_file if url.get_backend_name() == "sqlite" else _survey_server
            found.append(look(url, config, role, like))
    except SQLAlchemyError as error:
        raise CannotLook(str(getattr(error, "orig", None) or error).strip()) from error
    return found


def _survey_server(url: URL, config: Config, role: str, like: Digests | None) -> Survey:
    with reading(url, config) as connection:
        return _look(connection, config, role, _place(url), like)


def _survey_file(url: URL, config: Config, role: str, like: Digests | None) -> Survey:
    """Everything is done to a copy, and the upgrade too: opening SQLite's file as a start does would change it."""
    path = Path(url.database or "")
    if not path.is_file():
        raise CannotLook(f"there is no database {path}")
    with tempfile.TemporaryDirectory(prefix="oneapi-check-db-") as folder:
        needed = 2 * sum(part.stat().st_size for part in (path, Path(f"{path}-wal")) if part.exists())
        if shutil.disk_usage(folder).free < needed:
            room = fault(role, "no_room", needed=needed // 2**20 + 1, folder=tempfile.gettempdir())
            raise CannotLook(f"{room.text()} {room.cure()}")
        copy = Path(folder) / "copy.db"
        _copy(path, copy)
        copied = replace(config, sql_dsn="", log_sql_dsn="", sqlite_path=str(copy), node_type="master")
        with reading(main_url(copied), copied) as connection:
            looked = _look(connection, config, role, str(path), like)
        return replace(looked, findings=(*looked.findings, *_upgrade(copied, role, looked.digests)))


def _copy(path: Path, copy: Path) -> None:
    """The database as of one moment, whoever writes to it meanwhile."""
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise CannotLook(f"{path} cannot be copied: {error}") from error


def _upgrade(config: Config, role: str, before: Digests) -> Iterator[Finding]:
    """Upgrades the copy as a start would, and compares."""
    try:
        with _silence():
            bootstrap.prepare(config, patience_s=0)
    except (SQLAlchemyError, bootstrap.NotReady, ConfigError) as error:
        yield fault(role, "upgrade_fails", reason=str(getattr(error, "orig", None) or error))
        return
    with reading(main_url(config), config) as connection:
        yield from _compared(role, before, digests.take(connection, before))


@contextmanager
def _silence() -> Iterator[None]:
    """What a start logs is about a copy here, and would be taken for the database itself."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(level)


def _look(connection: Connection, config: Config, role: str, place: str, like: Digests | None) -> Survey:
    plan = upgrade_plan.plan(connection, config, role)
    taken = digests.take(connection, like)
    checks: list[Callable[[Connection, str], Iterator[Finding]]] = [database_checks.rights, database_checks.charset]
    findings = [database_checks.version(connection, role)]
    for check in checks:
        findings.extend(check(connection, role))
    findings.extend(database_checks.duplicates(connection, role, role))
    if role == "main":
        findings.extend(database_checks.option_values(connection, role))
    if plan.lacking:
        findings.append(fault(role, "lacks", what=", ".join(plan.lacking)))
    if like is not None:
        findings.extend(_compared(role, like, taken))
    return Survey(
        role=role,
        place=place,
        product=" ".join(database_checks.product(connection)),
        origin=upgrade_plan.origin(connection),
        plan=plan,
        digests=taken,
        findings=tuple(findings),
    )


def _compared(role: str, before: Digests, after: Digests) -> Iterator[Finding]:
    different = list(digests.differences(before, after))
    for table, difference in different:
        yield fault(role, "contents_differ", table=table, difference=difference)
    if before and not different:
        counted = ", ".join(f"{name} ({digest.rows} rows)" for name, digest in before.items())
        yield ok(role, "contents_equal", tables=counted)


def _place(url: URL) -> str:
    return url.set(query={}).render_as_string(hide_password=True)


# ---- the command ----


_HELP = """\
Says what this program would add to a database of One API when it starts, warns of what would be trouble, and proves
that balances, keys and logs stay as they are. It changes nothing, and may run while a program serves.

An SQLite file is copied into a temporary folder (TMPDIR), the copy is upgraded and compared. On MySQL and PostgreSQL
the proof takes two looks, with the old program stopped in between:

    oneapi check-db --save before.json
    oneapi prepare
    oneapi check-db --compare before.json"""
_STATUS = "exit status: 0 fine, 1 differences or trouble, 2 it could not look"


def check_db_command(config: Config, arguments: Sequence[str]) -> int:
    """`oneapi check-db`: prints what it finds, and gives the exit status that its help promises."""
    parser = argparse.ArgumentParser(
        prog="oneapi check-db",
        description=_HELP,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--save", metavar="FILE", type=Path, help="write digests of what the databases hold")
    parser.add_argument("--compare", metavar="FILE", type=Path, help="compare with digests that were saved before")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        surveys = survey(config, _load(given.compare) if given.compare else None)
        if given.save:
            given.save.write_bytes(msgspec.json.format(msgspec.json.encode({one.role: one.digests for one in surveys})))
    except (CannotLook, ConfigError, OSError) as error:
        print(f"check-db could not look: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(msgspec.json.format(msgspec.json.encode([one.as_json() for one in surveys])).decode())
    else:
        for one in surveys:
            _print(one)
    return 1 if any(has_fault(one.findings) for one in surveys) else 0


def _load(path: Path) -> _Saved:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Saved)
    except msgspec.MsgspecError as error:
        raise CannotLook(f"{path} holds no digests of check-db: {error}") from error


def _print(one: Survey) -> None:
    print(f"Database {one.role}: {one.product}, {one.place}")
    print(f"  {one.origin}")
    for name, digest in one.digests.items():
        sums = "".join(f", {column} {total}" for column, total in digest.sums.items())
        print(f"  holds   {name}: {digest.rows} rows{sums}")
    lines = list(one.plan.lines())
    for line in lines:
        print(f"  would   {line}")
    if not lines:
        print("  A start would add nothing.")
    print_all(one.findings)
