"""Signing in elsewhere: GitHub, OpenID Connect, Lark and the WeChat server program.

A sign-in is begun here, with a state in the browser's session, and ends here, once. Whoever is logged in meanwhile
binds the identity to his account; anybody else logs in, or gets an account. Source: spec management.md §6.6, with D-15
mended.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, Engine, func, or_, select, update

from oneapi.database import run_write
from oneapi.models import User
from oneapi.options import Options
from oneapi.services import accounts, audit, mail, registration, revisions
from oneapi.services.accounts import ENABLED, Account
from oneapi.services.audit import Actor, Change
from oneapi.services.identities import Identity, Pending, Provider, ProviderFailed, key_of, text_of
from oneapi.services.openid import OpenID
from oneapi.services.refusal import Refusal
from oneapi.services.registration import DISPLAY_NAME_LIMIT, EMAIL_LIMIT, USERNAME_LIMIT, NewAccount
from oneapi.services.rows import AnyRow
from oneapi.services.web import Web, WebError

PENDING_S = 1800  # for whoever has to find his second factor first
_STATE, _PENDING = "oauth_state", "oauth"  # of the session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the providers are whose address no option says. Tests have providers of their own."""

    github_authorize: str = "https://github.com/login/oauth/authorize"
    github_token: str = "https://github.com/login/oauth/access_token"
    github_user: str = "https://api.github.com/user"
    lark_authorize: str = "https://open.feishu.cn/open-apis/authen/v1/index"
    lark_token: str = "https://open.feishu.cn/open-apis/authen/v2/oauth/token"
    lark_user: str = "https://passport.feishu.cn/suite/passport/oauth/userinfo"


class Providers:
    """One per worker."""

    def __init__(self, web: Web, addresses: Addresses | None = None) -> None:
        self._web = web
        self._addresses = addresses or Addresses()
        openid = OpenID(web)
        self._all = {
            provider.name: provider
            for provider in (
                Provider(
                    name="github",
                    label="GitHub",
                    column="github_id",
                    display_name="GitHub User",
                    is_enabled=lambda options: options.github_oauth_enabled,
                    identify=self._github,
                    authorize=self._to_github,
                ),
                Provider(
                    name="oidc",
                    label="OpenID Connect",
                    column="oidc_id",
                    display_name="OIDC User",
                    is_enabled=lambda options: options.oidc_enabled,
                    identify=openid.identify,
                    authorize=openid.authorize,
                ),
                Provider(
                    name="lark",
                    label="Lark",
                    column="lark_id",
                    display_name="Lark User",
                    is_enabled=lambda options: bool(options.lark_client_id),
                    identify=self._lark,
                    authorize=self._to_lark,
                ),
                Provider(
                    name="wechat",
                    label="WeChat",
                    column="wechat_id",
                    display_name="WeChat User",
                    is_enabled=lambda options: options.wechat_auth_enabled,
                    identify=self._wechat,
                ),
            )
        }

    def named(self, name: str) -> Provider:
        """Raises Refusal where there is none of that name."""
        provider = self._all.get(name)
        if provider is None:
            raise Refusal("provider_unknown", provider=name)
        return provider

    # ---- GitHub: https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps ----

    def _to_github(self, options: Options, pending: Pending) -> str:
        query = {"client_id": options.github_client_id, "state": pending.state, "scope": "user:email"}
        return f"{self._addresses.github_authorize}?{urlencode(query)}"

    def _github(self, options: Options, code: str, pending: Pending) -> Identity:
        form = {
            "client_id": options.github_client_id,
            "client_secret": options.github_client_secret,
            "code": code,
        }
        user = self._user_of_token(self._addresses.github_token, form, self._addresses.github_user)
        number = user.get("id")
        return Identity(
            key=key_of(user, "login"),
            name=text_of(user, "name"),
            email=text_of(user, "email"),  # GitHub shows none that it has not verified
            username="",
            number=str(number) if isinstance(number, int) else "",
        )

    # ---- Lark: https://open.feishu.cn/document/authentication-management/access-token/get-user-access-token ----

    def _to_lark(self, options: Options, pending: Pending) -> str:
        query = {
            "redirect_uri": _lark_redirect(options),
            "app_id": options.lark_client_id,
            "state": pending.state,
        }
        return f"{self._addresses.lark_authorize}?{urlencode(query)}"

    def _lark(self, options: Options, code: str, pending: Pending) -> Identity:
        form = {
            "client_id": options.lark_client_id,
            "client_secret": options.lark_client_secret,
            "code": code,
            "grant_type": "authorization_code",
            "redirect_uri": _lark_redirect(options),
        }
        user = self._user_of_token(self._addresses.lark_token, form, self._addresses.lark_user)
        return Identity(key=key_of(user, "open_id"), name=text_of(user, "name"))

    # ---- the WeChat server program: https://github.com/songquanpeng/wechat-server ----

    def _wechat(self, options: Options, code: str, pending: Pending) -> Identity:
        if not options.wechat_server_address:
            raise ProviderFailed("its address is not set")
        address = f"{options.wechat_server_address}/api/wechat/user?{urlencode({'code': code})}"
        answer = self._ask("GET", address, headers={"Authorization": options.wechat_server_token})
        if answer.get("success") is not True:
            raise ProviderFailed(text_of(answer, "message") or "it does not know the code")
        return Identity(key=key_of(answer, "data"))

    # ---- parts ----

    def _user_of_token(self, token_address: str, form: Mapping[str, str], user_address: str) -> Mapping[str, Any]:
        token = self._ask("POST", token_address, json=form)
        access_token = text_of(token, "access_token")
        if not access_token:
            raise ProviderFailed(text_of(token, "error") or "it gives no access token")
        return self._ask("GET", user_address, headers={"Authorization": f"Bearer {access_token}"})

    def _ask(self, method: str, url: str, **more: Any) -> Mapping[str, Any]:
        try:
            answer = self._web.ask(method, url, **more)
        except WebError as error:
            raise ProviderFailed(str(error), is_away=True) from error
        if answer.status >= 500:
            raise ProviderFailed(f"it answers {answer.status}", is_away=True)
        return answer.object


# ---- beginning and ending a sign-in ----


def begin(session: MutableMapping[str, Any], *, aff_code: str = "", now: int) -> Pending:
    """A sign-in that whoever has this session may end. `aff_code` is of who invited him."""
    pending = Pending(
        state=secrets.token_urlsafe(24),
        aff_code=aff_code[:64],
        nonce=secrets.token_urlsafe(24),
        verifier=secrets.token_urlsafe(48),
    )
    session[_STATE] = pending.state
    session[_PENDING] = {"until": now + PENDING_S, "aff_code": pending.aff_code}
    return pending


def address(provider: Provider, session: MutableMapping[str, Any], options: Options, pending: Pending) -> str:
    """Where to send people to sign in; the session then expects them back with nonce and PKCE. Raises Refusal."""
    if not provider.is_enabled(options):
        raise Refusal("provider_disabled", provider=provider.label)
    if provider.authorize is None:
        return ""
    session[_PENDING] = {**session[_PENDING], "nonce": pending.nonce, "verifier": pending.verifier}
    try:
        return provider.authorize(options, pending)
    except ProviderFailed as failed:
        raise _told(provider, failed) from failed


def take_pending(session: MutableMapping[str, Any], state: str, *, now: int) -> Pending:
    """The sign-in of that state, which cannot be ended again. Raises Refusal (403) where it was not begun here.

    One API's pages build the address themselves, from the state alone: such a sign-in has neither nonce nor PKCE.
    """
    expected, begun = session.pop(_STATE, None), session.pop(_PENDING, None)
    is_expected = isinstance(expected, str) and secrets.compare_digest(expected.encode(), state.encode())
    if not state or not is_expected or not isinstance(begun, dict) or begun.get("until", 0) < now:
        raise Refusal("state_wrong", status=403)
    return Pending(
        state=state,
        aff_code=begun.get("aff_code", ""),
        nonce=begun.get("nonce", ""),
        verifier=begun.get("verifier", ""),
    )


def identify(provider: Provider, options: Options, code: str, pending: Pending) -> Identity:
    """Whom the provider vouches for. Raises Refusal."""
    if not provider.is_enabled(options):
        raise Refusal("provider_disabled", provider=provider.label)
    if not code:
        raise Refusal("provider_refused", provider=provider.label)
    try:
        return provider.identify(options, code, pending)
    except ProviderFailed as failed:
        raise _told(provider, failed) from failed


def _told(provider: Provider, failed: ProviderFailed) -> Refusal:
    """What people are told. Why it failed is for the log, as it speaks of the operator's settings."""
    log.warning("Signing in with %s failed: %s", provider.label, failed)
    return Refusal("provider_unreachable" if failed.is_away else "provider_refused", provider=provider.label)


# ---- accounts ----


def sign_in(
    engine: Engine, options: Options, provider: Provider, identity: Identity, *, aff_code: str, address: str, now: int
) -> Account:
    """The account of that identity, made where there is none. Raises Refusal."""
    with engine.connect() as connection:
        row = _owner(connection, provider, identity)
    if row is None:
        registration.sign_up(
            engine, options, lambda connection: _new_account(connection, provider, identity, aff_code), now=now
        )

    def work(connection: Connection) -> Account:
        row = _owner(connection, provider, identity)
        if row is None or row.status != ENABLED:
            raise Refusal("account_disabled")
        account = accounts.of_row(row)
        _keep_up_to_date(connection, provider, identity, row)
        audit.record(connection, account.actor(address), f"logged in with {provider.label}", now=now)
        return account

    return run_write(engine, work)


def bind(engine: Engine, actor: Actor, provider: Provider, identity: Identity, *, now: int) -> None:
    """Binds the identity to the actor's account. Raises Refusal where another has it."""

    def work(connection: Connection) -> None:
        stored = accounts.row_of(connection, actor.user_id, for_update=True)
        owner = _owner(connection, provider, identity)
        if owner is not None and owner.id != stored.id:
            raise Refusal("identity_taken", provider=provider.label)
        _write(connection, actor, stored, _columns(provider, identity), now)

    run_write(engine, work)


def unbind(engine: Engine, actor: Actor, provider: Provider, user_id: int, *, now: int) -> None:
    """Takes the binding away: one's own, or as root anybody's. Raises Refusal where it is the only way in."""

    def work(connection: Connection) -> None:
        stored = accounts.row_of(connection, user_id, for_update=True)
        columns = {"github_id", "oidc_id", "lark_id", "wechat_id"} - {provider.column}
        has_another = any(getattr(stored, column) for column in columns)
        if user_id == actor.user_id and not stored.password and not has_another:
            raise Refusal("identity_is_last")
        _write(connection, actor, stored, _columns(provider, Identity(key="")), now)

    run_write(engine, work)


def _owner(connection: Connection, provider: Provider, identity: Identity) -> AnyRow | None:
    """The user whose identity this is: on GitHub by his number, by his login only where no number is known yet."""
    if identity.number:
        row = connection.execute(select(User).where(User.github_numeric_id == identity.number)).first()
        if row is not None:
            return row
    column = getattr(User, provider.column)
    query = select(User).where(column == identity.key).order_by(User.id)
    if identity.number:
        query = query.where(or_(User.github_numeric_id.is_(None), User.github_numeric_id == ""))
    rows = connection.execute(query).all()
    # MySQL's collations find an identity in other cases, too; on GitHub, and there alone, they are the same.
    return next(
        (row for row in rows if provider.name == "github" or getattr(row, provider.column) == identity.key), None
    )


def _new_account(connection: Connection, provider: Provider, identity: Identity, aff_code: str) -> NewAccount:
    email = identity.email
    if not mail.is_address(email) or len(email) > EMAIL_LIMIT or registration.is_email_taken(connection, email):
        email = ""
    return NewAccount(
        username=_free_username(connection, provider, identity.username),
        display_name=(identity.name or provider.display_name)[:DISPLAY_NAME_LIMIT],
        email=email,
        aff_code=aff_code,
        bindings=_columns(provider, identity),
    )


def _free_username(connection: Connection, provider: Provider, wish: str) -> str:
    """The name that was wished for where it is free; otherwise the provider's with a number."""
    if 0 < len(wish) <= USERNAME_LIMIT and _is_free(connection, wish):
        return wish
    number = (connection.execute(select(func.max(User.id))).scalar() or 0) + 1
    while not _is_free(connection, name := f"{provider.name}_{number}"):
        number += 1
    return name


def _is_free(connection: Connection, username: str) -> bool:
    return connection.execute(select(User.id).where(User.username == username)).first() is None


def _keep_up_to_date(connection: Connection, provider: Provider, identity: Identity, row: AnyRow) -> None:
    """GitHub's logins change, and One API's rows have no number."""
    values = _columns(provider, identity)
    if any(getattr(row, column) != value for column, value in values.items()):
        connection.execute(update(User).where(User.id == row.id).values(values))


def _columns(provider: Provider, identity: Identity) -> dict[str, str]:
    columns = {provider.column: identity.key}
    return columns | {"github_numeric_id": identity.number} if provider.name == "github" else columns


def _write(connection: Connection, actor: Actor, stored: AnyRow, values: Mapping[str, str], now: int) -> None:
    changes = [
        Change(column, before, after)
        for column, after in values.items()
        if (before := getattr(stored, column) or "") != after
    ]
    if not changes:
        return
    connection.execute(update(User).where(User.id == stored.id).values(dict(values)))
    audit.record(connection, actor, f"updated user {stored.id} ({stored.username})", changes, now=now)
    revisions.bump(connection, "accounts")


def _lark_redirect(options: Options) -> str:
    return f"{options.server_address}/oauth/lark"
