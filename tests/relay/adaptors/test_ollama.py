"""Ollama's own API, against recorded exchanges and by its documented rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Credentials, Json, WholeReply
from oneapi.relay.adaptors import ollama
from tests.relay.native import dropped, exchange, meaning, rendered, streamed, told
from tests.relay.protocols.recordings import FOLDER

OLLAMA = adaptors.load()[30]
CHAT = OLLAMA.endpoint("m", "chat").codec
EMBEDDINGS = OLLAMA.endpoint("m", "embeddings").codec
USER = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "other"}}
PIXEL = "data:image/png;base64,AAAA"


def ask(**fields: Any) -> Json:
    return rendered(CHAT, {"model": "qwen3", "messages": [USER], **fields})


# ---- requests ----


def openais(recorded: Json) -> Json:
    """The recorded request as a client of OpenAI's API would have put it; calls get ids, which that API wants."""
    messages = []
    for turn in recorded["messages"]:
        turn = dict(turn)
        if thoughts := turn.pop("thinking", None):
            turn["reasoning_content"] = thoughts
        turn.pop("images", None)
        if calls := turn.get("tool_calls"):
            turn["tool_calls"] = [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])},
                }
                for call in calls
            ]
        if turn.pop("tool_name", None):
            turn["tool_call_id"] = "call_1"
        messages.append(turn)
    options = recorded["options"]
    body = {"model": recorded["model"], "messages": messages, "stream": recorded.get("stream", True)}
    if "num_predict" in options:
        body["max_tokens"] = options["num_predict"]
    if "temperature" in options:
        body["temperature"] = options["temperature"]
    if "think" in recorded:
        body["reasoning_effort"] = "high" if recorded["think"] else "none"
    if "tools" in recorded:
        body["tools"] = recorded["tools"]
    return body


def idless(body: Json) -> Json:
    """The request without the ids and types that versions before 0.12 had not, and without fields that say nothing."""
    messages = []
    for turn in body["messages"]:
        turn = {name: value for name, value in turn.items() if name != "tool_call_id" and value not in (None, [])}
        if calls := turn.get("tool_calls"):
            turn["tool_calls"] = [{"function": call["function"]} for call in calls]
        messages.append(turn)
    said = {name: value for name, value in body.items() if value not in (None, "")}
    return {**said, "messages": messages, "stream": body.get("stream", True)}


@pytest.mark.parametrize(
    "name",
    [
        "native-chat",
        "native-chat-stream",
        "native-chat-multiturn-system",
        "native-max-tokens",
        "native-max-tokens-stream",
        "native-reasoning",
        "native-reasoning-tool-call",
        "native-reasoning-tool-result",
        "native-tool-call",
        "native-tool-call-stream",
        "native-tool-result",
        "native-tool-result-stream",
    ],
)
def test_a_request_is_as_ollamas_own_clients_send_it(name: str) -> None:
    recorded = exchange(f"ollama/{name}").request
    assert idless(rendered(CHAT, openais(recorded))) == idless(recorded)


def test_every_parameter_has_its_place() -> None:
    body = ask(
        seed=7,
        temperature=0.5,
        top_p=0.9,
        top_k=20,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        max_completion_tokens=9,
        stop=["END", "."],
        logprobs=True,
        top_logprobs=2,
        num_ctx=4096,
        repeat_penalty=1.1,
        keep_alive="10m",
        options={"min_p": 0.1},
    )
    assert body == {
        "model": "qwen3",
        "messages": [USER],
        "stream": False,
        "keep_alive": "10m",
        "logprobs": True,
        "top_logprobs": 2,
        "options": {
            "min_p": 0.1,
            "num_ctx": 4096,
            "repeat_penalty": 1.1,
            "seed": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 20,
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "num_predict": 9,
            "stop": ["END", "."],
        },
    }


def test_all_texts_and_pictures_of_a_message_go_along() -> None:
    content = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "text", "text": "two"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,BBBB"}},
    ]
    body = ask(messages=[{"role": "user", "content": content}])
    assert body["messages"] == [{"role": "user", "content": "one\ntwo", "images": ["AAAA", "BBBB"]}]
    assert "image_urls" not in OLLAMA.accepts


def test_roles() -> None:
    body = ask(messages=[{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, USER])
    assert [turn["role"] for turn in body["messages"]] == ["system", "system", "user"]


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, {"type": "object"}),
    ],
)
def test_response_format(wanted: Json, sent: Any) -> None:
    assert ask(response_format=wanted).get("format") == sent


@pytest.mark.parametrize(
    ("model", "wish", "sent"),
    [
        ("qwen3", {}, None),
        ("qwen3", {"reasoning_effort": "low"}, True),
        ("qwen3", {"reasoning_effort": "none"}, False),
        ("qwen3", {"thinking": {"type": "disabled"}}, False),
        ("qwen3", {"enable_thinking": True}, True),
        ("qwen3", {"think": "max"}, "max"),
        ("gpt-oss:20b", {"reasoning_effort": "minimal"}, "low"),
        ("gpt-oss:20b", {"reasoning_effort": "medium"}, "medium"),
        ("gpt-oss:20b", {"enable_thinking": True}, True),
    ],
)
def test_thinking(model: str, wish: Json, sent: Any) -> None:
    assert ask(model=model, **wish).get("think") == sent


@pytest.mark.parametrize(
    ("choice", "names", "lost"),
    [
        (None, ["weather", "other"], set()),
        ("auto", ["weather", "other"], set()),
        ("none", None, set()),
        ("required", ["weather", "other"], {"tool_choice"}),
        ({"type": "function", "function": {"name": "other"}}, ["other"], {"tool_choice"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}},
            ["other"],
            set(),
        ),
    ],
)
def test_tool_choice(choice: Any, names: list[str] | None, lost: set[str]) -> None:
    fields = {"tools": [WEATHER, OTHER], "tool_choice": choice}
    tools = ask(**fields).get("tools")
    assert (None if tools is None else [tool["function"]["name"] for tool in tools]) == names
    assert dropped(CHAT, {"model": "m", "messages": [USER], **fields}) == lost


def test_results_name_the_tool_that_was_called() -> None:
    function = {"name": "weather", "arguments": '{"city":"Köln"}'}
    again = {"name": "other", "arguments": ""}
    picture = [{"type": "text", "text": "dry"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    messages = [
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": function},
                {"id": "b", "type": "function", "function": again},
            ],
        },
        {"role": "tool", "tool_call_id": "b", "content": "fine"},
        {"role": "tool", "tool_call_id": "a", "content": picture},
    ]
    assert ask(messages=messages)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "a", "function": {"name": "weather", "arguments": {"city": "Köln"}}},
                {"id": "b", "function": {"name": "other", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "fine", "tool_name": "other", "tool_call_id": "b"},
        {"role": "tool", "content": "dry", "tool_name": "weather", "tool_call_id": "a", "images": ["AAAA"]},
    ]


@pytest.mark.parametrize("arguments", ["[1]", "{", '"x"'])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    with pytest.raises(InvalidRequest, match="weather"):
        ask(messages=[USER, {"role": "assistant", "tool_calls": [call]}])


def test_what_has_no_place_is_named() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    message = {"role": "user", "content": [sound], "name": "Ann"}
    fields = {"n": 2, "logit_bias": {"1": 1}, "user": "u", "metadata": {"a": "b"}, "parallel_tool_calls": False}
    assert dropped(CHAT, {"model": "m", "messages": [message], **fields}) == {
        "audio",
        "logit_bias",
        "may_call_in_parallel",
        "metadata",
        "n",
        "name",
        "user",
    }


# ---- answers ----


def independent(body: bytes) -> Json:
    """An answer, whole or streamed, by the plainest reading there is."""
    lines = [json.loads(line) for line in body.splitlines() if line.strip()]
    said: Json = {
        "text": "".join(line["message"].get("content") or "" for line in lines),
        "thoughts": "".join(line["message"].get("thinking") or "" for line in lines),
        "calls": [
            (call.get("id", ""), call["function"]["name"], call["function"]["arguments"])
            for line in lines
            for call in line["message"].get("tool_calls") or ()
        ],
        "tokens": (lines[-1]["prompt_eval_count"], lines[-1]["eval_count"]),
    }
    said["reason"] = "tool_calls" if said["calls"] else lines[-1]["done_reason"]
    return {name: value for name, value in said.items() if value}


NAMES = sorted(path.stem for path in (FOLDER / "ollama").glob("native-*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_answer_says_what_is_in_it(name: str) -> None:
    found = exchange(f"ollama/{name}")
    is_stream = "ndjson" in found.headers["content-type"]
    response = streamed(CHAT, found.body, "ndjson") if is_stream else ollama.parse_response(found.json)
    said = told(response)
    said["calls"] = [(id, name, json.loads(arguments)) for id, name, arguments in said.get("calls", [])]
    assert {name: value for name, value in said.items() if value} == independent(found.body)
    assert response.model == json.loads(found.body.splitlines()[0])["model"]


def test_the_recordings_are_read_at_all() -> None:
    exchange("ollama/native-chat")
    assert len(NAMES) == 14


def test_a_stream_cut_by_its_limit_says_length() -> None:
    said = told(streamed(CHAT, exchange("ollama/native-max-tokens-stream").body, "ndjson"))
    assert (said["reason"], said["tokens"]) == ("length", (15, 50))


def test_calls_on_several_lines_are_several_calls() -> None:
    said = told(streamed(CHAT, exchange("ollama/native-prism-tool-call-stream").body, "ndjson"))
    assert [name for _, name, _ in said["calls"]] == ["weather", "search"]


def test_log_probabilities_come_along() -> None:
    logprobs = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
    body = {"model": "m", "message": {"role": "assistant", "content": "a"}, "logprobs": logprobs, "done": True}
    assert ollama.parse_response(body).choices[0].logprobs == {"content": logprobs}


def test_a_prompt_that_was_not_counted_leaves_the_counting_to_us() -> None:
    body = {"model": "m", "message": {"content": "a"}, "done": True, "eval_count": 5}
    assert ollama.parse_response(body).usage is None


def test_a_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(UpstreamGarbled, match="ended before"):
        streamed(CHAT, b'{"model":"m","message":{"role":"assistant","content":"a"},"done":false}\n', "ndjson")


# ---- errors ----


def test_an_error_inside_a_stream_is_raised() -> None:
    with pytest.raises(UpstreamRejected, match="unexpected EOF") as caught:
        streamed(CHAT, exchange("documented/ollama/native-error-mid-stream").body, "ndjson")
    assert meaning(caught.value) == (500, "ollama_error", True, "count")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {"error": "model 'none' not found"}, (404, "model_not_found", True, "cool_model")),
        (400, {"error": '"llama2" does not support tools'}, (400, "ollama_error", False, "none")),
        (
            400,
            {"error": "the input length exceeds the context length"},
            (400, "context_length_exceeded", False, "none"),
        ),
        (401, {"error": "unauthorized", "signin_url": "u"}, (401, "ollama_error", True, "disable")),
        (429, {"error": "you have reached your hourly usage limit"}, (429, "ollama_error", True, "cool")),
        (503, {"error": "server busy, please try again."}, (503, "ollama_error", True, "count")),
    ],
)
def test_errors(status: int, body: Json, expected: tuple[Any, ...]) -> None:
    error = ollama.parse_error(status, {}, json.dumps(body).encode())
    assert error.message == body["error"]
    assert meaning(error) == expected


def test_the_documented_refusal() -> None:
    found = exchange("documented/ollama/native-error-404")
    assert ollama.parse_error(found.status, found.headers, found.body).message == "model 'none' not found"


@pytest.mark.parametrize("body", [b"", b"<html><title>nginx</title>", b'{"error":{"message":"m"}}', b"[]"])
def test_other_shapes_of_errors_are_told_too(body: bytes) -> None:
    assert ollama.parse_error(502, {}, body).message


# ---- embeddings, and the models there are ----


def test_embeddings() -> None:
    request = ir.EmbeddingRequest(model="m", inputs=("a", "b"), dimensions=2, extra={"truncate": False, "x": 1})
    assert ollama.render_embeddings(request) == {
        "model": "m",
        "input": ["a", "b"],
        "dimensions": 2,
        "truncate": False,
    }
    answer = {"model": "m", "embeddings": [[0.5, 1], [1, 2]], "prompt_eval_count": 8}
    response = ollama.parse_embeddings(answer)
    assert response.vectors == ((0.5, 1.0), (1.0, 2.0))
    assert response.usage is not None and (response.usage.input_tokens, response.usage.output_tokens) == (8, 0)


def test_embeddings_of_tokens_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="not tokens"):
        ollama.render_embeddings(ir.EmbeddingRequest(model="m", inputs=((1, 2),)))


@pytest.mark.parametrize("body", [{"error": "m"}, {}, {"embeddings": [["x"]]}, {"embeddings": {}}])
def test_an_answer_without_vectors_is_an_error(body: Json) -> None:
    with pytest.raises((UpstreamRejected, UpstreamGarbled)):
        ollama.parse_embeddings(body)


def test_the_models_there_are() -> None:
    assert OLLAMA.models_requests is not None
    (request,) = OLLAMA.models_requests("http://h:11434", Credentials("k"), 0)
    assert (request.method, request.url) == ("GET", "http://h:11434/api/tags")
    body = json.dumps({"models": [{"name": "llama3:latest", "size": 1}, {"name": "phi3:latest"}]}).encode()
    assert ollama.parse_models((WholeReply(200, {}, body),)) == ("llama3:latest", "phi3:latest")
    with pytest.raises(UpstreamRejected):
        ollama.parse_models((WholeReply(401, {}, b"{}"),))
    with pytest.raises(UpstreamGarbled):
        ollama.parse_models((WholeReply(200, {}, b"{}"),))
