"""Multipart bodies read in place: the small fields of a form, and one of them rewritten, without copying its files.
Small forms of our own are written, too.

Source: https://www.rfc-editor.org/rfc/rfc7578 (read 2026-11-25).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message

from oneapi.errors import InvalidRequest

_MAX_HEAD_BYTES = 16 * 1024
_MAX_FIELD_BYTES = 1024 * 1024
_MAX_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form: body[start:end] is its content, body[opening:] the boundary line before it."""

    name: str
    filename: str | None
    opening: int
    start: int
    end: int


def parts(body: bytes, content_type: str) -> tuple[Part, ...]:
    """The form's fields in order. Raises InvalidRequest for a body that is not such a form."""
    found = tuple(_parts(body, _boundary(content_type)))
    if not found:
        raise InvalidRequest("The request body is not a multipart form.")
    return found


def text(body: bytes, part: Part) -> str:
    """A field's value. Raises InvalidRequest where it is not a short UTF-8 text."""
    if part.end - part.start > _MAX_FIELD_BYTES:
        raise InvalidRequest(f"Field '{part.name}' is too long.", param=part.name)
    try:
        return body[part.start : part.end].decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"Field '{part.name}' is not valid UTF-8.", param=part.name) from error


def fields(body: bytes, found: tuple[Part, ...]) -> dict[str, str]:
    """Name → value of the fields that are not files; of one that comes twice, the first."""
    values: dict[str, str] = {}
    for part in found:
        if part.filename is None and part.name not in values:
            values[part.name] = text(body, part)
    return values


def with_field(body: bytes, content_type: str, name: str, value: str) -> bytes:
    """The same form with this field set: in place where it is there, else as a new first field."""
    content = value.encode()
    found = parts(body, content_type)
    for part in found:
        if part.name == name and part.filename is None:
            return b"".join((body[: part.start], content, body[part.end :]))
    boundary = b"--" + _boundary(content_type)
    head = b'\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n'
    at = found[0].opening
    return b"".join((body[:at], boundary, head, content, b"\r\n", body[at:]))


def with_model(body: bytes, content_type: str, model: str) -> bytes:
    """The same form for another model."""
    return with_field(body, content_type, "model", model)


# One that no text or file has in it but on purpose; then the form is refused.
_OUR_BOUNDARY = b"one-api-form-9d2c4b7e51f04a8fb6e3"


def written(fields: Mapping[str, str], file: tuple[str, str, bytes] | None = None) -> tuple[str, bytes]:
    """The content type and the body of a form with these fields and one file: (name, media type, content).

    Raises InvalidRequest where a value holds the boundary.
    """
    pieces = [
        (f'Content-Disposition: form-data; name="{name}"', value.encode("utf-8", "replace"))
        for name, value in fields.items()
    ]
    if file is not None:
        name, media_type, content = file
        head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {media_type}'
        pieces.append((head, content))
    if any(_OUR_BOUNDARY in content for _, content in pieces):
        raise InvalidRequest("The request holds the boundary of the form it is to be sent in.")
    parts = [b"--%b\r\n%b\r\n\r\n%b\r\n" % (_OUR_BOUNDARY, head.encode(), content) for head, content in pieces]
    body = b"".join([*parts, b"--%b--\r\n" % _OUR_BOUNDARY])
    return f"multipart/form-data; boundary={_OUR_BOUNDARY.decode()}", body


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        raise InvalidRequest("The Content-Type must be multipart/form-data with a boundary.")
    return boundary.encode("utf-8", "replace")


def _parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    delimiter = b"\r\n--" + boundary
    opening = 0 if body.startswith(delimiter[2:]) else body.find(delimiter) + 2
    if opening == 1:
        return
    for _ in range(_MAX_PARTS):
        line_end = opening + len(delimiter) - 2
        if body[line_end : line_end + 2] == b"--":
            return
        head_end = body.find(b"\r\n\r\n", line_end, line_end + _MAX_HEAD_BYTES)
        end = body.find(delimiter, head_end + 4)
        if head_end < 0 or end < 0:
            raise InvalidRequest("The multipart form is cut or damaged.")
        name, filename = _names(body[line_end:head_end])
        yield Part(name, filename, opening, head_end + 4, end)
        opening = end + 2
    raise InvalidRequest(f"The multipart form has more than {_MAX_PARTS} fields.")


_DISPOSITION = re.compile(rb"^content-disposition:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(rb';\s*(name|filename)\*?=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))', re.IGNORECASE)


def _names(head: bytes) -> tuple[str, str | None]:
    """(field name, file name or None) by the part's Content-Disposition."""
    match = _DISPOSITION.search(head)
    pairs = _NAME.findall(match[1] if match else b"")
    named = {name.lower(): (quoted or bare).decode("utf-8", "replace") for name, quoted, bare in pairs}
    if b"name" not in named:
        raise InvalidRequest("A field of the multipart form has no name.")
    return named[b"name"], named.get(b"filename")
