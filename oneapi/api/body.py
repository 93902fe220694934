"""Request bodies, read as leniently as One API reads them, and a little more (spec management.md §4.1).

Names match in any case, unknown ones are ignored, null is as good as absent, whole floats and digits in a text pass for
integers, and what follows the first JSON value is not looked at. A value of the wrong type is an error all the same.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from oneapi.services.refusal import invalid_parameter

T = TypeVar("T")

LARGEST_BYTES = 16 * 1024 * 1024


def decode(raw: bytes, form: type[T]) -> T:
    """The body as that struct. Raises Refusal."""
    try:
        value, _ = _DECODER.raw_decode(raw.decode("utf-8-sig", "replace").lstrip())
    except (ValueError, RecursionError):
        raise invalid_parameter("body_is_no_object") from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise invalid_parameter("body_is_no_object")
    fields = {name.lower(): _clean(item) for name, item in value.items() if item is not None}
    try:
        return msgspec.convert(fields, form, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_parameter("field_has_wrong_type", detail=str(error)) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _clean(value: Any) -> Any:
    """Text as every database takes it: without zero characters and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "")
    return value
