"""What a provider's own error codes mean, for providers whose errors are a number or a word with a message.

Many of them answer an error with status 200, so the code alone says whose fault it is. Each such provider has a table
from its codes to the meanings below; the words by which clients of OpenAI's API know a case stand as `code`, the
provider's own code then stands as `type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oneapi.errors import UpstreamRejected
from oneapi.relay.protocols.provider_error import retry_after_s


@dataclass(frozen=True, slots=True)
class Meaning:
    """The status such an error would have had, and whether it is about our key or account."""

    status: int
    code: str = ""
    is_credential: bool = False


INVALID = Meaning(400)
TOO_LONG = Meaning(400, "context_length_exceeded")
FILTERED = Meaning(400, "content_filter")
KEY = Meaning(401, is_credential=True)
NO_CREDIT = Meaning(402, is_credential=True)
FORBIDDEN = Meaning(403, is_credential=True)
NO_MODEL = Meaning(404, "model_not_found")
NOT_FOUND = Meaning(404)
RATE = Meaning(429)
BROKEN = Meaning(500)
OVERLOADED = Meaning(503)
TIMEOUT = Meaning(504)


def refusal(
    code: Any, message: str, meaning: Meaning | None, *, status: int = 500, headers: Mapping[str, str] | None = None
) -> UpstreamRejected:
    """The error to raise for a provider's code; `status` is what holds where the code's meaning is not known."""
    known = meaning or Meaning(status, is_credential=status in (401, 402, 403))
    return UpstreamRejected(
        message or f"The provider answered with error {code} and no explanation.",
        upstream_status=known.status,
        provider_type=str(code),
        provider_code=known.code or code,
        retry_after_s=retry_after_s(known.status, headers or {}),
        is_credential=known.is_credential,
        headers=headers,
    )
