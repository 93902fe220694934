"""Cloudflare Workers AI, against recorded exchanges and by its documented rules."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Credentials, Flow, Json, Mode, Rendering, Target, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import cloudflare
from oneapi.relay.protocols import openai_completions, openai_images, rerank
from tests.relay.native import driven, exchange, meaning, replied, streamed, told
from tests.relay.protocols.recordings import WRITTEN

CLOUDFLARE = adaptors.load()[37]
DIRECT = "https://api.cloudflare.com"
GATEWAY = "https://gateway.ai.cloudflare.com/v1/ACCOUNT/GATEWAY/workers-ai"
LLAMA = "@cf/meta/llama-3.1-8b-instruct"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkM9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def where(base_url: str, mode: Mode, model: str = LLAMA) -> str:
    return CLOUDFLARE.url(
        Target(
            base_url=base_url,
            path=CLOUDFLARE.endpoints[mode].path,
            model=model,
            mode=mode,
            stream=False,
            fields={"user_id": "ACCOUNT"},
            client_path="/v1/…",
        )
    )


@pytest.mark.parametrize(
    ("base_url", "mode", "expected"),
    [
        (DIRECT, "chat", f"{DIRECT}/client/v4/accounts/ACCOUNT/ai/v1/chat/completions"),
        (DIRECT, "embeddings", f"{DIRECT}/client/v4/accounts/ACCOUNT/ai/v1/embeddings"),
        (DIRECT, "images", f"{DIRECT}/client/v4/accounts/ACCOUNT/ai/run/{LLAMA}"),
        (
            f"{DIRECT}/client/v4/accounts/OTHER/ai/v1",
            "chat",
            f"{DIRECT}/client/v4/accounts/OTHER/ai/v1/chat/completions",
        ),
        (GATEWAY, "chat", f"{GATEWAY}/v1/chat/completions"),
        (GATEWAY, "completions", f"{GATEWAY}/{LLAMA}"),
        (f"{GATEWAY}/v1", "embeddings", f"{GATEWAY}/v1/embeddings"),
    ],
)
def test_each_mode_has_its_place(base_url: str, mode: Mode, expected: str) -> None:
    assert where(base_url, mode) == expected


def test_a_models_name_cannot_leave_its_path() -> None:
    assert where(DIRECT, "images", "@cf/x y?a=b#c").endswith("/ai/run/@cf/x%20y%3Fa%3Db%23c")


# ---- chat ----


def schema_flow(body: Json) -> Flow:
    return cloudflare.schema_flow(UpstreamRequest(url="u", body=json.dumps(body).encode()), Credentials("k"), 0)


def test_an_answer_to_a_schema_is_text_for_openais_clients() -> None:
    found = exchange("cloudflare/structured")
    requests, answer = driven(schema_flow(found.request), replied(found.body))
    assert [json.loads(request.body) for request in requests] == [found.request]
    content = json.loads(answer.body)["choices"][0]["message"]["content"]
    assert json.loads(content) == {"title": "Apples are tasty", "author": "Hadley Wickham"}
    assert {**json.loads(answer.body), "choices": 0} == {**found.json, "choices": 0}


def test_all_other_chats_pass_as_they_are() -> None:
    for body in ({"messages": []}, {"messages": [], "response_format": {"type": "json_schema"}, "stream": True}):
        requests, answer = driven(schema_flow(body))
        assert requests == [] and json.loads(answer.body) == body


def test_a_refused_schema_passes_as_it_is() -> None:
    refused = replied({"errors": [{"code": 5006, "message": "m"}]}, 400)
    assert driven(schema_flow({"response_format": {"type": "json_schema"}}), refused)[1] == refused


def test_the_recorded_stream() -> None:
    codec = CLOUDFLARE.endpoints["chat"].codec
    said = told(streamed(codec, exchange("cloudflare/chat-stream").body))
    assert said["text"].endswith(" + 1 = 2.") and said["tokens"] == (43, 9)


# ---- text completions ----

COMPLETIONS = CLOUDFLARE.endpoints["completions"].codec


def complete(**fields: Any) -> Json:
    body = {"model": LLAMA, "prompt": "Once", **fields}
    assert COMPLETIONS.render_request is not None
    return COMPLETIONS.render_request(openai_completions.parse_request(body))


def test_a_prompt_is_the_models_input() -> None:
    assert complete(max_tokens=9, temperature=0.5, top_p=0.9, seed=1, stream=True, raw=True, prompt=["Once"]) == {
        "prompt": "Once",
        "stream": True,
        "raw": True,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 1,
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
    ],
)
def test_what_only_text_completions_have_is_refused(fields: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        complete(**fields)
    assert caught.value.param == param


def test_what_has_no_place_is_named() -> None:
    request = openai_completions.parse_request({"model": "m", "prompt": "a", "logprobs": 2, "stop": "b", "n": 2})
    assert (request.logprobs, request.top_logprobs) == (True, 2)
    assert COMPLETIONS.cannot_carry >= {"logprobs", "top_logprobs", "stop", "n"}


def test_a_completion_whole_and_streamed() -> None:
    whole = cloudflare.parse_completion(exchange("documented/cloudflare/native-chat").json)
    assert told(whole) == {"text": "你好！", "reason": "stop", "tokens": (12, 4)}
    assert told(streamed(COMPLETIONS, exchange("documented/cloudflare/native-chat-stream").body)) == told(whole)


def test_a_completion_that_ends_early_is_an_error() -> None:
    with pytest.raises(UpstreamGarbled, match="ended before"):
        streamed(COMPLETIONS, b'data: {"response":"a"}\n\n')


def test_an_error_in_a_completion_is_raised() -> None:
    with pytest.raises(UpstreamRejected, match="no luck"):
        streamed(COMPLETIONS, b'data: {"errors":[{"code":3040,"message":"no luck"}]}\n\n')


def test_completions_as_a_client_has_them() -> None:
    response = ir.ChatResponse(
        choices=(ir.Choice(parts=(ir.Reasoning("hm"), ir.Text("a b")), finish_reason="length"),),
        usage=ir.Usage(input_tokens=3, output_tokens=2),
    )
    rendering = Rendering(id="cmpl-1", created_at=7, model="m", wants_usage=True)
    head = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choice = {"text": "a b", "index": 0, "logprobs": None, "finish_reason": "length"}
    assert openai_completions.render_response(response, rendering) == {**head, "choices": [choice], "usage": usage}
    renderer = openai_completions.StreamRenderer(rendering)
    chunks = [piece for event in ir.replay(response) for piece in renderer.feed(event)]
    lines = b"".join([*chunks, renderer.finish()]).decode().split("\n\n")
    assert [json.loads(line[6:]) for line in lines[:3]] == [
        {**head, "choices": [{**choice, "finish_reason": None}]},
        {**head, "choices": [{**choice, "text": ""}]},
        {**head, "choices": [], "usage": usage},
    ]
    assert lines[3:] == ["data: [DONE]", ""]


# ---- images ----


def images(model: str = "@cf/x/sdxl", **fields: Any) -> UpstreamRequest:
    body = cloudflare.render_images(openai_images.parse_request({"model": model, "prompt": "a cat", **fields}))
    return UpstreamRequest(
        url=f"u/{model}", headers={"content-type": "application/json"}, body=json.dumps(body).encode()
    )


def test_a_picture_is_asked_for_by_the_models_own_inputs() -> None:
    request = images(size="512x768", steps=4, quality="hd")
    (once,), answer = driven(cloudflare.image_flow(request, Credentials("k"), 0), replied({"result": {"image": PNG}}))
    assert json.loads(once.body) == {"prompt": "a cat", "steps": 4, "width": 512, "height": 768}
    made = cloudflare.parse_images(json.loads(answer.body))
    assert [image.data for image in made.images] == [PNG]
    assert made.usage is not None and made.usage.units == {"images": 1}


@pytest.mark.parametrize("name", ["native-image-json", "native-image-binary"])
def test_pictures_come_in_json_or_as_they_are(name: str) -> None:
    found = json.loads((WRITTEN / f"documented/cloudflare/{name}.json").read_text())["response"]
    body = base64.b64decode(found["body"]) if found["body_encoding"] == "base64" else found["body"].encode()
    flow = cloudflare.image_flow(images(), Credentials("k"), 0)
    _, answer = driven(flow, WholeReply(200, found["headers"], body))
    (image,) = cloudflare.parse_images(json.loads(answer.body)).images
    assert base64.b64decode(image.data).startswith(b"\x89PNG")


def test_several_pictures_take_several_calls() -> None:
    flow = cloudflare.image_flow(images(n=3), Credentials("k"), 0)
    requests, answer = driven(flow, *(replied(b"x", kind="image/png") for _ in range(3)))
    assert len(requests) == 3
    assert len(cloudflare.parse_images(json.loads(answer.body)).images) == 3


def test_some_models_want_a_form() -> None:
    flow = cloudflare.image_flow(images("@cf/black-forest-labs/flux-2-dev", steps=4), Credentials("k"), 0)
    (once,), _ = driven(flow, replied({"result": {"image": PNG}}))
    kind = once.headers["content-type"]
    form = openai_images.multipart.fields(once.body, openai_images.multipart.parts(once.body, kind))
    assert form == {"prompt": "a cat", "steps": "4"}


def test_a_refused_picture_ends_the_flow() -> None:
    refused = replied({"errors": [{"code": 3036, "message": "m"}]}, 429)
    assert driven(cloudflare.image_flow(images(n=2), Credentials("k"), 0), refused)[1] == refused
    wrong = replied({"success": False, "errors": [{"code": 5006, "message": "no luck"}]})
    with pytest.raises(UpstreamRejected, match="no luck"):
        driven(cloudflare.image_flow(images(), Credentials("k"), 0), wrong)


@pytest.mark.parametrize(("fields", "param"), [({"size": "big"}, "size"), ({"n": 11}, "n")])
def test_wishes_that_cannot_be_met_are_refused(fields: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        images(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [{}, {"images": []}, {"images": [""]}])
def test_an_answer_without_pictures_is_an_error(body: Json) -> None:
    with pytest.raises(UpstreamGarbled):
        cloudflare.parse_images(body)


# ---- transcription ----


def form(**fields: str) -> UpstreamRequest:
    lines = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
    kind = {"content-type": "multipart/form-data; boundary=b"}
    return UpstreamRequest(url="u/@cf/openai/whisper", headers=kind, body="".join([*lines, file]).encode())


HEARD = exchange("documented/cloudflare/native-transcription").body


def heard(request: UpstreamRequest) -> tuple[UpstreamRequest, WholeReply]:
    (once,), answer = driven(cloudflare.transcription_flow(request, Credentials("k"), 0), replied(HEARD))
    return once, answer


def test_a_recording_goes_as_it_is_to_the_first_models() -> None:
    once, answer = heard(form(model="m"))
    assert (once.headers["content-type"], once.body) == ("application/octet-stream", b"RIFF")
    assert json.loads(answer.body) == {"text": "hello world"}


def test_a_recording_goes_in_json_to_later_models() -> None:
    request = form(model="m", language="en", prompt="names")
    later = UpstreamRequest(url="u/@cf/openai/whisper-large-v3-turbo", headers=request.headers, body=request.body)
    once, _ = heard(later)
    assert json.loads(once.body) == {
        "audio": base64.b64encode(b"RIFF").decode(),
        "task": "transcribe",
        "language": "en",
        "initial_prompt": "names",
    }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("json", {"text": "hello world"}),
        ("text", "hello world\n"),
        (
            "verbose_json",
            {
                "task": "transcribe",
                "language": "en",
                "duration": 1.5,
                "text": "hello world",
                "words": json.loads(HEARD)["result"]["words"],
            },
        ),
        ("vtt", "WEBVTT\n"),
    ],
)
def test_a_transcription_comes_in_the_format_that_is_wanted(wanted: str, expected: Any) -> None:
    result = json.loads(HEARD)["result"]
    result |= {"vtt": "WEBVTT\n", "transcription_info": {"language": "en", "duration": 1.5, "other": 1}}
    flow = cloudflare.transcription_flow(form(response_format=wanted), Credentials("k"), 0)
    _, answer = driven(flow, replied({"result": result}))
    found = answer.body.decode() if isinstance(expected, str) else json.loads(answer.body)
    assert found == expected
    assert ("json" in answer.headers["content-type"]) == isinstance(expected, dict)


def test_a_format_that_cannot_be_made_and_a_form_without_a_file_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="srt"):
        heard(form(response_format="srt"))
    body = b'--b\r\nContent-Disposition: form-data; name="url"\r\n\r\nx\r\n--b--\r\n'
    with pytest.raises(InvalidRequest, match="file"):
        heard(UpstreamRequest(url="u", headers={"content-type": "multipart/form-data; boundary=b"}, body=body))


def test_a_refused_recording_passes_as_it_is() -> None:
    refused = replied({"errors": [{"code": 3006, "message": "m"}]}, 413)
    assert driven(cloudflare.transcription_flow(form(), Credentials("k"), 0), refused)[1] == refused


# ---- rerank, models, errors ----


def test_rerank() -> None:
    request = rerank.parse_request({"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1})
    assert cloudflare.render_rerank(request) == {"query": "q", "contexts": [{"text": "a"}, {"text": "b"}], "top_k": 1}
    response = cloudflare.parse_rerank({"result": {"response": [{"id": 1, "score": 0.9}]}, "success": True})
    assert response.results == (ir.Ranked(1, 0.9),)
    with pytest.raises(UpstreamGarbled):
        cloudflare.parse_rerank({"result": {"response": [{"id": None}]}})


def test_the_models_there_are() -> None:
    assert CLOUDFLARE.models_requests is not None
    credentials = Credentials("k", {"user_id": "A"})
    (request,) = CLOUDFLARE.models_requests(DIRECT, credentials, 0)
    assert request.url == f"{DIRECT}/client/v4/accounts/A/ai/models/search?per_page=1000"
    assert cloudflare.parse_models((replied({"result": [{"name": LLAMA}, {"id": "x"}]}),)) == (LLAMA,)
    with pytest.raises(UpstreamRejected):
        cloudflare.parse_models((replied({}, 401),))
    with pytest.raises(UpstreamGarbled):
        cloudflare.parse_models((replied({}),))
    with pytest.raises(InvalidRequest, match="Gateway"):
        CLOUDFLARE.models_requests(GATEWAY, credentials, 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("native-error-400-input", (400, 5006, False, "none")),
        ("native-error-400-model", (404, "model_not_found", True, "cool_model")),
        ("native-error-401", (401, 10000, True, "disable")),
        ("native-error-429", (402, 3036, True, "disable")),
    ],
)
def test_documented_refusals(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(f"documented/cloudflare/{name}")
    error = cloudflare.parse_error(found.status, found.headers, found.body)
    assert error.message == found.json["errors"][0]["message"]
    assert meaning(error) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, {"errors": [{"code": 3040, "message": "m"}]}, (429, 3040, True, "cool")),
        (413, {"errors": [{"code": 5021, "message": "m"}]}, (400, "context_length_exceeded", False, "none")),
        (401, {"success": False, "error": [{"code": 2009, "message": "Unauthorized"}]}, (401, 2009, True, "disable")),
        (400, {"errors": [{"code": 7003, "message": "Could not route"}]}, (401, 7003, True, "disable")),
        (500, {"errors": [{"code": 1, "message": "m"}]}, (500, 1, True, "count")),
        (429, {"error": {"message": "m", "code": "x"}}, (429, "x", True, "cool")),
        (502, {}, (502, "bad_response_status_code", True, "count")),
    ],
)
def test_other_refusals(status: int, body: Json, expected: tuple[Any, ...]) -> None:
    assert meaning(cloudflare.parse_error(status, {}, json.dumps(body).encode())) == expected
