"""Chat as DashScope has it: {model, input: {messages}, parameters}, for texts, and for pictures, sound and video.

Source: recorded exchanges, Alibaba's Python SDK 2.0.2 (read 2026-11-25), and
https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope. Messages, tools and choices are shaped as
OpenAI's, so an answer is read as one of those.

Not carried: logit_bias, frequency_penalty, user, metadata, names of speakers, sound as output; thoughts of earlier
turns, which the models do not read; "required" where there is more than one tool (it becomes "auto"). The endpoint for
texts has no place for pictures, sound and files; the other takes no documents.
Read beyond OpenAI's fields: `enable_search` and the others of `_OWN`, and the model's suffix `-internet`, which is
One API's way to say enable_search.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Json
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import openai_chat_answer
from oneapi.relay.protocols.dashscope_error import error_in, output_of, parse_error
from oneapi.relay.protocols.function_tools import offered, plain_text
from oneapi.relay.protocols.openai_chat_parts import data_url, own, render_call
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import loads
from oneapi.relay.protocols.search_results import citations

SEARCHING = "-internet"

_OWN = (
    "asr_options",
    "enable_search",
    "max_pixels",
    "min_pixels",
    "ocr_options",
    "preserve_thinking",
    "repetition_penalty",
    "search_options",
    "translation_options",
    "vl_high_resolution_images",
)
_PLAIN = ("max_tokens", "top_k", "seed", "presence_penalty", "logprobs", "top_logprobs")
# Qwen3's open models think unless told not to, and refuse to where the answer is not streamed.
_THINKS_BY_DEFAULT = re.compile(r"qwen3-\d+(\.\d+)?b(-a\d+b)?$")
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192}

# ---- the request ----


def render_request(request: ir.ChatRequest, *, takes_media: bool) -> Json:
    """Raises InvalidRequest for a tool that is not a function."""
    model = request.model.removesuffix(SEARCHING)
    parameters: Json = {} if takes_media else {"result_format": "message"}
    given = own(request.extra)
    parameters |= {name: given[name] for name in _OWN if name in given}
    parameters |= {name: value for name in _PLAIN if (value := getattr(request, name)) is not None}
    if model != request.model:
        parameters["enable_search"] = True
    if request.temperature is not None:  # [0, 2)
        parameters["temperature"] = min(request.temperature, 1.99)
    if request.top_p is not None:  # (0, 1), by some models
        parameters["top_p"] = min(max(request.top_p, 0.0001), 0.9999)
    if request.n not in (None, 1):
        parameters["n"] = request.n
    if request.stop:
        parameters["stop"] = list(request.stop)
    if request.response_format is not None:
        parameters["response_format"] = _render_format(request.response_format)
    if request.stream:
        parameters["incremental_output"] = True
    parameters |= _render_thinking(request, model) | _render_tools(request)
    messages = [message for turn in request.messages for message in _render_turn(turn, takes_media)]
    return {"model": model, "input": {"messages": messages}, "parameters": parameters}


def _render_format(wanted: ir.ResponseFormat) -> Json:
    if wanted.kind != "json_schema":
        return {"type": wanted.kind}
    schema = {"name": wanted.name, "schema": wanted.schema, "strict": wanted.is_strict}
    return {"type": "json_schema", "json_schema": {name: value for name, value in schema.items() if value is not None}}


def _render_thinking(request: ir.ChatRequest, model: str) -> Json:
    wish = request.thinking
    if wish is None:
        is_refused = not request.stream and _THINKS_BY_DEFAULT.match(model)
        return {"enable_thinking": False} if is_refused else {}
    if wish.effort == "none":
        return {"enable_thinking": False}
    budget = _BUDGETS.get(wish.effort) if wish.budget_tokens is None else wish.budget_tokens
    return {"enable_thinking": True, **({} if budget is None else {"thinking_budget": budget})}


def _render_tools(request: ir.ChatRequest) -> Json:
    offer = offered(request)
    is_forbidden = request.tool_choice is not None and request.tool_choice.mode == "none"
    tools = request.tools if is_forbidden else offer.tools
    if not tools:
        return {}
    fields: Json = {"tools": [{"type": "function", "function": _render_function(tool)} for tool in tools]}
    if is_forbidden:
        fields["tool_choice"] = "none"
    elif offer.must_call is not None:
        fields["tool_choice"] = {"type": "function", "function": {"name": offer.must_call.name}}
    elif request.tool_choice is not None:
        fields["tool_choice"] = "auto"
    if request.may_call_in_parallel is not None:
        fields["parallel_tool_calls"] = request.may_call_in_parallel
    return fields


def _render_function(tool: ir.Tool) -> Json:
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parameters": schema}


def _render_turn(message: ir.Message, takes_media: bool) -> Iterator[Json]:
    def content(parts: tuple[ir.Part, ...]) -> Any:
        return [*_pieces(parts)] if takes_media else plain_text(parts)

    if message.role == "tool":
        for part in message.parts:
            if isinstance(part, ir.ToolResult):
                named = {"name": part.name} if part.name else {}
                yield {"role": "tool", "content": content(part.parts), "tool_call_id": part.call_id, **named}
        return
    rendered: Json = {"role": message.role, "content": content(message.parts)}
    if calls := [part for part in message.parts if isinstance(part, ir.ToolCall)]:
        rendered["tool_calls"] = [render_call(call, call.id) for call in calls]
    if message.role == "assistant" and own(message.extra).get("partial"):
        rendered["partial"] = True
    yield rendered


def _pieces(parts: tuple[ir.Part, ...]) -> Iterator[Json]:
    for part in parts:
        match part:
            case ir.Text() | ir.Refusal() if part.text:
                yield {"text": part.text}
            case ir.Image():
                yield {"image": part.url or data_url(part.media_type or "image/png", part.data)}
            case ir.Audio() if part.data:
                yield {"audio": data_url(f"audio/{part.format or 'wav'}", part.data)}
            case ir.File() if _is_video(part):
                yield {"video": part.url or data_url(part.media_type, part.data)}


def _is_video(file: ir.File) -> bool:
    return file.media_type.startswith("video/") or own(file.extra).get("type") == "video_url"


# ---- the answer ----


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without output."""
    return openai_chat_answer.parse_response(_chunk(body))


class StreamParser(ShapedParser):
    """Events of a stream; each of its events is an answer with a part of the text."""

    __slots__ = ("_is_cited",)

    def __init__(self) -> None:
        super().__init__()
        self._is_cited = False

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        if not frame.data:
            return ()
        body = loads(frame.data)
        if frame.event == "error" or body.get("code"):
            status = _HTTP_STATUS.search(frame.raw)
            if (error := error_in(body, int(status[1]) if status else 500)) is not None:
                raise error
        chunk = _chunk(body, is_cited=self._is_cited)
        self._is_cited = self._is_cited or "search_info" in body["output"]
        return self.feed_chunk(chunk)


_HTTP_STATUS = re.compile(rb"^:HTTP_STATUS/(\d{3})", re.MULTILINE)


def _chunk(body: Json, *, is_cited: bool = False) -> Json:
    """The answer, or a piece of it, as OpenAI would have it."""
    output = output_of(body)
    choices = output.get("choices")
    if not isinstance(choices, list):  # the older form, which knows one text only
        said = {"content": output.get("text")}
        choices = (
            [{"message": said, "finish_reason": output.get("finish_reason") or "stop"}] if "text" in output else []
        )
    sources = [] if is_cited or "search_info" not in output else [*citations(output["search_info"])]
    return {
        "id": body.get("request_id"),
        "choices": [_choice(choice, sources) for choice in choices if isinstance(choice, dict)],
        "usage": body.get("usage"),
    }


def _choice(choice: Json, sources: list[Json]) -> Json:
    reason, message = choice.get("finish_reason"), choice.get("message")
    delta: Json = message if isinstance(message, dict) else {}
    if isinstance(pieces := delta.get("content"), list):
        links = [piece["image"] for piece in pieces if isinstance(piece, dict) and isinstance(piece.get("image"), str)]
        if links:
            delta = {**delta, "images": [{"image_url": {"url": link}} for link in links]}
    if sources:
        delta = {**delta, "annotations": sources}
    return {
        "index": choice.get("index"),
        "delta": delta,
        "logprobs": choice.get("logprobs"),
        "finish_reason": None if reason == "null" else reason,
    }


# ---- codecs ----

_NOT_CARRIED = frozenset({"logit_bias", "frequency_penalty", "user", "metadata", "name", "audio_output"})


def _drops(request: ir.ChatRequest) -> frozenset[str]:
    lost = set()
    if offered(request).is_lax:
        lost.add("tool_choice")
    if any(isinstance(part, ir.File) and not _is_video(part) for turn in request.messages for part in turn.parts):
        lost.add("files")
    return frozenset(lost)


def _codec(name: str, *, takes_media: bool, cannot_carry: frozenset[str]) -> Codec:
    return Codec(
        name=name,
        render_request=partial(render_request, takes_media=takes_media),
        parse_response=parse_response,
        stream_parser=StreamParser,
        parse_error=parse_error,
        cannot_carry=cannot_carry,
        drops=_drops,
    )


TEXT = _codec("dashscope_text", takes_media=False, cannot_carry=_NOT_CARRIED | frozenset({"images", "audio", "files"}))
MEDIA = _codec("dashscope_media", takes_media=True, cannot_carry=_NOT_CARRIED)
