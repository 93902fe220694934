"""AI Proxy's knowledge library, by what the specification says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Json
from oneapi.relay.adaptors import aiproxy
from tests.relay.native import dropped, meaning, rendered, streamed, told

LIBRARY = adaptors.load()[21]
CHAT = LIBRARY.endpoints["chat"].codec
USER = {"role": "user", "content": "hi"}
DOCUMENTS = [{"title": "A", "url": "https://example.com/a"}, {"title": "B", "url": "https://example.com/b"}]
LIST = "\n\n参考文档：\n1. [A](https://example.com/a)\n2. [B](https://example.com/b)\n"


def test_the_last_message_is_the_question() -> None:
    pieces = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": pieces}]
    body = rendered(CHAT, {"model": "gpt-4o", "messages": messages, "stream": True})
    assert body == {"model": "gpt-4o", "query": "one\ntwo", "stream": True}


def test_the_library_is_the_channels() -> None:
    assert LIBRARY.field_edits is not None
    (edit,) = LIBRARY.field_edits({"library_id": "lib"}, "m", "chat")
    assert edit({"query": "hi"}) == {"query": "hi", "libraryId": "lib"}


def test_no_text_is_no_question() -> None:
    with pytest.raises(InvalidRequest, match="text to ask"):
        rendered(CHAT, {"model": "m", "messages": [{"role": "user", "content": ""}]})


def test_what_has_no_place_is_named() -> None:
    assert dropped(CHAT, {"model": "m", "messages": [USER], "temperature": 1, "user": "u"}) == {"temperature", "user"}


def stream(*bodies: Json, end: bytes = b"") -> bytes:
    return b"".join(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies) + end


def test_an_answer_ends_with_the_documents_it_rests_on() -> None:
    whole = aiproxy.parse_response({"success": True, "errCode": 0, "answer": "Yes.", "documents": DOCUMENTS})
    streamed_ = streamed(
        CHAT,
        stream(
            {"content": "Y", "finish": False, "model": "gpt-4o", "documents": []},
            {"content": "es.", "finish": False, "documents": DOCUMENTS},
            {"content": "", "finish": True},
        ),
    )
    assert told(whole) == told(streamed_) == {"text": "Yes." + LIST, "reason": "stop"}
    assert whole.choices == streamed_.choices
    (text,) = whole.choices[0].parts
    assert isinstance(text, ir.Text)
    assert [note["url_citation"] for note in text.annotations] == DOCUMENTS
    assert streamed_.model == "gpt-4o"


def test_an_answer_without_documents_ends_itself() -> None:
    assert told(aiproxy.parse_response({"answer": "Yes.", "documents": None})) == {"text": "Yes.", "reason": "stop"}
    said = told(streamed(CHAT, stream({"content": "Yes."}, end=b"data: [DONE]\n\n")))
    assert said == {"text": "Yes.", "reason": "stop"}


def test_a_stream_that_ends_early_is_an_error() -> None:
    for body in (stream({"content": "Y", "finish": False}), b""):
        with pytest.raises(UpstreamGarbled, match="ended before"):
            streamed(CHAT, body)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1001, (500, 1001, True, "count")), (401, (401, 401, True, "disable")), (429, (429, 429, True, "cool"))],
)
def test_an_error_inside_a_200_is_raised(code: int, expected: tuple[Any, ...]) -> None:
    body = {"success": False, "errCode": code, "message": "no luck"}
    for read in (lambda: aiproxy.parse_response(body), lambda: streamed(CHAT, stream(body))):
        with pytest.raises(UpstreamRejected, match="no luck") as caught:
            read()
        assert meaning(caught.value) == expected


def test_refusals() -> None:
    assert aiproxy.parse_error(403, {}, b'{"errCode":7,"message":"m"}').upstream_status == 403
    assert aiproxy.parse_error(502, {}, b"<html>").message
    with pytest.raises(UpstreamGarbled):
        aiproxy.parse_response({"success": True})
