"""A piece that merely goes on with the text is read by a short cut: what it says is what the long way says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from oneapi.errors import UpstreamError
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Codec
from oneapi.relay.framing import SSE
from oneapi.relay.protocols import openai_chat
from oneapi.relay.protocols.openai_chat import StreamParser
from oneapi.relay.protocols.openai_shaped import ShapedParser

ALL = adaptors.load()


class LongWay(StreamParser):
    """A parser that takes no short cut."""

    __slots__ = ()

    def more_of(self, chunk: dict[str, Any]) -> ir.Delta | None:
        return None


def told(codec: Codec, body: bytes, *, is_long: bool) -> list[Any]:
    """The events of a stream, and the error that ends it."""
    assert codec.stream_parser is not None
    cutter, parser = SSE(), codec.stream_parser()
    if is_long and isinstance(parser, ShapedParser):
        parser._inner = LongWay()
    elif is_long:
        parser = LongWay()
    found: list[Any] = []
    try:
        for frame in [*cutter.feed(body), *cutter.finish()]:
            found += parser.feed(frame)
        end = parser._inner if isinstance(parser, ShapedParser) else parser
        end.is_done = True  # so that what was kept for the end is told, too
        found += parser.finish()
    except UpstreamError as error:
        found.append(repr(error))
    return found


COUNTS = {"prompt_tokens": 1, "completion_tokens": 2}
ODD: list[Any] = [None, "", "x", 1, True, [], {}, [{}], {"message": "m"}, COUNTS, {"usage": COUNTS}, {"content": [1]}]
MORE = (
    "audio",
    "custom",
    "error",
    "finish_reason",
    "images",
    "logprobs",
    "other",
    "reasoning",
    "refusal",
    "usage",
    "x_groq",
)


def damaged(value: Any) -> Iterator[Any]:
    """The value with one thing in it, and each time another, replaced by something odd, left out, or added."""
    yield from ODD
    if isinstance(value, dict):
        yield from ({**value, name: other} for name in MORE if name not in value for other in ODD)
        for name, item in value.items():
            yield from ({**value, name: other} for other in damaged(item))
            yield {key: inner for key, inner in value.items() if key != name}
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in damaged(item))
        yield [*value, *value]


def openai_chunk(delta: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}
    return {"id": "c", "choices": [choice], "usage": None}


SILENT = dict.fromkeys(("reasoning_details", "annotations", "tool_calls"))
TEXT = {"role": "assistant", "content": "a", "reasoning_content": None, "reasoning": "", **SILENT}
THOUGHT = {**TEXT, "content": "", "reasoning_content": "a"}
CALL = {"content": None, "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "a"}}]}
CALL_GOES_ON = {"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": "b"}}]}
LISTED = {"content": [{"type": "text", "text": "a"}]}
LISTED_THOUGHT = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}
ALI = {"output": {"choices": [{"message": {"content": "a", "role": "assistant"}, "finish_reason": "null"}]}}
MEDIA = {"output": {"choices": [{"message": {"content": [{"text": "a"}]}, "finish_reason": "null", "index": 0}]}}
TENCENT = {"Index": 0, "Delta": {"Role": "assistant", "Content": "a", "ReasoningContent": ""}, "FinishReason": ""}
XUNFEI = {"status": 1, "text": [{"content": "a", "reasoning_content": "", "role": "assistant", "index": 0}]}
PIECES: dict[str, tuple[Codec, str, dict[str, Any]]] = {
    "openai": (openai_chat.CODEC, "", openai_chunk(TEXT)),
    "openai_thought": (openai_chat.CODEC, "", openai_chunk(THOUGHT)),
    "openai_call": (openai_chat.CODEC, "", openai_chunk(CALL)),
    "openai_list": (openai_chat.CODEC, "", openai_chunk(LISTED)),
    "openai_listed_thought": (openai_chat.CODEC, "", openai_chunk(LISTED_THOUGHT)),
    "ali": (ALL[17].endpoint("qwen-plus", "chat").codec, "", {**ALI, "usage": {"output_tokens": 1, "input_tokens": 2}}),
    "ali_media": (ALL[17].endpoint("qwen-vl-plus", "chat").codec, "", MEDIA),
    "baidu": (ALL[15].endpoints["chat"].codec, "", {"result": "a", "is_end": False, "need_clear_history": False}),
    "cloudflare": (ALL[37].endpoints["completions"].codec, "", {"response": "a", "usage": None}),
    "cohere": (
        ALL[35].endpoints["chat"].codec,
        "",
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "a"}}}},
    ),
    "cohere_v1": (
        ALL[35].endpoint("command-r-internet", "chat").codec,
        "",
        {"event_type": "text-generation", "text": "a"},
    ),
    "coze": (
        ALL[34].endpoints["chat"].codec,
        "conversation.message.delta",
        {"id": "1", "type": "answer", "content": "a", "reasoning_content": ""},
    ),
    "ollama": (
        ALL[30].endpoints["chat"].codec,
        "",
        {"model": "m", "message": {"role": "assistant", "content": "a"}, "done": False},
    ),
    "tencent": (
        ALL[23].endpoints["chat"].codec,
        "",
        {"Choices": [TENCENT], "Id": "i", "Usage": {"PromptTokens": 1, "CompletionTokens": 2}, "SearchInfo": None},
    ),
    "xunfei": (ALL[18].endpoints["chat"].codec, "", {"header": {"code": 0}, "payload": {"choices": XUNFEI}}),
}


def frame(value: Any, event: str = "") -> bytes:
    return b"event: " + event.encode() + b"\ndata: " + json.dumps(value).encode() + b"\n\n"


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_that_goes_on_says_what_the_long_way_says(name: str) -> None:
    codec, event, piece = PIECES[name]
    for other in damaged(piece):
        for pieces in ([piece, other, piece], [other, piece]):
            body = b"".join(frame(value, event) for value in pieces)
            assert told(codec, body, is_long=False) == told(codec, body, is_long=True), other


def test_arguments_that_go_on_say_what_the_long_way_says() -> None:
    begun = frame(openai_chunk(CALL)) + frame(openai_chunk({"tool_calls": [{**CALL["tool_calls"][0], "index": 1}]}))
    for other in damaged(openai_chunk(CALL_GOES_ON)):
        body = begun + frame(openai_chunk(TEXT)) + frame(other) + frame(openai_chunk(CALL_GOES_ON))
        assert told(openai_chat.CODEC, body, is_long=False) == told(openai_chat.CODEC, body, is_long=True), other


def test_log_probabilities_that_wait_come_with_the_next_piece() -> None:
    waiting = openai_chunk({})
    waiting["choices"][0]["logprobs"] = {"content": [1]}
    more = openai_chunk({"content": "b"})
    body = b"".join(frame(value) for value in (openai_chunk(TEXT), waiting, more, more))
    found = told(openai_chat.CODEC, body, is_long=False)
    assert [(event.text, event.logprobs) for event in found if isinstance(event, ir.Delta)] == [
        ("a", None),
        ("b", {"content": [1]}),
        ("b", None),
    ]
