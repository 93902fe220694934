"""Settings: the rows of table `options`, listed without secrets, and validated before they are saved.

The snapshot that is in force is kept by services/snapshots.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlalchemy import Connection, Engine, insert, select, update

from oneapi.database import run_write
from oneapi.models import Option
from oneapi.options import OPTIONS, InvalidOption, Options, is_secret, public_rows, validate
from oneapi.services import audit, revisions
from oneapi.services.audit import MASKED, Actor, Change
from oneapi.services.refusal import Refusal

_NOTHING: Mapping[str, str] = MappingProxyType({})


def listing(engine: Engine, shown: Mapping[str, str] = _NOTHING) -> dict[str, str]:
    """Key and text of every option that may be shown; `shown` replaces texts (options.public_rows)."""
    with engine.connect() as connection:
        return public_rows(_rows(connection), shown)


def save(engine: Engine, actor: Actor, values: Mapping[str, str], *, now: int) -> None:
    """Saves all these options or none. Raises Refusal for the first that is unusable (D-36).

    Each is judged beside the others as they will be: a switch and what it needs may come together.
    """
    revise(engine, actor, lambda _: values, now=now)


def revise(engine: Engine, actor: Actor, made_of: Callable[[Options], Mapping[str, str]], *, now: int) -> None:
    """Saves what `made_of` makes of the options as they are stored, which a worker's snapshot may not have seen yet."""

    def work(connection: Connection) -> None:
        stored = _rows(connection)
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


def _rows(connection: Connection) -> dict[str, str]:
    return {row.key: row.value or "" for row in connection.execute(select(Option.key, Option.value))}


def _save(connection: Connection, key: str, value: str) -> Change | None:
    """Writes one row; what changed, None where nothing did."""
    stored = connection.execute(select(Option.value).where(Option.key == key).with_for_update()).first()
    if stored is None:
        connection.execute(insert(Option).values(key=key, value=value))
        before = OPTIONS[key].default if key in OPTIONS else ""
    else:
        before = stored.value or ""
        if before == value:
            return None
        connection.execute(update(Option).where(Option.key == key).values(value=value))
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
