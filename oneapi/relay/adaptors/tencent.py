"""Tencent Hunyuan, by Tencent Cloud's own API: capitalised names, requests signed with TC3-HMAC-SHA256.

Source: the SDK tencentcloud-sdk-python-hunyuan 3.1.180 (fields and error codes of each action; read 2026-11-25), spec
relay.md §8.12 and §11 (signature), and exchanges written from https://cloud.tencent.com/document/api/1729. Of images
there is no such exchange. What is sent is an action, named in a header; all go to one path. Errors come with status
200, in a stream as `ErrorMsg`. An unknown field is refused, so nothing that the API does not list is sent.

Not carried: a maximum of tokens (the API has none), response_format, top_k, n, penalties, logit_bias,
log-probabilities, parallel_tool_calls, user, metadata, names of speakers, sound, documents, thoughts of earlier turns
(they are refused); a seed outside of 1 to 10000; "required" where there is more than one tool (it becomes "auto").
Not offered: speech, rerank; more than one picture at once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Adaptor, Codec, Credentials, Endpoint, Headers, Json, UpstreamRequest
from oneapi.relay.adaptors import default_models
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import (
    native_error,
    openai_chat_answer,
    openai_embeddings,
    openai_images,
    provider_error,
)
from oneapi.relay.protocols.function_tools import offered, plain_text
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.openai_chat_parts import data_url, own
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import loads
from oneapi.relay.protocols.search_results import citations

# ---- errors ----

# By the whole code, else by what stands before its first dot.
_MEANINGS: Mapping[str, Meaning] = {
    "AuthFailure": native_error.KEY,
    "FailedOperation": native_error.BROKEN,
    "FailedOperation.EngineRequestTimeout": native_error.TIMEOUT,
    "FailedOperation.EngineServerLimitExceeded": native_error.RATE,
    "FailedOperation.FreeResourcePackExhausted": native_error.NO_CREDIT,
    "FailedOperation.GenerateImageFailed": native_error.FILTERED,
    "FailedOperation.PartnerAccountUnSupport": native_error.KEY,
    "FailedOperation.ResourcePackExhausted": native_error.NO_CREDIT,
    "FailedOperation.ServiceNotActivated": native_error.NO_CREDIT,
    "FailedOperation.ServiceStop": native_error.NO_CREDIT,
    "FailedOperation.ServiceStopArrears": native_error.NO_CREDIT,
    "FailedOperation.UserUnAuthError": native_error.KEY,
    "InternalError": native_error.BROKEN,
    "InvalidParameter": native_error.INVALID,
    "InvalidParameterValue": native_error.INVALID,
    "InvalidParameterValue.Model": native_error.NO_MODEL,
    "LimitExceeded": native_error.RATE,
    "MissingParameter": native_error.INVALID,
    "OperationDenied": native_error.FILTERED,
    "RequestLimitExceeded": native_error.RATE,
    "ResourceInsufficient": native_error.NO_CREDIT,
    "ResourceNotFound": native_error.NO_MODEL,
    "ResourceUnavailable": native_error.NO_CREDIT,
    "UnauthorizedOperation": native_error.FORBIDDEN,
    "UnknownParameter": native_error.INVALID,
    "UnsupportedOperation": native_error.INVALID,
}
_STREAM_MEANINGS: Mapping[int, Meaning] = {4001: native_error.TIMEOUT}


def error_in(answer: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    """The refusal in an answer, without its envelope: `Error`, or what a stream says in its middle."""
    error, broken = answer.get("Error"), answer.get("ErrorMsg")
    if isinstance(error, dict) and (code := str(error.get("Code") or "")):
        meaning = _MEANINGS.get(code) or _MEANINGS.get(code.partition(".")[0])
        return native_error.refusal(code, str(error.get("Message") or ""), meaning, status=status, headers=headers)
    if isinstance(broken, dict) and (number := broken.get("Code")):
        meaning = _STREAM_MEANINGS.get(number) if isinstance(number, int) else None
        return native_error.refusal(number, str(broken.get("Msg") or ""), meaning, headers=headers)
    return None


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(_unwrapped(loads(body)), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)


def _unwrapped(body: Json) -> Json:
    inner = body.get("Response")
    return inner if isinstance(inner, dict) else body


def _answer(body: Json) -> Json:
    """The answer without its envelope. Raises UpstreamRejected for an error in its place."""
    answer = _unwrapped(body)
    if (error := error_in(answer)) is not None:
        raise error
    return answer


# ---- chat: the request ----

_OWN = {
    "citation": "Citation",
    "enable_deep_search": "EnableDeepSearch",
    "enable_enhancement": "EnableEnhancement",
    "enable_recommended_questions": "EnableRecommendedQuestions",
    "enable_speed_search": "EnableSpeedSearch",
    "force_search_enhancement": "ForceSearchEnhancement",
    "search_info": "SearchInfo",
    "stream_moderation": "StreamModeration",
    "topic_choice": "TopicChoice",
}
_MOST_SEED = 10_000


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest for a tool that is not a function."""
    given = own(request.extra)
    body: Json = {"Model": request.model, "Messages": list(_render_turns(request.messages))}
    body |= {name: given[key] for key, name in _OWN.items() if key in given}
    if request.temperature is not None:
        body["Temperature"] = min(max(request.temperature, 0), 2)
    if request.top_p is not None:
        body["TopP"] = min(max(request.top_p, 0), 1)
    if _takes_seed(request):
        body["Seed"] = request.seed
    if request.stop:
        body["Stop"] = list(request.stop)
    if request.thinking is not None:
        body["EnableThinking"] = request.thinking.effort != "none"
    if request.stream:
        body["Stream"] = True
    return body | _render_tools(request)


def _takes_seed(request: ir.ChatRequest) -> bool:
    return request.seed is not None and 1 <= request.seed <= _MOST_SEED


def _render_tools(request: ir.ChatRequest) -> Json:
    offer = offered(request)
    is_forbidden = request.tool_choice is not None and request.tool_choice.mode == "none"
    tools = request.tools if is_forbidden else offer.tools
    if not tools:
        return {}
    fields: Json = {"Tools": [_render_tool(tool) for tool in tools]}
    if is_forbidden:
        fields["ToolChoice"] = "none"
    elif offer.must_call is not None:
        fields |= {"ToolChoice": "custom", "CustomTool": _render_tool(offer.must_call)}
    elif request.tool_choice is not None:
        fields["ToolChoice"] = "auto"
    return fields


def _render_tool(tool: ir.Tool) -> Json:
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    function = {"Name": tool.name, "Parameters": json.dumps(schema, ensure_ascii=False)}
    if tool.description:
        function["Description"] = tool.description
    return {"Type": "function", "Function": function}


def _render_turns(messages: tuple[ir.Message, ...]) -> Iterator[Json]:
    """One system message, at the beginning; users and the model in turn, as the API wants them."""
    if system := "\n\n".join(plain_text(turn.parts) for turn in messages if turn.role == "system"):
        yield {"Role": "system", "Content": system}
    asked: list[ir.Part] = []  # by adjacent messages of the user
    for turn in messages:
        if turn.role == "user":
            asked += turn.parts
            continue
        if asked and turn.role != "system":
            yield _render_question(tuple(asked))
            asked = []
        if turn.role == "tool":
            for part in turn.parts:
                if isinstance(part, ir.ToolResult):  # whose content may not be empty
                    yield {"Role": "tool", "Content": plain_text(part.parts) or " ", "ToolCallId": part.call_id}
        elif turn.role == "assistant":
            yield _render_answer(turn)
    if asked:
        yield _render_question(tuple(asked))


def _render_question(parts: tuple[ir.Part, ...]) -> Json:
    if all(isinstance(part, ir.Text) for part in parts):
        return {"Role": "user", "Content": plain_text(parts)}
    return {"Role": "user", "Contents": [*_pieces(parts)]}


def _pieces(parts: tuple[ir.Part, ...]) -> Iterator[Json]:
    for part in parts:
        match part:
            case ir.Text():
                yield {"Type": "text", "Text": part.text}
            case ir.Image():
                url = part.url or data_url(part.media_type or "image/png", part.data)
                yield {"Type": "image_url", "ImageUrl": {"Url": url}}
            case ir.File() if _is_video(part):
                yield {"Type": "video_url", "VideoUrl": {"Url": part.url}}


def _is_video(file: ir.File) -> bool:
    return bool(file.url) and own(file.extra).get("type") == "video_url"


def _render_answer(turn: ir.Message) -> Json:
    rendered: Json = {"Role": "assistant", "Content": plain_text(turn.parts)}
    calls = [part for part in turn.parts if isinstance(part, ir.ToolCall)]
    if calls:
        rendered["ToolCalls"] = [
            {
                "Id": call.id,
                "Type": "function",
                "Function": {"Name": call.name, "Arguments": call.arguments},
                "Index": index,
            }
            for index, call in enumerate(calls)
        ]
    return rendered


def _drops(request: ir.ChatRequest) -> frozenset[str]:
    lost = set()
    if offered(request).is_lax:
        lost.add("tool_choice")
    if request.seed is not None and not _takes_seed(request):
        lost.add("seed")
    if any(isinstance(part, ir.File) and not _is_video(part) for turn in request.messages for part in turn.parts):
        lost.add("files")
    return frozenset(lost)


# ---- chat: the answer ----


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without choices."""
    return openai_chat_answer.parse_response(_chunk(_answer(body)))


class StreamParser(ShapedParser):
    """Events of a stream; its events are answers with pieces of the text, and it ends with the body."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        data = frame.data.strip()
        if not data or data[:6] == b"[DONE]":
            return ()
        answer = _answer(loads(data))
        if "SearchInfo" not in answer and (more := self.more_of({"choices": _lowered(answer.get("Choices"))})):
            self._usage = answer.get("Usage") or self._usage  # in Tencent's spelling until it is read
            return more
        return self.feed_chunk(_chunk(answer))

    def finish(self) -> Iterator[ir.Event]:
        self._usage = _lowered(self._usage)
        return super().finish()


_NOT_OPENAIS = ("error_msg", "request_id", "search_info")


def _chunk(answer: Json) -> Json:
    """The answer, or a piece of it, as OpenAI would have it; what only Tencent says keeps its name, in lower case."""
    answer = _lowered(answer)
    chunk = {name: value for name, value in answer.items() if name not in _NOT_OPENAIS}
    chunk["id"] = answer.get("id") or answer.get("request_id")
    sources = [*citations(answer.get("search_info"))]
    choices = answer.get("choices")
    if sources and isinstance(choices, list):
        chunk["choices"] = [_cited(choice, sources) for choice in choices]
    return chunk


def _cited(choice: Any, sources: list[Json]) -> Any:
    if not isinstance(choice, dict):
        return choice
    name = "message" if isinstance(choice.get("message"), dict) else "delta"
    said = choice.get(name)
    return {**choice, name: {**(said if isinstance(said, dict) else {}), "annotations": sources}}


_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(512)
def _lowered_name(name: str) -> str:
    return _WORD.sub("_", name).lower()


def _lowered(value: Any) -> Any:
    """The value with all names in it as OpenAI spells names: ToolCalls is tool_calls."""
    if isinstance(value, dict):
        return {
            # Most items hold no names: to ask here saves as many calls.
            _lowered_name(name): _lowered(item) if isinstance(item, (dict, list)) else item
            for name, item in value.items()
        }
    return [_lowered(item) for item in value] if isinstance(value, list) else value


_CHAT = Codec(
    name="tencent_chat",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    cannot_carry=frozenset(
        {
            "audio",
            "audio_output",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "may_call_in_parallel",
            "metadata",
            "n",
            "name",
            "presence_penalty",
            "response_format",
            "top_k",
            "top_logprobs",
            "user",
        }
    ),
    drops=_drops,
)

# ---- other modes ----


def render_embeddings(request: ir.EmbeddingRequest) -> Json:
    """Raises InvalidRequest for an input in tokens."""
    if not all(isinstance(item, str) for item in request.inputs):
        raise InvalidRequest("The provider takes texts, not tokens.", param="input")
    return {"InputList": list(request.inputs)}


def parse_embeddings(body: Json) -> ir.EmbeddingResponse:
    answer: Json = _lowered(_answer(body))
    return openai_embeddings.parse_response(answer)


def render_images(request: ir.ImageRequest) -> Json:
    """Raises InvalidRequest for more than one picture."""
    if request.n not in (None, 1):
        raise InvalidRequest("The provider makes one picture at a time.", param="n", code="n_not_within_range")
    body: Json = {"Prompt": request.prompt, "RspImgType": "base64" if request.response_format == "b64_json" else "url"}
    if request.size and request.size != "auto":
        body["Resolution"] = request.size.replace("x", ":")
    if negative := request.extra.get("negative_prompt"):
        body["NegativePrompt"] = negative
    if request.style:
        body["Style"] = request.style
    return body


def parse_images(body: Json) -> ir.ImageResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without a picture."""
    picture = _answer(body).get("ResultImage")
    if not isinstance(picture, str) or not picture:
        raise UpstreamGarbled("The provider's answer has no images.")
    made = ir.MadeImage(url=picture) if picture.startswith("http") else ir.MadeImage(data=picture)
    return ir.ImageResponse(images=(made,), usage=openai_images.usage_of(None, 1))


_EMBEDDINGS = Codec(
    name="tencent_embeddings",
    render_request=render_embeddings,
    parse_response=parse_embeddings,
    parse_error=parse_error,
    has_model=False,
)
_IMAGES = replace(_EMBEDDINGS, name="tencent_images", render_request=render_images, parse_response=parse_images)

# ---- the signature ----

_SERVICE = "hunyuan"
_HOST = "hunyuan.tencentcloudapi.com"
_SIGNED = "content-type;host;x-tc-action"


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """TC3-HMAC-SHA256 over the very bytes that are sent. Raises UpstreamRejected for a key that cannot sign.

    The host that is signed is the one asked; behind an address of the operator's own it is Tencent's.
    """
    parts = credentials.key.split("|")
    if len(parts) not in (2, 3) or not all(parts):
        raise UpstreamRejected(
            "The channel's key must be AppId|SecretId|SecretKey.", upstream_status=401, provider_code="invalid_api_key"
        )
    secret_id, secret_key = parts[-2:]
    asked = urlsplit(request.url).hostname or ""
    host = asked if asked.endswith(".tencentcloudapi.com") else _HOST
    headers = {name.lower(): value for name, value in request.headers.items()}
    action = headers["x-tc-action"].lower()
    canonical = (
        f"POST\n/\n\ncontent-type:application/json\nhost:{host}\nx-tc-action:{action}\n\n{_SIGNED}\n"
        + hashlib.sha256(request.body).hexdigest()
    )
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    scope = f"{day}/{_SERVICE}/tc3_request"
    to_sign = f"TC3-HMAC-SHA256\n{int(now)}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{secret_key}".encode()
    for step in (day, _SERVICE, "tc3_request"):
        key = _hmac(key, step)
    authorization = (
        f"TC3-HMAC-SHA256 Credential={secret_id}/{scope}, SignedHeaders={_SIGNED}, "
        f"Signature={_hmac(key, to_sign).hex()}"
    )
    more = {"Authorization": authorization, "X-TC-Timestamp": str(int(now))}
    return replace(request, headers={**request.headers, "content-type": "application/json", **more})


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.new(key, message.encode(), hashlib.sha256).digest()


ADAPTORS = (
    Adaptor(
        type=23,
        name="tencent",
        label="Tencent Hunyuan",
        base_url=f"https://{_HOST}",
        endpoints={
            "chat": Endpoint(path="/", codec=_CHAT, headers={"X-TC-Action": "ChatCompletions"}),
            "embeddings": Endpoint(path="/", codec=_EMBEDDINGS, headers={"X-TC-Action": "GetEmbedding"}),
            "images": Endpoint(
                path="/",
                codec=_IMAGES,
                headers={"X-TC-Action": "TextToImageLite", "X-TC-Region": "ap-guangzhou"},
            ),
        },
        sign=sign,
        headers={"X-TC-Version": "2023-09-01"},
        accepts=frozenset({"image_urls", "images"}),
        has_stream_options=False,  # usage comes unasked, with every chunk
        key_hint="AppId|SecretId|SecretKey",
        owner="tencent",
        models=default_models(23),
    ),
)
