"""What Bedrock's InvokeModel carries for models with formats of their own: Claude and Llama 3.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html and
/model-parameters-meta.html (read 2026-11-25); Meta's prompt format
https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3/; spec relay.md §8.3. Each chunk of a stream is
`{"bytes": base64 of the model's own event}`.

Claude's body is Anthropic's less model and stream; beta features go in the body's `anthropic_beta`, where a client of
Anthropic's protocol may put them. Not carried to Llama 3: anything but text, temperature, top_p and max tokens.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Json
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import anthropic_answer, anthropic_request
from oneapi.relay.protocols.bedrock_error import parse_error, raise_exception
from oneapi.relay.protocols.provider_json import loads

_CLAUDE_VERSION = "bedrock-2023-05-31"
_MAX_GEN_LEN = 2048


def chunk_event(frame: Frame) -> Json | None:
    """The model's event in a chunk; None for other frames. Raises UpstreamRejected for an exception."""
    raise_exception(frame)
    if frame.event != "chunk":
        return None
    inner = loads(frame.data).get("bytes")
    try:
        return loads(base64.b64decode(str(inner), validate=True))
    except binascii.Error as error:
        raise UpstreamGarbled("The provider sent a chunk that is not base64.") from error


# ---- Claude ----


def render_claude(request: ir.ChatRequest) -> Json:
    body = anthropic_request.render_request(request)
    rest = {name: value for name, value in body.items() if name not in ("model", "stream")}
    return {"anthropic_version": _CLAUDE_VERSION, **rest}


class ClaudeParser(anthropic_answer.StreamParser):
    """Anthropic's events, each in a chunk."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        event = chunk_event(frame)
        return () if event is None else self.feed_event(event)


CLAUDE = Codec(
    name="bedrock_claude",
    render_request=render_claude,
    parse_response=anthropic_answer.parse_response,
    stream_parser=ClaudeParser,
    parse_error=parse_error,
    cannot_carry=anthropic_request.CANNOT_CARRY,
    drops=anthropic_request.drops,
)


# ---- Llama 3 ----


def render_llama(request: ir.ChatRequest) -> Json:
    """The conversation as a prompt in Meta's format."""
    turns = "".join(_turn(message.role, _text(message)) for message in request.messages)
    body: Json = {
        "prompt": f"<|begin_of_text|>{turns}<|start_header_id|>assistant<|end_header_id|>\n\n",
        "max_gen_len": request.max_tokens or _MAX_GEN_LEN,
    }
    if request.temperature is not None:
        body["temperature"] = min(max(request.temperature, 0), 1)
    if request.top_p is not None:
        body["top_p"] = request.top_p
    return body


def _turn(role: str, text: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" if text else ""


def _text(message: ir.Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, ir.Text))


def parse_llama(body: Json) -> ir.ChatResponse:
    """Raises UpstreamGarbled for an answer without a generation."""
    parser = LlamaParser()
    events = [*parser.feed_event(body)]
    return ir.collect([*events, *parser.finish()])


class LlamaParser:
    """A generation in pieces; token counts grow from chunk to chunk, that of the prompt stands in the first."""

    __slots__ = ("_has_begun", "_has_text", "_made", "_prompt", "_reason", "is_done")

    def __init__(self) -> None:
        self._has_begun = False
        self._has_text = False
        self._prompt = 0
        self._made = 0
        self._reason = ""
        self.is_done = False

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        event = chunk_event(frame)
        return () if event is None else self.feed_event(event)

    def feed_event(self, event: Json) -> Iterator[ir.Event]:
        text = event.get("generation")
        if not isinstance(text, str):
            raise UpstreamGarbled("The provider's answer has no generation.")
        if not self._has_begun:
            self._has_begun = True
            yield ir.Begin()
        if text:
            if not self._has_text:
                self._has_text = True
                yield ir.Open(0, ir.Text(""))
            yield ir.Delta(0, text)
        self._prompt = _count(event, "prompt_token_count") or self._prompt
        self._made = _count(event, "generation_token_count") or self._made
        if isinstance(reason := event.get("stop_reason"), str) and reason:
            self._reason = reason
            self.is_done = True

    def finish(self) -> Iterator[ir.Event]:
        """Raises UpstreamGarbled for a stream that ended before the answer was complete."""
        if not self._reason:
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        if self._has_text:
            yield ir.Close(0)
        yield ir.Finish("length" if self._reason == "length" else "stop")
        if self._prompt or self._made:
            raw = {"prompt_token_count": self._prompt, "generation_token_count": self._made}
            yield ir.Usage(input_tokens=self._prompt, output_tokens=self._made, raw=raw)


def _count(event: Json, name: str) -> int:
    value = event.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15 else 0


LLAMA = Codec(
    name="bedrock_llama",
    render_request=render_llama,
    parse_response=parse_llama,
    stream_parser=LlamaParser,
    parse_error=parse_error,
    cannot_carry=anthropic_request.CANNOT_CARRY
    | {
        "images",
        "files",
        "tools",
        "tool_choice",
        "may_call_in_parallel",
        "top_k",
        "stop",
        "response_format",
        "thinking",
        "user",
    },
)
