"""Zhipu's GLM: version 4 of its API, which is near OpenAI's, and version 3 for the models of its time.

Source: https://docs.z.ai/api-reference/api-code (error codes), the SDKs zhipuai 2.1.5 and zai-sdk 0.2.3 (paths,
fields; all read 2026-11-25), recorded answers, exchanges written from https://docs.bigmodel.cn, and spec relay.md
§8.9. Version 4 takes the key as it is; by the SDKs it serves all models save ChatGLM's first generation. Version 3
wants a token signed with the key; it is as the specification has it, for no documentation of it is left.

Not carried by version 4: more than one picture at once; a JSON schema, which it takes no notice of. Not carried by
version 3: all but texts, temperature and top_p.
Not offered in OpenAI's shape: moderation, image edits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Edit,
    Endpoint,
    Flow,
    Headers,
    Json,
    Mode,
    UpstreamRequest,
    bearer,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.edits import rename
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import (
    image_links,
    native_error,
    openai_audio,
    openai_chat,
    openai_chat_answer,
    openai_embeddings,
    openai_images,
    provider_error,
    rerank,
)
from oneapi.relay.protocols.function_tools import plain_text
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.openai_usage import parse_usage
from oneapi.relay.protocols.provider_json import dumps, loads

# ---- errors ----

_MEANINGS: Mapping[int, Meaning] = {
    500: native_error.BROKEN,
    **dict.fromkeys((1000, 1001, 1002, 1003, 1004), native_error.KEY),
    **dict.fromkeys((1100, 1110, 1111, 1112, 1121), native_error.KEY),  # the account is closed, gone or locked
    1113: native_error.NO_CREDIT,
    1120: native_error.BROKEN,
    1200: native_error.BROKEN,
    1210: native_error.INVALID,
    1211: native_error.NO_MODEL,
    1212: native_error.INVALID,
    1213: native_error.INVALID,
    1214: native_error.INVALID,
    1215: native_error.INVALID,
    1220: native_error.FORBIDDEN,
    1221: native_error.NO_MODEL,
    1222: native_error.NO_MODEL,
    1230: native_error.BROKEN,
    1231: native_error.INVALID,
    1234: native_error.BROKEN,
    1261: native_error.TOO_LONG,
    1300: native_error.FILTERED,
    1301: native_error.FILTERED,
    **dict.fromkeys((1302, 1303, 1304), native_error.RATE),
    1305: native_error.OVERLOADED,
    **dict.fromkeys((1308, 1310), native_error.RATE),  # of a plan
    1309: native_error.NO_CREDIT,  # the plan has ended
    1311: native_error.FORBIDDEN,  # the plan has not this model
    1312: native_error.OVERLOADED,
    1313: native_error.RATE,
}


def error_in(body: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    """The refusal in {error: {code, message}} (version 4) or {code, msg, success: false} (version 3)."""
    error = body.get("error")
    if not isinstance(error, dict):
        error = body if body.get("success") is False else {}
    code = str(error.get("code") or "")
    if not code:
        return None
    meaning = _MEANINGS.get(int(code)) if code.isascii() and code.isdigit() else None
    message = str(error.get("message") or error.get("msg") or "")
    return native_error.refusal(code, message, meaning, status=status, headers=headers)


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(loads(body), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)


def _raise_refusal(data: bytes) -> None:
    if b'"error"' in data and data.strip()[:1] == b"{" and (error := error_in(loads(data))) is not None:
        raise error


# ---- chat, version 4 ----


class Watcher(openai_chat.Watcher):
    """OpenAI's, with Zhipu's errors."""

    __slots__ = ()

    def feed(self, frame: Frame) -> int:
        _raise_refusal(frame.data)
        return super().feed(frame)


class StreamParser(openai_chat_answer.StreamParser):
    """OpenAI's, with Zhipu's errors."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        _raise_refusal(frame.data)
        return super().feed(frame)


def parse_response(body: Json) -> ir.ChatResponse:
    if (error := error_in(body)) is not None:
        raise error
    return openai_chat_answer.parse_response(body)


def read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    _raise_refusal(body)
    return openai_chat.read_usage(body, headers)


_CHAT = replace(
    openai_chat.CODEC,
    watcher=Watcher,
    stream_parser=StreamParser,
    parse_response=parse_response,
    parse_error=parse_error,
    read_usage=read_usage,
)


def _clamped(body: Json) -> Json:
    """Temperature and top_p within what GLM takes."""
    changed = {
        name: min(max(value, least), 1)
        for name, least in (("temperature", 0), ("top_p", 0.01))
        if isinstance(value := body.get(name), int | float) and not least <= value <= 1
    }
    return {**body, **changed} if changed else body


def _known_roles(body: Json) -> Json:
    """`developer` is what GLM calls system."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not any(_is_developers(message) for message in messages):
        return body
    said = [{**message, "role": "system"} if _is_developers(message) else message for message in messages]
    return {**body, "messages": said}


def _is_developers(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "developer"


_KNOWS_EFFORT = re.compile(r"glm-(5\.[2-9]|[6-9])")


def _thinking(model: str) -> Edit:
    """An effort as the switch that GLM 4.5 and later have; since 5.2 they know the words as well, save none."""

    def edit(body: Json) -> Json:
        effort = body.get("reasoning_effort")
        if effort is None or "thinking" in body:
            return body
        is_off = effort in ("none", "minimal")
        if _KNOWS_EFFORT.match(model) and not is_off:
            return body
        rest = {name: value for name, value in body.items() if name != "reasoning_effort"}
        return {**rest, "thinking": {"type": "disabled" if is_off else "enabled"}}

    return edit


# ---- chat, version 3 ----


def render_v3(request: ir.ChatRequest) -> Json:
    body: Json = {
        "prompt": [
            {"role": "user" if turn.role == "tool" else turn.role, "content": _v3_text(turn)}
            for turn in request.messages
        ]
    }
    wishes = {"temperature": request.temperature, "top_p": request.top_p}
    return _clamped({**body, **{name: value for name, value in wishes.items() if value is not None}})


def _v3_text(turn: ir.Message) -> str:
    results = (plain_text(part.parts) for part in turn.parts if isinstance(part, ir.ToolResult))
    return "\n".join(filter(None, (plain_text(turn.parts), *results)))


def parse_v3(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without choices."""
    if (error := error_in(body)) is not None:
        raise error
    data = body.get("data")
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(choices, list):
        raise UpstreamGarbled("The provider's answer has no choices.")
    texts = [_unquoted(str(choice.get("content") or "")) for choice in choices if isinstance(choice, dict)]
    return ir.ChatResponse(
        id=str(data.get("request_id") or ""),
        choices=tuple(ir.Choice(parts=(ir.Text(text),), finish_reason="stop") for text in texts),
        usage=parse_usage(data.get("usage")),
    )


def _unquoted(text: str) -> str:
    """A text that came as JSON within JSON."""
    try:
        inner = json.loads(text)
    except ValueError:
        return text
    return inner if isinstance(inner, str) else text


_LINE_END = re.compile(r"\r\n|\n|\r")


class V3StreamParser:
    """Events whose data is text as it is; the last is named finish and has a line `meta` with the usage."""

    __slots__ = ("_has_begun", "_usage", "is_done")

    def __init__(self) -> None:
        self._has_begun = False
        self._usage: ir.Usage | None = None
        self.is_done = False

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        # By hand, since in a text's pieces a blank after the colon is a part of the text.
        lines = _LINE_END.split(frame.raw.decode("utf-8", "replace"))
        text = "\n".join(line[5:] for line in lines if line.startswith("data:"))
        if frame.event in ("error", "interrupted"):
            raise UpstreamRejected(text, upstream_status=500, provider_code=frame.event)
        if not self._has_begun:
            self._has_begun = True
            yield ir.Begin()
            yield ir.Open(0, ir.Text(""))
        if text:
            yield ir.Delta(0, text)
        if frame.event == "finish":
            meta = next((line[5:] for line in lines if line.startswith("meta:")), "{}")
            self._usage = parse_usage(loads(meta).get("usage"))
            self.is_done = True

    def finish(self) -> Iterable[ir.Event]:
        if not self.is_done:
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        yield ir.Close(0)
        yield ir.Finish("stop")
        if self._usage is not None:
            yield self._usage


_V3 = Codec(
    name="zhipu_v3",
    render_request=render_v3,
    parse_response=parse_v3,
    stream_parser=V3StreamParser,
    parse_error=parse_error,
    has_model=False,
    cannot_carry=frozenset(
        {
            "audio",
            "audio_output",
            "files",
            "frequency_penalty",
            "images",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "may_call_in_parallel",
            "metadata",
            "n",
            "name",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "thinking",
            "tool_choice",
            "tools",
            "top_k",
            "top_logprobs",
            "user",
        }
    ),
)
_V3_MODEL = re.compile(r"chatglm|characterglm")

# ---- images ----


def _one_picture(body: Json) -> Json:
    if body.get("n") not in (None, 1):
        raise InvalidRequest("The provider makes one picture at a time.", param="n", code="n_not_within_range")
    return body


def image_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """The picture's link is followed where base64 is wanted."""
    request, wants_bytes = image_links.wish(request)
    if not wants_bytes:
        return request
    reply = yield request
    assert reply is not None
    if reply.status != 200:
        return reply
    images = openai_images.parse_response(loads(reply.body)).images
    found = yield from image_links.fetched([image.url for image in images])
    rows = [{"b64_json": data} for data in found]
    return replace(reply, body=dumps({**loads(reply.body), "data": rows}))


# ---- the declaration ----


def edits(model: str, mode: Mode) -> tuple[Edit, ...]:
    match mode:
        case "chat" if not _V3_MODEL.match(model):
            return (
                rename("max_completion_tokens", "max_tokens"),
                rename("user", "user_id"),
                _clamped,
                _known_roles,
                _thinking(model),
            )
        case "images":
            return (*openai_images.checked(model), _one_picture, rename("user", "user_id"))
    return ()


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """The key as Bearer; for version 3 a token signed with it."""
    name, dot, secret = credentials.key.partition(".")
    if not dot or "/paas/v3/" not in request.url:
        return bearer(request, credentials, now)
    return replace(request, headers={**request.headers, "Authorization": token(name, secret, now)})


_TOKEN_LIFE_S = 86_400


def token(name: str, secret: str, now: float) -> str:
    """A JSON web token in Zhipu's fashion: HS256, times in milliseconds. Source: spec relay.md §8.9, §11."""
    began_ms = int(now * 1000)
    head = {"alg": "HS256", "sign_type": "SIGN", "typ": "JWT"}
    claims = {"api_key": name, "exp": began_ms + _TOKEN_LIFE_S * 1000, "timestamp": began_ms}
    signed = b".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + _base64url(signature)).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_V4_PATH = "/api/paas/v4"
_V3_ENDPOINT = Endpoint(
    path="/api/paas/v3/model-api/{model}/invoke",
    stream_path="/api/paas/v3/model-api/{model}/sse-invoke",
    codec=_V3,
)
_ENDPOINTS: Mapping[Mode, Endpoint] = {
    "chat": Endpoint(path=_V4_PATH + "/chat/completions", codec=_CHAT),
    "embeddings": Endpoint(
        path=_V4_PATH + "/embeddings", codec=replace(openai_embeddings.CODEC, parse_error=parse_error)
    ),
    "images": Endpoint(
        path=_V4_PATH + "/images/generations",
        codec=replace(openai_images.CODEC, parse_error=parse_error),
        flow=image_flow,
    ),
    "rerank": Endpoint(path=_V4_PATH + "/rerank", codec=replace(rerank.CODEC, parse_error=parse_error)),
    "speech": Endpoint(
        path=_V4_PATH + "/audio/speech",
        codec=replace(openai_audio.SPEECH, parse_error=parse_error),
        framing="raw",
    ),
    "transcription": Endpoint(
        path=_V4_PATH + "/audio/transcriptions", codec=replace(openai_audio.CODEC, parse_error=parse_error)
    ),
}


def endpoint_of(model: str, mode: Mode) -> Endpoint:
    return _V3_ENDPOINT if mode == "chat" and _V3_MODEL.match(model) else _ENDPOINTS[mode]


ADAPTORS = (
    Adaptor(
        type=16,
        name="zhipu",
        label="Zhipu ChatGLM",
        base_url="https://open.bigmodel.cn",
        endpoints=_ENDPOINTS,
        endpoint_of=endpoint_of,
        sign=sign,
        edits=edits,
        accepts=frozenset({"image_urls", "images", "files"}),
        has_stream_options=False,  # usage comes unasked, with the last chunk
        key_hint="id.secret",
        owner="zhipu",
        models=default_models(16),
        note="Outside of China the base URL is https://api.z.ai.",
    ),
)
