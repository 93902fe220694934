"""Routes for those who watch over the program: `/healthz`, `/readyz`, and the other end of `oneapi doctor`.

Alive means that the event loop answers. Ready means that the database answers too and the worker is not stopping.
Doctor calls its routes through the proxies in front, with a ticket (services/probe_tickets.py): what arrives here, and
what arrives there of what is sent from here, shows what they do to requests and streams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gevent
import msgspec
from flask import Blueprint, Flask, Response, current_app, request
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from oneapi import __version__
from oneapi.addresses import ClientAddress
from oneapi.config import Config
from oneapi.relay.dialects import SSE_HEADERS
from oneapi.relay.door import is_draining
from oneapi.services import probe_tickets

_EVENTS, _PAUSE_S = 5, 0.5
_READ_BYTES = 64 * 1024


def init_app(app: Flask, engine: Engine, config: Config) -> None:
    @app.get("/healthz")
    def healthz() -> tuple[str, int]:
        return "ok\n", 200

    @app.get("/readyz")
    def readyz() -> tuple[str, int]:
        if is_draining():
            return "stopping\n", 503
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return "the database does not answer\n", 503
        return "ready\n", 200

    app.register_blueprint(_doctor(config))


# ---- the other end of doctor ----


def _doctor(config: Config) -> Blueprint:
    made = Blueprint("doctor", __name__, url_prefix=probe_tickets.PATH)
    trusts = ClientAddress(config.trusted_proxies).trusts

    @made.get("/seen")
    @_with_ticket
    def seen() -> Response:
        """What of this request has arrived."""
        environ = request.environ
        return _json(
            {
                "version": __version__,
                "peer": environ["oneapi.peer"],
                "peer_port": int(environ.get("REMOTE_PORT") or 0),
                "is_peer_trusted": trusts(environ["oneapi.peer"]),
                "client": request.remote_addr,
                "forwarded_for": request.headers.get("X-Forwarded-For", ""),
                "scheme": request.scheme,
                "host": request.host,
                "protocol": environ["SERVER_PROTOCOL"],
            }
        )

    @made.get("/stream")
    @_with_ticket
    def stream() -> Response:
        """A few events with pauses, each with its time; `plain`: without the header that forbids nginx to buffer."""
        left_out = {"x-accel-buffering"} if "plain" in request.args else set()
        return Response(_events(), headers=[line for line in SSE_HEADERS if line[0] not in left_out])

    @made.get("/silence")
    @_with_ticket
    def silence() -> Response:
        """An event, that many seconds of nothing, and another event."""
        seconds = min(request.args.get("seconds", 0.0, float), probe_tickets.MOST_SILENCE_S)
        return Response(_silence(seconds), headers=list(SSE_HEADERS))

    @made.post("/body")
    @_with_ticket
    def body() -> Response:
        """How many bytes have arrived. They are forgotten at once."""
        request.max_content_length = config.max_body_bytes
        count = 0
        while piece := request.stream.read(_READ_BYTES):
            count += len(piece)
        return _json({"bytes": count})

    return made


def _with_ticket(view: Callable[[], Response]) -> Callable[[], Response]:
    @wraps(view)
    def guarded() -> Response:
        ticket = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not ticket:
            return _json({"error": "no ticket"}, 401)
        if not probe_tickets.is_valid(str(current_app.secret_key), ticket):
            return _json({"error": "not a ticket of this installation"}, 401)
        return view()

    return guarded


def _events() -> Iterator[bytes]:
    begun_s = time.monotonic()
    for number in range(_EVENTS):
        if number:
            gevent.sleep(_PAUSE_S)
        yield _event({"at_s": time.monotonic() - begun_s})


def _silence(seconds: float) -> Iterator[bytes]:
    yield _event({"silence_s": seconds})
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0 and not is_draining():
        gevent.sleep(min(left_s, 1.0))
    yield _event({"is_over": left_s <= 0})


def _event(content: Any) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status=status, mimetype="application/json")
