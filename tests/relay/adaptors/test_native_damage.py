"""Answers of providers with protocols of their own, damaged in every way: an error of the provider's, never a fault.

Source of the answers: the exchanges written from documentation, and one made up for each that has none of a kind.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from oneapi.errors import UpstreamError
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Codec
from oneapi.relay.framing import FRAMINGS
from tests.relay.native import exchange

ALL = adaptors.load()


def chat(number: int, model: str = "m") -> Codec:
    return ALL[number].endpoint(model, "chat").codec


ALI = b"""id:1
event:result
:HTTP_STATUS/200
data:{"output":{"choices":[{"message":{"role":"assistant","content":[{"text":"a"},{"image":"u"}],"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"index":0,"finish_reason":"stop","logprobs":{"content":[]}}],"search_info":{"search_results":[{"url":"u","title":"t"}]}},"usage":{"total_tokens":5,"output_tokens":1,"input_tokens":4,"prompt_tokens_details":{"cached_tokens":0}},"request_id":"r"}

"""
V3 = b'event:add\nid:1\ndata:a\n\nevent:finish\ndata:b\nmeta:{"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
STREAMS = [
    ("ali", chat(17), "sse", ALI),
    ("baidu", chat(15), "sse", exchange("documented/baidu/wenxin-chat-stream").body),
    ("zhipu", chat(16), "sse", exchange("documented/zhipu/tool-call-stream").body),
    ("zhipu_v3", chat(16, "chatglm_turbo"), "sse", V3),
    ("tencent", chat(23), "sse", exchange("documented/tencent/native-chat-stream").body),
    ("xunfei", chat(18), "ndjson", exchange("documented/xunfei/ws-function-call").body),
    ("ali_error", chat(17), "sse", exchange("documented/dashscope/native-stream-error").body),
    ("baidu_error", chat(15), "sse", b'data: {"error_code":18,"error_msg":"m"}\n\n'),
    ("zhipu_error", chat(16), "sse", b'data: {"error":{"code":"1301","message":"m"}}\n\n'),
    ("tencent_error", chat(23), "sse", exchange("documented/tencent/native-stream-error").body),
    ("tencent_refusal", chat(23), "sse", b'data: {"Response":{"Error":{"Code":"AuthFailure","Message":"m"}}}\n\n'),
    ("xunfei_error", chat(18), "ndjson", exchange("documented/xunfei/ws-error-10005-auth").body),
    ("xunfei_v2_error", chat(48), "sse", b'data: {"code":10907,"message":"m","sid":"s"}\n\n'),
    ("xunfei_v2", chat(48), "sse", exchange("documented/xunfei/http-chat-stream").body),
]


def read(codec: Codec, framing: str, body: bytes) -> None:
    """Reads a stream to its end, however that comes."""
    assert codec.stream_parser is not None
    cutter, parser = FRAMINGS[framing](), codec.stream_parser()
    events: list[ir.Event] = []
    try:
        for frame in [*cutter.feed(body), *cutter.finish()]:
            events += parser.feed(frame)
        events += parser.finish()
    except UpstreamError:
        return
    ir.collect(events)


@pytest.mark.parametrize(("codec", "framing", "body"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
def test_a_stream_cut_anywhere(codec: Codec, framing: str, body: bytes) -> None:
    for end in range(len(body)):
        read(codec, framing, body[:end])


@pytest.mark.parametrize(("codec", "framing", "body"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
def test_a_stream_whose_frames_are_lost_repeated_and_shuffled(codec: Codec, framing: str, body: bytes) -> None:
    rng = random.Random(1)
    end = b"\n" if framing == "ndjson" else b"\n\n"
    frames = [frame + end for frame in body.split(end) if frame.strip()]
    for _ in range(50):
        read(codec, framing, b"".join(rng.choices(frames, k=rng.randrange(2 * len(frames) + 1))))


ODD: list[Any] = [None, True, -1, 1e300, "", "x", [], [None], ["x"], [[]], {}, {"x": 1}, "\ud800"]


def damaged(value: Any) -> list[Any]:
    """The value with one thing in it replaced by something odd, in every way."""
    made = list(ODD)
    if isinstance(value, dict):
        for name, item in value.items():
            made += [{**value, name: other} for other in damaged(item)]
            made.append({key: inner for key, inner in value.items() if key != name})
    elif isinstance(value, list):
        for at, item in enumerate(value):
            made += [[*value[:at], other, *value[at + 1 :]] for other in damaged(item)]
    return made


@pytest.mark.parametrize(("codec", "framing", "body"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
def test_a_stream_with_a_wrong_value_anywhere(codec: Codec, framing: str, body: bytes) -> None:
    end = b"\n" if framing == "ndjson" else b"\n\n"
    frames = [frame for frame in body.split(end) if b"{" in frame]
    for at, frame in enumerate(frames):
        lead, brace, rest = frame.partition(b"{")
        for other in damaged(json.loads(brace + rest)):
            said = [*frames[:at], lead + json.dumps(other).encode(), *frames[at + 1 :]]
            read(codec, framing, end.join(said) + end)


WHOLE = [
    ("documented/baidu/wenxin-function-call", 15, "chat", "m"),
    ("documented/baidu/wenxin-embed", 15, "embeddings", "m"),
    ("documented/tencent/native-tool-call", 23, "chat", "m"),
    ("documented/tencent/native-embed", 23, "embeddings", "m"),
    ("documented/zhipu/chat", 16, "chat", "m"),
    ("dashscope/native-tool-call", 17, "chat", "m"),
    ("dashscope/multimodal-chat", 17, "chat", "qwen-vl-plus"),
    ("dashscope/rerank", 17, "rerank", "m"),
    ("dashscope/image-gen-task-4", 17, "images", "m"),
]


@pytest.mark.parametrize(("name", "number", "mode", "model"), WHOLE, ids=[row[0] for row in WHOLE])
def test_a_whole_answer_with_a_wrong_value_anywhere(name: str, number: int, mode: Any, model: str) -> None:
    codec = ALL[number].endpoint(model, mode).codec
    assert codec.parse_response is not None
    for other in damaged(exchange(name).json):
        if isinstance(other, dict):
            try:
                codec.parse_response(other)
            except UpstreamError:
                continue


@pytest.mark.parametrize("number", [15, 16, 17, 18, 23, 48])
def test_any_bytes_are_an_error_that_can_be_told(number: int) -> None:
    parse_error = chat(number).parse_error
    assert parse_error is not None
    for value in [
        *damaged({"code": "1", "message": "m", "error": {"code": 1, "message": "m"}}),
        *damaged(
            {
                "Response": {"Error": {"Code": "x", "Message": "m"}},
                "error_code": 1,
                "error_msg": "m",
                "header": {"code": 1},
            }
        ),
    ]:
        assert parse_error(400, {}, json.dumps(value).encode()).message
    for body in (b"", b"\xff\xfe", b"<html>", b"[" * 5000):
        assert parse_error(500, {}, body).message
