"""The answer of OpenAI's chat completions, whole and as a stream, both ways.

Source: https://platform.openai.com/docs/api-reference/chat/object and /chat-streaming (read 2026-11-25), and what the
services that copy it were recorded to send. A whole answer is read as a stream of one chunk, so that the two readings
cannot differ.

Of an answer's own fields the first chunk's are kept; a choice's until it finishes. Pictures that a model makes stand in
`images`, as OpenRouter has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Json, Rendering
from oneapi.relay.framing import Frame
from oneapi.relay.protocols.openai_chat_parts import (
    as_text,
    calls_in,
    detail_entries,
    detail_text,
    extra_of,
    own,
    parse_call,
    parse_detail,
    parse_image,
    reasoning_text,
    render_call,
    render_detail,
    render_image,
    render_reasoning,
    thinking_text,
)
from oneapi.relay.protocols.openai_usage import parse_usage, render_usage
from oneapi.relay.protocols.provider_error import error_in
from oneapi.relay.protocols.provider_json import dumps, loads

_REASONS: Mapping[str, ir.FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
}
_ANSWER_FIELDS = ("id", "model", "created", "object", "choices", "usage")
_CHOICE_FIELDS = ("index", "delta", "message", "finish_reason", "logprobs", "usage", "text")


# ---- the upstream half ----


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without choices."""
    choices = body.get("choices")
    if isinstance(choices, list):
        # Perplexity has an empty delta beside the message.
        said = [
            {**choice, "delta": choice.get("message") or choice.get("delta")}
            for choice in choices
            if isinstance(choice, dict)
        ]
        body = {**body, "choices": said}
    parser = StreamParser()
    events = [*parser.feed_chunk(body)]
    parser.is_done = True
    return ir.collect([*events, *parser.finish()])


@dataclass(slots=True)
class _Choice:
    """What is known of one choice so far."""

    count: int = 0  # parts that were opened
    current: tuple[str, int] | None = None  # kind and index of the part that is open
    last_text: int | None = None
    annotations: tuple[ir.Extra, ...] = ()
    audio: ir.Audio | None = None
    detail: Json = field(default_factory=dict)  # the entry of reasoning_details that is open, but for its text
    calls: dict[int | str, int] = field(default_factory=dict)  # stream index or id → part index
    call_ids: dict[int, str] = field(default_factory=dict)  # part index → id
    logprobs: Json = field(default_factory=dict)  # waiting for the next Delta
    extra: Json = field(default_factory=dict)
    reason: ir.FinishReason | None = None


class StreamParser:
    """Events of a stream of chunks."""

    __slots__ = ("_choices", "_has_begun", "_usage", "is_done")

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._has_begun = False
        self._usage: ir.Usage | None = None
        self.is_done = False

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        data = frame.data.strip()
        if not data:
            return ()
        if data[:6] == b"[DONE]":
            self.is_done = True
            return ()
        return self.feed_chunk(loads(data))

    def finish(self) -> Iterator[ir.Event]:
        """Raises UpstreamGarbled for a stream that ended before any choice was finished."""
        unfinished = [number for number, choice in self._choices.items() if choice.reason is None]
        if not self._choices or (unfinished and not self.is_done):
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        for number in unfinished:
            yield from self._finished(number, self._choices[number], "stop")
        if self._usage is not None:
            yield self._usage

    def feed_chunk(self, chunk: Json) -> Iterable[ir.Event]:
        """Events of one chunk that is JSON already; a whole answer is one, too."""
        more = self.more_of(chunk)
        return self._read(chunk) if more is None else (more,)

    def more_of(self, chunk: Json) -> ir.Delta | None:
        """The event of a chunk that merely goes on with what was said last; None for any other."""
        name, value = _said_alone(chunk)
        if isinstance(value, str):
            return self._continued(value, _KINDS.get(name, ""))
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            if name == "tool_calls":
                return self._continued_call(value[0])
            if name == "content":
                return self._continued(*_content_piece(value[0]))
        return None

    def _read(self, chunk: Json) -> Iterator[ir.Event]:
        choices = chunk.get("choices")
        if (chunk.get("error") or not isinstance(choices, list)) and (error := error_in(chunk)) is not None:
            raise error
        choices = choices if isinstance(choices, list) else []
        self._usage = parse_usage(chunk.get("usage")) or self._usage
        if isinstance(groq := chunk.get("x_groq"), dict):
            self._usage = self._usage or parse_usage(groq.get("usage"))
        if not self._has_begun and choices:
            self._has_begun = True
            created = chunk.get("created")
            yield ir.Begin(
                str(chunk.get("id") or ""),
                str(chunk.get("model") or ""),
                created if isinstance(created, int) else 0,
                extra_of({name: value for name, value in chunk.items() if value is not None}, _ANSWER_FIELDS),
            )
        for position, choice in enumerate(choices):
            if isinstance(choice, dict):
                index = choice.get("index")
                number = index if isinstance(index, int) else position
                yield from self._feed_choice(number, choice)

    def _continued(self, text: str, kind: str) -> ir.Delta | None:
        """More of the first choice's text, or reasoning, where that is what was said last; None where it is not."""
        choice = self._choices.get(0)
        if not text or choice is None or choice.current is None or choice.current[0] != kind or choice.logprobs:
            return None
        return ir.Delta(choice.current[1], text)

    def _continued_call(self, call: Json) -> ir.Delta | None:
        """More of the arguments of a call that the first choice has begun; None where the piece says anything else."""
        choice, function = self._choices.get(0), call.get("function")
        text = function.get("arguments") if isinstance(function, dict) and "custom" not in call else None
        if choice is None or not isinstance(text, str) or not text:
            return None
        name, place = call.get("id"), call.get("index")
        if name:
            index = choice.calls.get(name) if isinstance(name, str) else None
        else:
            index = choice.calls.get(place) if isinstance(place, int) else None
        return None if index is None else ir.Delta(index, text)

    def _feed_choice(self, number: int, chunk: Json) -> Iterator[ir.Event]:
        choice = self._choices.setdefault(number, _Choice())
        self._usage = parse_usage(chunk.get("usage")) or self._usage  # Moonshot's place for it
        for name, value in chunk.items():
            if name not in _CHOICE_FIELDS and value is not None:
                choice.extra[name] = value
        if isinstance(logprobs := chunk.get("logprobs"), dict):
            _add_logprobs(choice.logprobs, logprobs)
        delta = chunk.get("delta")
        if not isinstance(delta, dict) and not choice.count:
            delta = chunk.get("message")  # MiniMax ends with a whole message after its deltas
        if isinstance(delta, dict):
            yield from self._feed_delta(number, choice, delta)
        reason = chunk.get("finish_reason")
        if isinstance(reason, str) and reason and choice.reason is None:
            yield from self._finished(number, choice, reason)

    def _finished(self, number: int, choice: _Choice, word: str) -> Iterator[ir.Event]:
        yield from self._close(number, choice)
        reason = _REASONS.get(word, "stop")
        if reason == "stop" and choice.call_ids:
            reason = "tool_calls"  # some services say stop where tools are called
        choice.reason = reason
        if word != reason:
            choice.extra["finish_reason"] = word
        yield ir.Finish(reason, number, choice.logprobs or None, extra_of(choice.extra, ()))
        choice.logprobs = {}

    # ---- parts ----

    def _feed_delta(self, number: int, choice: _Choice, delta: Json) -> Iterator[ir.Event]:
        yield from self._reasoning(number, choice, delta)
        match delta.get("content"):
            case str(text):
                yield from self._say(number, choice, "text", text)
            case list(pieces):  # Mistral
                for piece in pieces:
                    if isinstance(piece, dict):
                        said, kind = _content_piece(piece)
                        yield from self._say(number, choice, kind, said)
            case dict(value):  # Cloudflare's answer to a JSON schema
                yield from self._say(number, choice, "text", as_text(value))
        if isinstance(refusal := delta.get("refusal"), str):
            yield from self._say(number, choice, "refusal", refusal)
        if isinstance(annotations := delta.get("annotations"), list) and annotations:
            yield from self._annotate(number, choice, annotations)
        if isinstance(audio := delta.get("audio"), dict):
            yield from self._sound(number, choice, audio)
        images = delta.get("images")
        for image in images if isinstance(images, list) else ():
            yield from self._picture(number, choice, image)
        for call in calls_in(delta):
            yield from self._call(number, choice, call)
        if isinstance(old := delta.get("function_call"), dict):
            yield from self._call(number, choice, {"index": 0, "function": old})

    def _say(self, number: int, choice: _Choice, kind: str, text: str) -> Iterator[ir.Event]:
        if not text:
            return
        if choice.current is None or choice.current[0] != kind:
            yield from self._open(number, choice, kind, _EMPTY[kind])
            if kind == "text":
                choice.last_text = choice.count - 1
        assert choice.current is not None
        yield ir.Delta(choice.current[1], text, number, choice.logprobs or None)
        choice.logprobs = {}

    def _open(self, number: int, choice: _Choice, kind: str, part: ir.Part) -> Iterator[ir.Event]:
        yield from self._close(number, choice)
        choice.current = (kind, choice.count)
        choice.count += 1
        yield ir.Open(choice.current[1], part, number)

    def _close(self, number: int, choice: _Choice) -> Iterator[ir.Event]:
        if choice.current is None:
            return
        kind, index = choice.current
        choice.current = None
        if kind.startswith("detail"):
            yield ir.Amend(index, parse_detail(choice.detail, ""), number)
        yield ir.Close(index, number)

    def _reasoning(self, number: int, choice: _Choice, delta: Json) -> Iterator[ir.Event]:
        entries = detail_entries(delta)
        if not any(detail_text(entry) for entry in entries):
            yield from self._say(number, choice, "reasoning", reasoning_text(delta))
        for entry in entries:
            # Pieces of one entry share its type and index.
            kind = f"detail {entry.get('type')} {entry.get('index', choice.count)}"
            if choice.current is None or choice.current[0] != kind:
                if choice.current is not None and choice.current[0] == "reasoning" and _is_seal_alone(entry):
                    choice.current = (kind, choice.current[1])  # the seal of what was just said
                else:
                    yield from self._open(number, choice, kind, ir.Reasoning(""))
                choice.detail = {}
            choice.detail |= {
                name: value for name, value in entry.items() if name not in ("text", "summary") and value is not None
            }
            if text := detail_text(entry):
                assert choice.current is not None
                yield ir.Delta(choice.current[1], text, number)

    def _annotate(self, number: int, choice: _Choice, annotations: list[Any]) -> Iterator[ir.Event]:
        if choice.last_text is None:
            yield from self._open(number, choice, "text", ir.Text(""))
            choice.last_text = choice.count - 1
        choice.annotations += tuple(annotations)
        yield ir.Amend(choice.last_text, ir.Text("", choice.annotations), number)

    def _sound(self, number: int, choice: _Choice, audio: Json) -> Iterator[ir.Event]:
        before = choice.audio or ir.Audio()
        expires_at = audio.get("expires_at")
        known = replace(
            before,
            id=str(audio.get("id") or before.id),
            transcript=before.transcript + str(audio.get("transcript") or ""),
            expires_at=expires_at if isinstance(expires_at, int) else before.expires_at,
        )
        if choice.current is None or choice.current[0] != "audio":
            yield from self._open(number, choice, "audio", known)
        elif known != before:
            yield ir.Amend(choice.current[1], known, number)
        choice.audio = known
        assert choice.current is not None
        if isinstance(data := audio.get("data"), str) and data:
            yield ir.Delta(choice.current[1], data, number)

    def _picture(self, number: int, choice: _Choice, image: Any) -> Iterator[ir.Event]:
        where = image.get("image_url") if isinstance(image, dict) else None
        url = where.get("url") if isinstance(where, dict) else where
        if not isinstance(url, str):
            return
        picture = parse_image(url)
        yield from self._open(number, choice, "image", ir.emptied(picture))
        assert choice.current is not None
        if picture.data:
            yield ir.Delta(choice.current[1], picture.data, number)
        yield from self._close(number, choice)

    def _call(self, number: int, choice: _Choice, value: Json) -> Iterator[ir.Event]:
        call = parse_call(value)
        index = self._known_call(choice, value, call)
        if index is None:
            yield from self._open(number, choice, "call", replace(call, arguments=""))
            index = choice.count - 1
            choice.call_ids[index] = call.id
            if isinstance(place := value.get("index"), int):
                choice.calls[place] = index
            if call.id:
                choice.calls[call.id] = index
        if call.arguments:
            yield ir.Delta(index, call.arguments, number)

    def _known_call(self, choice: _Choice, value: Json, call: ir.ToolCall) -> int | None:
        """The part this piece goes on with; None for a new call.

        By OpenAI's rule calls differ by `index`; some services give none, others the same to calls of different ids.
        """
        if call.id and call.id in choice.calls:
            return choice.calls[call.id]
        place = value.get("index")
        if isinstance(place, int):
            index = choice.calls.get(place)
            is_other = index is not None and call.id and call.name and choice.call_ids[index] not in ("", call.id)
            return None if is_other else index
        if call.id or call.name or not choice.call_ids:
            return None
        return max(choice.call_ids)


_EMPTY: Mapping[str, ir.Part] = {
    "text": ir.Text(""),
    "reasoning": ir.Reasoning(""),
    "refusal": ir.Refusal(""),
}


_PLAIN_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs"})
_KINDS: Mapping[str, str] = {"content": "text", "reasoning_content": "reasoning", "reasoning": "reasoning"}


def _said_alone(chunk: Json) -> tuple[str, Any]:
    """Name and value of the one field that a chunk's first choice says, where nothing else is said.

    Nearly every chunk of a stream is of this kind. For any other the name is blank: it goes the long way, which takes
    five times as long, and gives the same for these.
    """
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"].items()
    except (KeyError, TypeError, ValueError, AttributeError):
        return "", None
    if (
        chunk.get("error")
        or chunk.get("usage")
        or "x_groq" in chunk
        or choice.get("index") not in (0, None)
        or choice.get("finish_reason")
        or choice.get("logprobs")
        or not choice.keys() <= _PLAIN_CHOICE
    ):
        return "", None
    said = ""
    for name, value in delta:
        if name == "role" or not (value or isinstance(value, dict)):
            continue
        if said:
            return "", None
        said, told = name, value
    return (said, told) if said else ("", None)


def _content_piece(piece: Json) -> tuple[str, str]:
    """Text and kind of one piece where the content is a list."""
    if piece.get("type") == "thinking":
        return thinking_text(piece), "reasoning"
    return as_text(piece.get("text")), "text"


def _is_seal_alone(detail: Json) -> bool:
    return detail.get("type") == "reasoning.text" and not detail_text(detail)


def _add_logprobs(lists: Json, more: Json) -> None:
    for name, items in more.items():
        if isinstance(items, list):
            lists.setdefault(name, []).extend(items)


# ---- the client half ----


def render_response(response: ir.ChatResponse, rendering: Rendering) -> Json:
    body: Json = {
        "id": response.id or rendering.id,
        "object": "chat.completion",
        "created": response.created_at or rendering.created_at,
        "model": response.model or rendering.model,
        "choices": [_render_choice(number, choice, rendering.id) for number, choice in enumerate(response.choices)],
        **own(response.extra),
    }
    if response.usage is not None:
        body["usage"] = render_usage(response.usage)
    return body


def _render_choice(number: int, choice: ir.Choice, answer_id: str) -> Json:
    parts = choice.parts
    texts = [part for part in parts if isinstance(part, ir.Text)]
    message: Json = {"role": "assistant", "content": "".join(text.text for text in texts) if texts else None}
    message |= render_reasoning(part for part in parts if isinstance(part, ir.Reasoning))
    refusal = "".join(part.text for part in parts if isinstance(part, ir.Refusal))
    message["refusal"] = refusal or None
    if annotations := [annotation for text in texts for annotation in text.annotations]:
        message["annotations"] = annotations
    for part in parts:
        if isinstance(part, ir.Audio):
            message["audio"] = _render_audio(part)
    if images := [render_image(part) for part in parts if isinstance(part, ir.Image)]:
        message["images"] = images
    if calls := [part for part in parts if isinstance(part, ir.ToolCall)]:
        message["tool_calls"] = [
            render_call(call, call.id or _call_id(answer_id, number, at)) for at, call in enumerate(calls)
        ]
    return {
        "index": number,
        "message": message,
        "logprobs": choice.logprobs,
        **own(choice.extra),
        "finish_reason": choice.finish_reason or "stop",
    }


def _render_audio(audio: ir.Audio) -> Json:
    fields = {
        "id": audio.id,
        "data": audio.data,
        "transcript": audio.transcript,
        "expires_at": audio.expires_at,
    }
    return {name: value for name, value in fields.items() if value}


def _call_id(answer_id: str, choice: int, place: int) -> str:
    """An id for a call that its provider gave none. It differs within the conversation, as results are paired by it,
    and stays below the 40 characters that OpenAI takes."""
    return f"call_{answer_id[-24:]}_{choice}_{place}"


@dataclass(slots=True)
class _Line:
    """What a renderer must remember of one choice."""

    has_role: bool = False
    calls: int = 0  # tool calls so far
    details: int = 0  # entries of reasoning_details so far


class StreamRenderer:
    """Chunks, event by event; `finish` gives the usage chunk, where it is wanted, and [DONE]."""

    __slots__ = ("_around", "_head", "_lines", "_open", "_places", "_rendering", "_usage")

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._head = b""
        # (choice, part) → what stands in each of its chunks before the text of a Delta, and what behind it
        self._around: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self._lines: dict[int, _Line] = {}
        self._open: dict[tuple[int, int], ir.Part] = {}
        self._places: dict[tuple[int, int], int] = {}  # (choice, part) → place among its tool calls, or details
        self._usage: ir.Usage | None = None
        self._begin(ir.Begin())

    def _begin(self, begin: ir.Begin) -> None:
        rendering = self._rendering
        fields = {
            "id": begin.id or rendering.id,
            "object": "chat.completion.chunk",
            "created": begin.created_at or rendering.created_at,
            "model": begin.model or rendering.model,
            **own(begin.extra),
        }
        self._head = b"data: " + dumps(fields)[:-1] + b',"choices":['
        self._around.clear()

    def feed(self, event: ir.Event) -> Iterable[bytes]:
        match event:
            case ir.Delta():
                return self._delta(event)
            case ir.Open():
                return self._opened(event)
            case ir.Close():
                return self._closed(event)
            case ir.Amend():
                return self._amended(event)
            case ir.Finish():
                return (*self._role(event.choice), self._finished(event))
            case ir.Begin():
                self._begin(event)
            case ir.Usage():
                self._usage = event
        return ()

    def finish(self) -> bytes:
        last = b"data: [DONE]\n\n"
        if self._usage is None or not self._rendering.wants_usage:
            return last
        return self._head + b'],"usage":' + dumps(render_usage(self._usage)) + b"}\n\n" + last

    def _chunk(self, choice: int, delta: Json, logprobs: ir.Extra | None = None) -> bytes:
        more = b',"logprobs":' + dumps(logprobs) if logprobs else b""
        return b'%b{"index":%d,"delta":%b%b%b' % (self._head, choice, dumps(delta), more, _GOES_ON)

    def _role(self, choice: int) -> Iterator[bytes]:
        line = self._lines.setdefault(choice, _Line())
        if not line.has_role:
            line.has_role = True
            yield self._chunk(choice, {"role": "assistant", "content": ""})

    def _finished(self, event: ir.Finish) -> bytes:
        choice: Json = {"index": event.choice, "delta": {}}
        if event.logprobs:
            choice["logprobs"] = event.logprobs
        choice |= own(event.extra)
        choice["finish_reason"] = event.reason
        return self._head + dumps(choice) + b"]}\n\n"

    def _opened(self, event: ir.Open) -> Iterator[bytes]:
        yield from self._role(event.choice)
        key = event.choice, event.index
        self._open[key] = event.part
        self._around.pop(key, None)
        match event.part:
            case ir.ToolCall() as call:
                line = self._lines[event.choice]
                place = self._places[key] = line.calls
                line.calls += 1
                opening = render_call(call, call.id or _call_id(self._rendering.id, event.choice, place))
                yield self._chunk(event.choice, {"tool_calls": [{"index": place, **opening}]})
            case ir.Audio() as audio if rendered := _render_audio(audio):
                yield self._chunk(event.choice, {"audio": rendered})
            case ir.Text(annotations=annotations) if annotations:
                yield self._chunk(event.choice, {"annotations": list(annotations)})
            case ir.Reasoning(seal=ir.Seal()) as thought:
                yield self._chunk(event.choice, {"reasoning_details": [self._detail(key, thought)]})
        if isinstance(event.part, ir.Text | ir.Reasoning | ir.Refusal) and event.part.text:
            yield from self._delta(ir.Delta(event.index, event.part.text, event.choice))

    def _closed(self, event: ir.Close) -> Iterable[bytes]:
        key = event.choice, event.index
        part = self._open.get(key)
        if isinstance(part, ir.ToolCall):
            return ()  # its arguments may go on after those of another have begun
        self._open.pop(key, None)
        self._around.pop(key, None)
        return (self._chunk(event.choice, {"images": [render_image(part)]}),) if isinstance(part, ir.Image) else ()

    def _detail(self, key: tuple[int, int], thought: ir.Reasoning) -> Json:
        """An entry of reasoning_details; clients put together what has the same index."""
        line = self._lines.setdefault(key[0], _Line())
        if key not in self._places:
            self._places[key] = line.details
            line.details += 1
        detail = {"index": self._places[key], **render_detail(thought)}
        return {name: value for name, value in detail.items() if value != "" or name not in ("text", "summary")}

    def _delta(self, event: ir.Delta) -> Iterable[bytes]:
        key = event.choice, event.index
        around = self._around.get(key)
        if around is None:
            match self._open.get(key):
                case ir.Image() as image:
                    self._open[key] = ir.grown(image, event.text)
                    return ()
                case ir.Reasoning(seal=ir.Seal()) as thought:
                    return (self._chunk(event.choice, self._sealed(key, thought, event.text), event.logprobs),)
                case ir.Text() | ir.Reasoning() | ir.Refusal() | ir.ToolCall() | ir.Audio() as part:
                    around = self._around[key] = self._surroundings(key, part)
                case _:
                    return ()
        before, after = around
        more = b',"logprobs":' + dumps(event.logprobs) if event.logprobs else b""
        return (before + dumps(event.text) + after + more + _GOES_ON,)

    def _surroundings(self, key: tuple[int, int], part: ir.Part) -> tuple[bytes, bytes]:
        """A chunk with a piece of the part, up to the piece's text and from there to the end of its delta."""
        match part:
            case ir.ToolCall():
                name = b'"custom":{"input":' if part.kind == "custom" else b'"function":{"arguments":'
                before, after = b'"tool_calls":[{"index":%d,%b' % (self._places[key], name), b"}}]}"
            case ir.Audio():
                before, after = b'"audio":{"data":', b"}}"
            case _:
                before, after = b'"%b":' % _FIELD[type(part)], b"}"
        return b'%b{"index":%d,"delta":{%b' % (self._head, key[0], before), after

    def _sealed(self, key: tuple[int, int], thought: ir.Reasoning, text: str) -> Json:
        detail = self._detail(key, replace(thought, text=text))
        piece = {name: value for name, value in detail.items() if name in ("type", "index", "text", "summary")}
        return {"reasoning_content": text, "reasoning_details": [piece]}

    def _amended(self, event: ir.Amend) -> Iterator[bytes]:
        key = event.choice, event.index
        before = self._open.get(key)
        self._around.pop(key, None)  # a seal changes what its chunks are
        if key in self._open:
            self._open[key] = event.part
        match event.part:
            case ir.Text(annotations=annotations):
                known = before.annotations if isinstance(before, ir.Text) else ()
                if more := annotations[len(known) :]:
                    yield self._chunk(event.choice, {"annotations": list(more)})
            case ir.Reasoning(seal=ir.Seal()) as thought:
                yield self._chunk(event.choice, {"reasoning_details": [self._detail(key, replace(thought, text=""))]})
            case ir.Audio() as audio:
                known_text = before.transcript if isinstance(before, ir.Audio) else ""
                rest = _render_audio(replace(audio, transcript=audio.transcript[len(known_text) :], data=""))
                yield self._chunk(event.choice, {"audio": rest})


_FIELD: Mapping[type, bytes] = {ir.Text: b"content", ir.Reasoning: b"reasoning_content", ir.Refusal: b"refusal"}
_GOES_ON = b',"finish_reason":null}]}\n\n'
