"""What Google AI Studio and Vertex AI were recorded to send and to be sent, read in every way this program reads it."""

from __future__ import annotations

import contextlib
import json
import random
import re
from typing import Any

import pytest
from google.genai import types

from oneapi.errors import UpstreamError, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir, routing
from oneapi.relay.adaptor import LAST, Rendering
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import gemini, gemini_embeddings, gemini_images, openai_chat
from oneapi.relay.protocols.gemini_error import parse_error
from oneapi.relay.protocols.gemini_schema import cleaned, of_google
from tests.needs import lacking
from tests.relay.protocols.recordings import FOLDER, Recording, recordings

GOOGLE = re.compile(r"(?:documented/)?(?:gemini|vertex)/")
RENDERING = Rendering(id="id-1", created_at=1, model="m")


def is_google(recording: Recording) -> bool:
    return GOOGLE.match(recording.name) is not None


def is_chat(recording: Recording) -> bool:
    path = recording.url.partition("?")[0]
    return is_google(recording) and path.endswith((":generateContent", ":streamGenerateContent"))


def is_good(recording: Recording) -> bool:
    return is_chat(recording) and recording.status == 200 and b'"candidates"' in recording.body


GOOD = recordings(is_good)
STREAMS = recordings(lambda r: is_good(r) and r.is_stream)
REQUESTS = recordings(lambda r: is_chat(r) and r.request is not None)
ERRORS = recordings(lambda r: is_google(r) and r.status >= 400)


def one(name: str) -> Recording:
    found = recordings(lambda r: r.name == name) or lacking(f"no recordings in {FOLDER}")
    recording: Recording = found[0].values[0]
    return recording


def test_recordings_are_there() -> None:
    if not FOLDER.is_dir():
        lacking(f"no recordings in {FOLDER}: set ONEAPI_FIXTURES to their folder")
    assert (len(GOOD), len(STREAMS), len(ERRORS)) >= (50, 12, 14)
    assert len(REQUESTS) > 60


def events_of(frames: list[Any]) -> list[ir.Event]:
    parser = gemini.StreamParser()
    events = [event for frame in frames for event in parser.feed(frame)]
    return [*events, *parser.finish()]


def answer_of(recording: Recording) -> ir.ChatResponse:
    if recording.is_stream:
        return ir.collect(events_of(recording.frames()))
    return gemini.parse_response(json.loads(recording.body))


def chunks_of(recording: Recording) -> list[dict[str, Any]]:
    if recording.is_stream:
        return [json.loads(line[5:]) for line in recording.body.splitlines() if line.startswith(b"data:")]
    return [json.loads(recording.body)]


# ---- answers ----


@pytest.mark.parametrize("recording", GOOD)
def test_an_answer_says_what_googles_own_sdk_reads(recording: Recording) -> None:
    chunks = [types.GenerateContentResponse.model_validate(_in_words(chunk)) for chunk in chunks_of(recording)]
    theirs = [
        part
        for chunk in chunks
        for candidate in chunk.candidates or []
        for part in (candidate.content.parts if candidate.content and candidate.content.parts else [])
    ]
    (choice,) = answer_of(recording).choices
    texts = [part.text for part in choice.parts if isinstance(part, ir.Text) and not part.extra]
    thoughts = [part.text for part in choice.parts if isinstance(part, ir.Reasoning)]
    assert "".join(texts) == "".join(part.text for part in theirs if part.text and not part.thought)
    assert "".join(thoughts) == "".join(part.text for part in theirs if part.text and part.thought)
    calls = [(part.id, part.name, json.loads(part.arguments)) for part in choice.parts if isinstance(part, ir.ToolCall)]
    assert calls == [(c.id or "", c.name, c.args) for part in theirs if (c := part.function_call) is not None]
    pictures = [part.data for part in choice.parts if isinstance(part, ir.Image)]
    assert len(pictures) == sum(part.inline_data is not None for part in theirs)
    word = next(c.finish_reason for chunk in reversed(chunks) for c in chunk.candidates or [] if c.finish_reason)
    expected = {"STOP": "tool_calls" if calls else "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}
    assert choice.finish_reason == expected.get(word.value, "stop")


def _in_words(chunk: Any) -> Any:
    """The chunk as the SDK takes it: one recording asked for enumerations as numbers; newer fields it does not know."""
    text = json.dumps(chunk).replace('"finishReason": 1', '"finishReason": "STOP"')
    text = re.sub(r'"(?:serviceTier|trafficType)": [^,}]+, ', "", text)
    text = re.sub(r', "(?:serviceTier|trafficType)": [^,}]+', "", text)
    return json.loads(text.replace('"modality": 1', '"modality": "TEXT"'))


@pytest.mark.parametrize("recording", GOOD)
def test_usage_is_the_last_total(recording: Recording) -> None:
    blocks = [chunk["usageMetadata"] for chunk in chunks_of(recording) if chunk.get("usageMetadata")]
    block = next(block for block in reversed(blocks) if block.get("promptTokenCount"))
    usage = answer_of(recording).usage
    assert usage is not None
    assert usage.total_tokens == block["totalTokenCount"]
    assert usage.input_tokens == block["promptTokenCount"] + block.get("toolUsePromptTokenCount", 0)
    assert usage.cached_tokens == block.get("cachedContentTokenCount")
    assert usage.reasoning_tokens == block.get("thoughtsTokenCount")
    assert usage.raw == block


def test_usage_has_the_buckets_that_google_tells() -> None:
    usage = answer_of(one("gemini/audio-input")).usage
    assert usage is not None
    assert (usage.input_tokens, usage.audio_input_tokens, usage.output_tokens) == (125, 119, 35)
    usage = answer_of(one("gemini/image-output")).usage
    assert usage is not None
    assert (usage.output_tokens, usage.image_output_tokens) == (1304, 1290)
    usage = answer_of(one("vertex/citations")).usage
    assert usage is not None
    assert (usage.input_tokens, usage.units) == (9 + 61, {"searches": 2})


@pytest.mark.parametrize("recording", STREAMS)
def test_a_stream_is_read_the_same_however_the_network_cut_it(recording: Recording) -> None:
    whole = events_of(recording.frames())
    assert events_of(recording.frames(lambda body: [body[at : at + 1] for at in range(len(body))])) == whole
    rng = random.Random(recording.name)

    def at_random(body: bytes) -> list[bytes]:
        places = sorted(rng.sample(range(len(body)), min(40, len(body))))
        return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]

    assert events_of(recording.frames(at_random)) == whole


@pytest.mark.parametrize("recording", STREAMS)
def test_a_stream_cut_short_is_not_whole(recording: Recording) -> None:
    with pytest.raises(UpstreamGarbled):
        events_of(recording.frames()[:-1])


@pytest.mark.parametrize("recording", STREAMS)
def test_the_watcher_sees_what_the_parser_reads(recording: Recording) -> None:
    watcher = gemini.Watcher()
    sights = [watcher.feed(frame) for frame in recording.frames()]
    assert sights.index(LAST) == len(sights) - 1
    answer = answer_of(recording)
    assert watcher.usage == (answer.usage and ir.Usage(**{**_fields(answer.usage), "units": {}}))
    (choice,) = answer.choices
    for part in choice.parts:
        if isinstance(part, ir.Text | ir.Reasoning):
            break
    else:
        return
    said = "".join(part.text for part in choice.parts if isinstance(part, ir.Text | ir.Reasoning))
    assert said in watcher.take_text()


def _fields(usage: ir.Usage) -> dict[str, Any]:
    return {name: getattr(usage, name) for name in ir.Usage.__dataclass_fields__}


@pytest.mark.parametrize("recording", GOOD)
def test_an_answer_survives_being_rendered_and_read_again(recording: Recording) -> None:
    response = answer_of(recording)
    again = gemini.parse_response(json.loads(json.dumps(gemini.render_response(response, RENDERING))))
    assert _told(again) == _told(response)
    renderer = gemini.StreamRenderer(RENDERING)
    stream = b"".join(piece for event in ir.replay(response) for piece in renderer.feed(event)) + renderer.finish()
    streamed = ir.collect(events_of(Recording("", "", None, 200, {}, stream).frames()))
    assert _told(streamed) == _told(response)


def _told(response: ir.ChatResponse) -> Any:
    usage = response.usage
    parts = [(c.finish_reason, c.parts, dict(c.extra)) for c in response.choices]
    return parts, (usage.input_tokens, usage.output_tokens, usage.cached_tokens) if usage else None


def test_citations_are_told_as_annotations_with_places_in_characters() -> None:
    (choice,) = answer_of(one("gemini/citations-stream")).choices
    (text,) = choice.parts
    assert isinstance(text, ir.Text)
    citation = {"url": "https://ai.pydantic.dev", "title": "Pydantic AI", "start_index": 0, "end_index": 37}
    assert text.annotations == ({"type": "url_citation", "url_citation": citation},)
    assert text.text[:37] == "Pydantic AI Gateway is now available!"
    assert choice.extra["groundingMetadata"]["groundingChunks"][0]["web"]["uri"] == "https://ai.pydantic.dev"


def _damaged(value: Any, rng: random.Random) -> Any:
    """The value with one thing in it of a wrong type, away, or twice."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice(sorted(value))
        changed = {**value, name: _damaged(value[name], rng)}
        if rng.random() < 0.1:
            del changed[name]
        return changed
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return [*value[:at], _damaged(value[at], rng), *value[at:]]
    return rng.choice([None, True, -1, 10**30, 1.5, "", "\ud800", [], {}, [None], {"a": [1]}])


@pytest.mark.parametrize("recording", GOOD)
def test_a_damaged_answer_is_read_or_is_a_clean_upstream_error(recording: Recording) -> None:
    rng = random.Random(recording.name)
    for _ in range(40):
        parser, watcher = gemini.StreamParser(), gemini.Watcher()
        renderer = openai_chat.StreamRenderer(RENDERING)
        with contextlib.suppress(UpstreamError):
            for chunk in chunks_of(recording)[-3:]:
                data = json.dumps(_damaged(chunk, rng)).encode()
                with contextlib.suppress(UpstreamError):
                    watcher.feed(Frame(data, data))
                for event in parser.feed(Frame(data, data)):
                    list(renderer.feed(event))
            for event in parser.finish():
                list(renderer.feed(event))
            renderer.finish()
        if isinstance(damaged := _damaged(chunks_of(recording)[-1], rng), dict):
            with contextlib.suppress(UpstreamError):
                gemini_images.parse_response(damaged)


@pytest.mark.parametrize("name", ["gemini/embed", "gemini/embed-image", "vertex/embed", "vertex/embed-2"])
def test_damaged_embeddings_are_read_or_are_a_clean_upstream_error(name: str) -> None:
    rng = random.Random(name)
    body = json.loads(one(name).body)
    for _ in range(200):
        damaged = _damaged(body, rng)
        for parse in (gemini_embeddings.parse_batch, gemini_embeddings.parse_predict):
            with contextlib.suppress(UpstreamError):
                parse(damaged if isinstance(damaged, dict) else {})


@pytest.mark.parametrize("recording", ERRORS)
def test_a_damaged_refusal_is_still_one(recording: Recording) -> None:
    rng = random.Random(recording.name)
    for _ in range(100):
        damaged = json.dumps(_damaged(json.loads(recording.body), rng)).encode()
        assert parse_error(recording.status, {}, damaged).message


# ---- a turn with its signatures, through an OpenAI client and back ----


@pytest.mark.parametrize("recording", [p for p in GOOD if b"thoughtSignature" in p.values[0].body])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_openai_client_gives_gemini_its_signatures_back(recording: Recording, is_streamed: bool) -> None:
    response = answer_of(recording)
    if is_streamed:
        renderer = openai_chat.StreamRenderer(RENDERING)
        stream = b"".join(piece for event in ir.replay(response) for piece in renderer.feed(event))
        frames = Recording("", "", None, 200, {}, stream + renderer.finish()).frames()
        parser = openai_chat.StreamParser()
        events = [event for frame in frames for event in parser.feed(frame)]
        told = ir.collect([*events, *parser.finish()])
        message = openai_chat.render_response(told, RENDERING)["choices"][0]["message"]
    else:
        message = openai_chat.render_response(response, RENDERING)["choices"][0]["message"]
    echoed = openai_chat.parse_request({"model": "gemini-3-flash-preview", "messages": [message]})
    (content,) = gemini.render_request(echoed)["contents"]
    came = [
        (part.get("functionCall", {}).get("name"), part["thoughtSignature"])
        for chunk in chunks_of(recording)
        for part in chunk["candidates"][0].get("content", {}).get("parts", [])
        if "thoughtSignature" in part
    ]
    went = [
        (part.get("functionCall", {}).get("name"), part["thoughtSignature"])
        for part in content["parts"]
        if "thoughtSignature" in part
    ]
    assert went == came


# ---- requests ----


@pytest.mark.parametrize("recording", REQUESTS)
def test_a_request_is_read_without_loss(recording: Recording) -> None:
    model = re.search(r"models/([^:]+):", recording.url)
    assert model is not None
    request = gemini.parse_request({**recording.request, "model": model[1]})
    rendered = gemini.render_request(request)
    assert gemini.parse_request({**rendered, "model": model[1]}) == _with_skips(request, rendered)
    assert _plain(rendered) == _plain(recording.request)


def _with_skips(request: ir.ChatRequest, rendered: Any) -> ir.ChatRequest:
    """The request as it is after a signature was made up for a call that had none."""
    if "skip_thought_signature_validator" not in json.dumps(rendered):
        return request
    return gemini.parse_request({**rendered, "model": request.model})


def _plain(value: Any) -> Any:
    """A request in one of its equal spellings: names in camel case, Google's schemas as JSON schemas, no emptiness."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, item in value.items():
        name = re.sub(r"_([a-z])", lambda match: match[1].upper(), key) if key in _SNAKE else key
        if name in ("parameters", "parametersJsonSchema"):
            out["parametersJsonSchema"] = cleaned(of_google(item))
        elif name in ("responseSchema", "responseJsonSchema"):
            out["responseJsonSchema"] = cleaned(of_google(item))
        elif name == "args" or name == "response":
            out[name] = item
        elif name == "tools":
            out[name] = [_plain(tool) for tool in (item if isinstance(item, list) else [item])]
        elif name == "systemInstruction":
            out[name] = {"parts": _plain(item["parts"])}
        elif name != "model" and not (name in _MADE_UP and re.fullmatch(_MADE_UP[name], item)):
            out[name] = _plain(item)
    return {name: item for name, item in out.items() if item not in ("", [], {}) or name in ("args", "googleSearch")}


# What is put in where a recorded request has nothing.
_MADE_UP = {"id": r"call_\d+_\d+", "thoughtSignature": "skip_thought_signature_validator"}
_SNAKE = {
    "file_data",
    "file_uri",
    "function_call",
    "function_declarations",
    "function_response",
    "inline_data",
    "mime_type",
    "thought_signature",
}


# ---- refusals ----

_CREDENTIAL = {"gemini/error-400", "gemini/error-403", "gemini/models-error-auth"}


@pytest.mark.parametrize("recording", ERRORS)
def test_a_refusal_keeps_its_words_and_blames_whom_it_should(recording: Recording) -> None:
    error = parse_error(recording.status, recording.headers, recording.body)
    said = json.loads(recording.body)["error"]
    assert (error.message, error.upstream_status) == (said["message"], recording.status)
    assert error.provider_type == said["status"]
    assert error.is_credential == (recording.name in _CREDENTIAL)
    blame = {400: "none", 404: "cool_model", 429: "cool", 500: "count", 503: "count"}
    expected = "disable" if recording.name in _CREDENTIAL else blame[recording.status]
    assert routing.verdict(error).blame == expected


def test_a_rate_limit_says_when_to_come_back() -> None:
    recording = one("gemini/error-429")
    assert parse_error(recording.status, recording.headers, recording.body).retry_after_s == 48.0


@pytest.mark.parametrize("name", ["gemini/error-context-length", "vertex/error-context-length"])
def test_a_prompt_that_is_too_long_has_openais_code(name: str) -> None:
    recording = one(name)
    error = parse_error(recording.status, recording.headers, recording.body)
    assert error.provider_code == "context_length_exceeded"


@pytest.mark.parametrize("name", ["documented/gemini/blocked-prompt", "vertex/refusal"])
def test_a_blocked_prompt_is_a_refusal(name: str) -> None:
    recording = one(name)
    with pytest.raises(UpstreamRejected) as caught:
        gemini.parse_response(json.loads(recording.body))
    error = caught.value
    assert (error.upstream_status, error.provider_code, error.is_credential) == (400, "content_filter", False)
    assert routing.verdict(error).blame == "none"
    with pytest.raises(UpstreamRejected):
        gemini.read_usage(recording.body, {})


def test_a_filter_in_the_middle_of_a_stream_ends_it() -> None:
    (choice,) = answer_of(one("documented/gemini/safety-stream")).choices
    assert (choice.parts, choice.finish_reason) == ((ir.Text("Well"),), "content_filter")
    assert choice.extra["safetyRatings"][0]["blocked"] is True


def test_a_malformed_call_ends_the_answer_with_geminis_word_kept() -> None:
    (choice,) = answer_of(one("documented/gemini/malformed-function-call")).choices
    assert (choice.finish_reason, choice.extra["finishReason"]) == ("stop", "MALFORMED_FUNCTION_CALL")


# ---- other modes ----


def test_embeddings_are_read_in_all_three_forms() -> None:
    made = gemini_embeddings.parse_batch(json.loads(one("gemini/embed").body))
    assert (len(made.vectors), made.vectors[0][0], made.usage) == (1, -0.039718185, None)
    made = gemini_embeddings.parse_batch(json.loads(one("gemini/embed-image").body))
    assert made.usage is not None and made.usage.input_tokens == 261
    made = gemini_embeddings.parse_batch(json.loads(one("vertex/embed").body))
    assert (made.vectors[0][0], made.usage and made.usage.input_tokens) == (-0.006532297, 11)
    made = gemini_embeddings.parse_predict(json.loads(one("vertex/embed-2").body))
    assert (made.vectors[0][0], made.usage and made.usage.input_tokens) == (-0.020920176059007645, 4)


def test_embeddings_are_asked_for_as_recorded() -> None:
    recorded = one("gemini/embed").request
    request = ir.EmbeddingRequest(model="gemini-embedding-2-preview", inputs=("Hello, world!",), dimensions=768)
    (wanted,) = recorded["requests"]
    assert gemini_embeddings.render_batch(request) == {
        "requests": [{name: item for name, item in wanted.items() if name != "taskType"}]
    }
    (instance,) = one("vertex/embed-2").request["instances"]
    request = ir.EmbeddingRequest(model="gemini-embedding-001", inputs=("Hello, world!",))
    assert gemini_embeddings.render_predict(request) == {"instances": [{"content": instance["content"]}]}


@pytest.mark.parametrize("name", ["gemini/image-output", "vertex/image-output"])
def test_pictures_are_read(name: str) -> None:
    body = json.loads(one(name).body)
    made = gemini_images.parse_response(body)
    (picture,) = made.images
    assert picture.data == body["candidates"][0]["content"]["parts"][1]["inlineData"]["data"]
    assert made.usage is not None
    assert (made.usage.image_output_tokens, made.usage.units) == (1290, {"images": 1})
