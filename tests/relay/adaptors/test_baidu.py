"""Baidu's workshop, version 1, against the documented exchanges and by its documented rules; version 2's errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Credentials, Json, Mode, Target, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import baidu
from oneapi.relay.protocols import openai_embeddings, openai_images, provider_error, rerank
from tests.relay.native import dropped, exchange, meaning, rendered, streamed, told

BAIDU = adaptors.load()[15]
CHAT = BAIDU.endpoints["chat"].codec
USER = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Current weather of a city", "parameters": SCHEMA},
}
OTHER = {"type": "function", "function": {"name": "other"}}


def ask(*messages: Json, **fields: Any) -> Json:
    return rendered(CHAT, {"model": "ERNIE-4.0-8K", "messages": list(messages) or [USER], **fields})


def call(name: str, call_id: str) -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": '{"city":"北京"}'}}


def result(call_id: str, content: Any) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


# ---- requests ----


def test_a_function_and_its_result_are_as_documented() -> None:
    question = {"role": "user", "content": "北京天气怎么样"}
    answer = {"role": "assistant", "content": None, "tool_calls": [call("get_weather", "c1")]}
    called = ask(question, tools=[WEATHER])
    assert called == exchange("documented/baidu/wenxin-function-call").request
    told_back = ask(question, answer, result("c1", '{"temp":25}'), tools=[WEATHER])
    assert told_back == exchange("documented/baidu/wenxin-function-result").request


def test_every_parameter_has_its_place() -> None:
    body = ask(
        temperature=0,
        top_p=0.8,
        frequency_penalty=0.5,
        max_tokens=1,
        stop="END",
        user="u1",
        response_format={"type": "json_object"},
        stream=True,
        disable_search=True,
    )
    assert body == {
        "disable_search": True,
        "messages": [USER],
        "temperature": 0.01,
        "top_p": 0.8,
        "penalty_score": 1.25,
        "max_output_tokens": 2,
        "stop": ["END"],
        "user_id": "u1",
        "response_format": "json_object",
        "stream": True,
    }
    assert ask(temperature=1.7)["temperature"] == 1


def test_all_system_messages_are_one() -> None:
    body = ask({"role": "system", "content": "A"}, USER, {"role": "developer", "content": "B"})
    assert (body["system"], body["messages"]) == ("A\n\nB", [USER])


def test_adjacent_turns_of_one_role_are_one() -> None:
    again = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert ask(USER, again)["messages"] == [{"role": "user", "content": "hi\n\na\nb"}]


def test_calls_in_parallel_become_turns_of_their_own() -> None:
    answer = {
        "role": "assistant",
        "content": "Let me see.",
        "reasoning_content": "two cities",
        "tool_calls": [call("get_weather", "c1"), call("other", "c2")],
    }
    messages = ask(USER, answer, result("c2", "two"), result("c1", [{"type": "text", "text": "one"}]))["messages"]
    function = {"name": "other", "arguments": '{"city":"北京"}', "thoughts": "two cities"}
    assert messages == [
        USER,
        {"role": "assistant", "content": "Let me see.", "function_call": function},
        {"role": "function", "name": "other", "content": "two"},
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "get_weather", "arguments": '{"city":"北京"}'},
        },
        {"role": "function", "name": "get_weather", "content": "one"},
    ]


def test_an_id_that_comes_again_belongs_to_the_turn_before() -> None:
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call("get_weather", "c")]},
        result("c", "one"),
        {"role": "assistant", "content": None, "tool_calls": [call("other", "c")]},
        result("c", "two"),
    ]
    messages = ask(USER, *turns)["messages"]
    assert [message.get("name") for message in messages] == [None, None, "get_weather", None, "other"]
    assert [message["content"] for message in messages] == ["hi", None, "one", None, "two"]


def test_a_call_without_a_result_and_a_result_without_a_call_are_kept() -> None:
    answer = {"role": "assistant", "content": None, "tool_calls": [call("get_weather", "c1")]}
    alone = {"role": "tool", "tool_call_id": "c9", "name": "lost", "content": "x"}
    called = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "get_weather", "arguments": '{"city":"北京"}'},
    }
    assert ask(USER, answer, USER)["messages"] == [USER, called, USER]
    assert ask(USER, answer)["messages"] == [USER, called]
    assert ask(USER, alone)["messages"] == [USER, {"role": "function", "name": "lost", "content": "x"}]


@pytest.mark.parametrize(
    ("choice", "names", "sent", "lost"),
    [
        (None, ["get_weather", "other"], None, set()),
        ("auto", ["get_weather", "other"], None, set()),
        ("none", [], None, set()),
        ("required", ["get_weather", "other"], None, {"tool_choice"}),
        (
            {"type": "function", "function": {"name": "other"}},
            ["get_weather", "other"],
            {"type": "function", "function": {"name": "other"}},
            set(),
        ),
    ],
)
def test_tool_choice(choice: Any, names: list[str], sent: Any, lost: set[str]) -> None:
    fields = {"tools": [WEATHER, OTHER], "tool_choice": choice}
    body = ask(**fields)
    assert [tool["name"] for tool in body.get("functions", [])] == names
    assert body.get("tool_choice") == sent
    assert dropped(CHAT, {"model": "m", "messages": [USER], **fields}) == lost


def test_what_is_lost_is_named() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [picture]}],
        "n": 2,
        "seed": 1,
        "top_k": 3,
        "logprobs": True,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    }
    assert dropped(CHAT, body) == {
        "images",
        "n",
        "seed",
        "top_k",
        "logprobs",
        "presence_penalty",
        "frequency_penalty",
        "may_call_in_parallel",
        "thinking",
        "response_format",
    }
    assert dropped(CHAT, {"model": "m", "messages": [USER], "frequency_penalty": 1}) == set()


# ---- addresses and the token ----


@pytest.mark.parametrize(
    ("model", "mode", "path"),
    [
        ("ERNIE-4.0-8K", "chat", "chat/completions_pro"),
        ("ERNIE-Bot", "chat", "chat/completions"),
        ("ERNIE-Bot-turbo", "chat", "chat/eb-instant"),
        ("ERNIE-Speed-8K", "chat", "chat/ernie_speed"),
        ("ERNIE-3.5-8K-0205", "chat", "chat/ernie-3.5-8k-0205"),
        ("ERNIE-Speed-128K", "chat", "chat/ernie-speed-128k"),
        ("BLOOMZ-7B", "chat", "chat/bloomz_7b1"),
        ("my-own", "chat", "chat/my-own"),
        ("Embedding-V1", "embeddings", "embeddings/embedding-v1"),
        ("bge-large-zh", "embeddings", "embeddings/bge_large_zh"),
        ("tao-8k", "embeddings", "embeddings/tao_8k"),
        ("bce-reranker-base", "rerank", "reranker/bce_reranker_base"),
        ("Stable-Diffusion-XL", "images", "text2image/sd_xl"),
    ],
)
def test_the_model_is_a_part_of_the_path(model: str, mode: Mode, path: str) -> None:
    target = Target(
        base_url="https://aip.baidubce.com",
        path=BAIDU.endpoint(model, mode).path,
        model=model,
        mode=mode,
        stream=False,
        fields={},
        client_path="/v1/chat/completions",
    )
    assert BAIDU.url(target) == f"https://aip.baidubce.com/rpc/2.0/ai_custom/v1/wenxinworkshop/{path}"


def test_the_bought_token_stands_in_the_url_and_the_key_nowhere() -> None:
    request = BAIDU.sign(UpstreamRequest(url="https://aip.baidubce.com/x"), Credentials("a|b", token="24.x/y"), 0)
    assert request.url == "https://aip.baidubce.com/x?access_token=24.x%2Fy"
    assert request.headers == {}


def test_a_token_is_bought_with_the_pair() -> None:
    request = baidu.token_request(Credentials("id|se cret"), 0)
    assert request.url == (
        "https://aip.baidubce.com/oauth/2.0/token?grant_type=client_credentials&client_id=id&client_secret=se+cret"
    )
    found = exchange("documented/baidu/token")
    bought = baidu.parse_token(WholeReply(found.status, {}, found.body), 1000.0)
    assert (bought.value, bought.expires_at) == ("24.REDACTED", 2593000.0)


@pytest.mark.parametrize("key", ["alone", "a|b|c", "|b"])
def test_a_key_that_is_no_pair_is_the_channels_fault(key: str) -> None:
    with pytest.raises(UpstreamRejected) as raised:
        baidu.token_request(Credentials(key), 0)
    assert meaning(raised.value)[2:] == (True, "disable")


def test_a_pair_that_is_refused_is_the_channels_fault() -> None:
    found = exchange("documented/baidu/token-error")
    with pytest.raises(UpstreamRejected) as raised:
        baidu.parse_token(WholeReply(found.status, {}, found.body), 0)
    assert meaning(raised.value) == (401, "invalid_client", True, "disable")


@pytest.mark.parametrize(("status", "body", "kind"), [(503, b"busy", UpstreamRejected), (200, b"{}", UpstreamGarbled)])
def test_no_token_for_another_reason_is_not(status: int, body: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        baidu.parse_token(WholeReply(status, {}, body), 0)
    assert not getattr(raised.value, "is_credential", False)


# ---- answers ----


def test_documented_answers() -> None:
    answer = baidu.parse_response(exchange("documented/baidu/wenxin-chat").json)
    assert told(answer) == {"text": "您好，我是文心一言，很高兴与您交流。", "reason": "stop", "tokens": (7, 18)}
    assert (answer.id, answer.created_at) == ("as-bcmt5ct4iy", 1680167072)
    called = baidu.parse_response(exchange("documented/baidu/wenxin-function-call").json)
    assert told(called) == {
        "thoughts": "用户想知道北京的天气",
        "calls": [("", "get_weather", '{"city":"北京"}')],
        "reason": "tool_calls",
        "tokens": (8, 46),
    }
    after = baidu.parse_response(exchange("documented/baidu/wenxin-function-result").json)
    assert told(after) == {"text": "北京现在25度。", "reason": "stop", "tokens": (26, 8)}


def test_the_documented_stream() -> None:
    response = streamed(CHAT, exchange("documented/baidu/wenxin-chat-stream").body)
    assert told(response) == {"text": "您好，我是文心一言。", "reason": "stop", "tokens": (1, 8)}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "stop"),
        ({"is_truncated": True}, "length"),
        ({"finish_reason": "length"}, "length"),
        ({"finish_reason": "content_filter"}, "content_filter"),
        ({"need_clear_history": True, "ban_round": -1}, "content_filter"),
    ],
)
def test_reasons_to_finish(fields: Json, reason: str) -> None:
    body = {"id": "a", "result": "x", **fields}
    assert baidu.parse_response(body).choices[0].finish_reason == reason
    stream = f"data: {json.dumps({**body, 'is_end': True})}\n\n".encode()
    assert streamed(CHAT, stream).choices[0].finish_reason == reason


def test_sources_are_cited() -> None:
    info = {"search_results": [{"index": 1, "url": "https://a.example", "title": "A"}]}
    (part,) = baidu.parse_response({"result": "x", "search_info": info}).choices[0].parts
    assert isinstance(part, ir.Text)
    assert part.annotations == ({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}},)


def test_a_stream_without_its_last_piece_is_garbled() -> None:
    with pytest.raises(UpstreamGarbled):
        streamed(CHAT, b'data: {"id":"a","result":"x","is_end":false}\n\n')
    with pytest.raises(UpstreamGarbled):
        baidu.parse_response({"id": "a"})


# ---- errors ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wenxin-error-110", (401, 110, True, "disable")),
        ("wenxin-error-18-qps", (429, 18, True, "cool")),
        ("wenxin-error-336003", (400, 336003, False, "none")),
        ("wenxin-error-336100-busy", (503, 336100, True, "count")),
        ("wenxin-error-336104-content", (400, "content_filter", False, "none")),
    ],
)
def test_errors_inside_a_200(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(f"documented/baidu/{name}")
    with pytest.raises(UpstreamRejected) as raised:
        baidu.parse_response(found.json)
    assert meaning(raised.value) == expected
    assert raised.value.message == found.json["error_msg"]
    assert meaning(baidu.parse_error(200, {}, found.body)) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (4, (429, 4, True, "cool")),
        (6, (403, 6, True, "cool_model")),
        (17, (429, 17, True, "cool")),
        (19, (402, 19, True, "disable")),
        (111, (401, 111, True, "disable")),
        (336005, (404, "model_not_found", True, "cool_model")),
        (336007, (400, "context_length_exceeded", False, "none")),
        (336501, (429, 336501, True, "cool")),
        (999999, (500, 999999, True, "count")),
    ],
)
def test_codes(code: int, expected: tuple[Any, ...]) -> None:
    with pytest.raises(UpstreamRejected) as raised:
        baidu.parse_embeddings({"error_code": code, "error_msg": "m"})
    assert meaning(raised.value) == expected


def test_an_error_inside_a_stream_is_raised() -> None:
    with pytest.raises(UpstreamRejected):
        streamed(CHAT, b'data: {"error_code":336100,"error_msg":"busy"}\n\n')


def test_a_page_in_place_of_an_error_is_read_as_words() -> None:
    assert baidu.parse_error(502, {}, b"<html><title>Bad Gateway</title></html>").message == "Bad Gateway"


# ---- other modes ----


def test_embeddings_as_documented() -> None:
    found = exchange("documented/baidu/wenxin-embed")
    request = openai_embeddings.parse_request({"model": "Embedding-V1", "input": ["推荐一些美食", "你好"]})
    assert baidu.render_embeddings(request) == found.request
    response = baidu.parse_embeddings(found.json)
    assert response.vectors == ((0.018314611, 0.00942, -0.0231), (0.125082, -0.0331, 0.0102))
    assert response.usage is not None and response.usage.input_tokens == 12
    with pytest.raises(InvalidRequest):
        baidu.render_embeddings(openai_embeddings.parse_request({"model": "m", "input": [1, 2]}))


def test_rerank() -> None:
    request = rerank.parse_request({"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1})
    assert baidu.render_rerank(request) == {"query": "q", "documents": ["a", "b"], "top_n": 1}
    row = {"document": "b", "relevance_score": 0.9, "index": 1}
    response = baidu.parse_rerank({"id": "as-1", "results": [row], "usage": {"total_tokens": 4}})
    assert response.results == (ir.Ranked(1, 0.9, "b"),)


def test_images_come_as_base64() -> None:
    request = openai_images.parse_request({"model": "m", "prompt": "p", "size": "1024x1024", "n": 1, "steps": 20})
    assert baidu.render_images(request) == {"steps": 20, "prompt": "p", "size": "1024x1024", "n": 1}
    response = baidu.parse_images({"id": "as-1", "created": 5, "data": [{"b64_image": "AAAA", "index": 0}]})
    assert response.images == (ir.MadeImage(data="AAAA"),)
    assert response.usage is not None and response.usage.units == {"images": 1}
    with pytest.raises(UpstreamGarbled):
        baidu.parse_images({"id": "as-1"})


# ---- version 2, which is a row of the table ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("v2-error-401", (401, "invalid_iam_token", True, "disable")),
        ("v2-error-429", (429, "rpm_rate_limit_exceeded", True, "cool")),
    ],
)
def test_errors_of_version_2(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(f"documented/baidu/{name}")
    assert meaning(provider_error.parse_error(found.status, found.headers, found.body)) == expected
