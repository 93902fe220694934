"""Chat as Cohere's API has it since version 2: near OpenAI's, with documents to cite and thoughts to be seen.

Source: recorded exchanges, and https://docs.cohere.com/reference/chat, /chat-stream (read in part 2026-11-25). What a
model plans before it calls tools (`tool_plan`) is a thought, and goes back with the calls.

Read beyond OpenAI's fields: `documents`, `citation_options`, `safety_mode`, `strict_tools` and the others of `_OWN`.
Not carried: n, logit_bias, log-probabilities, user, metadata, parallel_tool_calls, names of speakers, sound, documents
other than those of `documents`, pictures in results of tools; thoughts of earlier turns that called nothing. Citations
of thoughts and plans are left out, as a client sees the answer's text alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Json
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import openai_chat_answer
from oneapi.relay.protocols.cohere_error import error_in, parse_error
from oneapi.relay.protocols.function_tools import offered, plain_text
from oneapi.relay.protocols.openai_chat_parts import own, render_call, render_image
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import loads

# ---- the request ----

_OWN = (
    "citation_options",
    "documents",
    "priority",
    "raw_prompting",
    "return_prompt",
    "safety_mode",
    "strict_tools",
)
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192}


def render_sampling(request: ir.ChatRequest) -> Json:
    """What versions 1 and 2 of the API have in common; numbers within what Cohere takes."""
    fields: Json = {}
    if request.max_tokens is not None:
        fields["max_tokens"] = request.max_tokens
    if request.temperature is not None:
        fields["temperature"] = request.temperature
    if request.top_p is not None:
        fields["p"] = min(max(request.top_p, 0.01), 0.99)
    if request.top_k is not None:
        fields["k"] = min(max(request.top_k, 0), 500)
    if request.seed is not None:
        fields["seed"] = request.seed
    if request.stop:
        fields["stop_sequences"] = list(request.stop)
    for name in ("frequency_penalty", "presence_penalty"):
        if (value := getattr(request, name)) is not None:
            fields[name] = min(max(value, 0), 1)
    return fields


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest for a tool that is not a function."""
    given = own(request.extra)
    body: Json = {"model": request.model, "messages": [*_render_turns(request.messages)], "stream": request.stream}
    body |= {name: given[name] for name in _OWN if name in given}
    body |= render_sampling(request)
    if request.response_format is not None:
        body["response_format"] = _render_format(request.response_format)
    if request.thinking is not None:
        body["thinking"] = _render_thinking(request.thinking)
    return body | _render_tools(request)


def _render_format(wanted: ir.ResponseFormat) -> Json:
    if wanted.kind == "text":
        return {"type": "text"}
    return {"type": "json_object", **({} if wanted.schema is None else {"json_schema": wanted.schema})}


def _render_thinking(wish: ir.Thinking) -> Json:
    if wish.effort == "none":
        return {"type": "disabled"}
    budget = _BUDGETS.get(wish.effort) if wish.budget_tokens is None else wish.budget_tokens
    return {"type": "enabled", **({} if budget is None else {"token_budget": budget})}


def _render_tools(request: ir.ChatRequest) -> Json:
    offer = offered(request)
    is_forbidden = request.tool_choice is not None and request.tool_choice.mode == "none"
    tools = offer.tools if offer.must_call is None else (offer.must_call,)
    if is_forbidden:
        tools = request.tools
    if not tools:
        return {}
    fields: Json = {"tools": [_render_tool(tool) for tool in tools]}
    if is_forbidden:
        fields["tool_choice"] = "NONE"
    elif offer.must_call is not None or offer.is_lax:
        fields["tool_choice"] = "REQUIRED"
    if all(tool.is_strict for tool in tools):
        fields["strict_tools"] = True
    return fields


def _render_tool(tool: ir.Tool) -> Json:
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    described = {"description": tool.description} if tool.description else {}
    return {"type": "function", "function": {"name": tool.name, **described, "parameters": schema}}


def _render_turns(messages: tuple[ir.Message, ...]) -> Iterator[Json]:
    for turn in messages:
        match turn.role:
            case "tool":
                for part in turn.parts:
                    if isinstance(part, ir.ToolResult):
                        yield {"role": "tool", "tool_call_id": part.call_id, "content": _content(part.parts)}
            case "assistant":
                yield _render_answer(turn)
            case _:
                yield {"role": turn.role, "content": _content(turn.parts)}


def _content(parts: tuple[ir.Part, ...]) -> Any:
    """A text as it is; a list where there is more than one, or a picture."""
    pieces: list[Json] = []
    for part in parts:
        match part:
            case ir.Text():
                pieces.append({"type": "text", "text": part.text})
            case ir.Image():
                pieces.append(render_image(part))
    if len(pieces) == 1 and "text" in pieces[0]:
        return pieces[0]["text"]
    return pieces or ""


def _render_answer(turn: ir.Message) -> Json:
    rendered: Json = {"role": "assistant"}
    text = plain_text(turn.parts)
    calls = [part for part in turn.parts if isinstance(part, ir.ToolCall)]
    if text or not calls:
        rendered["content"] = text
    if calls:
        rendered["tool_calls"] = [render_call(call, call.id) for call in calls]
        if plan := "".join(part.text for part in turn.parts if isinstance(part, ir.Reasoning)):
            rendered["tool_plan"] = plan
    return rendered


def _drops(request: ir.ChatRequest) -> frozenset[str]:
    results = (part for turn in request.messages for part in turn.parts if isinstance(part, ir.ToolResult))
    has_pictures = any(isinstance(piece, ir.Image) for result in results for piece in result.parts)
    return frozenset({"images"}) if has_pictures else frozenset()


# ---- the answer ----

_REASONS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "USER_CANCEL": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TIMEOUT": "length",  # cut by the provider's own limit of time
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}


def finish_reason(word: Any, message: Any = None) -> str:
    """The reason in OpenAI's words. Raises UpstreamRejected where the provider gave up."""
    if word == "ERROR":
        said = message if isinstance(message, str) and message else "The provider could not finish the answer."
        raise UpstreamRejected(said, upstream_status=500, provider_type="cohere_error", provider_code="ERROR")
    return _REASONS.get(str(word), "stop")


def usage(block: Any) -> Json | None:
    """The counts as OpenAI has them; pictures are counted apart from the input, thoughts with the output.

    What is billed is less than what is counted, as Cohere does not bill its own instructions; One API bills `tokens`.
    """
    block = block if isinstance(block, dict) else {}
    counts = block.get("tokens") if isinstance(block.get("tokens"), dict) else block.get("billed_units")
    if not isinstance(counts, dict):
        return None
    pictures = counts.get("image_tokens")
    pictures = pictures if isinstance(pictures, int) else None
    return {
        "prompt_tokens": _number(counts.get("input_tokens")) + (pictures or 0),
        "completion_tokens": _number(counts.get("output_tokens")),
        "prompt_tokens_details": {"cached_tokens": block.get("cached_tokens"), "image_tokens": pictures},
        "completion_tokens_details": {"reasoning_tokens": counts.get("reasoning_tokens")},
    }


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e15 else 0


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without a message."""
    message = body.get("message")
    if not isinstance(message, dict):
        raise error_in(body) or UpstreamGarbled("The provider's answer has no message.")
    delta: Json = {name: message.get(name) for name in ("content", "tool_calls")}
    delta |= {"reasoning_content": message.get("tool_plan"), "annotations": [*cited(message.get("citations"))]}
    choice = {"delta": delta, "finish_reason": finish_reason(body.get("finish_reason"), message.get("error"))}
    return openai_chat_answer.parse_response(
        {"id": body.get("id"), "choices": [choice], "usage": usage(body.get("usage"))}
    )


def cited(citations: Any) -> Iterator[Json]:
    """Citations of the answer's text as annotations in OpenAI's shape, one for each source."""
    for citation in citations if isinstance(citations, list) else ():
        if not isinstance(citation, dict) or citation.get("type") not in (None, "TEXT_CONTENT"):
            continue
        sources = citation.get("sources")
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, dict):
                yield _annotation(citation, source)


def _annotation(citation: Json, source: Json) -> Json:
    document = source.get("document")
    document = document if isinstance(document, dict) else {}
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": citation.get("start"),
            "end_index": citation.get("end"),
            "title": str(document.get("title") or source.get("id") or ""),
            "url": str(document.get("url") or ""),
        },
    }


class StreamParser(ShapedParser):
    """Events of a stream; its own are named, and tell a message bit by bit."""

    __slots__ = ("_id",)

    def __init__(self) -> None:
        super().__init__()
        self._id: Any = None

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        if not frame.data:
            return ()
        if frame.data[:6] == b"[DONE]":
            self.is_done = True
            return ()
        event = loads(frame.data)
        if "type" not in event and (error := error_in(event)) is not None:
            raise error
        chunk = self._chunk(event)
        return self.feed_chunk(chunk) if chunk else ()

    def _chunk(self, event: Json) -> Json:
        """The event as a chunk of OpenAI's; empty where it says nothing."""
        told = event.get("delta")
        told = told if isinstance(told, dict) else {}
        message = told.get("message")
        message = message if isinstance(message, dict) else {}
        match event.get("type"):
            case "message-start":
                self._id = event.get("id")
                return self._told({})
            case "content-start" | "content-delta":
                piece = message.get("content")
                return self._told(_content_delta(piece if isinstance(piece, dict) else {}))
            case "tool-plan-delta":
                return self._told({"reasoning_content": message.get("tool_plan")})
            case "tool-call-start" | "tool-call-delta":
                call = message.get("tool_calls")
                call = call if isinstance(call, dict) else {}
                return self._told({"tool_calls": [{"index": event.get("index"), **call}]})
            case "citation-start":
                return self._told({"annotations": [*cited([message.get("citations")])]})
            case "message-end":
                reason = finish_reason(told.get("finish_reason"), told.get("error"))
                return {**self._told({}, reason), "usage": usage(told.get("usage"))}
        return {}

    def _told(self, delta: Mapping[str, Any], reason: str | None = None) -> Json:
        return {"id": self._id, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _content_delta(piece: Json) -> Json:
    return {"reasoning_content": piece["thinking"]} if "thinking" in piece else {"content": piece.get("text")}


NOT_CARRIED = frozenset(
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
        "top_logprobs",
        "user",
    }
)
CODEC = Codec(
    name="cohere_chat",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    cannot_carry=NOT_CARRIED,
    drops=_drops,
)
