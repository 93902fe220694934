"""What the browser is told not to do, and that a form came from us.

Every page has a strict Content-Security-Policy: nothing inline, nobody else's. A page that shows what an option names
(a framed home page, a logo elsewhere, Turnstile) opens exactly that with `allow`. Pages may be framed by nobody.

Forms and fetches carry a token (flask-wtf). `/api` does not ask for it: its callers are scripts as well, and its cookie
is SameSite=Lax.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from flask_wtf.csrf import CSRFProtect

csrf = CSRFProtect()

_POLICY: dict[str, tuple[str, ...]] = {
    "default-src": ("'none'",),
    "script-src": ("'self'",),
    "style-src": ("'self'",),
    "img-src": ("'self'", "data:"),
    "font-src": ("'self'",),
    "connect-src": ("'self'",),
    "form-action": ("'self'",),
    "frame-ancestors": ("'none'",),
    "base-uri": ("'none'",),
}


def init_app(app: Flask, unguarded: Iterable[str]) -> None:
    """`unguarded`: names of blueprints that are asked without a token."""
    # The token lasts as long as the session: a page that was left open over night still works. Its sender's address is
    # not compared, because behind a proxy the program does not always know its own.
    app.config.update(WTF_CSRF_TIME_LIMIT=None, WTF_CSRF_SSL_STRICT=False)
    csrf.init_app(app)
    for name in unguarded:
        csrf.exempt(app.blueprints[name])
    app.after_request(_headers)


def allow(directive: str, *sources: str) -> None:
    """Opens this answer's policy for these sources: origins, or keywords in their quotes."""
    opened: dict[str, list[str]] = g.setdefault("csp_opened", {})
    opened.setdefault(directive, []).extend(source for source in sources if source)


def origin(address: str) -> str:
    """Scheme and host of an address elsewhere, as a policy names it; "" where it is none."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc or set(parts.netloc) & set(" ;,'\"\\"):
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def safe_next(address: str | None, default: str) -> str:
    """The address, where it is one of ours: whoever logs in must not end elsewhere."""
    if not address or not address.startswith("/") or address[:2] in ("//", "/\\"):
        return default
    if any(ord(letter) < 33 or letter == "\\" for letter in address):
        return default
    return address


def _headers(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.mimetype == "text/html":
        response.headers.setdefault("Content-Security-Policy", _policy())
        response.headers.setdefault("X-Frame-Options", "DENY")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        response.headers.setdefault("Cache-Control", "no-store" if request.path.startswith("/admin") else "no-cache")
        response.vary.update(("Cookie", "Accept-Language"))
    return response


def _policy() -> str:
    opened: dict[str, list[str]] = g.get("csp_opened", {})
    lines = []
    for name in dict.fromkeys((*_POLICY, *opened)):
        sources = dict.fromkeys((*_POLICY.get(name, ()), *opened.get(name, ())))
        lines.append(f"{name} {' '.join(sources)}")
    return "; ".join(lines)
