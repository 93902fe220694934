"""iFlytek Spark by WebSocket: one question, and its answer frame by frame; the URL is signed.

Source: spec relay.md §8.10 and §11 (signature), exchanges written from https://www.xfyun.cn/doc/spark/Web.html, the
SDK spark_ai_python 0.4.5 and https://www.xfyun.cn/doc/spark/X1ws.html (read 2026-11-25). The addresses of X1.5 and X2
are those that public clients use; pictures follow the SDK. The model's
name, or the channel's `api_version`, tells the version, and that the path and the domain. Frames come as lines; the
last has status 2, and the answer is whole with it, whenever the server closes.

The protocol has no place for calls and results of earlier turns: they are told as text. The versions of the X series
alone know top_p, penalties and thinking; pictures are for the version `image`.

Not carried: stop, n, seed, response_format, logit_bias, log-probabilities, parallel_tool_calls, metadata, names of
speakers, sound, files; a choice of tools that forces a call; functions, by the versions that know none; a user's name
of more than 32 characters.
Not offered: embeddings, images, speech by this protocol.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode, urlsplit

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Edit,
    Endpoint,
    Field,
    Json,
    Mode,
    Target,
    UpstreamRequest,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.framing import Frame
from oneapi.relay.protocols.function_tools import offered, plain_text
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import dumps, loads
from oneapi.relay.protocols.spark_error import error_in, parse_error

# ---- versions ----

_HOST = "wss://spark-api.xf-yun.com"
_IMAGE_HOST = "wss://spark-api.cn-huabei-1.xf-yun.com"


@dataclass(frozen=True, slots=True)
class Version:
    domain: str
    path: str
    has_functions: bool = False
    is_x: bool = False
    sees: bool = False


_VERSIONS: Mapping[str, Version] = {
    "v1.1": Version("lite", "/v1.1/chat"),
    "v2.1": Version("generalv2", "/v2.1/chat"),
    "v3.1": Version("generalv3", "/v3.1/chat", has_functions=True),
    "v3.1-128K": Version("pro-128k", "/chat/pro-128k"),
    "v3.5": Version("generalv3.5", "/v3.5/chat", has_functions=True),
    "v3.5-32K": Version("max-32k", "/chat/max-32k"),
    "v4.0": Version("4.0Ultra", "/v4.0/chat", has_functions=True),
    "x1": Version("x1", "/v1/x1", is_x=True),
    "x1.5": Version("spark-x", "/v1/x1", has_functions=True, is_x=True),
    "x2": Version("spark-x", "/x2", has_functions=True, is_x=True),
    "image": Version("imagev3", "/v2.1/image", sees=True),
}
_OF_MODEL: Mapping[str, str] = {
    "Spark-4.0-Ultra": "v4.0",
    "Spark-Image": "image",
    "Spark-Lite": "v1.1",
    "Spark-Max": "v3.5",
    "Spark-Max-32K": "v3.5-32K",
    "Spark-Pro": "v3.1",
    "Spark-Pro-128K": "v3.1-128K",
    "Spark-X1": "x1",
    "Spark-X1.5": "x1.5",
    "Spark-X2": "x2",
}


def version_of(model: str, fields: Mapping[str, str]) -> Version:
    """By the model's name, else by what follows its first hyphen, else as the channel says."""
    name = _OF_MODEL.get(model) or model.partition("-")[2] or fields.get("api_version") or "v1.1"
    return _VERSIONS.get(name) or Version("general" + name, f"/{name}/chat", has_functions=name.startswith("v3"))


def _tells_version(model: str) -> bool:
    return model in _OF_MODEL or "-" in model


# ---- the question ----

_LONGEST_UID = 32


def render_request(request: ir.ChatRequest) -> Json:
    """The one frame to send; who asks is filled in when it is signed, the domain by the channel's fields.

    Raises InvalidRequest for a tool that is not a function.
    """
    version = version_of(request.model, {})
    chat: Json = {"domain": version.domain}
    if request.temperature is not None:
        chat["temperature"] = min(max(request.temperature, 0.01), 2 if version.is_x else 1)
    if request.top_k is not None:
        chat["top_k"] = min(max(request.top_k, 1), 6)
    if request.max_tokens is not None:
        chat["max_tokens"] = request.max_tokens
    if version.is_x:
        chat |= _of_x(request)
    payload: Json = {"message": {"text": list(_render_turns(request, version))}}
    offer = offered(request)
    tools = offer.tools if offer.must_call is None else (offer.must_call,)
    if tools:
        payload["functions"] = {"text": [_render_function(tool) for tool in tools]}
    header = {"uid": request.user} if 0 < len(request.user) <= _LONGEST_UID else {}
    return {"header": header, "parameter": {"chat": chat}, "payload": payload}


def _of_x(request: ir.ChatRequest) -> Json:
    names = ("top_p", "presence_penalty", "frequency_penalty")
    fields: Json = {name: value for name in names if (value := getattr(request, name)) is not None}
    if request.thinking is not None:
        fields["thinking"] = {"type": "disabled" if request.thinking.effort == "none" else "enabled"}
    return fields


def _render_function(tool: ir.Tool) -> Json:
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    return {"name": tool.name, "description": tool.description or tool.name, "parameters": schema}


def _render_turns(request: ir.ChatRequest, version: Version) -> Iterator[Json]:
    if version.sees:
        for turn in request.messages:
            for part in turn.parts:
                if isinstance(part, ir.Image) and part.data:
                    yield {"role": "user", "content": part.data, "content_type": "image"}
    if system := "\n\n".join(plain_text(turn.parts) for turn in request.messages if turn.role == "system"):
        yield {"role": "system", "content": system}
    called: dict[str, str] = {}  # call id → name; an id may come again in a later turn
    for turn in request.messages:
        if turn.role != "system":
            called |= {part.id: part.name for part in turn.parts if isinstance(part, ir.ToolCall)}
            role = "assistant" if turn.role == "assistant" else "user"
            yield {"role": role, "content": "\n".join(_lines(turn, called))}


def _lines(turn: ir.Message, called: Mapping[str, str]) -> Iterator[str]:
    if text := plain_text(turn.parts):
        yield text
    for part in turn.parts:
        match part:
            case ir.ToolCall():
                yield f"{part.name}({part.arguments})"
            case ir.ToolResult():
                yield f"{part.name or called.get(part.call_id) or 'result'}: {plain_text(part.parts)}"


def field_edits(fields: Mapping[str, str], model: str, mode: Mode) -> tuple[Edit, ...]:
    """The domain of the version, which the channel's fields may tell, and functions only where it knows them.

    Where only the fields tell it, which `drops` does not see, functions are left for the provider to refuse.
    """
    version = version_of(model, fields)
    takes_functions = version.has_functions or not _tells_version(model)

    def edit(body: Json) -> Json:
        parameter = {**body["parameter"], "chat": {**body["parameter"]["chat"], "domain": version.domain}}
        payload = body["payload"]
        if not takes_functions:
            payload = {name: value for name, value in payload.items() if name != "functions"}
        return {**body, "parameter": parameter, "payload": payload}

    return (edit,)


def _drops(request: ir.ChatRequest) -> frozenset[str]:
    version, offer = version_of(request.model, {}), offered(request)
    lost = set() if version.is_x else {"top_p", "presence_penalty", "frequency_penalty", "thinking"}
    if offer.is_lax or offer.must_call is not None:
        lost.add("tool_choice")
    if request.tools and not version.has_functions and _tells_version(request.model):
        lost |= {"tools", "tool_choice"}
    if not version.sees:
        lost.add("images")
    if len(request.user) > _LONGEST_UID:
        lost.add("user")
    return frozenset(lost)


# ---- the answer ----


class StreamParser(ShapedParser):
    """Events of frames, a line each."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        body = loads(frame.data)
        header = body.get("header")
        if not isinstance(header, dict):
            raise UpstreamGarbled("The provider sent a frame without a header.")
        if (error := error_in(header)) is not None:
            raise error
        payload = body.get("payload")
        payload = payload if isinstance(payload, dict) else {}
        choices, usage = payload.get("choices"), payload.get("usage")
        choices = choices if isinstance(choices, dict) else {}
        is_last = choices.get("status") == 2
        chunk = {
            "id": header.get("sid"),
            "choices": [{"index": 0, "delta": _delta(choices), "finish_reason": "stop" if is_last else None}],
            "usage": usage.get("text") if isinstance(usage, dict) else None,
        }
        self.is_done = is_last
        return self.feed_chunk(chunk)


def _delta(choices: Json) -> Json:
    """What a frame says, as OpenAI would have it."""
    pieces = choices.get("text")
    said = [piece for piece in (pieces if isinstance(pieces, list) else ()) if isinstance(piece, dict)]

    delta: Json = {}
    for name in ("content", "reasoning_content"):
        if texts := [text for piece in said if isinstance(text := piece.get(name), str)]:
            delta[name] = "".join(texts)
    calls = [call for piece in said if isinstance(call := piece.get("function_call"), dict) and call.get("name")]
    if calls:
        delta["tool_calls"] = [{"index": index, "function": call} for index, call in enumerate(calls)]
    return delta


_CHAT = Codec(
    name="xunfei_chat",
    render_request=render_request,
    stream_parser=StreamParser,
    parse_error=parse_error,
    has_model=False,
    cannot_carry=frozenset(
        {
            "audio",
            "audio_output",
            "files",
            "logit_bias",
            "logprobs",
            "may_call_in_parallel",
            "metadata",
            "n",
            "name",
            "response_format",
            "seed",
            "stop",
            "top_logprobs",
        }
    ),
    drops=_drops,
)

# ---- the signed URL ----


def url(target: Target) -> str:
    """A base URL of the operator's own may be http(s) as well, which becomes ws(s)."""
    version = version_of(target.model, target.fields)
    base = re.sub(r"^http", "ws", target.base_url)
    return (_IMAGE_HOST if version.sees and base == _HOST else base) + version.path


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """The signature in the query, and the app's id in the frame. Raises UpstreamRejected for a key of another form."""
    parts = credentials.key.split("|")
    if len(parts) != 3 or not all(parts):
        raise UpstreamRejected(
            "The channel's key must be APPID|APISecret|APIKey.", upstream_status=401, provider_code="invalid_api_key"
        )
    app_id, secret, key = parts
    frame: dict[str, Any] = loads(request.body)
    frame["header"] = {"app_id": app_id, **frame["header"]}
    return replace(request, url=signed(request.url, secret, key, now), body=dumps(frame))


def signed(address: str, secret: str, key: str, now: float) -> str:
    """The URL with who asks and when in its query, signed by HMAC-SHA256."""
    where = urlsplit(address)
    date = formatdate(now, usegmt=True).replace("GMT", "UTC")
    told = f"host: {where.netloc}\ndate: {date}\nGET {where.path} HTTP/1.1"
    signature = base64.b64encode(hmac.new(secret.encode(), told.encode(), hashlib.sha256).digest()).decode()
    authorization = (
        f'hmac username="{key}", algorithm="hmac-sha256", headers="host date request-line", signature="{signature}"'
    )
    query = {
        "authorization": base64.b64encode(authorization.encode()).decode(),
        "date": date,
        "host": where.netloc,
    }
    return f"{address}?{urlencode(query)}"


ADAPTORS = (
    Adaptor(
        type=18,
        name="xunfei",
        label="iFlytek Spark (WebSocket)",
        base_url=_HOST,
        endpoints={"chat": Endpoint(path="", codec=_CHAT, framing="ndjson")},
        url=url,
        sign=sign,
        field_edits=field_edits,
        accepts=frozenset({"images"}),
        has_stream_options=False,  # usage comes unasked, with the last frame
        fields=(
            Field(
                name="api_version",
                label="Version",
                hint="For models whose name does not tell: v1.1, v2.1, v3.1, v3.5, v4.0, x1, x1.5, x2…",
                default="v1.1",
            ),
        ),
        legacy_field="api_version",
        key_hint="APPID|APISecret|APIKey",
        owner="xunfei",
        models=default_models(18),
    ),
)
