"""Chat as Mistral has it: OpenAI's, with thoughts among the pieces of the content, and no field that it does not know.

Source: recorded exchanges, and the SDK mistralai 3.7.0 for the fields that are known (read 2026-11-25). An unknown
field is refused with 422, so what clients of OpenAI's repeat from an answer is left out of the next request. Thoughts
go back as they came where the model thinks in this request, too.

Not carried: logit_bias, user, sound in answers, names of speakers, OpenAI's service tiers; degrees of thinking between
none and high; thoughts of earlier turns for models that do not think.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Credentials, Edit, Flow, Json, UpstreamRequest
from oneapi.relay.edits import drop, rename
from oneapi.relay.protocols import compatible_error, openai_chat, openai_chat_request
from oneapi.relay.protocols.provider_json import loads

# ---- chat ----

_OPENAIS = (  # fields of OpenAI's that are refused
    "audio",
    "logit_bias",
    "modalities",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "user",
    "verbosity",
    "web_search_options",
)
_MESSAGE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "system": ("role", "content"),
    "user": ("role", "content"),
    "assistant": ("role", "content", "tool_calls", "prefix"),
    "tool": ("role", "content", "tool_call_id", "name"),
}
_ALWAYS_THINKS = re.compile(r"^magistral")

_leave_out = drop(*_OPENAIS)
_limit = rename("max_completion_tokens", "max_tokens")
_seed = rename("seed", "random_seed")


def render_request(request: ir.ChatRequest) -> Json:
    body = _seed(_limit(_leave_out(openai_chat_request.render_request(request))))
    if request.top_k is not None:
        body["top_k"] = request.top_k
    thinks = _ALWAYS_THINKS.match(request.model) is not None
    if (effort := body.pop("reasoning_effort", None)) and not thinks:
        body["reasoning_effort"] = "none" if effort in ("none", "minimal") else "high"
        thinks = body["reasoning_effort"] == "high"
    return {**body, "messages": [_render_message(message, thinks) for message in body["messages"]]}


def _render_message(message: Json, thinks: bool) -> Json:
    role = "system" if message["role"] == "developer" else message["role"]
    known = _MESSAGE_FIELDS.get(role)
    rendered = {name: message[name] for name in known if name in message} if known else dict(message)
    rendered["role"] = role
    content = message.get("content")
    if isinstance(content, list):
        rendered["content"] = content = [_render_piece(piece) for piece in content]
    if thinks and role == "assistant" and (thoughts := message.get("reasoning_content")):
        told = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": thoughts}]}
        rendered["content"] = [thought, *told]
    return rendered


def _render_piece(piece: Json) -> Json:
    """A document as Mistral takes it."""
    file = piece.get("file")
    if piece.get("type") != "file" or not isinstance(file, dict):
        return piece
    if "file_id" in file:
        return {"type": "file", "file_id": file["file_id"]}
    named = {"document_name": file["filename"]} if file.get("filename") else {}
    return {"type": "document_url", "document_url": file.get("file_data"), **named}


CHAT = replace(
    openai_chat.CODEC,
    name="mistral_chat",  # so that answers are translated: OpenAI's clients do not know lists of pieces in them
    render_request=render_request,
    has_stream_options=False,
    parse_error=compatible_error.MISTRAL,
    cannot_carry=frozenset({"audio_output", "logit_bias", "name", "user"}),
)

# ---- other modes ----

EMBEDDINGS: tuple[Edit, ...] = (rename("dimensions", "output_dimension"), drop("user"))

_SOUNDS = {"mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "opus": "audio/ogg", "pcm": "audio/pcm"}


def speech_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """The sound in an answer's JSON as the sound itself. Raises UpstreamGarbled where there is none."""
    reply = yield request
    assert reply is not None
    if reply.status != 200 or not reply.headers.get("content-type", "").startswith("application/json"):
        return reply
    data: Any = loads(reply.body).get("audio_data")
    try:
        sound = base64.b64decode(data, validate=True)
    except (TypeError, ValueError) as error:
        raise UpstreamGarbled("The provider's answer holds no sound.") from error
    wanted = loads(request.body).get("response_format") or "mp3"
    return replace(reply, headers={"content-type": _SOUNDS.get(wanted, "audio/mpeg")}, body=sound)
