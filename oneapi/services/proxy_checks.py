"""Checks through the public address: what the proxies in front do to requests and streams, and the lines that mend it.

The other end are routes of the program (probes.py), which want a ticket that only this installation can make. What
time decides is believed when it is seen twice, because a machine may be slow once.
"""

from __future__ import annotations

import json
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from oneapi import __version__
from oneapi.config import VARIABLES
from oneapi.services import probe_tickets
from oneapi.services.findings import Finding, fault, ok, warning

# Lines for nginx, as deploy/nginx.conf has them. Each may stand in a `location`.
NGINX: Mapping[str, tuple[str, ...]] = {
    "buffering": ("proxy_buffering off;",),
    "gzip": ("gzip off;",),
    "silence": ("proxy_read_timeout 900s;", "proxy_send_timeout 900s;"),
    "body": ("client_max_body_size 64m;",),
    "address": ("proxy_set_header X-Forwarded-For $remote_addr;",),
    "scheme": ("proxy_set_header X-Forwarded-Proto $scheme;",),
    "host": ("proxy_set_header Host $http_host;", "proxy_set_header X-Forwarded-Host $http_host;"),
    "http": ("proxy_http_version 1.1;", 'proxy_set_header Connection "";'),
}
CLAIMED = "203.0.113.77"  # an address that nobody has (RFC 5737)
IDLE_S = 65.0  # more than the 60 s after which nginx cuts unless it is told otherwise

_SUBJECT = "public address"
_BODY_BYTES = 20 * 1024 * 1024
_TIMEOUT_S = 20.0
_READ_BYTES = 64 * 1024


class _Away(Exception):
    """The address cannot be reached, or answers with what is not HTTP."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any  # decoded JSON, None where it is none
    own_port: int  # of our end of the connection
    location: str = ""  # where else it sends us


@dataclass(frozen=True, slots=True)
class _Heard:
    """A stream: how long events were sent for, and within what time they came. `is_whole`: the last one came too."""

    status: int
    encoding: str
    sent_s: float
    received_s: float
    is_whole: bool

    @property
    def is_held_back(self) -> bool:
        return self.received_s < self.sent_s / 2


def through(url: str, secret: str, *, idle_s: float, max_body_bytes: int, token: str = "") -> Iterator[Finding]:
    """Tries the way through `url` to the program. `idle_s`: how long a silence must be borne; 0: not tried."""
    site = _Site(url)
    ticket = {"Authorization": f"Bearer {probe_tickets.issue(secret)}"}
    try:
        status = site.ask("GET", "/api/status", {})
        found = _status(url, status)
        yield found
        if found.level == "fault":
            return
        seen = site.ask("GET", f"{probe_tickets.PATH}/seen", {**ticket, "X-Forwarded-For": CLAIMED})
        if seen.status != 200:
            yield _refused(seen)
            return
        yield ok(_SUBJECT, "installation")
        yield from judge(seen.body, host=site.host, is_tls=site.is_tls, own_port=seen.own_port)
        if token:
            yield _token(site, token)
        yield from _streams(site, ticket)
        yield _body(site, ticket, min(_BODY_BYTES, max_body_bytes))
        if idle_s:
            yield _silence(site, ticket, idle_s)
    except _Away as error:
        yield fault(_SUBJECT, "url_away", url=url, reason=error)


# ---- one check each ----


def _status(url: str, answer: _Answer) -> Finding:
    if answer.location:
        return fault(_SUBJECT, "url_moved", url=url, location=answer.location)
    data = answer.body.get("data") if isinstance(answer.body, dict) else None
    if answer.status != 200 or not isinstance(data, dict) or "start_time" not in data:
        return fault(_SUBJECT, "url_not_ours", url=url, status=answer.status)
    version = str(data.get("version", "")).removeprefix("v")
    if version != __version__:
        return warning(_SUBJECT, "url_other_version", url=url, version=version, ours=__version__)
    return ok(_SUBJECT, "url", url=url, version=version)


def _refused(answer: _Answer) -> Finding:
    if answer.status != 401 or not isinstance(answer.body, dict):
        return fault(_SUBJECT, "probe_odd", what=probe_tickets.PATH, status=answer.status)
    is_lost = answer.body.get("error") == "no ticket"
    return fault(_SUBJECT, "authorization_lost" if is_lost else "installation_other")


def judge(seen: Mapping[str, Any], *, host: str, is_tls: bool, own_port: int) -> Iterator[Finding]:
    """Whether the program learns who asks, by which scheme and host. `seen`: what arrived there (probes.py) of a
    request to `host` that was sent from `own_port` and claimed an address that nobody has.
    """
    forwarded, peer = seen["forwarded_for"], seen["peer"]
    if seen["peer_port"] == own_port:
        yield ok(_SUBJECT, "address_direct", client=peer)
        return
    if not forwarded:
        yield fault(_SUBJECT, "address_hidden", peer=peer, nginx=_lines("address"))
    elif forwarded == CLAIMED:
        yield fault(_SUBJECT, "address_claimed", peer=peer, nginx=_lines("address"))
    elif not seen["is_peer_trusted"]:
        yield fault(_SUBJECT, "proxy_untrusted", peer=peer, networks=f"{VARIABLES['trusted_proxies'].example},{peer}")
        return  # so that nothing else that it says is believed either
    else:
        yield ok(_SUBJECT, "address", client=forwarded.rpartition(",")[2].strip())
    if is_tls and seen["scheme"] != "https":
        yield warning(_SUBJECT, "scheme_hidden", scheme=seen["scheme"], nginx=_lines("scheme"))
    if seen["host"] != host:
        yield warning(_SUBJECT, "host_hidden", seen=seen["host"], host=host, nginx=_lines("host"))
    if seen["protocol"] == "HTTP/1.0":
        yield warning(_SUBJECT, "http10", protocol=seen["protocol"], nginx=_lines("http"))


def _token(site: _Site, token: str) -> Finding:
    answer = site.ask("GET", "/v1/models", {"Authorization": f"Bearer {token}"})
    if answer.status == 200:
        return ok(_SUBJECT, "token")
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    message = error.get("message", "") if isinstance(error, dict) else ""
    return fault(_SUBJECT, "token_refused", status=answer.status, message=message)


def _streams(site: _Site, ticket: Mapping[str, str]) -> Iterator[Finding]:
    path = f"{probe_tickets.PATH}/stream"
    heard = _held_back_twice(site, path, ticket)
    if heard.status != 200:
        yield fault(_SUBJECT, "probe_odd", what=path, status=heard.status)
        return
    if heard.is_held_back:
        sent_s, received_s = round(heard.sent_s, 1), round(heard.received_s, 1)
        yield fault(_SUBJECT, "stream_buffered", sent=sent_s, received=received_s, nginx=_lines("buffering", "http"))
    elif _held_back_twice(site, f"{path}?plain=1", ticket).is_held_back:
        yield warning(_SUBJECT, "stream_by_header", nginx=_lines("buffering"))
    else:
        yield ok(_SUBJECT, "stream")
    if heard.encoding:
        yield fault(_SUBJECT, "gzip_on", encoding=heard.encoding, nginx=_lines("gzip"))
    else:
        yield ok(_SUBJECT, "gzip")


def _held_back_twice(site: _Site, path: str, ticket: Mapping[str, str]) -> _Heard:
    heard = site.listen(path, ticket)
    return site.listen(path, ticket) if heard.is_held_back else heard


def _body(site: _Site, ticket: Mapping[str, str], size: int) -> Finding:
    mb = size // 2**20
    answer = site.ask("POST", f"{probe_tickets.PATH}/body", ticket, bytes(size))
    if answer.status == 200 and answer.body == {"bytes": size}:
        return ok(_SUBJECT, "body", mb=mb)
    return fault(_SUBJECT, "body_limited", mb=mb, reason=answer.status or "connection closed", nginx=_lines("body"))


def _silence(site: _Site, ticket: Mapping[str, str], idle_s: float) -> Finding:
    begun_s = time.monotonic()
    heard = site.listen(f"{probe_tickets.PATH}/silence?seconds={idle_s:g}", ticket, patience_s=idle_s + _TIMEOUT_S)
    if heard.is_whole:
        return ok(_SUBJECT, "idle", seconds=f"{idle_s:g}")
    after_s = round(time.monotonic() - begun_s)
    return fault(_SUBJECT, "idle_cut", after=after_s, nginx=_lines("silence"))


def _lines(*names: str) -> str:
    return "\n".join(f"    {line}" for name in names for line in NGINX[name])


# ---- HTTP, without any help that would hide what is looked for ----


class _Site:
    """A public address. Every request has a connection of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc.rpartition("@")[2]
        self.is_tls = parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> _Answer:
        """Status 0: the connection was closed on a body before an answer came. Raises _Away."""
        with self._connected(_TIMEOUT_S) as (connection, own_port):
            try:
                try:
                    connection.request(method, self._prefix + path, body, dict(headers))
                except ConnectionError:
                    # Refused while it was sent; the reason may have come all the same.
                    if body is None:
                        raise
                response = connection.getresponse()
                location = response.headers.get("Location", "")
                return _Answer(response.status, _decoded(response.read()), own_port, location)
            except (ConnectionError, HTTPException):
                if body is None:
                    raise
                return _Answer(0, None, own_port)

    def listen(self, path: str, headers: Mapping[str, str], patience_s: float = _TIMEOUT_S) -> _Heard:
        """Reads a stream that may be compressed, as SDKs allow. Raises _Away where it never begins."""
        with self._connected(patience_s) as (connection, _):
            connection.request("GET", self._prefix + path, None, {**headers, "Accept-Encoding": "gzip"})
            return _heard(connection.getresponse())

    @contextmanager
    def _connected(self, timeout_s: float) -> Iterator[tuple[HTTPConnection, int]]:
        """A new connection, and the port of its own end."""
        connection: HTTPConnection
        if self.is_tls:
            connection = HTTPSConnection(self.host, timeout=timeout_s, context=ssl.create_default_context())
        else:
            connection = HTTPConnection(self.host, timeout=timeout_s)
        try:
            connection.connect()
            yield connection, connection.sock.getsockname()[1]
        except (OSError, HTTPException) as error:
            raise _Away(str(error) or type(error).__name__) from error
        finally:
            connection.close()


def _heard(response: HTTPResponse) -> _Heard:
    encoding = response.headers.get("Content-Encoding", "")
    inflate = zlib.decompressobj(wbits=31).decompress if encoding == "gzip" else bytes
    waiting = b""
    events: list[dict[str, Any]] = []
    came_s: list[float] = []
    try:
        while piece := response.read1(_READ_BYTES):
            *whole, waiting = (waiting + inflate(piece)).split(b"\n\n")
            events.extend(json.loads(event.removeprefix(b"data: ")) for event in whole if response.status == 200)
            came_s.extend(time.monotonic() for _ in whole)
    except (OSError, HTTPException):
        pass  # cut: what has come is what counts
    times = [event["at_s"] for event in events if "at_s" in event]
    return _Heard(
        status=response.status,
        encoding=encoding,
        sent_s=times[-1] - times[0] if times else 0.0,
        received_s=came_s[-1] - came_s[0] if came_s else 0.0,
        is_whole=bool(events) and events[-1].get("is_over", False),
    )


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
