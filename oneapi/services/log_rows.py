"""How a log entry becomes a row of table `logs`, or of the outbox on its way there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

import msgspec

from oneapi.relay.exchange import LogEntry

_NAMES = ("username", "token_name", "model_name", "request_id", "requested_model")  # varchar(191) on MySQL
_TEXTS = (*_NAMES, "content", "receipt")
_LONGEST_NAME = 191
_LONGEST_TEXT_BYTES = 65535  # MySQL's `text`

COLUMNS: Mapping[str, bool] = {field.name: field.name in _TEXTS for field in fields(LogEntry)}  # -> is it text
OUTBOX_COLUMNS: Mapping[str, bool] = {"request_id": True, "row": True, "created_at": False}

_values = attrgetter(*COLUMNS)


def values(entry: LogEntry) -> tuple[Any, ...]:
    """In the order of COLUMNS."""
    row: tuple[Any, ...] = _values(entry)
    return row


def outbox_values(entry: LogEntry) -> tuple[str, str, int]:
    """In the order of OUTBOX_COLUMNS. The request id is what a row that was moved already is known by."""
    return entry.request_id, msgspec.json.encode(entry).decode(), entry.created_at


def cleaned(entry: LogEntry) -> LogEntry:
    """The entry as every database takes it: text that fits its column, without NUL and lone surrogates.

    What clients send, a model's name above all, must not be able to stop a settlement.
    """
    names = f"{entry.username}{entry.token_name}{entry.model_name}{entry.request_id}{entry.requested_model}"
    texts = f"{names}{entry.content}{entry.receipt}"
    with suppress(UnicodeEncodeError):  # a lone surrogate
        if len(names) <= _LONGEST_NAME and len(texts.encode()) <= _LONGEST_TEXT_BYTES and "\0" not in texts:
            return entry
    changes: dict[str, str | None] = {}
    for name in _TEXTS:
        text = getattr(entry, name)
        if text is not None:
            changes[name] = _storable(text)[: _LONGEST_NAME if name in _NAMES else None]
    changes["content"] = _shortened(changes["content"] or "")
    # A receipt cut short would be no JSON.
    if (receipt := changes.get("receipt")) and len(receipt.encode()) > _LONGEST_TEXT_BYTES:
        changes["receipt"] = None
    return replace(entry, **changes)  # type: ignore[arg-type]  # each name keeps its own type


def plain(entry: LogEntry) -> LogEntry:
    """The entry in ASCII, for a database that refuses it as it is (an old MySQL in `utf8`, which has no emoji)."""
    changes = {
        name: text.encode("ascii", "backslashreplace").decode() for name in _TEXTS if (text := getattr(entry, name))
    }
    return cleaned(replace(entry, **changes))


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _shortened(text: str) -> str:
    return text.encode()[:_LONGEST_TEXT_BYTES].decode(errors="ignore")
