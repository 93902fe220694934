"""Providers for tests: the mock of the load kit, which fails in whatever way a model's name asks for.

bench/README.md lists the names. Recorded answers are served by tests/replay.py instead.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import require_service
from tests.servers import Server

_MOCK = Path(__file__).parents[2] / "bench" / "mock_upstream.js"

# One whole answer of the mock, or one of its streams that is asked for usage, is said to have used so much.
INPUT_TOKENS = 128
OUTPUT_TOKENS = 128


class MockUpstream(Server):
    """The mock in a process of its own. Several channels may use it: what stands before /v1 in a path is ignored."""

    name = "mock"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [str(self.program), str(_MOCK), "--port", str(self.port)]

    def ping(self) -> None:
        self.stats()

    def stats(self) -> dict[str, int]:
        """Requests, open, done and aborted streams, and faults so far."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=10) as answer:
            counted: dict[str, int] = json.load(answer)
        return counted


@pytest.fixture(scope="session")
def mock() -> Iterator[MockUpstream]:
    """A mock upstream for all tests."""
    upstream = MockUpstream(require_service("node"))
    yield upstream
    upstream.close()
