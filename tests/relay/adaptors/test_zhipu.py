"""Zhipu's GLM, versions 4 and 3: recorded and documented exchanges, and the signed token."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors
from oneapi.relay.adaptor import Credentials, Json, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import zhipu
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import openai_embeddings, openai_images, rerank
from tests.relay.native import dropped, exchange, meaning, rendered, streamed, told

ZHIPU = adaptors.load()[16]
CHAT = ZHIPU.endpoints["chat"].codec
V3 = ZHIPU.endpoint("chatglm_turbo", "chat").codec
USER = {"role": "user", "content": "hi"}


def edited(actual_model: str = "glm-4-plus", mode: Any = "chat", **body: Any) -> Json:
    for edit in ZHIPU.edits(actual_model, mode):
        body = edit(body)
    return body


# ---- requests ----


def test_a_request_that_needs_no_change_stays_the_same_object() -> None:
    body = {"model": "glm-4", "messages": [USER], "temperature": 0.5, "top_p": 0.7}
    for edit in ZHIPU.edits("glm-4", "chat"):
        assert edit(body) is body


def test_fields_are_named_and_bounded_as_glm_wants_them() -> None:
    assert edited(temperature=1.7, top_p=0, max_completion_tokens=9, user="u") == {
        "temperature": 1,
        "top_p": 0.01,
        "max_tokens": 9,
        "user_id": "u",
    }
    developer = {"role": "developer", "content": "be brief"}
    assert edited(messages=[developer, USER])["messages"] == [{"role": "system", "content": "be brief"}, USER]


@pytest.mark.parametrize(
    ("model", "wish", "sent"),
    [
        ("glm-4.7", {"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}),
        ("glm-4.7", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ("glm-5.2", {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ("glm-5.2", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ("glm-4.7", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "enabled"}}),
        ("glm-4.7", {}, {}),
    ],
)
def test_thinking(model: str, wish: Json, sent: Json) -> None:
    assert edited(model, **wish) == sent


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("glm-4-plus", "/api/paas/v4/chat/completions"),
        ("glm-5.2", "/api/paas/v4/chat/completions"),
        ("charglm-4", "/api/paas/v4/chat/completions"),
        ("emohaa", "/api/paas/v4/chat/completions"),
        ("codegeex-4", "/api/paas/v4/chat/completions"),
        ("chatglm_turbo", "/api/paas/v3/model-api/{model}/invoke"),
        ("characterglm", "/api/paas/v3/model-api/{model}/invoke"),
    ],
)
def test_only_the_first_generation_is_asked_by_version_3(model: str, path: str) -> None:
    assert ZHIPU.endpoint(model, "chat").path == path


def test_version_3_takes_texts_alone() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        USER,
        {"role": "assistant", "content": "hello"},
        {"role": "tool", "tool_call_id": "c", "content": "25"},
    ]
    body = {"model": "chatglm_turbo", "messages": messages, "temperature": 1.5, "max_tokens": 5, "stop": "x"}
    assert rendered(V3, body) == {
        "prompt": [*messages[:3], {"role": "user", "content": "25"}],
        "temperature": 1,
    }
    assert dropped(V3, body) == {"max_tokens", "stop", "tools"}


# ---- the key ----

VECTOR = (
    "eyJhbGciOiJIUzI1NiIsInNpZ25fdHlwZSI6IlNJR04iLCJ0eXAiOiJKV1QifQ.eyJhcGlfa2V5IjoibXlpZCIsImV4cCI6MTcwMDA4NjQwMDAw"
    "MCwidGltZXN0YW1wIjoxNzAwMDAwMDAwMDAwfQ.tideFHpgHnyoz3LtVpmtww2VdrbCu7I7tXTT3kuY_w4"
)


def test_the_token_is_the_specifications() -> None:
    assert zhipu.token("myid", "mysecret", 1_700_000_000.0) == VECTOR


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_the_token_is_read_by_another_implementation() -> None:
    made = zhipu.token("id", "s3cret", 1_700_000_000.5)
    claims = jwt.decode(made, "s3cret", algorithms=["HS256"], options={"verify_exp": False})
    assert claims == {"api_key": "id", "exp": 1_700_086_400_500, "timestamp": 1_700_000_000_500}
    assert jwt.get_unverified_header(made) == {"alg": "HS256", "sign_type": "SIGN", "typ": "JWT"}


def test_version_4_takes_the_key_as_it_is() -> None:
    request = UpstreamRequest(url="https://open.bigmodel.cn/api/paas/v4/chat/completions")
    signed = ZHIPU.sign(request, Credentials("myid.mysecret"), 1_700_000_000.0)
    assert signed.headers == {"Authorization": "Bearer myid.mysecret"}


def test_version_3_takes_a_token_without_a_word_before_it() -> None:
    request = UpstreamRequest(url="https://open.bigmodel.cn/api/paas/v3/model-api/chatglm_turbo/invoke")
    signed = ZHIPU.sign(request, Credentials("myid.mysecret"), 1_700_000_000.0)
    assert signed.headers == {"Authorization": VECTOR}
    assert ZHIPU.sign(request, Credentials("plain"), 0).headers == {"Authorization": "Bearer plain"}


# ---- answers ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("documented/zhipu/chat", {"text": "你好！", "reason": "stop", "tokens": (9, 3)}),
        ("documented/zhipu/sensitive-finish", {"reason": "content_filter", "tokens": (9, 0)}),
        (
            "zhipu/chat",
            {
                "text": "2 + 2 = 4",
                "thoughts": "1.  Identify the core question: The user is asking for the result of the mathematical "
                'expression "2 + 2".\n2.  Perform the calculation: 2 + 2 = 4.\n3.  Formulate the response: State the '
                "answer clearly and concisely.",
                "reason": "stop",
                "tokens": (20, 67),
            },
        ),
    ],
)
def test_answers(name: str, expected: Json) -> None:
    assert told(zhipu.parse_response(exchange(name).json)) == expected


def test_recorded_tool_calls_and_usage() -> None:
    response = zhipu.parse_response(exchange("zhipu/tool-call-parallel").json)
    assert told(response)["calls"] == [
        ("call_-8062812703858712887", "search_games", '{"city":"Detroit"}'),
        ("call_-8062812703858712886", "get_weather", '{"city":"Detroit"}'),
    ]
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.cached_tokens) == (272, 271)


def test_streams() -> None:
    assert told(streamed(CHAT, exchange("documented/zhipu/chat-stream").body)) == {
        "text": "你好",
        "reason": "stop",
        "tokens": (9, 2),
    }
    assert told(streamed(CHAT, exchange("documented/zhipu/tool-call-stream").body)) == {
        "calls": [("call_8306", "get_weather", '{"city":"北京"}')],
        "reason": "tool_calls",
        "tokens": (160, 12),
    }
    thought = streamed(CHAT, exchange("zhipu/chat-stream").body)
    assert told(thought)["thoughts"].startswith("\n1.  **Analyze the User's Request:**")
    assert thought.usage is not None and thought.usage.reasoning_tokens == 561


def test_version_3_answers() -> None:
    body = {
        "code": 200,
        "success": True,
        "data": {
            "request_id": "r",
            "choices": [{"role": "assistant", "content": json.dumps(' Say "hi".')}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        },
    }
    response = zhipu.parse_v3(body)
    assert told(response) == {"text": ' Say "hi".', "reason": "stop", "tokens": (3, 4)}
    assert response.id == "r"
    body["data"]["choices"][0]["content"] = "plain"
    assert told(zhipu.parse_v3(body))["text"] == "plain"
    with pytest.raises(UpstreamGarbled):
        zhipu.parse_v3({"success": True})


V3_STREAM = (
    b"event:add\nid:1\ndata:Two\n\n"
    b"event:add\nid:1\ndata: lines\ndata:here\n\n"
    b'event:finish\nid:1\ndata:.\nmeta:{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n\n'
)


def test_a_stream_of_version_3_keeps_its_blanks_and_lines() -> None:
    response = streamed(V3, V3_STREAM)
    assert told(response) == {"text": "Two lines\nhere.", "reason": "stop", "tokens": (3, 4)}


def test_a_stream_of_version_3_that_breaks() -> None:
    with pytest.raises(UpstreamGarbled):
        streamed(V3, V3_STREAM.partition(b"event:finish")[0])
    with pytest.raises(UpstreamRejected, match="busy"):
        streamed(V3, b"event:error\nid:1\ndata:busy\n\n")


# ---- errors ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("error-400-content", (400, "content_filter", False, "none")),
        ("error-400-length", (400, "context_length_exceeded", False, "none")),
        ("error-400-params", (400, "1210", False, "none")),
        ("error-401", (401, "1000", True, "disable")),
        ("error-429-balance", (402, "1113", True, "disable")),
        ("error-429-rate", (429, "1302", True, "cool")),
        ("error-500", (500, "1234", True, "count")),
    ],
)
def test_refusals(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(f"documented/zhipu/{name}")
    error = zhipu.parse_error(found.status, found.headers, found.body)
    assert meaning(error) == expected
    assert error.message == found.json["error"]["message"]


def test_refusals_in_other_forms() -> None:
    v3 = b'{"code":1261,"msg":"too long","success":false}'
    assert meaning(zhipu.parse_error(400, {}, v3)) == (400, "context_length_exceeded", False, "none")
    with pytest.raises(UpstreamRejected):
        zhipu.parse_v3(json.loads(v3))
    assert meaning(zhipu.parse_error(418, {}, b'{"error":{"code":"9999","message":"?"}}'))[:2] == (418, "9999")
    assert zhipu.parse_error(502, {}, b"<html><title>Bad Gateway</title></html>").message == "Bad Gateway"


def test_errors_inside_a_stream_and_inside_a_200() -> None:
    data = b'{"error":{"code":"1301","message":"no"}}'
    assert CHAT.watcher is not None and CHAT.read_usage is not None
    for read in (
        lambda: CHAT.watcher().feed(Frame(data, data)),  # type: ignore[misc]
        lambda: streamed(CHAT, b"data: " + data + b"\n\n"),
        lambda: zhipu.parse_response(json.loads(data)),
        lambda: CHAT.read_usage(data, {}),  # type: ignore[misc]
    ):
        with pytest.raises(UpstreamRejected) as raised:
            read()
        assert raised.value.provider_code == "content_filter"


def test_a_good_stream_is_watched() -> None:
    assert CHAT.watcher is not None
    watcher = CHAT.watcher()
    for line in exchange("documented/zhipu/chat-stream").body.split(b"\n\n")[:-1]:
        watcher.feed(Frame(line, line.removeprefix(b"data: ")))
    assert watcher.has_finished and watcher.usage is not None
    assert (watcher.take_text(), watcher.usage.total_tokens) == ("你好", 11)


# ---- other modes ----


def test_embeddings_take_several_inputs() -> None:
    found = exchange("documented/zhipu/embed")
    request = openai_embeddings.parse_request({"model": "embedding-3", "input": ["你好", "世界"]})
    assert openai_embeddings.render_request(request) == found.request
    assert len(openai_embeddings.parse_response(found.json).vectors) == 2


def test_rerank_as_documented() -> None:
    found = exchange("documented/zhipu/rerank")
    assert rerank.render_request(rerank.parse_request(found.request)) == found.request
    results = rerank.parse_response(found.json).results
    assert [(row.index, row.document) for row in results] == [(1, "您好"), (0, "世界")]


def test_one_picture_at_a_time_of_the_size_that_was_asked() -> None:
    wanted = {"model": "cogview-4", "prompt": "p", "size": "1024x1024", "user": "u1"}
    assert edited("cogview-4", "images", **wanted) == {
        "model": "cogview-4",
        "prompt": "p",
        "size": "1024x1024",
        "user_id": "u1",
    }
    with pytest.raises(InvalidRequest):
        edited("cogview-4", "images", **wanted, n=2)
    with pytest.raises(InvalidRequest):
        edited("cogview-3", "images", **{**wanted, "prompt": "p" * 834})


def drive(body: Json, replies: list[WholeReply]) -> tuple[list[UpstreamRequest], Any]:
    request = UpstreamRequest(url="https://open.bigmodel.cn/x", body=json.dumps(body).encode())
    flow = zhipu.image_flow(request, Credentials("k"), 0)
    asked: list[UpstreamRequest] = []
    found: WholeReply | None = None
    try:
        while True:
            asked.append(flow.send(found))  # type: ignore[arg-type]
            found = replies.pop(0)
    except StopIteration as stop:
        return asked, stop.value


def test_a_pictures_link_is_followed_where_base64_is_wanted() -> None:
    found = exchange("documented/zhipu/image-gen")
    body = {"model": "cogview-4", "prompt": "p"}
    asked, last = drive({**body, "response_format": "url"}, [])
    assert not asked and json.loads(last.body) == body
    made = WholeReply(200, {}, found.body)
    asked, last = drive({**body, "response_format": "b64_json"}, [made, WholeReply(200, {}, b"png")])
    assert asked[1].url == openai_images.parse_response(found.json).images[0].url
    (image,) = openai_images.parse_response(json.loads(last.body)).images
    assert base64.b64decode(image.data) == b"png"
    refused = WholeReply(429, {}, b"{}")
    assert drive({**body, "response_format": "b64_json"}, [refused])[1] == refused
    with pytest.raises(UpstreamRejected):
        drive({**body, "response_format": "b64_json"}, [made, WholeReply(404, {}, b"gone")])
