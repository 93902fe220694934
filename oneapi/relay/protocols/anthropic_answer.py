"""The answer of Anthropic's messages, whole and as a stream, both ways.

Source: https://platform.claude.com/docs/en/api/messages and /build-with-claude/streaming (read 2026-11-25), and what
was recorded of Anthropic and of Claude at Amazon. A whole answer is read as the stream that tells it, so that the two
readings cannot differ.

Not carried to clients of this protocol: pictures and sound that a model makes (of sound the transcript is), choices
beyond the first, log-probabilities; and of a call that is added to after the next part began, what is added then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Json, Rendering
from oneapi.relay.framing import Frame
from oneapi.relay.protocols.anthropic_error import error_in
from oneapi.relay.protocols.anthropic_parts import (
    ORIGIN,
    arguments_object,
    arguments_text,
    extra_of,
    own,
    parse_call,
    parse_signature,
    raw_block,
    render_call_id,
    render_signature,
    render_thought,
)
from oneapi.relay.protocols.anthropic_request import JSON_TOOL
from oneapi.relay.protocols.anthropic_usage import merged, parse_usage, render_usage
from oneapi.relay.protocols.provider_json import dumps, loads

_REASONS: Mapping[str, ir.FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_WORDS: Mapping[ir.FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_MESSAGE_FIELDS = ("id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "usage")


# ---- the upstream half ----


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without content."""
    if (error := error_in(body)) is not None:
        raise error
    content = body.get("content")
    if not isinstance(content, list):
        raise UpstreamGarbled("The provider's answer has no content.")
    parser = StreamParser()
    events = [*parser.feed_event({"type": "message_start", "message": body})]
    for index, block in enumerate(content):
        events += parser.feed_event({"type": "content_block_start", "index": index, "content_block": block})
        events += parser.feed_event({"type": "content_block_stop", "index": index})
    stop = {name: body.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    events += parser.feed_event({"type": "message_delta", "delta": stop, "usage": body.get("usage")})
    return ir.collect([*events, *parser.finish()])


@dataclass(slots=True)
class _Block:
    """What is known of one content block so far."""

    index: int  # of its part
    part: ir.Part
    is_json_answer: bool = False
    raw: Json | None = None  # of a block that only this protocol has: shown when it is whole
    arguments: list[str] = field(default_factory=list)
    said: int = 0  # characters of its text
    signature: str = ""
    citations: list[Json] = field(default_factory=list)


class StreamParser:
    """Events of a stream of Anthropic's events."""

    __slots__ = ("_blocks", "_calls", "_count", "_has_begun", "_reason", "_said", "_usage", "is_done")

    def __init__(self) -> None:
        self._blocks: dict[str, _Block] = {}
        self._count = 0
        self._calls = 0
        self._said = 0  # characters of the texts before the open one
        self._has_begun = False
        self._reason: ir.FinishReason | None = None
        self._usage: Json = {}
        self.is_done = False

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        data = frame.data.strip()
        return self.feed_event(loads(data)) if data and data != b"[DONE]" else ()

    def finish(self) -> Iterator[ir.Event]:
        """Raises UpstreamGarbled for a stream that ended before the answer was complete."""
        if self._reason is None:
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        if (usage := parse_usage(self._usage)) is not None:
            yield usage

    def feed_event(self, event: Json) -> Iterable[ir.Event]:
        """Events of one event that is JSON already. Raises UpstreamRejected for an error."""
        match event.get("type"):
            case "content_block_delta":  # nearly every event
                return self._delta(str(event.get("index")), event.get("delta"))
            case "message_start":
                return self._start(event.get("message"))
            case "content_block_start":
                return self._open(str(event.get("index")), event.get("content_block"))
            case "content_block_stop":
                return self._close(str(event.get("index")))
            case "message_delta":
                return self._stop(event)
            case "message_stop":
                self.is_done = True
            case "ping":
                pass
            case _:
                if (error := error_in(event)) is not None:
                    raise error
        return ()

    def _start(self, message: Any) -> Iterator[ir.Event]:
        message = message if isinstance(message, dict) else {}
        self._usage = merged(self._usage, message.get("usage"))
        if not self._has_begun:
            self._has_begun = True
            known = {name: value for name, value in message.items() if value is not None}
            yield ir.Begin(
                str(message.get("id") or ""), str(message.get("model") or ""), extra=extra_of(known, _MESSAGE_FIELDS)
            )

    def _stop(self, event: Json) -> Iterator[ir.Event]:
        self._usage = merged(self._usage, event.get("usage"))
        delta = event.get("delta")
        word = delta.get("stop_reason") if isinstance(delta, dict) else None
        if not isinstance(delta, dict) or not isinstance(word, str) or self._reason is not None:
            return
        for index in [*self._blocks]:
            yield from self._close(index)
        reason = _REASONS.get(word, "stop")
        if reason == "tool_calls" and not self._calls:
            reason = "stop"  # what was called is the answer itself
            word = "end_turn"
        self._reason = reason
        told = {name: value for name, value in delta.items() if value is not None and name != "stop_reason"}
        if _WORDS[reason] != word:
            told["stop_reason"] = word
        yield ir.Finish(reason, extra=extra_of(told, ()))

    # ---- blocks ----

    def _open(self, number: str, value: Any) -> Iterator[ir.Event]:
        if not isinstance(value, dict) or number in self._blocks:
            raise UpstreamGarbled("The provider sent a content block that is none.")
        index = self._count
        self._count += 1
        match value.get("type"):
            case "text":
                self._blocks[number] = block = _Block(index, ir.Text(""))
                if isinstance(citations := value.get("citations"), list):
                    block.citations = [item for item in citations if isinstance(item, dict)]
                yield ir.Open(index, block.part)
                yield from self._say(block, value.get("text"))
            case "thinking":
                signature = str(value.get("signature") or "")
                self._blocks[number] = block = _Block(index, ir.Reasoning(""), signature=signature)
                yield ir.Open(index, block.part)
                yield from self._say(block, value.get("thinking"))
            case "redacted_thinking":
                part = ir.Reasoning("", parse_signature(value.get("data")), is_redacted=True)
                self._blocks[number] = _Block(index, part)
                yield ir.Open(index, part)
            case "tool_use" if value.get("name") == JSON_TOOL:
                self._blocks[number] = block = _Block(index, ir.Text(""), is_json_answer=True)
                yield ir.Open(index, block.part)
                yield from self._argue(block, value.get("input"))
            case "tool_use":
                call = replace(parse_call(value), arguments="")
                self._blocks[number] = block = _Block(index, call)
                self._calls += 1
                yield ir.Open(index, call)
                yield from self._argue(block, value.get("input"))
            case _:
                self._blocks[number] = _Block(index, raw_block(value), raw=value)

    def _say(self, block: _Block, text: Any) -> tuple[ir.Event, ...]:
        if not isinstance(text, str) or not text:
            return ()
        block.said += len(text)
        return (ir.Delta(block.index, text),)

    def _argue(self, block: _Block, given: Any) -> tuple[ir.Event, ...]:
        """Arguments that stand in the block itself: all of them in a whole answer, none in a stream."""
        return self._say(block, arguments_text(given)) if given else ()

    def _delta(self, number: str, delta: Any) -> tuple[ir.Event, ...]:
        block = self._blocks.get(number)
        if block is None or not isinstance(delta, dict):
            raise UpstreamGarbled("The provider went on with a content block that it had not begun.")
        match delta.get("type"):
            case "text_delta":
                return self._say(block, delta.get("text"))
            case "thinking_delta":
                return self._say(block, delta.get("thinking"))
            case "input_json_delta" if block.raw is None:
                return self._say(block, delta.get("partial_json"))
            case "input_json_delta":
                block.arguments.append(str(delta.get("partial_json") or ""))
            case "signature_delta":
                block.signature += str(delta.get("signature") or "")
            case "citations_delta" if isinstance(delta.get("citation"), dict):
                block.citations.append(delta["citation"])
        return ()

    def _close(self, number: str) -> Iterator[ir.Event]:
        block = self._blocks.pop(number, None)
        if block is None:
            return
        match block.part:
            case ir.Text() if block.raw is not None:
                given = "".join(block.arguments)
                whole = {**block.raw, "input": arguments_object(given)} if given else block.raw
                yield ir.Open(block.index, raw_block(whole))
            case ir.Text() if block.citations:
                yield ir.Amend(block.index, _cited(block, self._said))
            case ir.Reasoning() if seal := parse_signature(block.signature):
                yield ir.Amend(block.index, ir.Reasoning("", seal))
            case ir.ToolCall() if not block.said:
                yield ir.Delta(block.index, "{}")
        if isinstance(block.part, ir.Text) and block.raw is None:
            if block.is_json_answer and not block.said:
                yield ir.Delta(block.index, "{}")
            self._said += block.said
        yield ir.Close(block.index)


def _cited(block: _Block, start: int) -> ir.Text:
    """A text's citations, in OpenAI's shape and in Anthropic's own. They are of the text as a whole."""
    annotations = tuple(_annotation(citation, start, start + block.said) for citation in block.citations)
    return ir.Text("", annotations, {"origin": ORIGIN, "citations": block.citations})


def _annotation(citation: Json, start: int, end: int) -> ir.Extra:
    title = str(citation.get("title") or citation.get("document_title") or "")
    url = citation.get("url") or citation.get("source") or ""
    where = {"start_index": start, "end_index": end, "title": title, "url": str(url)}
    return {"type": "url_citation", "url_citation": {**where, "content": str(citation.get("cited_text") or "")}}


# ---- the client half ----


def render_response(response: ir.ChatResponse, rendering: Rendering) -> Json:
    """The message: its first choice, with the ids it lacks."""
    choice = response.choices[0] if response.choices else ir.Choice()
    content: list[Json] = []
    for at, part in enumerate(choice.parts):
        if (block := _opening(part, at)) is None:
            continue
        match part:
            case ir.ToolCall():
                block["input"] = arguments_object(part.arguments)
            case ir.Text() if block["type"] == "text":
                block |= {"text": part.text, **({"citations": cited} if (cited := _citations(part)) else {})}
            case ir.Refusal():
                block["text"] = part.text
            case ir.Audio():
                block["text"] = part.transcript
            case ir.Reasoning():
                block = render_thought(part)
        content.append(block)
    return {
        **_head(ir.Begin(response.id, response.model, extra=response.extra), rendering),
        "content": content,
        **_ending(choice.finish_reason or "stop", choice.extra, _refuses(choice.parts)),
        "usage": render_usage(response.usage or ir.Usage()),
    }


def _head(begin: ir.Begin, rendering: Rendering) -> Json:
    return {
        "id": begin.id or f"msg_{rendering.id}",
        "type": "message",
        "role": "assistant",
        "model": begin.model or rendering.model,
        **own(begin.extra),
    }


def _ending(reason: ir.FinishReason, extra: ir.Extra, is_refusal: bool) -> Json:
    word = "refusal" if is_refusal and reason == "stop" else _WORDS[reason]
    return {"stop_reason": word, "stop_sequence": None, **own(extra)}


def _refuses(parts: Iterable[ir.Part]) -> bool:
    return any(isinstance(part, ir.Refusal) for part in parts)


def _opening(part: ir.Part, at: int) -> Json | None:
    """The block as a stream begins it; None for a part that has no place here."""
    match part:
        case ir.Text():
            raw = own(part.extra).get("block")
            return {"type": "text", "text": ""} if raw is None else dict(raw)
        case ir.Refusal() | ir.Audio():
            return {"type": "text", "text": ""}
        case ir.Reasoning():
            return render_thought(part) if part.is_redacted else {"type": "thinking", "thinking": "", "signature": ""}
        case ir.ToolCall():
            call_id = render_call_id(part, part.id or f"toolu_{at}")
            return {"type": "tool_use", "id": call_id, "name": part.name, "input": {}, **own(part.extra)}
    return None


def _citations(part: ir.Text) -> list[Json]:
    """Anthropic's own citations where they came from there, else what others' annotations say in its terms."""
    given = own(part.extra).get("citations")
    if isinstance(given, list):
        return given
    cited: list[Json] = []
    for annotation in part.annotations:
        where = annotation.get("url_citation")
        if isinstance(where, dict):
            cited.append(
                {
                    "type": "web_search_result_location",
                    "url": where.get("url") or "",
                    "title": where.get("title"),
                    "cited_text": where.get("content") or "",
                    "encrypted_index": "",
                }
            )
    return cited


class StreamRenderer:
    """Anthropic's events, one block at a time; `finish` gives the end, with the usage it holds."""

    __slots__ = (
        "_begin",
        "_current",
        "_finish",
        "_has_begun",
        "_is_refusal",
        "_number",
        "_open",
        "_rendering",
        "_usage",
    )

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._begin = ir.Begin()
        self._has_begun = False
        self._number = -1  # of the block that is open, or was last
        self._open: dict[int, ir.Part] = {}  # parts that may still be amended
        self._current: int | None = None  # index of the part whose block is open
        self._finish = ir.Finish("stop")
        self._is_refusal = False
        self._usage = ir.Usage()

    def feed(self, event: ir.Event) -> Iterable[bytes]:
        match event:
            case ir.Begin():
                self._begin = event
                return self._started()
            case ir.Usage():
                self._usage = event
                return ()
            case _ if event.choice:
                return ()
            case ir.Delta():
                return self._delta(event)
            case ir.Open():
                return self._opened(event)
            case ir.Amend():
                return self._amended(event)
            case ir.Close():
                return self._closed() if event.index == self._current else ()
            case ir.Finish():
                self._finish = event
                return self._closed()

    def finish(self) -> bytes:
        ending = _ending(self._finish.reason, self._finish.extra, self._is_refusal)
        delta = {"type": "message_delta", "delta": ending, "usage": render_usage(self._usage)}
        pieces = [*self._started(), *self._closed(), _event(delta), _event({"type": "message_stop"})]
        return b"".join(pieces)

    def _started(self) -> Iterator[bytes]:
        if not self._has_begun:
            self._has_begun = True
            empty: Json = {"content": [], "stop_reason": None, "stop_sequence": None}
            message = {**_head(self._begin, self._rendering), **empty, "usage": render_usage(self._usage)}
            yield _event({"type": "message_start", "message": message})

    def _opened(self, event: ir.Open) -> Iterator[bytes]:
        part = event.part
        block = _opening(part, event.index)
        if block is None:
            return
        yield from self._started()
        yield from self._closed()
        self._is_refusal = self._is_refusal or isinstance(part, ir.Refusal)
        self._number += 1
        self._current = event.index
        self._open[event.index] = ir.Text("") if isinstance(part, ir.Text) else part
        yield _event({"type": "content_block_start", "index": self._number, "content_block": block})
        text = part.transcript if isinstance(part, ir.Audio) else ir.content(part)
        if text:
            yield self._more(part, text)
        yield from self._amended(ir.Amend(event.index, part))

    def _delta(self, event: ir.Delta) -> Iterable[bytes]:
        part = self._open.get(event.index)
        if part is None or event.index != self._current or isinstance(part, ir.Audio):
            return ()
        return (self._more(part, event.text),)

    def _more(self, part: ir.Part, text: str) -> bytes:
        match part:
            case ir.ToolCall():
                delta = {"type": "input_json_delta", "partial_json": text}
            case ir.Reasoning():
                delta = {"type": "thinking_delta", "thinking": text}
            case _:
                delta = {"type": "text_delta", "text": text}
        return self._block_delta(delta)

    def _block_delta(self, delta: Json) -> bytes:
        return _event({"type": "content_block_delta", "index": self._number, "delta": delta})

    def _amended(self, event: ir.Amend) -> Iterator[bytes]:
        before = self._open.get(event.index)
        if before is None or event.index != self._current:
            return
        match event.part, before:
            case ir.Text() as text, ir.Text():
                for citation in _citations(text)[len(_citations(before)) :]:
                    yield self._block_delta({"type": "citations_delta", "citation": citation})
                self._open[event.index] = text
            case ir.Reasoning() as thought, ir.Reasoning():
                self._open[event.index] = thought  # its signature goes last
            case ir.Audio() as audio, ir.Audio() if more := audio.transcript[len(before.transcript) :]:
                yield self._more(audio, more)
                self._open[event.index] = audio

    def _closed(self) -> Iterator[bytes]:
        if self._current is not None:
            part = self._open.pop(self._current, None)
            self._current = None
            if isinstance(part, ir.Reasoning) and part.seal is not None and not part.is_redacted:
                yield self._block_delta({"type": "signature_delta", "signature": render_signature(part.seal)})
            yield _event({"type": "content_block_stop", "index": self._number})


def _event(value: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), dumps(value))
