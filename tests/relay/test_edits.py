"""Edits keep what they do not name, and never change what they are given."""

from __future__ import annotations

import copy

import pytest

from oneapi.relay import edits
from oneapi.relay.adaptor import Edit

BODY = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "hi"}],
    "logit_bias": {"50256": -100},
    "x_unknown": {"kept": [1, 2.50, None]},
    "stop": None,
}

EDITS = {
    "drop": edits.drop("logit_bias", "absent"),
    "rename": edits.rename("logit_bias", "bias"),
    "default": edits.default("stop", ["\n"]),
    "setting": edits.setting("temperature", 1),
    "set_model": edits.set_model("gpt-4o-mini"),
    "ask_usage": edits.ask_usage,
    "merge": edits.merge({"x_unknown": {"more": True}, "logit_bias": None}),
    "force_system_prompt": edits.force_system_prompt("Be brief."),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_leaves_its_input_as_it_was(name: str) -> None:
    given = copy.deepcopy(BODY)
    edited = EDITS[name](given)
    assert given == BODY
    assert edited != BODY


@pytest.mark.parametrize("name", EDITS.keys() - {"merge"})
def test_an_edit_keeps_unknown_fields(name: str) -> None:
    assert EDITS[name](BODY)["x_unknown"] is BODY["x_unknown"]


@pytest.mark.parametrize(
    "edit",
    [
        edits.drop("absent"),
        edits.rename("absent", "new"),
        edits.default("model", "other"),
    ],
)
def test_an_edit_with_nothing_to_do_copies_nothing(edit: Edit) -> None:
    assert edit(BODY) is BODY


def test_drop_leaves_out_only_what_it_names() -> None:
    assert edits.drop("a", "b")({"a": 1, "b": 2, "c": 3}) == {"c": 3}


def test_rename_moves_the_value() -> None:
    assert edits.rename("max_completion_tokens", "max_tokens")({"max_completion_tokens": 5}) == {"max_tokens": 5}


def test_rename_keeps_the_value_already_under_the_new_name() -> None:
    body = {"max_completion_tokens": 5, "max_tokens": 7}
    assert edits.rename("max_completion_tokens", "max_tokens")(body) == {"max_tokens": 7}


def test_default_fills_missing_and_null_but_not_false_or_zero() -> None:
    edit = edits.default("temperature", 1)
    assert edit({}) == {"temperature": 1}
    assert edit({"temperature": None}) == {"temperature": 1}
    assert edit({"temperature": 0}) == {"temperature": 0}


def test_setting_replaces() -> None:
    assert edits.setting("n", 1)({"n": 4}) == {"n": 1}


def test_set_model_names_the_actual_model() -> None:
    assert edits.set_model("actual")({"model": "requested"}) == {"model": "actual"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, {"include_usage": True}),
        ("odd", {"include_usage": True}),
        ({"include_usage": False, "x": 1}, {"include_usage": True, "x": 1}),
    ],
)
def test_ask_usage_adds_to_the_stream_options(options: object, expected: dict[str, object]) -> None:
    assert edits.ask_usage({"stream": True, "stream_options": options})["stream_options"] == expected


# The examples of RFC 7396, appendix A, whose documents and patches are objects.
@pytest.mark.parametrize(
    ("body", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_follows_the_rfc(body: dict[str, object], patch: dict[str, object], expected: dict[str, object]) -> None:
    assert edits.merge(patch)(body) == expected


@pytest.mark.parametrize("role", ["system", "developer"])
def test_forced_prompt_replaces_the_clients_own_and_keeps_its_role(role: str) -> None:
    body = {"messages": [{"role": role, "content": "old", "name": "x"}, {"role": "user", "content": "hi"}]}
    assert edits.force_system_prompt("new")(body)["messages"] == [
        {"role": role, "content": "new", "name": "x"},
        {"role": "user", "content": "hi"},
    ]


def test_forced_prompt_goes_before_all_where_the_client_has_none() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    assert edits.force_system_prompt("new")(body)["messages"] == [
        {"role": "system", "content": "new"},
        {"role": "user", "content": "hi"},
    ]


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": "odd"}, {"messages": None}])
def test_forced_prompt_leaves_a_body_without_messages_alone(body: dict[str, object]) -> None:
    assert edits.force_system_prompt("new")(body) is body


def test_forced_prompt_survives_a_message_that_is_no_object() -> None:
    assert edits.force_system_prompt("new")({"messages": ["odd"]})["messages"] == [
        {"role": "system", "content": "new"},
        "odd",
    ]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("anthropic", {"system": "new"}),
        ("gemini", {"systemInstruction": {"parts": [{"text": "new"}]}}),
        ("openai_responses", {"instructions": "new"}),
    ],
)
def test_forced_prompt_goes_where_the_protocol_keeps_it(protocol: str, expected: dict[str, object]) -> None:
    assert edits.force_system_prompt("new", protocol)({}) == expected
