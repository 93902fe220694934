"""What a provider says when it refuses, whatever the shape: JSON of many kinds, HTML, plain text, or nothing.

Source: spec relay.md §1.10 and defect #8; the shapes are those of recorded and documented answers of 40 providers.
A provider whose errors say more than this sees (codes that mean "no credit", an error under a name of its own) has a
`parse_error` in its adaptor, which begins here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from oneapi.errors import UpstreamRejected

MAX_MESSAGE = 2000  # characters

_MAX_WAIT_S = 86_400.0

# What says by type or code that the key or the account was refused, where the status does not.
_CREDENTIAL_WORDS = frozenset(
    {
        "account_deactivated",
        "api_key_invalid",
        "authentication_error",
        "billing_not_active",
        "exceeded_current_quota_error",
        "incorrect_api_key",
        "insufficient_balance",
        "insufficient_quota",
        "invalid_api_key",
        "invalid_authentication_error",
        "token_expired",
        "unauthorized",
    }
)
# A 403 that speaks of the request, not of our key.
_CONTENT_WORDS = re.compile(r"content_filter|content_policy|moderation|flagged|safety|sensitive", re.IGNORECASE)

# The status an error inside a 200 or a stream would have had, by type or code (defect #9).
_STATUS_BY_WORD: Mapping[str, int] = {
    "api_error": 500,
    "authentication_error": 401,
    "content_filter": 400,
    "context_length_exceeded": 400,
    "engine_overloaded_error": 503,
    "insufficient_balance": 402,
    "insufficient_quota": 402,
    "internal_server_error": 500,
    "invalid_api_key": 401,
    "invalid_authentication_error": 401,
    "invalid_request_error": 400,
    "invalid_value": 400,
    "not_found_error": 404,
    "overloaded_error": 503,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_reached_error": 429,
    "server_error": 500,
    "service_unavailable": 503,
    "timeout": 504,
    "too_many_requests": 429,
}


@dataclass(frozen=True, slots=True)
class Words:
    """A provider's explanation; `is_openai_shaped` when it stood as `error.message` in an object."""

    message: str = ""
    type: str = ""
    code: Any = None
    param: str | None = None
    is_openai_shaped: bool = False


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is; header names are in lower case."""
    text = body.decode("utf-8", "replace").strip()
    try:
        value = json.loads(text) if text else None
    except (ValueError, RecursionError):
        value = None
    found = words(value) if isinstance(value, dict | list) else Words(_plain(value if isinstance(value, str) else text))
    return rejection(found, status, headers)


def error_in(value: Any) -> UpstreamRejected | None:
    """The refusal inside an answer with status 200, or inside a stream; None where the value is no error.

    Only for values that are not what the protocol promises: a success has a message of its own.
    """
    found = words(value)
    return rejection(found, _status_of(found), {}) if found.message else None


def rejection(found: Words, status: int, headers: Mapping[str, str]) -> UpstreamRejected:
    """The error to raise for what a provider said."""
    spoken = {str(found.type).lower(), str(found.code).lower()}
    is_credential = (
        status in (401, 402)
        or (status == 403 and not _CONTENT_WORDS.search(f"{found.type} {found.code} {found.message}"))
        or not spoken.isdisjoint(_CREDENTIAL_WORDS)
    )
    code = found.code
    if code is None and not found.is_openai_shaped:
        code = "bad_response_status_code"
    return UpstreamRejected(
        found.message or f"The provider answered with status {status} and no explanation.",
        upstream_status=status,
        provider_type=found.type if found.is_openai_shaped else found.type or "upstream_error",
        provider_code=code,
        param=found.param if found.is_openai_shaped else found.param or str(status),
        retry_after_s=retry_after_s(status, headers),
        is_credential=is_credential,
        headers=headers,
    )


def words(value: Any) -> Words:
    """The explanation in a JSON value; `message` is "" where none is found. Keys count in any case."""
    if isinstance(value, list):
        return next((found for item in value if (found := words(item)).message), Words())
    if isinstance(value, str):
        return Words(_plain(value))
    if not isinstance(value, dict):
        return Words()
    body = {str(key).lower(): item for key, item in value.items()}
    error = body.get("error")
    if isinstance(error, dict) and error:
        found = _of_object(error)
        message = found.message or _plain(json.dumps(error, ensure_ascii=False))
        return Words(message, found.type, found.code, found.param, is_openai_shaped=True)
    if isinstance(error, str | list) and (found := words(error)).message:
        sibling = _of_object(value)
        return Words(found.message, found.type or sibling.type, _first(found.code, sibling.code), found.param)
    for name in ("errors", "response", "header", "detail"):
        if isinstance(inner := body.get(name), dict | list) and (found := words(inner)).message:
            return Words(found.message, found.type, found.code, found.param)
    return _of_object(value)


_MESSAGE_KEYS = (
    "message",
    "msg",
    "err",
    "error_msg",
    "error_message",
    "error_description",
    "errormsg",
    "detail",
    "title",
)


def _of_object(value: Mapping[Any, Any]) -> Words:
    body = {str(key).lower(): item for key, item in value.items()}
    message = ""
    for name in _MESSAGE_KEYS:
        item = body.get(name)
        if isinstance(item, str) and item.strip():
            message = _plain(item)
        elif isinstance(item, dict | list) and item:
            message = words(item).message or _plain(json.dumps(item, ensure_ascii=False))
        if message:
            break
    kind = body.get("type") or body.get("status")
    code = _first(body.get("code"), body.get("error_code"), body.get("errcode"))
    param = body.get("param")
    if param is None and isinstance(loc := body.get("loc"), list):  # FastAPI: where in the request
        param = ".".join(str(step) for step in loc)
    return Words(
        message,
        kind if isinstance(kind, str) else "",
        code,
        param if isinstance(param, str) else None if param is None else json.dumps(param, ensure_ascii=False),
    )


def _first(*candidates: Any) -> Any:
    return next((item for item in candidates if item is not None), None)


_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_INVISIBLE = re.compile(r"<(script|style)\b.*?</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def _plain(text: str) -> str:
    """Text fit to show: of a page its title or its words, of anything not more than MAX_MESSAGE characters."""
    text = text[: MAX_MESSAGE * 10].strip()
    if text[:1] == "<" and re.match(r"<(!doctype|html|head|body|\?xml|h1)", text, re.IGNORECASE):
        title = _TITLE.search(text)
        text = title[1] if title and title[1].strip() else _TAG.sub(" ", _INVISIBLE.sub(" ", text))
        text = " ".join(text.split())
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "…"


def _status_of(found: Words) -> int:
    if isinstance(found.code, int) and 400 <= found.code <= 599:
        return found.code
    if isinstance(found.code, str) and found.code.isdigit() and 400 <= int(found.code) <= 599:
        return int(found.code)
    for word in (str(found.code).lower(), found.type.lower()):
        if word in _STATUS_BY_WORD:
            return _STATUS_BY_WORD[word]
    return 200


# ---- when to come back ----

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds after which the provider wants to be asked again, by its headers; None where they do not say.

    Dates are taken relative to the answer's own `Date`.
    """
    wait = _number(headers.get("retry-after-ms"), 0.001)
    if wait is None:
        wait = _number(headers.get("retry-after"), 1.0)
    if wait is None and (date := headers.get("retry-after")):
        wait = _seconds_between(headers.get("date"), date)
    if wait is None and status == 429:
        waits = [
            seconds
            for unit in ("requests", "tokens")
            if headers.get(f"x-ratelimit-remaining-{unit}") == "0"
            and (seconds := _duration(headers.get(f"x-ratelimit-reset-{unit}", ""))) is not None
        ]
        wait = max(waits, default=None)
    return None if wait is None else min(max(wait, 0.0), _MAX_WAIT_S)


def _number(text: str | None, unit: float) -> float | None:
    try:
        value = float(text) * unit if text else None
    except ValueError:
        return None
    return value if value is not None and value == value else None


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return _number(text, 1.0)
    hours, minutes, seconds, milliseconds = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _seconds_between(start: str | None, end: str) -> float | None:
    try:
        first, last = _instant(start or ""), _instant(end)
        return (last - first).total_seconds()
    except (ValueError, TypeError):
        return None


def _instant(text: str) -> datetime:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return datetime.fromisoformat(text)
