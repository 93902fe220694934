"""OpenID Connect: the code flow with discovery, PKCE and nonce, and an ID token that is verified.

With OidcWellKnown the provider says itself where everything is and which keys it signs with. Without, the three
endpoints of the options serve as they do for One API: there is then no key to verify a token with, and the userinfo
endpoint alone says who it is.

Source: OpenID Connect Core 1.0 §3.1, Discovery 1.0 §4, RFC 7636.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from oneapi.options import Options
from oneapi.services.identities import Identity, Pending, ProviderFailed, key_of, text_of
from oneapi.services.web import Web, WebAnswer, WebError

SCOPE = "openid profile email"
_KEPT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What is known of the provider. Without an issuer nothing was discovered."""

    authorization: str
    token: str
    userinfo: str
    issuer: str = ""
    jwks: str = ""
    auth_methods: tuple[str, ...] = ()


class OpenID:
    """One per worker: remembers for ten minutes what it discovered."""

    def __init__(self, web: Web, *, now: Callable[[], float] = time.time) -> None:
        self._web = web
        self._now = now
        self._kept: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def authorize(self, options: Options, pending: Pending) -> str:
        """Where people sign in. Raises ProviderFailed."""
        from oneapi.services import id_tokens

        query = {
            "client_id": options.oidc_client_id,
            "redirect_uri": redirect_uri(options),
            "response_type": "code",
            "scope": SCOPE,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": id_tokens.challenge(pending.verifier),
            "code_challenge_method": "S256",
        }
        address = self._site(options).authorization
        return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"

    def identify(self, options: Options, code: str, pending: Pending) -> Identity:
        """Who it is. Raises ProviderFailed."""
        site = self._site(options)
        token = self._exchange(site, options, code, pending)
        claims = self._verified(site, options, token, pending) if site.issuer else {}
        if site.userinfo:
            told = self._ask("GET", site.userinfo, headers={"Authorization": f"Bearer {token['access_token']}"}).object
            if claims and told.get("sub") != claims["sub"]:  # Core §5.3.2
                raise ProviderFailed("userinfo is of somebody else than the ID token")
            claims = {**claims, **told}
        return Identity(
            key=key_of(claims, "sub"),
            name=text_of(claims, "name") or text_of(claims, "preferred_username"),
            email=text_of(claims, "email") if claims.get("email_verified") in (True, "true") else "",
            username=text_of(claims, "preferred_username"),
        )

    # ---- the three calls ----

    def _site(self, options: Options) -> _Site:
        if not options.oidc_well_known:
            site = _Site(
                authorization=options.oidc_authorization_endpoint,
                token=options.oidc_token_endpoint,
                userinfo=options.oidc_userinfo_endpoint,
            )
            if not site.token or not site.userinfo:
                raise ProviderFailed("its endpoints are not set")
            return site
        found = self._document(options.oidc_well_known)
        methods = found.get("token_endpoint_auth_methods_supported")
        site = _Site(
            authorization=text_of(found, "authorization_endpoint"),
            token=text_of(found, "token_endpoint"),
            userinfo=text_of(found, "userinfo_endpoint"),
            issuer=text_of(found, "issuer"),
            jwks=text_of(found, "jwks_uri"),
            auth_methods=tuple(methods) if isinstance(methods, list) else (),
        )
        if not (site.authorization and site.token and site.issuer):
            raise ProviderFailed(f"{options.oidc_well_known} describes no provider")
        return site

    def _exchange(self, site: _Site, options: Options, code: str, pending: Pending) -> Mapping[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri(options)}
        if pending.verifier:
            form["code_verifier"] = pending.verifier
        client = {"client_id": options.oidc_client_id, "client_secret": options.oidc_client_secret}
        if site.auth_methods and "client_secret_post" not in site.auth_methods:
            auth = (options.oidc_client_id, options.oidc_client_secret)
            answer = self._ask("POST", site.token, form=form, auth=auth)
        else:
            answer = self._ask("POST", site.token, form={**form, **client})
            if _wants_json(answer):  # what One API sends, and its makers' own providers read
                answer = self._ask("POST", site.token, json={**form, **client})
        if not text_of(answer.object, "access_token"):
            raise ProviderFailed(text_of(answer.object, "error") or f"the token endpoint answers {answer.status}")
        return answer.object

    def _verified(self, site: _Site, options: Options, token: Mapping[str, Any], pending: Pending) -> dict[str, Any]:
        """The ID token's claims. Raises ProviderFailed where it is not the answer to what was asked."""
        from oneapi.services import id_tokens

        value = text_of(token, "id_token")
        if not value:
            raise ProviderFailed("there is no ID token")
        expected = id_tokens.Expected(
            issuer=site.issuer,
            client_id=options.oidc_client_id,
            client_secret=options.oidc_client_secret,
            nonce=pending.nonce,
            access_token=token["access_token"],
        )
        try:
            return id_tokens.claims(value, expected, lambda: self._keys(site), now=self._now())
        except id_tokens.NotSigned:
            self._kept.pop(site.jwks, None)  # keys change now and then
            return id_tokens.claims(value, expected, lambda: self._keys(site), now=self._now())

    def _keys(self, site: _Site) -> Mapping[str, Any]:
        if not site.jwks:
            raise ProviderFailed("it names no keys")
        return self._document(site.jwks)

    # ---- asking ----

    def _document(self, url: str) -> Mapping[str, Any]:
        until_s, found = self._kept.get(url, (0.0, {}))
        if self._now() < until_s:
            return found
        answer = self._ask("GET", url)
        if answer.status != 200 or not answer.object:
            raise ProviderFailed(f"{url} answers {answer.status} without a document", is_away=answer.status >= 500)
        self._kept[url] = self._now() + _KEPT_S, answer.object
        return answer.object

    def _ask(self, method: str, url: str, **more: Any) -> WebAnswer:
        try:
            return self._web.ask(method, url, **more)
        except WebError as error:
            raise ProviderFailed(str(error), is_away=True) from error


def redirect_uri(options: Options) -> str:
    return f"{options.server_address}/oauth/oidc"


def _wants_json(answer: WebAnswer) -> bool:
    """Whether the form was not understood. An error of OAuth's own is an answer: another try would use up the code."""
    return answer.status == 415 or (answer.status >= 400 and not isinstance(answer.object.get("error"), str))
