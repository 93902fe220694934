"""Slaves with FRONTEND_BASE_URL: whatever no route serves is answered with the way to the master.

Source: spec management.md §8.3; unknown paths of the API go the same way.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from oneapi.services.rates import web_rate

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def redirects(base_url: str) -> Blueprint:
    """A blueprint for all paths that are left over."""
    made = Blueprint("frontend", __name__)

    def away(_rest: str = "") -> Response:
        # As it was sent: a path that was decoded and encoded again may be another one.
        uri = request.environ.get("RAW_URI", "")
        if not uri.startswith("/"):
            uri = request.full_path.rstrip("?")
        return Response(status=301, headers={"Location": f"{base_url}{uri}"})

    for path in ("/", "/<path:_rest>"):
        made.add_url_rule(path, f"away {path}", away, methods=_METHODS, provide_automatic_options=False)
    web_rate(made)
    return made
