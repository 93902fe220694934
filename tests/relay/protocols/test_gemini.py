"""Gemini's protocol: what each field of OpenAI's chat becomes, laws of both halves, and bytes that are none of it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import GatewayError, InvalidRequest, RateLimited, UpstreamError, UpstreamRejected
from oneapi.relay import convert, ir, routing
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, Rendering
from oneapi.relay.framing import SSE, Frame
from oneapi.relay.protocols import gemini, openai_chat
from oneapi.relay.protocols.gemini_error import parse_error
from oneapi.relay.protocols.gemini_parts import version_of
from oneapi.relay.protocols.gemini_schema import cleaned, of_google
from tests.relay.protocols.chat_values import base64_texts, names, schemas, texts

RENDERING = Rendering(id="id-1", created_at=1, model="gemini-2.5-flash")
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def rendered(model: str = "gemini-3.5-flash", **fields: Any) -> Any:
    """What an OpenAI client's request becomes."""
    fields.setdefault("messages", [{"role": "user", "content": "hi"}])
    return gemini.render_request(openai_chat.parse_request({"model": model, **fields}))


def contents(*messages: Any, model: str = "gemini-2.5-flash") -> Any:
    return rendered(model, messages=list(messages))["contents"]


def config(model: str = "gemini-3.5-flash", **fields: Any) -> Any:
    return rendered(model, **fields).get("generationConfig")


# ---- messages ----


def test_the_model_and_the_wish_to_stream_stand_in_the_url() -> None:
    assert rendered(stream=True) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_all_system_and_developer_messages_are_the_instruction() -> None:
    messages = [
        {"role": "system", "content": "one"},
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
    ]
    body = rendered(messages=messages)
    assert body["systemInstruction"] == {"parts": [{"text": "one"}, {"text": "two"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_instructions_alone_become_the_users_turn() -> None:
    body = rendered(messages=[{"role": "system", "content": "one"}])
    assert body == {"contents": [{"role": "user", "parts": [{"text": "one"}]}]}


def test_media_go_as_bytes_and_as_references() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,CCCC"}},
        {"type": "file", "file": {"file_id": "https://generativelanguage.googleapis.com/v1beta/files/x"}},
        {"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}},
        {"type": "video_url", "video_url": {"url": "https://www.youtube.com/watch?v=1"}},
    ]
    assert contents({"role": "user", "content": parts}) == [
        {
            "role": "user",
            "parts": [
                {"text": "look"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"inlineData": {"mimeType": "audio/mp3", "data": "BBBB"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "CCCC"}},
                {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}},
                {"fileData": {"fileUri": "gs://bucket/a.png"}},
                {"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}},
            ],
        }
    ]


def _call(call_id: str, name: str, arguments: str = "{}") -> Any:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_calls_and_their_results_stand_together_in_turns_of_their_own() -> None:
    turns = contents(
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "so", "tool_calls": [_call("c1", "f", '{"a":1}'), _call("c2", "g", "")]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"ok":true}'},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "15°C"}]},
        {"role": "user", "content": "and?"},
    )
    assert turns[1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "so"},
                {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}},
                {"functionCall": {"id": "c2", "name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "f", "response": {"ok": True}}},
                {"functionResponse": {"id": "c2", "name": "g", "response": {"result": "15°C"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "and?"}]},
    ]


def test_an_id_that_two_turns_share_means_the_call_just_made() -> None:
    turns = contents(
        {"role": "assistant", "tool_calls": [_call("call_0_0", "first")]},
        {"role": "tool", "tool_call_id": "call_0_0", "content": "1"},
        {"role": "assistant", "tool_calls": [_call("call_0_0", "second")]},
        {"role": "tool", "tool_call_id": "call_0_0", "content": "2"},
    )
    assert [turn["parts"][0]["functionResponse"]["name"] for turn in turns[1::2]] == ["first", "second"]


def test_the_old_form_of_calls_is_carried() -> None:
    turns = contents(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    )
    assert turns[0]["parts"][0]["functionCall"]["name"] == "f"
    assert turns[1]["parts"][0]["functionResponse"]["name"] == "f"


@pytest.mark.parametrize(
    ("text", "response"),
    [("", {"result": ""}), ("[1]", {"result": "[1]"}), ("3", {"result": "3"}), ('{"a": "b"}', {"a": "b"})],
)
def test_a_result_that_is_no_object_is_wrapped(text: str, response: Any) -> None:
    (turn,) = contents({"role": "tool", "tool_call_id": "c", "name": "f", "content": text})
    assert turn["parts"] == [{"functionResponse": {"id": "c", "name": "f", "response": response}}]


def test_a_failed_tool_says_so() -> None:
    failed = ir.ToolResult("c", (ir.Text("no"),), name="f", is_error=True)
    request = ir.ChatRequest(model="gemini-3.5-flash", messages=(ir.Message("tool", (failed,)),))
    (turn,) = gemini.render_request(request)["contents"]
    assert turn["parts"][0]["functionResponse"]["response"] == {"error": "no"}


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.5-flash"])
def test_pictures_in_results_go_where_the_model_takes_them(model: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    turns = contents(
        {"role": "tool", "tool_call_id": "c", "name": "f", "content": [picture]},
        {"role": "user", "content": "what is it?"},
        model=model,
    )
    inline = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    result = {"id": "c", "name": "f", "response": {}}
    if model == "gemini-3.5-flash":
        assert turns[0]["parts"] == [{"functionResponse": {**result, "parts": [inline]}}]
        assert len(turns) == 2
    else:
        assert turns[0]["parts"] == [{"functionResponse": {**result, "response": {"result": ""}}}]
        assert turns[1] == {"role": "user", "parts": [inline]}


def test_arguments_that_are_no_object_are_one_argument() -> None:
    (turn,) = contents({"role": "assistant", "tool_calls": [_call("c", "f", "[1")]})
    assert turn["parts"][0]["functionCall"]["args"] == {"input": "[1"}


# ---- thoughts and signatures ----

_SKIP = "skip_thought_signature_validator"


def _signatures(*messages: Any, model: str = "gemini-3.5-flash") -> list[list[str | None]]:
    return [[part.get("thoughtSignature") for part in turn["parts"]] for turn in contents(*messages, model=model)]


def test_a_call_that_gemini_did_not_sign_is_marked_in_the_current_turn_only() -> None:
    step = [
        {"role": "assistant", "tool_calls": [_call("c1", "f"), _call("c2", "f")]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "content": "2"},
    ]
    user = {"role": "user", "content": "hi"}
    results = [None, None]
    assert _signatures(user, *step, *step) == [[None], [_SKIP, None], results, [_SKIP, None], results]
    assert _signatures(user, *step, user) == [[None], [None, None], results, [None]]
    assert _signatures(user, *step, model="gemini-2.5-flash") == [[None], [None, None], results]


def test_a_signature_that_came_back_is_not_replaced() -> None:
    call = {**_call("c1", "f"), "extra_content": {"google": {"thought_signature": "AbC="}}}
    assert _signatures({"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]})[1] == ["AbC="]


def test_thoughts_of_another_protocol_stay_away() -> None:
    thought = ir.Reasoning("hm", ir.Seal("anthropic", "sig"))
    message = ir.Message("assistant", (thought, ir.Text("so"), ir.Reasoning("why", ir.Seal("gemini", "G="))))
    (turn,) = gemini.render_request(ir.ChatRequest(model="gemini-2.5-pro", messages=(message,)))["contents"]
    assert turn["parts"] == [{"text": "so"}, {"text": "why", "thought": True, "thoughtSignature": "G="}]


def test_loose_signatures_go_onto_what_they_followed_or_the_last_parts_of_the_turn() -> None:
    loose = [ir.Reasoning("", ir.Seal("gemini", name), is_redacted=True) for name in ("a", "b")]
    picture = ir.Image(data="AAAA", media_type="image/png")

    def signed(*parts: ir.Part) -> list[Any]:
        request = ir.ChatRequest(model="gemini-3-pro-image", messages=(ir.Message("assistant", parts),))
        return [part.get("thoughtSignature") for part in gemini.render_request(request)["contents"][0]["parts"]]

    assert signed(ir.Text("x"), loose[0], picture, loose[1]) == ["a", "b"]
    assert signed(*loose, ir.Text("x"), picture) == ["a", "b"]
    assert signed(loose[0], ir.Text("x"), picture) == [None, "a"]
    assert signed(*loose, ir.Text("x")) == ["a", "b"]


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-3.5-flash", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-3.5-flash", "none", {"thinkingLevel": "minimal", "includeThoughts": False}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "medium", "includeThoughts": True}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3.1-flash-image", "medium", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-flash-latest", "xhigh", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-4-argon", "low", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128, "includeThoughts": False}),
        ("gemini-2.5-pro", "xhigh", {"thinkingBudget": 32768, "includeThoughts": True}),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-flash", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
    ],
)
def test_effort_is_a_level_or_a_budget(model: str, effort: str, expected: Any) -> None:
    assert config(model, reasoning_effort=effort) == {"thinkingConfig": expected}


def test_models_that_do_not_think_are_not_told_to() -> None:
    assert config("gemini-2.0-flash", reasoning_effort="high") is None
    request = openai_chat.parse_request({"model": "gemini-2.0-flash", "messages": [], "reasoning_effort": "high"})
    assert gemini.CODEC.drops is not None
    assert gemini.CODEC.drops(request) == {"thinking"}
    assert gemini.CODEC.drops(replace(request, model="gemini-3.5-flash")) == frozenset()


@pytest.mark.parametrize(
    ("model", "budget", "expected"),
    [
        ("gemini-2.5-flash", 4000, {"thinkingBudget": 4000}),
        ("gemini-2.5-flash", 99_999, {"thinkingBudget": 24576}),
        ("gemini-2.5-flash-lite", 100, {"thinkingBudget": 512}),
        ("gemini-3.5-flash", 1024, {"thinkingLevel": "low"}),
        ("gemini-3.5-flash", 5000, {"thinkingLevel": "medium"}),
        ("gemini-3.5-flash", 30_000, {"thinkingLevel": "high"}),
    ],
)
def test_budgets_are_kept_within_range_or_told_as_levels(model: str, budget: int, expected: Any) -> None:
    thinking = config(model, thinking={"type": "enabled", "budget_tokens": budget})["thinkingConfig"]
    assert thinking == {**expected, "includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("gemini-2.5-flash-preview-09-2025", (2, 5)),
        ("gemini-3-pro-preview", (3, 0)),
        ("models/gemini-3.1-pro-preview", (3, 1)),
        ("gemini-4-argon", (4, 0)),
        ("gemini-flash-lite-latest", (3, 9)),
        ("gemini-exp-1206", (1, 0)),
        ("gemini-pro", (1, 0)),
        ("gemini-embedding-001", (1, 0)),
        ("gemma-3-27b-it", None),
    ],
)
def test_versions_are_read_from_names(model: str, version: Any) -> None:
    assert version_of(model) == version


# ---- settings ----


def test_sampling_goes_into_the_generation_config() -> None:
    made = config(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        n=2,
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logprobs=True,
        top_logprobs=3,
        max_completion_tokens=100,
        stop=["a", "b", "c", "d", "e", "f"],
    )
    assert made == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "candidateCount": 2,
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 3,
        "maxOutputTokens": 100,
        "stopSequences": ["a", "b", "c", "d", "e"],
    }
    assert config(max_tokens=5, stop="x", modalities=["text", "image"]) == {
        "maxOutputTokens": 5,
        "stopSequences": ["x"],
        "responseModalities": ["TEXT", "IMAGE"],
    }


def test_response_formats() -> None:
    assert config(response_format={"type": "text"}) == {"responseMimeType": "text/plain"}
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert config(response_format=wanted) == {"responseMimeType": "application/json", "responseJsonSchema": schema}


def test_what_has_no_place_is_declared() -> None:
    request = openai_chat.parse_request(
        {
            "model": "gemini-3.5-flash",
            "messages": [{"role": "user", "content": "hi", "name": "Eve"}],
            "user": "u",
            "metadata": {"a": "b"},
            "logit_bias": {"1": 1},
            "parallel_tool_calls": False,
            "stop": list("abcdef"),
            "temperature": 1,
        }
    )
    assert gemini.CODEC.drops is not None
    lost = convert.used_fields(request) & (gemini.CODEC.cannot_carry | gemini.CODEC.drops(request))
    assert lost == {"user", "metadata", "logit_bias", "name", "may_call_in_parallel", "stop"}
    parallel = replace(request, may_call_in_parallel=True)
    assert "may_call_in_parallel" not in gemini.CODEC.drops(parallel)


# ---- tools ----


def test_functions_are_declared_with_their_schemas() -> None:
    tools = [TOOL, {"type": "function", "function": {"name": "g", "description": "does"}}]
    assert rendered(tools=tools)["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "parametersJsonSchema": {"type": "object", "properties": {}}},
                {"name": "g", "description": "does"},
            ]
        }
    ]
    assert rendered(functions=[{"name": "h"}])["tools"] == [{"functionDeclarations": [{"name": "h"}]}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choice(choice: Any, expected: Any) -> None:
    assert rendered(tools=[TOOL], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": expected}
    assert "toolConfig" not in rendered(tool_choice="auto")


def test_where_few_tools_are_allowed_only_they_are_shown() -> None:
    other = {"type": "function", "function": {"name": "g"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [other]}}
    body = rendered(tools=[TOOL, other], tool_choice=allowed)
    assert body["tools"] == [{"functionDeclarations": [{"name": "g"}]}]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}


def test_built_in_tools_are_googles_or_refused() -> None:
    assert rendered(tools=[{"type": "web_search_preview"}, TOOL])["tools"][0] == {"googleSearch": {}}
    assert rendered(tools=[{"type": "code_interpreter"}])["tools"] == [{"codeExecution": {}}]
    with pytest.raises(InvalidRequest) as caught:
        rendered(tools=[{"type": "custom", "custom": {"name": "grep"}}])
    assert caught.value.param == "tools"


def test_schemas_are_cleaned_of_what_gemini_refuses() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "definitions": {"city": {"type": "string", "minLength": 1}, "node": {"$ref": "#/definitions/node"}},
        "properties": {
            "const": {"const": "x"},
            "where": {"$ref": "#/definitions/city", "description": "a place"},
            "plain": {"$ref": "#/definitions/city"},
            "both": {"allOf": [{"type": "object", "required": ["a"]}, {"required": ["b"]}], "title": "t"},
        },
    }
    clean = cleaned(schema)
    assert clean == {
        "type": "object",
        "$defs": {"city": {"type": "string", "minLength": 1}, "node": {"$ref": "#/$defs/node"}},
        "properties": {
            "const": {"enum": ["x"]},
            "where": {"type": "string", "minLength": 1, "description": "a place"},
            "plain": {"$ref": "#/$defs/city"},
            "both": {"title": "t", "type": "object", "required": ["a", "b"]},
        },
    }
    assert cleaned(clean) == clean


def test_a_schema_that_holds_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node", "description": "more"}}}
    clean = cleaned({"$defs": {"node": node}, "allOf": [{"$ref": "#/$defs/node"}], "title": "list"})
    assert clean["properties"]["next"] == {"$ref": "#/$defs/node"}
    assert cleaned({"$ref": "#/$defs/lost", "title": "x"}) == {"$ref": "#/$defs/lost"}


def test_googles_schemas_become_json_schemas() -> None:
    google = {
        "type": "OBJECT",
        "properties": {"a": {"type": "ARRAY", "items": {"type": "STRING", "nullable": True}, "minItems": "1"}},
        "propertyOrdering": ["a"],
    }
    assert of_google(google) == {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1}},
    }


# ---- answers ----


def answer(*parts: Any, reason: str = "STOP", **more: Any) -> Any:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": reason, "index": 0, **more}
    return {"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "r1"}


def choice_of(*parts: Any, **more: Any) -> ir.Choice:
    (choice,) = gemini.parse_response(answer(*parts, **more)).choices
    return choice


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *((word, "content_filter") for word in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")),
        *((word, "content_filter") for word in ("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR")),
        ("OTHER", "stop"),
        ("LANGUAGE", "stop"),
    ],
)
def test_finish_reasons(word: str, reason: str) -> None:
    assert choice_of({"text": "x"}, reason=word).finish_reason == reason


def test_calls_end_an_answer_as_calls() -> None:
    calls = [{"functionCall": {"name": "f", "args": {"a": "ä"}}}, {"functionCall": {"name": "g", "id": "7"}}]
    choice = choice_of({"text": "so"}, *calls)
    assert choice.parts == (ir.Text("so"), ir.ToolCall("", "f", '{"a":"ä"}'), ir.ToolCall("7", "g", "{}"))
    assert choice.finish_reason == "tool_calls"
    assert choice_of(*calls, reason="MAX_TOKENS").finish_reason == "length"


def test_calls_are_numbered_for_openai_clients() -> None:
    calls = [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f"}}]
    message = openai_chat.render_response(gemini.parse_response(answer(*calls)), RENDERING)["choices"][0]["message"]
    ids = [call["id"] for call in message["tool_calls"]]
    assert len(set(ids)) == 2 and all(ids)


def test_code_that_ran_can_be_read_and_goes_back_as_it_came() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "S="}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}
    choice = choice_of({"text": "run"}, code, result, {"text": "one"})
    said = "".join(part.text for part in choice.parts if isinstance(part, ir.Text))
    assert said == "run\n```python\nprint(1)\n```\n\n```\n1\n\n```\none"
    request = ir.ChatRequest(model="gemini-3.5-flash", messages=(ir.Message("assistant", choice.parts),))
    (turn,) = gemini.render_request(request)["contents"]
    assert turn["parts"] == [{"text": "run"}, code, result, {"text": "one"}]


def test_sound_and_pictures_are_parts() -> None:
    choice = choice_of(
        {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "AAAA"}},
        {"inlineData": {"mimeType": "image/png", "data": "BBBB"}, "thoughtSignature": "S="},
    )
    assert choice.parts == (
        ir.Audio(data="AAAA", format="pcm16"),
        ir.Image(data="BBBB", media_type="image/png"),
        ir.Reasoning("", ir.Seal("gemini", "S="), is_redacted=True),
    )


def test_places_of_citations_are_counted_in_characters() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"web": {"uri": "https://b"}}],
        "groundingSupports": [{"segment": {"startIndex": 6, "endIndex": 11}, "groundingChunkIndices": [0, 1, 9]}],
    }
    choice = choice_of({"text": "Käse"}, {"text": " wird."}, groundingMetadata=grounding)
    (text,) = choice.parts
    assert isinstance(text, ir.Text)
    assert [annotation["url_citation"] for annotation in text.annotations] == [
        {"url": "https://a", "title": "A", "start_index": 5, "end_index": 10},
        {"url": "https://b", "title": "", "start_index": 5, "end_index": 10},
    ]


def test_log_probabilities_are_in_openais_shape() -> None:
    result = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1.5}]}],
    }
    choice = choice_of({"text": "a"}, logprobsResult=result)
    top = {"token": "b", "logprob": -1.5, "bytes": [98]}
    assert choice.logprobs == {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [top]}]}


def test_several_candidates_are_several_choices() -> None:
    second = {"content": {"parts": [{"text": "b"}]}, "finishReason": "MAX_TOKENS", "index": 1}
    body = answer({"text": "a"})
    body["candidates"].append(second)
    choices = gemini.parse_response(body).choices
    assert [(choice.parts, choice.finish_reason) for choice in choices] == [
        ((ir.Text("a"),), "stop"),
        ((ir.Text("b"),), "length"),
    ]


# ---- refusals ----


def refusal(status: int, message: str, word: str, *details: Any) -> UpstreamRejected:
    error = {"code": status, "message": message, "status": word, "details": list(details)}
    return parse_error(status, {}, json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("error", "blame"),
    [
        (refusal(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"), "disable"),
        (refusal(400, "API key expired. Please renew the API key.", "INVALID_ARGUMENT"), "disable"),
        (refusal(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"), "disable"),
        (refusal(403, "no", "PERMISSION_DENIED", {"reason": "BILLING_DISABLED"}), "disable"),
        (refusal(401, "expired", "UNAUTHENTICATED", {"reason": "ACCESS_TOKEN_EXPIRED"}), "disable"),
        (refusal(403, "CachedContent not found (or permission denied)", "PERMISSION_DENIED"), "none"),
        (refusal(403, "You do not have permission to access the File x", "PERMISSION_DENIED"), "none"),
        (refusal(400, "Say: API key not valid.", "INVALID_ARGUMENT"), "none"),
        (refusal(429, "Resource exhausted.", "RESOURCE_EXHAUSTED"), "cool"),
        (refusal(503, "The model is overloaded.", "UNAVAILABLE"), "count"),
    ],
)
def test_who_is_to_blame(error: UpstreamRejected, blame: str) -> None:
    assert routing.verdict(error).blame == blame


def test_errors_in_lists_and_in_other_shapes_are_read() -> None:
    body = json.dumps([{"error": {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}}])
    assert parse_error(404, {}, body.encode()).message == "models/x is not found"
    assert parse_error(502, {}, b"<html><title>Bad Gateway</title></html>").message == "Bad Gateway"
    with pytest.raises(UpstreamRejected) as caught:
        gemini.parse_response({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
    assert caught.value.upstream_status == 503


@pytest.mark.parametrize("reader", [gemini.Watcher, gemini.StreamParser])
def test_an_error_in_a_stream_is_raised(reader: Any) -> None:
    data = b'{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}'
    with pytest.raises(UpstreamRejected, match="slow down") as caught:
        list(reader().feed(Frame(data, data)) or ())
    assert caught.value.upstream_status == 429


def test_the_watcher_holds_back_the_end_until_all_candidates_have_ended() -> None:
    def frame(*candidates: Any, **more: Any) -> Frame:
        data = json.dumps({"candidates": list(candidates), **more}).encode()
        return Frame(data, data)

    usage = {"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}}
    said = {"content": {"parts": [{"text": "a"}]}}
    watcher = gemini.Watcher()
    assert watcher.feed(Frame(b": x\n\n", b"")) == NOTHING
    assert watcher.feed(frame({**said, "index": 0}, {**said, "index": 1})) == CONTENT
    assert watcher.feed(frame({**said, "index": 0, "finishReason": "STOP"}, **usage)) == CONTENT
    assert watcher.feed(frame({"index": 1, "finishReason": "STOP"}, **usage)) == LAST
    assert (watcher.take_text(), watcher.take_text()) == ("aaa", "")


def test_our_errors_in_googles_envelope() -> None:
    error: GatewayError = RateLimited("slow down")
    assert gemini.CODEC.render_error is not None
    assert gemini.CODEC.render_error(error) == {
        "error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}
    }
    refused = UpstreamRejected("key sk-1 is bad", upstream_status=401)
    told = gemini.CODEC.render_error(refused)["error"]
    assert (told["code"], "sk-1" in told["message"]) == (502, False)


# ---- a client's request ----


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": ["x"]}, "contents[0]"),
        ({"contents": [{"role": "robot"}]}, "contents[0].role"),
        ({"contents": [{"parts": ["x"]}]}, "contents[0].parts[0]"),
        ({"generationConfig": []}, "generationConfig"),
        ({"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"generationConfig": {"stopSequences": "x"}}, "generationConfig.stopSequences"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
    ],
)
def test_a_wrong_field_is_named(body: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        gemini.parse_request(body)
    assert caught.value.param == param


def test_calls_without_ids_are_given_some_that_their_results_know() -> None:
    request = gemini.parse_request(
        {
            "contents": [
                {"role": "model", "parts": [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "g"}}]},
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "g", "response": {"result": "2"}}},
                        {"functionResponse": {"name": "f", "response": {"result": "1"}}},
                        {"text": "and?"},
                    ],
                },
            ]
        }
    )
    calls = {part.name: part.id for part in request.messages[0].parts if isinstance(part, ir.ToolCall)}
    results = {part.name: part.call_id for part in request.messages[1].parts if isinstance(part, ir.ToolResult)}
    assert calls == results and len(set(calls.values())) == 2
    assert [message.role for message in request.messages] == ["assistant", "tool", "user"]


# ---- laws ----

number = st.none() | st.floats(0, 2, allow_nan=False).map(lambda value: round(value, 3))
seals = st.none() | st.builds(ir.Seal, st.just("gemini"), st.sampled_from(["AA==", "Bb=="]))
user_parts = st.one_of(
    st.builds(ir.Text, texts),
    st.builds(ir.Image, data=base64_texts, media_type=st.sampled_from(["image/png", "image/webp"])),
    st.builds(ir.Image, url=st.just("gs://b/a.png"), media_type=st.just("image/png")),
    st.builds(ir.Audio, data=base64_texts, format=st.sampled_from(["wav", "mp3", "flac", "pcm16"])),
    st.builds(ir.File, data=base64_texts, media_type=st.just("application/pdf")),
    st.builds(ir.File, url=st.just("gs://b/a.pdf"), media_type=st.just("application/pdf")),
)
arguments = st.sampled_from(["{}", '{"city":"Köln"}', '{"a":1.5,"b":[null]}'])
made_parts = st.one_of(
    st.builds(ir.Text, texts),
    st.builds(ir.Reasoning, texts, seals),
    st.builds(ir.ToolCall, id=names, name=names, arguments=arguments, seal=seals),
)
results = st.builds(
    ir.ToolResult,
    call_id=names,
    parts=st.one_of(st.just(()), texts.filter(lambda text: text.strip()[:1] != "{").map(lambda t: (ir.Text(t),))),
    name=names,
)
messages = st.one_of(
    st.builds(ir.Message, st.just("user"), st.lists(user_parts, min_size=1, max_size=3).map(tuple)),
    st.builds(ir.Message, st.just("assistant"), st.lists(made_parts, min_size=1, max_size=3).map(tuple)),
    st.builds(ir.Message, st.just("tool"), st.lists(results, min_size=1, max_size=2).map(tuple)),
)


@st.composite
def requests(draw: st.DrawFn) -> ir.ChatRequest:
    tools = draw(
        st.lists(
            st.builds(ir.Tool, names, st.just("") | texts, st.none() | schemas),
            max_size=3,
            unique_by=lambda tool: tool.name,
        )
    )
    modes = [ir.ToolChoice("auto"), ir.ToolChoice("none"), ir.ToolChoice("required")]
    drawn: list[ir.Message] = []
    for message in draw(st.lists(messages, min_size=1, max_size=5)):
        if not (drawn and drawn[-1].role == message.role != "user"):  # such turns become one
            drawn.append(message)
    if draw(st.booleans()):
        drawn.insert(0, ir.Message("system", (ir.Text(draw(texts)),)))
        drawn.append(ir.Message("user", (ir.Text("so"),)))
    return ir.ChatRequest(
        model="gemini-2.5-flash",
        messages=tuple(drawn),
        tools=tuple(tools),
        tool_choice=draw(st.none() | st.sampled_from([*modes, ir.ToolChoice("function", tools[0].name)]))
        if tools
        else None,
        max_tokens=draw(st.none() | st.integers(0, 10**6)),
        temperature=draw(number),
        top_p=draw(number),
        top_k=draw(st.none() | st.integers(0, 100)),
        n=draw(st.none() | st.integers(1, 8)),
        seed=draw(st.none() | st.integers(0, 2**31)),
        presence_penalty=draw(number),
        frequency_penalty=draw(number),
        logprobs=draw(st.none() | st.booleans()),
        top_logprobs=draw(st.none() | st.integers(1, 20)),
        stop=tuple(draw(st.lists(texts, max_size=5))),
        modalities=draw(st.sampled_from([(), ("text",), ("text", "image")])),
        response_format=draw(
            st.none()
            | st.sampled_from([ir.ResponseFormat("text"), ir.ResponseFormat("json_object")])
            | st.builds(ir.ResponseFormat, st.just("json_schema"), schema=schemas)
        ),
        thinking=draw(
            st.none() | st.builds(ir.Thinking, st.just(""), st.none() | st.integers(-1, 24576), st.booleans())
        ),
        wants_usage=True,
        extra=draw(st.sampled_from([{}, {"origin": "gemini", "cachedContent": "cachedContents/1"}])),
    )


@given(requests())
def test_a_request_that_is_rendered_and_read_is_the_same(request: ir.ChatRequest) -> None:
    body = json.loads(json.dumps(gemini.render_request(request)))
    assert gemini.parse_request({**body, "model": "models/gemini-2.5-flash"}) == request


@st.composite
def responses(draw: st.DrawFn) -> ir.ChatResponse:
    parts: list[ir.Part] = []
    for part in draw(st.lists(made_parts | st.builds(ir.Image, data=base64_texts, media_type=st.just("image/png")))):
        if not parts or type(parts[-1]) is not type(part) or isinstance(part, ir.ToolCall | ir.Image):
            parts.append(part)  # texts that follow each other are one
    has_calls = any(isinstance(part, ir.ToolCall) for part in parts)
    reasons: list[ir.FinishReason] = ["tool_calls" if has_calls else "stop", "length", "content_filter"]
    choice = ir.Choice(parts=tuple(parts), finish_reason=draw(st.sampled_from(reasons)))
    usage = ir.Usage(input_tokens=draw(st.integers(1, 99)), output_tokens=7, reasoning_tokens=3)
    return ir.ChatResponse(id="r1", model="gemini-x", choices=(choice,), usage=usage)


def _told(response: ir.ChatResponse) -> Any:
    usage = response.usage
    return response.id, response.model, response.choices, usage and (usage.input_tokens, usage.output_tokens)


@given(responses())
def test_an_answer_that_is_rendered_and_read_is_the_same(response: ir.ChatResponse) -> None:
    body = json.loads(json.dumps(gemini.CODEC.render_response(response, RENDERING)))  # type: ignore[misc]
    assert _told(gemini.parse_response(body)) == _told(response)


@given(responses())
def test_a_stream_that_is_rendered_and_read_is_the_same(response: ir.ChatResponse) -> None:
    renderer = gemini.StreamRenderer(RENDERING)
    stream = b"".join(piece for event in ir.replay(response) for piece in renderer.feed(event)) + renderer.finish()
    framing = SSE()
    parser = gemini.StreamParser()
    events = [event for frame in framing.feed(stream) for event in parser.feed(frame)]
    assert _told(ir.collect([*events, *parser.finish()])) == _told(response)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "candidates",
                    "content",
                    "parts",
                    "text",
                    "thought",
                    "functionCall",
                    "args",
                    "inlineData",
                    "finishReason",
                    "usageMetadata",
                    "promptTokenCount",
                    "groundingMetadata",
                    "groundingChunks",
                    "groundingSupports",
                    "index",
                    "error",
                    "promptFeedback",
                    "blockReason",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["candidates", "usageMetadata", "error", "promptFeedback"]), junk))
def test_what_is_not_geminis_is_a_clean_upstream_error(body: Any) -> None:
    data = json.dumps(body).encode()
    for read in (
        lambda: gemini.parse_response(body),
        lambda: list(gemini.StreamParser().feed(Frame(data, data))),
        lambda: gemini.Watcher().feed(Frame(data, data)),
    ):
        with contextlib.suppress(UpstreamError):
            read()
