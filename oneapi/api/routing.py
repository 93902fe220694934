"""From a table of routes to blueprints: who may ask, how often, what comes back, and how errors are told.

    ROUTES = (Route("GET", "/api/token/", COMMON, listing), …)

A view gets an `Asked` and its path's values, and returns the envelope's `data`: None for none, `Answer` for fields
beside it, a Flask response where One API's answer is no envelope. Both forms of a path, with and without a final slash,
are served as they are. Source: spec management.md §4.1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps

import msgspec
from flask import Blueprint, Response, request
from flask_limiter.errors import RateLimitExceeded
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from oneapi.api import body
from oneapi.api.asked import identified, program
from oneapi.database import is_unavailable
from oneapi.errors import GatewayError
from oneapi.i18n import messages
from oneapi.journal import REQUEST_ID
from oneapi.services.cache import NEWS
from oneapi.services.rates import api_rate, critical_rate
from oneapi.services.refusal import Refusal
from oneapi.services.roles import ADMIN, COMMON, ROOT

__all__ = ["ADMIN", "COMMON", "ROOT", "Answer", "Route", "blueprint", "envelope", "fallback", "told_to_wait"]

log = logging.getLogger(__name__)

View = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `role`: the least that may ask, None for anybody; `is_critical`: rate class CT, too."""

    method: str
    path: str
    role: int | None
    view: View
    is_critical: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An envelope that holds more than `data`."""

    data: object = None
    message: str = ""
    beside: dict[str, object] = field(default_factory=dict)


def blueprint(name: str, routes: Iterable[Route]) -> Blueprint:
    """The routes of one noun."""
    made = Blueprint(f"api_{name}", __name__)
    for route in routes:
        view = _answering(route)
        made.add_url_rule(
            route.path,
            f"{route.method} {route.path}".replace(".", " "),
            critical_rate(view) if route.is_critical else view,
            methods=[route.method],
            strict_slashes=False,
            provide_automatic_options=False,
        )
    made.before_request(_limit_body)
    _tell_errors(made)
    return _limited(made)


def fallback() -> Blueprint:
    """Everything else under /api and /v1: One API's 404, for unknown methods too."""
    made = Blueprint("api_unknown", __name__)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    for prefix in ("/api", "/v1"):
        for path in (prefix, f"{prefix}/<path:_rest>"):
            made.add_url_rule(path, f"unknown {path}", _unknown, methods=methods, strict_slashes=False)
    _tell_errors(made)
    made.before_app_request(_odd)
    return _limited(made)


def envelope(
    success: bool, message: str, data: object = None, *, status: int = 200, beside: dict[str, object] | None = None
) -> Response:
    content: dict[str, object] = {"success": success, "message": message, **(beside or {})}
    if data is not None:
        content["data"] = data
    return Response(msgspec.json.encode(content), status=status, mimetype="application/json")


def told_to_wait(response: Response, seconds: float | None) -> Response:
    """The same response; where it is known when asking again may help, it says so."""
    if seconds is not None:
        response.headers["Retry-After"] = str(math.ceil(seconds))
    return response


def _limited(made: Blueprint) -> Blueprint:
    api_rate(made)
    return made


def _answering(route: Route) -> Callable[..., Response]:
    @wraps(route.view)
    def answer(**values: str) -> Response:
        asked = identified(route.role)
        result = route.view(asked, **values)
        if route.method != "GET":
            program().cache.publish(NEWS)
        if isinstance(result, Response):
            return result
        if isinstance(result, Answer):
            return envelope(True, result.message, result.data, beside=result.beside)
        return envelope(True, "", result)

    return answer


def _unknown(_rest: str = "") -> Response:
    message = f"Invalid URL ({request.method} {request.path})"
    error = {"message": message, "type": "invalid_request_error", "param": "", "code": ""}
    return Response(msgspec.json.encode({"error": error}), status=404, mimetype="application/json")


def _odd() -> Response | None:
    """What no rule of `fallback` takes: paths with line breaks, methods that nobody has heard of."""
    is_unmatched = isinstance(request.routing_exception, NotFound | MethodNotAllowed)
    return _unknown() if is_unmatched and request.path.startswith(("/api/", "/v1/")) else None


# ---- errors ----


def _limit_body() -> None:
    request.max_content_length = body.LARGEST_BYTES


def _tell_errors(made: Blueprint) -> None:
    made.register_error_handler(Refusal, _refused)
    made.register_error_handler(RateLimitExceeded, _too_many)
    made.register_error_handler(RequestEntityTooLarge, _too_large)
    made.register_error_handler(HTTPException, lambda error: error)
    made.register_error_handler(Exception, _failed)


def _language() -> messages.Language:
    return messages.language_of(request.headers.get("Accept-Language"))


def _refused(refusal: Refusal) -> Response:
    response = envelope(False, refusal.text(_language()), status=refusal.status)
    field = refusal.field or ""
    if field.isascii() and field.isidentifier():  # some are names that were sent
        response.headers["X-Refused-Field"] = field  # for forms; the envelope is One API's
    return told_to_wait(response, refusal.retry_after_s)


def _too_many(error: RateLimitExceeded) -> Response:
    seconds = int(error.limit.limit.get_expiry()) if error.limit else 1
    return envelope(False, messages.text("too_many_requests", _language(), seconds=seconds), status=429)


def _too_large(error: RequestEntityTooLarge) -> Response:
    return envelope(False, messages.text("too_large", _language()), status=413)


def _failed(error: Exception) -> Response:
    """Whatever nobody foresaw. Texts of databases stay in the log (D-54)."""
    if isinstance(error, GatewayError):
        return told_to_wait(envelope(False, error.message, status=error.client_status), error.retry_after_s)
    if isinstance(error, SQLAlchemyError) and is_unavailable(error):
        log.error("%s %s: the database is away: %s", request.method, request.path, error)
        return told_to_wait(envelope(False, messages.text("database_away", _language()), status=503), 5)
    log.exception("%s %s failed", request.method, request.path)
    message = messages.text("internal_error", _language(), request_id=REQUEST_ID.get())
    return envelope(False, message, status=500)
