"""A running program for clients of all kinds: providers recorded, mocked and obliging behind it, and keys of all sorts.

Shared by tests that only ask, so that it starts once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import replay
from tests.gateway import Gateway
from tests.street.console import UNLIMITED, Console, User
from tests.street.obliging import Obliging
from tests.street.upstreams import MockUpstream

# Model → the recording that answers for it.
RECORDED = {
    "chat": "openai/chat",
    "chat-stream": "openai/chat-stream",
    "completions": "openai/completions",
    "completions-stream": "openai/completions-stream",
    "embed": "openai/embed",
    "error-400": "openai/error-400",
    "error-401": "openai/error-401",
    "error-404": "openai/error-404",
    "error-500": "documented/openai/error-500",
    "error-context-length": "documented/openai/error-400-context-length",
    "error-html": "documented/openai/error-502-html",
    "image-b64": "openai/image-gen-b64",
    "image-edit": "openai/image-edit",
    "image-url": "openai/image-gen-url",
    "logprobs": "openai/logprobs",
    "moderation": "openai/moderation-text",
    "refusal": "openai/refusal",
    "speech": "openai/speech",
    "tools": "openai/tool-call-parallel",
    "tools-stream": "openai/tool-call-parallel-stream",
    "transcription": "openai/transcription-json",
    "transcription-stream": "openai/transcription-stream",
    "usage-stream": "openai/structured-stream",
}
# Faults of the mock, by the names it understands.
FAULTS = ("mock-e429", "mock-e500", "mock-e503", "mock-n4-cut")
OBLIGING = ("granted", "meta-llama/Llama-3.3-70B-Instruct:free", "whisper-1", "text-embedding-3-small", "dall-e-2")
MAPPED, PROMPTED, SHY, VIP = "an-alias", "prompted", "shy", "for-vips"
PROMPT = "Answer in one word."


@dataclass
class Showcase:
    console: Console
    replaying: replay.Server
    obliging: Obliging
    admin: User
    admin_key: str
    user: User
    key: str
    channels: dict[str, int]  # by model

    @property
    def url(self) -> str:
        return self.console.url

    def recorded(self, model: str) -> Any:
        """The recorded answer: parsed, or its bytes where it is not JSON."""
        body = self.replaying.state.fx[RECORDED[model]].raw()
        return json.loads(body) if body.lstrip()[:1] == b"{" else body

    @property
    def last_sent(self) -> tuple[str, dict[str, str], bytes]:
        """Path, headers and body of what the obliging upstream received last."""
        return self.obliging.received[-1]


@pytest.fixture(scope="session")
def showcase(fixtures_dir: Path, mock: MockUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showcase]:
    replaying = replay.serve()
    # A provider that knows no stream_options is asked for usage all the same.
    environ = {**UNLIMITED, "ENFORCE_INCLUDE_USAGE": "true", "MAX_BODY_BYTES": str(1 << 20)}
    with (
        Obliging() as obliging,
        Gateway(tmp_path_factory.mktemp("showcase"), environ) as gateway,
        Console(gateway) as console,
    ):
        channels = {
            model: console.channel(f"{replaying.url}/@{fixture};loose", models=model)
            for model, fixture in RECORDED.items()
        }
        channels |= dict.fromkeys(FAULTS, console.channel(mock.url, models=",".join(FAULTS)))
        channels |= dict.fromkeys(OBLIGING, console.channel(obliging.url, type=8, models=",".join(OBLIGING)))
        channels[MAPPED] = console.channel(obliging.url, models=MAPPED, model_mapping={MAPPED: "gpt-4o-mini"})
        channels[PROMPTED] = console.channel(obliging.url, models=PROMPTED, system_prompt=PROMPT)
        channels[SHY] = console.channel(obliging.url, type=48, models=SHY)
        channels[VIP] = console.channel(obliging.url, models=VIP, group="vip")
        admin, user = console.user(role="admin"), console.user()
        admin_key, key = console.token(admin), console.token(user)
        vip_key = console.token(console.user(group="vip"))
        console.wait_until_known(VIP, vip_key)
        yield Showcase(console, replaying, obliging, admin, admin_key, user, key, channels)
    replaying.shutdown()
    replaying.server_close()
