"""Topping up: a code that was bought, and where to buy one."""

from __future__ import annotations

import uuid
from functools import partial
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from flask import Response
from flask_babel import gettext, lazy_gettext

from oneapi.admin.display import money
from oneapi.admin.view import SECTION_USE, PanelView, actor, body, done, engine, expose, me, now, options
from oneapi.services import redemptions, users


class _Code(msgspec.Struct, frozen=True):
    key: str = ""


class TopUpView(PanelView):
    icon, section = "wallet", SECTION_USE

    @expose("/")
    def index(self) -> str:
        stored = users.get(engine(), actor(), me().id)
        return self.render(
            "panel/topup.html",
            balance=stored.quota or 0,
            spent=stored.used_quota or 0,
            requests=stored.request_count or 0,
            shop=_shop(options().top_up_link),
        )

    @expose("/redeem", methods=["POST"])
    def redeem(self) -> Response:
        amount = redemptions.redeem(engine(), actor(), body(_Code).key, now=now())
        return done(gettext("%(amount)s were added to your balance.", amount=money(amount)))


def _shop(link: str) -> str:
    """The operator's shop, told who comes, as One API tells it; "" where there is none."""
    parts = urlsplit(link)
    if parts.scheme not in ("http", "https"):
        return ""
    who = {"username": me().username, "user_id": str(me().id), "transaction_id": str(uuid.uuid4())}
    return parts._replace(query=urlencode([*parse_qsl(parts.query, keep_blank_values=True), *who.items()])).geturl()


VIEWS = (partial(TopUpView, name=lazy_gettext("Top up"), endpoint="topup"),)
