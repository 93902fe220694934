"""Errors of services that speak OpenAI's protocol and say some things in words, or codes, of their own.

Source: recorded and documented refusals; https://docs.together.ai/docs/error-codes; Doubao's
https://www.volcengine.com/docs/82379/1299023 and /1099476; https://docs.siliconflow.cn/faqs/error-code (20012);
https://novita.ai/docs/guides/error (all read 2026-11-25, Doubao's in part). On no page that could be read stand
Doubao's QuotaExceeded and SetLimitExceeded, SiliconFlow's 30001, xAI's new teams, and Novita's words but for
model_access_denied. What is not in a service's table is read as everywhere: see provider_error.

A message counts only as a whole or by how it begins, where no words of a client's can stand, and against an account
only where the service has no other way to say it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay.adaptor import Headers
from oneapi.relay.protocols import native_error, provider_error
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.provider_json import loads

ParseError = Callable[[int, Headers, bytes], UpstreamRejected]


@dataclass(frozen=True, slots=True)
class Rule:
    """What an error means whose code, or message, is like this; of any status where none is named."""

    meaning: Meaning
    code: re.Pattern[str] | None = None
    message: re.Pattern[str] | None = None
    status: int = 0

    def fits(self, error: UpstreamRejected) -> bool:
        if self.status and self.status != error.upstream_status:
            return False
        if self.code is not None:
            return self.code.search(str(error.provider_code)) is not None
        return self.message is not None and self.message.search(error.message) is not None


def _by_code(meaning: Meaning, code: str) -> Rule:
    return Rule(meaning, code=re.compile(code))


def _by_message(meaning: Meaning, message: str, status: int) -> Rule:
    return Rule(meaning, message=re.compile(message), status=status)


def by_rules(*rules: Rule) -> ParseError:
    """Reads errors as everywhere, and then by these rules; the first that fits counts."""

    def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
        error = provider_error.parse_error(status, headers, body)
        meaning = next((rule.meaning for rule in rules if rule.fits(error)), None)
        return error if meaning is None else _with(error, meaning)

    return parse_error


def _with(error: UpstreamRejected, meaning: Meaning) -> UpstreamRejected:
    return UpstreamRejected(
        error.message,
        upstream_status=meaning.status,
        provider_type=error.provider_type or str(error.provider_code or ""),
        provider_code=meaning.code or error.provider_code,
        param=error.param,
        retry_after_s=error.retry_after_s,
        is_credential=meaning.is_credential,
        headers=error.headers,
    )


DEEPSEEK = by_rules(_by_message(native_error.TOO_LONG, r"^This model's maximum context length", 400))
DOUBAO = by_rules(
    _by_code(native_error.NO_CREDIT, r"^AccountOverdueError"),
    _by_code(native_error.FORBIDDEN, r"^(AccessDenied|OperationDenied|QuotaExceeded|SetLimitExceeded)"),
    _by_code(native_error.NO_MODEL, r"^ModelNotOpen"),
    _by_code(native_error.FILTERED, r"SensitiveContentDetected|RiskDetection"),
    _by_message(native_error.TOO_LONG, r"^Total tokens of image and text exceed max message tokens", 400),
)
MISTRAL = by_rules(_by_message(native_error.NO_MODEL, r"^Invalid model: ", 400))
MOONSHOT = by_rules(_by_message(native_error.TOO_LONG, r"^Your request exceeded model token limit", 400))
OPENROUTER = by_rules(
    _by_message(native_error.NO_MODEL, r"^\S+ is not a valid model ID$", 400),
    _by_message(native_error.NO_MODEL, r"^Model \S+ does not exist$", 400),
    _by_message(native_error.TOO_LONG, r"^This endpoint's maximum context length is ", 400),
)
SILICONFLOW = by_rules(_by_code(native_error.NO_CREDIT, r"^30001$"), _by_code(native_error.NO_MODEL, r"^20012$"))
TOGETHER = by_rules(_by_message(native_error.TOO_LONG, r"^Input token count \+ ", 403))
XAI = by_rules(
    _by_message(native_error.KEY, r"^Incorrect API key provided", 400),
    _by_message(native_error.NO_MODEL, r"^Model not found", 400),
    _by_message(native_error.NO_CREDIT, r"^Your newly created team doesn't have any credits", 403),
    _by_message(native_error.NO_CREDIT, r"^Your team has either used all available credits", 403),
    _by_message(native_error.NO_CREDIT, r"^Your team has either used all available credits", 429),
)

_NOVITA: Mapping[str, Meaning] = {
    "FAILED_TO_AUTH": native_error.KEY,
    "INVALID_API_KEY": native_error.KEY,
    "MODEL_NOT_FOUND": native_error.NO_MODEL,
    "NOT_ENOUGH_BALANCE": native_error.NO_CREDIT,
    "MODEL_ACCESS_DENIED": native_error.NO_MODEL,  # the key is for other models
}


def novita(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """Novita's word for an error stands under `reason`, or as OpenAI's code or type."""
    error = provider_error.parse_error(status, headers, body)
    try:
        reason = loads(body).get("reason")
    except UpstreamGarbled:
        reason = None
    words = (str(word).upper() for word in (reason, error.provider_code, error.provider_type))
    meaning = next((_NOVITA[word] for word in words if word in _NOVITA), None)
    return error if meaning is None else _with(error, meaning)
