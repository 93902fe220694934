"""The answer of Gemini's generateContent, whole and as a stream, both ways.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse (read 2026-11-25), and recorded
answers of Google AI Studio and Vertex AI. A whole answer is read as a stream of one chunk, so that the two readings
cannot differ. A function call comes whole; text and thoughts come bit by bit, usage as a running total.

What a candidate says beyond parts and reason (safety ratings, grounding metadata as it came…) is in its `extra`.
Grounding is told as OpenAI's `url_citation` annotations as well. A finish reason that only Gemini has (a malformed
call, say) is told as `stop`, with Gemini's word in `extra`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Json, Rendering
from oneapi.relay.framing import Frame
from oneapi.relay.protocols.gemini_error import error_in
from oneapi.relay.protocols.gemini_parts import (
    ORIGIN,
    own,
    parse_part,
    render_call,
    render_media,
    tagged,
)
from oneapi.relay.protocols.provider_json import dumps, loads

_REASONS: Mapping[str, ir.FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
            "MODEL_ARMOR",
        ),
        "content_filter",
    ),
}
_PLAIN_REASONS = ("STOP", "MAX_TOKENS", "SAFETY")  # those that a reason of ours is told as
_ANSWER_FIELDS = ("candidates", "usageMetadata", "modelVersion", "responseId", "createTime", "promptFeedback")
_CANDIDATE_FIELDS = ("content", "index", "finishReason", "logprobsResult", "avgLogprobs")
_PLAIN_FIELDS = frozenset({"content", "index", "logprobsResult", "avgLogprobs"})  # with nothing else to be read
_MAX_CITED_CHARACTERS = 65_536  # of a text kept for the places of citations; beyond it they have none


# ---- the upstream half ----


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for a blocked prompt, UpstreamGarbled for an answer without candidates."""
    parser = StreamParser()
    events = parser.feed_chunk(body)
    parser.is_done = True
    return ir.collect([*events, *parser.finish()])


def parse_usage(block: object) -> ir.Usage | None:
    """The usage of `usageMetadata`; None where it counts nothing yet."""
    if not isinstance(block, dict):
        return None
    prompt = _count(block, "promptTokenCount") + _count(block, "toolUsePromptTokenCount")
    thoughts = _count(block, "thoughtsTokenCount")
    output = _count(block, "candidatesTokenCount") + thoughts
    if "candidatesTokenCount" not in block:  # a stream that was filtered may end without it
        output = max(output, _count(block, "totalTokenCount") - prompt)
    if not prompt and not output:
        return None
    return ir.Usage(
        input_tokens=prompt,
        output_tokens=output,
        cached_tokens=_known(block, "cachedContentTokenCount"),
        reasoning_tokens=_known(block, "thoughtsTokenCount"),
        audio_input_tokens=_of_modality(block, "promptTokensDetails", "AUDIO"),
        audio_output_tokens=_of_modality(block, "candidatesTokensDetails", "AUDIO"),
        image_input_tokens=_of_modality(block, "promptTokensDetails", "IMAGE"),
        image_output_tokens=_of_modality(block, "candidatesTokensDetails", "IMAGE"),
        raw=block,
    )


def _count(block: Mapping[str, Any], name: str) -> int:
    value = block.get(name)
    return value if type(value) is int and value > 0 else 0


def _known(block: Mapping[str, Any], name: str) -> int | None:
    return _count(block, name) if name in block else None


def _of_modality(block: Mapping[str, Any], name: str, modality: str) -> int | None:
    details = block.get(name)
    counts = [
        _count(row, "tokenCount")
        for row in (details if isinstance(details, list) else ())
        if isinstance(row, dict) and row.get("modality") == modality
    ]
    return sum(counts) if counts else None


@dataclass(slots=True)
class _Candidate:
    """What is known of one candidate so far."""

    count: int = 0  # parts that were opened
    current: tuple[str, int] | None = None  # kind and index of the part that is open
    has_calls: bool = False
    text: int | None = None  # index of the last text
    said: list[str] = field(default_factory=list)  # its pieces, for the places of citations
    characters: int = 0
    annotations: tuple[ir.Extra, ...] = ()
    logprobs: ir.Extra | None = None  # waiting for the next Delta
    extra: Json = field(default_factory=dict)
    is_finished: bool = False


class StreamParser:
    """Events of a stream of partial answers."""

    __slots__ = ("_candidates", "_events", "_has_begun", "_searches", "_usage", "is_done")

    def __init__(self) -> None:
        self._candidates: dict[int, _Candidate] = {}
        self._events: list[ir.Event] = []  # of the chunk that is being read
        self._has_begun = False
        self._usage: Json = {}
        self._searches = 0
        self.is_done = False  # Gemini says no last word: an answer ends with its body

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        data = frame.data.strip()
        return self.feed_chunk(loads(data)) if data else ()

    def finish(self) -> Iterable[ir.Event]:
        """Raises UpstreamGarbled for a stream that ended before its candidates were finished."""
        unfinished = [number for number, candidate in self._candidates.items() if not candidate.is_finished]
        if not self._candidates or (unfinished and not self.is_done):
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        for number in unfinished:
            self._finish(number, self._candidates[number], "STOP")
        if (usage := parse_usage(self._usage)) is not None:
            self._events.append(replace(usage, units={"searches": self._searches}) if self._searches else usage)
        return self._taken()

    def feed_chunk(self, chunk: Json) -> list[ir.Event]:
        """Events of one chunk that is JSON already; a whole answer is one, too."""
        if "error" in chunk and (error := error_in(chunk)) is not None:
            raise error
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict) and ("promptTokenCount" in usage or "candidatesTokenCount" in usage):
            self._usage = usage
        candidates = chunk.get("candidates")
        candidates = candidates if isinstance(candidates, list) else []
        if not candidates and not self._candidates and (blocked := _blocked(chunk)) is not None:
            raise blocked
        if candidates and not self._has_begun:
            self._has_begun = True
            self._events.append(
                ir.Begin(
                    str(chunk.get("responseId") or ""),
                    str(chunk.get("modelVersion") or ""),
                    _unix_time(chunk.get("createTime")),
                    tagged({name: value for name, value in chunk.items() if name not in _ANSWER_FIELDS}),
                )
            )
        for position, item in enumerate(candidates):
            if isinstance(item, dict):
                index = item.get("index")
                self._read_candidate(index if isinstance(index, int) else position, item)
        return self._taken()

    def _taken(self) -> list[ir.Event]:
        events, self._events = self._events, []
        return events

    def _read_candidate(self, number: int, item: Json) -> None:
        candidate = self._candidates.get(number)
        if candidate is None:
            candidate = self._candidates[number] = _Candidate()
        if (logprobs := _logprobs(item.get("logprobsResult"))) is not None:
            candidate.logprobs = logprobs
        content = item.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                self._read_part(number, candidate, part)
        if item.keys() <= _PLAIN_FIELDS:
            return
        candidate.extra |= {name: value for name, value in item.items() if name not in _CANDIDATE_FIELDS}
        self._cite(number, candidate, item)
        reason = item.get("finishReason")
        if reason and reason != "FINISH_REASON_UNSPECIFIED" and not candidate.is_finished:
            self._finish(number, candidate, str(reason))

    def _finish(self, number: int, candidate: _Candidate, word: str) -> None:
        self._close(number, candidate)
        candidate.is_finished = True
        reason = _REASONS.get(word, "stop")
        if reason == "stop" and candidate.has_calls:
            reason = "tool_calls"
        if word not in _PLAIN_REASONS:
            candidate.extra["finishReason"] = word
        self._events.append(ir.Finish(reason, number, candidate.logprobs, tagged(candidate.extra)))
        candidate.logprobs = None

    # ---- parts ----

    def _read_part(self, number: int, candidate: _Candidate, part: Json) -> None:
        text = part.get("text")
        kind = "text" if len(part) == 1 else "thought" if len(part) == 2 and part.get("thought") is True else ""
        if kind and isinstance(text, str):  # nearly every part of a stream
            if text:
                self._say(number, candidate, kind, text)
            return
        for piece in parse_part(part):
            match piece:
                case ir.Text(extra=extra) if not extra:
                    self._say(number, candidate, "text", piece.text)
                case ir.Reasoning(is_redacted=False):
                    self._say(number, candidate, "thought", piece.text)
                    if piece.seal is not None and candidate.current is not None:
                        self._events.append(ir.Amend(candidate.current[1], replace(piece, text=""), number))
                        self._close(number, candidate)
                case ir.ToolResult():
                    pass  # a model gives none
                case _:
                    candidate.has_calls |= isinstance(piece, ir.ToolCall)
                    self._add_whole(number, candidate, piece)

    def _say(self, number: int, candidate: _Candidate, kind: str, text: str) -> None:
        """More of a part that may come bit by bit."""
        if candidate.current is None or candidate.current[0] != kind:
            self._close(number, candidate)
            index = candidate.count
            candidate.current = (kind, index)
            candidate.count += 1
            if kind == "text":
                candidate.text, candidate.annotations = index, ()
                candidate.said, candidate.characters = [], 0
            self._events.append(ir.Open(index, ir.Text("") if kind == "text" else ir.Reasoning(""), number))
        if not text:
            return
        self._events.append(ir.Delta(candidate.current[1], text, number, candidate.logprobs))
        candidate.logprobs = None
        if kind == "text":
            candidate.characters += len(text)
            if candidate.characters <= _MAX_CITED_CHARACTERS:
                candidate.said.append(text)
            else:
                candidate.said.clear()

    def _add_whole(self, number: int, candidate: _Candidate, piece: ir.Part) -> None:
        self._close(number, candidate)
        index = candidate.count
        candidate.count += 1
        self._events.append(ir.Open(index, ir.emptied(piece), number))
        if text := ir.content(piece):
            self._events.append(ir.Delta(index, text, number))
        self._events.append(ir.Close(index, number))

    def _close(self, number: int, candidate: _Candidate) -> None:
        if candidate.current is not None:
            self._events.append(ir.Close(candidate.current[1], number))
            candidate.current = None

    # ---- citations ----

    def _cite(self, number: int, candidate: _Candidate, item: Json) -> None:
        grounding, citations = item.get("groundingMetadata"), item.get("citationMetadata")
        if not grounding and not citations:
            return
        if isinstance(grounding, dict) and isinstance(queries := grounding.get("webSearchQueries"), list):
            self._searches = max(self._searches, len(queries))
        more = tuple(_annotations(grounding, citations, "".join(candidate.said)))
        if not more:
            return
        if candidate.text is None:
            self._say(number, candidate, "text", "")
        assert candidate.text is not None
        known = candidate.annotations
        candidate.annotations = (*known, *(annotation for annotation in more if annotation not in known))
        self._events.append(ir.Amend(candidate.text, ir.Text("", candidate.annotations), number))


def _annotations(grounding: Any, citations: Any, said: str) -> Iterator[ir.Extra]:
    """Grounding as OpenAI's annotations, one for each source of each stretch of text."""
    grounding = grounding if isinstance(grounding, dict) else {}
    chunks = _dicts(grounding.get("groundingChunks"))
    for support in _dicts(grounding.get("groundingSupports")):
        segment = support.get("segment")
        indices = support.get("groundingChunkIndices")
        for index in indices if isinstance(indices, list) else ():
            if isinstance(index, int) and 0 <= index < len(chunks):
                yield _citation(chunks[index], segment if isinstance(segment, dict) else {}, said)
    sources = citations.get("citations") or citations.get("citationSources") if isinstance(citations, dict) else None
    for source in _dicts(sources):
        yield _citation({"web": source}, source, said)


def _citation(chunk: Json, segment: Mapping[str, Any], said: str) -> ir.Extra:
    source = next((inner for inner in chunk.values() if isinstance(inner, dict)), {})
    citation: Json = {"url": str(source.get("uri") or ""), "title": str(source.get("title") or "")}
    if not citation["url"] and (store := source.get("fileSearchStore") or source.get("documentName")):
        citation["url"] = str(store)
    if said:
        citation["start_index"] = _character(said, segment.get("startIndex"))
        citation["end_index"] = _character(said, segment.get("endIndex"))
    return {"type": "url_citation", "url_citation": citation}


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _character(text: str, at_byte: Any) -> int:
    """Gemini counts bytes, OpenAI characters."""
    at = at_byte if isinstance(at_byte, int) else 0
    return at if text.isascii() else len(text.encode("utf-8", "replace")[:at].decode("utf-8", "ignore"))


# ---- the rest of an answer ----


def _blocked(chunk: Json) -> UpstreamRejected | None:
    """The refusal of a prompt: there is no candidate then, and the status is 200."""
    feedback = chunk.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not reason:
        return None
    said = feedback.get("blockReasonMessage") if isinstance(feedback, dict) else None
    return UpstreamRejected(
        str(said or f"Gemini blocked the prompt: {reason}."),
        upstream_status=400,
        provider_type=str(reason),
        provider_code="content_filter",
        is_credential=False,
    )


def _unix_time(text: Any) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp()) if isinstance(text, str) else 0
    except ValueError:
        return 0


def _logprobs(result: Any) -> ir.Extra | None:
    """Gemini's log probabilities in OpenAI's shape."""
    if not isinstance(result, dict):
        return None
    chosen = _dicts(result.get("chosenCandidates"))
    rows = _dicts(result.get("topCandidates"))
    content = []
    for at, token in enumerate(chosen):
        others = _dicts(rows[at].get("candidates")) if at < len(rows) else []
        content.append({**_token(token), "top_logprobs": [_token(other) for other in others]})
    return {"content": content} if content else None


def _token(value: Json) -> Json:
    token = str(value.get("token") or "")
    return {
        "token": token,
        "logprob": value.get("logProbability", 0.0),
        "bytes": list(token.encode("utf-8", "replace")),
    }


# ---- the client half ----


def render_response(response: ir.ChatResponse, rendering: Rendering) -> Json:
    candidates = []
    for number, choice in enumerate(response.choices):
        parts = [made for part in choice.parts for made in _render_part(part)]
        candidate: Json = {"content": {"role": "model", "parts": parts}, **_ending(number, choice.parts, choice.extra)}
        candidate["finishReason"] = _word(choice.finish_reason or "stop", choice.extra)
        candidates.append(candidate)
    body: Json = {"candidates": candidates, **_frame(response.id, response.model, rendering)}
    if response.usage is not None:
        body["usageMetadata"] = render_usage(response.usage)
    return body


def _frame(answer_id: str, model: str, rendering: Rendering) -> Json:
    return {"modelVersion": model or rendering.model, "responseId": answer_id or rendering.id}


def _ending(number: int, parts: Iterable[ir.Part], extra: ir.Extra) -> Json:
    """What stands beside a candidate's content."""
    rest: Json = {"index": number, **own(extra)}
    sources = [a for part in parts if isinstance(part, ir.Text) for a in part.annotations]
    if sources and "groundingMetadata" not in rest and "citationMetadata" not in rest:
        rest["groundingMetadata"] = {"groundingChunks": [_chunk(annotation) for annotation in sources]}
    return rest


def _chunk(annotation: ir.Extra) -> Json:
    source = annotation.get("url_citation")
    source = source if isinstance(source, dict) else {}
    return {"web": {"uri": source.get("url") or "", "title": source.get("title") or ""}}


def _word(reason: ir.FinishReason, extra: ir.Extra) -> str:
    said = own(extra).get("finishReason")
    if isinstance(said, str):
        return said
    return {"length": "MAX_TOKENS", "content_filter": "SAFETY"}.get(reason, "STOP")


def _render_part(part: ir.Part) -> Iterator[Json]:
    match part:
        case ir.Text():
            whole = own(part.extra).get("part")
            yield dict(whole) if whole is not None else {"text": part.text, **own(part.extra)}
        case ir.Reasoning():
            made: Json = {"text": part.text} if part.is_redacted else {"text": part.text, "thought": True}
            if part.seal is not None and part.seal.origin == ORIGIN:
                made["thoughtSignature"] = part.seal.value
            if part.text or "thoughtSignature" in made:
                yield made
        case ir.Refusal():
            yield {"text": part.text}
        case ir.ToolCall():
            yield render_call(part)
        case ir.Image() | ir.Audio() | ir.File():
            yield render_media(part)


def render_usage(usage: ir.Usage) -> Json:
    block: Json = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, usage.output_tokens - (usage.reasoning_tokens or 0)),
        "totalTokenCount": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        block["cachedContentTokenCount"] = usage.cached_tokens
    if usage.reasoning_tokens is not None:
        block["thoughtsTokenCount"] = usage.reasoning_tokens
    return block


class StreamRenderer:
    """Partial answers, event by event; the one with the reasons and the usage is the last, and waits in `finish`."""

    __slots__ = ("_begin", "_endings", "_held", "_rendering", "_usage")

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._begin = ir.Begin()
        self._held: dict[tuple[int, int], ir.Part] = {}  # open parts; those that must come whole grow here
        self._endings: list[Json] = []
        self._usage: ir.Usage | None = None

    def feed(self, event: ir.Event) -> Iterable[bytes]:
        match event:
            case ir.Begin():
                self._begin = event
            case ir.Open():
                self._held[event.choice, event.index] = event.part
                if isinstance(event.part, ir.Text | ir.Reasoning | ir.Refusal) and event.part.text:
                    return self.feed(ir.Delta(event.index, event.part.text, event.choice))
            case ir.Delta():
                return self._delta(event)
            case ir.Amend():
                return self._amended(event)
            case ir.Close():
                return self._closed(event)
            case ir.Finish():
                self._finished(event)
            case ir.Usage():
                self._usage = event
        return ()

    def finish(self) -> bytes:
        usage = {} if self._usage is None else {"usageMetadata": render_usage(self._usage)}
        return self._bytes({"candidates": self._endings, **usage})

    def _delta(self, event: ir.Delta) -> Iterable[bytes]:
        key = event.choice, event.index
        match self._held.get(key):
            case ir.Text(extra=extra) as part if "part" in own(extra):
                self._held[key] = ir.grown(part, event.text)
            case ir.Text() | ir.Refusal():
                return (self._chunk(event.choice, {"text": event.text}),)
            case ir.Reasoning():
                return (self._chunk(event.choice, {"text": event.text, "thought": True}),)
            case ir.ToolCall() | ir.Image() | ir.Audio() | ir.File() as part:
                self._held[key] = ir.grown(part, event.text)
        return ()

    def _amended(self, event: ir.Amend) -> Iterable[bytes]:
        key = event.choice, event.index
        match event.part:
            case ir.Text(annotations=annotations) if annotations:
                known = self._held.get(key)
                extra = known.extra if isinstance(known, ir.Text) else event.part.extra
                self._held[key] = ir.Text("", annotations, extra)
            case ir.Reasoning():
                self._held[key] = event.part
        return ()

    def _closed(self, event: ir.Close) -> Iterable[bytes]:
        key = event.choice, event.index
        part = self._held.get(key)
        if isinstance(part, ir.Text) and "part" not in own(part.extra):
            return ()  # all of it was said; its annotations may yet come
        self._held.pop(key, None)
        if part is None or isinstance(part, ir.Refusal):
            return ()
        if isinstance(part, ir.Reasoning):
            part = replace(part, text="")
        return tuple(self._chunk(event.choice, made) for made in _render_part(part))

    def _finished(self, event: ir.Finish) -> None:
        texts = [part for (choice, _), part in self._held.items() if choice == event.choice]
        ending = {"content": {"role": "model", "parts": []}, **_ending(event.choice, texts, event.extra)}
        self._endings.append({**ending, "finishReason": _word(event.reason, event.extra)})

    def _chunk(self, choice: int, part: Json) -> bytes:
        return self._bytes({"candidates": [{"content": {"role": "model", "parts": [part]}, "index": choice}]})

    def _bytes(self, body: Json) -> bytes:
        return b"data: " + dumps({**body, **_frame(self._begin.id, self._begin.model, self._rendering)}) + b"\r\n\r\n"
