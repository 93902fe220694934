"""JSON that providers send, and JSON that goes out."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from oneapi.errors import UpstreamGarbled
from oneapi.relay.adaptor import Json

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def loads(data: bytes | str) -> Json:
    """A JSON object of a provider's. Raises UpstreamGarbled for anything else.

    By the fastest decoder; what that refuses and the standard library reads (NaN, lone surrogates) is read as well.
    """
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        value = _leniently(data)
    if not isinstance(value, dict):
        raise UpstreamGarbled("The provider's answer is not a JSON object.")
    return value


def _leniently(data: bytes | str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UpstreamGarbled("The provider's answer is not valid JSON.") from error


def dumps(value: Any) -> bytes:
    """JSON as short as it gets, by the fastest encoder; lone surrogates, which it refuses, stay escapes."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
