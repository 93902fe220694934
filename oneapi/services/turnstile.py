"""Turnstile: Cloudflare's word that somebody is human, for one action at a time.

Cloudflare takes each of its tokens once. One API's pages send the same one with the request for a verification code and
with the registration that follows, so the first use leaves a voucher for the second, good once and for ten minutes; no
session remembers anything (spec management.md §6.7).

Source: https://developers.cloudflare.com/turnstile/get-started/server-side-validation/
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection, Engine, delete, insert

from oneapi.database import run_write
from oneapi.models import OneTimeCode
from oneapi.options import Options
from oneapi.services.codes import LIFETIME_S
from oneapi.services.refusal import Refusal
from oneapi.services.web import Web, WebError

Action = Literal["verify", "reset", "register"]

SITEVERIFY = "https://challenges.cloudflare.com/turnstile/v0/siteverify"
_PURPOSE = "turnstile"
_THEN: Mapping[Action, tuple[Action, ...]] = {"verify": ("register",)}

log = logging.getLogger(__name__)


class Turnstile:
    """One per worker. `url` is for tests, which have a Cloudflare of their own."""

    def __init__(self, engine: Engine, web: Web, url: str = SITEVERIFY) -> None:
        self._engine = engine
        self._web = web
        self._url = url

    def check(self, options: Options, action: Action, token: str, *, address: str, now: int) -> None:
        """Raises Refusal unless the token says that a human asks for this; nothing where Turnstile is off."""
        if not options.turnstile_check_enabled:
            return
        if not token:
            raise Refusal("turnstile_required")
        subject = hashlib.sha256(token.encode()).hexdigest()
        if self._has_voucher(action, subject, now):
            return
        form = {"secret": options.turnstile_secret_key, "response": token, "remoteip": address}
        try:
            answer = self._web.ask("POST", self._url, form=form)
        except WebError as error:
            log.warning("Turnstile: %s", error)
            raise Refusal("turnstile_unreachable") from None
        if answer.object.get("success") is not True:
            raise Refusal("turnstile_failed")
        self._leave_vouchers(_THEN.get(action, ()), subject, now)

    def _has_voucher(self, action: Action, subject: str, now: int) -> bool:
        mine = (OneTimeCode.purpose == _PURPOSE, OneTimeCode.subject == subject, OneTimeCode.code == action)

        def work(connection: Connection) -> bool:
            return connection.execute(delete(OneTimeCode).where(*mine, OneTimeCode.expires_at > now)).rowcount > 0

        return run_write(self._engine, work)

    def _leave_vouchers(self, actions: tuple[Action, ...], subject: str, now: int) -> None:
        def work(connection: Connection) -> None:
            for action in actions:
                values = {"purpose": _PURPOSE, "subject": subject, "code": action, "expires_at": now + LIFETIME_S}
                connection.execute(insert(OneTimeCode).values(values))

        if actions:
            run_write(self._engine, work)
