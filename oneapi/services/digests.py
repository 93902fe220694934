"""Digests: what One API's tables hold, in so few figures that two moments can be compared.

Of each table the columns that it had, the number of rows, the sums of its money, and a hash over every value of every
row. Taken again with the same columns, and up to the same last row, they are equal if nothing was lost or changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, TableClause, column, inspect, select, table

from oneapi.services.bootstrap import SECRET_OPTION

# One API's tables, with the order of their rows, and the columns that are worth a sum of their own.
_TABLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "users": (("id",), ("quota", "used_quota", "request_count")),
    "tokens": (("id",), ("remain_quota", "used_quota")),
    "channels": (("id",), ("used_quota",)),
    "redemptions": (("id",), ("quota",)),
    "abilities": (("group", "model", "channel_id"), ()),
    "options": (("key",), ()),
    "logs": (("id",), ("quota", "prompt_tokens", "completion_tokens")),
}
_FETCHED = 2000  # rows at a time


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """One table. `last_id`: of its last row, where rows have ids; rows after it are younger than this digest."""

    columns: tuple[str, ...]
    rows: int
    last_id: int | None
    sums: dict[str, int]
    sha256: str


Digests = dict[str, Digest]


def take(connection: Connection, like: Digests | None = None) -> Digests:
    """The tables that are there; or those of `like`, in the same columns and up to the same rows.

    What has gone since then is left out. The option that a start adds is not looked at.
    """
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    taken: Digests = {}
    for name in _TABLES if like is None else like:
        if name in present:
            columns = tuple(item["name"] for item in inspector.get_columns(name))
            model = like[name] if like is not None else None
            if model is not None:
                columns = tuple(item for item in model.columns if item in columns)
            taken[name] = _digest(connection, name, columns, model)
    return taken


def differences(before: Digests, after: Digests) -> Iterator[tuple[str, str]]:
    """(table, what is different), for tables of `before`."""
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            yield name, "the table is gone"
            continue
        if gone := [item for item in old.columns if item not in new.columns]:
            yield name, f"columns are gone: {', '.join(gone)}"
        if new.rows != old.rows:
            yield name, f"there were {old.rows} rows, now there are {new.rows}"
        for item, total in old.sums.items():
            if item in new.sums and new.sums[item] != total:
                yield name, f"the sum of {item} was {total}, now it is {new.sums[item]}"
        if not gone and new.rows == old.rows and new.sums == old.sums and new.sha256 != old.sha256:
            yield name, "values have changed"


def _digest(connection: Connection, name: str, columns: tuple[str, ...], like: Digest | None) -> Digest:
    _, money = _TABLES[name]
    places = {item: columns.index(item) for item in money if item in columns}
    sums = dict.fromkeys(places, 0)
    sha256 = hashlib.sha256()
    rows, last_id = 0, None
    id_place = columns.index("id") if "id" in columns else None
    with connection.execute(_select(name, columns, like), execution_options={"yield_per": _FETCHED}) as result:
        for row in result:
            values = tuple(row)
            rows += 1
            sha256.update(repr(values).encode())
            if id_place is not None:
                last_id = values[id_place]
            for item, place in places.items():
                sums[item] += _number(values[place])
    return Digest(columns=columns, rows=rows, last_id=last_id, sums=sums, sha256=sha256.hexdigest())


def _select(name: str, columns: tuple[str, ...], like: Digest | None) -> Select[*tuple[Any, ...]]:
    order, _ = _TABLES[name]
    found: TableClause = table(name, *(column(item) for item in columns))
    query = select(*found.c).order_by(*(found.c[item] for item in order))
    if name == "options":
        query = query.where(found.c.key != SECRET_OPTION)
    if like is not None and "id" in columns:
        query = query.where(found.c.id <= (like.last_id if like.last_id is not None else -1))
    return query


def _number(value: object) -> int:
    """SQLite may hold anything in a column of numbers; what is none counts in the hash alone."""
    return int(value) if isinstance(value, int | float | Decimal) else 0
