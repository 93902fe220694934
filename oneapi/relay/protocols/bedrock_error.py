"""Errors of Amazon Bedrock: by status with the exception's name in a header, or as a frame in the middle of a stream.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html, .../API_runtime_Converse.html and
/latest/userguide/troubleshooting-api-error-codes.html (read 2026-11-25), and recorded answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import provider_error

_STATUS: Mapping[str, int] = {
    "validation": 400,
    "modelnotready": 429,
    "throttling": 429,
    "servicequotaexceeded": 429,
    "accessdenied": 403,
    "resourcenotfound": 404,
    "modeltimeout": 408,
    # The model failed, not the request: Bedrock's own 424 would say that nobody else need be asked.
    "modelerror": 500,
    "modelstreamerror": 500,
    "internalserver": 500,
    "serviceunavailable": 503,
    # These come with 400 or 403; they are about the key.
    "unrecognizedclient": 401,
    "invalidsignature": 401,
    "incompletesignature": 401,
    "missingauthenticationtoken": 401,
    "expiredtoken": 401,
    "invalidclienttokenid": 401,
    "optinrequired": 401,
}
# Words that begin a message, where nothing that a client sent can stand.
_BAD_KEY = re.compile(r"Authentication failed|The security token included in the request")
_NO_CREDIT = re.compile(r"Model access is denied due to INVALID_PAYMENT_INSTRUMENT")
_NO_MODEL = re.compile(r"The provided model identifier is invalid|Invocation of model ID")
_TOO_LONG = re.compile(r"Input is too long for requested model|prompt is too long|input length and `max_tokens` exceed")


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    found = provider_error.parse_error(status, headers, body)
    name = headers.get("x-amzn-errortype", "").partition(":")[0]
    return _refusal(found.message, name, status, found.retry_after_s, headers)


def raise_exception(frame: Frame) -> None:
    """Raises UpstreamRejected where the frame is an exception, UpstreamGarbled where it is an error of the stream."""
    kind = frame.headers.get(":message-type")
    if kind == "exception":
        try:
            value: Any = json.loads(frame.data)
        except ValueError:
            value = None
        message = provider_error.words(value).message or "The provider ended its stream with an exception."
        raise _refusal(message, frame.headers.get(":exception-type", ""), 500, None, {})
    if kind == "error":
        words = frame.headers.get(":error-message") or frame.headers.get(":error-code") or "no explanation"
        raise UpstreamGarbled(f"The provider ended its stream with an error: {words[: provider_error.MAX_MESSAGE]}")


def _refusal(
    message: str, name: str, status: int, retry_after_s: float | None, headers: Mapping[str, str]
) -> UpstreamRejected:
    status = _STATUS.get(name.removesuffix("Exception").lower(), status)
    code = name or None
    if _BAD_KEY.match(message):
        status = 401
    elif _NO_CREDIT.match(message):
        status = 402
    elif status == 400 and _NO_MODEL.match(message):
        status = 404  # the account, or its region, does not have the model: another channel may
    elif status == 400 and _TOO_LONG.match(message):
        code = "context_length_exceeded"
    return UpstreamRejected(
        message,
        upstream_status=status,
        provider_type=name or "upstream_error",
        provider_code=code,
        retry_after_s=retry_after_s,
        headers=headers,
    )
