"""What went wrong, told to the reader of a page or to the page's script."""

from __future__ import annotations

import logging

import msgspec
from flask import Flask, Response, g, render_template, request
from flask_babel import gettext
from flask_limiter.errors import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, InternalServerError

from oneapi.admin.view import wants_json
from oneapi.database import is_unavailable
from oneapi.i18n import messages, panel
from oneapi.journal import REQUEST_ID
from oneapi.services.refusal import Refusal

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """The API has handlers of its own; these are for everything else that Flask answers."""
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(RateLimitExceeded, _too_many)
    app.register_error_handler(CSRFError, _stale)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(SQLAlchemyError, _database)
    app.register_error_handler(InternalServerError, _failed)


def refusal_text(refusal: Refusal) -> str:
    """In the reader's language. Of "Invalid input: a reason" the reason, because it stands where the input was."""
    text = refusal.innermost.text(panel.language())
    return text[:1].upper() + text[1:]


def failure(message: str, status: int, *, field: str | None = None, title: str = "", hint: str = "") -> Response:
    """One failure, as a page or as JSON."""
    if wants_json():
        content = {"success": False, "message": message, "field": field}
        return Response(msgspec.json.encode(content), status=status, mimetype="application/json")
    page = render_template("public/error.html", status=status, title=title or message, message=hint or message)
    return Response(page, status=status, mimetype="text/html")


def _refused(refusal: Refusal) -> Response:
    # A form that is refused is an everyday answer to its script, as on the API; a page that is refused is a failure.
    status = refusal.status if refusal.status != 200 or wants_json() else 422
    response = failure(refusal_text(refusal), status, field=refusal.field)
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


def _too_many(error: RateLimitExceeded) -> Response:
    seconds = int(error.limit.limit.get_expiry()) if error.limit else 1
    return failure(messages.text("too_many_requests", panel.language(), seconds=seconds), 429)


def _stale(error: CSRFError) -> Response:
    return failure(gettext("This page is out of date. Please reload it and try again."), 400)


def _http(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if status < 400:
        return error
    titles = {
        403: (gettext("Not for you"), gettext("Your role does not permit you to see this page.")),
        404: (gettext("Page not found"), gettext("There is nothing at this address.")),
        413: (gettext("Too large"), gettext("What was sent is larger than can be taken.")),
    }
    title, hint = titles.get(status, (error.name, gettext("This request cannot be answered.")))
    response = failure(hint, status, title=title, hint=hint)
    if status == 405:
        response.headers.extend(error.get_headers(request.environ))
        response.headers["Content-Type"] = f"{response.mimetype}; charset=utf-8"
    return response


def _database(error: SQLAlchemyError) -> Response:
    if not is_unavailable(error):
        log.exception("%s %s failed", request.method, request.path)
        return _failed(None)
    log.error("%s %s: the database is away: %s", request.method, request.path, error)
    g.account = None  # who asks cannot be read either: the page is shown as to anybody
    response = failure(messages.text("database_away", panel.language()), 503)
    response.headers["Retry-After"] = "5"
    return response


def _failed(_error: object) -> Response:
    """Flask has logged what it was."""
    title = gettext("Something went wrong")
    message = messages.text("internal_error", panel.language(), request_id=REQUEST_ID.get())
    return failure(message, 500, title=title, hint=message)
