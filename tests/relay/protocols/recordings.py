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


def plain_request(body: Any) -> Any:
    """A request in one of its equal spellings: what is absent, null or empty says the same."""
    body = json.loads(json.dumps(body))
    body.pop("top_k", None)  # declared as not carried
    if body.get("max_completion_tokens") is not None and body.get("max_tokens") is None:
        body["max_tokens"] = body.pop("max_completion_tokens")
    if isinstance(body.get("stop"), str):
        body["stop"] = [body["stop"]]
    for tool in body.get("tools") or ():
        tool.setdefault("type", "function")
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            if message["role"] == "assistant":  # Mistral's thoughts stand in the content
                thoughts = "".join(t["text"] for p in content if p.get("type") == "thinking" for t in p["thinking"])
                content = message["content"] = [p for p in content if p.get("type") != "thinking"]
                if thoughts:
                    message["reasoning_content"] = thoughts
            for part in content:
                if isinstance(part.get("image_url"), str):
                    part["image_url"] = {"url": part["image_url"]}
            plain = [part["text"] for part in content if set(part) == {"type", "text"}]
            if len(plain) == len(content) and (len(plain) < 2 or message["role"] != "user"):
                message["content"] = {"system": "\n\n", "tool": "\n"}.get(message["role"], "").join(plain)
        if message.get("reasoning"):
            text = message.pop("reasoning")
            if not message.get("reasoning_details"):
                message["reasoning_content"] = text
        message.pop("reasoning_content", None) if message.get("reasoning_details") else None
        for call in message.get("tool_calls") or ():
            call.pop("index", None)
            call.setdefault("type", "function")
    return _without_nothing(body)


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_nothing(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, "", [], {}, False)}
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return value
