"""Files for the browser: compressed once, kept in memory, and cached by browsers for good.

Their address holds a digest of all of them, so a new version of the program has new addresses, and modules that import
each other by relative paths agree on theirs.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import brotli
from flask import Blueprint, Flask, Response, abort, request

FOLDER = Path(__file__).parent.parent / "static"
FOR_GOOD = "public, max-age=31536000, immutable"

blueprint = Blueprint("assets", __name__)


@dataclass(frozen=True, slots=True)
class Asset:
    mimetype: str
    plain: bytes
    by_gzip: bytes
    by_brotli: bytes


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.jinja_env.globals["asset"] = address


def address(name: str) -> str:
    """Where the browser finds `static/<name>`."""
    return f"/assets/{version()}/{name}"


@cache
def version() -> str:
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(FOLDER).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@blueprint.get("/assets/<_version>/<path:name>")
def asset(_version: str, name: str) -> Response:
    found = _load(name)
    if found is None:
        abort(404)
    body, encoding = found.plain, ""
    if found.by_brotli and request.accept_encodings.quality("br") > 0:
        body, encoding = found.by_brotli, "br"
    elif found.by_gzip and request.accept_encodings.quality("gzip") > 0:
        body, encoding = found.by_gzip, "gzip"
    response = Response(body, mimetype=found.mimetype)
    if encoding:
        response.headers["Content-Encoding"] = encoding
    response.headers["Vary"] = "Accept-Encoding"
    # An address of another version may come from a page that another node has made; it must not stay.
    response.headers["Cache-Control"] = FOR_GOOD if _version == version() else "no-cache"
    return response


@cache
def _load(name: str) -> Asset | None:
    path = (FOLDER / name).resolve()
    if not path.is_relative_to(FOLDER) or not path.is_file():
        return None
    plain = path.read_bytes()
    mimetype = {".js": "text/javascript", ".svg": "image/svg+xml"}.get(path.suffix) or (
        mimetypes.guess_type(name)[0] or "application/octet-stream"
    )
    if not mimetype.startswith("text/") and mimetype != "image/svg+xml":
        return Asset(mimetype, plain, b"", b"")
    return Asset(mimetype, plain, gzip.compress(plain, 9, mtime=0), brotli.compress(plain, quality=9))


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    return asset(version(), "logo.svg")
