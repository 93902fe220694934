"""Mistral's chat, against recorded exchanges and by its documented rules."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Credentials, Flow, Json, Rendering, UpstreamRequest
from oneapi.relay.protocols import mistral, openai_chat
from tests.relay.native import driven, dropped, exchange, rendered, replied, streamed, told
from tests.relay.protocols.recordings import FOLDER

USER = {"role": "user", "content": "hi"}


def ask(model: str = "mistral-large-latest", **fields: Any) -> Json:
    return rendered(mistral.CHAT, {"model": model, "messages": [USER], **fields})


def is_chat(path: Any) -> bool:
    found = json.loads(path.read_text("utf-8"))
    return bool(found["request"]["url"].endswith("/chat/completions")) and "error" not in path.stem


RECORDED = sorted(path.stem for path in (FOLDER / "mistral").glob("*.json") if is_chat(path))


def plain(body: Json) -> Json:
    """A recorded request without what says nothing, and in one spelling."""
    body = {name: value for name, value in body.items() if value not in (None, False)}
    body = {name: value for name, value in body.items() if (name, value) != ("n", 1)}
    messages = []
    for turn in body["messages"]:
        turn = {name: value for name, value in turn.items() if value not in (None, [], False) and name != "index"}
        for call in turn.get("tool_calls") or ():
            call.pop("index", None)
        content = turn.get("content")
        if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
            turn["content"] = content[0]["text"]
        for piece in content if isinstance(content, list) else ():
            if isinstance(piece.get("image_url"), str):
                piece["image_url"] = {"url": piece["image_url"]}
        if turn.get("content") == "":
            del turn["content"]
        messages.append(turn)
    tools = [{**tool, "type": "function"} for tool in body.get("tools", ())]
    for tool in tools:
        tool["function"] = {name: value for name, value in tool["function"].items() if value != ""}
    return {**body, "messages": messages, **({"tools": tools} if tools else {})}


@pytest.mark.parametrize("name", RECORDED)
def test_a_request_of_its_own_clients_comes_out_as_it_went_in(name: str) -> None:
    recorded = exchange(f"mistral/{name}").request
    given = json.loads(json.dumps(recorded))
    if "random_seed" in given:
        given["seed"] = given.pop("random_seed")
    assert plain(rendered(mistral.CHAT, given)) == plain(recorded)


def test_the_recordings_are_read_at_all() -> None:
    exchange("mistral/chat")
    assert len(RECORDED) > 20


def test_fields_that_it_does_not_know_are_not_sent() -> None:
    body = ask(
        stream=True,
        stream_options={"include_usage": True},
        max_completion_tokens=5,
        seed=7,
        user="u",
        logit_bias={"1": 1},
        logprobs=True,
        top_logprobs=2,
        top_k=5,
        store=True,
        service_tier="auto",
        parallel_tool_calls=False,
        safe_prompt=True,
    )
    assert body == {
        "model": "mistral-large-latest",
        "messages": [USER],
        "stream": True,
        "max_tokens": 5,
        "random_seed": 7,
        "logprobs": True,
        "top_logprobs": 2,
        "top_k": 5,
        "parallel_tool_calls": False,
        "safe_prompt": True,
    }
    fields = {"user": "u", "logit_bias": {"1": 1}, "logprobs": True, "top_k": 5}
    assert dropped(mistral.CHAT, {"model": "m", "messages": [{**USER, "name": "Ann"}], **fields}) == {
        "user",
        "logit_bias",
        "name",
    }


def test_what_clients_repeat_from_an_answer_is_left_out() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "s"},
        {**USER, "name": "Ann"},
        {"role": "assistant", "content": "a", "refusal": None, "annotations": [], "reasoning_content": "hm"},
        {"role": "assistant", "content": None, "audio": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
        {"role": "assistant", "content": "```", "prefix": True},
    ]
    assert ask(messages=messages)["messages"] == [
        {"role": "system", "content": "s"},
        USER,
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
        {"role": "assistant", "content": "```", "prefix": True},
    ]


@pytest.mark.parametrize(
    ("model", "wish", "goes_back"),
    [
        ("magistral-medium-latest", {}, True),
        ("mistral-small-latest", {"reasoning_effort": "high"}, True),
        ("mistral-small-latest", {"reasoning_effort": "none"}, False),
        ("mistral-small-latest", {}, False),
    ],
)
def test_thoughts_go_back_to_models_that_think(model: str, wish: Json, goes_back: bool) -> None:
    messages = [USER, {"role": "assistant", "content": "a", "reasoning_content": "hm"}, USER]
    told_back = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]
    content = ask(model, messages=messages, **wish)["messages"][1]["content"]
    assert content == (told_back if goes_back else "a")


@pytest.mark.parametrize(
    ("effort", "sent"),
    [("none", "none"), ("minimal", "none"), ("low", "high"), ("medium", "high"), ("high", "high"), ("xhigh", "high")],
)
def test_an_effort_is_all_or_nothing(effort: str, sent: str) -> None:
    assert ask(reasoning_effort=effort)["reasoning_effort"] == sent
    assert "reasoning_effort" not in ask("magistral-small-latest", reasoning_effort=effort)


def test_documents_have_a_shape_of_their_own() -> None:
    pdf = "data:application/pdf;base64,AAAA"
    content = [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}},
        {"type": "file", "file": {"file_id": "7"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    assert ask(messages=[{"role": "user", "content": content}])["messages"][0]["content"] == [
        {"type": "document_url", "document_url": pdf, "document_name": "a.pdf"},
        {"type": "file", "file_id": "7"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]


def independent(body: bytes) -> tuple[str, str]:
    """Text and thoughts of an answer, whole or streamed, by the plainest reading there is."""
    if body[:1] == b"{":
        said = [json.loads(body)["choices"][0]["message"]]
    else:
        lines = [line[6:] for line in body.splitlines() if line.startswith(b"data: {")]
        said = [json.loads(line)["choices"][0]["delta"] for line in lines]
    text = thoughts = ""
    for message in said:
        content = message.get("content") or ""
        for piece in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if piece["type"] == "thinking":
                thoughts += "".join(inner["text"] for inner in piece["thinking"])
            else:
                text += piece["text"]
    return text, thoughts


@pytest.mark.parametrize("name", ["reasoning", "reasoning-stream", "cache-read-stream"])
def test_thoughts_are_told_apart_from_the_text_for_openais_clients(name: str) -> None:
    body = exchange(f"mistral/{name}").body
    is_whole = body[:1] == b"{"
    assert mistral.CHAT.parse_response is not None
    response = mistral.CHAT.parse_response(json.loads(body)) if is_whole else streamed(mistral.CHAT, body)
    text, thoughts = independent(body)
    said = told(response)
    assert (said["text"], said.get("thoughts", "")) == (text, thoughts) and thoughts
    answer = openai_chat.render_response(response, Rendering(id="i", created_at=1, model="m"))
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (text, thoughts)


def test_its_answers_are_translated_even_for_openais_clients() -> None:
    assert mistral.CHAT.name != openai_chat.CODEC.name


# ---- other modes ----


def test_embeddings_have_a_size_by_another_name() -> None:
    body: Json = {"model": "codestral-embed", "input": "a", "dimensions": 256, "user": "u"}
    for edit in mistral.EMBEDDINGS:
        body = edit(body)
    assert body == {"model": "codestral-embed", "input": "a", "output_dimension": 256}


def speech(**fields: Any) -> Flow:
    body = {"model": "m", "input": "a", "voice": "v", **fields}
    return mistral.speech_flow(UpstreamRequest(url="u", body=json.dumps(body).encode()), Credentials("k"), 0)


def test_sound_in_json_becomes_sound() -> None:
    found = exchange("mistral/speech")
    _, last = driven(speech(), replied(found.body))
    assert last.headers == {"content-type": "audio/mpeg"}
    assert last.body == base64.b64decode(found.json["audio_data"])
    _, last = driven(speech(response_format="wav"), replied({"audio_data": "AAAA"}))
    assert (last.headers, last.body) == ({"content-type": "audio/wav"}, b"\0\0\0")


def test_sound_and_refusals_pass_as_they_are() -> None:
    for reply in (replied(b"RIFF", kind="audio/wav"), replied({"message": "no"}, 422)):
        assert driven(speech(), reply)[1] == reply
    for broken in ({}, {"audio_data": "?"}):
        with pytest.raises(UpstreamGarbled):
            driven(speech(), replied(broken))


def test_an_answer_of_pieces_is_one_text() -> None:
    pieces = [{"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "b"}]
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": pieces}, "finish_reason": "stop"}]}
    assert mistral.CHAT.parse_response is not None
    (choice,) = mistral.CHAT.parse_response(body).choices
    assert "".join(ir.content(part) for part in choice.parts) == "ab"
