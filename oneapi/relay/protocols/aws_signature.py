"""AWS Signature Version 4, for requests with a body in memory.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (read 2026-11-25).
Every service but S3 encodes the path, already encoded, once more (spec relay.md §8.3).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

from oneapi.relay.adaptor import UpstreamRequest

_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED = ("accept", "content-type", "x-amzn-bedrock-accept")


def sign(
    request: UpstreamRequest,
    now: float,
    *,
    access_key: str,
    secret_key: str,
    session_token: str,
    region: str,
    service: str,
) -> UpstreamRequest:
    """The request with date and signature. Header names must be in lower case."""
    parts = urlsplit(request.url)
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": moment}
    if session_token:
        added["x-amz-security-token"] = session_token
    named = {name: request.headers[name] for name in _SIGNED if name in request.headers}
    signed = {"host": parts.netloc, **named, **added}
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        (
            request.method,
            quote(parts.path or "/", safe="/-_.~"),
            "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(_query(parts.query))),
            *(f"{name}:{' '.join(signed[name].split())}" for name in sorted(signed)),
            "",
            names,
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{secret_key}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return replace(request, headers={**_without(request.headers), **added, "authorization": credential})


def _without(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers less those of an earlier signature."""
    return {name: value for name, value in headers.items() if name not in ("authorization", "x-amz-security-token")}


def _query(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
