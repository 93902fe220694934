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
from oneapi.relay.adaptor import Codec, Credentials, Endpoint, Json, Pause, UpstreamRequest, WholeReply
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
OLLAMA = b"""{"model":"m","message":{"role":"assistant","content":"","thinking":"t"},"done":false}
{"model":"m","message":{"content":"a","tool_calls":[{"id":"c","function":{"name":"f","arguments":{"a":1}}}]},"done":false}
{"model":"m","message":{"content":"b"},"logprobs":[{"token":"a","logprob":-1}],"done":false}
{"model":"m","message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":4}
"""
COHERE = b"""event: message-start
data:{"id":"1","type":"message-start","delta":{"message":{"role":"assistant"}}}

event: tool-plan-delta
data:{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"p"}}}

event: content-start
data:{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":"t"}}}}

event: content-delta
data:{"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"a"}}}}

event: citation-start
data:{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":1,"sources":[{"id":"d","document":{"title":"t","url":"u"}}],"type":"TEXT_CONTENT"}}}}

event: tool-call-start
data:{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"c","type":"function","function":{"name":"f","arguments":""}}}}}

event: tool-call-delta
data:{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{}"}}}}}

event: message-end
data:{"type":"message-end","delta":{"finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":1},"tokens":{"input_tokens":2,"output_tokens":3,"image_tokens":1,"reasoning_tokens":1},"cached_tokens":1}}}

"""
COHERE_V1 = b"""{"event_type":"stream-start","generation_id":"g"}
{"event_type":"search-results","documents":[{"id":"d","title":"t","url":"u"}]}
{"event_type":"text-generation","text":"a"}
{"event_type":"citation-generation","citations":[{"start":0,"end":1,"document_ids":["d"]}]}
{"event_type":"stream-end","finish_reason":"COMPLETE","response":{"meta":{"tokens":{"input_tokens":1,"output_tokens":2}}}}
"""
COZE = b"""event:conversation.chat.created
data:{"id":"1","status":"created","last_error":{"code":0,"msg":""}}

event:conversation.message.delta
data:{"id":"a","role":"assistant","type":"answer","content":"x","reasoning_content":"r"}

event:conversation.message.completed
data:{"id":"b","role":"assistant","type":"answer","content":"y"}

event:conversation.chat.completed
data:{"id":"1","status":"completed","usage":{"token_count":3,"output_count":1,"input_count":2}}

event:error
data:{"code":4013,"msg":"m"}

event:conversation.chat.failed
data:{"id":"1","status":"failed","last_error":{"code":5000,"msg":"m"}}

"""
REPLICATE = b"""event: output
data: a

event: error
data: {"detail":"m"}

event: done
data: {"reason":"error"}

"""
LIBRARY = b"""data: {"content":"a","finish":false,"model":"m","documents":[{"title":"t","url":"u"}]}

data: {"content":"","finish":true,"errCode":0,"message":""}

"""
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
    ("ollama", chat(30), "ndjson", OLLAMA),
    ("ollama_error", chat(30), "ndjson", exchange("documented/ollama/native-error-mid-stream").body),
    ("cohere", chat(35), "sse", COHERE),
    ("cohere_v1", chat(35, "command-r-internet"), "ndjson", COHERE_V1),
    (
        "cloudflare",
        ALL[37].endpoints["completions"].codec,
        "sse",
        exchange("documented/cloudflare/native-chat-stream").body,
    ),
    ("coze", chat(34), "sse", COZE),
    ("replicate", chat(46), "sse", REPLICATE),
    ("ai_proxy_library", chat(21), "sse", LIBRARY),
    ("mistral", chat(28), "sse", exchange("documented/moonshot/chat-stream").body),
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


FLOWS = [
    (
        "ali_images",
        ALL[17].endpoint("wanx-v1", "images"),
        {"response_format": "b64_json"},
        "dashscope/image-gen-task-1",
    ),
    ("cloudflare_schema", ALL[37].endpoints["chat"], {"json_schema": 1}, "cloudflare/structured"),
    (
        "cloudflare_images",
        ALL[37].endpoints["images"],
        {"input": {}, "n": 1},
        "documented/cloudflare/native-image-json",
    ),
    ("cohere_embeddings", ALL[35].endpoints["embeddings"], {"each": [{}, {}]}, "cohere/embed"),
    ("coze", ALL[34].endpoints["chat"], {"stream": False, "additional_messages": []}, "documented/coze/chat-create-1"),
    ("deepl", ALL[38].endpoints["chat"], {"text": ["a"]}, "deepl/translate-json"),
    ("minimax_speech", ALL[27].endpoints["speech"], {"input": "a"}, "documented/minimax/speech"),
    ("mistral_speech", ALL[28].endpoints["speech"], {"input": "a"}, "mistral/speech"),
    ("replicate", ALL[46].endpoints["chat"], {"input": {}}, "replicate/llm-prediction-prefer-wait"),
    ("replicate_stream", ALL[46].endpoints["chat"], {"input": {}, "stream": True}, "replicate/llm-stream-1"),
    ("replicate_images", ALL[46].endpoints["images"], {"jobs": [{}]}, "replicate/image-prediction-5"),
]


@pytest.mark.parametrize(("endpoint", "asked", "name"), [row[1:] for row in FLOWS], ids=[row[0] for row in FLOWS])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_flow_that_is_answered_oddly(endpoint: Endpoint, asked: Json, name: str, status: int) -> None:
    """Each reply is the same, with one wrong value: in the end there is an answer, or a provider's error."""
    assert endpoint.flow is not None
    request = UpstreamRequest(url="https://h/v1/models/a/b/predictions", body=json.dumps(asked).encode())
    for other in damaged(exchange(name).json):
        reply = WholeReply(status, {"content-type": "application/json"}, json.dumps(other).encode())
        flow = endpoint.flow(request, Credentials("k"), 0)
        try:
            wanted = next(flow)
            while True:
                wanted = flow.send(None if isinstance(wanted, Pause) else reply)
        except StopIteration as stop:
            assert isinstance(stop.value, UpstreamRequest | WholeReply)
        except UpstreamError:
            continue


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
    ("cohere/v2-citations", 35, "chat", "m"),
    ("cohere/v2-tool-call-parallel", 35, "chat", "m"),
    ("cohere/v1-chat", 35, "chat", "command-r-internet"),
    ("cohere/rerank", 35, "rerank", "m"),
    ("documented/cloudflare/native-chat", 37, "completions", "m"),
    ("replicate/llm-prediction-prefer-wait", 46, "chat", "m"),
    ("deepl/translate-json", 38, "chat", "m"),
    ("ollama/native-reasoning-tool-call", 30, "chat", "m"),
    ("documented/minimax/embed", 27, "embeddings", "m"),
    ("mistral/reasoning", 28, "chat", "m"),
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


@pytest.mark.parametrize("number", [15, 16, 17, 18, 21, 23, 28, 30, 34, 35, 37, 38, 40, 41, 45, 46, 48])
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
