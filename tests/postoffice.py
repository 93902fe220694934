"""A small mail server and a Message Pusher on loopback, for tests that send mail: real sockets, real TLS.

Source: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 4616 (AUTH PLAIN), as far as a client of ours goes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import gevent
from gevent.pywsgi import WSGIServer

from tests.relay.wire import HOST, listening, server_context


@dataclass
class Received:
    sender: str
    receivers: list[str]
    message: EmailMessage
    was_encrypted: bool
    login: tuple[str, str] | None

    @property
    def text(self) -> str:
        body = self.message.get_body(("plain",))
        assert body is not None
        return str(body.get_content()).replace("\r\n", "\n")

    @property
    def html(self) -> str:
        body = self.message.get_body(("html",))
        assert body is not None
        return str(body.get_content()).replace("\r\n", "\n")


@dataclass
class PostOffice:
    """`is_tls`: from the first byte. `offers_starttls`, `is_rude` (hangs up instead of saying good-bye), `refuses`
    (receivers), `failures` (how often a letter is refused for now before it is taken), `delay_s`: how it behaves."""

    is_tls: bool = False
    offers_starttls: bool = False
    offers_login: bool = True
    is_rude: bool = False
    refuses: frozenset[str] = frozenset()
    failures: int = 0
    delay_s: float = 0
    host: str = HOST
    received: list[Received] = field(default_factory=list)
    port: int = 0

    def options(self, **more: str) -> dict[str, str]:
        """The options of a site that sends through it."""
        return {"SMTPServer": self.host, "SMTPPort": str(self.port), "SMTPFrom": "noreply@example.org", **more}

    def wait_for(self, count: int, seconds: float = 5) -> list[Received]:
        """Waits until so many letters have come."""
        with gevent.Timeout(seconds, AssertionError(f"{len(self.received)} of {count} letters came")):
            while len(self.received) < count:
                gevent.sleep(0.005)
        return self.received

    def serve(self, socket: Any, _address: Any) -> None:
        conversation = _Conversation(self, socket)
        try:
            with suppress(OSError):
                conversation.run()
        finally:
            conversation.close()


@contextmanager
def post_office(**behaviour: Any) -> Iterator[PostOffice]:
    office = PostOffice(**behaviour)
    with listening(office.serve) as listener:
        office.port = listener.server_port
        yield office


class _Conversation:
    def __init__(self, office: PostOffice, socket: Any) -> None:
        self.office = office
        self.socket = socket
        self.is_encrypted = False
        self.login: tuple[str, str] | None = None
        self.file = socket.makefile("rb")
        self._clear()

    def _clear(self) -> None:
        self.sender, self.receivers = "", list[str]()

    def _encrypt(self) -> None:
        self.file.close()
        self.socket = server_context(self.office.host).wrap_socket(self.socket, server_side=True)
        self.file = self.socket.makefile("rb")
        self.is_encrypted = True

    def say(self, line: str) -> None:
        self.socket.sendall(f"{line}\r\n".encode())

    def run(self) -> None:
        gevent.sleep(self.office.delay_s)
        if self.office.is_tls:
            self._encrypt()
        self.say("220 post office")
        while line := self.file.readline():
            command, _, argument = line.decode().strip().partition(" ")
            if not self._obey(command.upper(), argument):
                break

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def _obey(self, command: str, argument: str) -> bool:
        office = self.office
        match command:
            case "EHLO":
                lines = ["post office", "8BITMIME"]
                if office.offers_starttls and not self.is_encrypted:
                    lines.append("STARTTLS")
                if office.offers_login:
                    lines.append("AUTH PLAIN")
                for line in lines[:-1]:
                    self.say(f"250-{line}")
                self.say(f"250 {lines[-1]}")
            case "STARTTLS":
                self.say("220 go on")
                self._encrypt()
            case "AUTH":
                _, name, password = base64.b64decode(argument.partition(" ")[2]).decode().split("\0")
                self.login = name, password
                self.say("535 wrong password" if password == "wrong" else "235 welcome")
            case "MAIL":
                self.sender = _address(argument)
                self.say("250 ok")
            case "RCPT":
                address = _address(argument)
                if address in office.refuses:
                    self.say("550 nobody lives here")
                else:
                    self.receivers.append(address)
                    self.say("250 ok")
            case "DATA":
                self.say("354 go on")
                self._take()
            case "RSET":
                self._clear()
                self.say("250 ok")
            case "QUIT":
                if not office.is_rude:
                    self.say("221 bye")
                return False
            case _:
                self.say("502 what?")
        return True

    def _take(self) -> None:
        lines = []
        while (line := self.file.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        if self.office.failures:
            self.office.failures -= 1
            self.say("451 try again later")
            return
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        self.office.received.append(Received(self.sender, self.receivers, message, self.is_encrypted, self.login))
        self._clear()
        self.say("250 taken")


def _address(argument: str) -> str:
    return argument.partition("<")[2].partition(">")[0]


# ---- JSON over HTTP ----


@dataclass
class JsonServer:
    """Answers each request by `answer(environ, body) -> (status, JSON)` and keeps what was asked."""

    answer: Any
    url: str = ""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)  # method, path with query, body

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raw = environ["wsgi.input"].read()
        body = (
            json.loads(raw)
            if environ.get("CONTENT_TYPE", "").startswith("application/json")
            else raw.decode(errors="replace")
        )
        path = environ["PATH_INFO"] + (f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else "")
        self.asked.append((environ["REQUEST_METHOD"], path, body))
        status, answer = self.answer(environ, body)
        headers = [("Content-Type", "application/json")]
        if isinstance(answer, str) and answer.startswith("http"):
            headers = [("Location", answer)]
        start_response(f"{status} said", headers)
        return [answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()]


@contextmanager
def json_server(answer: Any) -> Iterator[JsonServer]:
    application = JsonServer(answer)
    server = WSGIServer((HOST, 0), application, log=None, error_log=None)
    server.start()
    application.url = f"http://{HOST}:{server.server_port}"
    try:
        yield application
    finally:
        server.stop(timeout=0)
