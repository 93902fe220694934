"""Numbers that come as text."""

from __future__ import annotations


def id_of(text: str) -> int | None:
    """The text as an id; None where it is none. PostgreSQL refuses to compare a number with other text (D-31)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
