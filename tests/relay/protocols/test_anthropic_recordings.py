"""What Anthropic was recorded to send and to be sent, read in every way this program reads it.

The independent reading is Anthropic's own SDK.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message

from oneapi.errors import UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, Json, Rendering
from oneapi.relay.framing import SSE, Frame
from oneapi.relay.protocols import openai_chat
from oneapi.relay.protocols.anthropic import CODEC, Watcher, head, read_text, read_usage
from oneapi.relay.protocols.anthropic_answer import StreamParser, StreamRenderer, parse_response, render_response
from oneapi.relay.protocols.anthropic_error import parse_error
from oneapi.relay.protocols.anthropic_request import parse_request, render_request
from oneapi.relay.routing import verdict
from tests.needs import lacking
from tests.relay.protocols.recordings import FOLDER, Recording, recordings


def is_message(recording: Recording) -> bool:
    return "anthropic.com/v1/messages" in recording.url and "count_tokens" not in recording.url


def is_stream(recording: Recording) -> bool:
    return recording.body.startswith(b"event:")


ANSWERS = recordings(lambda r: is_message(r) and r.status == 200 and "mid-stream" not in r.name)
STREAMS = [found for found in ANSWERS if is_stream(found.values[0])]
WHOLE = [found for found in ANSWERS if not is_stream(found.values[0])]
REQUESTS = recordings(lambda r: is_message(r) and isinstance(r.request, dict))
ERRORS = recordings(lambda r: is_message(r) and r.status >= 400)
RENDERING = Rendering(id="r", created_at=1, model="m")


def test_recordings_are_there() -> None:
    if not FOLDER.is_dir():
        lacking(f"no recordings in {FOLDER}: set ONEAPI_FIXTURES to their folder")
    assert len(STREAMS) >= 9
    assert len(WHOLE) >= 18
    assert len(REQUESTS) >= 35
    assert len(ERRORS) >= 9


# ---- the SDK's reading ----


def sdk_message(body: bytes) -> Message:
    return Message.model_validate(json.loads(body))


def sdk_accumulated(body: bytes) -> Message:
    framing = SSE()
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for frame in framing.feed(body) + framing.finish():
        event = json.loads(frame.data)
        if event["type"] != "ping":
            snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    return snapshot  # type: ignore[no-any-return]


def sdk_reading(message: Message) -> Json:
    """What the SDK's user sees of it."""
    usage = message.usage
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    texts, thoughts, calls, citations = [], [], [], []
    for block in message.content:
        match block.type:
            case "text":
                texts.append(block.text)
                citations += [citation.cited_text for citation in block.citations or ()]
            case "thinking":
                thoughts.append((block.thinking, block.signature))
            case "tool_use":
                calls.append((block.id, block.name, block.input))
    return {
        "id": message.id,
        "model": message.model,
        "text": "".join(texts),
        "thoughts": thoughts,
        "calls": calls,
        "citations": citations,
        "usage": (usage.input_tokens + cached + written, usage.output_tokens, cached, written),
    }


def our_reading(response: ir.ChatResponse) -> Json:
    (choice,) = response.choices
    assert response.usage is not None
    parts = choice.parts
    return {
        "id": response.id,
        "model": response.model,
        "text": "".join(part.text for part in parts if isinstance(part, ir.Text)),
        "thoughts": [
            (part.text, part.seal.value if part.seal else "") for part in parts if isinstance(part, ir.Reasoning)
        ],
        "calls": [(part.id, part.name, json.loads(part.arguments)) for part in parts if isinstance(part, ir.ToolCall)],
        "citations": [
            note["url_citation"]["content"] for part in parts if isinstance(part, ir.Text) for note in part.annotations
        ],
        "usage": (
            response.usage.input_tokens,
            response.usage.output_tokens,
            response.usage.cached_tokens or 0,
            response.usage.cache_write_tokens or 0,
        ),
    }


def parsed(frames: list[Frame]) -> list[ir.Event]:
    parser = StreamParser()
    events = [event for frame in frames for event in parser.feed(frame)]
    return [*events, *parser.finish()]


@pytest.mark.parametrize("recording", WHOLE)
def test_reads_a_whole_answer_as_the_sdk_does(recording: Recording) -> None:
    assert our_reading(parse_response(json.loads(recording.body))) == sdk_reading(sdk_message(recording.body))


@pytest.mark.parametrize("recording", STREAMS)
def test_reads_a_stream_as_the_sdk_does(recording: Recording) -> None:
    assert our_reading(ir.collect(parsed(recording.frames()))) == sdk_reading(sdk_accumulated(recording.body))


@pytest.mark.parametrize("recording", STREAMS)
def test_cuts_change_nothing(recording: Recording) -> None:
    chance = random.Random(recording.name)

    def at_random(body: bytes) -> list[bytes]:
        places = sorted({0, len(body), *(chance.randrange(len(body)) for _ in range(40))})
        return [body[start:end] for start, end in pairwise(places)]

    cuts: list[Callable[[bytes], list[bytes]]] = [
        lambda body: [body[at : at + 1] for at in range(len(body))],
        at_random,
        at_random,
    ]
    whole = parsed(recording.frames())
    for cut in cuts:
        assert parsed(recording.frames(cut)) == whole


@pytest.mark.parametrize("recording", STREAMS)
def test_the_watcher_sees_what_the_parser_sees(recording: Recording) -> None:
    watcher = Watcher()
    sights = [watcher.feed(frame) for frame in recording.frames()]
    events = parsed(recording.frames())
    usage = next(event for event in events if isinstance(event, ir.Usage))
    said = "".join(event.text for event in events if isinstance(event, ir.Delta) and event.text != "{}")
    text = watcher.take_text()
    assert watcher.usage == usage
    assert watcher.has_finished
    assert sights[-1] == LAST and CONTENT in sights
    assert len(text) >= len(said) > 0 or not said
    assert watcher.take_text() == ""


@pytest.mark.parametrize("recording", WHOLE)
def test_usage_and_text_of_an_answer_that_passes_as_it_came(recording: Recording) -> None:
    response = parse_response(json.loads(recording.body))
    assert read_usage(recording.body, {}) == response.usage
    text = read_text(recording.body, {})
    for part in response.choices[0].parts if response.choices else ():
        if isinstance(part, ir.Text | ir.Reasoning):
            assert part.text in text


# ---- to clients ----


def without_what_has_no_place(value: Json) -> Json:
    """A message as recorded, less what is told of the service and not of the answer."""
    usage = {name: count for name, count in value["usage"].items() if name in _COUNTS}
    rest = {name: item for name, item in value.items() if name not in ("usage",) and item is not None}
    return {**rest, "usage": usage}


_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


@pytest.mark.parametrize("recording", WHOLE)
def test_a_whole_answer_comes_out_as_it_went_in(recording: Recording) -> None:
    """Of an answer that goes through the representation, to a client of this protocol, nothing is lost."""
    given = json.loads(recording.body)
    rendered = render_response(parse_response(given), RENDERING)
    assert without_what_has_no_place(rendered) == {
        **without_what_has_no_place(given),
        "usage": {**dict.fromkeys(_COUNTS, 0), **without_what_has_no_place(given)["usage"]},
    }


@pytest.mark.parametrize("recording", STREAMS)
def test_the_sdk_reads_our_stream_as_it_reads_theirs(recording: Recording) -> None:
    renderer = StreamRenderer(RENDERING)
    pieces = [piece for event in parsed(recording.frames()) for piece in renderer.feed(event)]
    ours = sdk_accumulated(b"".join([*pieces, renderer.finish()]))
    theirs = sdk_accumulated(recording.body)
    assert sdk_reading(ours) == sdk_reading(theirs)
    assert [block.model_dump(exclude_none=True) for block in ours.content] == [
        block.model_dump(exclude_none=True) for block in theirs.content
    ]
    assert ours.stop_reason == theirs.stop_reason
    assert ours.stop_sequence == theirs.stop_sequence


@pytest.mark.parametrize("recording", WHOLE)
def test_an_openai_client_sends_the_next_turn_with_everything(recording: Recording) -> None:
    """Thoughts with their signatures and calls come back to Anthropic as they were."""
    given = json.loads(recording.body)
    message = openai_chat.render_response(parse_response(given), RENDERING)["choices"][0]["message"]
    turn = render_request(
        openai_chat.parse_request(
            {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "x"}, message]}
        )
    )
    content = turn["messages"][1]["content"] if len(turn["messages"]) > 1 else []
    wanted = [block for block in given["content"] if block["type"] in ("thinking", "redacted_thinking", "tool_use")]
    calls = [{name: block.get(name) for name in ("type", "id", "name", "input")} for block in wanted if "id" in block]
    assert [block for block in content if block["type"] in ("thinking", "redacted_thinking")] == [
        block for block in wanted if "id" not in block
    ]
    assert [block for block in content if block["type"] == "tool_use"] == calls
    assert (
        "".join(block["text"] for block in content if block["type"] == "text").strip()
        == "".join(block["text"] for block in given["content"] if block["type"] == "text").strip()
    )


# ---- requests ----


def in_blocks(body: Json) -> Json:
    """A request with what may be said in two ways said in one: texts as blocks, and nothing that says nothing."""
    turns: list[Json] = []
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        turns.append({"role": message["role"], "content": [_plain_block(block) for block in blocks]})
    system = body.get("system")
    rest = {name: value for name, value in body.items() if value not in (None, [], False)}
    rest["messages"] = turns
    if isinstance(system, list):
        rest["system"] = system[0]["text"] if len(system) == 1 and len(system[0]) == 2 else system
    for name in ("tools",):
        if name in rest:
            rest[name] = [{key: item for key, item in tool.items() if item != ""} for tool in rest[name]]
    if "output_format" in rest:
        rest["output_config"] = {"format": rest.pop("output_format")}
    if rest.get("tool_choice") and not rest.get("tools"):
        del rest["tool_choice"]
    return rest


def _plain_block(block: Json) -> Json:
    if block["type"] != "tool_result":
        return {**block, "input": {}} if block["type"] == "tool_use" and not block["input"] else block
    plain = {name: value for name, value in block.items() if not (name == "is_error" and not value)}
    content = plain.get("content")
    if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}:
        plain["content"] = content[0]["text"]
    return plain


@pytest.mark.parametrize("recording", REQUESTS)
def test_a_request_comes_out_as_it_went_in(recording: Recording) -> None:
    """Of a request that goes through the representation (to Claude elsewhere) nothing is lost."""
    given = in_blocks(recording.request)
    rendered = in_blocks(render_request(parse_request(recording.request)))
    if "format" in given.get("output_config", {}):
        schema = given["output_config"]["format"]["schema"]
        assert rendered["output_config"]["format"]["schema"].items() >= schema.items()
        rendered["output_config"]["format"]["schema"] = schema
    for tool, asked in zip(rendered.get("tools", ()), given.get("tools", ()), strict=True):
        tool["input_schema"] = {**tool.get("input_schema", {}), **asked.get("input_schema", {})}
        if "input_schema" not in asked:
            del tool["input_schema"]
    for name in ("temperature", "top_p", "top_k"):  # models of later date refuse them
        if name not in rendered:
            given.pop(name, None)
    assert rendered == given


@pytest.mark.parametrize("recording", REQUESTS)
def test_the_head_is_what_the_whole_says(recording: Recording) -> None:
    body = json.dumps(recording.request).encode()
    found = head(body)
    assert (found.model, found.stream) == (recording.request["model"], bool(recording.request.get("stream")))
    assert found.max_output_tokens == recording.request["max_tokens"]


@pytest.mark.parametrize("recording", REQUESTS)
def test_an_openai_provider_gets_every_text_of_it(recording: Recording) -> None:
    request = parse_request(recording.request)
    tools = tuple(tool for tool in request.tools if tool.kind == "function")
    said = json.dumps(openai_chat.render_request(ir.replace(request, tools=tools)), ensure_ascii=False)
    for message in recording.request["messages"]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block["type"] == "text":
                assert json.dumps(block["text"], ensure_ascii=False)[1:-1] in said


# ---- errors ----

_VERDICTS = {
    "error-400": (400, None, False, "none"),
    "error-401": (401, None, True, "disable"),
    "error-403": (403, None, True, "disable"),
    "error-404": (404, None, False, "cool_model"),
    "error-413": (413, None, False, "none"),
    "error-429": (429, None, False, "cool"),
    "error-500": (500, None, False, "count"),
    "error-529-overloaded": (529, None, False, "count"),
    "error-context-length": (400, "context_length_exceeded", False, "none"),
}


@pytest.mark.parametrize("recording", ERRORS)
def test_an_error_is_told_with_its_own_words(recording: Recording) -> None:
    error = parse_error(recording.status, recording.headers, recording.body)
    told = json.loads(recording.body)["error"]
    assert (error.message, error.provider_type) == (told["message"], told["type"])
    assert (
        error.upstream_status,
        error.provider_code,
        error.is_credential,
        verdict(error).blame,
    ) == _VERDICTS[recording.name.rpartition("/")[2]]


def test_an_error_in_the_middle_of_a_stream_is_the_providers() -> None:
    found = recordings(lambda r: r.name == "documented/anthropic/overloaded-mid-stream")
    if not found:
        lacking(f"no recordings in {FOLDER}: set ONEAPI_FIXTURES to their folder")
    recording: Recording = found[0].values[0]  # type: ignore[assignment]
    with pytest.raises(UpstreamRejected) as raised:
        parsed(recording.frames())
    assert (raised.value.upstream_status, raised.value.message) == (503, "Overloaded")
    watcher = Watcher()
    with pytest.raises(UpstreamRejected):
        for frame in recording.frames():
            watcher.feed(frame)


def test_the_codec_has_both_halves() -> None:
    assert None not in (CODEC.render_request, CODEC.parse_response, CODEC.stream_parser, CODEC.watcher)
    assert None not in (CODEC.parse_request, CODEC.render_response, CODEC.stream_renderer, CODEC.render_error)
