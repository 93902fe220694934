"""Testing a channel: one small request through the relay as clients' requests go, save that it costs nobody anything.

Source: spec management.md §4.7, with D-38 mended: the model is one that the channel lists, and models that make vectors
are asked for one; what the channel was told as its own test model goes first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine

from oneapi.database import run_write
from oneapi.errors import GatewayError
from oneapi.relay import pipeline
from oneapi.relay.adaptor import Mode
from oneapi.relay.convert import dumps
from oneapi.relay.directory import ChannelDirectory
from oneapi.relay.exchange import Call, Caller, Channel, Hold, LogEntry, Ports
from oneapi.relay.pricing import PriceList
from oneapi.services import channels, logs

_LOG_TEST = 5
_MAX_TOKENS = 64
_VECTORS = re.compile(r"embed|bge-|tao-8k|m3e", re.IGNORECASE)
_UNTESTED = re.compile(r"whisper|tts|dall-e|image|stable-diffusion|flux|wanx|cogview|rerank", re.IGNORECASE)
_PATHS: Mapping[Mode, str] = {"chat": "/v1/chat/completions", "embeddings": "/v1/embeddings"}
_NOBODY = Caller(
    user_id=0,
    username="",
    group="",
    role=100,
    user_quota=0,
    token_id=0,
    token_name="",
    token_quota=0,
    is_unlimited=True,
)


@dataclass(frozen=True, slots=True)
class Tested:
    """How a test ended: `message` is the model's answer, or what went wrong."""

    is_ok: bool
    message: str
    elapsed_s: float
    model: str


def test(channel: Channel, prices: PriceList, ports: Ports, prompt: str, *, model: str = "") -> Tested:
    """Asks the channel's provider once, whatever the channel's status. Nothing is stored."""
    model = _model_of(channel, model)
    if not model:
        return Tested(False, "The channel lists no model that can be tested.", 0.0, model)
    mode: Mode = "embeddings" if _VECTORS.search(model) else "chat"
    call = Call(
        request_id=ports.new_id(),
        dialect="openai",
        mode=mode,
        method="POST",
        path=_PATHS[mode],
        query="",
        headers={"content-type": "application/json"},
        client_ip="",
        received_at=ports.now(),
        received_s=ports.monotonic(),
        channel_id=channel.id,
    )
    free = replace(
        ports,
        authenticate=lambda call: _NOBODY,
        directory=lambda: ChannelDirectory({channel.id: channel}, (), prices),
        reserve=lambda caller, quota, request_id: Hold(request_id, 0, 0, 0, 0),
        settle=lambda hold, settlement: None,
        observe=lambda exchange: None,
        is_cooling=lambda channel_id, model: False,
        is_key_resting=lambda channel_id, key_id: False,
        admit=lambda caller, head: None,
    )
    try:
        reply = pipeline.relay(call, lambda: dumps(_body(mode, model, prompt)), free)
        body = b"".join(reply.body)
        reply.close()
    except GatewayError as error:
        return Tested(False, error.message, ports.monotonic() - call.received_s, model)
    elapsed_s = ports.monotonic() - call.received_s
    answer = _answer(mode, body)
    if answer is None:
        return Tested(False, "The provider's answer holds no text.", elapsed_s, model)
    return Tested(True, answer, elapsed_s, model)


def record(engine: Engine, channel: Channel, tested: Tested, *, now: int) -> None:
    """Stores when and how fast the channel answered (0: it failed), and a row of type 5."""
    elapsed_ms = round(tested.elapsed_s * 1000)
    channels.record_test(engine, channel.id, response_time_ms=elapsed_ms if tested.is_ok else 0, now=now)
    entry = LogEntry(
        user_id=0,
        created_at=now,
        type=_LOG_TEST,
        content=f"{channel.name}: {tested.message}"[:1000],
        model_name=tested.model,
        channel_id=channel.id,
        elapsed_time=elapsed_ms,
    )
    run_write(engine, lambda connection: logs.record(connection, entry))


def _model_of(channel: Channel, asked: str) -> str:
    """The model asked for where the channel lists it, else its first that can be tested."""
    if asked in channel.models:
        return asked
    return next((model for model in channel.models if not _UNTESTED.search(model)), "")


def _body(mode: Mode, model: str, prompt: str) -> dict[str, Any]:
    if mode == "embeddings":
        return {"model": model, "input": prompt}
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": _MAX_TOKENS}


def _answer(mode: Mode, body: bytes) -> str | None:
    """What the model said; None where it said nothing. Thoughts count: a short limit may leave nothing else."""
    try:
        answer = json.loads(body)
        if mode == "embeddings":
            return f"{len(answer['data'])} vector(s)"
        message = answer["choices"][0]["message"]
    except (ValueError, LookupError, TypeError):
        return None
    text = message.get("content") or message.get("reasoning_content") or message.get("reasoning")
    return text if isinstance(text, str) else None
