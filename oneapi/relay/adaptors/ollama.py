"""Ollama's own chat and embeddings, and text completions by the path that it has in OpenAI's shape.

Source: recorded exchanges, and spec relay.md §8.19; the SDK ollama 0.6.3 for what they do not show
(log-probabilities, dimensions, `think` as a word, /api/tags; read 2026-11-25). A stream is one JSON object per line,
the last with `done` and the counts; pictures go as base64.

Read beyond OpenAI's fields: `think`, `keep_alive`, `truncate`, `shift`, and the runtime options of `_OPTIONS`.
Not carried: tool_choice, save "none", which offers no tools, and one named tool, which is the only one offered;
parallel_tool_calls, n, logit_bias, user, metadata, names of speakers, sound, documents, an effort of thinking where the
model only knows yes and no. Log-probabilities and `tool_call_id` are known since Ollama 0.12.
Not offered: images by this API, speech, rerank, moderation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Endpoint,
    Headers,
    Json,
    UpstreamRequest,
    WholeReply,
    bearer,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import (
    native_error,
    openai_chat_answer,
    openai_completions,
    openai_embeddings,
    provider_error,
)
from oneapi.relay.protocols.function_tools import offered, plain_text
from oneapi.relay.protocols.openai_chat_parts import own
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import loads

# ---- errors ----

_CODE = "ollama_error"
_TOO_LONG = ("context length", "context window", "input length exceeds")
_MEANINGS = {
    401: native_error.KEY,
    402: native_error.NO_CREDIT,
    403: native_error.FORBIDDEN,
    404: native_error.NO_MODEL,
    429: native_error.RATE,
}


def error_in(body: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    """The refusal in {error: text}; None where there is none."""
    message = body.get("error")
    if not isinstance(message, str) or not message:
        return None
    meaning = native_error.TOO_LONG if any(words in message for words in _TOO_LONG) else _MEANINGS.get(status)
    return native_error.refusal(_CODE, message, meaning, status=status, headers=headers)


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(loads(body), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)


# ---- chat: the request ----

_FIELDS = ("keep_alive", "truncate", "shift")
_OPTIONS = (
    "draft_num_predict",
    "main_gpu",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_thread",
    "repeat_last_n",
    "repeat_penalty",
    "tfs_z",
    "typical_p",
    "use_mmap",
)
_PLAIN = ("seed", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty")


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest for a tool that is not a function, or a call's arguments that are not a JSON object."""
    given = own(request.extra)
    body: Json = {
        "model": request.model,
        "messages": [*_render_turns(request.messages)],
        "stream": request.stream,  # which is true where it is not said
        "options": _render_options(request),
        **{name: given[name] for name in _FIELDS if name in given},
    }
    offer = offered(request)
    if tools := offer.tools if offer.must_call is None else (offer.must_call,):
        body["tools"] = [_render_tool(tool) for tool in tools]
    if request.response_format is not None and request.response_format.kind != "text":
        schema = request.response_format.schema
        body["format"] = "json" if schema is None else schema
    if "think" in given:
        body["think"] = given["think"]
    elif request.thinking is not None:
        body["think"] = _render_thinking(request.model, request.thinking)
    if request.logprobs is not None:
        body["logprobs"] = request.logprobs
    if request.top_logprobs is not None:
        body["top_logprobs"] = request.top_logprobs
    return body


def _render_options(request: ir.ChatRequest) -> Json:
    given = own(request.extra)
    inner = given.get("options")  # as Ollama's own clients have them
    options: Json = dict(inner) if isinstance(inner, dict) else {}
    options |= {name: given[name] for name in _OPTIONS if name in given}
    options |= {name: value for name in _PLAIN if (value := getattr(request, name)) is not None}
    if request.max_tokens is not None:
        options["num_predict"] = request.max_tokens
    if request.stop:
        options["stop"] = list(request.stop)
    return options


_KNOWS_EFFORT = "gpt-oss"
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def _render_thinking(model: str, wish: ir.Thinking) -> bool | str:
    """Yes or no; a word for the one family that has three degrees, and that cannot but think."""
    if wish.effort == "none":
        return False
    return _EFFORTS.get(wish.effort, True) if _KNOWS_EFFORT in model else True


def _render_tool(tool: ir.Tool) -> Json:
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    described = {"description": tool.description} if tool.description else {}
    return {"type": "function", "function": {"name": tool.name, **described, "parameters": schema}}


def _render_turns(messages: tuple[ir.Message, ...]) -> Iterator[Json]:
    names: dict[str, str] = {}  # of the tools called so far, by the ids of the calls
    for turn in messages:
        if turn.role == "tool":
            for part in turn.parts:
                if isinstance(part, ir.ToolResult):
                    yield _render_result(part, names.get(part.call_id, part.name))
            continue
        rendered: Json = {"role": turn.role, "content": plain_text(turn.parts)}
        if thoughts := "".join(part.text for part in turn.parts if isinstance(part, ir.Reasoning)):
            rendered["thinking"] = thoughts
        rendered |= _pictures(turn.parts)
        calls = [part for part in turn.parts if isinstance(part, ir.ToolCall)]
        if calls:
            names |= {call.id: call.name for call in calls}
            rendered["tool_calls"] = [_render_call(call) for call in calls]
        yield rendered


def _pictures(parts: tuple[ir.Part, ...]) -> Json:
    pictures = [part.data for part in parts if isinstance(part, ir.Image) and part.data]
    return {"images": pictures} if pictures else {}


def _render_call(call: ir.ToolCall) -> Json:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidRequest(f"The arguments of the call to {call.name!r} are not a JSON object.", param="messages")
    known = {"id": call.id} if call.id else {}
    return {**known, "function": {"name": call.name, "arguments": arguments}}


def _render_result(result: ir.ToolResult, name: str) -> Json:
    rendered: Json = {"role": "tool", "content": plain_text(result.parts)}
    if name:
        rendered["tool_name"] = name
    if result.call_id:
        rendered["tool_call_id"] = result.call_id
    return rendered | _pictures(result.parts)


def _drops(request: ir.ChatRequest) -> frozenset[str]:
    choice = request.tool_choice
    return frozenset({"tool_choice"}) if choice is not None and choice.mode in ("required", "function") else frozenset()


# ---- chat: the answer ----


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without a message."""
    return openai_chat_answer.parse_response(_chunk(body))


class StreamParser(ShapedParser):
    """Events of a stream; each line is an answer with a piece of the text."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        if not frame.data or self.is_done:
            return ()
        body = loads(frame.data)
        chunk = _chunk(body)
        self.is_done = body.get("done") is True
        return self.feed_chunk(chunk)


def _chunk(body: Json) -> Json:
    """The answer, or a piece of it, as OpenAI would have it."""
    if (error := error_in(body)) is not None:
        raise error
    message = body.get("message")
    if not isinstance(message, dict):
        raise UpstreamGarbled("The provider's answer has no message.")
    delta: Json = {"content": message.get("content")}
    if thoughts := message.get("thinking"):
        delta["reasoning_content"] = thoughts
    if isinstance(calls := message.get("tool_calls"), list):
        # Without an index, since Ollama's begins anew with each line: every call comes whole, in one.
        delta["tool_calls"] = [_call(call) for call in calls if isinstance(call, dict)]
    choice: Json = {"index": 0, "delta": delta}
    if isinstance(logprobs := body.get("logprobs"), list):
        choice["logprobs"] = {"content": logprobs}
    chunk: Json = {"model": body.get("model"), "choices": [choice]}
    if body.get("done") is True:
        choice["finish_reason"] = body.get("done_reason") or "stop"
        chunk["usage"] = _usage(body)
    return chunk


def _call(call: Json) -> Json:
    function = call.get("function")
    inner = function if isinstance(function, dict) else {}
    return {"id": call.get("id"), "function": {"name": inner.get("name"), "arguments": inner.get("arguments") or {}}}


def _usage(body: Json) -> Json | None:
    """None where the prompt's count is missing: old versions leave it out for a prompt they had in their cache."""
    if "prompt_eval_count" not in body:
        return None
    return {"prompt_tokens": body["prompt_eval_count"], "completion_tokens": body.get("eval_count") or 0}


_CHAT = Codec(
    name="ollama_chat",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    cannot_carry=frozenset(
        {
            "audio",
            "audio_output",
            "files",
            "logit_bias",
            "may_call_in_parallel",
            "metadata",
            "n",
            "name",
            "user",
        }
    ),
    drops=_drops,
)

# ---- embeddings ----


def render_embeddings(request: ir.EmbeddingRequest) -> Json:
    """Raises InvalidRequest for an input in tokens."""
    if not all(isinstance(item, str) for item in request.inputs):
        raise InvalidRequest("The provider takes texts, not tokens.", param="input")
    body: Json = {"model": request.model, "input": list(request.inputs)}
    body |= {name: request.extra[name] for name in ("keep_alive", "options", "truncate") if name in request.extra}
    return body if request.dimensions is None else {**body, "dimensions": request.dimensions}


def parse_embeddings(body: Json) -> ir.EmbeddingResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without vectors."""
    if (error := error_in(body)) is not None:
        raise error
    vectors = body.get("embeddings")
    if not isinstance(vectors, list):
        raise UpstreamGarbled("The provider's answer has no embeddings.")
    counts = {"prompt_tokens": body.get("prompt_eval_count"), "total_tokens": body.get("prompt_eval_count")}
    return openai_embeddings.parse_response(
        {"model": body.get("model"), "data": [{"embedding": vector} for vector in vectors], "usage": counts}
    )


_EMBEDDINGS = Codec(
    name="ollama_embeddings",
    render_request=render_embeddings,
    parse_response=parse_embeddings,
    parse_error=parse_error,
)

# ---- the models there are ----


def models_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    return (bearer(UpstreamRequest(method="GET", url=f"{base_url}/api/tags"), credentials, now),)


def parse_models(replies: tuple[WholeReply, ...]) -> tuple[str, ...]:
    """Raises UpstreamRejected, or UpstreamGarbled where the answer lists nothing."""
    (reply,) = replies
    if reply.status != 200:
        raise parse_error(reply.status, reply.headers, reply.body)
    models: Any = loads(reply.body).get("models")
    if not isinstance(models, list):
        raise UpstreamGarbled("The provider's answer lists no models.")
    return tuple(str(model["name"]) for model in models if isinstance(model, dict) and model.get("name"))


ADAPTORS = (
    Adaptor(
        type=30,
        name="ollama",
        label="Ollama",
        base_url="http://localhost:11434",
        endpoints={
            "chat": Endpoint(path="/api/chat", codec=_CHAT, framing="ndjson"),
            "completions": Endpoint(path="/v1/completions", codec=openai_completions.CODEC),
            "embeddings": Endpoint(path="/api/embed", codec=_EMBEDDINGS),
        },
        accepts=frozenset({"images"}),
        key_hint="API key, or anything where the server asks for none",
        owner="ollama",
        models=default_models(30),
        models_requests=models_requests,
        parse_models=parse_models,
    ),
)
