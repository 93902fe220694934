"""ID tokens of OpenID Connect: their signature and what they claim.

Loaded at the first sign-in: the libraries are heavy, and most installations never use them.

Source: OpenID Connect Core 1.0 §3.1.3.7, RFC 7636 §4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey
from joserfc.jws import extract_compact

from oneapi.services.identities import ProviderFailed

_ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_SYMMETRIC = ("HS256", "HS384", "HS512")  # keyed by the client's secret
_LEEWAY_S = 60  # between two clocks


class NotSigned(ProviderFailed):
    """None of the provider's keys has signed the token; perhaps there are new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the token has to be the answer to."""

    issuer: str
    client_id: str
    client_secret: str
    nonce: str
    access_token: str


def challenge(verifier: str) -> str:
    """The PKCE challenge that goes with a verifier."""
    made: str = create_s256_code_challenge(verifier)
    return made


def claims(value: str, expected: Expected, keys: Callable[[], Mapping[str, Any]], *, now: float) -> dict[str, Any]:
    """The claims, once signature, issuer, audience, time and nonce are right. `keys` gives the provider's JSON Web Key
    Set.

    Raises ProviderFailed, NotSigned among them."""
    decoded = _decoded(value, expected, keys)
    claims = CodeIDToken(
        decoded.claims,
        decoded.header,
        options={
            "iss": {"essential": True, "value": expected.issuer},
            "aud": {"essential": True, "value": expected.client_id},
        },
        params={
            "nonce": expected.nonce,
            "client_id": expected.client_id,
            "access_token": expected.access_token,
        },
    )
    try:
        claims.validate(now=int(now), leeway=_LEEWAY_S)
    except (JoseError, ValueError) as error:
        raise _invalid(ProviderFailed, error) from error
    return dict(claims)


def _decoded(value: str, expected: Expected, keys: Callable[[], Mapping[str, Any]]) -> jwt.Token:
    try:
        if extract_compact(value.encode()).headers().get("alg") in _SYMMETRIC and expected.client_secret:
            return jwt.decode(value, OctKey.import_key(expected.client_secret), algorithms=list(_SYMMETRIC))
    except (JoseError, ValueError) as error:
        raise _invalid(ProviderFailed, error) from error
    try:
        return jwt.decode(value, KeySet.import_key_set(cast(Any, dict(keys()))), algorithms=list(_ASYMMETRIC))
    except (JoseError, ValueError) as error:  # ValueError: there is no key of that name
        raise _invalid(NotSigned, error) from error


def _invalid(kind: type[ProviderFailed], error: Exception) -> ProviderFailed:
    return kind(f"the ID token is not valid: {error}")
