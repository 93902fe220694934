"""The answer of Bedrock's Converse and ConverseStream.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html (read 2026-11-25), and
recorded answers. A whole answer is read as the stream that tells it. `inputTokens` leave out what was read from the
cache or written to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Json
from oneapi.relay.framing import Frame
from oneapi.relay.protocols.anthropic_parts import arguments_text
from oneapi.relay.protocols.anthropic_request import JSON_TOOL
from oneapi.relay.protocols.bedrock_error import raise_exception
from oneapi.relay.protocols.provider_json import loads

ORIGIN = "bedrock"

_REASONS: Mapping[str, ir.FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamGarbled for an answer without a message."""
    output = body.get("output")
    message = output.get("message") if isinstance(output, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        raise UpstreamGarbled("The provider's answer has no content.")
    parser = StreamParser()
    events = [*parser.feed_event("messageStart", {})]
    for index, block in enumerate(content):
        if isinstance(block, dict):
            for name, event in _told(block):
                events += parser.feed_event(name, {"contentBlockIndex": index, **event})
            events += parser.feed_event("contentBlockStop", {"contentBlockIndex": index})
    events += parser.feed_event("messageStop", body)
    events += parser.feed_event("metadata", body)
    return ir.collect([*events, *parser.finish()])


def _told(block: Json) -> Iterator[tuple[str, Json]]:
    """A whole block as the events of a stream that would tell it."""
    match block:
        case {"toolUse": dict(call)}:
            yield "contentBlockStart", {"start": {"toolUse": call}}
            if given := call.get("input"):
                yield "contentBlockDelta", {"delta": {"toolUse": {"input": arguments_text(given)}}}
        case {"reasoningContent": dict(thought)}:
            text = thought.get("reasoningText")
            pieces = text if isinstance(text, dict) else thought
            for name, value in pieces.items():
                yield "contentBlockDelta", {"delta": {"reasoningContent": {name: value}}}
        case {"citationsContent": {"content": list(texts)} as cited}:
            for piece in texts:
                if isinstance(piece, dict):
                    yield "contentBlockDelta", {"delta": {"text": piece.get("text")}}
            for citation in cited.get("citations") or ():
                yield "contentBlockDelta", {"delta": {"citation": citation}}
        case {"image": dict(image)}:
            yield "contentBlockStart", {"start": {"image": image}}
            yield "contentBlockDelta", {"delta": {"image": image}}
        case _:
            yield "contentBlockDelta", {"delta": block}


@dataclass(slots=True)
class _Block:
    """What is known of one content block so far; it is opened by the first that it says."""

    index: int | None = None  # of its part
    part: ir.Part = field(default_factory=lambda: ir.Text(""))
    said: int = 0  # characters
    signature: str = ""
    citations: list[Json] = field(default_factory=list)


class StreamParser:
    """Events of a stream of Converse's events."""

    __slots__ = (
        "_blocks",
        "_calls",
        "_count",
        "_extra",
        "_has_begun",
        "_reason",
        "_said",
        "_usage",
        "_word",
        "is_done",
    )

    def __init__(self) -> None:
        self._blocks: dict[str, _Block] = {}
        self._count = 0
        self._calls = 0
        self._said = 0  # characters of the texts before the open one
        self._has_begun = False
        self._reason: ir.FinishReason | None = None
        self._word = ""
        self._extra: Json = {}
        self._usage: ir.Usage | None = None
        self.is_done = False

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        """Raises UpstreamRejected for an exception inside the stream."""
        raise_exception(frame)
        return self.feed_event(frame.event, loads(frame.data)) if frame.data else ()

    def finish(self) -> Iterator[ir.Event]:
        """Raises UpstreamGarbled for a stream that ended before the answer was complete."""
        if self._reason is None:
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        yield ir.Finish(self._reason, extra={"origin": ORIGIN, **self._extra} if self._extra else {})
        if self._usage is not None:
            yield self._usage

    def feed_event(self, name: str, event: Json) -> Iterable[ir.Event]:
        """Events of one event, whose name stands beside it."""
        if self._has_begun:
            return self._read(name, event)
        self._has_begun = True
        return (ir.Begin(), *self._read(name, event))

    def _read(self, name: str, event: Json) -> Iterable[ir.Event]:
        number = str(event.get("contentBlockIndex"))
        match name:
            case "contentBlockDelta" if isinstance(delta := event.get("delta"), dict):  # nearly every event
                return self._delta(self._block(number), delta)
            case "contentBlockStart" if isinstance(start := event.get("start"), dict):
                return self._start(self._block(number), start)
            case "contentBlockStop":
                return self._close(number)
            case "messageStop":
                last = [last for open_number in [*self._blocks] for last in self._close(open_number)]
                self._stop(event)
                return last
            case "metadata":
                self._usage = parse_usage(event.get("usage")) or self._usage
                if event.get("trace"):
                    self._extra["trace"] = event["trace"]
                self.is_done = self._reason is not None
        return ()

    def _stop(self, event: Json) -> None:
        self._word = str(event.get("stopReason") or "")
        self._reason = _REASONS.get(self._word, "stop")
        if self._reason == "tool_calls" and not self._calls:
            self._reason = "stop"  # what was called is the answer itself
        elif self._reason == "stop" and self._calls:
            self._reason = "tool_calls"
        if self._word not in ("end_turn", "tool_use", "max_tokens"):
            self._extra["stopReason"] = self._word
        if fields := event.get("additionalModelResponseFields"):
            self._extra["additionalModelResponseFields"] = fields

    # ---- blocks ----

    def _block(self, number: str) -> _Block:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = _Block()
        return block

    def _start(self, block: _Block, start: Json) -> Iterator[ir.Event]:
        match start:
            case {"toolUse": {"name": name}} if name == JSON_TOOL:
                yield from self._open(block, ir.Text(""))
            case {"toolUse": dict(call)} if call.get("type") != "server_tool_use":
                self._calls += 1
                yield from self._open(
                    block, ir.ToolCall(str(call.get("toolUseId") or ""), str(call.get("name") or ""), "")
                )
            case {"image": dict(image)}:
                yield from self._open(block, ir.Image(media_type=f"image/{image.get('format') or 'png'}"))

    def _open(self, block: _Block, part: ir.Part) -> Iterator[ir.Event]:
        block.index = self._count
        block.part = part
        self._count += 1
        yield ir.Open(block.index, part)

    def _delta(self, block: _Block, delta: Json) -> Iterator[ir.Event]:
        match delta:
            case {"text": str(text)} if text:
                yield from self._say(block, ir.Text(""), text)
            case {"toolUse": {"input": str(text)}} if text and block.index is not None:
                yield from self._say(block, block.part, text)
            case {"reasoningContent": {"text": str(text)}} if text:
                yield from self._say(block, ir.Reasoning(""), text)
            case {"reasoningContent": {"signature": str(signature)}}:
                if block.index is None:
                    yield from self._open(block, ir.Reasoning(""))
                block.signature += signature
            case {"reasoningContent": {"redactedContent": str(data)}}:
                yield from self._open(block, ir.Reasoning("", ir.Seal(ORIGIN, data), is_redacted=True))
            case {"citation": dict(citation)}:
                block.citations.append(citation)
            case {"image": {"source": {"bytes": str(data)}}} if data and block.index is not None:
                yield from self._say(block, block.part, data)

    def _say(self, block: _Block, part: ir.Part, text: str) -> Iterator[ir.Event]:
        if block.index is None:
            yield from self._open(block, part)
        assert block.index is not None
        block.said += len(text)
        yield ir.Delta(block.index, text)

    def _close(self, number: str) -> Iterator[ir.Event]:
        block = self._blocks.pop(number, None)
        if block is None or block.index is None:
            return
        match block.part:
            case ir.Text():
                if block.citations:
                    yield ir.Amend(block.index, _cited(block, self._said))
                self._said += block.said
            case ir.Reasoning() if block.signature:
                yield ir.Amend(block.index, ir.Reasoning("", ir.Seal(ORIGIN, block.signature)))
            case ir.ToolCall() if not block.said:
                yield ir.Delta(block.index, "{}")
        yield ir.Close(block.index)


def _cited(block: _Block, start: int) -> ir.Text:
    annotations = tuple(_annotation(citation, start, start + block.said) for citation in block.citations)
    return ir.Text("", annotations, {"origin": ORIGIN, "citations": block.citations})


def _annotation(citation: Json, start: int, end: int) -> ir.Extra:
    location = citation.get("location")
    web = location.get("web") if isinstance(location, dict) else None
    url = web.get("url") if isinstance(web, dict) else citation.get("source")
    pieces = citation.get("sourceContent")
    texts = [piece.get("text") for piece in pieces if isinstance(piece, dict)] if isinstance(pieces, list) else []
    where = {"start_index": start, "end_index": end, "title": str(citation.get("title") or ""), "url": str(url or "")}
    quoted = "".join(text for text in texts if isinstance(text, str))
    return {"type": "url_citation", "url_citation": {**where, "content": quoted}}


def parse_usage(block: Any) -> ir.Usage | None:
    """The usage a block tells; None where it tells nothing."""
    if not isinstance(block, dict):
        return None
    given, made = _read(block, "inputTokens"), _read(block, "outputTokens")
    cached, written = _read(block, "cacheReadInputTokens"), _read(block, "cacheWriteInputTokens")
    total = (given or 0) + (cached or 0) + (written or 0)
    if not total and not made:
        return None
    details = block.get("cacheDetails")
    rows = [row for row in details if isinstance(row, dict)] if isinstance(details, list) else []
    hour = sum(_read(row, "inputTokens") or 0 for row in rows if row.get("ttl") == "1h") if rows else None
    return ir.Usage(
        input_tokens=total,
        output_tokens=made or 0,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        raw=block,
    )


def _read(block: Json, name: str) -> int | None:
    value = block.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15 else None
