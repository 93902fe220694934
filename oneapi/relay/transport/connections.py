"""Connections to servers: making them, and keeping idle ones for the next request."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import certifi
import gevent
from gevent import socket
from gevent.ssl import SSLContext

from oneapi.errors import UpstreamUnreachable
from oneapi.relay.transport.http1 import ResponseParser
from oneapi.relay.transport.sockets import WOULD_BLOCK, Socket

READ_BYTES = 65536
_IDLE_S = 60.0  # below the 65 s and more that providers' load balancers keep an idle connection
_MAX_IDLE = 1000  # per origin, so that the end of a burst does not leave thousands of sockets behind
_FRESH_S = 0.1  # so soon nobody closes a connection, and one that is sent into a closed one is sent again (direct.py)
_MIN_ATTEMPT_S = 3.0  # what one address is given, where a name has several: a lost SYN is sent again after one second
# A TLS record holds at most 16 KiB: a read of that size says that more may be there, in plain or in TLS.
_MORE_BYTES = 16384


class Origin(NamedTuple):
    """Where a connection leads. `address` pins it to one IP address; `host` is still what the server is asked for."""

    scheme: str
    host: str
    port: int
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The longest waits, in seconds: for a connection, for the head of the answer, for its next bytes."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    silence_s: float = 300.0


@cache
def tls_context() -> SSLContext:
    """The context that verifies, by certifi's roots and the system's (an operator may have added his own there)."""
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.load_verify_locations(certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connection(Socket):
    """A connected socket with the parser of its responses."""

    __slots__ = ("idle_since", "may_have_more", "origin", "parser")

    def __init__(self, sock: Any, origin: Origin) -> None:
        super().__init__(sock)
        self.origin = origin
        self.parser = ResponseParser()
        self.idle_since = 0.0
        self.may_have_more = False  # the last read was a full one: the next is likely not to wait

    def receive(self, size: int = READ_BYTES) -> bytes | None:
        """As any socket, remembering whether there may be more."""
        try:
            data = self._receive(size)
        except WOULD_BLOCK:
            self.may_have_more = False
            return None
        self.may_have_more = len(data) >= _MORE_BYTES
        return data

    def is_usable(self) -> bool:
        """Whether an idle connection may carry a request: whatever there is to read on it, its end or bytes that nobody
        asked for, says no."""
        try:
            # TLS sockets refuse flags, so this looks at the bytes below.
            socket.socket.recv(self.sock, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class Pool:
    """Idle connections by origin, and the making of new ones. Nobody ever waits for one."""

    def __init__(self, tls: SSLContext) -> None:
        self._tls = tls
        self._idle: dict[Origin, list[Connection]] = {}  # in order of `idle_since`; taken from the end
        self._is_sweeping = False

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection that is still good."""
        idle = self._idle.get(origin)
        fresh_since = time.monotonic() - _FRESH_S
        while idle:
            connection = idle.pop()
            if connection.idle_since > fresh_since or connection.is_usable():
                return connection
            connection.close()
        return None

    def give(self, connection: Connection) -> None:
        """Keeps a connection whose last response was read to its end."""
        idle = self._idle.setdefault(connection.origin, [])
        if len(idle) >= _MAX_IDLE:
            connection.close()
            return
        connection.idle_since = time.monotonic()
        idle.append(connection)
        if not self._is_sweeping:
            self._is_sweeping = True
            gevent.spawn_later(_IDLE_S / 2, self._sweep)

    def connect(self, origin: Origin, seconds: float) -> Connection:
        """A new connection. Raises UpstreamUnreachable."""
        timeout = gevent.Timeout.start_new(seconds)
        try:
            sock = open_socket(origin.address or origin.host, origin.port, seconds)
            if origin.scheme == "https":
                sock = secure(sock, origin.host, self._tls)
        except gevent.Timeout as passed:
            if passed is not timeout:
                raise
            raise UpstreamUnreachable(f"No connection to the provider within {seconds:g} seconds.") from None
        except (OSError, UnicodeError) as error:
            raise UpstreamUnreachable(f"No connection to the provider: {reason(error)}.") from error
        finally:
            timeout.close()
        return Connection(sock, origin)

    def close(self) -> None:
        """Closes what is idle."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()
        self._idle.clear()

    def _sweep(self) -> None:
        expired_before = time.monotonic() - _IDLE_S
        for origin, idle in list(self._idle.items()):
            while idle and idle[0].idle_since < expired_before:
                idle.pop(0).close()
            if not idle:
                del self._idle[origin]
        self._is_sweeping = bool(self._idle)
        if self._is_sweeping:
            gevent.spawn_later(_IDLE_S / 2, self._sweep)


def open_socket(host: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to the first of the host's addresses that answers. Raises OSError."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("the host has no address")
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(_MIN_ATTEMPT_S, seconds / len(addresses)))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A model may think for minutes; without a sign of life a router in between forgets the connection.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


def secure(sock: socket.socket, host: str, tls: SSLContext) -> Any:
    """TLS over a connected socket, which is closed where that fails. Raises OSError."""
    try:
        secured = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        sock.close()
        raise
    try:
        secured.do_handshake()
    except BaseException:  # a greenlet may be killed here
        secured.close()
        raise
    return secured


def reason(error: BaseException) -> str:
    """Why a connection failed, in words fit for a client: no host, no URL, no key."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be verified ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'the connection was closed'})"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "its host name is not known"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the connection failed"
