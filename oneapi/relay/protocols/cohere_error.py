"""Errors as Cohere has them: {message, id, error_type}, with a status that tells their kind.

Source: https://docs.cohere.com/errors-reference (read in part 2026-11-25), and recorded refusals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay.adaptor import Headers, Json
from oneapi.relay.protocols import native_error, provider_error
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.provider_json import loads

_CODE = "cohere_error"  # where the answer has no word of its own
_MEANINGS: Mapping[int, Meaning] = {
    401: native_error.KEY,
    402: native_error.NO_CREDIT,
    403: native_error.FORBIDDEN,
    404: native_error.NO_MODEL,
    429: native_error.RATE,
    498: native_error.KEY,  # the token has ended
    499: native_error.BROKEN,  # given up by the provider: we did not hang up
}
_TOO_LONG = "too many tokens"
_MONTHLY = "API calls / month"  # what a trial key may do, for the rest of the month


def error_in(body: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    """The refusal in {message}; None where there is none."""
    message: Any = body.get("message")
    if not isinstance(message, str) or not message:
        return None
    meaning = _MEANINGS.get(status)
    if message.startswith(_TOO_LONG):
        meaning = native_error.TOO_LONG
    elif status == 429 and _MONTHLY in message:
        meaning = native_error.NO_CREDIT
    code = body.get("error_type")
    return native_error.refusal(
        code if isinstance(code, str) and code else _CODE, message, meaning, status=status, headers=headers
    )


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(loads(body), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)
