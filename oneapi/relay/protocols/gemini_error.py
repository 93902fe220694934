"""Errors as Google's APIs have them: {"error": {code, message, status, details}}, in a stream perhaps in a list.

Source: https://ai.google.dev/gemini-api/docs/troubleshooting and https://cloud.google.com/apis/design/errors (read
2026-11-25), and recorded refusals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from oneapi.errors import GatewayError, UpstreamRejected
from oneapi.relay.adaptor import Json
from oneapi.relay.protocols import provider_error

# Reasons in an ErrorInfo by which Google speaks of the key, the project or its billing, whatever the status.
_CREDENTIAL_REASONS = re.compile(
    r"API_KEY_|ACCESS_TOKEN_|CREDENTIALS_MISSING|BILLING_|SERVICE_DISABLED|CONSUMER_|ACCOUNT_STATE_INVALID|IAM_"
)
# The same in words, where no ErrorInfo comes along. The second is about the country this gateway asks from.
_CREDENTIAL_WORDS = re.compile(
    r"API key (?:not valid|not found|expired)|User location is not supported|Please enable billing", re.IGNORECASE
)
# A 403 about a thing that the client named: a file or a cached content of another project, or one that is gone.
_CLIENTS_THING = re.compile(r"(?:You do not have permission to access the File|CachedContent not found)", re.IGNORECASE)
_TOO_LONG = re.compile(r"The input token count (?:\(\d+\) )?exceeds the maximum number of tokens")


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    error = _error_of(value)
    return provider_error.parse_error(status, headers, body) if error is None else _rejection(error, status, headers)


def error_in(value: Any) -> UpstreamRejected | None:
    """The refusal in an answer with status 200, None where it is none."""
    error = _error_of(value)
    if error is None:
        return None
    code = error.get("code")
    return _rejection(error, code if isinstance(code, int) and 400 <= code <= 599 else 500, {})


def _error_of(value: Any) -> Json | None:
    if isinstance(value, list):
        return next((found for item in value if (found := _error_of(item)) is not None), None)
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) and error else None


def _rejection(error: Json, status: int, headers: Mapping[str, str]) -> UpstreamRejected:
    word = str(error.get("status") or "")
    details = error.get("details")
    details = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    reason = next((str(item["reason"]) for item in details if item.get("reason")), "")
    known = provider_error.rejection(provider_error.words({"error": error}), status, headers)
    message, code = known.message, reason or word or error.get("code")
    is_credential = bool(
        _CREDENTIAL_REASONS.match(reason) or (status < 500 and _CREDENTIAL_WORDS.match(message)) or status == 401
    )
    if status == 403 and not is_credential:
        if _CLIENTS_THING.match(message):
            status, word, code = 404, "NOT_FOUND", "NOT_FOUND"
        else:
            is_credential = True
    if _TOO_LONG.match(message):
        code = "context_length_exceeded"
    return UpstreamRejected(
        message,
        upstream_status=status,
        provider_type=word,
        provider_code=code,
        retry_after_s=_retry_delay_s(details) if known.retry_after_s is None else known.retry_after_s,
        is_credential=is_credential,
        headers=headers,
    )


def _retry_delay_s(details: list[Json]) -> float | None:
    """Of a RetryInfo: "48s", "0.5s"."""
    for item in details:
        delay = item.get("retryDelay")
        if isinstance(delay, str) and re.fullmatch(r"\d+(\.\d+)?s", delay):
            return min(float(delay[:-1]), 86_400.0)
    return None


# ---- the client half ----

_STATUS_WORDS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def render_error(error: GatewayError) -> Json:
    status = error.client_status
    message = error.message
    if isinstance(error, UpstreamRejected) and error.is_credential:
        message = "The provider refused this gateway's credentials or account. Please tell the operator."
    word = _STATUS_WORDS.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    return {"error": {"code": status, "message": message, "status": word}}
