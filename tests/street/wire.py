"""A client that decides about every byte it sends, and an eye for what comes back."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of OpenAI's envelope, which must be whole."""
        assert self.headers["content-type"].startswith("application/json"), self
        error: dict[str, Any] = self.json["error"]
        assert isinstance(error["message"], str), self
        assert error["message"].strip(), self
        assert isinstance(error["type"], str), self
        return error

    @property
    def request_id(self) -> str:
        return self.headers["x-oneapi-request-id"]


class Line:
    """One connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=TIMEOUT_S)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, method: str = "POST") -> Reply:
        """The next reply; an interim one (100) is passed over."""
        response = HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            body = response.read()
        finally:
            response.close()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        pieces = []
        with contextlib.suppress(ConnectionResetError):
            while piece := self.socket.recv(65536):
                pieces.append(piece)
        return b"".join(pieces)

    def is_closed(self) -> bool:
        """Whether the server has closed the connection, having nothing more to say."""
        return self.rest() == b""

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def line(url: str) -> Iterator[Line]:
    made = Line(url)
    try:
        yield made
    finally:
        made.close()


def request(
    path: str,
    body: bytes = b"",
    *,
    key: str = "",
    method: str = "POST",
    headers: Mapping[str, str | bytes] | None = None,
    version: str = "1.1",
) -> bytes:
    """A request as bytes; a header that is None-like ("") is left out, Content-Length is added where none is given."""
    fields: dict[str, str | bytes] = {"Host": "gateway", "Content-Type": "application/json"}
    if key:
        fields["Authorization"] = f"Bearer {key}"
    if body or method == "POST":
        fields["Content-Length"] = str(len(body))
    fields.update(headers or {})
    lines = [f"{method} {path} HTTP/{version}".encode("latin-1")]
    for name, value in fields.items():
        if value != "":
            lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode("latin-1")))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def ask(url: str, raw: bytes, method: str = "POST") -> Reply:
    """The reply to one request on a connection of its own."""
    with line(url) as made:
        made.send(raw)
        return made.reply(method)


NoReply = (HTTPException, ConnectionError)
