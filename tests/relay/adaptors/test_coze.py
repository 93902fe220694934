"""Coze's chats, against recorded streams and by their documented rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected, UpstreamUnreachable
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Credentials, Flow, Json, Pause, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import coze
from oneapi.relay.protocols import multipart
from tests.relay.native import driven, dropped, exchange, meaning, rendered, replied, streamed, told

COZE = adaptors.load()[34]
CHAT = COZE.endpoints["chat"].codec
URL = "https://api.coze.cn/v3/chat"
USER = {"role": "user", "content": "hi"}
PIXEL = "data:image/png;base64,AAAA"


def ask(**fields: Any) -> Json:
    return rendered(CHAT, {"model": "bot-73", "messages": [USER], **fields})


# ---- requests ----


def test_a_request_is_as_documented() -> None:
    recorded = exchange("documented/coze/chat-create-1").request
    body = ask(model=recorded["bot_id"], messages=[{"role": "user", "content": "你好"}], user="u1")
    assert body == recorded


def test_a_bot_may_be_named_with_or_without_its_prefix() -> None:
    assert ask(model="bot-73")["bot_id"] == ask(model="73")["bot_id"] == "73"


def test_the_user_is_the_clients_else_the_channels() -> None:
    assert COZE.field_edits is not None
    (edit,) = COZE.field_edits({"user_id": "channel"}, "73", "chat")
    assert edit(ask())["user_id"] == "channel"
    assert edit(ask(user="client"))["user_id"] == "client"
    (edit,) = COZE.field_edits({}, "73", "chat")
    assert edit(ask())["user_id"] == "one-api"


def test_all_turns_go_along_and_what_is_not_the_bots_is_the_users() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "three"},
        {"role": "assistant", "content": "four"},
        USER,
    ]
    text = {"content_type": "text"}
    assert ask(messages=messages)["additional_messages"] == [
        {"role": "user", "content": "Be short.", **text},
        {"role": "user", "content": "one\ntwo", **text},
        {"role": "user", "content": "three", **text},
        {"role": "assistant", "type": "answer", "content": "four", **text},
        {"role": "user", "content": "hi", **text},
    ]


def test_cozes_own_fields_and_metadata_go_along() -> None:
    body = ask(metadata={"a": "b"}, custom_variables={"x": "y"}, unknown=1)
    assert body["meta_data"] == {"a": "b"} and body["custom_variables"] == {"x": "y"} and "unknown" not in body


def test_what_has_no_place_is_named() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    wishes = {"tools": [tool], "temperature": 1, "max_tokens": 5, "stop": "a", "n": 2, "reasoning_effort": "low"}
    body = {"model": "m", "messages": [USER], "user": "u", "metadata": {"a": "b"}, **wishes}
    assert dropped(CHAT, body) == {"tools", "temperature", "max_tokens", "stop", "n", "thinking"}


# ---- files ----

FILES = [
    {"type": "text", "text": "what?"},
    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
    {"type": "image_url", "image_url": {"url": PIXEL}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
    {"type": "file", "file": {"filename": 'a".pdf', "file_data": "data:application/pdf;base64,AAAA"}},
    {"type": "file", "file": {"file_id": "7"}},
]


def chat(body: Json) -> Flow:
    headers = {"Authorization": "Bearer k", "content-type": "application/json"}
    return coze.chat_flow(
        UpstreamRequest(url=URL, headers=headers, body=json.dumps(body).encode()), Credentials("k"), 0
    )


def test_files_in_base64_are_uploaded_first() -> None:
    body = ask(messages=[{"role": "user", "content": FILES}], stream=True)
    uploads, last = driven(chat(body), *(replied({"code": 0, "data": {"id": f"f{n}"}}) for n in range(3)))
    assert {upload.url for upload in uploads} == {"https://api.coze.cn/v1/files/upload"}
    names = []
    for upload in uploads:
        (file,) = multipart.parts(upload.body, upload.headers["content-type"])
        assert upload.body[file.start : file.end] == b"\0\0\0"
        assert upload.headers["Authorization"] == "Bearer k"
        names.append(file.filename)
    assert names == ["image.png", "audio.mp3", "a_.pdf"]
    sent = json.loads(last.body)
    (message,) = sent["additional_messages"]
    assert message["content_type"] == "object_string"
    assert json.loads(message["content"]) == [
        {"type": "text", "text": "what?"},
        {"type": "image", "file_url": "https://example.com/cat.png"},
        {"type": "image", "file_id": "f0"},
        {"type": "audio", "file_id": "f1"},
        {"type": "file", "file_id": "f2"},
        {"type": "file", "file_id": "7"},
    ]
    assert sent["stream"] is True


@pytest.mark.parametrize(
    ("reply", "status"),
    [(replied({"code": 4100, "msg": "m"}, 401), 401), (replied({"code": 4000, "msg": "m"}), 400)],
)
def test_a_refused_file_is_an_error(reply: WholeReply, status: int) -> None:
    body = ask(messages=[{"role": "user", "content": [FILES[2]]}])
    with pytest.raises(UpstreamRejected) as caught:
        driven(chat(body), reply)
    assert caught.value.upstream_status == status


def test_a_file_that_is_no_base64_is_the_clients_fault() -> None:
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}
    with pytest.raises(InvalidRequest, match="base64"):
        driven(chat(ask(messages=[{"role": "user", "content": [broken]}])))


# ---- the flow ----


def test_a_whole_answer_is_asked_for_until_it_is_there() -> None:
    steps = [exchange(f"documented/coze/{name}") for name in ("chat-create-1", "chat-retrieve-2", "chat-messages-3")]
    requests, last = driven(chat(steps[0].request), *(replied(step.body) for step in steps))
    place = "conversation_id=7381473525342978089&chat_id=7382159487131697202"
    assert [(request.method, request.url) for request in requests] == [
        ("POST", URL),
        ("GET", f"{URL}/retrieve?{place}"),
        ("GET", f"{URL}/message/list?{place}"),
    ]
    assert told(coze.parse_response(json.loads(last.body))) == {
        "text": "你好！",
        "reason": "stop",
        "tokens": (614, 19),
    }


def test_a_stream_is_passed_on_at_once() -> None:
    body = ask(stream=True)
    requests, last = driven(chat(body))
    assert requests == [] and json.loads(last.body) == body


def created(status: str) -> WholeReply:
    return replied({"code": 0, "data": {"id": "1", "conversation_id": "2", "status": status}})


@pytest.mark.parametrize("before", [[], [created("in_progress")], [created("completed")]])
def test_a_refusal_at_any_step_is_the_answer(before: list[WholeReply]) -> None:
    refused = replied({"code": 4013, "msg": "m"})
    last = driven(chat(ask()), *before, refused)[1]
    assert last == refused
    with pytest.raises(UpstreamRejected):
        coze.parse_response(json.loads(last.body))


def test_a_chat_that_never_ends_is_given_up_and_called_off() -> None:
    flow = chat(ask())
    next(flow)
    found: WholeReply | None = created("in_progress")
    waited, urls = 0.0, []
    with pytest.raises(UpstreamUnreachable):
        while True:
            wanted = flow.send(found)
            if isinstance(wanted, Pause):
                waited += wanted.seconds
                found = None
            else:
                urls.append((wanted.method, wanted.url, wanted.body))
                found = created("in_progress")
    assert waited == 600
    method, url, body = urls[-1]
    assert (method, url, json.loads(body)) == ("POST", f"{URL}/cancel", {"conversation_id": "2", "chat_id": "1"})


# ---- answers ----


def test_the_recorded_stream() -> None:
    response = streamed(CHAT, exchange("coze/chat-stream").body)  # whose pieces were thinned out by its source
    assert told(response) == {"text": "20星期三。", "reason": "stop", "tokens": (614, 19)}
    assert response.id == "7382159487131697202"


def test_the_recorded_failure() -> None:
    with pytest.raises(UpstreamRejected, match="event interval error") as caught:
        streamed(CHAT, exchange("coze/chat-failed-stream").body)
    assert meaning(caught.value) == (500, 5000, True, "count")


def events(*told_events: tuple[str, Any]) -> bytes:
    return b"".join(f"event:{name}\ndata:{json.dumps(data)}\n\n".encode() for name, data in told_events)


def message(kind: str, id: str, **more: str) -> Json:
    return {"id": id, "role": "assistant", "type": kind, "content_type": "text", **more}


DELTA, COMPLETED = "conversation.message.delta", "conversation.message.completed"


def test_several_messages_are_one_answer() -> None:
    usage = {"input_count": 3, "output_count": 4}
    body = events(
        ("conversation.chat.created", {"id": "1", "status": "created"}),
        (DELTA, message("answer", "a", content="", reasoning_content="Hm.")),
        (DELTA, message("answer", "a", content="one")),
        (COMPLETED, message("function_call", "f", content="{}")),
        (COMPLETED, message("answer", "a", content="one")),
        (COMPLETED, message("answer", "b", content="two")),
        (COMPLETED, message("follow_up", "c", content="and then?")),
        (COMPLETED, message("verbose", "d", content="{}")),
        ("conversation.chat.completed", {"id": "1", "status": "completed", "usage": usage}),
        ("done", "[DONE]"),
    )
    expected = {"text": "one\n\ntwo", "thoughts": "Hm.", "reason": "stop", "tokens": (3, 4)}
    assert told(streamed(CHAT, body)) == expected
    whole = {
        "code": 0,
        "chat": {"id": "1", "status": "completed", "usage": usage},
        "messages": [
            message("answer", "a", content="one", reasoning_content="Hm."),
            message("function_call", "f", content="{}"),
            message("answer", "b", content="two"),
            message("follow_up", "c", content="and then?"),
        ],
    }
    assert told(coze.parse_response(whole)) == expected


@pytest.mark.parametrize("status", ["failed", "requires_action", "canceled"])
def test_a_chat_that_comes_to_no_answer_is_an_error(status: str) -> None:
    with pytest.raises(UpstreamRejected, match=status):
        streamed(CHAT, events((f"conversation.chat.{status}", {"id": "1", "status": status})))
    with pytest.raises(UpstreamRejected, match=status):
        coze.parse_response({"code": 0, "chat": {"status": status}, "messages": []})


def test_an_error_inside_a_stream_is_raised() -> None:
    with pytest.raises(UpstreamRejected, match="no luck"):
        streamed(CHAT, events(("error", {"code": 4013, "msg": "no luck"})))
    with pytest.raises(UpstreamRejected, match="no luck"):
        streamed(CHAT, events(("error", {"message": "no luck"})))


def test_a_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(UpstreamGarbled, match="ended before"):
        streamed(CHAT, events((DELTA, message("answer", "a", content="one"))))


def test_an_answer_that_is_none_is_an_error() -> None:
    for body in ({}, {"code": 0}, {"code": 0, "chat": {"status": "completed"}}):
        with pytest.raises(UpstreamGarbled):
            coze.parse_response(body)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("error-4015-bot", (404, "model_not_found", True, "cool_model")),
        ("error-4100-auth", (401, 4100, True, "disable")),
    ],
)
def test_documented_refusals(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(f"documented/coze/{name}")
    error = coze.parse_error(found.status, found.headers, found.body)
    assert (error.message, meaning(error)) == (found.json["msg"], expected)
    with pytest.raises(UpstreamRejected) as caught:
        coze.parse_response(found.json)
    assert meaning(caught.value) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (4000, (400, 4000, False, "none")),
        (4008, (402, 4008, True, "disable")),
        (4011, (402, 4011, True, "disable")),
        (4013, (429, 4013, True, "cool")),
        (4101, (403, 4101, True, "cool_model")),
        (5000, (500, 5000, True, "count")),
        (99, (500, 99, True, "count")),
    ],
)
def test_other_refusals(code: int, expected: tuple[Any, ...]) -> None:
    error = coze.error_in({"code": code, "msg": "m"})
    assert error is not None and meaning(error) == expected


def test_other_shapes_of_errors_are_told_too() -> None:
    for body in (b"", b"<html>", b'{"msg":"m"}', b"[]"):
        assert coze.parse_error(502, {}, body).message


def test_a_card_is_a_part_of_the_answer() -> None:
    parts = (
        streamed(
            CHAT,
            events(
                (COMPLETED, {**message("answer", "a", content='{"card":1}'), "content_type": "card"}),
                ("conversation.chat.completed", {"status": "completed"}),
            ),
        )
        .choices[0]
        .parts
    )
    assert parts == (ir.Text('{"card":1}'),)
