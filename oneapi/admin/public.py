"""Pages for everybody, at the addresses that One API's interface has for them, and its other addresses.

Old paths lead to their counterparts with their query kept, because they stand in bookmarks, in mails and in other
people's pages (spec management.md §10, appendix B 30). Whoever has to log in first goes on to where he wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from oneapi.admin import display, security
from oneapi.admin.errors import refusal_text
from oneapi.admin.view import current, done, engine, guarded, now, options
from oneapi.config import Config
from oneapi.services import accounts, sessions
from oneapi.services.rates import critical_rate
from oneapi.services.refusal import Refusal

blueprint = Blueprint("public", __name__)


@dataclass(frozen=True, slots=True)
class Provider:
    """A third party that people may sign in with. `address` begins the way there; the page adds the state to it."""

    name: str
    label: str
    icon: str
    address: str = ""


def init_app(app: Flask, config: Config) -> None:
    app.jinja_env.globals["sign_in_providers"] = sign_in_providers
    app.jinja_env.filters["own_text"] = display.own_text
    if not config.is_master and config.frontend_base_url:
        _send_elsewhere(app, config.frontend_base_url)
    app.register_blueprint(guarded(blueprint))


def _send_elsewhere(app: Flask, base: str) -> None:
    """A slave without pages of its own sends people to the node that has them (spec management.md §8.3)."""

    @app.before_request
    def elsewhere() -> AnyResponse | None:
        if request.path.startswith(("/api", "/v1", "/dashboard/billing", "/healthz", "/readyz", "/metrics")):
            return None
        return redirect(f"{base}{request.full_path.rstrip('?')}", 301)


# ---- home and about ----


@blueprint.get("/")
def home() -> str:
    return render_template("public/home.html")


@blueprint.get("/about")
def about() -> str:
    return render_template("public/home.html")


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
        page = _login_page(form.get("next", ""), username=form.get("username", ""), message=refusal_text(refusal))
        return Response(page, status=429 if refusal.retry_after_s else 422, mimetype="text/html")
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
    return render_template("public/home.html")


@blueprint.get("/reset")
def reset() -> Any:
    return render_template("public/home.html")


def sign_in_providers() -> list[Provider]:
    """Those that the options switch on and fill in."""
    return []


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
        query = [*request.args.items(multi=True), *([("id", str(id))] if id is not None else [])]
        return redirect(address + (f"?{urlencode(query)}" if query else ""), 302)

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
