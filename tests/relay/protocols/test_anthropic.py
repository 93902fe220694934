"""Anthropic's protocol: the conversion table of the specification row by row, model rules, errors, and the laws."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import (
    InsufficientQuota,
    InvalidRequest,
    RateLimited,
    Unauthenticated,
    UpstreamGarbled,
    UpstreamRejected,
)
from oneapi.relay import ir
from oneapi.relay.adaptor import Credentials, Json, Rendering, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import anthropic as adaptor
from oneapi.relay.convert import used_fields
from oneapi.relay.framing import SSE, Frame
from oneapi.relay.protocols import openai_chat
from oneapi.relay.protocols.anthropic import Watcher, head
from oneapi.relay.protocols.anthropic_answer import StreamParser, StreamRenderer, parse_response, render_response
from oneapi.relay.protocols.anthropic_error import parse_error, render_error
from oneapi.relay.protocols.anthropic_models import claude
from oneapi.relay.protocols.anthropic_request import CANNOT_CARRY, JSON_TOOL, drops, parse_request, render_request
from oneapi.relay.routing import verdict
from tests.relay.protocols import chat_values

SONNET = "claude-sonnet-4-5"
RENDERING = Rendering(id="r", created_at=1, model="m")
USER = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
AS_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}


def rendered(model: str = SONNET, **fields: Any) -> Json:
    return render_request(openai_chat.parse_request({"model": model, "messages": [USER], **fields}))


def lost(model: str = SONNET, **fields: Any) -> set[str]:
    request = openai_chat.parse_request({"model": model, "messages": [USER], **fields})
    return set(used_fields(request) & (CANNOT_CARRY | drops(request)))


def turns(*messages: Json) -> list[Json]:
    return rendered(messages=list(messages))["messages"]  # type: ignore[no-any-return]


# ---- OpenAI's request, row by row ----


def test_all_system_messages_stand_in_system_in_order_with_their_cache_marks() -> None:
    marked = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}
    body = rendered(
        messages=[
            {"role": "system", "content": "a"},
            {"role": "developer", "content": [marked]},
            USER,
            {"role": "system", "content": "c"},
        ]
    )
    assert body["system"] == [{"type": "text", "text": "a"}, marked, {"type": "text", "text": "c"}]
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def test_pictures_and_documents() -> None:
    png, jpeg, pdf = "iVBORw0KGgoAAA", "/9j/4AAQ", "JVBERi0xLjQ="
    content = [
        {"type": "image_url", "image_url": {"url": "https://e.com/cat.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{png}"}},
        {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{jpeg}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{pdf}"}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}},
        {"type": "file", "file": {"file_data": "https://e.com/a.pdf"}},
        {"type": "file", "file": {"file_id": "file_1"}},
    ]
    (turn,) = turns({"role": "user", "content": content})
    assert [block["source"] for block in turn["content"]] == [
        {"type": "url", "url": "https://e.com/cat.png"},
        {"type": "base64", "media_type": "image/png", "data": png},
        {"type": "base64", "media_type": "image/jpeg", "data": jpeg},
        {"type": "base64", "media_type": "application/pdf", "data": pdf},
        {"type": "text", "media_type": "text/plain", "data": "hi"},
        {"type": "url", "url": "https://e.com/a.pdf"},
        {"type": "file", "file_id": "file_1"},
    ]
    assert turn["content"][3]["title"] == "a.pdf"


def test_a_document_that_is_neither_pdf_nor_text_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"application/zip"):
        turns(
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:application/zip;base64,AA=="}}]}
        )


@pytest.mark.parametrize("content", [None, "", [], "Let me look.", [{"type": "text", "text": "Let me look."}]])
def test_calls_are_kept_whatever_the_content(content: Any) -> None:
    call = {"id": "call.1:0", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}}
    found = turns(
        USER,
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call.1:0", "content": "sunny"},
    )
    used = {"type": "tool_use", "id": "call_1_0", "name": "weather", "input": {"city": "Köln"}}
    assert found[1]["content"] == ([{"type": "text", "text": "Let me look."}] if content else []) + [used]
    assert found[2]["content"] == [{"type": "tool_result", "tool_use_id": "call_1_0", "content": "sunny"}]


@pytest.mark.parametrize(
    ("arguments", "given"), [("", {}), ("{}", {}), ("[1]", {"input": [1]}), ("{x", {"input": "{x"})]
)
def test_arguments_become_an_object(arguments: str, given: Json) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    assert turns(USER, {"role": "assistant", "tool_calls": [call]})[1]["content"][0]["input"] == given


def test_results_of_one_turn_stand_together_before_its_text() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in "abc"]
    found = turns(
        USER,
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": ""},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}],
        },
        {"role": "tool", "tool_call_id": "c", "content": [picture]},
        {"role": "user", "content": "and?"},
    )
    assert [turn["role"] for turn in found] == ["user", "assistant", "user"]
    assert found[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a"},
        {
            "type": "tool_result",
            "tool_use_id": "b",
            "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}],
        },
        {
            "type": "tool_result",
            "tool_use_id": "c",
            "content": [{"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}}],
        },
        {"type": "text", "text": "and?"},
    ]


def test_the_old_function_call_and_its_result() -> None:
    found = turns(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    )
    assert found[1]["content"] == [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]
    assert found[2]["content"] == [{"type": "tool_result", "tool_use_id": "call_1", "content": "1"}]


def test_adjacent_turns_are_one_blank_texts_are_none_and_the_first_is_the_users() -> None:
    found = turns(
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": "b"},
        {"role": "user", "content": "c"},
    )
    assert found == [
        {"role": "user", "content": [{"type": "text", "text": "."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
        {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
    ]


def test_tools_go_with_their_whole_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}
    function = {"name": "f", "description": "d", "parameters": schema, "strict": True}
    body = rendered(
        tools=[
            {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}},
            {"type": "function", "function": {"name": "g"}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        ]
    )
    assert body["tools"] == [
        {
            "name": "f",
            "description": "d",
            "input_schema": {**schema, "additionalProperties": False},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    ]
    assert (
        "strict"
        not in rendered("claude-3-haiku-20240307", tools=[{"type": "function", "function": function}])["tools"][0]
    )


def test_a_built_in_tool_of_another_provider_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="web_search_preview"):
        rendered(tools=[{"type": "web_search_preview"}])


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("any", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_tool_choice(choice: Any, wanted: Json) -> None:
    assert rendered(tools=[WEATHER], tool_choice=choice)["tool_choice"] == wanted
    one = rendered(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)["tool_choice"]
    assert one == (wanted if choice == "none" else {**wanted, "disable_parallel_tool_use": True})
    assert "tool_choice" not in rendered(tool_choice="auto")


def test_one_call_at_a_time_without_a_choice_and_allowed_tools() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    assert rendered(tools=[WEATHER], parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]}
    body = rendered(tools=[WEATHER, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool["name"] for tool in body["tools"]] == ["weather"]
    assert body["tool_choice"] == {"type": "any"}


def test_stop_user_and_what_has_no_place() -> None:
    body = rendered(stop=["a", "\n"], user="u", seed=1, n=2, logprobs=True, metadata={"a": "b"}, stream=True)
    assert body["stop_sequences"] == ["a"]
    assert body["metadata"] == {"user_id": "u"}
    assert body["stream"] is True
    assert body.keys() == {"model", "messages", "max_tokens", "stop_sequences", "metadata", "stream"}
    assert lost(stop="a", user="u", seed=1, n=2, logprobs=True, metadata={"a": "b"}) == {
        "seed",
        "n",
        "logprobs",
        "metadata",
    }


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("claude-2.1", 4096),
        ("claude-instant-1.2", 4096),
        ("claude-3-haiku-20240307", 4096),
        ("claude-3-5-haiku-latest", 8192),
        ("claude-3-7-sonnet-20250219", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("anthropic.claude-opus-4-1-20250805-v1:0", 32_000),
        ("claude-sonnet-4-0", 64_000),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 64_000),
        ("anthropic.claude-opus-4-6-v1", 128_000),
        ("claude-sonnet-4-6", 64_000),
        ("claude-opus-4-7", 128_000),
        ("claude-sonnet-5", 128_000),
        ("claude-haiku-5-5", 128_000),
        ("claude-mythos-preview", 128_000),
        ("glm-4.6", 8192),
    ],
)
def test_max_tokens_is_what_the_model_can_write_unless_the_client_says(model: str, most: int) -> None:
    assert rendered(model)["max_tokens"] == most
    assert rendered(model, max_tokens=7)["max_tokens"] == 7
    assert rendered(model, max_completion_tokens=8, max_tokens=7)["max_tokens"] == 8


@pytest.mark.parametrize(
    ("name", "family", "version"),
    [
        ("claude-v2", "claude", (2, 0)),
        ("anthropic.claude-v2:1", "claude", (2, 1)),
        ("anthropic.claude-instant-v1", "instant", (1, 0)),
        ("claude-3-5-sonnet-20241022", "sonnet", (3, 5)),
        ("claude-opus-4@20250514", "opus", (4, 0)),
        ("claude-opus-4-1@20250805", "opus", (4, 1)),
        ("claude-4-opus-20250514", "opus", (4, 0)),
        ("anthropic/claude-sonnet-4.5", "sonnet", (4, 5)),
        ("eu.anthropic.claude-sonnet-5-5", "sonnet", (5, 5)),
        ("kimi-k2", "", (4, 0)),
    ],
)
def test_a_models_version_is_told_by_its_name(name: str, family: str, version: tuple[int, int]) -> None:
    assert (claude(name).family, claude(name).version) == (family, version)


def test_sampling_by_model() -> None:
    asked: Json = {"temperature": 1.5, "top_p": 0.9, "top_k": 5}
    assert {"temperature": 1, "top_p": 0.9, "top_k": 5}.items() <= rendered("claude-3-haiku-20240307", **asked).items()
    body = rendered(SONNET, **asked)
    assert (body["temperature"], body["top_k"], body.get("top_p")) == (1, 5, None)
    assert lost(SONNET, **asked) == {"top_p"}
    assert not asked.keys() & rendered("claude-opus-4-7", **asked).keys()
    assert lost("claude-opus-4-7", **asked) == {"temperature", "top_p", "top_k"}
    thinking = rendered("claude-3-7-sonnet-20250219", reasoning_effort="low", **asked)
    assert not asked.keys() & thinking.keys()


ADAPTIVE: Json = {"type": "adaptive"}


def budget(tokens: int) -> Json:
    return {"type": "enabled", "budget_tokens": tokens}


@pytest.mark.parametrize(
    ("model", "fields", "thinking", "effort"),
    [
        ("claude-3-7-sonnet-20250219", {"reasoning_effort": "low"}, budget(1024), None),
        (SONNET, {"reasoning_effort": "medium"}, budget(8192), None),
        (SONNET, {"reasoning_effort": "high"}, budget(24_576), None),
        (SONNET, {"reasoning_effort": "high", "max_tokens": 5000}, budget(4999), None),
        (SONNET, {"thinking": budget(3000)}, budget(3000), None),
        (SONNET, {"reasoning_effort": "none"}, None, None),
        ("claude-opus-4-6", {"reasoning_effort": "high"}, {"type": "adaptive"}, "high"),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"}, {"type": "adaptive"}, "high"),
        ("claude-opus-4-6", {"thinking": budget(3000)}, budget(3000), None),
        ("claude-opus-4-7", {"reasoning_effort": "xhigh"}, ADAPTIVE | {"display": "summarized"}, "xhigh"),
        ("claude-opus-4-8", {"thinking": budget(9000)}, ADAPTIVE | {"display": "summarized"}, "medium"),
        (
            "claude-opus-4-8",
            {"reasoning": {"effort": "low", "exclude": True}},
            ADAPTIVE | {"display": "omitted"},
            "low",
        ),
        ("claude-opus-4-8", {"reasoning_effort": "none"}, None, None),
        ("claude-opus-5", {"reasoning_effort": "none"}, {"type": "disabled"}, None),
        ("claude-haiku-5-5", {"reasoning_effort": "minimal"}, ADAPTIVE | {"display": "summarized"}, "low"),
        ("claude-sonnet-5-5", {"reasoning_effort": "none"}, {"type": "between_tools"}, None),
        ("claude-opus-5-5", {"reasoning_effort": "none"}, None, "low"),
        ("claude-fable-5-1", {}, None, None),
    ],
)
def test_thinking_by_model(model: str, fields: Json, thinking: Json | None, effort: str | None) -> None:
    body = rendered(model, **fields)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


def test_thinking_that_cannot_be_is_declared() -> None:
    assert lost("claude-3-haiku-20240307", reasoning_effort="low") == {"thinking"}
    assert lost("claude-opus-5-5", reasoning_effort="none") == {"thinking"}
    assert lost(SONNET, reasoning_effort="low", max_tokens=500) == {"thinking"}
    assert lost(SONNET, reasoning_effort="low", tools=[WEATHER], tool_choice="required") == {"thinking"}
    assert lost("claude-opus-5-5", tools=[WEATHER], tool_choice="required") == {"tool_choice"}
    assert rendered("claude-opus-5-5", tools=[WEATHER], tool_choice="required")["tool_choice"] == {"type": "auto"}
    assert lost(SONNET, reasoning_effort="high", tools=[WEATHER]) == set()


def test_a_turn_that_lost_its_thoughts_goes_on_without() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    thought = {"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "seal/anthropic"}
    answer: Json = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "a", "content": "1"}
    assert "thinking" not in rendered(messages=[USER, answer, result], reasoning_effort="low")
    kept = rendered(messages=[USER, {**answer, "reasoning_details": [thought]}, result], reasoning_effort="low")
    assert kept["thinking"] == budget(1024)
    assert kept["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sig"}
    again = rendered(
        messages=[USER, answer, result, {"role": "assistant", "content": "1"}, USER], reasoning_effort="low"
    )
    assert again["thinking"] == budget(1024)


def test_a_thought_whose_text_and_signature_came_apart_is_joined() -> None:
    detail = {"type": "reasoning.text", "signature": "sig", "format": "seal/anthropic"}
    answer = {"role": "assistant", "content": "4", "reasoning_content": "2+2", "reasoning_details": [detail]}
    assert turns(USER, answer)[1]["content"] == [
        {"type": "thinking", "thinking": "2+2", "signature": "sig"},
        {"type": "text", "text": "4"},
    ]


def test_thoughts_of_another_provider_stay_at_home() -> None:
    detail = {"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "seal/gemini"}
    answer = {"role": "assistant", "content": "4", "reasoning_details": [detail]}
    assert turns(USER, answer)[1]["content"] == [{"type": "text", "text": "4"}]
    assert turns(USER, {"role": "assistant", "content": "4", "reasoning_content": "hm"})[1]["content"] == [
        {"type": "text", "text": "4"}
    ]


# ---- JSON answers ----


def test_a_schema_is_the_output_format_where_the_model_has_one() -> None:
    body = rendered(SONNET, response_format=AS_SCHEMA)
    held = {
        "type": "object",
        "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": held}}
    assert "tools" not in body
    both = rendered("claude-opus-4-8", response_format=AS_SCHEMA, reasoning_effort="low")["output_config"]
    assert both == {"effort": "low", "format": {"type": "json_schema", "schema": held}}


def test_a_schema_is_a_forced_tool_elsewhere() -> None:
    body = rendered("claude-3-5-haiku-20241022", response_format=AS_SCHEMA)
    assert [tool["name"] for tool in body["tools"]] == [JSON_TOOL]
    assert body["tools"][0]["input_schema"] == SCHEMA
    assert body["tool_choice"] == {"type": "tool", "name": JSON_TOOL}
    assert rendered("claude-3-5-haiku-20241022", response_format=AS_SCHEMA, tools=[WEATHER])["tool_choice"] == {
        "type": "any"
    }


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    body = rendered(messages=[{"role": "system", "content": "s"}, USER], response_format={"type": "json_object"})
    assert body["system"][0] == {"type": "text", "text": "s"}
    assert "JSON" in body["system"][1]["text"]


ANSWER_TOOL = {"type": "tool_use", "id": "toolu_1", "name": JSON_TOOL, "input": {"n": 3}}


def test_the_answer_in_a_forced_tool_is_unwrapped() -> None:
    response = parse_response({"content": [ANSWER_TOOL], "stop_reason": "tool_use"})
    assert response.choices == (ir.Choice(parts=(ir.Text('{"n":3}'),), finish_reason="stop"),)
    both = [ANSWER_TOOL, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]
    (choice,) = parse_response({"content": both, "stop_reason": "tool_use"}).choices
    assert choice.parts == (ir.Text('{"n":3}'), ir.ToolCall("a", "f", "{}"))
    assert choice.finish_reason == "tool_calls"


# ---- answers ----


@pytest.mark.parametrize(
    ("word", "reason", "extra"),
    [
        ("end_turn", "stop", {}),
        ("stop_sequence", "stop", {"stop_reason": "stop_sequence"}),
        ("pause_turn", "stop", {"stop_reason": "pause_turn"}),
        ("max_tokens", "length", {}),
        ("model_context_window_exceeded", "length", {"stop_reason": "model_context_window_exceeded"}),
        ("refusal", "content_filter", {}),
        ("something_new", "stop", {"stop_reason": "something_new"}),
    ],
)
def test_stop_reasons(word: str, reason: str, extra: Json) -> None:
    (choice,) = parse_response({"content": [{"type": "text", "text": "a"}], "stop_reason": word}).choices
    assert choice.finish_reason == reason
    assert choice.extra == ({"origin": "anthropic", **extra} if extra else {})


def test_usage_adds_the_buckets_that_anthropic_leaves_out() -> None:
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
        "server_tool_use": {"web_search_requests": 2},
    }
    found = parse_response({"content": [], "stop_reason": "end_turn", "usage": usage}).usage
    assert found == ir.Usage(
        input_tokens=135,
        output_tokens=9,
        cached_tokens=100,
        cache_write_tokens=30,
        cache_write_1h_tokens=20,
        reasoning_tokens=4,
        units={"searches": 2},
        raw=usage,
    )
    message = render_response(ir.ChatResponse(choices=(ir.Choice(),), usage=found), RENDERING)
    assert message["usage"] == {name: value for name, value in usage.items()}


def events_of(*events: Json) -> list[ir.Event]:
    parser = StreamParser()
    found = [part for event in events for part in parser.feed_event(event)]
    return [*found, *parser.finish()]


def test_later_counts_replace_earlier_ones() -> None:
    *_, usage = events_of(
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    )
    assert isinstance(usage, ir.Usage)
    assert (usage.input_tokens, usage.output_tokens) == (3, 7)


def test_what_anthropic_ran_itself_is_shown_to_its_own_clients_only() -> None:
    search = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}}
    result = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
    body = {
        "id": "msg_1",
        "model": "m",
        "content": [search, result, {"type": "text", "text": "y"}],
        "stop_reason": "end_turn",
    }
    response = parse_response(body)
    assert render_response(response, RENDERING)["content"] == body["content"]
    message = openai_chat.render_response(response, RENDERING)["choices"][0]["message"]
    assert (message["content"], message.get("tool_calls")) == ("y", None)
    streamed = events_of(
        {"type": "content_block_start", "index": 0, "content_block": {**search, "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"query":'}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '"x"}'}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    )
    assert ir.collect(streamed).choices[0].parts == response.choices[0].parts[:1]


def test_a_stream_that_ends_early_is_not_whole() -> None:
    with pytest.raises(UpstreamGarbled):
        events_of({"type": "message_start", "message": {}})


def test_a_refusal_keeps_its_details_for_its_own_clients() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    body = {"content": [], "stop_reason": "refusal", "stop_details": details}
    assert render_response(parse_response(body), RENDERING)["stop_details"] == details
    assert (
        openai_chat.render_response(parse_response(body), RENDERING)["choices"][0]["finish_reason"] == "content_filter"
    )


# ---- the client half ----


def test_a_clients_request_becomes_openais() -> None:
    body = {
        "model": "gpt-4o",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "look"}, _IMAGE]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r"}]},
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "stop_sequences": ["x"],
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "metadata": {"user_id": "u"},
        "stream": True,
    }
    assert openai_chat.render_request(parse_request(body)) == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "content": "r", "tool_call_id": "t1"},
            {"role": "user", "content": "go on"},
        ],
        "max_tokens": 50,
        "stop": ["x"],
        "user": "u",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "parallel_tool_calls": False,
        "tool_choice": "required",
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [3]}]}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"max_tokens": "7"}, "max_tokens"),
        ({"temperature": True}, "temperature"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"model": 3}, "model"),
    ],
)
def test_a_wrong_field_is_named(change: Json, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_request({"model": "m", "messages": [USER], "max_tokens": 1, **change})
    assert raised.value.param == field


def test_the_head_names_what_is_missing() -> None:
    with pytest.raises(InvalidRequest) as raised:
        head(b'{"model":"m","messages":[]}')
    assert raised.value.param == "messages"
    with pytest.raises(InvalidRequest) as raised:
        head(b'{"messages":[{}]}')
    assert raised.value.param == "model"


def test_seals_of_other_protocols_survive_a_turn_with_a_client_of_this_one() -> None:
    parts = (
        ir.Reasoning("hm", ir.Seal("gemini", "c2ln")),
        ir.Reasoning("", ir.Seal("openai_responses", "enc"), True),
        ir.ToolCall("call_1", "f", "{}", seal=ir.Seal("gemini", "AB+/=é")),
    )
    message = render_response(ir.ChatResponse(choices=(ir.Choice(parts=parts, finish_reason="tool_calls"),)), RENDERING)
    call_id = message["content"][2]["id"]
    result = {"type": "tool_result", "tool_use_id": call_id, "content": "1"}
    turns_ = [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": [result]}]
    answer, tool = parse_request({"model": "m", "messages": turns_}).messages
    assert answer.parts == parts
    assert tool.parts == (ir.ToolResult("call_1", (ir.Text("1"),)),)


def test_ids_that_are_missing_are_made_from_what_the_call_is_known_by() -> None:
    call = ir.ToolCall("", "f", "{}")
    message = render_response(ir.ChatResponse(choices=(ir.Choice(parts=(call,)),)), RENDERING)
    assert (message["id"], message["model"], message["content"][0]["id"]) == ("msg_r", "m", "toolu_0")


def test_an_openai_refusal_is_one_here() -> None:
    choice = ir.Choice(parts=(ir.Refusal("No."),), finish_reason="stop")
    message = render_response(ir.ChatResponse(choices=(choice,)), RENDERING)
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


def test_the_stream_a_client_gets_is_in_anthropics_order() -> None:
    renderer = StreamRenderer(RENDERING)
    answer = ir.ChatResponse(
        id="x",
        model="gpt",
        choices=(ir.Choice(parts=(ir.Text("a"), ir.ToolCall("c", "f", '{"a":1}')), finish_reason="tool_calls"),),
        usage=ir.Usage(input_tokens=10, output_tokens=2, cached_tokens=4),
    )
    early = b"".join(piece for event in ir.replay(answer) for piece in renderer.feed(event))
    framing = SSE()
    frames = framing.feed(early + renderer.finish())
    assert [frame.event for frame in frames] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert b"message_delta" not in early
    last = json.loads(frames[-2].data)
    assert last["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert last["usage"] == {
        "input_tokens": 6,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 2,
    }


# ---- errors ----


def error_body(kind: str, message: str, **more: Any) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message, **more}}).encode()


@pytest.mark.parametrize(
    "message",
    [
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade.",
        "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        "This organization has been disabled.",
    ],
)
def test_an_account_without_credit_is_the_operators_matter(message: str) -> None:
    error = parse_error(400, {}, error_body("invalid_request_error", message))
    assert error.is_credential and error.client_status == 502
    assert verdict(error).blame == "disable" and verdict(error).may_retry


def test_a_client_cannot_talk_an_account_out_of_credit() -> None:
    quoted = "messages.0: 'Your credit balance is too low to access the Anthropic API' is not a role"
    assert not parse_error(400, {}, error_body("invalid_request_error", quoted)).is_credential


def test_no_credit_by_code_and_by_type() -> None:
    coded = parse_error(
        400, {}, error_body("invalid_request_error", "x", details={"error_code": "credit_balance_too_low"})
    )
    assert (coded.is_credential, coded.provider_code) == (True, "credit_balance_too_low")
    assert verdict(parse_error(402, {}, error_body("billing_error", "x"))).blame == "disable"


def test_when_to_come_back() -> None:
    assert parse_error(429, {"retry-after": "17"}, error_body("rate_limit_error", "slow")).retry_after_s == 17


def test_an_error_page_is_read_too() -> None:
    error = parse_error(502, {}, b"<html><title>Bad gateway</title></html>")
    assert (error.upstream_status, error.message) == (502, "Bad gateway")


def test_errors_as_this_dialect_has_them() -> None:
    assert render_error(RateLimited("slow")) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow"},
    }
    assert render_error(InsufficientQuota("none left"))["error"]["type"] == "billing_error"
    assert render_error(Unauthenticated("who?"))["error"]["type"] == "authentication_error"
    theirs = UpstreamRejected("bad key sk-1", upstream_status=401)
    assert render_error(theirs)["error"]["type"] == "api_error"
    assert "sk-1" not in json.dumps(render_error(theirs))
    assert render_error(UpstreamRejected("busy", upstream_status=529))["error"]["type"] == "overloaded_error"


# ---- the adaptor ----


def test_the_key_and_the_version() -> None:
    signed = adaptor.sign(UpstreamRequest(url="u", headers={"anthropic-beta": "b"}), Credentials("k"), 0)
    assert signed.headers == {"anthropic-beta": "b", "anthropic-version": "2023-06-01", "x-api-key": "k"}
    newer = adaptor.sign(UpstreamRequest(url="u", headers={"anthropic-version": "2026-10-21"}), Credentials("k"), 0)
    assert newer.headers["anthropic-version"] == "2026-10-21"


def test_the_list_of_models() -> None:
    (request,) = adaptor.models_requests("https://api.anthropic.com", Credentials("k"), 0)
    assert (request.method, request.url) == ("GET", "https://api.anthropic.com/v1/models?limit=1000")
    rows = [{"id": "claude-a"}, {"id": "claude-b", "lifecycle": "retired"}]
    assert adaptor.parse_models((WholeReply(200, {}, json.dumps({"data": rows}).encode()),)) == ("claude-a",)
    with pytest.raises(UpstreamRejected):
        adaptor.parse_models((WholeReply(401, {}, error_body("authentication_error", "x")),))


# ---- laws ----


def _carried(part: ir.Part) -> ir.Part | None:
    """What this protocol has a place for, in the form it gives it. Arguments are compared elsewhere."""
    match part:
        case ir.ToolCall():
            return ir.ToolCall("", part.name, "")
        case ir.Text() | ir.Refusal():
            return ir.Text(part.text)
        case ir.Audio():
            return ir.Text(part.transcript)
        case ir.Reasoning():
            return part
    return None


@given(chat_values.responses)
def test_law_an_answer_survives_this_dialect(response: ir.ChatResponse) -> None:
    found = parse_response(render_response(response, RENDERING))
    said, wanted = ([_carried(part) for part in value.choices[0].parts] for value in (found, response))
    assert said == [part for part in wanted if part is not None]
    assert (found.id, found.model) == (response.id, response.model)


@given(chat_values.responses)
def test_law_a_stream_says_what_the_whole_says(response: ir.ChatResponse) -> None:
    renderer = StreamRenderer(RENDERING)
    pieces = [piece for event in ir.replay(response) for piece in renderer.feed(event)]
    framing, parser = SSE(), StreamParser()
    frames = framing.feed(b"".join([*pieces, renderer.finish()]))
    streamed = ir.collect([*(event for frame in frames for event in parser.feed(frame)), *parser.finish()])
    whole = parse_response(render_response(response, RENDERING))

    def plain(value: ir.ChatResponse) -> ir.ChatResponse:
        (choice,) = value.choices
        parts = tuple(
            replace(p, arguments=json.dumps(_object(p.arguments))) if isinstance(p, ir.ToolCall) else p
            for p in choice.parts
        )
        return replace(value, choices=(replace(choice, parts=parts),))

    assert plain(streamed) == plain(whole)


def _object(text: str) -> Any:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {"input": value}


@given(chat_values.requests())
def test_law_any_openai_request_is_rendered_with_turns_in_order(request: ir.ChatRequest) -> None:
    body = render_request(replace(request, model=SONNET))
    roles = [turn["role"] for turn in body["messages"]]
    assert roles[0] == "user"
    assert all(one != other for one, other in pairwise(roles))
    assert all(turn["content"] for turn in body["messages"])
    assert body["max_tokens"] > 0
    json.dumps(body)


_SCRAPS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["text", "tool_use", "thinking"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "index", "delta", "content_block", "message", "usage", "text", "citations", "input"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
_TYPES = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "error", "x"]
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["index", "delta", "content_block", "message", "usage", "error"]), _SCRAPS),
        max_size=5,
    ),
    st.data(),
)
def test_any_nonsense_is_a_clean_error_or_an_answer(events: list[Json], data: st.DataObject) -> None:
    parser, watcher = StreamParser(), Watcher()
    try:
        for event in events:
            value = {"type": data.draw(_TYPES), **event}
            frame = Frame(b"", json.dumps(value).encode())
            list(parser.feed(frame))
            watcher.feed(frame)
        list(parser.finish())
    except (UpstreamGarbled, UpstreamRejected):
        pass


@given(
    st.dictionaries(st.sampled_from(["content", "usage", "stop_reason", "error", "model", "id"]), _SCRAPS, max_size=5)
)
def test_any_nonsense_as_a_whole_answer_is_a_clean_error_or_an_answer(body: Json) -> None:
    try:
        response = parse_response(body)
    except (UpstreamGarbled, UpstreamRejected):
        return
    assert render_response(response, RENDERING)["type"] == "message"
