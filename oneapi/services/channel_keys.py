"""`oneapi channel-keys`: credentials of channels and secret options, encrypted, plain again, or with a newer key.

Channels are taken in batches, each in a short write transaction of its own with its line in the management log, so that
it may run beside the program, be interrupted, and be run again: what is done already is passed over.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import SQLAlchemyError

from oneapi.config import Config
from oneapi.database import open_databases, run_write
from oneapi.keyring import CHANNEL_COLUMNS, Keyring, Unreadable, channel_place, is_sealed, keyring_of, option_place
from oneapi.models import Channel, Option
from oneapi.options import is_sealed_at_rest
from oneapi.services import audit, revisions
from oneapi.services.audit import SYSTEM
from oneapi.services.channels import check_widths
from oneapi.services.refusal import Refusal
from oneapi.services.rows import AnyRow

Conversion = Literal["encrypt", "decrypt", "rotate"]

_BATCH = 200
_DONE = {"encrypt": "encrypted", "decrypt": "decrypted", "rotate": "encrypted anew"}


@dataclass(slots=True)
class Converted:
    """How many rows there are, in how many something changed, and why some were left as they are, by their keys."""

    rows: int = 0
    changed: int = 0
    left: dict[int | str, str] = field(default_factory=dict)


def convert(
    engine: Engine, conversion: Conversion, *, is_dry_run: bool = False, now: int, batch: int = _BATCH
) -> Converted:
    """Converts the credentials of all channels. In a dry run nothing is written."""
    total, last_id = Converted(), 0
    while True:

        def work(connection: Connection, after: int = last_id) -> tuple[Converted, int]:
            return _convert_batch(connection, conversion, after, batch, is_dry_run, now)

        if is_dry_run:
            with engine.connect() as connection:
                done, last_id = work(connection)
        else:
            done, last_id = run_write(engine, work)
        if not done.rows:
            return total
        total.rows += done.rows
        total.changed += done.changed
        total.left |= done.left


def convert_options(engine: Engine, conversion: Conversion, *, is_dry_run: bool = False, now: int) -> Converted:
    """Converts all options that are secret. In a dry run nothing is written."""

    def work(connection: Connection) -> Converted:
        done, keyring = Converted(), keyring_of(connection)
        for row in connection.execute(select(Option.key, Option.value).with_for_update()).all():
            if not is_sealed_at_rest(row.key) or not row.value:
                continue
            done.rows += 1
            try:
                value = _converted(keyring, conversion, row.value, option_place(row.key))
            except Unreadable as error:
                done.left[row.key] = str(error)
                continue
            if value != row.value:
                done.changed += 1
                if not is_dry_run:
                    connection.execute(update(Option).where(Option.key == row.key).values(value=value))
        if done.changed and not is_dry_run:
            audit.record(connection, SYSTEM, f"{_DONE[conversion]} {done.changed} secret options", now=now)
            revisions.bump(connection, "options")
        return done

    return run_write(engine, work)


def _convert_batch(
    connection: Connection, conversion: Conversion, after: int, batch: int, is_dry_run: bool, now: int
) -> tuple[Converted, int]:
    """What became of the next channels after that id, and the last id among them."""
    columns = [getattr(Channel, column) for column in CHANNEL_COLUMNS]
    query = select(Channel.id, *columns).where(Channel.id > after).order_by(Channel.id).limit(batch)
    rows: Sequence[AnyRow] = connection.execute(query if is_dry_run else query.with_for_update()).all()
    done, keyring = Converted(len(rows)), keyring_of(connection)
    for row in rows:
        try:
            values = _values(keyring, conversion, row)
            check_widths(values, connection.dialect.name)
        except (Unreadable, Refusal) as error:
            done.left[row.id] = str(error)
            continue
        if values:
            done.changed += 1
            if not is_dry_run:
                connection.execute(update(Channel).where(Channel.id == row.id).values(values))
    if done.changed and not is_dry_run:
        what = f"{_DONE[conversion]} the keys of {done.changed} channels, from {rows[0].id} to {rows[-1].id}"
        audit.record(connection, SYSTEM, what, now=now)
        revisions.bump(connection, "channels")
    return done, rows[-1].id if rows else after


def _values(keyring: Keyring, conversion: Conversion, row: AnyRow) -> dict[str, Any]:
    """The columns of one channel that change. Raises Unreadable."""
    values = {}
    for column in CHANNEL_COLUMNS:
        stored = getattr(row, column) or ""
        value = _converted(keyring, conversion, stored, channel_place(row.id, column))
        if value != stored:
            values[column] = value
    return values


def _converted(keyring: Keyring, conversion: Conversion, stored: str, place: str) -> str:
    match conversion:
        case "encrypt":
            return stored if is_sealed(stored) else keyring.seal(stored, place)
        case "decrypt":
            return keyring.open(stored, place)
        case "rotate":
            is_older = is_sealed(stored) and not keyring.is_current(stored)
            return keyring.seal(keyring.open(stored, place), place) if is_older else stored


# ---- the command ----


_HELP = """\
Converts the keys of all channels in the database, their configs and settings, which may hold keys as well, and the
options that are secrets, such as the mail server's password.

  encrypt   what is plain is encrypted with the first phrase of KEY_ENCRYPTION_KEY. Restart all nodes with that variable
            first: a node without it cannot use what is encrypted.
  decrypt   what is encrypted becomes plain, as One API reads it. Restart all nodes without the variable afterwards:
            a node with it encrypts what it writes.
  rotate    what is encrypted with an older phrase is encrypted with the first one. Before: put the new phrase in front,
            KEY_ENCRYPTION_KEY=new,old, and restart all nodes. Afterwards the old one may go.

It may run beside the program, be interrupted, and be run again."""
_STATUS = "exit status: 0 all is done, 1 some rows were left as they are, 2 nothing could be done"


def channel_keys_command(config: Config, arguments: Sequence[str]) -> int:
    """`oneapi channel-keys`: says how many channels changed, never a key, and gives the status its help promises."""
    parser = argparse.ArgumentParser(
        prog="oneapi channel-keys",
        description=_HELP,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("conversion", choices=get_args(Conversion))
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    given = parser.parse_args(arguments)
    conversion: Conversion = given.conversion
    if conversion != "decrypt" and not config.key_encryption_key:
        return _cannot("KEY_ENCRYPTION_KEY is not set")
    databases = open_databases(config)
    try:
        now = int(time.time())
        done = convert(databases.main, conversion, is_dry_run=given.dry_run, now=now)
        options = convert_options(databases.main, conversion, is_dry_run=given.dry_run, now=now)
    except SQLAlchemyError as error:
        return _cannot(f"the database says: {getattr(error, 'orig', None) or error}")
    finally:
        databases.dispose()
    would = "would be " if given.dry_run else ""
    for noun, converted in (("Channel", done), ("Option", options)):
        for key, reason in converted.left.items():
            print(f"{noun} {key} is left as it is: {reason}")
        print(f"{noun}s: {converted.changed} of {converted.rows} {would}{_DONE[conversion]}.")
    return 1 if done.left or options.left else 0


def _cannot(reason: str) -> int:
    print(f"Nothing was done: {reason}.", file=sys.stderr)
    return 2
