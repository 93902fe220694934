"""OpenAI's text completions and edits, both of them old; providers of open models still offer the first.

Source: https://platform.openai.com/docs/api-reference/completions (read 2026-11-25). They go verbatim where the
provider has this format; for one that has another a prompt is the only message of a conversation. Edits go verbatim
only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from oneapi.errors import InvalidRequest
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, USAGE_ONLY, Codec, Headers, Json, Rendering
from oneapi.relay.framing import Frame
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json, openai_chat, openai_chat_request
from oneapi.relay.protocols.openai_error import render_error
from oneapi.relay.protocols.openai_usage import parse_usage, render_usage
from oneapi.relay.protocols.provider_error import error_in, parse_error
from oneapi.relay.protocols.provider_json import dumps, loads


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Request(msgspec.Struct, gc=False):
    model: str | None = None
    prompt: str | list[Any] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None


class _EditRequest(msgspec.Struct, gc=False):
    model: str | None = None
    instruction: str | None = None
    n: int | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_EDIT_REQUEST = msgspec.json.Decoder(_EditRequest)


def head(body: bytes) -> Head:
    """Raises InvalidRequest naming the field that is wrong."""
    request = client_json.read(body, _REQUEST)
    model = client_json.require_model(request.model)
    client_json.require(request.prompt, "prompt")
    client_json.check_range("max_tokens", request.max_tokens, 0, client_json.MAX_TOKENS)
    client_json.check_range("n", request.n, 1, client_json.MAX_N)
    client_json.check_range("best_of", request.best_of, 1, client_json.MAX_N)
    return Head(
        mode="completions",
        model=model,
        stream=bool(request.stream),
        wants_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
        max_output_tokens=request.max_tokens,
        n=max(request.n or 1, request.best_of or 1),
        input_bytes=len(body),
    )


def edit_head(body: bytes) -> Head:
    """The head of a request to /v1/edits. Raises InvalidRequest naming the field that is wrong."""
    request = client_json.read(body, _EDIT_REQUEST)
    model = client_json.require_model(request.model)
    client_json.require(request.instruction, "instruction")
    client_json.check_range("n", request.n, 1, client_json.MAX_N)
    return Head(mode="edits", model=model, n=request.n or 1, input_bytes=len(body))


class Watcher:
    """Sees the text, the finish and the usage of a stream that passes as it came."""

    __slots__ = ("_pieces", "has_finished", "usage")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.usage: ir.Usage | None = None
        self.has_finished = False

    def feed(self, frame: Frame) -> int:
        data = frame.data
        if not data:
            return NOTHING
        if data[:6] == b"[DONE]":
            self.has_finished = True
            return LAST
        chunk = loads(data)
        choices = chunk.get("choices")
        if (chunk.get("error") or not isinstance(choices, list)) and (error := error_in(chunk)) is not None:
            raise error
        sight = NOTHING
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(text := choice.get("text"), str) and text:
                self._pieces.append(text)
                sight = CONTENT
            if choice.get("finish_reason"):
                self.has_finished = True
                sight = CONTENT
        if (usage := parse_usage(chunk.get("usage"))) is not None:
            self.usage = usage
            if sight == NOTHING and (not choices or self.has_finished):
                return USAGE_ONLY
        return sight

    def take_text(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text


def read_text(body: bytes, headers: Headers) -> str:
    """All that the choices of a whole answer say."""
    choices = loads(body).get("choices")
    return "".join(
        text
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict) and isinstance(text := choice.get("text"), str)
    )


# ---- the client half, for providers with formats of their own ----

_ONLY_HERE: Mapping[str, Any] = {"suffix": "", "echo": False, "best_of": 1}  # and what says nothing


def parse_request(body: Json) -> ir.ChatRequest:
    """Raises InvalidRequest for what only a provider of text completions can do."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise InvalidRequest("The provider takes one prompt, as a text.", param="prompt")
    for name, nothing in _ONLY_HERE.items():
        if body.get(name) not in (None, nothing):
            raise InvalidRequest(f"The provider has no place for the field '{name}'.", param=name)
    rest = {name: value for name, value in body.items() if name not in ("prompt", "logprobs", *_ONLY_HERE)}
    if (likely := body.get("logprobs")) is not None:
        rest |= {"logprobs": True, "top_logprobs": likely}
    return openai_chat_request.parse_request({**rest, "messages": [{"role": "user", "content": prompt}]})


def render_response(response: ir.ChatResponse, rendering: Rendering) -> Json:
    body = _head(response.id, response.created_at, response.model, rendering)
    body["choices"] = [
        {
            "text": "".join(part.text for part in choice.parts if isinstance(part, ir.Text)),
            "index": number,
            "logprobs": None,
            "finish_reason": choice.finish_reason or "stop",
        }
        for number, choice in enumerate(response.choices)
    ]
    if response.usage is not None:
        body["usage"] = render_usage(response.usage)
    return body


def _head(id: str, created_at: int, model: str, rendering: Rendering) -> Json:
    return {
        "id": id or rendering.id,
        "object": "text_completion",
        "created": created_at or rendering.created_at,
        "model": model or rendering.model,
    }


class StreamRenderer:
    """Chunks of text, event by event; `finish` gives the usage, where it is wanted, and [DONE]."""

    __slots__ = ("_before", "_rendering", "_texts", "_usage")

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._before = _before("", 0, "", rendering)
        self._texts: set[tuple[int, int]] = set()  # (choice, part) of parts that are text
        self._usage: ir.Usage | None = None

    def feed(self, event: ir.Event) -> Iterable[bytes]:
        match event:
            case ir.Delta():  # nearly every event
                if (event.choice, event.index) in self._texts:
                    return (self._chunk(event.choice, event.text, None),)
            case ir.Begin():
                self._before = _before(event.id, event.created_at, event.model, self._rendering)
            case ir.Open(part=ir.Text()):
                self._texts.add((event.choice, event.index))
            case ir.Finish():
                return (self._chunk(event.choice, "", event.reason),)
            case ir.Usage():
                self._usage = event
        return ()

    def finish(self) -> bytes:
        last = b"data: [DONE]\n\n"
        if self._usage is None or not self._rendering.wants_usage:
            return last
        return self._before + b'],"usage":' + dumps(render_usage(self._usage)) + b"}\n\n" + last

    def _chunk(self, choice: int, text: str, reason: str | None) -> bytes:
        said = {"text": text, "index": choice, "logprobs": None, "finish_reason": reason}
        return self._before + dumps(said) + b"]}\n\n"


def _before(id: str, created_at: int, model: str, rendering: Rendering) -> bytes:
    """A chunk up to its choices."""
    return b"data: " + dumps(_head(id, created_at, model, rendering))[:-1] + b',"choices":['


CODEC = Codec(
    name="openai_completions",
    has_stream_options=True,
    parse_error=parse_error,
    watcher=Watcher,
    read_usage=openai_chat.read_usage,
    read_text=read_text,
    parse_request=parse_request,
    render_response=render_response,
    stream_renderer=StreamRenderer,
    render_error=render_error,
)
EDITS = Codec(
    name="openai_edits",
    parse_error=parse_error,
    read_usage=openai_chat.read_usage,
    read_text=read_text,
    render_error=render_error,
)
