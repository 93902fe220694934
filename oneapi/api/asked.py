"""One request to the API, as a view sees it: who asks, and what for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from flask import current_app, request
from sqlalchemy import Engine

from oneapi.api import body
from oneapi.config import Config
from oneapi.database import Databases
from oneapi.i18n import messages
from oneapi.options import Options
from oneapi.relay.exchange import Ports
from oneapi.relay.upstream import Upstream
from oneapi.services import accounts, sessions
from oneapi.services.accounts import Account
from oneapi.services.audit import Actor
from oneapi.services.cache import Cache
from oneapi.services.emails import Sender
from oneapi.services.notify import Notifier
from oneapi.services.numbers import id_of
from oneapi.services.oauth import Providers
from oneapi.services.paging import DEFAULT_SIZE, LARGEST_SIZE, Listing, Page
from oneapi.services.refusal import Refusal, invalid_parameter
from oneapi.services.rounds import Rounds
from oneapi.services.snapshots import Snapshots
from oneapi.services.tokens import TokenCache
from oneapi.services.turnstile import Turnstile

T = TypeVar("T")


class Program(Protocol):
    """What the API needs of the program: `app.extensions["oneapi"]`."""

    @property
    def config(self) -> Config: ...
    @property
    def databases(self) -> Databases: ...
    @property
    def snapshots(self) -> Snapshots: ...
    @property
    def token_cache(self) -> TokenCache: ...
    @property
    def cache(self) -> Cache: ...
    @property
    def upstream(self) -> Upstream: ...
    @property
    def ports(self) -> Ports: ...
    @property
    def notifier(self) -> Notifier: ...
    @property
    def turnstile(self) -> Turnstile: ...
    @property
    def providers(self) -> Providers: ...
    @property
    def rounds(self) -> Rounds: ...


def program() -> Program:
    return cast(Program, current_app.extensions["oneapi"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`account` may only be asked for on a route that has a role."""

    found: Account | None
    address: str
    now: int

    @property
    def account(self) -> Account:
        assert self.found is not None, "a public route has no account"
        return self.found

    @property
    def actor(self) -> Actor:
        return self.account.actor(self.address)

    @property
    def engine(self) -> Engine:
        return self.databases.main

    @property
    def log_engine(self) -> Engine:
        return self.databases.logs

    @property
    def databases(self) -> Databases:
        return program().databases

    @property
    def options(self) -> Options:
        return program().snapshots.options

    @property
    def secret(self) -> bytes:
        """The site's own, which signs cookies and codes."""
        secret = current_app.secret_key
        assert secret is not None
        return secret.encode() if isinstance(secret, str) else secret

    @property
    def sender(self) -> Sender:
        return Sender(
            engine=self.engine,
            options=self.options,
            notifier=program().notifier,
            secret=self.secret,
            now=self.now,
        )

    @property
    def language(self) -> messages.Language:
        return messages.language_of(request.headers.get("Accept-Language"))

    def body(self, form: type[T]) -> T:
        return body.decode(request.get_data(cache=False), form)

    def text(self, name: str) -> str:
        """A query parameter; "" where it is absent."""
        return request.args.get(name, "").replace("\0", "")

    def number(self, name: str) -> int:
        """A query parameter as a whole number; 0 where it is absent or none."""
        return id_of(self.text(name)) or 0

    def page(self) -> Page:
        """`p` counts from 0. With `size` or `page_size` the answer tells the total, too."""
        given = self.text("size") or self.text("page_size")
        size = min(id_of(given) or DEFAULT_SIZE, LARGEST_SIZE)
        return Page(self.number("p"), size, wants_total=bool(given))


def path_id(text: str) -> int:
    """A path's id. Raises Refusal where it is no number."""
    number = id_of(text)
    if number is None:
        raise invalid_parameter("id_is_missing")
    return number


def total_of(listing: Listing) -> dict[str, object]:
    """What stands beside a page's rows where the total was asked for."""
    return {} if listing.total is None else {"total": listing.total}


def identified(role: int | None) -> Asked:
    """The request with who asks. Raises Refusal where the route wants more than he has.

    A session wins; only without one is the access token looked at. Source: spec management.md §6.1.
    """
    found = None if role is None else _authenticated(role)
    return Asked(found=found, address=request.remote_addr or "", now=int(time.time()))


def _authenticated(role: int) -> Account:
    engine = program().databases.main
    # A browser says so when another site's page asks. SameSite lets it come with a cookie where that page is left for
    # ours, and some of One API's GETs change things (D-07).
    is_foreign = request.headers.get("Sec-Fetch-Site") == "cross-site"
    account = None if is_foreign else sessions.claimed(engine)
    if account is None:
        token = request.headers.get("Authorization", "")
        if not token:
            raise Refusal("not_logged_in", status=401)
        account = accounts.find_by_access_token(engine, token)
        if account is None:
            raise Refusal("access_token_invalid")
    if account.status != accounts.ENABLED:
        sessions.end()
        raise Refusal("account_disabled")
    if account.role < role:
        raise Refusal("role_too_low")
    return account
