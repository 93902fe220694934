"""OpenAI's chat protocol in both directions: its laws, and the forms that services give it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, USAGE_ONLY, Rendering
from oneapi.relay.framing import SSE, Frame
from oneapi.relay.protocols import openai_chat
from oneapi.relay.protocols.openai_chat import StreamParser, StreamRenderer, Watcher
from oneapi.relay.protocols.openai_chat_request import parse_request, render_request
from tests.relay.protocols import chat_values

RENDERING = Rendering(id="chatcmpl-1", created_at=1700000000, model="gpt-4o")
MESSAGE = {"role": "user", "content": "hi"}


def frame(value: Any) -> Frame:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Frame(b"data: " + data + b"\n\n", data)


def chunk(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "created": 1, "model": "m", "choices": [choice], **more}


def events(*values: Any) -> list[ir.Event]:
    parser = StreamParser()
    found = [event for value in values for event in parser.feed(frame(value))]
    return [*found, *parser.finish()]


def collected(*values: Any) -> ir.ChatResponse:
    return ir.collect(events(*values))


def streamed(response: ir.ChatResponse, rendering: Rendering = RENDERING) -> bytes:
    renderer = StreamRenderer(rendering)
    return b"".join(piece for event in ir.replay(response) for piece in renderer.feed(event)) + renderer.finish()


def reread(stream: bytes) -> ir.ChatResponse:
    framing, parser = SSE(), StreamParser()
    found = [event for f in [*framing.feed(stream), *framing.finish()] for event in parser.feed(f)]
    return ir.collect([*found, *parser.finish()])


def without_raw(response: ir.ChatResponse) -> ir.ChatResponse:
    return replace(response, usage=replace(response.usage, raw=None)) if response.usage else response


# ---- laws ----


laws = settings(max_examples=40, deadline=None)


@laws
@given(chat_values.requests())
def test_a_request_rendered_and_read_again_is_the_same(request: ir.ChatRequest) -> None:
    body = json.loads(json.dumps(render_request(request)))
    assert parse_request(body) == request


@laws
@given(chat_values.responses)
def test_an_answer_rendered_and_read_again_is_the_same(response: ir.ChatResponse) -> None:
    body = json.loads(json.dumps(openai_chat.render_response(response, RENDERING)))
    assert without_raw(openai_chat.parse_response(body)) == response


@laws
@given(chat_values.responses)
def test_an_answer_streamed_and_read_again_is_the_same(response: ir.ChatResponse) -> None:
    assert without_raw(reread(streamed(response))) == response


@laws
@given(chat_values.responses, st.data())
def test_a_stream_in_pieces_says_what_the_whole_answer_says(response: ir.ChatResponse, data: st.DataObject) -> None:
    whole = json.loads(json.dumps(openai_chat.render_response(response, RENDERING)))
    chunks = [chunk({"role": "assistant", "content": ""}, index=c["index"]) for c in whole["choices"]]
    for choice in whole["choices"]:
        for delta in _deltas(choice["message"], data):
            chunks.append(chunk(delta, index=choice["index"]))
        chunks.append(chunk({}, choice["finish_reason"], choice["index"], usage=None))
        chunks[-1]["choices"][0]["logprobs"] = choice["logprobs"]
    for item in chunks:
        item.update({name: whole[name] for name in ("id", "created", "model", "service_tier") if name in whole})
    chunks.append({**chunk(), "choices": [], "usage": whole.get("usage")})
    assert collected(*chunks, b"[DONE]") == openai_chat.parse_response(whole)


def _deltas(message: dict[str, Any], data: st.DataObject) -> list[dict[str, Any]]:
    """The message in pieces, cut where hypothesis likes, in the order in which the parser reads a whole one."""

    def cut(text: str) -> list[str]:
        at = data.draw(st.integers(0, len(text)))
        return [text[:at], text[at:]]

    deltas: list[dict[str, Any]] = []
    if details := message.get("reasoning_details"):
        deltas.append({"reasoning_content": message.get("reasoning_content", ""), "reasoning_details": details})
    else:
        deltas += [{"reasoning_content": piece} for piece in cut(message.get("reasoning_content") or "")]
    deltas += [{"content": piece} for piece in cut(message["content"] or "")]
    deltas += [{"refusal": piece} for piece in cut(message["refusal"] or "")]
    deltas += [{name: message[name]} for name in ("annotations", "audio", "images") if name in message]
    for index, call in enumerate(message.get("tool_calls") or ()):
        kind = call["type"]
        field = "input" if kind == "custom" else "arguments"
        first, second = cut(call[kind][field])
        deltas.append({"tool_calls": [{**call, "index": index, kind: {**call[kind], field: first}}]})
        deltas.append({"tool_calls": [{"index": index, kind: {field: second}}]})
    return deltas


@laws
@given(chat_values.responses)
def test_the_watcher_counts_what_the_parser_reads(response: ir.ChatResponse) -> None:
    watcher = Watcher()
    sights = [watcher.feed(f) for f in SSE().feed(streamed(response))]
    expected = []
    for choice in response.choices:
        for part in choice.parts:
            match part:
                case ir.ToolCall():
                    expected.append(part.name + part.arguments)
                case ir.Audio():
                    expected.append(part.transcript)
                case ir.Text() | ir.Reasoning() | ir.Refusal():
                    expected.append(part.text)
    assert watcher.take_text() == "".join(expected)
    assert watcher.take_text() == ""
    assert watcher.usage == reread(streamed(response)).usage
    assert watcher.has_finished
    assert sights[-1] == LAST


# ---- the quick look at a request ----


def head(**fields: Any) -> Any:
    return openai_chat.head(json.dumps({"model": "gpt-4o", "messages": [MESSAGE], **fields}).encode())


def test_the_head_knows_what_routing_and_pricing_need() -> None:
    found = head(stream=True, stream_options={"include_usage": True}, max_tokens=5, n=2)
    assert (found.mode, found.model, found.stream, found.wants_usage) == ("chat", "gpt-4o", True, True)
    assert (found.max_output_tokens, found.n) == (5, 2)
    assert head(max_tokens=5, max_completion_tokens=7).max_output_tokens == 7
    assert head(stream=None, n=None, max_tokens=None, unknown={"a": [1]}).max_output_tokens is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"model": 4}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1073741824}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        head(**fields)
    assert caught.value.param == param
    assert caught.value.code == "invalid_text_request"
    assert param in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b'"text"',
        b"\xef\xbb\xbf{}",
        b'{"model":"m","messages":[1]',
        b'{"model":"m","messages":[NaN]}',
        b'{"model":"m","messages":["\xff"]}',
        b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        '{"model":"m","messages":[1]}'.encode("utf-16"),
    ],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        openai_chat.head(body)


def test_a_lone_surrogate_does_not_hinder_the_head() -> None:
    found = openai_chat.head(b'{"model":"m","messages":[{"role":"user","content":"\\ud83d"}],"max_tokens":3}')
    assert (found.model, found.max_output_tokens) == ("m", 3)


# ---- requests ----


def parse(**fields: Any) -> ir.ChatRequest:
    return parse_request({"model": "m", "messages": [MESSAGE], **fields})


def test_developer_is_system_by_another_name() -> None:
    request = parse(messages=[{"role": "developer", "content": "be kind"}])
    assert request.messages[0].role == "system"
    assert render_request(request)["messages"] == [{"role": "developer", "content": "be kind"}]


def test_old_functions_are_tools() -> None:
    body = {
        "model": "m",
        "messages": [
            MESSAGE,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "42"},
        ],
        "functions": [{"name": "f", "parameters": {"type": "object"}}],
        "function_call": {"name": "f"},
    }
    request = parse_request(body)
    assert [tool.name for tool in request.tools] == ["f"]
    assert request.tool_choice == ir.ToolChoice("function", "f")
    call, result = request.messages[1].parts[0], request.messages[2].parts[0]
    assert isinstance(call, ir.ToolCall) and isinstance(result, ir.ToolResult)
    assert call.id == result.call_id == "call_1"
    assert render_request(request) == body


def test_custom_tools_and_allowed_tools_pass() -> None:
    body = {
        "model": "m",
        "messages": [MESSAGE],
        "tools": [
            {"type": "function", "function": {"name": "f"}},
            {"type": "custom", "custom": {"name": "sh", "format": {"type": "text"}}},
        ],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [
                    {"type": "function", "function": {"name": "f"}},
                    {"type": "custom", "custom": {"name": "sh"}},
                ],
            },
        },
    }
    request = parse_request(body)
    assert request.tool_choice == ir.ToolChoice("required", allowed=("f", "sh"))
    assert [(tool.name, tool.kind) for tool in request.tools] == [("f", "function"), ("sh", "custom")]
    assert render_request(request) == body


def test_a_custom_tool_of_responses_is_written_in_chats_shape() -> None:
    tool = ir.Tool("sh", kind="custom", extra={"type": "custom", "name": "sh", "format": {"type": "text"}})
    rendered = render_request(ir.ChatRequest(model="m", messages=(), tools=(tool,)))
    assert rendered["tools"] == [{"type": "custom", "custom": {"name": "sh", "format": {"type": "text"}}}]


def test_a_built_in_tool_of_another_protocol_is_refused() -> None:
    tool = ir.Tool("web_search", kind="web_search_20250305", extra={"type": "web_search_20250305"})
    with pytest.raises(InvalidRequest, match="web_search_20250305"):
        render_request(ir.ChatRequest(model="m", messages=(), tools=(tool,)))


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({"reasoning_effort": "low"}, ir.Thinking("low")),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, ir.Thinking(budget_tokens=2000, is_shown=True)),
        ({"thinking": {"type": "disabled"}}, ir.Thinking("none")),
        ({"reasoning": {"effort": "high", "exclude": True}}, ir.Thinking("high", is_shown=False)),
        ({"reasoning": {"enabled": False}}, ir.Thinking("none")),
        ({"enable_thinking": False}, ir.Thinking("none")),
        ({}, None),
    ],
)
def test_thinking_has_many_spellings_and_each_is_kept(fields: dict[str, Any], thinking: ir.Thinking | None) -> None:
    request = parse(**fields)
    assert request.thinking == thinking
    rendered = render_request(request)
    assert {name: rendered[name] for name in fields} == fields
    assert "reasoning_effort" in rendered or "reasoning_effort" not in fields


def test_a_budget_becomes_a_word() -> None:
    def effort(budget: int) -> Any:
        return render_request(replace(parse(), thinking=ir.Thinking(budget_tokens=budget)))["reasoning_effort"]

    assert [effort(1024), effort(8192), effort(24576)] == ["low", "medium", "high"]


def test_both_limits_are_kept() -> None:
    request = parse(max_tokens=5, max_completion_tokens=7)
    assert request.max_tokens == 7
    rendered = render_request(request)
    assert (rendered["max_tokens"], rendered["max_completion_tokens"]) == (5, 7)


def test_results_of_one_turn_stand_together_and_their_pictures_follow() -> None:
    results = (
        ir.ToolResult("a", (ir.Text("one"), ir.Image(data="AAAA", media_type="image/png"))),
        ir.ToolResult("b", (ir.Text("two"),)),
    )
    request = ir.ChatRequest(model="m", messages=(ir.Message("tool", results), ir.Message("user", (ir.Text("so?"),))))
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert render_request(request)["messages"] == [
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": "two"},
        {"role": "user", "content": [picture]},
        {"role": "user", "content": "so?"},
    ]


def test_foreign_marks_are_not_sent_and_own_ones_are() -> None:
    foreign = ir.Text("hi", extra={"cache_control": {"type": "ephemeral"}})
    request = ir.ChatRequest(model="m", messages=(ir.Message("user", (foreign,)),), extra={"betas": ["x"]})
    assert render_request(request) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    own = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}
    assert render_request(parse(messages=[{"role": "user", "content": [own]}]))["messages"][0]["content"] == [own]


def test_a_thought_sealed_elsewhere_stays_there() -> None:
    parts = (ir.Reasoning("hm", ir.Seal("anthropic", "sig")), ir.Text("yes"))
    request = ir.ChatRequest(model="m", messages=(ir.Message("assistant", parts),))
    assert render_request(request)["messages"] == [{"role": "assistant", "content": "yes"}]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([7], "messages[0]"),
        ([{"role": "wizard", "content": "x"}], "messages[0].role"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].image_url"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "messages[0].content[0].image_url.url",
        ),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "messages[0].content[0].type"),
        ([{"role": "assistant", "tool_calls": [{"id": "a"}]}], "messages[0].tool_calls[0].function"),
        ([{"role": "assistant", "tool_calls": {"id": "a"}}], "messages[0].tool_calls"),
    ],
)
def test_a_malformed_message_is_named(messages: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(messages=messages)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"function": {"name": "f", "parameters": "{}"}}]}, "tools[0].function.parameters"),
        ({"tools": ["f"]}, "tools[0]"),
        ({"tool_choice": {"type": "hammer"}}, "tool_choice"),
        ({"stop": [1]}, "stop"),
        ({"logit_bias": []}, "logit_bias"),
    ],
)
def test_a_malformed_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(**fields)
    assert caught.value.param == param


# ---- streams of providers ----


def call(arguments: str, **fields: Any) -> dict[str, Any]:
    function = {"arguments": arguments}
    if "name" in fields:
        function["name"] = fields.pop("name")
    return {"tool_calls": [{"type": "function", "function": function, **fields}]}


def made_calls(*deltas: dict[str, Any]) -> list[tuple[str, str, str]]:
    response = collected(*(chunk(delta) for delta in deltas), chunk({}, "tool_calls"))
    parts = response.choices[0].parts
    return [(part.id, part.name, part.arguments) for part in parts if isinstance(part, ir.ToolCall)]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(
            [call("", index=0, id="a", name="f"), call("{", index=0), call("}", index=0)],
            [("a", "f", "{}")],
            id="by index",
        ),
        pytest.param(
            [call("{", index=0, id="a", name="f"), call("[", index=1, id="b", name="g"), call("]", index=1)],
            [("a", "f", "{"), ("b", "g", "[]")],
            id="one after the other",
        ),
        pytest.param(
            [call("", index=0, id="a", name="f"), call("", index=1, id="b", name="g"), call("1", index=0)],
            [("a", "f", "1"), ("b", "g", "")],
            id="beside each other",
        ),
        pytest.param(
            [call("{}", id="a", name="f"), call("{}", id="b", name="g")],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="whole, without index",
        ),
        pytest.param(
            [call("{}", index=0, id="a", name="f"), call("{}", index=0, id="b", name="g")],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="all with index 0",
        ),
        pytest.param(
            [call("{", index=0, id="a", name="f"), call("}", index=0, id="a", name="")],
            [("a", "f", "{}")],
            id="the id in every piece",
        ),
        pytest.param(
            [call("{", index=0, id="a", name="f"), call("}", index=0, id="", name="")],
            [("a", "f", "{}")],
            id="an empty id in later pieces",
        ),
        pytest.param([call("{", name="f"), call("}")], [("", "f", "{}")], id="neither index nor id"),
        pytest.param(
            [{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]}],
            [("a", "f", '{"x": 1}')],
            id="arguments that are no text",
        ),
        pytest.param(
            [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
            [("", "f", "{}")],
            id="the old field",
        ),
    ],
)
def test_pieces_of_tool_calls_find_their_call(deltas: Any, expected: Any) -> None:
    assert made_calls(*deltas) == expected


def test_arguments_of_two_calls_that_come_by_turns_reach_the_client() -> None:
    pieces = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "["}},
        {"index": 0, "function": {"arguments": "}"}},
        {"index": 1, "function": {"arguments": "]"}},
    ]
    told = events(*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk({}, "tool_calls"))
    renderer = StreamRenderer(RENDERING)
    again = reread(b"".join(piece for event in told for piece in renderer.feed(event)) + renderer.finish())
    assert ir.collect(told).choices[0].parts == (ir.ToolCall("a", "f", "{}"), ir.ToolCall("b", "g", "[]"))
    assert again.choices[0].parts == (ir.ToolCall("a", "f", "{}"), ir.ToolCall("b", "g", "[]"))


def test_stop_beside_tool_calls_means_tool_calls() -> None:
    response = collected(chunk(call("{}", index=0, id="a", name="f")), chunk({}, "stop"))
    assert response.choices[0].finish_reason == "tool_calls"


def test_a_parts_kind_ends_the_one_before() -> None:
    found = events(
        chunk({"role": "assistant", "reasoning_content": "hm"}), chunk({"content": "yes"}), chunk({}, "stop"), b"[DONE]"
    )
    assert found == [
        ir.Begin("c", "m", 1),
        ir.Open(0, ir.Reasoning("")),
        ir.Delta(0, "hm"),
        ir.Close(0),
        ir.Open(1, ir.Text("")),
        ir.Delta(1, "yes"),
        ir.Close(1),
        ir.Finish("stop"),
    ]


def test_azures_first_chunk_is_not_the_beginning() -> None:
    filtered = {"choices": [], "created": 0, "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]}
    assert events(filtered, chunk({"content": "x"}, "stop"))[0] == ir.Begin("c", "m", 1)
    watcher = Watcher()
    assert watcher.feed(frame(filtered)) == NOTHING


def test_usage_is_found_wherever_it_stands() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    places = [
        chunk({}, "stop", usage=usage),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}]},
        chunk({}, "stop", x_groq={"id": "r", "usage": usage}),
    ]
    for place in places:
        response = collected(chunk({"content": "x"}), place)
        watcher = Watcher()
        watcher.feed(frame(place))
        assert response.usage == watcher.usage
        assert response.usage is not None and response.usage.total_tokens == 5


def test_a_whole_message_at_the_end_does_not_repeat_the_answer() -> None:
    last = {"id": "c", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}
    assert collected(chunk({"content": "hi"}, "stop"), last).choices[0].parts == (ir.Text("hi"),)
    assert collected(last).choices[0].parts == (ir.Text("hi"),)


def test_two_choices_are_kept_apart() -> None:
    response = collected(
        chunk({"content": "a"}, index=0), chunk({"content": "b"}, index=1), chunk({}, "length", 1), chunk({}, "stop", 0)
    )
    assert [(c.parts, c.finish_reason) for c in response.choices] == [
        ((ir.Text("a"),), "stop"),
        ((ir.Text("b"),), "length"),
    ]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("sensitive", "content_filter"),
        ("network_glitch", "stop"),
    ],
)
def test_finish_reasons_have_four_meanings(word: str, reason: str) -> None:
    assert collected(chunk({"content": "x"}, word)).choices[0].finish_reason == reason


def test_done_without_a_reason_is_a_stop_and_an_end_without_either_is_a_cut() -> None:
    assert collected(chunk({"content": "x"}), b"[DONE]").choices[0].finish_reason == "stop"
    with pytest.raises(UpstreamGarbled):
        events(chunk({"content": "x"}))
    with pytest.raises(UpstreamGarbled):
        events(b"[DONE]")


ERRORS = [
    ({"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}, 429),
    ({"error": {"message": "gone", "code": 502}, "choices": [{"delta": {}, "finish_reason": "error"}]}, 502),
    ({"error": "it broke"}, 200),
    ({"object": "error", "message": "too long", "type": "invalid_request_error", "code": 400}, 400),
    ({"code": 10013, "message": "input content is illegal", "sid": "x"}, 200),
]


@pytest.mark.parametrize(("error", "status"), ERRORS)
def test_an_error_in_a_stream_or_a_200_is_an_error(error: dict[str, Any], status: int) -> None:
    for read in (
        lambda: Watcher().feed(frame(error)),
        lambda: list(StreamParser().feed(frame(error))),
        lambda: openai_chat.read_usage(json.dumps(error).encode(), {}),
        lambda: openai_chat.parse_response(error),
    ):
        with pytest.raises(UpstreamRejected) as caught:
            read()
        assert caught.value.upstream_status == status


def test_an_error_after_the_finish_reason_is_an_error_too() -> None:
    # So OpenRouter's documents have it, and so OpenAI's SDK takes it: whatever chunk says error, the stream has failed.
    late = {"error": {"message": "gone", "code": 502}, "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}
    watcher, parser = Watcher(), StreamParser()
    watcher.feed(frame(chunk({"content": "x"}, "stop")))
    list(parser.feed(frame(chunk({"content": "x"}, "stop"))))
    for feed in (watcher.feed, lambda given: list(parser.feed(given))):
        with pytest.raises(UpstreamRejected) as caught:
            feed(frame(late))
        assert caught.value.upstream_status == 502


def test_an_answer_that_is_no_answer_is_garbled() -> None:
    for body in (b"<html>", b"[]", b"{}", b""):
        with pytest.raises(UpstreamGarbled):
            openai_chat.read_usage(body, {})
    with pytest.raises(UpstreamGarbled):
        Watcher().feed(frame(b"{broken"))
    with pytest.raises(UpstreamGarbled):
        list(StreamParser().feed(frame(b"{broken")))


# ---- the watcher ----


@pytest.mark.parametrize(
    ("value", "sight"),
    [
        (chunk({"role": "assistant", "content": ""}), NOTHING),
        (chunk({"role": "assistant", "content": None}), NOTHING),
        (chunk({"content": "x"}), CONTENT),
        (chunk({"reasoning": "x"}), CONTENT),
        (chunk({"refusal": "x"}), CONTENT),
        (chunk({"content": [{"type": "text", "text": "x"}]}), CONTENT),
        (chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}]}), CONTENT),
        (chunk({"audio": {"id": "a", "data": "AAAA"}}), CONTENT),
        (chunk({"images": [{"image_url": {"url": "data:image/png;base64,AAAA"}}]}), CONTENT),
        (chunk(call("", index=0, id="a", name="f")), CONTENT),
        (chunk({"tool_calls": {"id": "a", "function": {"name": "f", "arguments": "{}"}}}), CONTENT),
        (chunk({}, "stop"), CONTENT),
        (chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}), CONTENT),
        ({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}, USAGE_ONLY),
        ({"choices": [], "usage": {"prompt_tokens": "1", "completion_tokens": 1.0, "total_tokens": 2}}, USAGE_ONLY),
        ({"choices": []}, NOTHING),
        (b"[DONE]", LAST),
        (b" [DONE]", LAST),
        (b"", NOTHING),
    ],
)
def test_sights(value: Any, sight: int) -> None:
    assert Watcher().feed(frame(value)) == sight


def test_usage_beside_content_is_not_hidden_and_after_the_finish_is() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    watcher = Watcher()
    assert watcher.feed(frame(chunk({"content": "x"}, usage=usage))) == CONTENT
    assert watcher.feed(frame(chunk({"content": ""}, usage=usage))) == NOTHING
    assert watcher.feed(frame(chunk({}, "stop"))) == CONTENT
    assert watcher.feed(frame(chunk({"content": ""}, usage=usage))) == USAGE_ONLY


# ---- answers for clients ----


def test_a_stream_for_a_client_has_its_form() -> None:
    response = ir.ChatResponse(
        id="msg_1",
        model="claude",
        choices=(
            ir.Choice(
                parts=(ir.Reasoning("hm"), ir.Text("ok"), ir.ToolCall("", "f", "{}")), finish_reason="tool_calls"
            ),
        ),
        usage=ir.Usage(input_tokens=1, output_tokens=2, cached_tokens=0),
    )
    frames = SSE().feed(streamed(response))
    assert frames[-1].data == b"[DONE]"
    chunks = [json.loads(f.data) for f in frames[:-1]]
    opening = {"id": "call_chatcmpl-1_0_0", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert {c["id"] for c in chunks} == {"msg_1"}
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert {(c["created"], c["model"]) for c in chunks} == {(1700000000, "claude")}
    assert [c["choices"][0]["delta"] for c in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "ok"},
        {"tool_calls": [{"index": 0, **opening}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * 5 + ["tool_calls"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def test_the_usage_chunk_comes_only_where_it_is_wanted() -> None:
    response = ir.ChatResponse(
        choices=(ir.Choice(parts=(ir.Text("x"),), finish_reason="stop"),), usage=ir.Usage(input_tokens=1)
    )
    assert b'"usage"' not in streamed(response, replace(RENDERING, wants_usage=False))
    assert b'"usage"' in streamed(response)


def test_a_signature_that_comes_late_reaches_the_client_and_comes_back() -> None:
    renderer = StreamRenderer(RENDERING)
    told = [
        ir.Begin("msg_1", "claude"),
        ir.Open(0, ir.Reasoning("")),
        ir.Delta(0, "hm"),
        ir.Amend(0, ir.Reasoning("", ir.Seal("anthropic", "sig"))),
        ir.Close(0),
        ir.Open(1, ir.Text("")),
        ir.Delta(1, "yes"),
        ir.Close(1),
        ir.Finish("stop"),
    ]
    stream = b"".join(piece for event in told for piece in renderer.feed(event)) + renderer.finish()
    sealed = ir.Reasoning("hm", ir.Seal("anthropic", "sig"))
    assert reread(stream).choices[0].parts == (sealed, ir.Text("yes"))
    # As a client puts the deltas together, and sends them with its next request.
    message = {
        "role": "assistant",
        "content": "yes",
        "reasoning_content": "hm",
        "reasoning_details": [{"index": 0, "type": "reasoning.text", "signature": "sig", "format": "seal/anthropic"}],
    }
    assert parse(messages=[message]).messages[0].parts == (sealed, ir.Text("yes"))


def test_a_lone_surrogate_in_an_answer_stays_an_escape() -> None:
    response = ir.ChatResponse(choices=(ir.Choice(parts=(ir.Text("\ud83d"),), finish_reason="stop"),))
    assert b'"content":"\\ud83d"' in streamed(response)
