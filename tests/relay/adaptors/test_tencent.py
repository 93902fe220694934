"""Tencent Hunyuan's own API: its signature, the documented exchanges, and its documented rules."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Credentials, Json, UpstreamRequest
from oneapi.relay.adaptors import tencent
from oneapi.relay.protocols import openai_embeddings, openai_images
from tests.relay.native import dropped, exchange, meaning, rendered, streamed, told

TENCENT = adaptors.load()[23]
CHAT = TENCENT.endpoints["chat"].codec
USER = {"role": "user", "content": "hi"}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
OTHER = {"type": "function", "function": {"name": "other"}}
WEATHER_THERE = {
    "Type": "function",
    "Function": {"Name": "weather", "Description": "d", "Parameters": '{"type": "object", "properties": {}}'},
}


def ask(*messages: Json, **fields: Any) -> Json:
    return rendered(CHAT, {"model": "hunyuan-pro", "messages": list(messages) or [USER], **fields})


# ---- the signature ----

SENT = UpstreamRequest(
    url="https://hunyuan.tencentcloudapi.com/",
    headers={"content-type": "application/json; charset=utf-8", "X-TC-Action": "ChatCompletions"},
    body=b'{"Model":"hunyuan-lite","Messages":[{"Role":"user","Content":"hi"}],"Stream":false}',
)
SIGNATURE = "f723c45eb9806e6c795ffd704b4f86db6b4e045733715700c5fdaaf3051d8d81"


@pytest.mark.parametrize("key", ["1|ID|SECRETKEY", "ID|SECRETKEY"])
def test_the_signature_is_the_specifications(key: str) -> None:
    signed = TENCENT.sign(SENT, Credentials(key), 1_700_000_000.9)
    assert signed.headers["Authorization"] == (
        "TC3-HMAC-SHA256 Credential=ID/2023-11-14/hunyuan/tc3_request, "
        f"SignedHeaders=content-type;host;x-tc-action, Signature={SIGNATURE}"
    )
    assert signed.headers["X-TC-Timestamp"] == "1700000000"
    assert signed.headers["content-type"] == "application/json"  # what is signed, whatever the client's was


def test_the_host_that_is_signed_is_tencents() -> None:
    behind = replace(SENT, url="http://127.0.0.1:8900/")
    elsewhere = replace(SENT, url="https://hunyuan.ap-beijing.tencentcloudapi.com/")
    assert SIGNATURE in TENCENT.sign(behind, Credentials("1|ID|SECRETKEY"), 1.7e9).headers["Authorization"]
    assert SIGNATURE not in TENCENT.sign(elsewhere, Credentials("1|ID|SECRETKEY"), 1.7e9).headers["Authorization"]


@pytest.mark.parametrize("key", ["sk-1", "1||x", "a|b|c|d"])
def test_a_key_of_another_form_is_the_channels_fault(key: str) -> None:
    with pytest.raises(UpstreamRejected) as raised:
        TENCENT.sign(SENT, Credentials(key), 0)
    assert meaning(raised.value)[2:] == (True, "disable")


# ---- requests ----


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("native-chat", {}),
        ("native-chat-stream", {"stream": True}),
    ],
)
def test_plain_requests_are_as_documented(name: str, fields: Json) -> None:
    assert ask({"role": "user", "content": "你好"}, **fields) == exchange(f"documented/tencent/{name}").request


def test_tools_are_as_documented() -> None:
    found = exchange("documented/tencent/native-tool-call").request
    function = found["Tools"][0]["Function"]
    tool = {
        "type": "function",
        "function": {
            "name": function["Name"],
            "description": function["Description"],
            "parameters": json.loads(function["Parameters"]),
        },
    }
    body = ask({"role": "user", "content": "北京天气"}, model=found["Model"], tools=[tool], tool_choice="auto")
    made = body["Tools"][0]["Function"]
    assert json.loads(made["Parameters"]) == json.loads(function["Parameters"])
    made["Parameters"] = function["Parameters"]  # a text, whose blanks are nobody's business
    assert body == found


def test_every_parameter_has_its_place() -> None:
    body = ask(
        temperature=3, top_p=0.5, seed=7, stop=["a", "b"], reasoning_effort="none", stream=True, enable_enhancement=True
    )
    assert body == {
        "Model": "hunyuan-pro",
        "Messages": [{"Role": "user", "Content": "hi"}],
        "EnableEnhancement": True,
        "Temperature": 2,
        "TopP": 0.5,
        "Seed": 7,
        "Stop": ["a", "b"],
        "EnableThinking": False,
        "Stream": True,
    }


def test_a_conversation_takes_turns_and_has_one_system_message_first() -> None:
    answer = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
            {"id": "c2", "type": "function", "function": {"name": "other", "arguments": "{}"}},
        ],
    }
    results = [
        {"role": "tool", "tool_call_id": "c1", "content": "25"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
    ]
    system, late = {"role": "system", "content": "A"}, {"role": "developer", "content": "B"}
    assert ask(system, USER, late, USER, answer, *results, USER)["Messages"] == [
        {"Role": "system", "Content": "A\n\nB"},
        {"Role": "user", "Content": "hi\nhi"},
        {
            "Role": "assistant",
            "Content": "",
            "ToolCalls": [
                {"Id": "c1", "Type": "function", "Function": {"Name": "weather", "Arguments": "{}"}, "Index": 0},
                {"Id": "c2", "Type": "function", "Function": {"Name": "other", "Arguments": "{}"}, "Index": 1},
            ],
        },
        {"Role": "tool", "Content": "25", "ToolCallId": "c1"},
        {"Role": "tool", "Content": " ", "ToolCallId": "c2"},
        {"Role": "user", "Content": "hi"},
    ]


def test_pictures_and_video_stand_in_a_list() -> None:
    content = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/cat.mp4"}},
    ]
    assert ask({"role": "user", "content": content})["Messages"] == [
        {
            "Role": "user",
            "Contents": [
                {"Type": "text", "Text": "what?"},
                {"Type": "image_url", "ImageUrl": {"Url": "https://example.com/cat.png"}},
                {"Type": "image_url", "ImageUrl": {"Url": "data:image/png;base64,AAAA"}},
                {"Type": "video_url", "VideoUrl": {"Url": "https://example.com/cat.mp4"}},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("choice", "sent", "lost"),
    [
        (None, {}, set()),
        ("auto", {"ToolChoice": "auto"}, set()),
        ("none", {"ToolChoice": "none"}, set()),
        ("required", {"ToolChoice": "auto"}, {"tool_choice"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"ToolChoice": "custom", "CustomTool": WEATHER_THERE},
            set(),
        ),
    ],
)
def test_tool_choice(choice: Any, sent: Json, lost: set[str]) -> None:
    fields = {"tools": [WEATHER, OTHER], "tool_choice": choice}
    body = ask(**fields)
    assert {name: body[name] for name in ("ToolChoice", "CustomTool") if name in body} == sent
    assert [tool["Function"]["Name"] for tool in body["Tools"]] == ["weather", "other"]
    assert dropped(CHAT, {"model": "m", "messages": [USER], **fields}) == lost


def test_what_is_lost_is_named_and_not_sent() -> None:
    document = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}
    fields = {
        "max_tokens": 5,
        "response_format": {"type": "json_object"},
        "seed": 123456,
        "n": 2,
        "user": "u",
        "parallel_tool_calls": True,
    }
    message = {"role": "user", "content": [document, {"type": "text", "text": "x"}], "name": "Ann"}
    body = {"model": "m", "messages": [message], **fields}
    assert dropped(CHAT, body) == {
        "files",
        "max_tokens",
        "may_call_in_parallel",
        "n",
        "name",
        "response_format",
        "seed",
        "user",
    }
    contents = [{"Type": "text", "Text": "x"}]
    assert rendered(CHAT, body) == {"Model": "m", "Messages": [{"Role": "user", "Contents": contents}]}


def test_each_mode_is_an_action() -> None:
    actions = {mode: endpoint.headers["X-TC-Action"] for mode, endpoint in TENCENT.endpoints.items()}
    assert actions == {"chat": "ChatCompletions", "embeddings": "GetEmbedding", "images": "TextToImageLite"}
    assert TENCENT.headers == {"X-TC-Version": "2023-09-01"}


# ---- answers ----


def test_documented_answers() -> None:
    answer = tencent.parse_response(exchange("documented/tencent/native-chat").json)
    assert told(answer) == {"text": "你好！有什么我可以帮助你的吗？", "reason": "stop", "tokens": (3, 9)}
    assert (answer.id, answer.created_at) == ("3f0d2b0c-0f2a-4d5a-9e57-4a1d7f4c6e11", 1716192000)
    called = tencent.parse_response(exchange("documented/tencent/native-tool-call").json)
    assert told(called) == {
        "calls": [("call_cq5", "get_weather", '{"city":"北京"}')],
        "reason": "tool_calls",
        "tokens": (30, 12),
    }


def test_the_documented_stream() -> None:
    response = streamed(CHAT, exchange("documented/tencent/native-chat-stream").body)
    assert told(response) == {"text": "你好！", "reason": "stop", "tokens": (3, 2)}
    assert response.extra["note"] == "以上内容为AI生成，不代表开发者立场，请勿删除或修改本标记"


def chunk(delta: Json, reason: str = "", **more: Any) -> bytes:
    body = {"Id": "i", "Created": 1, "Choices": [{"Index": 0, "Delta": delta, "FinishReason": reason}], **more}
    return f"data: {json.dumps(body)}\n\n".encode()


def test_thoughts_tools_and_sources_of_a_stream() -> None:
    call = {"Id": "c", "Type": "function", "Function": {"Name": "f", "Arguments": '{"ToolCalls":'}, "Index": 0}
    rest = {"Index": 0, "Function": {"Arguments": "1}"}}
    found = {"SearchResults": [{"Index": 1, "Title": "A", "Url": "https://a.example"}]}
    response = streamed(
        CHAT,
        chunk({"ReasoningContent": "hm"})
        + chunk({"Content": "see"}, SearchInfo=found)
        + chunk({"ToolCalls": [call]})
        + chunk({"ToolCalls": [rest]})
        + chunk({"Content": ""}, "tool_calls", Usage={"PromptTokens": 5, "CompletionTokens": 6, "TotalTokens": 11}),
    )
    assert told(response) == {
        "thoughts": "hm",
        "text": "see",
        "calls": [("c", "f", '{"ToolCalls":1}')],
        "reason": "tool_calls",
        "tokens": (5, 6),
    }
    (spoken,) = (part for part in response.choices[0].parts if isinstance(part, ir.Text))
    assert spoken.annotations[0]["url_citation"] == {"url": "https://a.example", "title": "A"}


def test_sources_of_a_whole_answer() -> None:
    choice = {"Message": {"Role": "assistant", "Content": "x"}, "FinishReason": "stop"}
    info = {"SearchResults": [{"Title": "A", "Url": "https://a.example"}]}
    (part,) = tencent.parse_response({"Response": {"Choices": [choice], "SearchInfo": info}}).choices[0].parts
    assert isinstance(part, ir.Text) and len(part.annotations) == 1


@pytest.mark.parametrize(("word", "reason"), [("stop", "stop"), ("sensitive", "content_filter")])
def test_reasons_to_finish(word: str, reason: str) -> None:
    assert told(streamed(CHAT, chunk({"Content": "x"}, word)))["reason"] == reason


def test_usage_tells_what_was_cached() -> None:
    usage = {
        "PromptTokens": 9,
        "CompletionTokens": 1,
        "TotalTokens": 10,
        "PromptTokensDetails": {"CachedTokens": 8},
    }
    response = streamed(CHAT, chunk({"Content": "x"}, "stop", Usage=usage))
    assert response.usage is not None and response.usage.cached_tokens == 8


def test_a_stream_that_ends_early_is_garbled() -> None:
    with pytest.raises(UpstreamGarbled):
        streamed(CHAT, chunk({"Content": "x"}))
    with pytest.raises(UpstreamGarbled):
        tencent.parse_response({"Response": {}})


# ---- errors ----


def test_documented_errors_inside_a_200() -> None:
    for name, expected in (
        ("native-error-auth", (401, "AuthFailure.SignatureFailure", True, "disable")),
        ("native-error-rate", (429, "LimitExceeded", True, "cool")),
    ):
        found = exchange(f"documented/tencent/{name}")
        with pytest.raises(UpstreamRejected) as raised:
            tencent.parse_response(found.json)
        assert meaning(raised.value) == expected
        assert raised.value.message == found.json["Response"]["Error"]["Message"]
        assert meaning(tencent.parse_error(200, {}, found.body)) == expected


def test_an_error_inside_a_stream_is_raised() -> None:
    with pytest.raises(UpstreamRejected, match="request model timeout") as raised:
        streamed(CHAT, exchange("documented/tencent/native-stream-error").body)
    assert meaning(raised.value) == (504, 4001, True, "count")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("FailedOperation.ServiceStopArrears", (402, "FailedOperation.ServiceStopArrears", True, "disable")),
        ("FailedOperation.EngineServerError", (500, "FailedOperation.EngineServerError", True, "count")),
        ("OperationDenied.TextIllegalDetected", (400, "content_filter", False, "none")),
        ("ResourceUnavailable.InArrears", (402, "ResourceUnavailable.InArrears", True, "disable")),
        ("InvalidParameterValue.Model", (404, "model_not_found", True, "cool_model")),
        (
            "InvalidParameter.ImageCountLimitExceededError",
            (400, "InvalidParameter.ImageCountLimitExceededError", False, "none"),
        ),
        ("SomethingNew", (500, "SomethingNew", True, "count")),
    ],
)
def test_codes(code: str, expected: tuple[Any, ...]) -> None:
    with pytest.raises(UpstreamRejected) as raised:
        tencent.parse_embeddings({"Response": {"Error": {"Code": code, "Message": "m"}, "RequestId": "r"}})
    assert meaning(raised.value) == expected


def test_a_page_in_place_of_an_error_is_read_as_words() -> None:
    assert tencent.parse_error(502, {}, b"<html><title>Bad Gateway</title></html>").message == "Bad Gateway"


# ---- other modes ----


def test_embeddings_as_documented() -> None:
    found = exchange("documented/tencent/native-embed")
    request = openai_embeddings.parse_request({"model": "hunyuan-embedding", "input": ["你好", "世界"]})
    assert tencent.render_embeddings(request) == found.request
    response = tencent.parse_embeddings(found.json)
    assert response.vectors == ((0.0123, -0.0456, 0.0789), (0.0321, 0.0654, -0.0987))
    assert response.usage is not None and response.usage.input_tokens == 4
    with pytest.raises(InvalidRequest):
        tencent.render_embeddings(openai_embeddings.parse_request({"model": "m", "input": [1, 2]}))


def test_images() -> None:
    request = openai_images.parse_request(
        {"model": "hunyuan-image", "prompt": "p", "size": "768x1024", "negative_prompt": "q", "style": "101"}
    )
    assert tencent.render_images(request) == {
        "Prompt": "p",
        "RspImgType": "url",
        "Resolution": "768:1024",
        "NegativePrompt": "q",
        "Style": "101",
    }
    assert tencent.render_images(replace(request, response_format="b64_json"))["RspImgType"] == "base64"
    with pytest.raises(InvalidRequest):
        tencent.render_images(replace(request, n=2))
    for picture, made in (
        ("https://a.example/1.png", ir.MadeImage(url="https://a.example/1.png")),
        ("AAAA", ir.MadeImage(data="AAAA")),
    ):
        response = tencent.parse_images({"Response": {"ResultImage": picture, "RequestId": "r"}})
        assert response.images == (made,)
        assert response.usage is not None and response.usage.units == {"images": 1}
    with pytest.raises(UpstreamGarbled):
        tencent.parse_images({"Response": {}})
