"""Pages for everybody, at the addresses that One API's interface has for them, and its other addresses.

Old paths lead to their counterparts with their query kept, because they stand in bookmarks, in mails and in other
people's pages (spec management.md §10, appendix B 30). Whoever has to log in first goes on to where he wanted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as AnyResponse

from oneapi.admin import display, security
from oneapi.admin.errors import refusal_text
from oneapi.admin.view import current, done, engine, guarded, now, options
from oneapi.config import Config
from oneapi.services import accounts, sessions
from oneapi.services.passwords import LEAST_CHARACTERS, MOST_CHARACTERS
from oneapi.services.rates import critical_rate
from oneapi.services.refusal import Refusal

blueprint = guarded(Blueprint("public", __name__))

STARTED_AT = int(time.time())
TURNSTILE = "https://challenges.cloudflare.com"


@dataclass(frozen=True, slots=True)
class Provider:
    """A third party that people may sign in with; /api/oauth/state tells the page the way there."""

    name: str
    label: str
    icon: str


def init_app(app: Flask, config: Config) -> None:
    app.jinja_env.globals.update(sign_in_providers=sign_in_providers, turnstile=f"{TURNSTILE}/turnstile/v0/api.js")
    app.register_blueprint(blueprint)


# ---- home and about ----


@blueprint.get("/")
def home() -> str:
    settings = options()
    own = _own_page(settings.home_page_content)
    return own or render_template("public/home.html", started_at=STARTED_AT, notice=_notice())


@blueprint.get("/about")
def about() -> str:
    return _own_page(options().about, gettext("About")) or render_template("public/about.html")


def _own_page(content: str, title: str = "") -> str:
    """What the operator wrote for this page; "" where he wrote nothing."""
    content = content.strip()
    if not content:
        return ""
    title = title or options().system_name
    if content.startswith("https://") and len(content.split()) == 1:
        security.allow("frame-src", security.origin(content))
        return render_template("public/framed.html", address=content, title=title)
    text = display.own_text(content)
    _allow_images(text)
    return render_template("public/own.html", text=text, title=title, notice=_notice())


def _notice() -> str:
    """The operator's notice, which a browser shows once."""
    text = options().notice.strip()
    if not text:
        return ""
    made = display.own_text(text)
    _allow_images(made)
    return made


def _allow_images(text: str) -> None:
    """An operator's own text may look as he likes: with pictures from where he says, and styles in its tags."""
    security.allow("img-src", *(security.origin(address) for address in display.image_addresses(text)))
    security.allow("style-src-attr", "'unsafe-inline'")


# ---- coming and going ----


@blueprint.get("/login")
def login() -> Any:
    if current() is not None:
        return redirect(security.safe_next(request.args.get("next"), url_for("admin.index")))
    return _login_page(request.args.get("next", ""))


@blueprint.post("/login")
@critical_rate
def log_in() -> Any:
    form = request.form
    try:
        account = accounts.log_in(
            engine(),
            options(),
            form.get("username", "").replace("\0", ""),
            form.get("password", "").replace("\0", ""),
            address=request.remote_addr or "",
            now=now(),
        )
    except Refusal as refusal:
        return _login_page(form.get("next", ""), username=form.get("username", ""), message=refusal_text(refusal))
    sessions.begin(account)
    return redirect(security.safe_next(form.get("next"), url_for("admin.index")))


def _login_page(next_: str, **values: str) -> str:
    return render_template("public/login.html", next=security.safe_next(next_, ""), **values)


@blueprint.post("/logout")
def logout() -> Response:
    sessions.end()
    return done(location=url_for("public.home"))


@blueprint.get("/register")
def register() -> Any:
    if current() is not None:
        return redirect(url_for("admin.index"))
    _allow_turnstile()
    return render_template("public/register.html", least=LEAST_CHARACTERS, most=MOST_CHARACTERS)


@blueprint.get("/reset")
def reset() -> str:
    _allow_turnstile()
    return render_template("public/reset.html")


@blueprint.get("/user/reset")
def reset_by_mail() -> str:
    """Where a mailed link leads."""
    email, token = request.args.get("email", ""), request.args.get("token", "")
    limits = {"least": LEAST_CHARACTERS, "most": MOST_CHARACTERS}
    return render_template("public/reset_by_mail.html", email=email, token=token, **limits)


@blueprint.get("/oauth/<any(github, oidc, lark):provider>")
def signed_in(provider: str) -> str:
    """Where a third party sends people back to; the page's script hands its code to the API."""
    return render_template("public/signed_in.html", provider=provider)


def _allow_turnstile() -> None:
    if options().turnstile_check_enabled:
        for directive in ("script-src", "frame-src", "connect-src"):
            security.allow(directive, TURNSTILE)


def sign_in_providers() -> list[Provider]:
    """Those that the options switch on."""
    settings = options()
    found = []
    if settings.github_oauth_enabled:
        found.append(Provider("github", "GitHub", "brand-github"))
    if settings.oidc_enabled:
        found.append(Provider("oidc", "OpenID Connect", "id"))
    if settings.lark_client_id:
        found.append(Provider("lark", gettext("Lark"), "message"))
    if settings.wechat_auth_enabled:
        found.append(Provider("wechat", gettext("WeChat"), "brand-wechat"))
    return found


# ---- One API's paths ----

OLD_PATHS = {
    "/channel": "/admin/channel/",
    "/channel/add": "/admin/channel/add",
    "/token": "/admin/token/",
    "/token/add": "/admin/token/add",
    "/redemption": "/admin/redemption/",
    "/redemption/add": "/admin/redemption/add",
    "/topup": "/admin/topup/",
    "/user": "/admin/user/",
    "/user/add": "/admin/user/add",
    "/user/edit": "/admin/account/",
    "/dashboard": "/admin/",
    "/log": "/admin/log/",
    "/setting": "/admin/setting/",
    "/chat": "/admin/chat/",
    "/profile": "/admin/account/",
    "/detail": "/admin/",
    "/analytics": "/admin/",
    "/panel": "/admin/",
}
_EDITED = ("channel", "token", "redemption", "user")


def _leads_to(address: str) -> Any:
    def lead(id: int | None = None) -> AnyResponse:
        path = address if id is None else f"{address}/{id}"
        query = urlencode(list(request.args.items(multi=True)))
        return redirect(f"{path}?{query}" if query else path, 302)

    return lead


for _old, _address in OLD_PATHS.items():
    for _prefix in ("", "/panel"):
        if _prefix and _old == "/panel":
            continue
        _path = _prefix + _old
        blueprint.add_url_rule(_path, f"old {_path}", _leads_to(_address), strict_slashes=False)
for _noun in _EDITED:
    for _prefix in ("", "/panel"):
        _path = f"{_prefix}/{_noun}/edit/<int:id>"
        blueprint.add_url_rule(_path, f"old {_path}", _leads_to(f"/admin/{_noun}/edit"), strict_slashes=False)
