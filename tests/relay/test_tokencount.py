"""Counts of requests, with a count of words in place of the tokenizer, and a few with the tokenizer itself."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.relay import encodings, tokencount
from oneapi.relay.adaptor import Json, Mode
from oneapi.relay.head import Head


def words(text: str) -> int:
    return len(text.split())


def chat(body: Json, model: str = "gpt-4o") -> int:
    return tokencount.count_chat(body, words, model)


def counted(mode: Mode, body: Json) -> int:
    return tokencount.count_input(Head(mode=mode, model="gpt-4o"), lambda: body, words)


def png(width: int, height: int) -> str:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    return base64.b64encode(whole).decode()


USER_HI = {"role": "user", "content": "hi"}


# ---- the specification's vectors ----


def test_one_short_message_costs_eight_tokens() -> None:
    def exact(text: str) -> int:
        return encodings.count(text, "gpt-3.5-turbo")

    assert tokencount.count_chat({"messages": [USER_HI]}, exact, "gpt-3.5-turbo") == 8


@pytest.mark.parametrize(
    ("model", "detail", "size", "expected"),
    [
        ("gpt-4o", "high", (1024, 1024), 765),
        ("gpt-4o", "auto", (1024, 1024), 765),
        ("gpt-4o", "", (2048, 4096), 1105),
        ("gpt-4o", "", (125, 50), 255),
        ("gpt-4o", "low", (2048, 4096), 85),
        ("gpt-4o-mini", "", (1024, 1024), 25501),
        ("gpt-4o-mini-2024-07-18", "low", (1, 1), 2833),
        ("gpt-4o", "huge", (1024, 1024), 0),
        ("gpt-4o", "", (0, 0), 85),
    ],
)
def test_image_tokens(model: str, detail: str, size: tuple[int, int], expected: int) -> None:
    assert tokencount.image_tokens(model, detail, size) == expected


@pytest.mark.parametrize(("model", "expected"), [("gpt-3.5-turbo", 3 + 1 + 1 + 1 + 1 + 3), ("gpt-3.5-turbo-0301", 9)])
def test_a_name_costs_itself_and_one_but_is_a_gain_for_the_oldest_model(model: str, expected: int) -> None:
    assert chat({"messages": [{**USER_HI, "name": "bob"}]}, model) == expected


# ---- what One API did not count ----

BASE = chat({"messages": [USER_HI]})


def test_a_tool_costs_eight_and_its_words() -> None:
    tool = {
        "type": "function",
        "function": {"name": "f", "description": " says it", "parameters": {"a": "x y"}},
    }
    assert chat({"messages": [USER_HI], "tools": [tool]}) == BASE + 8 + words('f says it{"a":"x y"}')


def test_the_answers_schema_is_read_by_the_model() -> None:
    schema = {"title": "one two"}
    wrapped = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert chat({"messages": [USER_HI], "response_format": wrapped}) == BASE + 2


def test_calls_and_thoughts_of_earlier_turns_count() -> None:
    message = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "let me see",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    assert chat({"messages": [USER_HI, message]}) == BASE + 3 + 1 + 3 + 1 + 2


@pytest.mark.parametrize(
    ("mode", "body", "expected"),
    [
        ("completions", {"prompt": "one two"}, 2),
        ("completions", {"prompt": ["one two", "three"]}, 3),
        ("completions", {"prompt": [1, 2, 3]}, 3),
        ("completions", {"prompt": [[1, 2], [3]]}, 3),
        ("completions", {}, 0),
        ("completions", {"prompt": [None, {"x": 1}, 1.5, True]}, 0),
        ("embeddings", {"input": ["one two", "three"]}, 3),
        ("embeddings", {"input": "one"}, 1),
        ("moderations", {"input": ["one", "two"]}, 2),
        (
            "moderations",
            {"input": [{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {"url": "x"}}]},
            2,
        ),
        ("edits", {"input": "one two", "instruction": "three"}, 3),
        ("images", {"prompt": "a cat"}, 2),
        ("speech", {"input": "say it"}, 2),
        ("rerank", {"query": "which one", "documents": ["this", {"text": "or that"}]}, 5),
    ],
)
def test_modes_other_than_chat(mode: Mode, body: Json, expected: int) -> None:
    assert counted(mode, body) == expected


@pytest.mark.parametrize("mode", ["image_edits", "image_variations", "transcription", "translation", "proxy"])
def test_forms_are_not_read_as_json(mode: Mode) -> None:
    def body() -> Json:
        raise AssertionError("read")

    assert tokencount.count_input(Head(mode=mode, model="m"), body, words) == 0


def test_the_actual_model_decides_over_the_requested_one() -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/"}}]}]}
    head = Head(mode="chat", model="gpt-4o")
    assert tokencount.count_input(head, lambda: body, words, "gpt-4o-mini") == 3 + 1 + 3 + 25501


# ---- images ----


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + png(125, 50)}}, 255),
        ({"type": "image_url", "image_url": "data:image/png;base64," + png(125, 50)}, 255),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + png(2048, 4096)}}, 1105),
        ({"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}, 765),
        ({"type": "image_url", "image_url": {"url": "https://example.com/x.png", "detail": "low"}}, 85),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,not an image"}}, 765),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,é"}}, 765),
        ({"type": "image_url", "image_url": {"url": 5}}, 765),
        ({"type": "image_url", "image_url": {"url": "https://x", "detail": ["odd"]}}, 0),
        ({"type": "input_image", "image_url": "https://example.com/x.png", "detail": "low"}, 85),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png(125, 50)}}, 255),
        ({"inlineData": {"mimeType": "image/png", "data": png(125, 50)}}, 255),
        ({"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}, 0),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}, 0),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, 0),
    ],
)
def test_parts_that_are_not_text(part: Json, expected: int) -> None:
    assert chat({"messages": [{"role": "user", "content": [part]}]}) == 3 + 1 + 3 + expected


# ---- the same conversation in each dialect ----

SCHEMA = {"type": "object"}
DIALECTS: dict[str, Json] = {
    "openai_chat": {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "one two"}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    },
    "anthropic": {
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [{"role": "user", "content": "one two"}],
        "tools": [{"name": "f", "input_schema": SCHEMA}],
    },
    "openai_responses": {
        "instructions": "be brief",
        "input": "one two",
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [{"role": "user", "parts": [{"text": "one two"}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}],
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_counts_the_same_in_every_dialect(dialect: str) -> None:
    assert chat(DIALECTS[dialect]) == (3 + 1 + 2) + (3 + 1 + 2) + 3 + (8 + 1)


@pytest.mark.parametrize(
    "turns",
    [
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"text": "one two"}]}]}]},
        {"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"": ""}}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_use", "name": "f", "input": {"": ""}}]}]},
        {"input": [{"type": "function_call_output", "role": "user", "output": "one two"}]},
    ],
)
def test_tool_traffic_counts_in_every_dialect(turns: Json) -> None:
    assert chat(turns) == 3 + 1 + 2 + 3


# ---- whatever a client sends ----

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["text", "content", "image_url", "url", "source", "function", "tools", "x", "type", "role"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON_VALUES, JSON_VALUES)
def test_no_shape_of_json_makes_counting_fail(messages: Any, tools: Any) -> None:
    body = {"messages": messages, "tools": tools, "response_format": tools, "prompt": messages, "input": messages}
    assert chat(body) >= 3
    assert counted("completions", body) >= 0


def test_a_message_nested_without_end_is_no_trouble() -> None:
    nested: Any = "deep"
    for _ in range(500):
        nested = [nested]
    assert chat({"messages": [{"role": "user", "content": nested}]}) == 7


# ---- without reading ----


SAMPLES = {
    "English": "We hold these truths to be self-evident, that all men are created equal, that they are endowed by "
    "their Creator with certain unalienable Rights, that among these are Life, Liberty and the pursuit of Happiness.",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "Japanese": "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Python": "for index, item in enumerate(items):\n    if item is None:\n        raise ValueError(index)\n",
}


@pytest.mark.parametrize("language", SAMPLES)
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
def test_the_estimate_from_a_bodys_length_errs_high_but_not_wildly(language: str, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": SAMPLES[language] * 20}]}
    size = len(json.dumps(body, ensure_ascii=False).encode())
    exact = tokencount.count_chat(body, lambda text: encodings.count(text, model), model)
    assert exact <= tokencount.estimate_tokens(size) <= 5 * exact


def test_an_empty_body_is_estimated_at_nothing() -> None:
    assert tokencount.estimate_tokens(0) == 0


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_the_estimate_grows_with_the_length(size: int, more: int) -> None:
    assert tokencount.estimate_tokens(size) <= tokencount.estimate_tokens(size + more)


@pytest.mark.parametrize(("text", "expected"), [("", 0), ("hi", 0), ("hello", 1), ("你好", 2), ("a" * 100, 38)])
def test_the_approximation_counts_bytes(text: str, expected: int) -> None:
    assert tokencount.approximate_tokens(text) == expected
