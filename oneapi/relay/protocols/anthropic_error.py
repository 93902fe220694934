"""Errors of Anthropic's messages, both ways.

Source: https://platform.claude.com/docs/en/api/errors (read 2026-11-25). An account without credit is told in words
only, with status 400 (https://github.com/anthropics/claude-code/issues/4207); so are a limit of the account's own and
a disabled organisation. These words begin the message, where nothing that a client sent can stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from oneapi.errors import GatewayError, InsufficientQuota, UpstreamRejected
from oneapi.relay.adaptor import Json
from oneapi.relay.protocols import provider_error

_STATUS_BY_TYPE: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 503,
    "timeout_error": 504,
}
_TYPE_BY_STATUS = {**{status: name for name, status in _STATUS_BY_TYPE.items()}, 529: "overloaded_error"}

_NO_CREDIT = re.compile(
    r"Your credit balance is too low|You have reached your specified (?:API|workspace API) usage limits"
    r"|This organization has been disabled"
)
_TOO_LONG = re.compile(r"prompt is too long|input length and `max_tokens` exceed context limit")


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    found = provider_error.parse_error(status, headers, body)
    try:
        value = json.loads(body)
    except ValueError:
        return found
    return _told(found, value)


def error_in(value: Any) -> UpstreamRejected | None:
    """The refusal inside a stream, or an answer with status 200; None where the value is no error."""
    if not isinstance(value, dict) or not isinstance(error := value.get("error"), dict):
        return None
    words = provider_error.words(value)
    return _told(provider_error.rejection(words, _STATUS_BY_TYPE.get(str(error.get("type")), 500), {}), value)


def _told(found: UpstreamRejected, value: Any) -> UpstreamRejected:
    """The refusal with what Anthropic says in its own way: that there is no credit, that the prompt is too long."""
    error = value.get("error") if isinstance(value, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    code = details.get("error_code") if isinstance(details, dict) else None
    if found.provider_code is None and isinstance(code, str):
        found.provider_code = code
    if found.upstream_status == 400 and (_NO_CREDIT.match(found.message) or code == "credit_balance_too_low"):
        found.is_credential = True
    elif found.provider_code is None and _TOO_LONG.match(found.message):
        found.provider_code = "context_length_exceeded"
    return found


def render_error(error: GatewayError) -> Json:
    """`{"type": "error", "error": {type, message}}`. What is about this gateway's key is the gateway's failure."""
    message = error.message
    if isinstance(error, UpstreamRejected) and error.is_credential:
        # The provider's words may quote a part of the key.
        message = "The provider refused this gateway's credentials or account. Please tell the operator."
    kind = _TYPE_BY_STATUS.get(error.client_status)
    if isinstance(error, InsufficientQuota):
        kind = "billing_error"
    elif kind is None:
        kind = "invalid_request_error" if error.client_status < 500 else "api_error"
    return {"type": "error", "error": {"type": kind, "message": message}}
