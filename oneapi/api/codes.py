"""/api/verification, /api/reset_password, /api/user/reset and /api/oauth/email/bind: what is proved by mail.

Source: spec management.md §6.4, §6.5.
"""

from __future__ import annotations

import msgspec

from oneapi.api.asked import Asked, program
from oneapi.api.routing import COMMON, Route
from oneapi.services import emails, recovery
from oneapi.services.turnstile import Action


class _Reset(msgspec.Struct, frozen=True):
    email: str = ""
    token: str = ""
    password: str = ""  # ours: One API makes one


class _Bind(msgspec.Struct, frozen=True):
    email: str = ""
    code: str = ""


def verification(asked: Asked) -> None:
    check_human(asked, "verify")
    emails.send_code(asked.sender, asked.text("email").strip(), asked.language)


def reset_password(asked: Asked) -> None:
    check_human(asked, "reset")
    recovery.request(asked.sender, asked.text("email").strip())


def reset(asked: Asked) -> object:
    """The password that was made; nothing where one was chosen."""
    form = asked.body(_Reset)
    password = recovery.reset(
        asked.engine,
        asked.secret,
        form.email.strip(),
        form.token,
        form.password,
        address=asked.address,
        now=asked.now,
    )
    return None if form.password else password


def bind_by_link(asked: Asked) -> None:
    _bind(asked, _Bind(asked.text("email"), asked.text("code")))


def bind(asked: Asked) -> None:
    _bind(asked, asked.body(_Bind))


def _bind(asked: Asked, form: _Bind) -> None:
    emails.bind(asked.engine, asked.actor, asked.secret, form.email.strip(), form.code, now=asked.now)


def check_human(asked: Asked, action: Action) -> None:
    """Raises Refusal where Turnstile is on and does not vouch for who asks."""
    token = asked.text("turnstile")
    program().turnstile.check(asked.options, action, token, address=asked.address, now=asked.now)


ROUTES = (
    Route("GET", "/api/verification", None, verification, is_critical=True),
    Route("GET", "/api/reset_password", None, reset_password, is_critical=True),
    Route("POST", "/api/user/reset", None, reset, is_critical=True),
    Route("GET", "/api/oauth/email/bind", COMMON, bind_by_link, is_critical=True),
    Route("POST", "/api/oauth/email/bind", COMMON, bind, is_critical=True),
)
