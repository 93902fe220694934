"""The relay's door: a WSGI callable that stands in front of Flask and takes the relay's paths.

It packs what the client sent into a `Call`, has the pipeline answer it, and turns `Reply` and errors into WSGI
responses. It watches the client's socket, so that a client who hangs up while the provider is silent is noticed at
once, and it keeps the greenlets of running calls, so that a stopping worker can end and settle them
(docs/architecture.md §2, §6; spec relay.md §1).
"""

from __future__ import annotations

import logging
import math
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import responses
from typing import Any

import gevent
from gevent.hub import get_hub
from greenlet import greenlet
from gunicorn.http.errors import ParseException

from oneapi.errors import (
    ClientGone,
    Draining,
    GatewayError,
    InvalidRequest,
    NotImplementedHere,
    TooLarge,
    TooSlow,
    Unavailable,
)
from oneapi.journal import REQUEST_ID, REQUEST_ID_HEADER, new_request_id
from oneapi.relay import catalogue, pipeline, rawproxy
from oneapi.relay.convert import dumps
from oneapi.relay.dialects import error_json
from oneapi.relay.exchange import Call, Ports, Reply
from oneapi.relay.paths import Asked, asked
from oneapi.relay.records import record

log = logging.getLogger(__name__)

CLIENT_TIMEOUT_S = 60  # a client that neither sends what it announced nor reads for so long is gone

LIVE: set[greenlet] = set()
_ADMITS_S = 3.0  # calls that had reached this worker when it was told to stop are still begun, on a busy one late
_state = {"draining": False, "refuses": False}

StartResponse = Callable[..., Any]
Environ = dict[str, Any]


def is_draining() -> bool:
    """Whether this worker stops: nobody should send it anything new."""
    return _state["draining"]


def drain(grace_s: float) -> None:
    """Soon refuses new calls, gives running ones `grace_s` to end by themselves, then ends and settles those left.

    Called in a greenlet of its own when the worker was told to stop.
    """
    _state["draining"] = True
    until_s = time.monotonic() + grace_s
    gevent.sleep(min(_ADMITS_S, grace_s / 2))
    _state["refuses"] = True
    while LIVE and time.monotonic() < until_s:
        gevent.sleep(0.1)
    if LIVE:
        log.warning("Stopping: %d running calls are ended and settled.", len(LIVE))
    for live in list(LIVE):
        gevent.kill(live, Draining())


@record()
class Incoming:
    """A request as a server read it. `read_body(limit)` is called at most once.

    It raises TooLarge beyond the limit, TooSlow, and InvalidRequest for a body that is cut.
    """

    method: str
    path: str  # as sent, undecoded
    query: str
    headers: Mapping[str, str]  # names in lower case
    client_ip: str
    host: str
    read_body: Callable[[int], bytes]


@dataclass(slots=True)
class Answered:
    """What goes back, whichever server sends it."""

    status: int
    headers: list[tuple[str, str]]
    body: Iterable[bytes]
    close: Callable[[], None]


class RelayDoor:
    """`app.wsgi_app = RelayDoor(app.wsgi_app, ports, max_body_bytes=…)`: relay paths never enter Flask."""

    def __init__(
        self,
        beyond: Callable[..., Iterable[bytes]],
        ports: Ports,
        *,
        max_body_bytes: int,
        client_address: Callable[[str, str], str],
    ) -> None:
        self.beyond = beyond
        self.ports = ports
        self.max_body_bytes = max_body_bytes
        self.client_address = client_address  # (peer, X-Forwarded-For) → the client's own address

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        raw_uri: str = environ.get("RAW_URI") or environ["PATH_INFO"]
        raw_path, _, query = raw_uri.partition("?")
        origin: str = environ.get("HTTP_ORIGIN", "")
        is_foreign = origin != "" and _is_foreign(origin, environ.get("HTTP_HOST", "")) and _is_shared(raw_path)
        if is_foreign and method == "OPTIONS":
            start_response("204 No Content", _preflight(environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")))
            return ()
        wanted = asked(method, raw_path)
        if wanted is None:
            return self.beyond(environ, _with_cors(start_response) if is_foreign else start_response)
        watch = _WatchOfServer(environ.get("gunicorn.socket"))

        def read_body(limit: int) -> bytes:
            body = _read(environ, limit)
            watch.start()
            return body

        incoming = Incoming(
            method=method,
            path=raw_path,
            query=query,
            headers=_headers(environ),
            client_ip=environ.get("REMOTE_ADDR", ""),
            host=environ.get("HTTP_HOST", ""),
            read_body=read_body,
        )
        try:
            answered = self.answer(wanted, incoming)
        except BaseException:
            watch.stop()
            raise
        body = _Body(answered, watch)
        try:
            start_response(_status_line(answered.status), answered.headers)
        except BaseException:  # the server takes no such headers, and will not close what it has not been given
            body.close()
            raise
        return body

    def answer(self, wanted: Asked, incoming: Incoming) -> Answered:
        """The whole answer to one request on a relay path, errors included. Only CallEnded passes through."""
        request_id = self.ports.new_id()
        REQUEST_ID.set(request_id)
        headers = [(REQUEST_ID_HEADER, request_id)]
        origin = incoming.headers.get("origin")
        if origin and _is_foreign(origin, incoming.host):
            headers += _CORS
        try:
            reply = self._reply(wanted, incoming, request_id)
        except Draining:
            reply = _error_reply(wanted.dialect, _restarting(), request_id)
        except GatewayError as error:
            reply = _error_reply(wanted.dialect, error, request_id)
        except Exception:
            log.exception("request %s failed", request_id)
            reply = _crash_reply(request_id)
        if isinstance(reply.body, tuple):
            headers.append(("Content-Length", str(sum(map(len, reply.body)))))
        return Answered(reply.status, [*reply.headers, *headers], reply.body, reply.close)

    def _reply(self, wanted: Asked, incoming: Incoming, request_id: str) -> Reply:
        if _state["refuses"]:
            raise Unavailable("This server is stopping. Please try again.", retry_after_s=1)
        call = Call(
            request_id=request_id,
            dialect=wanted.dialect,
            mode=wanted.mode,
            method=incoming.method,
            path=incoming.path,
            query=incoming.query,
            headers=incoming.headers,
            client_ip=incoming.client_ip,
            received_at=self.ports.now(),
            received_s=self.ports.monotonic(),
            path_model=wanted.model,
            channel_id=wanted.channel_id,
        )
        match wanted.task:
            case "relay":
                return pipeline.relay(call, lambda: self._body(incoming), self.ports)
            case "proxy":
                return rawproxy.relay(call, lambda: incoming.read_body(self.max_body_bytes), self.ports)
            case "list_models":
                return json_reply(catalogue.model_list(self.ports.authenticate(call), self.ports.directory()))
            case "retrieve_model":
                caller = self.ports.authenticate(call)
                return json_reply(catalogue.one_model(wanted.model, caller, self.ports.directory()))
            case "not_implemented":
                self.ports.authenticate(call)
                raise NotImplementedHere(f"{incoming.method} {incoming.path} is not implemented by this gateway.")

    def _body(self, incoming: Incoming) -> bytes:
        body = incoming.read_body(self.max_body_bytes)
        encoding = incoming.headers.get("content-encoding", "").strip().lower()
        return body if encoding in ("", "identity") else _inflated(body, encoding, self.max_body_bytes)


# ---- one connection ----


class Watch:
    """Ends the greenlet that serves a call when its client hangs up. No greenlet and no timer of its own.

    From its making the call is among the live ones; the socket is watched from `start`, when the request was read.
    `reads` is the event loop's watcher of the socket, which is the watch's alone from there until it looks away.
    """

    __slots__ = ("_greenlet", "_is_watching", "_reads", "_socket")

    def __init__(self, client: Any, reads: Any) -> None:
        self._greenlet = gevent.getcurrent()
        self._socket = client
        self._reads = reads
        self._is_watching = False
        LIVE.add(self._greenlet)

    def start(self) -> None:
        if self._reads is not None:
            self._is_watching = True
            self._reads.start(self._readable)

    def _readable(self) -> None:
        try:
            # below gevent's own socket, which would wait: this runs in the event loop
            gone = not self._socket._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            gone = True
        self._reads.stop()
        if gone:
            get_hub().loop.run_callback(self._end)

    def _end(self) -> None:
        if self._is_watching:  # still the same call: the greenlet may have gone on to the next request
            self._greenlet.throw(ClientGone())

    def look_away(self) -> None:
        """From here on the call ends by itself, whether or not its client leaves."""
        if self._is_watching:
            self._is_watching = False
            self._reads.stop()

    def stop(self) -> None:
        LIVE.discard(self._greenlet)
        self.look_away()


class _WatchOfServer(Watch):
    """For a socket that a WSGI server reads, with a watcher and a patience of its own."""

    __slots__ = ()

    def __init__(self, client: Any) -> None:
        super().__init__(client, None if client is None else get_hub().loop.io(client.fileno(), 1))
        if client is not None:
            client.settimeout(CLIENT_TIMEOUT_S)

    def stop(self) -> None:
        super().stop()
        if self._socket is not None:
            self._reads.close()
            self._socket.settimeout(None)  # how long it may be idle now is the server's to say


class _Body:
    """What WSGI iterates; `close` is called however the response ended."""

    __slots__ = ("_answered", "_watch")

    def __init__(self, answered: Answered, watch: Watch) -> None:
        self._answered = answered
        self._watch = watch

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answered.body)

    def close(self) -> None:
        self._watch.look_away()
        try:
            self._answered.close()
        finally:
            self._watch.stop()


# ---- reading a request ----


def _headers(environ: Environ) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name, key in (("content-type", "CONTENT_TYPE"), ("content-length", "CONTENT_LENGTH")):
        if value := environ.get(key):
            headers[name] = value
    return headers


def _read(environ: Environ, limit: int) -> bytes:
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdigit() and int(length) > limit:
        raise too_large(limit)
    try:
        body: bytes = environ["wsgi.input"].read(limit + 1)
    except TimeoutError:
        raise too_slow() from None
    except (OSError, ParseException):
        raise damaged() from None
    if len(body) > limit:
        raise too_large(limit)
    if length.isdigit() and len(body) < int(length):
        raise damaged()
    return body


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its gzip or deflate coding; a small body that inflates beyond the limit is refused."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise InvalidRequest(f"Content-Encoding {encoding[:40]} is not supported. Send gzip, deflate or none.")
    windows = (31,) if encoding != "deflate" else (15, -15)  # deflate: with zlib's frame, or, as some send it, bare
    for window in windows:
        inflater = zlib.decompressobj(window)
        try:
            inflated = inflater.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(inflated) > limit:
            raise too_large(limit)
        if inflater.eof and not inflater.unused_data:
            return inflated
        break
    raise InvalidRequest(f"The request body is not valid {encoding} data.")


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request body is larger than the {limit // (1024 * 1024)} MiB this gateway takes.")


def too_slow() -> TooSlow:
    return TooSlow(f"Nothing more of the request body came for {CLIENT_TIMEOUT_S} seconds.")


def damaged() -> InvalidRequest:
    return InvalidRequest("The request body is cut, or its framing is damaged.", code="invalid_body")


# ---- headers and errors of a response ----

_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", f"{REQUEST_ID_HEADER}, X-Request-Id, {pipeline.DROPPED_HEADER}, Retry-After"),
)


def _is_foreign(origin: str, host: str) -> bool:
    return origin not in (f"http://{host}", f"https://{host}")


def _is_shared(path: str) -> bool:
    """Whether pages of other sites may ask for it: the relay's paths, known or not, and OpenAI's old billing."""
    return path.startswith(("/v1/", "/dashboard/billing/"))


def _with_cors(start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*headers, *_CORS], *rest)

    return start


def _preflight(asked_headers: str) -> list[tuple[str, str]]:
    """A literal `*` does not cover Authorization in browsers: the headers asked for are named."""
    safe = "".join(c for c in asked_headers if c.isascii() and (c.isalnum() or c in "-_, "))
    return [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        ("Access-Control-Allow-Headers", safe or "*"),
        ("Access-Control-Max-Age", "43200"),
        ("Vary", "Origin, Access-Control-Request-Headers"),
        (REQUEST_ID_HEADER, new_request_id()),
    ]


def _status_line(status: int) -> str:
    return f"{status} {responses.get(status, 'Error')}"


def json_reply(body: Mapping[str, Any], status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    whole = dumps(dict(body))
    return Reply(status=status, headers=(("Content-Type", "application/json"), *headers), body=(whole,), close=_nothing)


def _error_reply(dialect: str, error: GatewayError, request_id: str) -> Reply:
    headers: tuple[tuple[str, str], ...] = ()
    if error.retry_after_s is not None:
        headers = (("Retry-After", str(math.ceil(error.retry_after_s))),)
    return json_reply(error_json(dialect, error, request_id), error.client_status, headers)


def _restarting() -> GatewayError:
    return Unavailable("This server is restarting. Please send the request again.", retry_after_s=1)


def _crash_reply(request_id: str) -> Reply:
    message = f"The gateway failed at this request; its log says why. (request id: {request_id})"
    return json_reply({"error": {"message": message, "type": "one_api_panic"}}, 500)


def _nothing() -> None:
    pass
