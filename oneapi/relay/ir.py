"""The intermediate representation: what at least two chat protocols can say.

A conversation is messages made of parts; an answer is a stream of events, and a whole answer is its stream collected:
`collect(replay(response)) == response`. So each wire format is written once, against these records, in each direction.

Rules that keep it lossless:
- Tool arguments stay the JSON text that came.
- A `Seal` (thinking signature, encrypted reasoning) carries its `origin` and is rendered to that origin only.
- What only one protocol can say travels in `extra` and is rendered by that protocol alone; where several would write
  the same names (fields of a request, of a message or a choice), its own stand beside its name under `origin`.
- Nothing is invented here: no id, no time, no usage. Blank stays blank; the renderer fills ids, the meter counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from oneapi.relay.records import record

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Extra = Mapping[str, Any]


# ---- parts ----


@dataclass(frozen=True, slots=True)
class Seal:
    """An opaque token a provider wants back with a reasoning part or tool call; `origin` is that protocol's name."""

    origin: str
    value: str


@record()
class Text:
    text: str
    annotations: tuple[Extra, ...] = ()  # citations, in OpenAI's `annotations` shape
    extra: Extra = field(default_factory=dict)  # for instance Anthropic's cache_control


@dataclass(frozen=True, slots=True)
class Image:
    """By `url` (http or https) or by `data` (base64 text) with its `media_type`; exactly one of the two is set."""

    url: str = ""
    data: str = ""
    media_type: str = ""
    detail: str = ""
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Audio:
    """Base64 `data` in `format` (wav, mp3, pcm16…); an answer's audio may have an `id` and a `transcript`."""

    data: str = ""
    format: str = ""
    id: str = ""
    transcript: str = ""
    expires_at: int = 0
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A document by `url`, by base64 `data` with its `media_type`, or by the provider's `file_id`."""

    url: str = ""
    data: str = ""
    media_type: str = ""
    name: str = ""
    file_id: str = ""
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought; `is_redacted` when only its seal may be shown."""

    text: str
    seal: Seal | None = None
    is_redacted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` is the text that came: JSON of a function's arguments, or a custom tool's free input."""

    id: str
    name: str
    arguments: str
    kind: Literal["function", "custom"] = "function"
    seal: Seal | None = None
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    parts: tuple[Text | Image | Audio | File, ...]
    name: str = ""
    is_error: bool = False
    extra: Extra = field(default_factory=dict)


Part = Text | Image | Audio | File | Reasoning | Refusal | ToolCall | ToolResult


# ---- request ----


@dataclass(frozen=True, slots=True)
class Message:
    """`role` tool holds only ToolResult parts; `extra["role"]` keeps a client's own word for it (developer…)."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call. `schema` is a JSON schema, or None where none was given.

    Another kind of tool (web search, a custom grammar…) has its own `kind` and its whole declaration in `extra`.
    """

    name: str
    description: str = ""
    schema: Mapping[str, Any] | None = None
    is_strict: bool | None = None
    kind: str = "function"
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """auto, none, required (any tool), or function (the one called `name`); `allowed` narrows auto and required."""

    mode: Literal["auto", "none", "required", "function"]
    name: str = ""
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """text, json_object, or json_schema with its `schema`."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str = ""
    schema: Mapping[str, Any] | None = None
    is_strict: bool | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Thinking:
    """How much to think: an `effort` word (none, minimal, low, medium, high, xhigh), or `budget_tokens`, or neither."""

    effort: str = ""
    budget_tokens: int | None = None
    is_shown: bool | None = None  # whether the client wants to see the thoughts


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    may_call_in_parallel: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    thinking: Thinking | None = None
    user: str = ""
    metadata: Mapping[str, Any] | None = None
    modalities: tuple[str, ...] = ()
    stream: bool = False
    wants_usage: bool = False  # the client asked for a usage chunk at the stream's end
    extra: Extra = field(default_factory=dict)


# ---- usage ----


@record(kw_only=True)
class Usage:
    """Token counts of one answer.

    `input_tokens` includes the cached, cache-write, audio and image buckets; `output_tokens` includes reasoning,
    audio and image output. A bucket is None where the provider said nothing of it. Units other than tokens
    (searches, images, seconds, characters) are in `units`. `raw` is the provider's own block, for the receipt.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None  # all cache writes, of whatever lifetime
    cache_write_1h_tokens: int | None = None  # the part of them kept for an hour
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    units: Mapping[str, float] = field(default_factory=dict)
    is_counted_here: bool = False  # the provider reported nothing; counted from the texts
    raw: Mapping[str, Any] | None = None

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


# ---- response and its events ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    parts: tuple[Part, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: Extra | None = None
    extra: Extra = field(default_factory=dict)  # for instance the provider's own finish reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResponse:
    id: str = ""
    model: str = ""
    created_at: int = 0
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    extra: Extra = field(default_factory=dict)


@record()
class Begin:
    """The answer has begun; nothing of its content yet."""

    id: str = ""
    model: str = ""
    created_at: int = 0
    extra: Extra = field(default_factory=dict)


@record()
class Open:
    """Part `index` of choice `choice` begins; `part` holds what is known of it (a tool call's id and name, say)."""

    index: int
    part: Part
    choice: int = 0


@record()
class Delta:
    """More of the open part: of its text, its tool arguments, or its audio's base64 data."""

    index: int
    text: str
    choice: int = 0
    logprobs: Extra | None = None


@dataclass(frozen=True, slots=True)
class Amend:
    """Fields learnt late about part `index`: a seal, annotations, a transcript. `part` replaces all but its text."""

    index: int
    part: Part
    choice: int = 0


@record()
class Close:
    index: int
    choice: int = 0


@record()
class Finish:
    """One choice is complete."""

    reason: FinishReason
    choice: int = 0
    logprobs: Extra | None = None
    extra: Extra = field(default_factory=dict)


Event = Begin | Open | Delta | Amend | Close | Finish | Usage


def grown(part: Part, text: str) -> Part:
    """The part with `text` added to the end of what a Delta extends."""
    match part:
        case Text() | Reasoning() | Refusal():
            return replace(part, text=part.text + text)
        case ToolCall():
            return replace(part, arguments=part.arguments + text)
        case Audio() | Image() | File():
            return replace(part, data=part.data + text)
        case ToolResult():
            return replace(part, parts=(*part.parts, Text(text)))


def content(part: Part) -> str:
    """The text of a part that Deltas carry."""
    match part:
        case Text() | Reasoning() | Refusal():
            return part.text
        case ToolCall():
            return part.arguments
        case Audio() | Image() | File():
            return part.data
        case ToolResult():
            return "".join(piece.text for piece in part.parts if isinstance(piece, Text))


def emptied(part: Part) -> Part:
    """The part as `Open` announces it: all but the text that Deltas carry."""
    match part:
        case Text() | Reasoning() | Refusal():
            return replace(part, text="")
        case ToolCall():
            return replace(part, arguments="")
        case Audio() | Image() | File():
            return replace(part, data="")
        case ToolResult():
            return part


def collect(events: Iterable[Event]) -> ChatResponse:
    """The whole answer that a stream of events tells."""
    begin = Begin()
    usage: Usage | None = None
    pieces: dict[tuple[int, int], list[str]] = {}
    parts: dict[tuple[int, int], Part] = {}
    logprobs: dict[int, dict[str, list[Any]]] = {}
    finishes: dict[int, Finish] = {}
    for event in events:
        match event:
            case Begin():
                begin = event
            case Open():
                parts[event.choice, event.index] = event.part
                pieces[event.choice, event.index] = [content(event.part)]
            case Delta():
                pieces[event.choice, event.index].append(event.text)
                _add_logprobs(logprobs, event.choice, event.logprobs)
            case Amend():
                parts[event.choice, event.index] = event.part
            case Finish():
                finishes[event.choice] = event
                _add_logprobs(logprobs, event.choice, event.logprobs)
            case Usage():
                usage = event
            case Close():
                pass
    numbers = sorted({choice for choice, _ in parts} | set(finishes))
    choices = []
    for number in numbers:
        finish = finishes.get(number)
        choices.append(
            Choice(
                parts=tuple(
                    grown(emptied(parts[key]), "".join(pieces[key])) for key in sorted(parts) if key[0] == number
                ),
                finish_reason=finish.reason if finish else None,
                logprobs=logprobs.get(number),
                extra=finish.extra if finish else {},
            )
        )
    return ChatResponse(
        id=begin.id,
        model=begin.model,
        created_at=begin.created_at,
        choices=tuple(choices),
        usage=usage,
        extra=begin.extra,
    )


def replay(response: ChatResponse) -> Iterator[Event]:
    """The stream of events that `collect` makes this answer of."""
    yield Begin(response.id, response.model, response.created_at, response.extra)
    for number, choice in enumerate(response.choices):
        for index, part in enumerate(choice.parts):
            yield Open(index, emptied(part), number)
            if not isinstance(part, ToolResult) and (text := content(part)):
                yield Delta(index, text, number)
            yield Close(index, number)
        if choice.finish_reason is not None or choice.logprobs or choice.extra:
            yield Finish(choice.finish_reason or "stop", number, choice.logprobs, choice.extra)
    if response.usage is not None:
        yield response.usage


def _add_logprobs(collected: dict[int, dict[str, list[Any]]], choice: int, more: Extra | None) -> None:
    """OpenAI's shape: lists under `content` and `refusal`, added up chunk by chunk."""
    if not more:
        return
    lists = collected.setdefault(choice, {})
    for name, items in more.items():
        if isinstance(items, list):
            lists.setdefault(name, []).extend(items)


# ---- modes other than chat, for providers with formats of their own ----


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """`inputs` are texts, or texts already in tokens. `encoding` is "" (as the provider likes), float or base64."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    encoding: str = ""
    user: str = ""
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingResponse:
    """One vector for each input, in order."""

    model: str = ""
    vectors: tuple[tuple[float, ...], ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """Pictures to make from a prompt. `size` is "<width>x<height>", "auto", or "" (as the provider likes)."""

    model: str
    prompt: str
    n: int | None = None
    size: str = ""
    quality: str = ""
    style: str = ""
    response_format: str = ""  # url or b64_json
    user: str = ""
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeImage:
    """By `url` or by base64 `data`."""

    url: str = ""
    data: str = ""
    revised_prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResponse:
    created_at: int = 0
    images: tuple[MadeImage, ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """Documents to be put in order of their relevance to `query`; each is a text, or an object with one."""

    model: str
    query: str
    documents: tuple[str | Extra, ...]
    top_n: int | None = None
    returns_documents: bool | None = None
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranked:
    """`index` is the document's place in the request; `document` its text where the provider repeats it."""

    index: int
    score: float
    document: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankResponse:
    id: str = ""
    model: str = ""
    results: tuple[Ranked, ...] = ()  # best first
    usage: Usage | None = None
