"""Baidu's Wenxin workshop, version 1 of its API (version 2 speaks OpenAI's protocol and is a row of the table).

Source: spec relay.md §8.8, the qianfan SDK 0.4.12 (parameters, paths, error codes; read 2026-11-25), and exchanges
written from https://cloud.baidu.com/doc/WENXINWORKSHOP. Of the reranker and of images there is no such exchange; what
is sent there is untried. A key pair buys an access token, which stands in the URL; the model is a
part of the path. Errors come with status 200.

A function call is the only one of its turn, so calls made in parallel are told as turns of their own, each followed by
its result. Adjacent turns of one role, which are refused, become one. What a model thought about a call (`thoughts`)
is reasoning, and goes back with the call.

Not carried: pictures, sound and files; top_k, n, seed, log-probabilities, presence_penalty, logit_bias, metadata,
parallel_tool_calls, thinking; a negative frequency_penalty; a JSON schema, in place of which any JSON is asked for;
"required" where there is more than one tool (the model decides).
Not offered: speech, transcription, moderation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote, urlencode

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    BoughtToken,
    Codec,
    Credentials,
    Endpoint,
    Headers,
    Json,
    Mode,
    Target,
    UpstreamRequest,
    WholeReply,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import (
    native_error,
    openai_chat_answer,
    openai_embeddings,
    openai_images,
    provider_error,
    rerank,
)
from oneapi.relay.protocols.function_tools import offered, plain_text
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.openai_chat_parts import own
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import loads
from oneapi.relay.protocols.search_results import citations

# ---- errors ----

_MEANINGS: Mapping[int, Meaning] = {
    1: native_error.BROKEN,
    2: native_error.OVERLOADED,
    3: native_error.NO_MODEL,
    4: native_error.RATE,
    6: native_error.FORBIDDEN,
    13: native_error.KEY,
    14: native_error.KEY,
    15: native_error.KEY,
    17: native_error.RATE,  # of a day
    18: native_error.RATE,  # of a second
    19: native_error.NO_CREDIT,  # of all time
    100: native_error.KEY,
    110: native_error.KEY,
    111: native_error.KEY,
    336000: native_error.BROKEN,
    336001: native_error.INVALID,
    336002: native_error.INVALID,
    336003: native_error.INVALID,
    336004: native_error.FORBIDDEN,
    336005: native_error.NO_MODEL,
    336006: native_error.INVALID,
    336007: native_error.TOO_LONG,
    336100: native_error.OVERLOADED,
    336101: native_error.INVALID,
    336103: native_error.TOO_LONG,
    336104: native_error.FILTERED,
    336105: native_error.INVALID,
    336501: native_error.RATE,
    336502: native_error.RATE,
}


def error_in(body: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    code = body.get("error_code")
    if not isinstance(code, int) or code == 0:
        return None
    return native_error.refusal(
        code, str(body.get("error_msg") or ""), _MEANINGS.get(code), status=status, headers=headers
    )


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(loads(body), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)


def _checked(body: Json) -> Json:
    if (error := error_in(body)) is not None:
        raise error
    return body


# ---- chat: the request ----

_OWN = ("disable_search", "enable_citation", "enable_system_memory", "system_memory_id", "enable_trace")


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest for a tool that is not a function."""
    given = own(request.extra)
    body: Json = {name: given[name] for name in _OWN if name in given}
    body["messages"] = list(_joined(_render_turns(request.messages)))
    if system := "\n\n".join(plain_text(turn.parts) for turn in request.messages if turn.role == "system"):
        body["system"] = system
    if request.temperature is not None:  # (0, 1]
        body["temperature"] = min(max(request.temperature, 0.01), 1)
    if request.top_p is not None:
        body["top_p"] = min(max(request.top_p, 0), 1)
    if request.frequency_penalty is not None and request.frequency_penalty >= 0:  # [0, 2] as [1, 2]
        body["penalty_score"] = 1 + min(request.frequency_penalty, 2) / 2
    if request.max_tokens is not None:
        body["max_output_tokens"] = max(request.max_tokens, 2)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.user:
        body["user_id"] = request.user
    if request.response_format is not None:
        body["response_format"] = "text" if request.response_format.kind == "text" else "json_object"
    if request.stream:
        body["stream"] = True
    return body | _render_tools(request)


def _render_tools(request: ir.ChatRequest) -> Json:
    offer = offered(request)
    if not offer.tools:
        return {}
    fields: Json = {"functions": [_render_function(tool) for tool in offer.tools]}
    if offer.must_call is not None:
        fields["tool_choice"] = {"type": "function", "function": {"name": offer.must_call.name}}
    return fields


def _render_function(tool: ir.Tool) -> Json:
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    return {"name": tool.name, "description": tool.description or tool.name, "parameters": schema}


def _render_turns(messages: tuple[ir.Message, ...]) -> Iterator[Json]:
    waiting: list[ir.ToolCall] = []  # calls of the last answer whose results are yet to come
    thoughts = text = ""  # of that answer, for the first of its calls
    for turn in messages:
        if turn.role == "tool":
            for part in turn.parts:
                if not isinstance(part, ir.ToolResult):
                    continue
                call = next((call for call in waiting if call.id == part.call_id), None)
                if call is not None:
                    waiting.remove(call)
                    yield _render_call(call, text, thoughts)
                    thoughts = text = ""
                yield _render_result(part, call.name if call else "")
            continue
        for call in waiting:
            yield _render_call(call, text, thoughts)
            thoughts = text = ""
        waiting = [part for part in turn.parts if isinstance(part, ir.ToolCall)]
        text = plain_text(turn.parts)
        thoughts = "".join(part.text for part in turn.parts if isinstance(part, ir.Reasoning))
        if not waiting and turn.role != "system":
            named = {"name": turn.name} if turn.name else {}
            yield {"role": turn.role, "content": text, **named}
    for call in waiting:
        yield _render_call(call, text, thoughts)
        thoughts = text = ""


def _render_call(call: ir.ToolCall, text: str, thoughts: str) -> Json:
    function: Json = {"name": call.name, "arguments": call.arguments or "{}"}
    if thoughts:
        function["thoughts"] = thoughts
    return {"role": "assistant", "content": text or None, "function_call": function}


def _render_result(result: ir.ToolResult, name: str) -> Json:
    return {"role": "function", "name": name or result.name, "content": plain_text(result.parts)}


def _joined(turns: Iterable[Json]) -> Iterator[Json]:
    """The turns, with adjacent ones of users, and of plain answers, as one."""
    last: Json | None = None
    for turn in turns:
        is_plain = turn["role"] in ("user", "assistant") and "function_call" not in turn
        if last is not None and is_plain and last["role"] == turn["role"] and "function_call" not in last:
            last = {**last, "content": f"{last['content']}\n\n{turn['content']}"}
            continue
        if last is not None:
            yield last
        last = turn
    if last is not None:
        yield last


# ---- chat: the answer ----


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without a result."""
    return openai_chat_answer.parse_response(_chunk({**body, "is_end": True}))


class StreamParser(ShapedParser):
    """Events of a stream; the piece with `is_end` is its last."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        if not frame.data:
            return ()
        body = loads(frame.data)
        chunk = _chunk(body)
        self.is_done = bool(body.get("is_end"))
        return self.feed_chunk(chunk)


_REASONS = {"normal": "stop", "function_call": "tool_calls"}


def _chunk(body: Json) -> Json:
    """The answer, or a piece of it, as OpenAI would have it."""
    _checked(body)
    call = body.get("function_call")
    if "result" not in body and not isinstance(call, dict):
        raise UpstreamGarbled("The provider's answer has no result.")
    delta: Json = {"content": body.get("result")}
    if isinstance(call, dict) and call.get("name"):
        delta["reasoning_content"] = call.get("thoughts")
        delta["tool_calls"] = [{"index": 0, "function": call}]
    reason = None
    if body.get("is_end"):
        word = str(body.get("finish_reason") or "normal")
        if body.get("need_clear_history"):  # the conversation was found unsafe
            word = "content_filter"
        reason = "length" if body.get("is_truncated") else _REASONS.get(word, word)
    sources = [*citations(body.get("search_info"))]
    if sources:
        delta["annotations"] = sources
    return {
        "id": body.get("id"),
        "created": body.get("created"),
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        "usage": body.get("usage"),
    }


def _drops(request: ir.ChatRequest) -> frozenset[str]:
    lost = set()
    if offered(request).is_lax:
        lost.add("tool_choice")
    if request.frequency_penalty is not None and request.frequency_penalty < 0:
        lost.add("frequency_penalty")
    if request.response_format is not None and request.response_format.kind == "json_schema":
        lost.add("response_format")
    return frozenset(lost)


_CHAT = Codec(
    name="baidu_chat",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    has_model=False,
    cannot_carry=frozenset(
        {
            "audio",
            "audio_output",
            "files",
            "images",
            "logit_bias",
            "logprobs",
            "may_call_in_parallel",
            "metadata",
            "n",
            "presence_penalty",
            "seed",
            "thinking",
            "top_k",
            "top_logprobs",
        }
    ),
    drops=_drops,
)

# ---- other modes ----


def render_embeddings(request: ir.EmbeddingRequest) -> Json:
    """Raises InvalidRequest for an input in tokens."""
    if not all(isinstance(item, str) for item in request.inputs):
        raise InvalidRequest("The provider takes texts, not tokens.", param="input")
    return {"input": list(request.inputs), **({"user_id": request.user} if request.user else {})}


def parse_embeddings(body: Json) -> ir.EmbeddingResponse:
    return openai_embeddings.parse_response(_checked(body))


def render_rerank(request: ir.RerankRequest) -> Json:
    body: Json = {
        "query": request.query,
        "documents": [rerank.document_text(document) for document in request.documents],
    }
    return body if request.top_n is None else {**body, "top_n": request.top_n}


def parse_rerank(body: Json) -> ir.RerankResponse:
    return rerank.parse_response(_checked(body))


def render_images(request: ir.ImageRequest) -> Json:
    body: Json = {name: request.extra[name] for name in ("negative_prompt", "steps") if name in request.extra}
    body["prompt"] = request.prompt
    if request.size and request.size != "auto":
        body["size"] = request.size
    if request.n is not None:
        body["n"] = request.n
    if request.user:
        body["user_id"] = request.user
    return body


def parse_images(body: Json) -> ir.ImageResponse:
    """The pictures, which always come as base64."""
    rows = _checked(body).get("data")
    named = [
        {**row, "b64_json": row.get("b64_image")} if isinstance(row, dict) else row
        for row in (rows if isinstance(rows, list) else ())
    ]
    return openai_images.parse_response({**body, "data": named or None})


_EMBEDDINGS = Codec(
    name="baidu_embeddings",
    render_request=render_embeddings,
    parse_response=parse_embeddings,
    parse_error=parse_error,
    has_model=False,
)
_RERANK = replace(_EMBEDDINGS, name="baidu_rerank", render_request=render_rerank, parse_response=parse_rerank)
_IMAGES = replace(_EMBEDDINGS, name="baidu_images", render_request=render_images, parse_response=parse_images)

# ---- the access token, and where it goes ----

_TOKEN_URL = "https://aip.baidubce.com/oauth/2.0/token"


def token_request(credentials: Credentials, now: float) -> UpstreamRequest:
    """Raises UpstreamRejected for a key that is not a pair."""
    parts = credentials.key.split("|")
    if len(parts) != 2 or not all(parts):
        raise UpstreamRejected(
            "The channel's key must be API_KEY|SECRET_KEY.", upstream_status=401, provider_code="invalid_api_key"
        )
    query = {"grant_type": "client_credentials", "client_id": parts[0], "client_secret": parts[1]}
    return UpstreamRequest(url=f"{_TOKEN_URL}?{urlencode(query)}")


def parse_token(reply: WholeReply, now: float) -> BoughtToken:
    """Raises UpstreamRejected where the pair is refused, UpstreamGarbled for what is no answer."""
    if reply.status >= 500:
        raise provider_error.parse_error(reply.status, reply.headers, reply.body)
    body = loads(reply.body)
    token, lifetime = body.get("access_token"), body.get("expires_in")
    if isinstance(token, str) and token and isinstance(lifetime, int | float):
        return BoughtToken(token, now + lifetime)
    if not body.get("error"):
        raise UpstreamGarbled("The provider sold no access token, and no reason.")
    raise UpstreamRejected(
        str(body.get("error_description") or body["error"]), upstream_status=401, provider_code=str(body["error"])
    )


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """The access token in the URL."""
    return replace(request, url=f"{request.url}?access_token={quote(credentials.token, safe='')}")


# Model → last step of its path; others are their own name in lower case.
_PATHS: Mapping[str, str] = {
    "BLOOMZ-7B": "bloomz_7b1",
    "ERNIE-3.5-8K": "completions",
    "ERNIE-4.0": "completions_pro",
    "ERNIE-4.0-8K": "completions_pro",
    "ERNIE-Bot": "completions",
    "ERNIE-Bot-4": "completions_pro",
    "ERNIE-Bot-8K": "ernie_bot_8k",
    "ERNIE-Bot-turbo": "eb-instant",
    "ERNIE-Lite-8K-0922": "eb-instant",
    "ERNIE-Speed": "ernie_speed",
    "ERNIE-Speed-8K": "ernie_speed",
    "bge-large-en": "bge_large_en",
    "bge-large-zh": "bge_large_zh",
    "bce-reranker-base": "bce_reranker_base",
    "Stable-Diffusion-XL": "sd_xl",
    "tao-8k": "tao_8k",
}


def url(target: Target) -> str:
    step = _PATHS.get(target.model, target.model.lower())
    return target.base_url + target.path + quote(step, safe="")


_ROOT = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
_ENDPOINTS: Mapping[Mode, Endpoint] = {
    "chat": Endpoint(path=_ROOT + "/chat/", codec=_CHAT),
    "embeddings": Endpoint(path=_ROOT + "/embeddings/", codec=_EMBEDDINGS),
    "images": Endpoint(path=_ROOT + "/text2image/", codec=_IMAGES),
    "rerank": Endpoint(path=_ROOT + "/reranker/", codec=_RERANK),
}

ADAPTORS = (
    Adaptor(
        type=15,
        name="baidu",
        label="Baidu Wenxin Qianfan (V1)",
        base_url="https://aip.baidubce.com",
        endpoints=_ENDPOINTS,
        url=url,
        sign=sign,
        accepts=frozenset({"image_urls"}),  # none is taken, so none need be fetched
        has_stream_options=False,
        token_request=token_request,
        parse_token=parse_token,
        key_hint="API_KEY|SECRET_KEY",
        owner="baidu",
        models=default_models(15),
    ),
)
