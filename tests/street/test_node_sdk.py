"""OpenAI's own client for Node against the running program: tests/node/sdk.mjs asks, what it heard is judged here."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.needs import lacking, require_service
from tests.street.showcase import Showcase
from tests.street.test_openai_sdk import chunks_of

NODE = Path(__file__).parents[1] / "node"


@pytest.fixture(scope="module")
def heard(showcase: Showcase) -> Any:
    """What the script heard."""
    node = require_service("node")
    if not (NODE / "node_modules" / "openai").is_dir():
        lacking("OpenAI's client for Node is not installed: npm ci --prefix tests/node")
    command = [str(node), str(NODE / "sdk.mjs"), f"{showcase.url}/v1", showcase.key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_models(heard: Any) -> None:
    assert "chat" in heard["models"]
    assert heard["model"] == "meta-llama/Llama-3.3-70B-Instruct:free"


@pytest.mark.parametrize("model", ["chat", "tools"])
def test_chats_are_answered_as_recorded(showcase: Showcase, heard: Any, model: str) -> None:
    assert heard[model] == showcase.recorded(model)


def test_streams_are_told_as_recorded(showcase: Showcase, heard: Any) -> None:
    recorded = chunks_of(showcase.recorded("tools-stream"))
    assert heard["streamWithUsage"] == recorded
    assert heard["stream"] == recorded[:-1]


def test_the_other_modes(showcase: Showcase, heard: Any) -> None:
    raw = base64.b64decode(showcase.recorded("embed")["data"][0]["embedding"])
    assert heard["embedding"] == list(struct.unpack(f"<{len(raw) // 4}f", raw))
    assert heard["image"] == showcase.recorded("image-b64")["data"][0]["b64_json"]
    assert base64.b64decode(heard["speech"]) == showcase.recorded("speech")
    assert heard["transcription"] == showcase.recorded("transcription")["text"]
    assert heard["moderation"] == showcase.recorded("moderation")["results"][0]["flagged"]
    assert heard["completion"] == showcase.recorded("completions")["choices"][0]["text"]


@pytest.mark.parametrize(
    ("name", "kind", "status", "code"),
    [
        ("unknownKey", "AuthenticationError", 401, None),
        ("pinned", "PermissionDeniedError", 403, None),
        ("rateLimit", "RateLimitError", 429, "mock_429"),
        ("noSuchModel", "NotFoundError", 404, "model_not_found"),
        ("emptyMessages", "BadRequestError", 400, "invalid_text_request"),
        ("server", "InternalServerError", 500, "mock_500"),
        ("noChannel", "InternalServerError", 503, None),
    ],
)
def test_errors_have_the_sdks_own_classes(heard: Any, name: str, kind: str, status: int, code: str | None) -> None:
    error = heard["errors"][name]
    assert (error["kind"], error["status"], error.get("code")) == (kind, status, code)
    assert name == "noSuchModel" or error["id"] in error["message"]


def test_a_stream_that_breaks_raises(heard: Any) -> None:
    assert heard["errors"]["broken"]["kind"] == "APIError"
