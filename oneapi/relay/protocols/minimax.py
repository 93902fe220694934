"""MiniMax: OpenAI's chat with errors inside a 200, and embeddings and speech of its own.

Source: https://platform.minimaxi.com/docs/api-reference/errorcode (errors stand in `base_resp`, with HTTP 200) and
/text-post (read 2026-11-25); documented exchanges for the rest. By that page MiniMax-Text-01 alone knows
response_format, a temperature is above 0 and at most 1, and tool_choice is none or auto; what is beyond that goes up
as it came, and is MiniMax's to refuse. That models since M1 take schemas as objects is an assumption: the page shows
none.

Not carried: in embeddings dimensions and user; in speech instructions, and a name of a voice that MiniMax does not know
(OpenAI's own are given to one of its voices).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Credentials, Flow, Headers, Json, UpstreamRequest
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import openai_chat, openai_chat_answer, openai_embeddings, provider_error
from oneapi.relay.protocols.provider_json import dumps, loads

# ---- errors ----

_STATUS: Mapping[int, int] = {
    1001: 504,  # timeout
    1002: 429,  # requests per minute
    1004: 401,  # key
    1008: 402,  # balance
    1026: 400,  # input sensitive
    1027: 400,  # output sensitive
    1039: 429,  # tokens per minute
    1042: 400,  # invisible characters
    2013: 400,  # parameters
    2049: 401,  # key
    2056: 429,  # a plan's limit
}


def refusal(answer: Json, headers: Headers | None = None) -> UpstreamRejected | None:
    """The error in `base_resp`, None where its code is 0 or there is none."""
    block = answer.get("base_resp")
    if not isinstance(block, dict) or not isinstance(code := block.get("status_code"), int) or code == 0:
        return None
    words = provider_error.Words(str(block.get("status_msg") or f"MiniMax error {code}"), "", code)
    return provider_error.rejection(words, _STATUS.get(code, 500), headers or {})


def _raise_refusal(data: bytes) -> None:
    if b'"base_resp"' in data and (error := refusal(loads(data))) is not None:
        raise error


# ---- chat ----


class Watcher(openai_chat.Watcher):
    """OpenAI's, with MiniMax's errors."""

    __slots__ = ()

    def feed(self, frame: Frame) -> int:
        _raise_refusal(frame.data)
        return super().feed(frame)


class StreamParser(openai_chat_answer.StreamParser):
    """OpenAI's, with MiniMax's errors."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        _raise_refusal(frame.data)
        return super().feed(frame)


def parse_response(body: Json) -> ir.ChatResponse:
    if (error := refusal(body)) is not None:
        raise error
    return openai_chat_answer.parse_response(body)


def read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    _raise_refusal(body)
    return openai_chat.read_usage(body, headers)


CHAT = replace(
    openai_chat.CODEC,
    watcher=Watcher,
    stream_parser=StreamParser,
    parse_response=parse_response,
    read_usage=read_usage,
)


def schemas_as_text(body: Json) -> Json:
    """Tools with their schemas as texts, as the models before M1 take them."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not any(_has_object(tool) for tool in tools):
        return body
    return {**body, "tools": [_with_text(tool) if _has_object(tool) else tool for tool in tools]}


def _has_object(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("parameters"), dict)


def _with_text(tool: Json) -> Json:
    function = tool["function"]
    schema = json.dumps(function["parameters"], ensure_ascii=False)
    return {**tool, "function": {**function, "parameters": schema}}


# ---- embeddings ----


def render_embeddings(request: ir.EmbeddingRequest) -> Json:
    """Raises InvalidRequest for an input in tokens."""
    if not all(isinstance(item, str) for item in request.inputs):
        raise InvalidRequest("The provider takes texts, not tokens.", param="input")
    return {"model": request.model, "texts": list(request.inputs), "type": request.extra.get("type") or "db"}


def parse_embeddings(body: Json) -> ir.EmbeddingResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without vectors."""
    if (error := refusal(body)) is not None:
        raise error
    vectors = body.get("vectors")
    if not isinstance(vectors, list):
        raise UpstreamGarbled("The provider's answer has no embeddings.")
    usage = {"total_tokens": body.get("total_tokens")}
    return openai_embeddings.parse_response({"data": [{"embedding": vector} for vector in vectors], "usage": usage})


EMBEDDINGS = Codec(
    name="minimax_embeddings",
    render_request=render_embeddings,
    parse_response=parse_embeddings,
    parse_error=provider_error.parse_error,
)

# ---- speech ----

_VOICES = frozenset({"alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse"})
_DEFAULT_VOICE = "male-qn-qingse"
_SOUNDS = {"mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "pcm": "audio/pcm"}


def speech_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """OpenAI's request as MiniMax has it, and the sound, which comes in hexadecimal, as it is.

    Raises InvalidRequest for a format that MiniMax does not make, UpstreamRejected for an error inside a 200.
    """
    given = loads(request.body)
    kind = given.get("response_format") or "mp3"
    if kind not in _SOUNDS:
        raise InvalidRequest(f"The provider does not make sound in the format {kind!r}.", param="response_format")
    reply = yield replace(request, body=dumps(_speech(given, kind)))
    assert reply is not None
    if reply.status != 200:
        return reply
    answer = loads(reply.body)
    if (error := refusal(answer, reply.headers)) is not None:
        raise error
    data = answer.get("data")
    sound = data.get("audio") if isinstance(data, dict) else None
    try:
        return replace(reply, headers={"content-type": _SOUNDS[kind]}, body=bytes.fromhex(str(sound)))
    except ValueError as broken:
        raise UpstreamGarbled("The provider's answer holds no sound.") from broken


def _speech(given: Json, kind: str) -> Json:
    voice = given.get("voice")
    setting = {"voice_id": _DEFAULT_VOICE if voice in _VOICES or not isinstance(voice, str) else voice}
    setting |= {name: given[name] for name in ("speed", "vol", "pitch", "emotion") if name in given}
    return {
        "model": given.get("model"),
        "text": given.get("input"),
        "stream": False,
        "voice_setting": setting,
        "audio_setting": {"format": kind},
    }
