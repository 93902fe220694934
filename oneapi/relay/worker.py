"""Gunicorn's gevent worker with a short way for the relay's POSTs.

Reading a request and building a WSGI environment costs Gunicorn about 100 µs; a POST to a relay path is read here
instead, by httptools' strict C parser, and given to the door as it is. Everything else goes to Gunicorn's own code,
request by request on the same connection. With `worker_class = "gevent"` the program does the same, only slower.

As soon as the worker is told to stop it leaves new connections to others and closes idle ones; Gunicorn would take
connections for another second, and wait for the end of every keep-alive.

Source: RFC 9112 for framing, persistence and 100-continue (read 2026-11-25).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache, partial
from http.client import responses
from time import time
from typing import Any, NoReturn

import gevent
import httptools
from flask import Flask
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.http import get_parser
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from oneapi.errors import CallEnded
from oneapi.relay.convert import dumps
from oneapi.relay.door import (
    CLIENT_TIMEOUT_S,
    Answered,
    Incoming,
    RelayDoor,
    Watch,
    damaged,
    too_large,
    too_slow,
)
from oneapi.relay.paths import Asked, asked
from oneapi.relay.transport.http1 import header_name
from oneapi.relay.transport.sockets import Socket

_HOT = b"POST /v1/"
_READ_BYTES = 65_536
_BODY_READ_BYTES = 256 * 1024
_MAX_LINE_BYTES = 8 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
# What a client may still be sending when it is answered is read, so that it need not miss the answer (RFC 9112 §9.6).
_LINGER_S = 5.0
_LINGER_BYTES = 64 * 1024 * 1024
# For whoever connected at the moment at which the worker was told to stop.
_FIRST_REQUEST_S = 1.0

# GeventWorker's own would swallow the end of a killed greenlet and go on with the connection.
_handle_request: Callable[..., object] = AsyncWorker.handle_request


class _Closed(CallEnded):
    """The client closed the connection, or sent what is not HTTP: nobody is there to answer."""


class RelayWorker(GeventWorker):
    """Finds the door among the extensions of the Flask application."""

    def init_process(self) -> None:
        self._keepalive_s = self.cfg.keepalive or CLIENT_TIMEOUT_S
        self._servers: list[StreamServer] = []
        self._new: set[Any] = set()  # connections on which no request has come yet
        self._idle: set[Any] = set()  # between two requests
        super().init_process()

    def server_class(self, listener: Any, *, spawn: Any, **more: Any) -> StreamServer:  # type: ignore[override]
        """The server that Gunicorn would make, remembered."""
        tls = {"ssl_context": more["ssl_context"]} if "ssl_context" in more else {}
        server = StreamServer(listener, handle=partial(self.handle, listener), spawn=spawn, **tls)
        if self.cfg.workers > 1:
            server.max_accept = 1
        self._servers.append(server)
        return server

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self._take_no_more)

    def _take_no_more(self) -> None:
        """Closes the door, then connections that are idle, and shortly after those on which nothing has come yet."""
        for server in self._servers:
            server.close()
        _end_reading(self._idle)
        gevent.sleep(_FIRST_REQUEST_S)
        _end_reading(self._new)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        door: RelayDoor | None = self.wsgi.extensions.get("oneapi.door") if isinstance(self.wsgi, Flask) else None
        if door is None or self.cfg.is_ssl:
            super().handle(listener, client, addr)
            return
        data, waiting = b"", self._new
        sock = Socket(client)
        try:
            while self.alive or waiting is self._new:  # who was let in is heard
                data = self._beginning(sock, data, waiting)
                waiting = self._idle
                wanted = _wanted(data)
                if wanted is None:
                    data = self._serve_by_gunicorn(listener, client, addr, data)
                else:
                    data = self._serve_here(door, wanted, listener, sock, addr, data)
        except (OSError, CallEnded):
            pass
        finally:
            sock.close()

    def _beginning(self, sock: Socket, data: bytes, waiting: set[Any]) -> bytes:
        """The next request's first line at least, for which the client is `waiting`; raises _Closed when none comes."""
        waiting.add(sock.sock)
        try:
            while not data or (b"\r\n" not in data and len(data) < _MAX_LINE_BYTES):
                # A client is hardly ever so quick that it would be worth trying first.
                if not sock.wait_readable(self._keepalive_s):
                    raise TimeoutError
                data += _received(sock, _READ_BYTES, self._keepalive_s)
        finally:
            waiting.discard(sock.sock)
        return data

    def _serve_here(
        self, door: RelayDoor, wanted: Asked, listener: Any, sock: Socket, addr: Any, data: bytes
    ) -> bytes:
        """One request by the short way; returns what was read beyond it, raises _Closed when the connection ends."""
        connection = _Connection(door, sock, addr[0] if isinstance(addr, tuple) and addr else "")
        try:
            connection.serve(wanted, data, may_persist=lambda: self.alive)
        except httptools.HttpParserUpgrade:
            # The parser will not read the body of a request that wishes for another protocol, a wish that any server
            # may leave unheard (Java's own client has it in its first request).
            return self._serve_by_gunicorn(listener, sock.sock, addr, connection.fed)
        return b""

    def _serve_by_gunicorn(self, listener: Any, client: Any, addr: Any, data: bytes) -> bytes:
        """One request by Gunicorn's code; returns what was read beyond it, raises _Closed when the connection ends."""
        client.setblocking(True)
        parser: Any = get_parser(self.cfg, client, addr)
        parser.unreader.unread(data)
        request = None
        try:
            request = next(parser)
            _handle_request(self, listener.getsockname(), request, client, addr)
            if request.should_close() or not parser.finish_body():
                raise _Closed
        except (StopIteration, NoMoreData):
            raise _Closed from None
        except OSError:
            raise
        except Exception as error:
            self.handle_error(request, client, addr, error)
            raise _Closed from error
        beyond: bytes = parser.unreader.take_buffered()
        return beyond


def _received(sock: Socket, size: int, seconds: float) -> bytes:
    """What comes next. Raises _Closed at the end, TimeoutError when nothing comes for so long."""
    while (data := sock.receive(size)) is None:
        if not sock.wait_readable(seconds):
            raise TimeoutError
    if not data:
        raise _Closed
    return data


def _end_reading(clients: set[Any]) -> None:
    for client in list(clients):
        with suppress(OSError):  # it may just have gone by itself
            client.shutdown(socket.SHUT_RD)


def _wanted(data: bytes) -> Asked | None:
    """What a request asks of the relay, if it is one of those that are served here: a POST that the relay carries."""
    if not data.startswith(_HOT):
        return None
    path, _, _ = data[len(b"POST ") : data.find(b" ", len(_HOT))].partition(b"?")
    wanted = asked("POST", path.decode("latin-1"))
    return wanted if wanted is not None and wanted.task == "relay" else None


class _Connection:
    """One request to the relay on a client's connection; also the object that httptools tells what it reads.

    Bytes of a second request behind the first (pipelining) are not looked at: such a client is answered and
    disconnected, as RFC 9112 §9.3 allows.
    """

    __slots__ = (
        "_body",
        "_door",
        "_has_head",
        "_has_more",
        "_head_size",
        "_headers",
        "_is_damaged",
        "_is_done",
        "_is_http_1_1",
        "_is_kept_alive",
        "_parser",
        "_peer",
        "_size",
        "_sock",
        "_url",
        "_watch",
        "fed",
    )

    def __init__(self, door: RelayDoor, sock: Socket, peer: str) -> None:
        self._door = door
        self._sock = sock
        self._peer = peer
        self._headers: dict[str, str] = {}
        self.fed = b""  # all of the request that was read, until its head is whole
        self._url = b""
        self._head_size = 0
        self._body: list[bytes] = []
        self._size = 0
        self._has_head = self._is_done = self._has_more = self._is_damaged = False
        self._is_kept_alive = self._is_http_1_1 = False
        self._parser: Any = httptools.HttpRequestParser(self)
        self._watch = Watch(sock.sock, sock.reads)

    # ---- told by httptools ----

    def on_message_begin(self) -> None:
        self._has_more = self._is_done

    def on_url(self, url: bytes) -> None:
        if not self._is_done:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer, or another request's
        self._head_size += len(name) + len(value)
        key, text = header_name(name), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        if not self._has_head:
            self._has_head = True
            # Once the message is complete the parser has forgotten what the client wished for.
            self._is_kept_alive = self._parser.should_keep_alive()
            self._is_http_1_1 = self._parser.get_http_version() == "1.1"

    def on_body(self, body: bytes) -> None:
        if not self._is_done:
            self._body.append(body)
            self._size += len(body)

    def on_message_complete(self) -> None:
        self._is_done = True

    # ---- the request ----

    def serve(self, wanted: Asked, data: bytes, *, may_persist: Callable[[], bool]) -> None:
        """Answers the request that begins with `data`. Raises _Closed when the connection ends with it."""
        try:
            self._read_head(data)
            path, _, query = self._url.decode("latin-1").partition("?")
            incoming = Incoming(
                method="POST",
                path=path,
                query=query,
                headers=self._headers,
                client_ip=self._door.client_address(self._peer, self._headers.get("x-forwarded-for", "")),
                host=self._headers.get("host", ""),
                read_body=self._read_body,
            )
            answered = self._door.answer(wanted, incoming)
            try:
                persists = (
                    may_persist()
                    and self._is_done
                    and not self._has_more
                    and not self._is_damaged
                    and self._is_kept_alive
                    and self._is_http_1_1
                )
                self._send(answered, persists)
            finally:
                self._watch.look_away()
                answered.close()
        finally:
            self._watch.stop()
            self._parser = None  # it holds this object in turn, where the request was not read to its end
        if not self._is_done:
            util.close_graceful(self._sock.sock, _LINGER_S, _LINGER_BYTES)
        if not persists:
            raise _Closed

    def _read_head(self, data: bytes) -> None:
        self.fed = data
        self._feed(data)
        while not self._has_head:
            if len(self.fed) > _MAX_HEAD_BYTES:
                self._refuse(_HEAD_TOO_LARGE)
            more = self._receive(_READ_BYTES)
            self.fed += more
            self._feed(more)
        if self._head_size > _MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
        self.fed = b""

    def _read_body(self, limit: int) -> bytes:
        declared = self._headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise too_large(limit)
        try:
            if not self._is_done and self._headers.get("expect", "").lower() == "100-continue":
                self._write(_CONTINUE)
            while not self._is_done:
                if self._is_damaged:
                    raise damaged()
                if self._size > limit:
                    raise too_large(limit)
                self._feed(self._receive(_BODY_READ_BYTES))
        except TimeoutError:
            raise too_slow() from None
        except OSError:
            raise _Closed from None
        if self._size > limit:
            raise too_large(limit)
        self._parser = None  # a long stream would only keep it in memory
        self._watch.start()
        body = b"".join(self._body)
        self._body.clear()
        return body

    def _receive(self, size: int) -> bytes:
        return _received(self._sock, size, CLIENT_TIMEOUT_S)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._has_head:
                self._refuse(_BAD_REQUEST)
            self._is_damaged = True

    # ---- the answer ----

    def _refuse(self, whole: bytes) -> NoReturn:
        self._write(whole)
        util.close_graceful(self._sock.sock, _LINGER_S, _LINGER_BYTES)
        raise _Closed

    def _send(self, answered: Answered, persists: bool) -> None:
        head = [_status_and_date(answered.status, int(time()))]
        head += [f"{name}: {value}\r\n" for name, value in answered.headers]
        if not persists:
            head.append("Connection: close\r\n")
        body = answered.body
        if isinstance(body, tuple):
            self._write("".join((*head, "\r\n")).encode("latin-1", "replace") + b"".join(body))
            return
        is_chunked = self._is_http_1_1
        head.append("Transfer-Encoding: chunked\r\n\r\n" if is_chunked else "\r\n")
        before = "".join(head).encode("latin-1", "replace")
        write = self._write
        for data in body:
            if data:
                write(b"%s%x\r\n%s\r\n" % (before, len(data), data) if is_chunked else before + data)
                before = b""
        if before or is_chunked:
            write(before + _LAST_CHUNK if is_chunked else before)

    def _write(self, data: bytes) -> None:
        self._sock.send(data, CLIENT_TIMEOUT_S)


@lru_cache(maxsize=64)
def _status_and_date(status: int, second: int) -> str:
    return f"HTTP/1.1 {status} {responses.get(status, 'Error')}\r\nDate: {formatdate(second, usegmt=True)}\r\n"


def _refusal(status: int, message: str) -> bytes:
    """The whole answer to what is no request, in the envelope of all errors."""
    body = dumps({"error": {"message": message, "type": "invalid_request_error", "param": "", "code": ""}})
    head = f"HTTP/1.1 {status} {responses[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


_BAD_REQUEST = _refusal(400, "This is not a valid HTTP request.")
_HEAD_TOO_LARGE = _refusal(431, f"The headers are larger than {_MAX_HEAD_BYTES // 1024} KiB.")
