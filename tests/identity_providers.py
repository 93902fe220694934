"""Identity providers on loopback: GitHub, Lark and a WeChat server program in one, and an OpenID provider that signs.

They behave as their documentation says, give each code once, and keep what they were asked; what a test changes of
their behaviour is a field.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from tests.postoffice import JsonServer, json_server

Answer = tuple[int, Any]


@dataclass
class Social:
    """GitHub at /github, Lark at /lark, the WeChat server at /wechat. `people` are by code."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    delay_s: float = 0
    redirects_to: str = ""
    server: JsonServer | None = None

    def __call__(self, environ: dict[str, Any], body: Any) -> Answer:
        time.sleep(self.delay_s)
        if self.redirects_to:
            return 302, self.redirects_to
        if self.status != 200:
            return self.status, "broken"
        path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        match path:
            case "/github/token" | "/lark/token":
                if body["client_secret"] != "app-secret" or body["code"] not in self.people:
                    return 200, {"error": "bad_verification_code", "error_description": "wrong or expired"}
                return 200, {"access_token": f"token-of-{body['code']}", "token_type": "bearer", "scope": "user:email"}
            case "/github/user" | "/lark/user":
                code = authorization.removeprefix("Bearer token-of-")
                if code not in self.people:
                    return 401, {"message": "Bad credentials"}
                return 200, self.people.pop(code)
            case "/wechat/api/wechat/user":
                code = query.get("code", [""])[0]
                if authorization != "wechat-token" or code not in self.people:
                    return 200, {"success": False, "message": "wrong code", "data": ""}
                return 200, {"success": True, "message": "", "data": self.people.pop(code)["id"]}
        return 404, {}

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    @property
    def asked(self) -> list[tuple[str, str, Any]]:
        assert self.server is not None
        return self.server.asked


@contextmanager
def social() -> Iterator[Social]:
    made = Social()
    with json_server(made) as made.server:
        yield made


@dataclass
class OpenIDProvider:
    """Signs with `key`; `claims` are of whoever signs in, `token_claims` what it gets wrong in its ID token.

    `takes`: "form", "basic" (the client's secret in a header) or "json". `algorithm` "HS256" signs with the secret.
    """

    claims: dict[str, Any] = field(default_factory=dict)
    token_claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = field(default_factory=dict)  # beside the claims; None: it has no such endpoint
    takes: str = "form"
    algorithm: str = "RS256"
    gives_id_token: bool = True
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    signs_with: RSAKey | None = None
    begun: dict[str, dict[str, str]] = field(default_factory=dict)  # code -> the query that began it
    server: JsonServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def log_in(self, address: str) -> str:
        """Who follows the address is sent back with this code."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = f"code-{len(self.begun)}"
        self.begun[code] = query
        return code

    def __call__(self, environ: dict[str, Any], body: Any) -> Answer:
        match environ["PATH_INFO"]:
            case "/.well-known/openid-configuration":
                document = {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize?tenant=1",
                    "token_endpoint": f"{self.url}/token",
                    "jwks_uri": f"{self.url}/keys",
                    "response_types_supported": ["code"],
                }
                if self.userinfo is not None:
                    document["userinfo_endpoint"] = f"{self.url}/me"
                if self.takes == "basic":
                    document["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]
                return 200, document
            case "/authorize":
                code, begun = self.log_in(f"?{environ['QUERY_STRING']}"), parse_qs(environ["QUERY_STRING"])
                return 302, f"{begun['redirect_uri'][0]}?{urlencode({'code': code, 'state': begun['state'][0]})}"
            case "/keys":
                return 200, KeySet([self.key]).as_dict(private=False)
            case "/token":
                return self._token(environ, body)
            case "/me":
                if environ.get("HTTP_AUTHORIZATION") != "Bearer access":
                    return 401, {"error": "invalid_token"}
                return 200, {**self.claims, **(self.userinfo or {})}
        return 404, {}

    def _token(self, environ: dict[str, Any], body: Any) -> Answer:
        if self.takes == "json":
            if not isinstance(body, dict):
                return 400, {"message": "a JSON body is expected"}
            form = body
        else:
            if isinstance(body, dict):
                return 415, {"error": "invalid_request"}
            form = {name: values[0] for name, values in parse_qs(body).items()}
        if self.takes == "basic":
            name, _, secret = (
                base64.b64decode(environ["HTTP_AUTHORIZATION"].removeprefix("Basic ")).decode().partition(":")
            )
        else:
            name, secret = form["client_id"], form["client_secret"]
        begun = self.begun.pop(form["code"], None)
        if (name, secret) != ("client", "client-secret-of-some-length") or begun is None:
            return 400, {"error": "invalid_grant"}
        if begun["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "redirect_uri"}
        challenge, verifier = begun.get("code_challenge"), form.get("code_verifier")
        if (challenge is None) != (verifier is None):  # RFC 9700 §4.8.2
            return 400, {"error": "invalid_grant", "error_description": "PKCE"}
        if verifier is not None and create_s256_code_challenge(verifier) != challenge:
            return 400, {"error": "invalid_grant", "error_description": "PKCE"}
        answer = {"access_token": "access", "token_type": "Bearer", "expires_in": 60}
        if self.gives_id_token:
            answer["id_token"] = self._id_token(begun)
        return 200, answer

    def _id_token(self, begun: dict[str, str]) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": begun["client_id"], "iat": now, "exp": now + 300, **self.claims}
        if "nonce" in begun:
            claims["nonce"] = begun["nonce"]
        claims = {name: value for name, value in {**claims, **self.token_claims}.items() if value is not None}
        if self.algorithm == "HS256":
            return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("client-secret-of-some-length"))
        key = self.signs_with or self.key
        return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


@contextmanager
def openid_provider(**behaviour: Any) -> Iterator[OpenIDProvider]:
    made = OpenIDProvider(**behaviour)
    with json_server(made) as made.server:
        yield made
