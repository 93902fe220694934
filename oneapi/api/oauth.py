"""/api/oauth: signing in with a third party, binding it and taking the binding away.

Source: spec management.md §6.6.
"""

from __future__ import annotations

import msgspec
from flask import session

from oneapi.api import objects
from oneapi.api.asked import Asked, path_id, program
from oneapi.api.routing import COMMON, ROOT, Answer, Route
from oneapi.services import oauth, sessions
from oneapi.services.identities import Pending


class _Code(msgspec.Struct, frozen=True):
    code: str = ""


def state(asked: Asked) -> object:
    """The state; with `provider`, also the address to go to, with nonce and PKCE. `aff_code` says who invited."""
    pending = oauth.begin(session, aff_code=asked.text("aff_code") or asked.text("aff"), now=asked.now)
    if not (name := asked.text("provider")):
        return Answer(pending.state)
    address = oauth.address(program().providers.named(name), session, asked.options, pending)
    return Answer(pending.state, beside={"address": address})


def github(asked: Asked) -> object:
    return _back(asked, "github")


def oidc(asked: Asked) -> object:
    return _back(asked, "oidc")


def lark(asked: Asked) -> object:
    return _back(asked, "lark")


def wechat(asked: Asked) -> object:
    """Signs in by the code that the account's owner typed in: there is no way there, hence no state."""
    return _sign_in(asked, "wechat", Pending(state="", aff_code=asked.text("aff_code") or asked.text("aff")))


def bind_wechat_by_link(asked: Asked) -> object:
    return _bind(asked, asked.text("code"))


def bind_wechat(asked: Asked) -> object:
    return _bind(asked, asked.body(_Code).code)


def unbind(asked: Asked, provider: str) -> None:
    found = program().providers.named(provider)
    oauth.unbind(asked.engine, asked.actor, found, asked.account.id, now=asked.now)


def unbind_others(asked: Asked, id: str, provider: str) -> None:
    found = program().providers.named(provider)
    oauth.unbind(asked.engine, asked.actor, found, path_id(id), now=asked.now)


def _back(asked: Asked, name: str) -> object:
    """Somebody comes back from the provider: logged in, he binds it; otherwise he logs in by it."""
    pending = oauth.take_pending(session, asked.text("state"), now=asked.now)
    account = sessions.current(asked.engine)
    if account is None:
        return _sign_in(asked, name, pending)
    provider = program().providers.named(name)
    identity = oauth.identify(provider, asked.options, asked.text("code"), pending)
    oauth.bind(asked.engine, account.actor(asked.address), provider, identity, now=asked.now)
    return Answer(message="bind")


def _sign_in(asked: Asked, name: str, pending: Pending) -> object:
    provider = program().providers.named(name)
    identity = oauth.identify(provider, asked.options, asked.text("code"), pending)
    account = oauth.sign_in(
        asked.engine,
        asked.options,
        provider,
        identity,
        aff_code=pending.aff_code,
        address=asked.address,
        now=asked.now,
    )
    sessions.begin(account)
    return objects.logged_in(account)


def _bind(asked: Asked, code: str) -> object:
    provider = program().providers.named("wechat")
    identity = oauth.identify(provider, asked.options, code, Pending(state=""))
    oauth.bind(asked.engine, asked.actor, provider, identity, now=asked.now)
    return Answer(message="bind")


ROUTES = (
    Route("GET", "/api/oauth/state", None, state, is_critical=True),
    Route("GET", "/api/oauth/github", None, github, is_critical=True),
    Route("GET", "/api/oauth/oidc", None, oidc, is_critical=True),
    Route("GET", "/api/oauth/lark", None, lark, is_critical=True),
    Route("GET", "/api/oauth/wechat", None, wechat, is_critical=True),
    Route("GET", "/api/oauth/wechat/bind", COMMON, bind_wechat_by_link, is_critical=True),
    Route("POST", "/api/oauth/wechat/bind", COMMON, bind_wechat, is_critical=True),
    Route("DELETE", "/api/oauth/<provider>", COMMON, unbind),
    Route("DELETE", "/api/user/<id>/oauth/<provider>", ROOT, unbind_others),
)
