"""iFlytek Spark's error codes, by WebSocket and by HTTP.

Source: spec relay.md §9.6, and exchanges written from https://www.xfyun.cn/doc/spark/Web.html and /HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay.adaptor import Headers, Json
from oneapi.relay.protocols import native_error, provider_error
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.provider_json import loads

_MEANINGS: Mapping[int, Meaning] = {
    10003: native_error.INVALID,
    10004: native_error.INVALID,
    10005: native_error.INVALID,
    10006: native_error.RATE,
    10007: native_error.RATE,
    10008: native_error.OVERLOADED,
    10013: native_error.FILTERED,
    10014: native_error.FILTERED,
    10015: native_error.KEY,
    10016: native_error.KEY,
    10019: native_error.FILTERED,
    10110: native_error.OVERLOADED,
    10163: native_error.INVALID,
    10404: native_error.NO_MODEL,
    10907: native_error.TOO_LONG,
    11200: native_error.KEY,
    11201: native_error.RATE,  # of a day
    11202: native_error.RATE,  # of a second
    11203: native_error.RATE,  # at once
}
_INNER_CODE = re.compile(r"\(code=(\d+)\)")


def error_in(value: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    """The refusal in a frame's header or an answer by HTTP: {code, message} or {error: {code, message}}.

    A code within the message says more than the one beside it.
    """
    inner = value.get("error")
    found = inner if isinstance(inner, dict) else value
    code = _number(found.get("code"))
    if code == 0:
        return None
    message = str(found.get("message") or "")
    within = _INNER_CODE.search(message)
    meaning = (_MEANINGS.get(int(within[1])) if within else None) or _MEANINGS.get(code)
    return native_error.refusal(code, message, meaning, status=status, headers=headers)


def _number(code: Any) -> int:
    if isinstance(code, str) and code.isascii() and code.isdigit():
        return int(code)
    return code if isinstance(code, int) else 0


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(loads(body), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)


def raise_error(data: bytes) -> None:
    """Raises UpstreamRejected where an answer by HTTP, or a chunk of one, is an error; a success has code 0."""
    if b'"choices"' not in data and data.lstrip()[:1] == b"{" and (error := error_in(loads(data))) is not None:
        raise error
