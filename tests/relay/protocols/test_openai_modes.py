"""OpenAI's modes besides chat: heads, streams, usage, and the records for providers with formats of their own."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, USAGE_ONLY, Rendering
from oneapi.relay.framing import Frame, Raw
from oneapi.relay.protocols import (
    openai_audio,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_moderations,
    rerank,
)
from tests.relay.protocols.recordings import Recording, recordings
from tests.relay.protocols.test_multipart import TYPE, form

RENDERING = Rendering(id="id-1", created_at=7, model="m")


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def frame(value: Any) -> Frame:
    data = value if isinstance(value, bytes) else encoded(value)
    return Frame(b"data: " + data + b"\n\n", data)


# ---- heads ----


def test_heads_know_mode_model_and_measures() -> None:
    found = openai_completions.head(encoded({"model": "m", "prompt": ["a"], "max_tokens": 5, "n": 2, "best_of": 3}))
    assert (found.mode, found.model, found.max_output_tokens, found.n) == ("completions", "m", 5, 3)
    found = openai_completions.edit_head(encoded({"model": "m", "instruction": "fix", "input": "x"}))
    assert (found.mode, found.model) == ("edits", "m")
    found = openai_embeddings.head(encoded({"model": "m", "input": [1, 2]}))
    assert (found.mode, found.model, found.names_model) == ("embeddings", "m", True)
    found = openai_images.head(encoded({"prompt": "a cat"}))
    assert (found.model, found.names_model, found.image_size, found.image_count) == ("dall-e-2", False, "1024x1024", 1)
    asked = {"prompt": "a", "model": "m", "n": 3, "size": "1x1", "quality": "hd", "stream": True}
    found = openai_images.head(encoded(asked))
    assert (found.image_count, found.image_size, found.image_quality, found.stream) == (3, "1x1", "hd", True)
    found = openai_audio.speech_head(encoded({"model": "tts-1", "input": "你好", "voice": "alloy"}))
    assert (found.mode, found.characters, found.stream) == ("speech", 2, True)
    found = rerank.head(encoded({"model": "m", "query": "q", "documents": ["a"]}))
    assert (found.mode, found.model) == ("rerank", "m")


def test_defaults_stand_in_for_a_model_that_is_not_named() -> None:
    found = openai_moderations.head(encoded({"input": "x"}))
    assert (found.model, found.names_model) == ("text-moderation-latest", False)
    found = openai_embeddings.head(encoded({"input": "x"}), "ada")
    assert (found.model, found.names_model) == ("ada", False)
    found = openai_embeddings.head(encoded({"input": "x", "model": "m"}), "ada")
    assert (found.model, found.names_model) == ("m", True)


@pytest.mark.parametrize(
    ("head", "body", "param", "code"),
    [
        (openai_completions.head, {"prompt": "x"}, "model", "invalid_text_request"),
        (openai_completions.head, {"model": "m"}, "prompt", "invalid_text_request"),
        (openai_completions.head, {"model": "m", "prompt": ""}, "prompt", "invalid_text_request"),
        (openai_completions.head, {"model": "m", "prompt": 5}, "prompt", "invalid_text_request"),
        (openai_completions.head, {"model": "m", "prompt": "x", "n": -1}, "n", "invalid_text_request"),
        (openai_completions.edit_head, {"model": "m", "input": "x"}, "instruction", "invalid_text_request"),
        (openai_embeddings.head, {"model": "m"}, "input", "invalid_text_request"),
        (openai_embeddings.head, {"input": "x"}, "model", "invalid_text_request"),
        (openai_moderations.head, {}, "input", "invalid_text_request"),
        (openai_moderations.head, {"input": []}, "input", "invalid_text_request"),
        (openai_images.head, {"model": "dall-e-3"}, "prompt", "prompt_missing"),
        (openai_images.head, {"prompt": "x", "n": 11}, "n", "n_not_within_range"),
        (openai_images.head, {"prompt": "x", "n": 0}, "n", "n_not_within_range"),
        (openai_images.head, {"prompt": "x", "n": "1"}, "n", "invalid_image_request"),
        (openai_audio.speech_head, {"input": "x"}, "model", "invalid_json"),
        (openai_audio.speech_head, {"model": "m"}, "input", "invalid_json"),
        (openai_audio.speech_head, {"model": "m", "input": "x" * 4097}, "input", "text_too_long"),
        (rerank.head, {"model": "m", "documents": ["a"]}, "query", "invalid_text_request"),
        (rerank.head, {"model": "m", "query": "q", "documents": []}, "documents", "invalid_text_request"),
        (rerank.head, {"model": "m", "query": "q", "documents": ["a"], "top_n": 0}, "top_n", "invalid_text_request"),
    ],
)
def test_a_wrong_field_is_named(head: Any, body: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        head(encoded(body))
    assert (caught.value.param, caught.value.code) == (param, code)


# ---- forms ----


def wav(seconds: float, rate: int = 16_000) -> bytes:
    data = b"\x00" * int(seconds * rate * 2)
    fmt = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    chunks = b"WAVEfmt " + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def test_a_recordings_form_is_read() -> None:
    body = form(("file", wav(1.5), "a.wav"), ("model", b"gpt-4o-transcribe"), ("stream", b"true"))
    found = openai_audio.head(body, TYPE)
    assert (found.mode, found.model, found.stream) == ("transcription", "gpt-4o-transcribe", True)
    assert (found.audio_seconds, found.input_bytes) == (1.5, len(wav(1.5)))
    found = openai_audio.head(form(("file", b"ID3...", "a.mp3")), TYPE, "translation")
    assert (found.mode, found.model, found.names_model, found.audio_seconds) == ("translation", "whisper-1", False, 0.0)
    with pytest.raises(InvalidRequest) as caught:
        openai_audio.head(form(("model", b"whisper-1")), TYPE)
    assert caught.value.param == "file"


@given(st.binary(max_size=80))
def test_no_header_of_a_recording_is_too_odd(noise: bytes) -> None:
    body = b"RIFF\x00\x00\x00\x00WAVE" + noise
    assert openai_audio.wav_seconds(body, 0, len(body)) >= 0


def test_a_stream_of_unknown_length_is_as_long_as_it_is() -> None:
    body = wav(2.0).replace(struct.pack("<I", 64_000), b"\xff\xff\xff\xff")
    assert openai_audio.wav_seconds(body, 0, len(body)) == 2.0


def test_an_image_form_is_read() -> None:
    body = form(("image[]", b"\x89PNG", "a.png"), ("prompt", b"add a hat"), ("model", b"gpt-image-1"), ("n", b"2"))
    found = openai_images.head(body, TYPE, "image_edits")
    assert (found.mode, found.model, found.image_count) == ("image_edits", "gpt-image-1", 2)
    assert openai_images.head(form(("image", b"x", "a.png")), TYPE, "image_variations").model == "dall-e-2"
    with pytest.raises(InvalidRequest):
        openai_images.head(form(("image", b"x", "a.png")), TYPE, "image_edits")
    with pytest.raises(InvalidRequest):
        openai_images.head(form(("prompt", b"x"), ("n", b"two")), TYPE, "image_edits")


# ---- streams ----


def test_a_completions_stream_is_watched() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    watcher = openai_completions.Watcher()
    values: list[Any] = [
        {"choices": [{"index": 0, "text": "one", "finish_reason": None}]},
        {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
        {"choices": [], "usage": usage},
        b"[DONE]",
    ]
    assert [watcher.feed(frame(value)) for value in values] == [CONTENT, CONTENT, USAGE_ONLY, LAST]
    assert watcher.take_text() == "one"
    assert watcher.usage is not None and watcher.usage.total_tokens == 3
    assert watcher.has_finished
    assert watcher.feed(frame(b"")) == NOTHING
    with pytest.raises(UpstreamRejected, match="gone"):
        watcher.feed(frame({"error": {"message": "gone"}}))


def test_an_image_stream_is_watched_and_its_images_counted() -> None:
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30, "input_tokens_details": {"image_tokens": 4}}
    watcher = openai_images.Watcher()
    partial = {"type": "image_generation.partial_image", "b64_json": "AAAA", "partial_image_index": 0}
    done = {"type": "image_generation.completed", "b64_json": "AAAA", "usage": usage}
    assert watcher.feed(frame(partial)) == CONTENT
    assert not watcher.has_finished
    assert [watcher.feed(frame(done)), watcher.feed(frame(done))] == [CONTENT, CONTENT]
    assert watcher.has_finished
    assert watcher.usage is not None
    assert (watcher.usage.input_tokens, watcher.usage.output_tokens, watcher.usage.units) == (20, 40, {"images": 2})
    assert (watcher.usage.image_input_tokens, watcher.usage.cached_tokens) == (8, None)
    with pytest.raises(UpstreamRejected, match="unsafe"):
        watcher.feed(frame({"type": "error", "error": {"message": "unsafe"}}))


def test_a_transcription_stream_is_watched() -> None:
    watcher = openai_audio.Watcher()
    for value in ({"type": "transcript.text.delta", "delta": "hel"}, {"type": "transcript.text.delta", "delta": "lo"}):
        assert watcher.feed(frame(value)) == CONTENT
    assert not watcher.has_finished
    done = {"type": "transcript.text.done", "text": "hello", "usage": {"input_tokens": 3, "output_tokens": 2}}
    assert watcher.feed(frame(done)) == CONTENT
    assert watcher.has_finished
    assert watcher.take_text() == "hello"
    assert watcher.usage is not None and watcher.usage.output_tokens == 2
    assert watcher.feed(frame(b"[DONE]")) == LAST


@pytest.mark.parametrize("size", [7, 100, 10_000])
def test_speech_is_whole_at_its_end_and_its_events_report_usage(size: int) -> None:
    usage = {"input_tokens": 5, "output_tokens": 90, "total_tokens": 95}
    events = [{"type": "speech.audio.delta", "audio": "A" * 5000}, {"type": "speech.audio.done", "usage": usage}]
    body = b"".join(frame(event).raw for event in events)
    watcher, framing = openai_audio.SpeechWatcher(), Raw()
    for at in range(0, len(body), size):
        for piece in framing.feed(body[at : at + size]):
            assert watcher.feed(piece) == CONTENT
    assert watcher.has_finished
    assert watcher.usage is not None and watcher.usage.output_tokens == 90
    sound = openai_audio.SpeechWatcher()
    sound.feed(Frame(b"\xff\xf3", b"\xff\xf3"))
    assert (sound.has_finished, sound.usage, sound.take_text()) == (True, None, "")


# ---- whole answers ----


@pytest.mark.parametrize(
    ("body", "text", "seconds"),
    [
        (b'{"text":"hello"}', "hello", None),
        (b'{"text":"hello","duration":2.5,"segments":[]}', "hello", 2.5),
        (b'{"text":"hello","duration":"2.5"}', "hello", 2.5),
        (b'{"text":"hello","usage":{"type":"duration","seconds":4}}', "hello", 4.0),
        (b"hello\n", "hello", None),
        (b"1\n00:00:00,000 --> 00:00:02,500\nhi\n\n2\n00:00:02,500 --> 00:01:03,250\nyou\n", "hi\nyou", 63.25),
        (b"WEBVTT\n\n00:00.000 --> 00:02.500\nhi\n\n01:00:00.000 --> 01:00:01.000\nyou\n", "hi\nyou", 3601.0),
    ],
)
def test_a_transcription_is_read_in_every_format(body: bytes, text: str, seconds: float | None) -> None:
    assert openai_audio.read_text(body, {}) == text
    usage = openai_audio.read_usage(body, {})
    assert (usage.units.get("seconds") if usage else None) == seconds


def test_images_are_counted_by_what_came() -> None:
    usage = openai_images.read_usage(b'{"created":1,"data":[{"url":"a"},{"url":"b"}]}', {})
    assert usage is not None and usage.units == {"images": 2} and usage.total_tokens == 0
    usage = openai_images.read_usage(b'{"data":[{"b64_json":"AAAA"}],"usage":{"input_tokens":1,"output_tokens":9}}', {})
    assert usage is not None and (usage.total_tokens, usage.units) == (10, {"images": 1})
    with pytest.raises(UpstreamRejected, match="unsafe"):
        openai_images.read_usage(b'{"error":{"message":"unsafe"}}', {})
    with pytest.raises(UpstreamGarbled):
        openai_images.read_usage(b'{"created":1}', {})


def test_what_a_model_of_images_refuses_is_known() -> None:
    def ask(model: str, **fields: Any) -> None:
        for edit in openai_images.checked(model):
            edit({"prompt": "x", **fields})

    ask("dall-e-3")
    ask("gpt-image-1", size="7x7", n=10)
    ask("cogview-3", size="7x7")
    for model, fields, code in (
        ("dall-e-3", {"size": "256x256"}, "size_not_supported"),
        ("dall-e-3", {"n": 2}, "n_not_within_range"),
        ("dall-e-2", {"prompt": "x" * 1001}, "prompt_too_long"),
        ("cogview-3", {"prompt": "你" * 278}, "prompt_too_long"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            ask(model, **fields)
        assert caught.value.code == code


def test_completions_are_read() -> None:
    body = encoded({"choices": [{"text": "a"}, {"text": "b"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    assert openai_completions.read_text(body, {}) == "ab"
    assert openai_completions.CODEC.read_usage is not None
    usage = openai_completions.CODEC.read_usage(body, {})
    assert usage is not None and usage.total_tokens == 3


@pytest.mark.parametrize(
    ("body", "tokens", "units"),
    [
        ({"results": [], "usage": {"total_tokens": 17}}, 17, None),
        ({"results": [], "meta": {"tokens": {"input_tokens": 9, "output_tokens": 0}}}, 9, None),
        ({"results": [], "meta": {"billed_units": {"search_units": 1}}}, 0, 1),
    ],
)
def test_reranking_is_measured_in_tokens_or_units(body: Any, tokens: int, units: float | None) -> None:
    usage = rerank.read_usage(encoded(body), {})
    assert usage is not None
    assert (usage.input_tokens, usage.units.get("search_units")) == (tokens, units)
    assert rerank.read_usage(b'{"results":[]}', {}) is None


# ---- recordings ----


def path_of(recording: Recording) -> str:
    return recording.url.partition("?")[0]


@pytest.mark.parametrize("recording", recordings(lambda r: path_of(r).endswith("/v1/embeddings") and r.status == 200))
def test_recorded_embeddings_are_read(recording: Recording) -> None:
    if b'"vectors"' in recording.body:
        return  # MiniMax's own format
    answer = json.loads(recording.body)
    response = openai_embeddings.parse_response(answer)
    assert len(response.vectors) == len(answer["data"])
    assert response.usage == openai_embeddings.CODEC.read_usage(recording.body, {})  # type: ignore[misc]
    assert response.usage is not None and response.usage.input_tokens == answer["usage"]["total_tokens"]
    if recording.request:
        request = openai_embeddings.parse_request(recording.request)
        assert openai_embeddings.parse_request(openai_embeddings.render_request(request)) == request


@pytest.mark.parametrize("recording", recordings(lambda r: path_of(r).endswith("/rerank") and r.status == 200))
def test_recorded_rerankings_are_read(recording: Recording) -> None:
    if b'"output"' in recording.body:
        return  # DashScope's own format
    answer = json.loads(recording.body)
    response = rerank.parse_response(answer)
    assert len(response.results) == len(answer.get("results") or answer["data"])
    assert response.usage == rerank.read_usage(recording.body, {})
    assert response.usage is not None
    if recording.request:
        request = rerank.parse_request(recording.request)
        assert rerank.parse_request(rerank.render_request(request)) == request


@pytest.mark.parametrize("recording", recordings(lambda r: "/audio/trans" in r.url and r.status == 200))
def test_recorded_transcriptions_are_read(recording: Recording) -> None:
    if recording.is_stream:
        watcher = openai_audio.Watcher()
        sights = [watcher.feed(item) for item in recording.frames()]
        assert sights[-1] == LAST and watcher.has_finished and watcher.usage is not None
        assert watcher.take_text()
    else:
        assert openai_audio.read_text(recording.body, {})
        openai_audio.read_usage(recording.body, {})


IMAGES = recordings(lambda r: "/images/" in r.url and r.status == 200 and b'"data"' in r.body)


@pytest.mark.parametrize("recording", IMAGES)
def test_recorded_images_are_counted(recording: Recording) -> None:
    usage = openai_images.read_usage(recording.body, {})
    assert usage is not None
    assert usage.units == {"images": len(json.loads(recording.body)["data"])}


# ---- records ----


def test_vectors_come_as_the_client_asked() -> None:
    response = ir.EmbeddingResponse(vectors=((0.5, -1.0),), usage=ir.Usage(input_tokens=3))
    plain = openai_embeddings.render_response(response, RENDERING)
    assert plain["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    request = openai_embeddings.parse_request({"model": "m", "input": "x", "encoding_format": "base64"})
    packed = openai_embeddings.render_response(response, Rendering(id="i", created_at=1, model="m", request=request))
    assert packed["data"][0]["embedding"] == "AAAAPwAAgL8="
    assert openai_embeddings.parse_response(packed) == openai_embeddings.parse_response(plain)
    assert openai_embeddings.parse_response(plain).vectors == response.vectors


@pytest.mark.parametrize(
    ("given_input", "inputs"),
    [("x", ("x",)), (["x", "y"], ("x", "y")), ([1, 2], ((1, 2),)), ([[1, 2], [3]], ((1, 2), (3,)))],
)
def test_embeddings_take_texts_and_tokens(given_input: Any, inputs: Any) -> None:
    request = openai_embeddings.parse_request({"model": "m", "input": given_input, "dimensions": 2, "user": "u"})
    assert (request.inputs, request.dimensions, request.user) == (inputs, 2, "u")
    assert openai_embeddings.parse_request(openai_embeddings.render_request(request)) == request


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"input": 5}, "input"), ({"input": [None]}, "input[0]"), ({"input": "x", "dimensions": 0}, "dimensions")],
)
def test_other_inputs_are_refused(fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        openai_embeddings.parse_request({"model": "m", **fields})
    assert caught.value.param == param


def test_images_are_asked_for_and_come() -> None:
    body = {"model": "m", "prompt": "a cat", "n": 2, "size": "1024x1024", "response_format": "url", "seed": 7}
    request = openai_images.parse_request(body)
    assert openai_images.render_request(request) == body
    response = ir.ImageResponse(images=(ir.MadeImage(url="u"), ir.MadeImage(data="AAAA", revised_prompt="r")))
    rendered = openai_images.render_response(response, RENDERING)
    assert rendered == {"created": 7, "data": [{"url": "u"}, {"b64_json": "AAAA", "revised_prompt": "r"}]}
    assert openai_images.parse_response(rendered).images == response.images
    with pytest.raises(InvalidRequest):
        openai_images.parse_request({"prompt": 5})
    with pytest.raises(UpstreamGarbled):
        openai_images.parse_response({})


def test_documents_come_back_where_they_were_asked_for() -> None:
    body = {"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": True}
    request = rerank.parse_request(body)
    assert rerank.render_request(request) == body
    response = ir.RerankResponse(results=(ir.Ranked(1, 0.9), ir.Ranked(0, 0.1, "A")), usage=ir.Usage(input_tokens=4))
    rendered = rerank.render_response(response, Rendering(id="i", created_at=1, model="m", request=request))
    assert rendered["results"] == [
        {"index": 1, "relevance_score": 0.9, "document": {"text": "b"}},
        {"index": 0, "relevance_score": 0.1, "document": {"text": "A"}},
    ]
    assert rendered["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert "document" not in rerank.render_response(response, RENDERING)["results"][0]
    assert [item.index for item in rerank.parse_response(rendered).results] == [1, 0]
    for wrong in ({}, {"results": [{"index": 0}]}, {"results": ["x"]}):
        with pytest.raises(UpstreamGarbled):
            rerank.parse_response(wrong)
    for documents in (None, [5]):
        with pytest.raises(InvalidRequest):
            rerank.parse_request({"model": "m", "query": "q", "documents": documents})


