"""Coze's bots, by version 3 of its chat API. Version 2, which One API used, serves no bot that this one does not.

Source: Coze's Python SDK (cozepy/chat in github.com/coze-dev/coze-py, read 2026-11-25), recorded streams and
documented exchanges; spec relay.md §8.17. Error codes beyond those are from the page coze_error_codes, which could
not be read again (2026-11-25). A model is a bot's id, with bot- before it or not. Each call is a conversation of its
own, whose earlier turns go along. A whole answer is asked for until it is there; errors come with status 200, too.
Pictures, sound and documents in base64 are uploaded first.

A bot has its own prompt, model, tools and limits; so a system message is told it as the user's, and not carried are
tools and their choice (results of earlier calls go along as the user's text), max_tokens, sampling, stop, n, penalties,
logit_bias, log-probabilities, response_format, thinking, parallel_tool_calls, names of speakers, sound in answers. What
a bot suggests to ask next, and what its own tools say, is not part of the answer.
Not offered: embeddings, images.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected, UpstreamUnreachable
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Edit,
    Endpoint,
    Field,
    Flow,
    Headers,
    Json,
    Mode,
    Pause,
    UpstreamRequest,
    WholeReply,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.edits import default
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import multipart, native_error, openai_chat_answer, provider_error
from oneapi.relay.protocols.function_tools import plain_text
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.openai_chat_parts import own
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import dumps, loads

# ---- errors ----

_MEANINGS: Mapping[int, Meaning] = {
    4000: native_error.INVALID,
    4008: native_error.NO_CREDIT,  # the free calls are used up
    4009: native_error.RATE,
    4011: native_error.NO_CREDIT,
    4013: native_error.RATE,
    4015: native_error.NO_MODEL,  # the bot is not published to the API
    4019: native_error.RATE,
    4027: native_error.NO_CREDIT,
    4028: native_error.NO_CREDIT,
    4100: native_error.KEY,
    4101: native_error.FORBIDDEN,
    4200: native_error.NO_MODEL,
    5000: native_error.BROKEN,
    700012006: native_error.KEY,
}


def error_in(body: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    """The refusal in {code, msg}; None where the code is 0 or there is none."""
    code = body.get("code")
    if not isinstance(code, int) or code == 0:
        return None
    message = str(body.get("msg") or body.get("error_message") or "")
    return native_error.refusal(code, message, _MEANINGS.get(code), status=status, headers=headers)


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(loads(body), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)


def _failure(chat: Json) -> UpstreamRejected:
    """Why a chat came to no answer."""
    why = chat.get("last_error")
    error = error_in(why) if isinstance(why, dict) else None
    status = str(chat.get("status") or "failed")
    return error or native_error.refusal(status, f"The provider ended the chat as {status}.", native_error.BROKEN)


# ---- the request ----


def render_request(request: ir.ChatRequest) -> Json:
    """The user's id is the channel's where the client names none: see `with_user`."""
    given = own(request.extra)
    body: Json = {
        "bot_id": request.model.removeprefix("bot-"),
        "additional_messages": [*_render_turns(request.messages)],
        "stream": request.stream,
        "auto_save_history": True,  # which a whole answer needs, to be asked for
    }
    body |= {name: given[name] for name in ("custom_variables", "shortcut_command", "parameters") if name in given}
    if request.metadata:
        body["meta_data"] = request.metadata
    return {**body, "user_id": request.user} if request.user else body


def _render_turns(messages: tuple[ir.Message, ...]) -> Iterator[Json]:
    for turn in messages:
        results = [part for part in turn.parts if isinstance(part, ir.ToolResult)]
        parts = tuple(piece for result in results for piece in result.parts) if results else turn.parts
        kind = {"type": "answer"} if turn.role == "assistant" else {}
        role = "assistant" if turn.role == "assistant" else "user"
        pieces = [*_pieces(parts)]
        if any(piece["type"] != "text" for piece in pieces):
            yield {"role": role, **kind, "content": pieces, "content_type": "object_string"}
        elif text := plain_text(parts):
            yield {"role": role, **kind, "content": text, "content_type": "text"}


def _pieces(parts: tuple[ir.Part, ...]) -> Iterator[Json]:
    """The content as a list; a file in base64 waits for the flow, which uploads it."""
    for part in parts:
        match part:
            case ir.Text() | ir.Refusal() if part.text:
                yield {"type": "text", "text": part.text}
            case ir.Image() | ir.File() if part.url:
                yield {"type": _kind(part), "file_url": part.url}
            case ir.Image() | ir.File() if part.data:
                yield {"type": _kind(part), "data": part.data, "media_type": part.media_type, "name": _name(part)}
            case ir.Audio() if part.data:
                kind = part.format or "wav"
                yield {"type": "audio", "data": part.data, "media_type": f"audio/{kind}", "name": f"audio.{kind}"}
            case ir.File() if part.file_id:
                yield {"type": "file", "file_id": part.file_id}


def _kind(part: ir.Image | ir.File) -> str:
    return "image" if isinstance(part, ir.Image) else "file"


def _name(part: ir.Image | ir.File) -> str:
    if isinstance(part, ir.File) and part.name:
        return part.name.replace('"', "_").replace("\r", "_").replace("\n", "_")
    return f"{_kind(part)}.{part.media_type.partition('/')[2] or 'png'}"


_USER = "one-api"


def with_user(fields: Mapping[str, str], model: str, mode: Mode) -> tuple[Edit, ...]:
    """The channel's user, who has a memory of his own at Coze, where the client names none."""
    return (default("user_id", fields.get("user_id") or _USER),)


# ---- the flow ----

_CHAT_PATH = "/v3/chat"
_POLL_S = 1.0
_MOST_POLLS = 600
_RUNNING = ("created", "in_progress")

Steps = Generator[UpstreamRequest | Pause, WholeReply | None, Any]


def chat_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """Uploads, then the stream; or a chat that is asked for until it is complete, and its messages.

    Raises UpstreamUnreachable where it is not complete in time.
    """
    body = loads(request.body)
    for message in body["additional_messages"]:
        if message["content_type"] == "object_string":
            pieces = yield from _uploaded(request, message["content"])
            message["content"] = json.dumps(pieces, ensure_ascii=False)
    request = replace(request, body=dumps(body))
    if body["stream"]:
        return request
    reply = yield request
    assert reply is not None
    chat = _data(reply)
    if not isinstance(chat, dict):
        return reply
    ids = {"conversation_id": chat.get("conversation_id", ""), "chat_id": chat.get("id", "")}
    place = urlencode(ids, errors="replace")
    for _ in range(_MOST_POLLS):
        if chat.get("status") not in _RUNNING:
            break
        yield Pause(_POLL_S)
        reply = yield _get(request, f"/retrieve?{place}")
        assert reply is not None
        chat = _data(reply)
        if not isinstance(chat, dict):
            return reply
    else:
        yield replace(request, url=request.url + "/cancel", body=dumps(ids))
        raise UpstreamUnreachable("The provider did not finish the chat in time.", phase="first_byte")
    reply = yield _get(request, f"/message/list?{place}")
    assert reply is not None
    messages = _data(reply)
    if not isinstance(messages, list):
        return reply
    return replace(reply, body=dumps({"code": 0, "chat": chat, "messages": messages}))


def _get(request: UpstreamRequest, path: str) -> UpstreamRequest:
    return replace(request, method="GET", url=request.url + path, body=b"")


def _data(reply: WholeReply) -> Any:
    """What a reply gives; None for one that is an error."""
    body = loads(reply.body) if reply.status == 200 else {}
    return body.get("data") if body.get("code") == 0 else None


def _uploaded(request: UpstreamRequest, pieces: list[Json]) -> Steps:
    """The pieces with the ids of files in place of their bytes. Raises UpstreamRejected where a file is refused."""
    known: list[Json] = []
    for piece in pieces:
        if "data" in piece:
            media_type = piece["media_type"] or "application/octet-stream"
            kind, form = multipart.written({}, (piece["name"], media_type, _bytes(piece["data"])))
            url = request.url.removesuffix(_CHAT_PATH) + "/v1/files/upload"
            reply = yield replace(request, url=url, headers={**request.headers, "content-type": kind}, body=form)
            assert reply is not None
            file = _data(reply)
            if not isinstance(file, dict):
                raise parse_error(reply.status, reply.headers, reply.body)
            piece = {"type": piece["type"], "file_id": file.get("id")}
        known.append(piece)
    return known


def _bytes(data: str) -> bytes:
    try:
        return base64.b64decode(data)
    except ValueError as error:
        raise InvalidRequest("A file in the messages is not valid base64.", param="messages") from error


# ---- the answer ----

_BETWEEN = "\n\n"  # messages of one answer


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200 or a failed chat, UpstreamGarbled for neither that nor one."""
    if (error := error_in(body)) is not None:
        raise error
    chat, messages = body.get("chat"), body.get("messages")
    if not isinstance(chat, dict) or not isinstance(messages, list):
        raise UpstreamGarbled("The provider's answer has no messages.")
    if chat.get("status") != "completed":
        raise _failure(chat)
    said = [message for message in messages if isinstance(message, dict) and message.get("type") == "answer"]
    delta = {
        "content": _BETWEEN.join(str(message.get("content") or "") for message in said),
        "reasoning_content": "".join(str(message.get("reasoning_content") or "") for message in said),
    }
    choice = {"delta": delta, "finish_reason": "stop"}
    return openai_chat_answer.parse_response(
        {"id": chat.get("id"), "choices": [choice], "usage": _usage(chat.get("usage"))}
    )


def _usage(block: Any) -> Json | None:
    if not isinstance(block, dict):
        return None
    return {"prompt_tokens": block.get("input_count"), "completion_tokens": block.get("output_count")}


class StreamParser(ShapedParser):
    """Events of a stream, each with a name; a message that did not come bit by bit comes when it is complete."""

    __slots__ = ("_begun", "_id")

    def __init__(self) -> None:
        super().__init__()
        self._begun: list[Any] = []  # ids of messages of the answer, in order
        self._id: Any = None

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        if not frame.data:
            return ()
        if frame.event == "done":
            self.is_done = True
            return ()
        body = loads(frame.data)
        if (error := error_in(body)) is not None:
            raise error
        match frame.event:
            case "conversation.chat.created":
                self._id = body.get("id")
                return self.feed_chunk(self._told({}))
            case "conversation.message.delta" if body.get("type") == "answer":
                return self.feed_chunk(self._told(self._said(body)))
            case "conversation.message.completed" if self._is_new_answer(body):
                return self.feed_chunk(self._told(self._said(body)))
            case "conversation.chat.completed":
                return self.feed_chunk({**self._told({}, "stop"), "usage": _usage(body.get("usage"))})
            case "error":
                raise provider_error.error_in(body) or _failure(body)
            case "conversation.chat.failed" | "conversation.chat.requires_action" | "conversation.chat.canceled":
                raise _failure(body)
        return ()

    def _is_new_answer(self, message: Json) -> bool:
        return message.get("type") == "answer" and message.get("id") not in self._begun

    def _said(self, message: Json) -> Json:
        text = str(message.get("content") or "")
        delta: Json = {"reasoning_content": message.get("reasoning_content")}
        if text and message.get("id") not in self._begun:
            text = _BETWEEN + text if self._begun else text
            self._begun.append(message.get("id"))
        return {**delta, "content": text}

    def _told(self, delta: Json, reason: str | None = None) -> Json:
        return {"id": self._id, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


_CHAT = Codec(
    name="coze_chat",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    has_model=False,
    cannot_carry=frozenset(
        {
            "audio_output",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "may_call_in_parallel",
            "n",
            "name",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "temperature",
            "thinking",
            "tool_choice",
            "tools",
            "top_k",
            "top_logprobs",
            "top_p",
        }
    ),
)

ADAPTORS = (
    Adaptor(
        type=34,
        name="coze",
        label="Coze",
        base_url="https://api.coze.com",
        endpoints={"chat": Endpoint(path=_CHAT_PATH, codec=_CHAT, flow=chat_flow)},
        field_edits=with_user,
        accepts=frozenset({"image_urls", "images", "audio", "files"}),
        fields=(
            Field(
                name="user_id",
                label="User ID",
                hint="Who speaks to the bot, where the client does not say.",
                default="one-api",
            ),
        ),
        key_hint="pat_…",
        owner="coze",
        models=default_models(34),
        note="A model is a bot's id. In China the base URL is https://api.coze.cn.",
    ),
)
