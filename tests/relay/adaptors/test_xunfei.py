"""Spark by WebSocket: the signed URL, versions and domains, and the documented conversations; version 2's errors."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors
from oneapi.relay.adaptor import Credentials, Json, Target, UpstreamRequest
from oneapi.relay.adaptors import xunfei
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import openai_chat_answer, spark_error
from tests.relay import test_cases
from tests.relay.native import dropped, exchange, meaning, rendered, streamed, told
from tests.relay.world import Wait

XUNFEI = adaptors.load()[18]
CHAT = XUNFEI.endpoints["chat"].codec
USER = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Current weather of a city", "parameters": SCHEMA},
}
OTHER = {"type": "function", "function": {"name": "other"}}


def frame(*messages: Json, model: str = "Spark-Max", api_version: str = "", user: str = "12345", **more: Any) -> Json:
    """What is sent in the end: rendered, edited for the channel, signed."""
    body = rendered(CHAT, {"model": model, "messages": list(messages) or [USER], "user": user, **more})
    for edit in XUNFEI.edits_for({"api_version": api_version} if api_version else {}, model, "chat"):
        body = edit(body)
    request = UpstreamRequest(url="wss://spark-api.xf-yun.com/v3.5/chat", body=json.dumps(body).encode())
    found: Json = json.loads(XUNFEI.sign(request, Credentials("12345|SECRET|KEY"), 1.7e9).body)
    return found


# ---- the signed URL ----

VECTOR = (
    "authorization=aG1hYyB1c2VybmFtZT0iQVBJS0VZIiwgYWxnb3JpdGhtPSJobWFjLXNoYTI1NiIsIGhlYWRlcnM9Imhvc3QgZGF0ZSByZXF1ZX"
    "N0LWxpbmUiLCBzaWduYXR1cmU9ImFtbllJL1BPdWNkSHhsR2VwVUpVN29CZEFZWDlsK25mWVpnMU1Vd3BrWUk9Ig%3D%3D"
    "&date=Tue%2C+14+Nov+2023+22%3A13%3A20+UTC&host=spark-api.xf-yun.com"
)


def test_the_signed_url_is_the_specifications() -> None:
    made = xunfei.signed("wss://spark-api.xf-yun.com/v3.5/chat", "APISECRET", "APIKEY", 1_700_000_000.7)
    assert made == f"wss://spark-api.xf-yun.com/v3.5/chat?{VECTOR}"


def test_the_signature_is_over_host_date_and_path() -> None:
    query = parse_qs(urlsplit(xunfei.signed("ws://127.0.0.1:8900/x2", "S", "K", 1.7e9)).query)
    date, host = query["date"][0], query["host"][0]
    assert parsedate_to_datetime(date).timestamp() == 1.7e9
    told_there = f"host: {host}\ndate: {date}\nGET /x2 HTTP/1.1".encode()
    signature = base64.b64encode(hmac.new(b"S", told_there, hashlib.sha256).digest()).decode()
    assert f'signature="{signature}"' in base64.b64decode(query["authorization"][0]).decode()


@pytest.mark.parametrize("key", ["a|b", "a|b|", "a|b|c|d"])
def test_a_key_of_another_form_is_the_channels_fault(key: str) -> None:
    with pytest.raises(UpstreamRejected) as raised:
        XUNFEI.sign(UpstreamRequest(url="wss://x/", body=b"{}"), Credentials(key), 0)
    assert meaning(raised.value)[2:] == (True, "disable")


# ---- versions ----


@pytest.mark.parametrize(
    ("model", "fields", "domain", "address"),
    [
        ("Spark-Lite", {}, "lite", "wss://spark-api.xf-yun.com/v1.1/chat"),
        ("SparkDesk-v2.1", {}, "generalv2", "wss://spark-api.xf-yun.com/v2.1/chat"),
        ("Spark-Pro", {}, "generalv3", "wss://spark-api.xf-yun.com/v3.1/chat"),
        ("Spark-Pro-128K", {}, "pro-128k", "wss://spark-api.xf-yun.com/chat/pro-128k"),
        ("Spark-Max", {}, "generalv3.5", "wss://spark-api.xf-yun.com/v3.5/chat"),
        ("Spark-Max-32K", {}, "max-32k", "wss://spark-api.xf-yun.com/chat/max-32k"),
        ("Spark-4.0-Ultra", {}, "4.0Ultra", "wss://spark-api.xf-yun.com/v4.0/chat"),
        ("Spark-X1", {}, "x1", "wss://spark-api.xf-yun.com/v1/x1"),
        ("Spark-X2", {}, "spark-x", "wss://spark-api.xf-yun.com/x2"),
        ("SparkDesk-v1.5", {}, "generalv1.5", "wss://spark-api.xf-yun.com/v1.5/chat"),
        ("SparkDesk", {"api_version": "v3.5"}, "generalv3.5", "wss://spark-api.xf-yun.com/v3.5/chat"),
        ("Spark-Lite", {"api_version": "v3.5"}, "lite", "wss://spark-api.xf-yun.com/v1.1/chat"),
        ("SparkDesk", {}, "lite", "wss://spark-api.xf-yun.com/v1.1/chat"),
        ("Spark-Image", {}, "imagev3", "wss://spark-api.cn-huabei-1.xf-yun.com/v2.1/image"),
    ],
)
def test_version_domain_and_address(model: str, fields: dict[str, str], domain: str, address: str) -> None:
    target = Target(
        base_url=XUNFEI.base_url,
        path="",
        model=model,
        mode="chat",
        stream=False,
        fields=fields,
        client_path="/v1/chat/completions",
    )
    assert XUNFEI.url(target) == address
    assert frame(model=model, **fields)["parameter"]["chat"]["domain"] == domain


def test_a_base_url_of_the_operators_own() -> None:
    for base, made in (("https://spark.example", "wss://spark.example/x2"), ("http://a:1/b", "ws://a:1/b/x2")):
        target = Target(
            base_url=base, path="", model="Spark-X2", mode="chat", stream=False, fields={}, client_path="/v1"
        )
        assert XUNFEI.url(target) == made


# ---- the question ----


@pytest.mark.parametrize("name", ["ws-chat", "ws-chat-system"])
def test_conversations_are_as_documented(name: str) -> None:
    recorded = exchange(f"documented/xunfei/{name}").request
    messages = recorded["payload"]["message"]["text"]
    assert frame(*messages, temperature=0.5, max_tokens=1024) == recorded


def test_functions_are_as_documented() -> None:
    recorded = exchange("documented/xunfei/ws-function-call").request
    (message,) = recorded["payload"]["message"]["text"]
    assert frame(message, temperature=0.5, max_tokens=1024, tools=[WEATHER]) == recorded


def test_parameters_are_bounded() -> None:
    chat = frame(temperature=1.7, top_k=50)["parameter"]["chat"]
    assert chat == {"domain": "generalv3.5", "temperature": 1, "top_k": 6}
    assert frame(temperature=0, top_k=0)["parameter"]["chat"] == {
        "domain": "generalv3.5",
        "temperature": 0.01,
        "top_k": 1,
    }


def test_the_x_series_knows_more() -> None:
    wishes = {"top_p": 0.9, "presence_penalty": 1, "frequency_penalty": 0.5, "reasoning_effort": "none"}
    assert frame(model="Spark-X2", temperature=1.7, **wishes)["parameter"]["chat"] == {
        "domain": "spark-x",
        "temperature": 1.7,
        "top_p": 0.9,
        "presence_penalty": 1,
        "frequency_penalty": 0.5,
        "thinking": {"type": "disabled"},
    }
    body = {"model": "Spark-X2", "messages": [USER], **wishes}
    assert dropped(CHAT, body) == set()
    assert dropped(CHAT, {**body, "model": "Spark-Max"}) == {
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "thinking",
    }


def test_system_messages_are_one_and_first_and_calls_are_told_as_text() -> None:
    answer = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
    }
    result = {"role": "tool", "tool_call_id": "c", "content": "25"}
    system, late = {"role": "system", "content": "A"}, {"role": "developer", "content": "B"}
    assert frame(system, USER, answer, result, late)["payload"]["message"]["text"] == [
        {"role": "system", "content": "A\n\nB"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": 'f({"a":1})'},
        {"role": "user", "content": "f: 25"},
    ]


def test_a_picture_goes_before_the_words() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    message = {"role": "user", "content": [{"type": "text", "text": "what?"}, picture]}
    assert frame(message, model="Spark-Image")["payload"]["message"]["text"] == [
        {"role": "user", "content": "AAAA", "content_type": "image"},
        {"role": "user", "content": "what?"},
    ]
    assert dropped(CHAT, {"model": "Spark-Image", "messages": [message]}) == set()
    assert dropped(CHAT, {"model": "Spark-Max", "messages": [message]}) == {"images"}


@pytest.mark.parametrize(
    ("choice", "names", "lost"),
    [
        ("auto", ["get_weather", "other"], set()),
        ("none", [], set()),
        ("required", ["get_weather", "other"], {"tool_choice"}),
        ({"type": "function", "function": {"name": "other"}}, ["other"], {"tool_choice"}),
    ],
)
def test_tool_choice(choice: Any, names: list[str], lost: set[str]) -> None:
    fields = {"tools": [WEATHER, OTHER], "tool_choice": choice}
    functions = frame(**fields)["payload"].get("functions", {"text": []})
    assert [function["name"] for function in functions["text"]] == names
    assert dropped(CHAT, {"model": "Spark-Max", "messages": [USER], **fields}) == lost


def test_functions_are_not_for_every_version() -> None:
    assert "functions" not in frame(model="Spark-Lite", tools=[WEATHER])["payload"]
    assert dropped(CHAT, {"model": "Spark-Lite", "messages": [USER], "tools": [WEATHER]}) == {"tools"}
    assert "functions" in frame(model="SparkDesk", api_version="v4.0", tools=[WEATHER])["payload"]
    assert dropped(CHAT, {"model": "SparkDesk", "messages": [USER], "tools": [WEATHER]}) == set()


def test_a_long_name_of_a_user_is_named_as_lost() -> None:
    assert frame(user="u" * 33)["header"] == {"app_id": "12345"}
    body = {"model": "Spark-Max", "messages": [USER], "user": "u" * 33, "stop": "x"}
    assert dropped(CHAT, body) == {"user", "stop"}


# ---- answers ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ws-chat", {"text": "你好！我是讯飞星火认知大模型，很高兴见到你。", "reason": "stop", "tokens": (5, 14)}),
        ("ws-chat-system", {"text": "2", "reason": "stop", "tokens": (20, 1)}),
        (
            "ws-function-call",
            {"calls": [("", "get_weather", '{"city":"北京"}')], "reason": "tool_calls", "tokens": (3, 9)},
        ),
    ],
)
def test_documented_answers(name: str, expected: Json) -> None:
    response = streamed(CHAT, exchange(f"documented/xunfei/{name}").body, "ndjson")
    assert told(response) == expected
    assert response.id == "cht000cb087@dx18793cd421fb894542"


def said(text: Json, status: int) -> bytes:
    choices = {"status": status, "seq": 0, "text": [{"role": "assistant", "index": 0, **text}]}
    return json.dumps({"header": {"code": 0, "sid": "s"}, "payload": {"choices": choices}}).encode() + b"\n"


def test_thoughts() -> None:
    body = said({"reasoning_content": "hm"}, 0) + said({"content": "x", "reasoning_content": ""}, 2)
    assert told(streamed(CHAT, body, "ndjson")) == {"text": "x", "thoughts": "hm", "reason": "stop"}


def test_an_answer_that_stops_before_its_last_frame_is_garbled() -> None:
    with pytest.raises(UpstreamGarbled):
        streamed(CHAT, said({"content": "x"}, 1), "ndjson")
    with pytest.raises(UpstreamGarbled):
        streamed(CHAT, b"{}\n", "ndjson")


def test_a_whole_answer_does_not_wait_for_the_server_to_close() -> None:
    folder = test_cases.FOLDER / "xunfei" / "chat"
    world, status, answer = test_cases.run(folder, test_cases.load(folder), lambda body: [body, Wait(10_000)])
    assert (status, world.clock_s) == (200, 1000.0)
    assert json.loads(answer) == json.loads((folder / "answer.json").read_bytes())


# ---- errors ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ws-error-10005-auth", (401, 10005, True, "disable")),
        ("ws-error-10013-content", (400, "content_filter", False, "none")),
        ("ws-error-10907-too-long", (400, "context_length_exceeded", False, "none")),
        ("ws-error-11202-qps", (429, 11202, True, "cool")),
    ],
)
def test_documented_errors(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(f"documented/xunfei/{name}")
    with pytest.raises(UpstreamRejected) as raised:
        streamed(CHAT, found.body, "ndjson")
    assert meaning(raised.value) == expected
    assert raised.value.message == found.json["header"]["message"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (10008, (503, 10008, True, "count")),
        (10014, (400, "content_filter", False, "none")),
        (11200, (401, 11200, True, "disable")),
        (11203, (429, 11203, True, "cool")),
        (10012, (500, 10012, True, "count")),
    ],
)
def test_codes(code: int, expected: tuple[Any, ...]) -> None:
    error = spark_error.error_in({"code": code, "message": "m"})
    assert error is not None and meaning(error) == expected


def test_a_refused_handshake() -> None:
    assert CHAT.parse_error is not None
    error = CHAT.parse_error(401, {}, b'{"message":"HMAC signature cannot be verified"}')
    assert meaning(error)[2:] == (True, "disable")


# ---- version 2, which is a row of the table ----


V2 = adaptors.load()[48]
V2_CHAT = V2.endpoints["chat"].codec


def test_errors_of_version_2() -> None:
    assert V2_CHAT.parse_error is not None
    for name, expected in (
        ("http-error-401", (401, "bad_response_status_code", True, "disable")),
        ("http-error-11200", (401, 11200, True, "disable")),
    ):
        found = exchange(f"documented/xunfei/{name}")
        assert meaning(V2_CHAT.parse_error(found.status, found.headers, found.body)) == expected


def test_errors_of_version_2_inside_a_200_and_a_stream() -> None:
    data = b'{"code":10907,"message":"token exceeds the limit","sid":"s"}'
    assert V2_CHAT.watcher is not None and V2_CHAT.read_usage is not None and V2_CHAT.parse_response is not None
    for read in (
        lambda: V2_CHAT.watcher().feed(Frame(data, data)),  # type: ignore[misc]
        lambda: streamed(V2_CHAT, b"data: " + data + b"\n\n"),
        lambda: V2_CHAT.parse_response(json.loads(data)),  # type: ignore[misc]
        lambda: V2_CHAT.read_usage(data, {}),  # type: ignore[misc]
    ):
        with pytest.raises(UpstreamRejected) as raised:
            read()
        assert meaning(raised.value) == (400, "context_length_exceeded", False, "none")


def test_streams_of_version_2() -> None:
    found = exchange("documented/xunfei/http-chat-stream").body
    assert told(streamed(V2_CHAT, found)) == {"text": "你好，我是讯飞星火。", "reason": "stop", "tokens": (6, 12)}
    assert V2_CHAT.watcher is not None
    watcher = V2_CHAT.watcher()
    for line in found.strip().split(b"\n\n"):
        watcher.feed(Frame(line, line.removeprefix(b"data: ")))
    assert (watcher.take_text(), watcher.has_finished) == ("你好，我是讯飞星火。", True)


@pytest.mark.parametrize(
    ("model", "path"),
    [("4.0Ultra", "/v1"), ("x1", "/v2"), ("spark-x", "/x2")],
)
def test_models_of_the_x_series_have_addresses_of_their_own(model: str, path: str) -> None:
    target = Target(
        base_url=V2.base_url,
        path=V2.endpoint(model, "chat").path,
        model=model,
        mode="chat",
        stream=False,
        fields={},
        client_path="/v1/chat/completions",
    )
    assert V2.url(target) == f"https://spark-api-open.xf-yun.com{path}/chat/completions"


def test_answers_of_version_2() -> None:
    answer = openai_chat_answer.parse_response(exchange("documented/xunfei/http-tool-call").json)
    assert told(answer) == {
        "calls": [("", "get_weather", '{"city":"北京"}')],
        "reason": "tool_calls",
        "tokens": (3, 9),
    }
