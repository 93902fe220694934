"""Errors as DashScope has them: {code, message, request_id}, with a status or, in a stream, as an event.

Source: https://help.aliyun.com/zh/model-studio/error-code (read 2026-11-25), and recorded refusals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay.adaptor import Json
from oneapi.relay.protocols import native_error, provider_error
from oneapi.relay.protocols.native_error import Meaning

# By the whole code, else by what stands before its first dot.
_MEANINGS: Mapping[str, Meaning] = {
    "AccessDenied": native_error.FORBIDDEN,
    "AllocationQuota": native_error.FORBIDDEN,  # a model's free tokens are used up; other models go on
    "Arrearage": native_error.NO_CREDIT,
    "BadRequest": native_error.INVALID,
    "DataInspectionFailed": native_error.FILTERED,
    "InternalError": native_error.BROKEN,
    "InvalidApiKey": native_error.KEY,
    "InvalidParameter": native_error.INVALID,
    "InvalidURL": native_error.INVALID,
    "Model": native_error.FORBIDDEN,  # Model.AccessDenied
    "ModelNotFound": native_error.NO_MODEL,
    "ModelServingError": native_error.OVERLOADED,
    "ModelUnavailable": native_error.OVERLOADED,
    "RequestTimeOut": native_error.TIMEOUT,
    "ServiceUnavailable": native_error.OVERLOADED,
    "Throttling": native_error.RATE,
    "UnsupportedOperation": native_error.INVALID,
    "Workspace": native_error.FORBIDDEN,  # Workspace.AccessDenied
}
# The code InvalidParameter stands for many things; these are worth telling apart. A "url error" says that the model is
# served by the other of the two chat endpoints.
_TOO_LONG = "Range of input length should be"
_NO_MODEL = ("Model not exist", "url error")


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    error = None if not isinstance(value, dict) else error_in(value, status, headers)
    return error or provider_error.parse_error(status, headers, body)


def error_in(value: Json, status: int = 500, headers: Mapping[str, str] | None = None) -> UpstreamRejected | None:
    """The refusal in an object that has a code; `status` is what came with it, for codes that are not known."""
    code, message = value.get("code"), str(value.get("message") or "")
    if not isinstance(code, str) or not code:
        return None
    if message.startswith(_TOO_LONG):
        meaning: Meaning | None = native_error.TOO_LONG
    elif message.startswith(_NO_MODEL):
        meaning = native_error.NO_MODEL
    else:
        meaning = _MEANINGS.get(code) or _MEANINGS.get(code.partition(".")[0])
    return native_error.refusal(code, message, meaning, status=status, headers=headers)


def output_of(body: Json) -> Json:
    """The `output` of an answer. Raises UpstreamRejected for an error in its place, UpstreamGarbled for neither."""
    output = body.get("output")
    if isinstance(output, dict) and output and not body.get("code"):
        return output
    raise error_in(body) or UpstreamGarbled("The provider's answer has no output.")
