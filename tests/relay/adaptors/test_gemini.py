"""Google AI Studio's channel type: addresses, safety, pictures, lists of models, and whole calls of OpenAI clients."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.options import Options
from oneapi.relay import adaptors, convert, ir, pipeline
from oneapi.relay.adaptor import Credentials, Target, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import gemini, palm
from oneapi.relay.exchange import Channel
from oneapi.relay.protocols import gemini_embeddings, gemini_images, openai_embeddings
from tests.needs import lacking
from tests.relay.adaptors.test_openai_compatible import spec
from tests.relay.protocols.recordings import FOLDER, Recording, recordings
from tests.relay.world import World, drained

(GEMINI,) = gemini.ADAPTORS
BASE = "https://generativelanguage.googleapis.com"
NOW = 1_700_000_000.0


def address(mode: Any = "chat", model: str = "gemini-2.5-flash", stream: bool = False, **fields: str) -> str:
    endpoint = GEMINI.endpoint(model, mode)
    path = (endpoint.stream_path or endpoint.path) if stream else endpoint.path
    return GEMINI.url(
        Target(
            base_url=BASE, path=path, model=model, mode=mode, stream=stream, fields=fields, client_path="/v1/whatever"
        )
    )


def test_numbers_labels_addresses_and_owners_are_one_apis() -> None:
    rows = {row["id"]: row for row in spec()["channels"]}
    for adaptor in (GEMINI, *palm.ADAPTORS):
        row = rows[adaptor.type]
        assert (adaptor.label, adaptor.base_url) == (row["name"], row["base_url"])
        assert (adaptor.owner, adaptor.is_listed) == (row["owned_by"], row["in_static_model_list"])
        assert adaptor.legacy_field == (row["legacy_other_field"] or "")
        assert {*row["config_fields"]} <= {field.name for field in adaptor.fields}


def test_addresses() -> None:
    assert address() == f"{BASE}/v1beta/models/gemini-2.5-flash:generateContent"
    assert address(stream=True) == f"{BASE}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert address(api_version="v1") == f"{BASE}/v1/models/gemini-2.5-flash:generateContent"
    assert (
        address("embeddings", "gemini-embedding-001") == f"{BASE}/v1beta/models/gemini-embedding-001:batchEmbedContents"
    )
    assert address(model="tunedModels/mine") == f"{BASE}/v1beta/tunedModels/mine:generateContent"


def test_recorded_requests_went_to_the_same_addresses() -> None:
    found = recordings(lambda r: r.name.startswith("gemini/") and "alt=json" not in r.url)
    if not found:
        lacking(f"no recordings in {FOLDER}")
    for recording in (parameter.values[0] for parameter in found):
        model, _, action = recording.url.rpartition("/")[2].partition(":")
        modes = {"generateContent": "chat", "streamGenerateContent?alt=sse": "chat", "batchEmbedContents": "embeddings"}
        if action in modes:
            assert address(modes[action], model, stream="stream" in action) == recording.url


def test_the_key_goes_into_googles_header() -> None:
    signed = GEMINI.sign(UpstreamRequest(url="https://x"), Credentials("k"), NOW)
    assert signed.headers == {"x-goog-api-key": "k"}


@pytest.mark.parametrize(
    ("fields", "threshold"),
    [({}, "BLOCK_NONE"), ({"safety_setting": "OFF"}, "OFF"), ({"safety_setting": "default"}, None)],
)
def test_the_channel_sets_safety_thresholds(fields: dict[str, str], threshold: str | None) -> None:
    body: Any = {}
    for edit in GEMINI.edits_for(fields, "gemini-2.5-flash", "chat"):
        body = edit(body)
    thresholds = [setting["threshold"] for setting in body.get("safetySettings", [])]
    assert thresholds == ([threshold] * 5 if threshold else [])


def test_a_clients_own_thresholds_stay_and_embeddings_have_none() -> None:
    own = {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]}
    (edit,) = GEMINI.edits_for({}, "gemini-2.5-flash", "chat")
    assert edit(own) == own
    assert GEMINI.edits_for({}, "gemini-embedding-001", "embeddings") == ()


def test_the_deployment_has_the_last_word_on_defaults() -> None:
    settings = {"gemini_safety_setting": "OFF", "gemini_version": "v1alpha"}
    found = adaptors.with_settings(settings)
    assert {field.name: field.default for field in found[24].fields} == {
        "api_version": "v1alpha",
        "safety_setting": "OFF",
    }
    assert {field.name: field.default for field in found[42].fields}["safety_setting"] == "OFF"
    assert found[1] is adaptors.load()[1]


def channel(**fields: Any) -> Channel:
    return Channel(id=1, type=24, name="g", adaptor=GEMINI, base_url=BASE, key="k", **fields)


def test_what_only_google_can_read_is_not_fetched() -> None:
    urls = (
        "https://example.com/a.png",
        "https://www.youtube.com/watch?v=1",
        f"{BASE}/v1beta/files/x",
        "gs://bucket/a.png",
    )
    parts = tuple(ir.Image(url=url) for url in urls)
    request = ir.ChatRequest(model="m", messages=(ir.Message("user", parts),))
    assert convert.needs_bytes(request, channel()) == ("https://example.com/a.png",)


# ---- embeddings ----


def test_embeddings_in_tokens_are_refused() -> None:
    request = openai_embeddings.parse_request({"model": "m", "input": ["a", [1, 2]]})
    with pytest.raises(InvalidRequest) as caught:
        gemini_embeddings.render_batch(request)
    assert caught.value.param == "input[1]"


def test_every_text_has_its_own_request() -> None:
    request = ir.EmbeddingRequest(model="gemini-embedding-001", inputs=("a", "b"), dimensions=8)
    assert gemini_embeddings.render_batch(request)["requests"] == [
        {
            "model": "models/gemini-embedding-001",
            "content": {"parts": [{"text": text}]},
            "outputDimensionality": 8,
        }
        for text in "ab"
    ]


@pytest.mark.parametrize("body", [{}, {"embeddings": []}, {"embeddings": [{}]}, {"embeddings": [{"values": ["x"]}]}])
def test_an_answer_without_vectors_is_garbled(body: Any) -> None:
    for parse in (gemini_embeddings.parse_batch, gemini_embeddings.parse_predict):
        with pytest.raises(UpstreamGarbled):
            parse(body)


# ---- pictures ----


def drawn(data: str) -> Any:
    parts = [{"text": "here"}, {"inlineData": {"mimeType": "image/png", "data": data}}]
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1290}
    usage["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": 1290}]  # type: ignore[assignment]
    return {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": usage}


def run(flow: Any, *replies: Any) -> Any:
    """What a flow ends with, given its replies in turn, and the bodies it asked with."""
    waiting = list(replies)
    asked = []
    found: Any = None
    while True:
        try:
            wanted = flow.send(found)
        except StopIteration as stop:
            return stop.value, asked
        asked.append(json.loads(wanted.body))
        status, body = waiting.pop(0)
        found = WholeReply(status, {}, json.dumps(body).encode())


def picture_request(**fields: Any) -> UpstreamRequest:
    request = ir.ImageRequest(model="gemini-3.1-flash-image", prompt="a cat", **fields)
    return UpstreamRequest(url="https://x", body=json.dumps(gemini_images.render_request(request)).encode())


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("gemini-2.5-flash-image", "1024x1024", {"aspectRatio": "1:1"}),
        ("gemini-2.5-flash-image", "1792x1024", {"aspectRatio": "16:9"}),
        ("gemini-3.1-flash-image", "1024x1536", {"aspectRatio": "2:3", "imageSize": "1K"}),
        ("gemini-3-pro-image", "2048x2048", {"aspectRatio": "1:1", "imageSize": "2K"}),
        ("gemini-3-pro-image", "3840x2160", {"aspectRatio": "16:9", "imageSize": "4K"}),
        ("gemini-3-pro-image", "auto", None),
        ("gemini-3-pro-image", "", None),
    ],
)
def test_sizes_are_ratios_and_resolutions(model: str, size: str, expected: Any) -> None:
    body = gemini_images.render_request(ir.ImageRequest(model=model, prompt="a cat", size=size))
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a cat"}]}]
    assert body["generationConfig"].get("imageConfig") == expected


def test_one_picture_is_one_question() -> None:
    request = picture_request(n=1)
    value, asked = run(gemini_images.repeated(request, Credentials("k"), NOW))
    assert (json.loads(value.body), asked) == (json.loads(request.body), [])


def test_three_pictures_are_three_questions_and_one_answer() -> None:
    flow = gemini_images.repeated(picture_request(n=3), Credentials("k"), NOW)
    whole, asked = run(flow, (200, drawn("AAAA")), (200, drawn("BBBB")), (200, drawn("CCCC")))
    assert len(asked) == 3
    assert all("candidateCount" not in body["generationConfig"] for body in asked)
    made = gemini_images.parse_response(json.loads(whole.body))
    assert [picture.data for picture in made.images] == ["AAAA", "BBBB", "CCCC"]
    assert made.usage is not None
    assert (made.usage.output_tokens, made.usage.image_output_tokens) == (3870, 3870)
    assert made.usage.units == {"images": 3}


def test_a_later_failure_keeps_the_pictures_that_were_made() -> None:
    busy = (503, {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}})
    flow = gemini_images.repeated(picture_request(n=3), Credentials("k"), NOW)
    whole, _ = run(flow, (200, drawn("AAAA")), busy)
    assert len(gemini_images.parse_response(json.loads(whole.body)).images) == 1
    flow = gemini_images.repeated(picture_request(n=2), Credentials("k"), NOW)
    whole, _ = run(flow, busy)
    assert whole.status == 503


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (
            {"candidates": [{"content": {"parts": [{"text": "I cannot."}]}, "finishReason": "STOP"}]},
            "I cannot.",
            "no_image",
        ),
        (
            {"candidates": [{"finishReason": "IMAGE_SAFETY", "finishMessage": "Unsafe."}]},
            "Unsafe.",
            "content_filter",
        ),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "Gemini blocked the prompt: SAFETY.", "content_filter"),
    ],
)
def test_no_picture_is_a_refusal_with_its_words(body: Any, message: str, code: str) -> None:
    with pytest.raises(UpstreamRejected) as caught:
        gemini_images.parse_response(body)
    error = caught.value
    assert (error.message, error.provider_code, error.upstream_status) == (message, code, 400)
    assert not error.is_credential


def test_pictures_of_thoughts_are_not_the_answer() -> None:
    body = drawn("AAAA")
    body["candidates"][0]["content"]["parts"][0] = {
        "inlineData": {"mimeType": "image/png", "data": "BBBB"},
        "thought": True,
    }
    assert [picture.data for picture in gemini_images.parse_response(body).images] == ["AAAA"]


# ---- lists of models ----


def test_models_are_those_that_chat_or_embed() -> None:
    (request,) = GEMINI.models_requests(BASE, Credentials("k"), NOW)  # type: ignore[misc]
    assert request.url == f"{BASE}/v1beta/models?pageSize=1000"
    rows = [
        {"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent", "countTokens"]},
        {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
        {"name": "models/veo-3.1", "supportedGenerationMethods": ["predictLongRunning"]},
    ]
    reply = WholeReply(200, {}, json.dumps({"models": rows}).encode())
    assert gemini.parse_models((reply,)) == ("gemini-2.5-flash", "gemini-embedding-001")
    with pytest.raises(UpstreamRejected):
        gemini.parse_models((replace(reply, status=400),))
    with pytest.raises(UpstreamGarbled):
        gemini.parse_models((replace(reply, body=b"{}"),))


# ---- whole calls ----

CHATS = recordings(
    lambda r: (
        r.name.startswith(("gemini/", "vertex/"))
        and r.status == 200
        and "enerateContent" in r.url
        and b'"candidates"' in r.body
    )
)


@pytest.mark.parametrize("recording", CHATS)
def test_an_openai_client_gets_the_recorded_answer(recording: Recording) -> None:
    sse = {"content-type": "text/event-stream"}
    headers = sse if recording.is_stream else {"content-type": "application/json"}
    mapped = {1: {"gpt-4o": "gemini-3.5-flash"}}
    world = World({1: [(200, headers, recording.body)]}, options=Options(), channel_type=24, mappings=mapped)
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": recording.is_stream}
    out = drained(pipeline.relay(world.call(), lambda: json.dumps(asked).encode(), world.ports()))
    (sent,) = world.sent
    action = "streamGenerateContent?alt=sse" if recording.is_stream else "generateContent"
    assert sent.url == f"http://channel-1/v1beta/models/gemini-3.5-flash:{action}"
    assert json.loads(sent.body)["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    (settlement,) = world.settled
    assert settlement.quota > 0
    if recording.is_stream:
        assert out.endswith(b"data: [DONE]\n\n")
        chunks = [json.loads(line[6:]) for line in out.splitlines() if line[:6] == b"data: " and line[6:7] == b"{"]
        reasons = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]]
        assert [reason for reason in reasons if reason] == reasons[-1:]
    else:
        (choice,) = json.loads(out)["choices"]
        assert choice["finish_reason"] in ("stop", "length", "tool_calls", "content_filter")


def test_palm_says_that_it_is_gone() -> None:
    (retired,) = palm.ADAPTORS
    assert (retired.type, retired.endpoints) == (11, {})
    assert "Gemini" in retired.retired
