"""Errors as OpenAI's dialect has them.

Source: spec relay.md §1.10 and §1.11: this program's own errors keep One API's type and codes, a provider's error keeps
its own words, and what is about this gateway's key is told as the gateway's failure (defect #10).
"""

from __future__ import annotations

from oneapi.errors import GatewayError, NotFound, UpstreamRejected
from oneapi.relay.adaptor import Json

CREDENTIAL_CODE = "upstream_credential_rejected"


def render_error(error: GatewayError) -> Json:
    """`{"error": {message, type, param, code}}`; of bare errors only message and type."""
    if isinstance(error, UpstreamRejected):
        return {"error": _of_provider(error)}
    if error.is_bare:
        return {"error": {"message": error.message, "type": "one_api_error"}}
    if isinstance(error, NotFound):
        return {"error": _told(error, "invalid_request_error", "" if error.code == error.default_code else error.code)}
    return {"error": _told(error, "one_api_error", error.code)}


def _told(error: GatewayError, kind: str, code: str) -> Json:
    return {"message": error.message, "type": kind, "param": error.param or "", "code": code}


def _of_provider(error: UpstreamRejected) -> Json:
    if error.is_credential:
        # The provider's words may quote a part of the key, and its type would be taken for the client's own failure.
        return {
            "message": "The provider refused this gateway's credentials or account. Please tell the operator.",
            "type": "upstream_error",
            "param": "",
            "code": CREDENTIAL_CODE,
            "upstream_status": error.upstream_status,
        }
    return {
        "message": error.message,
        "type": error.provider_type,
        "param": error.param or "",
        "code": error.provider_code,
    }
