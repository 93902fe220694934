"""Reading a request at the door: bodies that are late, cut or damaged, by WSGI and by the worker's short way."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gunicorn.http.errors import InvalidChunkSize, NoMoreData

from oneapi.relay import worker
from oneapi.relay.door import RelayDoor
from oneapi.relay.paths import asked
from oneapi.relay.transport.sockets import Socket
from oneapi.relay.worker import _Closed, _Connection
from tests.relay.world import World

PATH = "/v1/chat/completions"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10\r\n\r\n".encode()


@pytest.fixture
def door() -> RelayDoor:
    def beyond(environ: Any, start_response: Any) -> Any:
        raise AssertionError("a relay path went past the door")

    return RelayDoor(beyond, World({}).ports(), max_body_bytes=1000, client_address=lambda peer, forwarded: peer)


class Failing(io.RawIOBase):
    """A body whose reading fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


def answered(door: RelayDoor, body: Any, **more: str) -> tuple[str, Any]:
    """Status and JSON of the answer by WSGI."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": PATH, "wsgi.input": body, **more}
    started: list[str] = []
    answer: Any = door(environ, lambda status, headers: started.append(status))
    content = b"".join(answer)
    answer.close()
    return started[0], json.loads(content)["error"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (TimeoutError(), "408 Request Timeout", "request_timeout"),
        (ConnectionResetError(), "400 Bad Request", "invalid_body"),
        (NoMoreData(), "400 Bad Request", "invalid_body"),
        (InvalidChunkSize("zz"), "400 Bad Request", "invalid_body"),
    ],
    ids=repr,
)
def test_a_body_that_cannot_be_read_is_refused(door: RelayDoor, error: Exception, status: str, code: str) -> None:
    told, refusal = answered(door, Failing(error))
    assert (told, refusal["code"]) == (status, code)


def test_a_body_shorter_than_announced_is_refused_though_it_is_json(door: RelayDoor) -> None:
    status, refusal = answered(door, io.BytesIO(b"{}"), CONTENT_LENGTH="3")
    assert (status, refusal["code"]) == ("400 Bad Request", "invalid_body")


# ---- the worker's short way ----


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The worker's end and the client's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    yield ours, theirs
    ours.close()
    theirs.close()


def serve(door: RelayDoor, ours: socket.socket, data: bytes) -> None:
    wanted = asked("POST", PATH)
    assert wanted is not None
    _Connection(door, Socket(ours), "192.0.2.1").serve(wanted, data, may_persist=lambda: True)


def test_a_client_that_stops_in_the_middle_of_its_body_is_told(
    door: RelayDoor, line: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CLIENT_TIMEOUT_S", 0.05)
    ours, theirs = line
    serving = gevent.spawn(serve, door, ours, HEAD + b'{"model')
    said = theirs.recv(65536)
    assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"Connection: close" in said
    assert b'"code":"request_timeout"' in said
    theirs.close()
    assert isinstance(serving.get(timeout=5), _Closed)


def test_a_client_that_leaves_in_the_middle_of_its_body_is_told_nothing(
    door: RelayDoor, line: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = line
    theirs.close()
    with pytest.raises(_Closed):
        serve(door, ours, HEAD + b'{"model')


def test_a_connection_goes_on_after_an_answer(door: RelayDoor, line: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = line
    for _ in range(2):
        serve(door, ours, HEAD + b'{"a": "b"}')
        said = theirs.recv(65536)
        assert said.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close" not in said


@pytest.mark.parametrize("wish", ["HTTP/1.1\r\nConnection: close", "HTTP/1.0"])
def test_a_client_who_wants_the_connection_closed_gets_it_closed(
    door: RelayDoor, line: tuple[socket.socket, socket.socket], wish: str
) -> None:
    ours, theirs = line
    head = f"POST {PATH} {wish}\r\nHost: gateway\r\nContent-Length: 10\r\n\r\n".encode()
    with pytest.raises(_Closed):
        serve(door, ours, head + b'{"a": "b"}')
    assert b"Connection: close" in theirs.recv(65536)
