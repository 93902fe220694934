"""What a channel is asked when it is tested, by the kind of its model, and how its answer is read.

A name tells what a model does only by custom; where the provider does not offer that, or the name says nothing, the
model is asked to talk. Requests are as small as they can be: a test costs the operator's money.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from oneapi.relay.adaptor import Mode
from oneapi.relay.convert import dumps
from oneapi.relay.exchange import Channel

USUAL_MODEL = "gpt-3.5-turbo"  # One API's, where the channel lists it
MAX_TOKENS = 64
# Models that think before they speak fail where the limit leaves no room for it.
_THINKS = re.compile(r"(.*/)?(o[134]|gpt-5)\b", re.IGNORECASE)
_MAX_THOUGHT_TOKENS = 2048
_JSON = "application/json"
_BOUNDARY = "a-recording-of-silence"


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    body: bytes
    content_type: str = _JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`read` gives what the answer says, None where it is not what such an answer must be.

    `is_timed`: slowness says something of the channel. `is_costly`: not to be asked every few minutes.
    """

    mode: Mode
    names: re.Pattern[str]
    render: Callable[[str, str], Request]  # (model, prompt)
    read: Callable[[bytes], str | None]
    is_timed: bool = True
    is_costly: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    model: str
    kind: Kind


def trial_of(channel: Channel, wanted: str) -> Trial | None:
    """What to ask the channel: the model that is wanted, or its own test model, where it lists it; else the usual one,
    or its first that talks, or its first. None where it lists none that its provider offers anything for.

    Names are compared whole (D-38).
    """
    models = [model for model in (wanted, channel.test_model, USUAL_MODEL) if model in channel.models]
    trials = [Trial(model, kind) for model in (*models, *channel.models) if (kind := _kind_of(channel, model))]
    if not models:
        trials.sort(key=lambda trial: trial.kind is not CHAT)
    return trials[0] if trials else None


def _kind_of(channel: Channel, model: str) -> Kind | None:
    endpoints = channel.adaptor.endpoints
    for kind in _KINDS:
        if kind.names.search(model) and kind.mode in endpoints:
            return kind
    return CHAT if "chat" in endpoints else None


# ---- the kinds ----


def _chat(model: str, prompt: str) -> Request:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": _MAX_THOUGHT_TOKENS if _THINKS.match(model) else MAX_TOKENS,
    }
    return Request("/v1/chat/completions", dumps(body))


def _said(body: Mapping[str, Any]) -> str | None:
    """What the model said. Thoughts count: a short limit may leave nothing else."""
    message = body["choices"][0]["message"]
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        return None
    thought = message.get("reasoning_content") or message.get("reasoning")
    return content or (thought if isinstance(thought, str) else content)


def _simple(path: str, **fields: Any) -> Callable[[str, str], Request]:
    return lambda model, prompt: Request(path, dumps({"model": model, **fields}))


def _counted(name: str, what: str) -> Callable[[Mapping[str, Any]], str | None]:
    """So many things in a list that must not be empty."""
    return lambda body: f"{len(body[name])} {what}" if isinstance(body[name], list) and body[name] else None


def _of_json(read: Callable[[Mapping[str, Any]], str | None]) -> Callable[[bytes], str | None]:
    def read_bytes(body: bytes) -> str | None:
        try:
            return read(json.loads(body))
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    return read_bytes


def _recording(model: str, prompt: str) -> Request:
    """A second of silence."""
    parts = (
        ('name="model"', b"", model.encode()),
        ('name="file"; filename="silence.wav"', b"Content-Type: audio/wav\r\n", _SILENCE),
    )
    body = b"".join(
        f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {name}\r\n".encode() + more + b"\r\n" + value + b"\r\n"
        for name, more, value in parts
    )
    body += f"--{_BOUNDARY}--\r\n".encode()
    return Request("/v1/audio/transcriptions", body, f"multipart/form-data; boundary={_BOUNDARY}")


def _heard(body: Mapping[str, Any]) -> str | None:
    text = body["text"]
    return text if isinstance(text, str) else None


_RATE = 8000
_SAMPLES = b"\x80" * _RATE  # 8 bits each, of which 128 is the middle
_SILENCE = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(_SAMPLES), b"WAVE",
    b"fmt ", 16, 1, 1, _RATE, _RATE, 1, 8, b"data", len(_SAMPLES),
) + _SAMPLES  # fmt: skip

CHAT = Kind(mode="chat", names=re.compile("$^"), render=_chat, read=_of_json(_said))


def _names(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# In this order: a reranker may be called after the embedding it goes with.
_KINDS = (
    Kind(
        mode="rerank",
        names=_names(r"rerank"),
        render=_simple("/v1/rerank", query="a cat", documents=["a kitten", "a car"]),
        read=_of_json(_counted("results", "documents ranked")),
    ),
    Kind(
        mode="embeddings",
        names=_names(r"embed|bge-|tao-8k|m3e|\bgte-|\be5-"),
        render=_simple("/v1/embeddings", input="a cat"),
        read=_of_json(_counted("data", "vector(s)")),
    ),
    Kind(
        mode="moderations",
        names=_names(r"moderation"),
        render=_simple("/v1/moderations", input="a cat"),
        read=_of_json(_counted("results", "text judged")),
    ),
    Kind(
        mode="transcription",
        names=_names(r"whisper|transcri|\basr\b|sensevoice|paraformer"),
        render=_recording,
        read=_of_json(_heard),
    ),
    Kind(
        mode="speech",
        names=_names(r"\btts\b|speech|cosyvoice"),
        render=_simple("/v1/audio/speech", input="Hi", voice="alloy"),
        read=lambda body: f"{len(body)} bytes of sound" if body else None,
    ),
    Kind(
        mode="images",
        names=_names(
            r"dall-e|image|stable-diffusion|\bsdxl?\b|flux|wanx|wan2|cogview|imagen|seedream|kolors|recraft|ideogram"
        ),
        render=_simple("/v1/images/generations", prompt="a dot", n=1),
        read=_of_json(_counted("data", "image")),
        is_timed=False,
        is_costly=True,
    ),
)
