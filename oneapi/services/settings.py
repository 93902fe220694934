"""Settings: the rows of table `options`, listed without secrets, and validated before they are saved.

The snapshot that is in force is kept by services/snapshots.py.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType

from sqlalchemy import Connection, Engine, insert, select, update

from oneapi.database import run_write
from oneapi.keyring import Unreadable, is_sealed, keyring_of, option_place
from oneapi.models import Option
from oneapi.options import OPTIONS, InvalidOption, Options, is_sealed_at_rest, is_secret, public_rows, validate
from oneapi.services import audit, revisions
from oneapi.services.audit import MASKED, Actor, Change
from oneapi.services.refusal import Refusal, invalid_input

log = logging.getLogger(__name__)

_NOTHING: Mapping[str, str] = MappingProxyType({})


def listing(engine: Engine, shown: Mapping[str, str] = _NOTHING) -> dict[str, str]:
    """Key and text of every option that may be shown; `shown` replaces texts (options.public_rows)."""
    with engine.connect() as connection:
        return public_rows(rows(connection), shown)


def save(engine: Engine, actor: Actor, values: Mapping[str, str], *, now: int) -> None:
    """Saves all these options or none. Raises Refusal for the first that is unusable (D-36).

    Each is judged beside the others as they will be: a switch and what it needs may come together.
    """
    revise(engine, actor, lambda _: values, now=now)


def revise(engine: Engine, actor: Actor, made_of: Callable[[Options], Mapping[str, str]], *, now: int) -> None:
    """Saves what `made_of` makes of the options as they are stored, which a worker's snapshot may not have seen yet."""

    def work(connection: Connection) -> None:
        stored = rows(connection)
        values = made_of(Options.from_rows(stored))
        options = Options.from_rows({**stored, **values})
        for key, value in values.items():
            try:
                validate(key, value, options)
            except InvalidOption as error:
                raise Refusal("option_invalid", reason=str(error)) from None
        changes = [change for key in sorted(values) if (change := _save(connection, key, values[key])) is not None]
        if changes:
            audit.record(connection, actor, "changed options", changes, now=now)
            revisions.bump(connection, "options")

    run_write(engine, work)


def rows(connection: Connection) -> dict[str, str]:
    """All options that were saved, secrets in clear. One that cannot be read counts as never saved."""
    found = {}
    for row in connection.execute(select(Option.key, Option.value)):
        try:
            found[row.key] = _in_clear(connection, row.key, row.value or "")
        except Unreadable as error:
            log.error("option %s is taken for empty: %s", row.key, error)
    return found


def _in_clear(connection: Connection, key: str, stored: str) -> str:
    return keyring_of(connection).open(stored, option_place(key)) if is_sealed_at_rest(key) else stored


def _save(connection: Connection, key: str, value: str) -> Change | None:
    """Writes one row; what changed, None where nothing did."""
    text = value
    if is_sealed_at_rest(key):
        if is_sealed(value):
            raise invalid_input("value_is_sealed", field=key)
        text = keyring_of(connection).seal(value, option_place(key))
    stored = connection.execute(select(Option.value).where(Option.key == key).with_for_update()).first()
    if stored is None:
        connection.execute(insert(Option).values(key=key, value=text))
        before = OPTIONS[key].default if key in OPTIONS else ""
    else:
        before = stored.value or ""
        with suppress(Unreadable):
            before = _in_clear(connection, key, before)
        if before == value:
            return None
        connection.execute(update(Option).where(Option.key == key).values(value=text))
    return Change(key, MASKED, MASKED) if is_secret(key) else Change(key, *_differing(before, value))


def _differing(before: str, after: str) -> tuple[str, str]:
    """Both texts; of tables, which may be long, the entries that are not the same."""
    try:
        old, new = json.loads(before), json.loads(after)
    except ValueError:
        return before, after
    if not isinstance(old, dict) or not isinstance(new, dict):
        return before, after
    same = {name for name in old.keys() & new.keys() if old[name] == new[name]}
    kept = ({name: value for name, value in table.items() if name not in same} for table in (old, new))
    shown_old, shown_new = (json.dumps(table, ensure_ascii=False) for table in kept)
    return shown_old, shown_new
