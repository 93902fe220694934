"""What providers that speak OpenAI's chat protocol were recorded to send, read in every way this program reads it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import LAST, Rendering
from oneapi.relay.protocols import openai_chat
from oneapi.relay.protocols.openai_chat import (
    StreamParser,
    StreamRenderer,
    Watcher,
    parse_request,
    parse_response,
    render_request,
)
from tests.needs import lacking
from tests.relay.protocols.recordings import FOLDER, Recording, is_chat, is_good, plain_request, recordings

STREAMS = recordings(lambda r: is_chat(r) and is_good(r) and r.is_stream)
WHOLE = recordings(lambda r: is_chat(r) and is_good(r) and not r.is_stream)
REQUESTS = recordings(
    lambda r: (
        is_chat(r)
        and isinstance(r.request, dict)
        and "messages" in r.request
        and r.status != 400
        # MiniMax's own way to write a schema, as a text.
        and r.name != "documented/minimax/tool-call"
    )
)
ERRORS = recordings(lambda r: r.status >= 400)


def test_recordings_are_there() -> None:
    if not FOLDER.is_dir():
        lacking(f"no recordings in {FOLDER}: set ONEAPI_FIXTURES to their folder")
    assert len(STREAMS) > 60
    assert len(WHOLE) > 120
    assert len(REQUESTS) > 200
    assert len(ERRORS) > 80


def parsed(frames: list[Any]) -> list[ir.Event]:
    parser = StreamParser()
    events = [event for frame in frames for event in parser.feed(frame)]
    return [*events, *parser.finish()]


def spoken(response: ir.ChatResponse) -> str:
    """Everything the model said, in order."""
    said = []
    for choice in response.choices:
        for part in choice.parts:
            match part:
                case ir.ToolCall():
                    said.append(part.name + part.arguments)
                case ir.Audio():
                    said.append(part.transcript)
                case ir.Text() | ir.Reasoning() | ir.Refusal():
                    said.append(part.text)
    return "".join(said)


@pytest.mark.parametrize("recording", STREAMS)
def test_a_stream_is_read_the_same_however_the_network_cut_it(recording: Recording) -> None:
    whole = parsed(recording.frames())
    assert parsed(recording.frames(lambda body: [body[at : at + 1] for at in range(len(body))])) == whole
    rng = random.Random(recording.name)

    def at_random(body: bytes) -> list[bytes]:
        places = sorted(rng.sample(range(len(body)), min(40, len(body))))
        return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]

    assert parsed(recording.frames(at_random)) == whole


@pytest.mark.parametrize("recording", STREAMS)
def test_a_stream_has_one_begin_closed_parts_and_one_finish_for_each_choice(recording: Recording) -> None:
    events = parsed(recording.frames())
    assert isinstance(events[0], ir.Begin)
    assert sum(isinstance(event, ir.Begin) for event in events) == 1
    opened = [(e.choice, e.index) for e in events if isinstance(e, ir.Open)]
    closed = [(e.choice, e.index) for e in events if isinstance(e, ir.Close)]
    assert len(set(opened)) == len(opened)
    assert sorted(opened) == sorted(closed)
    finishes = [e.choice for e in events if isinstance(e, ir.Finish)]
    assert len(set(finishes)) == len(finishes) >= 1
    assert {choice for choice, _ in opened} <= set(finishes)
    response = ir.collect(events)
    assert all(_is_json(part.arguments) for c in response.choices for part in c.parts if isinstance(part, ir.ToolCall))


@pytest.mark.parametrize("recording", STREAMS)
def test_the_watcher_sees_what_the_parser_reads(recording: Recording) -> None:
    watcher = Watcher()
    response = ir.collect(parsed(recording.frames()))
    for frame in recording.frames():
        watcher.feed(frame)
    said = watcher.take_text()
    # Tool calls that run beside each other come mixed; the letters are the same.
    assert sorted(said) == sorted(spoken(response))
    assert watcher.usage == response.usage
    assert watcher.has_finished


@pytest.mark.parametrize("recording", [p for p in STREAMS if b"[DONE]" in p.values[0].body])  # type: ignore[attr-defined]
def test_done_is_the_last_event(recording: Recording) -> None:
    watcher = Watcher()
    sights = [watcher.feed(frame) for frame in recording.frames()]
    assert [at for at, sight in enumerate(sights) if sight == LAST] == [len(sights) - 1]


@pytest.mark.parametrize("recording", WHOLE)
def test_a_whole_answer_says_what_the_quick_reading_counts(recording: Recording) -> None:
    body = json.loads(recording.body)
    response = parse_response(body)
    assert spoken(response) == openai_chat.read_text(recording.body, {})
    assert response.usage == openai_chat.read_usage(recording.body, {})
    for choice, raw in zip(response.choices, body["choices"], strict=True):
        calls = [part for part in choice.parts if isinstance(part, ir.ToolCall)]
        given = raw["message"].get("tool_calls") or []
        given = [given] if isinstance(given, dict) else given  # Xunfei
        assert [call.name for call in calls] == [call["function"]["name"] for call in given]
        if isinstance(raw["message"].get("content"), str) and raw["message"]["content"]:
            assert [p.text for p in choice.parts if isinstance(p, ir.Text)] == [raw["message"]["content"]]


@pytest.mark.parametrize("recording", WHOLE)
def test_an_answer_survives_being_rendered_and_read_again(recording: Recording) -> None:
    response = parse_response(json.loads(recording.body))
    rendering = Rendering(id="chatcmpl-1", created_at=1, model="m")
    again = parse_response(json.loads(json.dumps(openai_chat.render_response(response, rendering))))
    assert _said(again) == _said(response)
    renderer = StreamRenderer(rendering)
    stream = b"".join(piece for event in ir.replay(response) for piece in renderer.feed(event)) + renderer.finish()
    assert _said(ir.collect(parsed(Recording("", "", None, 200, {}, stream).frames()))) == _said(response)


def _said(response: ir.ChatResponse) -> Any:
    """The answer without what a rendering may add or has no place for: ids, the order of parts, the raw usage."""
    choices = [
        (choice.finish_reason, [_bare(part) for part in sorted(choice.parts, key=lambda part: type(part).__name__)])
        for choice in response.choices
    ]
    usage = response.usage
    return choices, (usage.input_tokens, usage.output_tokens, usage.cached_tokens) if usage else None


def _bare(part: ir.Part) -> Any:
    if isinstance(part, ir.ToolCall):
        return part.name, part.arguments, part.seal
    return part


@pytest.mark.parametrize("recording", REQUESTS)
def test_a_request_is_read_without_loss(recording: Recording) -> None:
    request = parse_request(recording.request)
    rendered = render_request(request)
    assert parse_request(rendered) == request
    assert plain_request(rendered) == plain_request(recording.request)


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "{}")
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("recording", ERRORS)
def test_a_refusal_keeps_its_words(recording: Recording) -> None:
    error = openai_chat.parse_error(recording.status, recording.headers, recording.body)
    assert error.upstream_status == recording.status
    assert error.message
    assert "\ufffd" not in error.message
    try:
        body = json.loads(recording.body)
    except ValueError:
        return
    inner = body.get("error") if isinstance(body, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get("message"), str):
        assert error.message == inner["message"].strip()
        assert error.provider_code == inner.get("code")


def test_an_error_in_a_stream_is_raised_by_watcher_and_parser() -> None:
    (parameter,) = recordings(lambda r: r.name == "documented/openrouter/error-mid-stream") or lacking("no recordings")
    recording: Recording = parameter.values[0]
    for reader in (Watcher(), StreamParser()):
        with pytest.raises(UpstreamRejected, match="Provider disconnected unexpectedly") as caught:
            for frame in recording.frames():
                list(reader.feed(frame) or ()) if isinstance(reader, StreamParser) else reader.feed(frame)
        assert caught.value.upstream_status == 502


def test_an_error_inside_a_200_is_raised() -> None:
    (parameter,) = recordings(lambda r: r.name == "azure/deployment-refusal") or lacking("no recordings")
    recording: Recording = parameter.values[0]
    with pytest.raises(UpstreamRejected) as quick:
        openai_chat.read_usage(recording.body, {})
    with pytest.raises(UpstreamRejected) as full:
        parse_response(json.loads(recording.body))
    for error in (quick.value, full.value):
        assert (error.upstream_status, error.provider_code, error.is_credential) == (400, "content_filter", False)


def test_a_stream_that_breaks_off_is_not_whole() -> None:
    (parameter,) = recordings(lambda r: r.name == "documented/openai/stream-cut") or lacking("no recordings")
    recording: Recording = parameter.values[0]
    with pytest.raises(UpstreamGarbled):
        parsed(recording.frames())
