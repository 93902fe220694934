"""The real program under gunicorn, as a child process of the tests: doors are tested from the street.

`gateway` is shared by tests that mostly read; `start_gateway` gives a test one of its own, to stop or to kill.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT_PASSWORD = "123456"
ROOT_ACCESS_TOKEN = "f0e1d2c3b4a5968778695a4b3c2d1e0f"  # root's, for /api
ROOT_API_KEY = "rootkeyrootkeyrootkeyrootkeyrootkeyrootkeyrootke"  # root's, for /v1; without its sk-

_CHECKOUT = Path(__file__).parent.parent
_START_S = 60
_LISTENING = re.compile(r"Listening at: (http://127\.0\.0\.1:\d+)")


class Gateway:
    """One running program with its own folder, database and port. A context manager: the exit stops it."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str] | None = None, command: tuple[str, ...] = ("-m", "oneapi")
    ) -> None:
        self.folder = folder
        self._command = command
        self._log = folder / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = ""
        # Nothing of the developer's own environment, which may name a real database.
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(_CHECKOUT),
            "BIND": "127.0.0.1:0",
            "WEB_CONCURRENCY": "1",
            "GRACEFUL_TIMEOUT": "8",
            "LOG_DIR": "",
            "INITIAL_ROOT_ACCESS_TOKEN": ROOT_ACCESS_TOKEN,
            "INITIAL_ROOT_TOKEN": ROOT_API_KEY,
            **(environ or {}),
        }

    def start(self) -> "Gateway":
        """Starts the program, anew on the same folder where it ran before, and waits until it answers."""
        begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._command],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"The program ended with status {self._process.returncode}:\n{self.log()}")
            listening = _LISTENING.search(self._log.read_bytes()[begin:].decode(errors="replace"))
            if listening:
                self.base_url = listening[1]
                if self._answers():
                    return self
            time.sleep(0.05)
        self.kill9()
        raise RuntimeError(f"The program did not answer within {_START_S} s:\n{self.log()}")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/healthz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def worker_pids(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def log(self) -> str:
        """Everything the program has written to stdout and stderr."""
        return self._log.read_text(errors="replace")

    def stop(self, timeout_s: float = 30) -> int:
        """Asks the program to stop, waits, and gives its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def kill9(self) -> None:
        """Ends master and workers at once, as a loss of power does."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def __enter__(self) -> "Gateway":
        return self.start()

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.kill9()  # whatever outlived its master


StartGateway = Callable[..., Gateway]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The program on SQLite, shared: leave its settings as they are."""
    with Gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """`start_gateway(NAME=value…)` starts a program of the test's own, in a folder of its own."""
    started: list[Gateway] = []

    def start(**environ: str) -> Gateway:
        folder = tmp_path / f"gateway{len(started)}"
        folder.mkdir()
        started.append(Gateway(folder, environ))
        return started[-1].start()

    yield start
    for running in started:
        running.kill9()
