"""An OpenAI-like provider on loopback that refuses a key, fails, or obliges, as a test says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.postoffice import JsonServer, json_server
from tests.street.obliging import USAGE

_CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Quite so."}, "finish_reason": "stop"}


@dataclass
class Provider:
    """`status` is what it answers to everybody, `refused` to single keys (401); `keys` are those that it saw."""

    status: int = 200
    refused: set[str] = field(default_factory=set)
    keys: list[str] = field(default_factory=list)
    models: tuple[str, ...] = ()
    server: JsonServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def __call__(self, environ: dict[str, Any], body: Any) -> tuple[int, Any]:
        key = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        self.keys.append(key)
        if key in self.refused:
            return 401, {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}}
        if self.status != 200:
            return self.status, {"error": {"message": "out of order", "type": "server_error"}}
        if environ["PATH_INFO"].endswith("/models"):
            return 200, {"object": "list", "data": [{"id": model, "object": "model"} for model in self.models]}
        if environ["PATH_INFO"].endswith("/credit_grants"):
            return 200, {"total_available": 12.5}
        return 200, {"id": "c", "object": "chat.completion", "created": 1, "choices": [_CHOICE], "usage": USAGE}


@pytest.fixture
def upstream() -> Iterator[Provider]:
    made = Provider()
    with json_server(made) as made.server:
        yield made
