"""Several nodes of one installation: a line to each of their workers, and a clerk who administers through all of them,
whatever he is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import gevent
import requests

from tests.gateway import ROOT_ACCESS_TOKEN
from tests.street.shop import Shop
from tests.street.wire import Line, Reply

FELT_WITHIN_S = 20.0  # two are promised; the machine may be busy with other things
_LOOK_EVERY_S = 0.01
_PAUSE_S = 0.1
_TIMEOUT_S = 30


class WorkerLine:
    """A connection that is kept, and so stays with the worker who took it."""

    def __init__(self, node: Shop) -> None:
        self._line = Line(node.url)
        self.get("/healthz")  # by now somebody has taken it
        self.pid = next(pid for pid in node.gateway.worker_pids if self._far_end in _sockets(pid))

    def get(self, path: str, credential: str = ROOT_ACCESS_TOKEN) -> Reply:
        self._line.send(f"GET {path} HTTP/1.1\r\nHost: node\r\nAuthorization: {credential}\r\n\r\n".encode())
        return self._line.reply("GET")

    def close(self) -> None:
        self._line.socket.close()

    @property
    def _far_end(self) -> str:
        """The socket at the other end, as processes' files name it."""
        near, far = (f":{name[1]:04X}" for name in (self._line.socket.getsockname(), self._line.socket.getpeername()))
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()]
        return next(f"socket:[{row[9]}]" for row in rows if row[1].endswith(far) and row[2].endswith(near))


@contextmanager
def lines_to(nodes: Sequence[Shop]) -> Iterator[list[WorkerLine]]:
    """One line to every worker of the nodes."""
    lines: list[WorkerLine] = []
    try:
        deadline = time.monotonic() + _TIMEOUT_S
        for node in nodes:
            while not set(node.gateway.worker_pids) <= {line.pid for line in lines}:
                assert time.monotonic() < deadline, "A worker takes no connections."
                lines.append(WorkerLine(node))
        yield list({line.pid: line for line in lines}.values())
    finally:
        for line in lines:
            line.close()


def seconds_until_felt(
    nodes: Sequence[Shop], act: Callable[[], object], is_felt: Callable[[WorkerLine], bool]
) -> float:
    """Does something, and returns how long it then took until every worker of the nodes had felt it."""
    with lines_to(nodes) as lines:
        assert [is_felt(line) for line in lines] == [False] * len(lines)
        act()
        since = time.monotonic()

        def wait(line: WorkerLine) -> None:
            while not is_felt(line):
                assert time.monotonic() - since < FELT_WITHIN_S, "A worker has not felt it."
                gevent.sleep(_LOOK_EVERY_S)

        gevent.joinall([gevent.spawn(wait, line) for line in lines], raise_error=True)
        seconds = time.monotonic() - since
        assert [is_felt(line) for line in lines] == [True] * len(lines)
    return seconds


class Clerk:
    """Gives a user quota and edits a channel, through one node after the other, until he is sent home."""

    QUOTA = 1000  # of each gift

    def __init__(self, nodes: Sequence[Shop], *, user_id: int, channel_id: int) -> None:
        self.heard: list[requests.Response] = []
        self.given = 0  # so often he was told that it was done
        self.untold = 0  # so often he was told something else, or nothing
        self._nodes = nodes
        self._user_id = user_id
        self._channel_id = channel_id
        self._is_leaving = False
        self._greenlet = gevent.spawn(self._work)

    def go_home(self) -> list[requests.Response]:
        """Everything that was heard."""
        self._is_leaving = True
        self._greenlet.get()
        return self.heard

    def _work(self) -> None:
        turn = 0
        while not self._is_leaving:
            url = self._nodes[turn % len(self._nodes)].url
            gift = {"user_id": self._user_id, "quota": self.QUOTA, "remark": f"gift {turn}"}
            if self._is_done("POST", f"{url}/api/topup", gift):
                self.given += 1
            else:
                self.untold += 1
            self._is_done("PUT", f"{url}/api/channel/", {"id": self._channel_id, "priority": turn % 7})
            turn += 1
            gevent.sleep(_PAUSE_S)

    def _is_done(self, method: str, url: str, body: object) -> bool:
        with suppress(requests.RequestException):
            headers = {"Authorization": ROOT_ACCESS_TOKEN}
            answer = requests.request(method, url, json=body, headers=headers, timeout=_TIMEOUT_S)
            self.heard.append(answer)
            return answer.status_code == 200 and bool(answer.json()["success"])
        return False


def _sockets(pid: int) -> set[str]:
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(os.readlink(file))
    return found
