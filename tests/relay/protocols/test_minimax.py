"""MiniMax's own ways, by their documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Credentials, Flow, Json, UpstreamRequest
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import minimax
from tests.relay.native import driven, exchange, meaning, replied, told

# ---- errors ----


@pytest.mark.parametrize(
    ("code", "status", "is_credential"),
    [
        (1002, 429, False),
        (1004, 401, True),
        (1008, 402, True),
        (1026, 400, False),
        (2013, 400, False),
        (9999, 500, False),
    ],
)
def test_a_refusal_stands_inside_a_200(code: int, status: int, is_credential: bool) -> None:
    answer = {"choices": None, "base_resp": {"status_code": code, "status_msg": "no"}}
    data = json.dumps(answer).encode()
    for read in (
        lambda: minimax.Watcher().feed(Frame(data, data)),
        lambda: minimax.StreamParser().feed(Frame(data, data)),
        lambda: minimax.parse_response(answer),
        lambda: minimax.read_usage(data, {}),
        lambda: minimax.parse_embeddings(answer),
    ):
        with pytest.raises(UpstreamRejected) as caught:
            read()
        error = caught.value
        assert (error.message, error.provider_code, error.upstream_status) == ("no", code, status)
        assert error.is_credential is is_credential


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("error-1002-rate", (429, 1002, True, "cool")),
        ("error-1004-auth", (401, 1004, True, "disable")),
        ("error-1008-balance", (402, 1008, True, "disable")),
        ("error-1026-content", (400, 1026, False, "none")),
        ("error-2013-params", (400, 2013, False, "none")),
    ],
)
def test_documented_refusals(name: str, expected: tuple[Any, ...]) -> None:
    error = minimax.refusal(exchange(f"documented/minimax/{name}").json)
    assert error is not None and meaning(error) == expected


def test_code_0_is_no_refusal() -> None:
    assert minimax.refusal({"base_resp": {"status_code": 0, "status_msg": "success"}}) is None
    assert minimax.refusal({"choices": []}) is None


# ---- chat ----


def test_tools_are_as_documented() -> None:
    recorded = exchange("documented/minimax/tool-call")
    (tool,) = recorded.request["tools"]
    function = {**tool["function"], "parameters": json.loads(tool["function"]["parameters"])}
    given = {**recorded.request, "tools": [{**tool, "function": function}]}
    assert minimax.schemas_as_text(given) == recorded.request
    assert minimax.schemas_as_text(recorded.request) is recorded.request
    assert told(minimax.parse_response(recorded.json)) == {
        "calls": [("call_function_7396", "get_weather", '{"city":"北京"}')],
        "reason": "tool_calls",
        "tokens": (120, 22),
    }


@pytest.mark.parametrize("tools", [None, [], "x", ["x"], [{"type": "function"}], [{"function": {"parameters": "{}"}}]])
def test_what_is_no_schema_is_left_alone(tools: Any) -> None:
    body = {"tools": tools}
    assert minimax.schemas_as_text(body) is body


# ---- embeddings ----


def test_embeddings_are_as_documented() -> None:
    recorded = exchange("documented/minimax/embed")
    request = ir.EmbeddingRequest(model="embo-01", inputs=("你好",))
    assert minimax.render_embeddings(request) == recorded.request
    response = minimax.parse_embeddings(recorded.json)
    assert response.vectors == ((0.0123, -0.0456, 0.0789),)
    assert response.usage is not None and response.usage.input_tokens == 2


def test_a_search_is_another_type_of_embedding() -> None:
    request = ir.EmbeddingRequest(model="embo-01", inputs=("a",), extra={"type": "query"})
    assert minimax.render_embeddings(request)["type"] == "query"


def test_what_cannot_be_embedded_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not tokens"):
        minimax.render_embeddings(ir.EmbeddingRequest(model="m", inputs=((1,),)))
    with pytest.raises(UpstreamGarbled):
        minimax.parse_embeddings({"vectors": None})


# ---- speech ----


def speech(**fields: Any) -> Flow:
    body = {"model": "speech-02-hd", "input": "你好", "voice": "alloy", **fields}
    return minimax.speech_flow(UpstreamRequest(url="u", body=json.dumps(body).encode()), Credentials("k"), 0)


def test_speech_is_asked_for_as_documented_and_comes_as_sound() -> None:
    recorded = exchange("documented/minimax/speech")
    (request,), last = driven(speech(speed=1, vol=1, pitch=0), replied(recorded.body))
    sent = json.loads(request.body)
    sent["audio_setting"] |= {"sample_rate": 32000, "bitrate": 128000, "channel": 1}  # which are its defaults
    assert sent == recorded.request
    assert last.headers == {"content-type": "audio/mpeg"}
    assert last.body == bytes.fromhex(recorded.json["data"]["audio"])


def test_a_voice_of_minimaxs_own_is_taken() -> None:
    (request,), _ = driven(speech(voice="Wise_Woman", response_format="wav"), replied({"data": {"audio": "00"}}))
    sent: Json = json.loads(request.body)
    assert sent["voice_setting"] == {"voice_id": "Wise_Woman"} and sent["audio_setting"] == {"format": "wav"}


def test_speech_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="aac"):
        driven(speech(response_format="aac"))
    with pytest.raises(UpstreamRejected):
        driven(speech(), replied({"base_resp": {"status_code": 1008, "status_msg": "no"}}))
    for broken in ({}, {"data": {"audio": "xy"}}):
        with pytest.raises(UpstreamGarbled):
            driven(speech(), replied(broken))
    refused = replied({"base_resp": {}}, 500)
    assert driven(speech(), refused)[1] == refused
