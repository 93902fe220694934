"""DashScope's own protocol, against recorded exchanges and by its documented rules."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected, UpstreamUnreachable
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Credentials, Json, Pause, Rendering, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import ali
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import dashscope, openai_embeddings, openai_images, rerank
from oneapi.relay.protocols.dashscope_error import parse_error
from tests.relay.native import dropped, exchange, meaning, rendered, streamed, told

ALI = adaptors.load()[17]
USER = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}


def ask(**fields: Any) -> Json:
    return rendered(dashscope.TEXT, {"model": "qwen-max", "messages": [USER], **fields})


def media(*content: Any, **fields: Any) -> Json:
    message = {"role": "user", "content": list(content)}
    return rendered(dashscope.MEDIA, {"model": "qwen-vl-plus", "messages": [message], **fields})


# ---- requests ----


@pytest.mark.parametrize("name", ["native-chat-stream", "native-chat-multiturn-system"])
def test_a_streamed_request_is_as_the_providers_sdk_sends_it(name: str) -> None:
    recorded = exchange(f"dashscope/{name}").request
    body = {"model": recorded["model"], "messages": recorded["input"]["messages"], "stream": True}
    assert rendered(dashscope.TEXT, body) == recorded


@pytest.mark.parametrize("name", ["native-tool-call", "native-tool-result"])
def test_tools_and_their_history_are_as_the_providers_sdk_sends_them(name: str) -> None:
    recorded = exchange(f"dashscope/{name}").request
    body = {
        "model": recorded["model"],
        "messages": recorded["input"]["messages"],
        "tools": recorded["parameters"]["tools"],
    }
    assert rendered(dashscope.TEXT, body) == recorded


def test_a_media_request_is_as_the_providers_sdk_sends_it() -> None:
    recorded = exchange("dashscope/multimodal-chat").request
    assert media({"type": "text", "text": "Hello, how are you?"}) == recorded


def test_every_parameter_has_its_place() -> None:
    parameters = ask(
        temperature=2,
        top_p=1,
        top_k=20,
        seed=7,
        n=2,
        stop="END",
        max_completion_tokens=9,
        presence_penalty=0.5,
        logprobs=True,
        top_logprobs=2,
        response_format={"type": "json_object"},
        search_options={"forced_search": True},
        enable_search=True,
        repetition_penalty=1.1,
    )["parameters"]
    assert parameters == {
        "result_format": "message",
        "enable_search": True,
        "repetition_penalty": 1.1,
        "search_options": {"forced_search": True},
        "max_tokens": 9,
        "top_k": 20,
        "seed": 7,
        "presence_penalty": 0.5,
        "logprobs": True,
        "top_logprobs": 2,
        "temperature": 1.99,
        "top_p": 0.9999,
        "n": 2,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
    }


def test_a_schema_goes_along() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    assert ask(response_format=wanted)["parameters"]["response_format"] == wanted


def test_internet_in_the_models_name_means_search() -> None:
    body = ask(model="qwen-plus-internet")
    assert (body["model"], body["parameters"]["enable_search"]) == ("qwen-plus", True)


@pytest.mark.parametrize(
    ("wish", "sent"),
    [
        ({"reasoning_effort": "none"}, {"enable_thinking": False}),
        ({"reasoning_effort": "low"}, {"enable_thinking": True, "thinking_budget": 1024}),
        ({"reasoning_effort": "high"}, {"enable_thinking": True}),
        ({"enable_thinking": False}, {"enable_thinking": False}),
        ({"enable_thinking": True}, {"enable_thinking": True}),
        ({"thinking": {"type": "enabled", "budget_tokens": 77}}, {"enable_thinking": True, "thinking_budget": 77}),
        ({}, {}),
        ({"model": "qwen3-30b-a3b"}, {"enable_thinking": False}),
        ({"model": "qwen3-30b-a3b", "stream": True}, {"incremental_output": True}),
    ],
)
def test_thinking(wish: Json, sent: Json) -> None:
    assert ask(**wish)["parameters"] == {"result_format": "message", **sent}


@pytest.mark.parametrize(
    ("choice", "sent", "lost"),
    [
        (None, None, set()),
        ("auto", "auto", set()),
        ("none", "none", set()),
        ("required", "auto", {"tool_choice"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"type": "function", "function": {"name": "weather"}},
            set(),
        ),
    ],
)
def test_tool_choice(choice: Any, sent: Any, lost: set[str]) -> None:
    fields = {"tools": [WEATHER, OTHER], "tool_choice": choice}
    assert ask(**fields)["parameters"].get("tool_choice") == sent
    assert dropped(dashscope.TEXT, {"model": "m", "messages": [USER], **fields}) == lost


def test_required_of_one_tool_is_that_tool() -> None:
    parameters = ask(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)["parameters"]
    assert parameters["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert parameters["parallel_tool_calls"] is False


def test_allowed_tools_alone_are_offered() -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}}
    parameters = ask(tools=[WEATHER, OTHER], tool_choice=allowed)["parameters"]
    assert [tool["function"]["name"] for tool in parameters["tools"]] == ["other"]


def test_a_tool_that_is_no_function_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="web_search"):
        ask(tools=[{"type": "web_search"}])


def test_pictures_sound_and_video_stand_in_a_list() -> None:
    body = media(
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/cat.mp4"}},
        {"type": "text", "text": "what?"},
    )
    assert body["input"]["messages"][0]["content"] == [
        {"image": "https://example.com/cat.png"},
        {"image": "data:image/jpeg;base64,AAAA"},
        {"audio": "data:audio/mp3;base64,BBBB"},
        {"video": "https://example.com/cat.mp4"},
        {"text": "what?"},
    ]


def test_what_the_endpoint_for_texts_cannot_take_is_named() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    message = {"role": "user", "content": [picture, {"type": "text", "text": "what?"}], "name": "Ann"}
    body = {"model": "qwen-max", "messages": [message], "user": "u", "logit_bias": {"1": 1}}
    assert dropped(dashscope.TEXT, body) == {"images", "user", "logit_bias", "name"}
    assert rendered(dashscope.TEXT, body)["input"]["messages"] == [{"role": "user", "content": "what?"}]


def test_a_document_is_named_as_lost_and_a_video_is_not() -> None:
    document = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}
    video = {"type": "video_url", "video_url": {"url": "https://example.com/cat.mp4"}}
    for part, lost in ((document, {"files"}), (video, set())):
        body = {"model": "qwen-vl-plus", "messages": [{"role": "user", "content": [part]}]}
        assert dropped(dashscope.MEDIA, body) == lost


def test_an_answer_to_be_continued_says_so() -> None:
    messages = [USER, {"role": "assistant", "content": "def f(", "partial": True}]
    assert ask(messages=messages)["input"]["messages"][1] == {
        "role": "assistant",
        "content": "def f(",
        "partial": True,
    }


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("qwen-max", "text-generation"),
        ("qwen-plus-internet", "text-generation"),
        ("qwen3-max", "text-generation"),
        ("qwen3-235b-a22b", "text-generation"),
        ("deepseek-r1", "text-generation"),
        ("qwq-32b-preview", "text-generation"),
        ("qwen-vl-plus", "multimodal-generation"),
        ("qwen2.5-vl-72b-instruct", "multimodal-generation"),
        ("qwen3-vl-plus", "multimodal-generation"),
        ("qwen-audio-turbo", "multimodal-generation"),
        ("qwen2-audio-instruct", "multimodal-generation"),
        ("qwen-vl-ocr", "multimodal-generation"),
        ("qvq-72b-preview", "multimodal-generation"),
        ("qwen3.5-plus", "multimodal-generation"),
        ("qwen3.8-max", "multimodal-generation"),
    ],
)
def test_each_model_is_asked_where_it_is_served(model: str, path: str) -> None:
    assert ALI.endpoint(model, "chat").path == f"/api/v1/services/aigc/{path}/generation"


def test_the_channels_plugin_is_a_header() -> None:
    request = UpstreamRequest(url="https://dashscope.aliyuncs.com/")
    signed = ALI.sign(request, Credentials("sk-1", {"plugin": '{"web":{}}'}), 0)
    assert signed.headers == {"Authorization": "Bearer sk-1", "X-DashScope-Plugin": '{"web":{}}'}
    assert "X-DashScope-Plugin" not in ALI.sign(request, Credentials("sk-1"), 0).headers


# ---- answers ----

CALL = "call_9c0097983c9244429df063"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("native-chat", {"text": "Hello! How can I help you today?", "reason": "stop", "tokens": (10, 8)}),
        (
            "native-tool-call",
            {
                "calls": [(CALL, "get_current_weather", '{"location": "Beijing"}')],
                "reason": "tool_calls",
                "tokens": (177, 21),
            },
        ),
        (
            "native-tool-result",
            {
                "text": "The current weather in Beijing is sunny with a temperature of 20 degrees.",
                "reason": "stop",
                "tokens": (225, 16),
            },
        ),
        (
            "multimodal-chat",
            {
                "text": "Hello! I'm just a program, so I don't have feelings, but I'm here and ready to help you with "
                "whatever you need. How can I assist you today? 😊",
                "reason": "stop",
                "tokens": (14, 39),
            },
        ),
    ],
)
def test_recorded_answers(name: str, expected: Json) -> None:
    assert told(dashscope.parse_response(exchange(f"dashscope/{name}").json)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("native-chat-stream", {"text": "The capital of France is Paris.", "reason": "stop", "tokens": (26, 7)}),
        (
            "native-chat-multiturn-system",
            {"text": "Hello! The answer to 2+2 is 4.", "reason": "stop", "tokens": (28, 13)},
        ),
        (
            "native-tool-call-stream",
            {
                "calls": [("call_355b7a9ccc024c71a743ab", "get_current_weather_test", '{"city": "Beijing"}')],
                "reason": "tool_calls",
                "tokens": (252, 20),
            },
        ),
        (
            "native-tool-call-parallel-stream",
            {
                "calls": [("call_3f06405749c34b749ac694", "calculator_react_test", '{"expression": "6 * 7"}')],
                "reason": "tool_calls",
                "tokens": (262, 22),
            },
        ),
        (
            "native-tool-result-stream",
            {"text": "The result of 6 multiplied by 7 is 42.", "reason": "stop", "tokens": (295, 15)},
        ),
    ],
)
def test_recorded_streams(name: str, expected: Json) -> None:
    assert told(streamed(dashscope.TEXT, exchange(f"dashscope/{name}").body)) == expected


def test_usage_tells_what_was_cached_and_thought() -> None:
    usage = dashscope.parse_response(
        {
            "output": {"choices": [{"finish_reason": "stop", "message": {"content": "x", "reasoning_content": "hm"}}]},
            "usage": {
                "input_tokens": 20,
                "output_tokens": 9,
                "total_tokens": 29,
                "prompt_tokens_details": {"cached_tokens": 16},
                "output_tokens_details": {"reasoning_tokens": 7, "text_tokens": 2},
            },
            "request_id": "r",
        }
    ).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (20, 9, 16, 7)


def event(message: Json, reason: str = "null", **output: Any) -> bytes:
    choice = {"message": {"role": "assistant", **message}, "finish_reason": reason}
    body = {"output": {"choices": [choice], **output}, "request_id": "r"}
    return f"id:1\nevent:result\n:HTTP_STATUS/200\ndata:{json.dumps(body)}\n\n".encode()


def test_thoughts_and_sources_of_a_stream() -> None:
    found = {"search_results": [{"url": "https://a.example", "title": "A", "index": 1}]}
    body = (
        event({"content": "", "reasoning_content": "hm"}, search_info=found)
        + event({"content": "x", "reasoning_content": ""}, search_info=found)
        + event({"content": "y"}, "stop")
    )
    response = streamed(dashscope.TEXT, body)
    assert told(response) == {"text": "xy", "thoughts": "hm", "reason": "stop"}
    (spoken,) = (part for part in response.choices[0].parts if isinstance(part, ir.Text))
    assert spoken.annotations == ({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}},)


@pytest.mark.parametrize(("word", "reason"), [("stop", "stop"), ("length", "length"), ("tool_calls", "tool_calls")])
def test_reasons_to_finish(word: str, reason: str) -> None:
    assert told(streamed(dashscope.TEXT, event({"content": "x"}, word)))["reason"] == reason


def test_a_stream_that_ends_early_is_garbled() -> None:
    with pytest.raises(UpstreamGarbled):
        streamed(dashscope.TEXT, event({"content": "x"}))


# ---- errors ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dashscope/native-error-401", (401, "InvalidApiKey", True, "disable")),
        ("dashscope/rerank-error-400", (404, "model_not_found", True, "cool_model")),
        ("documented/dashscope/native-error-400-content", (400, "content_filter", False, "none")),
        ("documented/dashscope/native-error-400-length", (400, "context_length_exceeded", False, "none")),
        ("documented/dashscope/native-error-429", (429, "Throttling.RateQuota", True, "cool")),
        ("documented/dashscope/native-error-500", (500, "InternalError", True, "count")),
    ],
)
def test_refusals(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(name)
    error = parse_error(found.status, found.headers, found.body)
    assert meaning(error) == expected
    assert error.message == found.json["message"]
    assert error.provider_type == found.json["code"]


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (400, "Arrearage", "Access denied.", (402, "Arrearage", True, "disable")),
        (
            403,
            "AllocationQuota.FreeTierOnly",
            "Free tier used up.",
            (403, "AllocationQuota.FreeTierOnly", True, "cool_model"),
        ),
        (403, "Model.AccessDenied", "Denied.", (403, "Model.AccessDenied", True, "cool_model")),
        (503, "ModelServingError", "Too many.", (503, "ModelServingError", True, "count")),
        (400, "InvalidParameter", "url error, please check url", (404, "model_not_found", True, "cool_model")),
        (418, "SomethingNew", "?", (418, "SomethingNew", False, "none")),
    ],
)
def test_codes(status: int, code: str, message: str, expected: tuple[Any, ...]) -> None:
    body = json.dumps({"code": code, "message": message, "request_id": "r"}).encode()
    assert meaning(parse_error(status, {}, body)) == expected


def test_a_page_in_place_of_an_error_is_read_as_words() -> None:
    assert parse_error(502, {}, b"<html><title>Bad Gateway</title></html>").message == "Bad Gateway"


def test_an_error_inside_a_stream_is_raised_with_its_own_status() -> None:
    with pytest.raises(UpstreamRejected) as raised:
        streamed(dashscope.TEXT, exchange("documented/dashscope/native-stream-error").body)
    assert (raised.value.upstream_status, raised.value.provider_code) == (400, "content_filter")
    parser = dashscope.StreamParser()
    with pytest.raises(UpstreamRejected) as raised:
        parser.feed(Frame(b":HTTP_STATUS/429\n", b'{"code":"New","message":"m"}', "error"))
    assert raised.value.upstream_status == 429


@pytest.mark.parametrize("body", [{}, {"output": None}, {"output": {}}, {"output": []}])
def test_an_answer_without_output_is_garbled(body: Json) -> None:
    with pytest.raises(UpstreamGarbled):
        dashscope.parse_response(body)


# ---- embeddings and rerank ----


def test_embeddings_as_recorded() -> None:
    recorded = exchange("dashscope/embed-native")
    request = openai_embeddings.parse_request(
        {"model": "text-embedding-v1", "input": "What is machine learning?", "text_type": "query"}
    )
    assert ali.render_embeddings(request) == recorded.request
    response = ali.parse_embeddings(recorded.json)
    assert response.vectors == (tuple(recorded.json["output"]["embeddings"][0]["embedding"]),)
    assert response.usage is not None and response.usage.input_tokens == 5


def test_vectors_come_in_the_order_of_their_texts() -> None:
    rows = [{"text_index": 1, "embedding": [2]}, {"text_index": 0, "embedding": [1]}]
    assert ali.parse_embeddings({"output": {"embeddings": rows}}).vectors == ((1.0,), (2.0,))


def test_pictures_are_embedded_as_pictures() -> None:
    picture = "data:image/png;base64,AAAA"
    request = openai_embeddings.parse_request(
        {"model": "qwen3-vl-embedding", "input": ["a cat", picture], "dimensions": 512}
    )
    assert ALI.endpoint("qwen3-vl-embedding", "embeddings").path.endswith("/multimodal-embedding")
    assert ali.render_media_embeddings(request) == {
        "model": "qwen3-vl-embedding",
        "input": {"contents": [{"text": "a cat"}, {"image": picture}]},
        "parameters": {"dimension": 512},
    }


def test_tokens_cannot_be_embedded() -> None:
    with pytest.raises(InvalidRequest):
        ali.render_embeddings(openai_embeddings.parse_request({"model": "m", "input": [1, 2]}))


def test_rerank_as_recorded() -> None:
    recorded = exchange("dashscope/rerank")
    asked = recorded.request
    request = rerank.parse_request({"model": asked["model"], **asked["input"], "top_n": 2})
    assert ali.render_rerank(request) == asked
    response = ali.parse_rerank(recorded.json)
    assert [(row.index, row.score) for row in response.results] == [(0, 0.716894992759484), (2, 0.13988489287145767)]
    assert response.usage is not None and response.usage.input_tokens == 68


# ---- images ----

HEADERS = {"Authorization": "Bearer sk-1", "content-type": "application/json", "X-DashScope-Async": "enable"}


def image_request(**fields: Any) -> UpstreamRequest:
    body = ali.render_images(openai_images.parse_request({"model": "wanx-v1", "prompt": "sunset", **fields}))
    return UpstreamRequest(
        url="https://base.example/x/api/v1/services/aigc/text2image/image-synthesis",
        headers=HEADERS,
        body=json.dumps(body).encode(),
    )


def whole(body: Any, status: int = 200) -> WholeReply:
    return WholeReply(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def drive(flow: Any, replies: list[WholeReply]) -> tuple[list[Any], Any]:
    """What a flow asks for, and what it ends with."""
    asked: list[Any] = []
    found: WholeReply | None = None
    try:
        while True:
            wanted = flow.send(found)
            asked.append(wanted)
            found = None if isinstance(wanted, Pause) else replies.pop(0)
    except StopIteration as stop:
        return asked, stop.value


def test_a_task_is_polled_on_the_channels_own_base_until_it_is_done() -> None:
    steps = [exchange(f"dashscope/image-gen-task-{step}") for step in (1, 2, 3, 4)]
    flow = ali.image_flow(image_request(), Credentials("sk-1"), 0)
    asked, last = drive(flow, [WholeReply(step.status, {}, step.body) for step in steps])
    first, *rest = asked
    assert json.loads(first.body) == {"model": "wanx-v1", "input": {"prompt": "sunset"}, "parameters": {}}
    polls = [one for one in rest if isinstance(one, UpstreamRequest)]
    assert len(polls) == 3 and sum(isinstance(one, Pause) for one in rest) == 2
    assert {(poll.method, poll.url) for poll in polls} == {
        ("GET", "https://base.example/x/api/v1/tasks/d44cb271-6fbe-4e90-9dad-2673de89221e")
    }
    assert polls[0].headers == {"Authorization": "Bearer sk-1"}
    response = ali.parse_images(json.loads(last.body))
    assert [image.url for image in response.images] == [row["url"] for row in steps[3].json["output"]["results"]]
    assert response.usage is not None and response.usage.units == {"images": 4}


def test_links_are_followed_where_base64_is_wanted() -> None:
    done = {"output": {"task_id": "t", "task_status": "SUCCEEDED", "results": [{"url": "https://oss.example/1.png"}]}}
    started = {"output": {"task_id": "t", "task_status": "PENDING"}}
    flow = ali.image_flow(image_request(response_format="b64_json", n=1), Credentials("sk-1"), 0)
    asked, last = drive(flow, [whole(started), whole(done), whole(b"\x89PNG")])
    assert "response_format" not in json.loads(asked[0].body)
    assert (asked[-1].url, dict(asked[-1].headers)) == ("https://oss.example/1.png", {})
    (image,) = ali.parse_images(json.loads(last.body)).images
    assert base64.b64decode(image.data) == b"\x89PNG"


def test_polling_ends() -> None:
    running = whole({"output": {"task_id": "t", "task_status": "RUNNING"}})
    with pytest.raises(UpstreamUnreachable):
        drive(ali.image_flow(image_request(), Credentials("sk-1"), 0), [running] * 1000)


def test_a_task_that_is_refused_is_the_answer() -> None:
    refused = whole({"code": "Throttling", "message": "slow"}, 429)
    assert drive(ali.image_flow(image_request(), Credentials("sk-1"), 0), [refused])[1] == refused


def test_a_task_that_failed_tells_why() -> None:
    failed = {"task_id": "t", "task_status": "FAILED", "code": "DataInspectionFailed", "message": "no"}
    with pytest.raises(UpstreamRejected) as raised:
        ali.parse_images({"output": failed})
    assert (raised.value.upstream_status, raised.value.message) == (400, "no")
    with pytest.raises(UpstreamRejected, match="UNKNOWN"):
        ali.parse_images({"output": {"task_id": "t", "task_status": "UNKNOWN"}})


def test_of_several_pictures_one_may_fail() -> None:
    rows = [{"url": "https://oss.example/1.png"}, {"code": "InternalError", "message": "m"}]
    assert len(ali.parse_images({"output": {"task_status": "SUCCEEDED", "results": rows}}).images) == 1
    with pytest.raises(UpstreamRejected, match="m"):
        ali.parse_images({"output": {"task_status": "SUCCEEDED", "results": rows[1:]}})


def test_newer_models_make_pictures_in_one_call() -> None:
    endpoint = ALI.endpoint("qwen-image-plus", "images")
    assert endpoint.path.endswith("/multimodal-generation/generation") and not endpoint.headers
    request = openai_images.parse_request(
        {"model": "qwen-image-plus", "prompt": "cat", "size": "1328x1328", "n": 1, "watermark": False}
    )
    body = ali.render_images_at_once(request)
    assert {name: body[name] for name in ("input", "parameters")} == {
        "input": {"messages": [{"role": "user", "content": [{"text": "cat"}]}]},
        "parameters": {"watermark": False, "size": "1328*1328", "n": 1},
    }
    message = {"role": "assistant", "content": [{"image": "https://oss.example/1.png"}]}
    answer = {"output": {"choices": [{"finish_reason": "stop", "message": message}]}, "usage": {"image_count": 1}}
    sent = UpstreamRequest(url="https://base.example/", body=json.dumps(body).encode())
    _, last = drive(ali.image_at_once_flow(sent, Credentials("sk-1"), 0), [])
    assert "response_format" not in json.loads(last.body)
    (image,) = ali.parse_images(answer).images
    assert image.url == "https://oss.example/1.png"
    wants_bytes = UpstreamRequest(
        url="https://base.example/", body=json.dumps({**body, "response_format": "b64_json"}).encode()
    )
    asked, last = drive(ali.image_at_once_flow(wants_bytes, Credentials("sk-1"), 0), [whole(answer), whole(b"png")])
    assert len(asked) == 2
    assert ali.parse_images(json.loads(last.body)).images[0].data == base64.b64encode(b"png").decode()


def test_old_image_models_are_checked_and_renamed() -> None:
    (check,) = ALI.edits("wanx-v1", "images")
    body = ali.render_images(openai_images.parse_request({"model": "wanx-v1", "prompt": "p", "size": "5x5"}))
    with pytest.raises(InvalidRequest, match="5x5"):
        check(body)
    old = openai_images.parse_request({"model": "ali-stable-diffusion-xl", "prompt": "p"})
    assert ali.render_images(old)["model"] == "stable-diffusion-xl"


def test_what_the_client_gets_of_an_image() -> None:
    response = ali.parse_images({"output": {"results": [{"url": "u", "actual_prompt": "a cat"}]}})
    rendering = Rendering(id="r", created_at=1, model="m")
    assert openai_images.render_response(response, rendering)["data"] == [{"url": "u", "revised_prompt": "a cat"}]
