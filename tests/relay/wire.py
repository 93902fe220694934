"""Servers that answer byte for byte as a test says, and a proxy before them: the other end of the transport's tests."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gevent
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gevent.event import Event
from gevent.server import StreamServer
from gevent.ssl import SSLContext

from oneapi.relay.adaptor import Adaptor
from oneapi.relay.exchange import Channel, UpstreamReply

KEY = "sk-not-to-be-seen"
HOST = "127.0.0.1"


# ---- TLS ----


@cache
def certificate_of(host: str) -> tuple[bytes, bytes]:
    """A certificate that signs itself, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def trusting(host: str = HOST) -> Callable[[], SSLContext]:
    """Makes contexts that believe the test servers' certificate, and no other."""

    def make() -> SSLContext:
        context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=certificate_of(host)[0].decode())
        return context

    return make


# ---- servers ----


@dataclass(slots=True)
class Request:
    """One request as it came. `connection` counts connections from 1."""

    head: bytes
    body: bytes
    connection: int

    @property
    def first_line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    def header(self, name: bytes) -> list[bytes]:
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        return [value.strip() for key, _, value in lines if key.lower() == name]


Answer = Callable[[Any, Request], object]


@dataclass
class Server:
    """Accepts connections, and hands each request to `answer`, which writes to the socket what it likes."""

    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    client_left: Event = field(default_factory=Event)  # a client closed, or broke, its connection

    def url(self, path: str = "/v1/chat/completions", scheme: str = "http") -> str:
        return f"{scheme}://{HOST}:{self.port}{path}"


@contextmanager
def serving(answer: Answer, *, tls: str = "") -> Iterator[Server]:
    """A server on a free port of the loopback interface; `tls` names the host of its certificate."""
    server = Server()
    context = server_context(tls) if tls else None

    def handle(sock: Any, _: Any) -> None:
        server.connections += 1
        number = server.connections
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                sock.do_handshake()
            while (request := read_request(sock, number)) is not None:
                server.requests.append(request)
                if answer(sock, request) is CLOSE:
                    return
            server.client_left.set()
        except OSError:
            server.client_left.set()
        finally:
            sock.close()

    with listening(handle) as listener:
        server.port = listener.server_port
        yield server


CLOSE = object()  # returned by an answer that wants the connection closed


def server_context(host: str) -> SSLContext:
    """What a test server shows its clients: the certificate of that host."""
    with TemporaryDirectory() as folder:
        certificate, key = certificate_of(host)
        Path(folder, "cert.pem").write_bytes(certificate)
        Path(folder, "key.pem").write_bytes(key)
        context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        return context


@contextmanager
def listening(handle: Callable[[Any, Any], None]) -> Iterator[StreamServer]:
    """Hands each connection to a greenlet; those still running at the end are killed."""
    greenlets: list[gevent.Greenlet[..., Any]] = []

    def spawn(function: Any, *arguments: Any) -> Any:
        greenlets.append(gevent.spawn(function, *arguments))
        return greenlets[-1]

    listener = StreamServer((HOST, 0), handle, backlog=1000, spawn=spawn)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()
        gevent.killall(greenlets)


def read_request(sock: Any, connection: int = 1) -> Request | None:
    """The next request on a connection; None when the client has closed it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    request = Request(head, body, connection)
    length = int((request.header(b"content-length") or [b"0"])[0])
    pieces = [body]
    missing = length - len(body)
    while missing > 0:
        more = sock.recv(65536)
        if not more:
            return None
        pieces.append(more)
        missing -= len(more)
    request.body = b"".join(pieces)
    return request


def says(data: bytes, *, then_close: bool = False) -> Answer:
    """Answers each request with these bytes."""

    def answer(sock: Any, _: Request) -> object:
        sock.sendall(data)
        return CLOSE if then_close else None

    return answer


def dribbles(data: bytes, *, then_close: bool = False) -> Answer:
    """The same, byte by byte, each in a packet of its own."""

    def answer(sock: Any, _: Request) -> object:
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])
            gevent.sleep(0)
        return CLOSE if then_close else None

    return answer


def resets(data: bytes) -> Answer:
    """Sends these bytes, and then breaks the connection instead of closing it."""

    def answer(sock: Any, _: Request) -> object:
        sock.sendall(data)
        gevent.sleep(0.05)  # for the client to have read them: a reset throws away what is on its way
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return CLOSE

    return answer


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers, b"", body))


def chunked(*chunks: bytes, headers: tuple[bytes, ...] = ()) -> bytes:
    head = b"\r\n".join((b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", *headers, b"", b""))
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


# ---- a proxy ----


@dataclass
class Proxy:
    port: int = 0
    seen: list[bytes] = field(default_factory=list)  # first lines
    credentials: str = ""  # user:password, asked for where set

    @property
    def url(self) -> str:
        at = f"{self.credentials}@" if self.credentials else ""
        return f"http://{at}{HOST}:{self.port}"


@contextmanager
def proxying(credentials: str = "") -> Iterator[Proxy]:
    """A proxy that forwards absolute URLs and opens tunnels, to the loopback interface only."""
    proxy = Proxy(credentials=credentials)

    def handle(sock: Any, _: Any) -> None:
        try:
            request = read_request(sock)
            if request is None:
                return
            proxy.seen.append(request.first_line)
            wanted = b"Basic " + base64.b64encode(credentials.encode())
            if credentials and request.header(b"proxy-authorization") != [wanted]:
                sock.sendall(b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n")
                return
            method, target, _version = request.first_line.split(b" ")
            netloc, _, path = target.rpartition(b"//")[2].partition(b"/")
            try:
                server = socket.create_connection((HOST, int(netloc.rpartition(b":")[2])))
            except OSError:
                sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
                return
            with server:
                if method == b"CONNECT":
                    sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    head = request.head.replace(target, b"/" + path, 1)
                    server.sendall(head + b"\r\n\r\n" + request.body)
                couple(sock, server)
        finally:
            sock.close()

    with listening(handle) as listener:
        proxy.port = listener.server_port
        yield proxy


def couple(one: Any, other: Any) -> None:
    """Carries bytes both ways until either side closes; then both are closed, a reset as a reset."""

    def carry(source: Any, sink: Any) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            with suppress(OSError):
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    both = [gevent.spawn(carry, one, other), gevent.spawn(carry, other, one)]
    try:
        gevent.joinall(both, count=1)
    finally:
        gevent.killall(both)
        other.close()


# ---- the client's side ----


def channel(*, proxy: str | None = None, adaptor: Adaptor | None = None, **more: Any) -> Channel:
    adaptor = adaptor or Adaptor(type=1, name="test", label="Test")
    return Channel(id=1, type=1, name="test", adaptor=adaptor, base_url="", key=KEY, proxy=proxy, **more)


def read_all(reply: UpstreamReply, seconds: float = 5.0) -> bytes:
    """The whole body; the reply is closed."""
    pieces = []
    try:
        assert reply.wait(seconds)
        while (data := reply.read(seconds)) != b"":
            assert data is not None, "nothing came"
            pieces.append(data)
    finally:
        reply.close()
    return b"".join(pieces)


def wait_until(holds: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        gevent.sleep(0.005)


class Clock:
    """The monotonic clock, which a test may push ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s
