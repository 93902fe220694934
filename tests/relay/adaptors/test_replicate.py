"""Replicate's jobs, against recorded exchanges and by its documented rules."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected, UpstreamUnreachable
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Credentials, Flow, Json, Pause, Target, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import replicate
from oneapi.relay.protocols import openai_completions, openai_images
from tests.relay.native import driven, dropped, exchange, meaning, rendered, replied, streamed, told

REPLICATE = adaptors.load()[46]
CHAT = REPLICATE.endpoints["chat"].codec
LLAMA = "meta/meta-llama-3-8b-instruct"
ROOT = "https://api.replicate.com/v1"
USER = {"role": "user", "content": "hi"}
PIXEL = "data:image/png;base64,AAAA"
AT_MODEL = f"{ROOT}/models/{LLAMA}/predictions"


def ask(model: str = LLAMA, **fields: Any) -> Json:
    return rendered(CHAT, {"model": model, "messages": [USER], **fields})


def job(status: str, **more: Any) -> Json:
    return {"id": "j1", "status": status, "urls": {"get": f"{ROOT}/predictions/j1"}, **more}


# ---- where ----


@pytest.mark.parametrize(
    ("base_url", "model", "expected"),
    [
        (f"{ROOT}/models", LLAMA, AT_MODEL),
        (ROOT, "a/b c", f"{ROOT}/models/a/b%20c/predictions"),
        ("http://127.0.0.1:9", LLAMA, f"http://127.0.0.1:9/v1/models/{LLAMA}/predictions"),
        (f"{ROOT}/models", "a/b:0123", f"{ROOT}/predictions"),
    ],
)
def test_a_job_is_made_at_its_model_or_by_its_version(base_url: str, model: str, expected: str) -> None:
    target = Target(
        base_url=base_url,
        path="",
        model=model,
        mode="chat",
        stream=False,
        fields={},
        client_path="/v1/chat/completions",
    )
    assert REPLICATE.url(target) == expected


# ---- chat: the request ----


def test_a_question_is_the_prompt_as_other_clients_send_it() -> None:
    recorded = exchange("replicate/llm-prediction-prefer-wait").request
    message = {"role": "user", "content": recorded["input"]["prompt"]}
    assert ask(messages=[message]) == recorded
    streaming = exchange("replicate/llm-stream-1").request
    message = {"role": "user", "content": streaming["input"]["prompt"]}
    assert ask("meta/llama-2-70b-chat", messages=[message], stream=True) == streaming


def test_every_parameter_of_a_llama_has_its_place() -> None:
    body = ask(
        messages=[{"role": "system", "content": "Be short."}, USER],
        max_tokens=9,
        temperature=0,
        top_p=0.9,
        top_k=20,
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        stop=["END", "."],
        input={"min_tokens": 2},
    )
    assert body == {
        "input": {
            "prompt": "hi",
            "system_prompt": "Be short.",
            "max_tokens": 9,
            "temperature": 0,
            "top_p": 0.9,
            "top_k": 20,
            "seed": 7,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "stop_sequences": "END,.",
            "min_tokens": 2,
        }
    }


def test_a_conversation_names_who_speaks() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "three", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "four"},
        {"role": "user", "content": "five"},
    ]
    prompt = "user: one\ntwo\nassistant: three\ntool: four\nuser: five\nassistant:"
    assert ask(messages=messages)["input"] == {"prompt": prompt}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "openai/gpt-5",
            {"system_prompt": "s", "max_completion_tokens": 9, "image_input": [PIXEL], "reasoning_effort": "low"},
        ),
        ("google/gemini-2.5-flash", {"system_instruction": "s", "max_output_tokens": 9, "images": [PIXEL]}),
        ("anthropic/claude-4-sonnet", {"system_prompt": "s", "max_tokens": 9, "image": PIXEL}),
        ("yorickvp/llava-13b", {"system_prompt": "s", "max_tokens": 9, "image": PIXEL}),
    ],
)
def test_families_of_models_have_names_of_their_own(model: str, expected: Json) -> None:
    content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": content}]
    body = ask(model, messages=messages, max_tokens=9, reasoning_effort="low")
    assert body["input"] == {"prompt": "what?", **expected}


def test_a_budget_switches_thinking_on() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert ask("anthropic/claude-4-sonnet", thinking=thinking)["input"] == {
        "prompt": "hi",
        "thinking_budget_tokens": 2000,
        "extended_thinking": True,
    }
    assert ask("google/gemini-2.5-pro", thinking=thinking)["input"] == {"prompt": "hi", "thinking_budget": 2000}


def test_a_version_stands_in_the_body() -> None:
    assert ask("a/b:0123") == {"input": {"prompt": "hi"}, "version": "0123"}


@pytest.mark.parametrize(
    ("model", "lost"),
    [
        (LLAMA, {"thinking", "images"}),
        ("openai/gpt-5", {"stop", "top_k", "seed"}),
        ("anthropic/claude-4-sonnet", {"stop", "temperature", "top_k", "seed", "thinking", "images"}),
    ],
)
def test_what_a_family_does_not_take_is_named(model: str, lost: set[str]) -> None:
    picture = {"type": "image_url", "image_url": {"url": PIXEL}}
    message = {"role": "user", "content": [picture, picture]}
    wishes = {"stop": "a", "temperature": 1, "top_k": 2, "seed": 3, "reasoning_effort": "low"}
    assert dropped(CHAT, {"model": model, "messages": [message], **wishes}) == lost


def test_what_no_model_takes_is_named() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    body = {"model": LLAMA, "messages": [USER], "tools": [tool], "tool_choice": "auto", "n": 2, "user": "u"}
    assert dropped(CHAT, {**body, "response_format": {"type": "json_object"}, "logprobs": True}) == {
        "tools",
        "tool_choice",
        "n",
        "user",
        "response_format",
        "logprobs",
    }


def test_a_text_completion_is_a_prompt() -> None:
    codec = REPLICATE.endpoints["completions"].codec
    assert codec.render_request is not None
    request = openai_completions.parse_request({"model": "meta/llama-2-7b", "prompt": "Once", "max_tokens": 9})
    assert codec.render_request(request) == {"input": {"prompt": "Once", "max_tokens": 9}}


# ---- chat: the flow ----


def chat(body: Json, url: str = AT_MODEL) -> Flow:
    headers = {"Authorization": "Bearer k"}
    return replicate.chat_flow(
        UpstreamRequest(url=url, headers=headers, body=json.dumps(body).encode()), Credentials("k"), 0
    )


def test_a_stream_is_read_from_its_own_place_at_once_and_without_our_key() -> None:
    first = exchange("replicate/llm-stream-1")
    (made,), last = driven(chat(first.request), replied(first.body, 201))
    assert (made.method, json.loads(made.body)) == ("POST", first.request)
    assert "prefer" not in made.headers
    assert last == UpstreamRequest(
        method="GET", url=first.json["urls"]["stream"], headers={"accept": "text/event-stream"}
    )


def test_an_answer_that_is_not_streamed_is_asked_for_until_it_is_there() -> None:
    done = replied(job("succeeded", output=["a", "b"]))
    requests, last = driven(
        chat({"input": {"prompt": "hi"}}), replied(job("starting"), 201), replied(job("processing", output=["a"])), done
    )
    assert [(request.method, request.url) for request in requests] == [
        ("POST", AT_MODEL),
        ("GET", f"{ROOT}/predictions/j1"),
        ("GET", f"{ROOT}/predictions/j1"),
    ]
    assert requests[0].headers["prefer"] == "wait"
    assert requests[1].body == b"" and requests[1].headers["Authorization"] == "Bearer k"
    assert told(replicate.parse_response(json.loads(last.body))) == {"text": "ab", "reason": "stop"}


def test_a_model_that_cannot_stream_answers_whole() -> None:
    _, last = driven(
        chat({"input": {}, "stream": True}), replied(job("succeeded", output="a"), 201, "text/event-stream")
    )
    assert last.headers == {"content-type": "application/json"} and json.loads(last.body)["output"] == "a"


def test_a_model_known_by_its_version_only_is_looked_up() -> None:
    requests, last = driven(
        chat({"input": {"prompt": "hi"}}, f"{ROOT}/models/a/b/predictions"),
        replied({"detail": "The requested resource could not be found.", "status": 404}, 404),
        replied({"latest_version": {"id": "0123"}}),
        replied(job("succeeded", output="a"), 201),
    )
    assert [(request.method, request.url) for request in requests[1:]] == [
        ("GET", f"{ROOT}/models/a/b"),
        ("POST", f"{ROOT}/predictions"),
    ]
    assert json.loads(requests[2].body) == {"input": {"prompt": "hi"}, "version": "0123"}
    assert json.loads(last.body)["output"] == "a"


@pytest.mark.parametrize("looked_up", [replied({}, 404), replied({"latest_version": None})])
def test_a_model_that_is_not_there_is_refused_as_it_was(looked_up: WholeReply) -> None:
    missing = replied({"detail": "The requested resource could not be found."}, 404)
    assert driven(chat({"input": {}}), missing, looked_up)[1] == missing


def test_a_job_that_never_ends_is_given_up_and_called_off() -> None:
    flow = chat({"input": {}})
    wanted: Any = next(flow)
    found: WholeReply | None = replied(job("starting"), 201)
    waited, urls = 0.0, []
    with pytest.raises(UpstreamUnreachable):
        while True:
            wanted = flow.send(found)
            if isinstance(wanted, Pause):
                waited += wanted.seconds
                found = None
            else:
                urls.append((wanted.method, wanted.url))
                found = replied(job("processing"))
    assert waited == 600
    assert urls[-1] == ("POST", f"{ROOT}/predictions/j1/cancel")


def test_a_poll_that_fails_is_the_answer() -> None:
    broken = replied({"detail": "m"}, 500)
    last = driven(chat({"input": {}}), replied(job("starting"), 201), broken)[1]
    assert (last.status, last.body) == (500, broken.body)


# ---- chat: the answer ----


def test_the_recorded_stream() -> None:
    response = streamed(CHAT, exchange("replicate/llm-stream-2").body)
    assert told(response) == {
        "text": (
            "Sure, here's a joke about OpenTelemetry:\n\nWhy did the OpenTelemetry agent go to therapy?\n\n"
            'Because it was feeling a little "disconnected" from its trace!\n\n'
            "I hope that brought a smile to your face! Is there anything else I can assist you with?"
        ),
        "reason": "stop",
    }


def test_the_recorded_answer_with_its_counts() -> None:
    found = exchange("replicate/llm-prediction-prefer-wait").json
    done = {**found, "status": "succeeded", "metrics": {"input_token_count": 18, "output_token_count": 20}}
    said = told(replicate.parse_response(done))
    assert said == {"text": "".join(found["output"]), "reason": "stop", "tokens": (18, 20)}


def test_an_error_inside_a_stream_is_raised() -> None:
    with pytest.raises(UpstreamRejected, match="unexpected error") as caught:
        streamed(CHAT, exchange("documented/replicate/stream-error").body)
    assert meaning(caught.value)[0] == 500


@pytest.mark.parametrize("reason", ["error", "canceled"])
def test_a_stream_that_is_not_done_well_is_an_error(reason: str) -> None:
    body = b'event: output\ndata: a\n\nevent: done\ndata: {"reason":"%b"}\n\n' % reason.encode()
    with pytest.raises(UpstreamRejected, match=reason):
        streamed(CHAT, body)


def test_a_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(UpstreamGarbled, match="ended before"):
        streamed(CHAT, b"event: output\ndata: a\n\n")


def test_an_empty_answer_is_an_answer() -> None:
    assert told(streamed(CHAT, b"event: done\ndata: {}\n\n")) == {"reason": "stop"}
    assert told(replicate.parse_response(job("succeeded", output=None))) == {"reason": "stop"}


@pytest.mark.parametrize(
    ("told_job", "expected"),
    [
        (job("failed", error="E8765: the model failed"), (500, "E8765", True, "count")),
        (
            job("failed", error="The input or output was flagged as sensitive. (E005)"),
            (400, "content_filter", False, "none"),
        ),
        (job("failed", error="NSFW content detected."), (400, "content_filter", False, "none")),
        (job("canceled"), (500, "canceled", True, "count")),
    ],
)
def test_a_failed_job_is_an_error(told_job: Json, expected: tuple[Any, ...]) -> None:
    with pytest.raises(UpstreamRejected) as caught:
        replicate.parse_response(told_job)
    assert meaning(caught.value) == expected


@pytest.mark.parametrize("name", ["documented/replicate/prediction-failed", "replicate/prediction-cancel"])
def test_recorded_ends_without_an_answer(name: str) -> None:
    with pytest.raises(UpstreamRejected):
        replicate.parse_response(exchange(name).json)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("error-401", (401, "Unauthenticated", True, "disable")),
        ("error-422", (422, "Input validation failed", False, "none")),
    ],
)
def test_recorded_refusals(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(f"replicate/{name}")
    error = replicate.parse_error(found.status, found.headers, found.body)
    assert error.message == found.json["detail"].strip()
    assert meaning(error) == expected


@pytest.mark.parametrize(
    ("status", "title", "expected"),
    [
        (402, "Insufficient credit", (402, "Insufficient credit", True, "disable")),
        (404, "Not found", (404, "model_not_found", True, "cool_model")),
        (500, "Internal server error", (500, "Internal server error", True, "count")),
    ],
)
def test_documented_refusals(status: int, title: str, expected: tuple[Any, ...]) -> None:
    body = json.dumps({"title": title, "detail": "m", "status": status}).encode()
    assert meaning(replicate.parse_error(status, {}, body)) == expected


def test_a_rate_limit_tells_when_to_come_back() -> None:
    body = b'{"detail":"Request was throttled. Your rate limit resets in ~30s.","status":429}'
    error = replicate.parse_error(429, {}, body)
    assert (meaning(error), error.retry_after_s) == ((429, "replicate_error", True, "cool"), 30)


def test_other_shapes_of_errors_are_told_too() -> None:
    for body in (b"", b"<html>", b'{"detail":[{"msg":"m"}]}'):
        assert replicate.parse_error(502, {}, body).message


# ---- images ----

SCHNELL = "black-forest-labs/flux-schnell"


def jobs(model: str = SCHNELL, **fields: Any) -> list[Json]:
    request = openai_images.parse_request({"model": model, "prompt": "a cat", **fields})
    found: list[Json] = replicate.render_images(request)["jobs"]
    return found


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (SCHNELL, {}, [{"output_format": "png"}]),
        (SCHNELL, {"size": "1024x1024"}, [{"output_format": "png", "aspect_ratio": "1:1"}]),
        (SCHNELL, {"size": "1792x1024"}, [{"output_format": "png", "aspect_ratio": "16:9"}]),
        (SCHNELL, {"size": "auto", "n": 2}, [{"output_format": "png", "num_outputs": 2}]),
        (SCHNELL, {"n": 5}, [{"output_format": "png", "num_outputs": 4}, {"output_format": "png"}]),
        ("black-forest-labs/flux-1.1-pro", {"n": 2}, [{"output_format": "png"}, {"output_format": "png"}]),
        (
            "stability-ai/stable-diffusion-3.5-large",
            {"size": "1024x1536"},
            [{"output_format": "png", "aspect_ratio": "2:3"}],
        ),
        (
            "stability-ai/sdxl",
            {"size": "512x768", "n": 2, "seed": 7},
            [{"width": 512, "height": 768, "num_outputs": 2, "seed": 7}],
        ),
        ("recraft-ai/recraft-v3", {"size": "1024x1024"}, [{"size": "1024x1024"}]),
        ("ideogram-ai/ideogram-v2", {"size": "1024x1792"}, [{"aspect_ratio": "9:16"}]),
        (
            "openai/gpt-image-1",
            {"size": "1536x1024", "n": 3, "quality": "high"},
            [{"aspect_ratio": "3:2", "quality": "high", "number_of_images": 3}],
        ),
        ("a/b", {"input": {"steps": 4}, "guidance": 3, "quality": "hd"}, [{"guidance": 3, "steps": 4}]),
    ],
)
def test_size_and_number_are_told_as_each_family_takes_them(model: str, fields: Json, expected: list[Json]) -> None:
    assert jobs(model, **fields) == [{"input": {"prompt": "a cat", **job}} for job in expected]


@pytest.mark.parametrize(
    ("width", "height", "ratio"), [(1024, 1024, "1:1"), (1280, 1024, "5:4"), (2560, 1080, "21:9"), (1, 9, "9:21")]
)
def test_the_nearest_ratio(width: int, height: int, ratio: str) -> None:
    assert replicate.nearest_ratio(width, height) == ratio


@pytest.mark.parametrize(("fields", "param"), [({"size": "big"}, "size"), ({"size": "0x1"}, "size"), ({"n": 11}, "n")])
def test_wishes_that_cannot_be_met_are_refused(fields: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        jobs(**fields)
    assert caught.value.param == param


def picture_flow(url: str, **fields: Any) -> Flow:
    body = replicate.render_images(openai_images.parse_request({"model": SCHNELL, "prompt": "a cat", **fields}))
    return replicate.image_flow(UpstreamRequest(url=url, body=json.dumps(body).encode()), Credentials("k"), 0)


AT_SCHNELL = f"{ROOT}/models/{SCHNELL}/predictions"


def test_the_recorded_job_is_followed_to_its_picture() -> None:
    replies = [exchange(f"replicate/image-prediction-{step}") for step in range(1, 6)]
    requests, last = driven(picture_flow(AT_SCHNELL), *(replied(found.body, found.status) for found in replies))
    assert requests[0].headers["prefer"] == "wait"
    assert {request.url for request in requests[1:]} == {f"{ROOT}/predictions/vdcbnszbj37qhlzgoergjj5dsa"}
    made = replicate.parse_images(json.loads(last.body))
    assert [image.url for image in made.images] == replies[-1].json["output"]
    assert made.usage is not None and made.usage.units == {"images": 1}


def test_a_picture_in_base64_is_fetched_and_has_no_prefix() -> None:
    output = ["https://replicate.delivery/a.png", PIXEL]
    requests, last = driven(
        picture_flow(AT_SCHNELL, response_format="b64_json"),
        replied(job("succeeded", output=output), 201),
        replied(b"\x89PNG", kind="image/png"),
    )
    assert (requests[1].method, requests[1].url, requests[1].headers) == ("GET", output[0], {})
    assert [image.data for image in replicate.parse_images(json.loads(last.body)).images] == [
        base64.b64encode(b"\x89PNG").decode(),
        "AAAA",
    ]


def test_all_jobs_are_made_before_the_first_is_waited_for() -> None:
    requests, last = driven(
        picture_flow(AT_SCHNELL, n=5),
        replied({**job("starting"), "id": "j1"}, 201),
        replied({**job("starting"), "id": "j2"}, 201),
        replied(job("succeeded", output=["https://x/1", "https://x/2"])),
        replied(job("succeeded", output="https://x/3")),
    )
    assert [request.url for request in requests[2:]] == [f"{ROOT}/predictions/j1", f"{ROOT}/predictions/j2"]
    assert "prefer" not in requests[0].headers
    assert [image.url for image in replicate.parse_images(json.loads(last.body)).images] == [
        "https://x/1",
        "https://x/2",
        "https://x/3",
    ]


def test_refused_and_failed_pictures_are_errors() -> None:
    refused = replied({"detail": "m"}, 422)
    assert driven(picture_flow(AT_SCHNELL), refused)[1] == refused
    assert driven(picture_flow(AT_SCHNELL), replied(job("starting"), 201), refused)[1] == refused
    with pytest.raises(UpstreamRejected, match="E8765"):
        driven(picture_flow(AT_SCHNELL), replied(job("failed", error="E8765"), 201))
    with pytest.raises(UpstreamGarbled):
        replicate.parse_images({"links": []})


def test_an_output_may_be_an_object_of_links() -> None:
    output = {"image": "https://x/1", "more": ["https://x/2", 3], "text": "no link"}
    _, last = driven(picture_flow(AT_SCHNELL), replied(job("succeeded", output=output), 201))
    assert json.loads(last.body) == {"links": ["https://x/1", "https://x/2"]}


@pytest.mark.parametrize("name", ["image-prefer-wait-model", "image-prefer-wait-version"])
def test_a_job_that_has_waited_is_asked_for_once_more(name: str) -> None:
    found = exchange(f"replicate/{name}")
    done = {**found.json, "status": "succeeded"}
    _, last = driven(picture_flow(AT_SCHNELL), replied(found.body, 201), replied(done))
    assert json.loads(last.body) == {"links": found.json["output"]}


def test_events_of_no_known_name_say_nothing() -> None:
    assert (
        ir.content(streamed(CHAT, b": hi\n\nevent: logs\ndata: x\n\nevent: done\ndata: {}\n\n").choices[0].parts[0])
        == ""
    )
