"""The gate that every view of the panel passes, and what views share.

How a page is made
------------------
1. A view: one file per noun, `oneapi/admin/<noun>.py`, with classes as below and makers of views,
   `VIEWS = (partial(TokenView, Token, name=lazy_gettext("Tokens"), endpoint="token"),)`; its module stands in `NOUNS`
   of `oneapi/admin/__init__.py`, in the order of the menu. Endpoint and address are One API's noun in the singular
   (`token` → /admin/token/, …/add, …/edit/1), which is where old bookmarks are sent to.

       class TokenView(PanelView):             # or RowsView, for a list of a model's rows
           role = COMMON                       # the least that may see it; the same as the API's
           icon, section = "key", SECTION_OWN  # of the menu

           @expose("/")
           def index(self) -> str:
               return self.render("panel/token.html", rows=…)

           @expose("/save", methods=["POST"])
           def save(self) -> Response:
               tokens.update_one(engine(), actor(), body(TokenFields), now=now())
               return done(gettext("Saved."))

2. A template, `oneapi/templates/panel/<noun>.html`, which extends "admin/master.html" and fills the blocks `title`,
   `actions` (buttons right of the title), `body`, `scripts`, and takes from "macros.html" what it needs: `field`,
   `select`, `switch`, `modal`, `empty`, `pager`, `copy`, `status`. `{{ icon("key") }}` draws an icon of
   tools/vendor.py, `{{ quota | money }}` money, `{{ unix_s | when }}` a moment in the reader's own time zone,
   `asset("js/token.js")` is the address of a file in oneapi/static/.

3. A script where needed, `oneapi/static/js/<noun>.js`, an ES module: `import { api, toast, confirm, t, el } from
   "./app.js"`. No handler and no style stands in the markup (the policy forbids it). Without a line of its own a page
   has: `<form data-ajax>` (sends JSON, shows errors beside their fields, then follows `location` or reloads),
   `<button data-post="/admin/…" data-confirm="Delete token “x”?">`, `<button data-copy="text">`,
   `<select data-select>`.

4. Texts in English, `_("…")`, with their Chinese in `oneapi/i18n/zh_Hans_CN/<noun>.po` and, for JavaScript,
   `script-<noun>.po` (i18n/panel.py).

A view holds no rule: it calls services and lets their Refusals pass, which errors.py tells to the reader, beside the
field that a refusal names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import msgspec
from flask import Blueprint, Response, current_app, g, redirect, request, session, url_for
from flask_admin import BaseView
from flask_admin import expose as flask_admin_expose
from flask_admin.contrib.sqla import ModelView
from flask_admin.form import BaseForm
from flask_babel import lazy_gettext
from sqlalchemy import Engine
from sqlalchemy.orm import load_only
from werkzeug.exceptions import Forbidden

from oneapi.options import Options
from oneapi.services import accounts, bootstrap, passwords, sessions
from oneapi.services.accounts import Account
from oneapi.services.audit import Actor
from oneapi.services.cache import NEWS
from oneapi.services.rates import web_rate
from oneapi.services.refusal import invalid_parameter
from oneapi.services.roles import ADMIN, COMMON, ROOT

if TYPE_CHECKING:
    from oneapi.app import Program

__all__ = ["ADMIN", "COMMON", "ROOT", "PanelView", "RowsView", "expose"]

T = TypeVar("T")
V = TypeVar("V", bound=Callable[..., Any])

SECTION_OWN = lazy_gettext("My account")
SECTION_USE = lazy_gettext("Use")
SECTION_OPERATE = lazy_gettext("Operate")
SECTION_SITE = lazy_gettext("Site")

LARGEST_BODY_BYTES = 16 * 1024 * 1024
_FLASK_ADMINS = frozenset({"admin_view", "admin_base_template", "config", "get_url", "h", "theme"})
_PASSWORD_SEEN = "password_seen"  # in the session: whether its password has been looked at, and found to be changed


# ---- the request ----


def program() -> Program:
    return cast("Program", current_app.extensions["oneapi"])


def engine() -> Engine:
    return program().databases.main


def log_engine() -> Engine:
    return program().databases.logs


def options() -> Options:
    return program().snapshots.options


def now() -> int:
    return int(time.time())


def current() -> Account | None:
    """Who is logged in; read once a request."""
    if "account" not in g:
        g.account = sessions.current(engine())
    return cast("Account | None", g.account)


def me() -> Account:
    """Who is logged in, within a view that the gate has let him into."""
    account = current()
    assert account is not None, "the gate lets nobody else in"
    return account


def actor() -> Actor:
    return me().actor(request.remote_addr or "")


def body(form: type[T]) -> T:
    """The JSON that a form of the panel sent. Raises Refusal."""
    try:
        return msgspec.json.decode(request.get_data(cache=False), type=form, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise invalid_parameter("field_has_wrong_type", detail=str(error)) from None


def done(message: object = "", data: object = None, *, location: str = "") -> Response:
    """The answer to a form or button: what to tell, and where to go next; without `location` the page decides."""
    content: dict[str, object] = {"success": True, "message": str(message)}
    if data is not None:
        content["data"] = data
    if location:
        content["location"] = location
    return Response(msgspec.json.encode(content), mimetype="application/json")


def wants_json() -> bool:
    """Whether a script asks, and not somebody who will see the answer as a page."""
    return request.accept_mimetypes.best == "application/json"


# ---- the gate ----


class Gate:
    """Who may see a view. Both kinds of views below inherit it, before Flask-Admin's class."""

    role: ClassVar[int] = COMMON
    icon: ClassVar[str] = "list"
    section: ClassVar[Any] = ""
    needs_new_password: ClassVar[bool] = True  # False only where one can be set

    def is_accessible(self) -> bool:
        account = current()
        return account is not None and account.role >= self.role

    def _handle_view(self, name: str, **kwargs: Any) -> Any:
        """Flask-Admin asks before each view; an answer is sent instead of it."""
        account = current()
        if account is None:
            return _to_login()
        if account.role < self.role:
            raise Forbidden
        if self.needs_new_password and has_default_password(account):
            if wants_json():
                raise Forbidden
            return redirect(url_for("password.index"))
        return None

    def render(self, template: str, **values: Any) -> str:
        hidden = _FLASK_ADMINS & values.keys()
        assert not hidden, f"Flask-Admin puts its own in the place of {hidden}"
        return cast(str, super().render(template, **values))  # type: ignore[misc]

    def _run_view(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Flask-Admin's own calls a view a second time when it raises TypeError, and so hides where it was raised."""
        return function(self, *args, **kwargs)

    def create_blueprint(self, admin: Any) -> Blueprint:
        made: Blueprint = super().create_blueprint(admin)  # type: ignore[misc]
        return guarded(made)


def guarded(made: Blueprint) -> Blueprint:
    """A blueprint of pages, with what all pages have: the rate, the largest body, and news of what was changed."""
    made.before_request(_limit_body)
    made.after_request(_publish)
    web_rate(made)
    return made


def has_default_password(account: Account) -> bool:
    """Whether this is still the password that the program began with; looked at once a session."""
    if session.get(_PASSWORD_SEEN) == account.session_version:
        return False
    with engine().connect() as connection:
        stored = accounts.row_of(connection, account.id).password
    if passwords.matches(stored, bootstrap.DEFAULT_PASSWORD):
        return True
    session[_PASSWORD_SEEN] = account.session_version
    return False


def _to_login() -> Any:
    if wants_json():
        return Response(
            msgspec.json.encode({"success": False, "location": url_for("public.login")}),
            status=401,
            mimetype="application/json",
        )
    back = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("public.login", next=back))


def _limit_body() -> None:
    request.max_content_length = LARGEST_BODY_BYTES


def _publish(response: Response) -> Response:
    if request.method != "GET" and response.status_code < 400:
        program().cache.publish(NEWS)
    return response


# ---- views ----


def expose(path: str = "/", methods: Iterable[str] = ("GET",)) -> Callable[[V], V]:
    """Flask-Admin's decorator, which makes a method of a view the answer at a path, with its type kept."""
    return cast("Callable[[V], V]", flask_admin_expose(path, methods))


class PanelView(Gate, BaseView):
    """A page of its own, or several under one address."""


class RowsView(Gate, ModelView):
    """A list of a model's rows: Flask-Admin's search, filters, sorting and paging over the whole table.

    Only the columns that are listed are read. Writing is for services: `create_model` and its kin are not offered
    unless a view brings its own.
    """

    loaded_columns: ClassVar[tuple[str, ...]] = ()  # read besides those that are listed

    can_create = can_edit = can_delete = can_view_details = can_export = False
    simple_list_pager = True  # nobody counts a large table for the sake of a page number
    page_size = 20
    can_set_page_size = True
    page_size_options = (10, 20, 50, 100)
    form = BaseForm  # forms are templates of ours; none is derived from the model

    def get_query(self) -> Any:
        """Override, together with `get_one`, to narrow a list to one's own rows."""
        names = dict.fromkeys(("id", *self.column_list, *self.loaded_columns))
        columns = [getattr(self.model, name) for name in names if hasattr(self.model, name)]
        return super().get_query().options(load_only(*columns, raiseload=True))
