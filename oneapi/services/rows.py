"""Names for what a query gives, and for the id that an insert makes."""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import CursorResult, Row, Select

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
AnySelect: TypeAlias = Select[*tuple[Any, ...]]


def inserted_id(result: CursorResult[*tuple[Any, ...]]) -> int:
    """The primary key of the one row that was inserted."""
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])
