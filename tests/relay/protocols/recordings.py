"""Traffic of providers: recorded, from the folder that the recordings live in, and written from documentation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oneapi.relay.framing import SSE, Frame

FOLDER = Path(os.environ.get("ONEAPI_FIXTURES") or Path(__file__).parents[3].parent / "shared" / "fixtures")
WRITTEN = Path(__file__).parents[2] / "fixtures"  # documented/<provider>/<case>.json


@dataclass(frozen=True)
class Recording:
    name: str
    url: str
    request: Any  # parsed JSON, or None
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_stream(self) -> bool:
        return self.body.lstrip()[:5] in (b"data:", b": ope", b": OPE", b": kee")

    def frames(self, cut: Callable[[bytes], list[bytes]] = lambda body: [body]) -> list[Frame]:
        framing = SSE()
        frames = [frame for piece in cut(self.body) for frame in framing.feed(piece)]
        return frames + framing.finish()


def recordings(wanted: Callable[[Recording], bool]) -> list[Any]:
    """Parameters for a test, one per recording; those of documentation alone where the folder is not there."""
    found = []
    paths = [(FOLDER, path) for path in sorted(FOLDER.glob("*/*.json"))]
    paths += [(WRITTEN, path) for path in sorted(WRITTEN.glob("documented/*/*.json"))]
    for folder, path in paths:
        data = json.loads(path.read_text("utf-8"))
        response = data["response"]
        if response["body_encoding"] != "text":
            continue
        recording = Recording(
            name=str(path.relative_to(folder).with_suffix("")),
            url=data["request"].get("url", ""),
            request=data["request"]["body"] if data["request"].get("body_encoding") == "json" else None,
            status=response["status"],
            headers=response["headers"],
            body=response["body"].encode("utf-8"),
        )
        if wanted(recording):
            found.append(pytest.param(recording, id=recording.name))
    return found


def is_chat(recording: Recording) -> bool:
    path = recording.url.partition("?")[0]
    return path.endswith(("/chat/completions", "/chatcompletion_v2")) and "ai/run" not in path


def is_good(recording: Recording) -> bool:
    """A success that has an answer in it."""
    has_choices = recording.status == 200 and b'"choices"' in recording.body
    return has_choices and not recording.name.endswith(_IS_ERROR)


# Errors inside a 200, and streams that break; they have tests of their own.
_IS_ERROR = (
    "deployment-refusal",
    "error-mid-stream",
    "stream-cut",
    "openrouter/max-tokens-stream",  # of OpenRouter: the provider behind it refuses in the middle
    "error-1002-rate",
    "error-1004-auth",
    "error-1008-balance",
    "error-1026-content",
    "error-2013-params",
)
