"""DeepL's translations, against recorded exchanges and by their documented rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Credentials, Json, UpstreamRequest
from oneapi.relay.adaptors import deepl
from tests.relay.native import driven, dropped, exchange, meaning, rendered, replied, told
from tests.relay.protocols.recordings import FOLDER

DEEPL = adaptors.load()[38]
CHAT = DEEPL.endpoints["chat"].codec


def ask(model: str = "deepl-de", text: Any = "Hello", **fields: Any) -> Json:
    return rendered(CHAT, {"model": model, "messages": [{"role": "user", "content": text}], **fields})


@pytest.mark.parametrize(
    ("model", "language"),
    [("deepl-zh", "zh"), ("deepl-pt-BR", "pt-BR"), ("deepl-zh-Hant", "zh-Hant"), ("deepl", "ZH"), ("deepl-", "ZH")],
)
def test_the_model_tells_the_language(model: str, language: str) -> None:
    assert ask(model)["target_lang"] == language


@pytest.mark.parametrize(
    "name", ["translate-context", "translate-json-ignore-tags", "translate-model-type", "error-400-bad-type"]
)
def test_a_request_is_as_other_clients_send_it(name: str) -> None:
    recorded = dict(exchange(f"deepl/{name}").request)
    (text,) = recorded.pop("text")
    assert ask(f"deepl-{recorded.pop('target_lang')}", text, **recorded) == exchange(f"deepl/{name}").request


def test_the_last_message_is_the_text() -> None:
    pieces = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "system", "content": "Translate."}, {"role": "user", "content": pieces}]
    assert rendered(CHAT, {"model": "deepl-de", "messages": messages})["text"] == ["one\ntwo"]


@pytest.mark.parametrize("text", ["", [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]])
def test_no_text_is_nothing_to_translate(text: Any) -> None:
    with pytest.raises(InvalidRequest, match="text to translate"):
        ask(text=text)


def test_what_has_no_place_is_named() -> None:
    body = {"model": "deepl-de", "messages": [{"role": "user", "content": "a"}], "temperature": 1, "max_tokens": 5}
    assert dropped(CHAT, body) == {"temperature", "max_tokens"}


@pytest.mark.parametrize(
    ("text", "length"), [("hello", 5), ("你好", 6), ("\ud83d", 1)], ids=["ascii", "chinese", "half a pair"]
)
def test_the_bytes_of_the_text_are_what_is_used(text: str, length: int) -> None:
    request = UpstreamRequest(url="u", body=json.dumps({"text": [text], "target_lang": "de"}).encode())
    requests, last = driven(deepl.flow(request, Credentials("k"), 0), replied({"translations": [{"text": "x"}]}))
    assert requests == [request]
    response = deepl.parse_response(json.loads(last.body))
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (length, 0)


RECORDED = sorted(path.stem for path in (FOLDER / "deepl").glob("translate-*.json"))


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_says_what_is_in_it(name: str) -> None:
    found = exchange(f"deepl/{name}").json
    text = "\n".join(row["text"] for row in found["translations"])
    assert told(deepl.parse_response(found)) == {"text": text, "reason": "stop"}


def test_the_recordings_are_read_at_all() -> None:
    exchange("deepl/translate-json")
    assert len(RECORDED) == 6


def test_a_stream_is_told_from_the_whole_answer() -> None:
    assert CHAT.stream_parser is None and CHAT.parse_response is not None
    response = deepl.parse_response({"translations": [{"text": "Hallo"}], "source_bytes": 5})
    assert ir.collect(ir.replay(response)) == response


@pytest.mark.parametrize("body", [{}, {"translations": []}, {"translations": ["x"]}, {"translations": "x"}])
def test_an_answer_without_a_translation_is_an_error(body: Json) -> None:
    with pytest.raises(UpstreamGarbled):
        deepl.parse_response(body)


def test_an_error_inside_a_200_is_raised() -> None:
    with pytest.raises(UpstreamRejected, match="no luck"):
        deepl.parse_response({"message": "no luck"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deepl/error-400-bad-type", (400, "deepl_error", False, "none")),
        ("deepl/error-400-no-text", (400, "deepl_error", False, "none")),
        ("deepl/error-400-target-lang", (400, "deepl_error", False, "none")),
        ("deepl/error-403-wrong-endpoint", (401, "deepl_error", True, "disable")),
        ("deepl/error-403", (401, "deepl_error", True, "disable")),
        ("documented/deepl/error-429", (429, "deepl_error", True, "cool")),
        ("documented/deepl/error-456", (402, "deepl_error", True, "disable")),
    ],
)
def test_refusals(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(name)
    error = deepl.parse_error(found.status, found.headers, found.body)
    assert meaning(error) == expected
    assert error.message == (found.json["message"] if found.body else error.message)


def test_a_refusal_ends_the_flow() -> None:
    refused = replied({"message": "Quota Exceeded"}, 456)
    assert driven(deepl.flow(UpstreamRequest(url="u"), Credentials("k"), 0), refused)[1] == refused


@pytest.mark.parametrize(
    ("base_url", "key", "expected"),
    [
        ("https://api-free.deepl.com", "k:fx", "https://api-free.deepl.com/v2/usage"),
        ("https://api-free.deepl.com", "k", "https://api.deepl.com/v2/usage"),
        ("https://api.deepl.com", "k:fx", "https://api-free.deepl.com/v2/usage"),
        ("https://example.com/deepl", "k", "https://example.com/deepl/v2/usage"),
    ],
)
def test_a_key_is_taken_to_the_host_of_its_plan(base_url: str, key: str, expected: str) -> None:
    (request,) = deepl.balance_requests(base_url, Credentials(key), 0)
    assert (request.url, request.headers) == (expected, {"Authorization": f"DeepL-Auth-Key {key}"})


def test_what_is_left() -> None:
    assert deepl.parse_balance((replied(exchange("deepl/usage").body),)) == 499_647
    with pytest.raises(UpstreamGarbled):
        deepl.parse_balance((replied({}),))
    with pytest.raises(UpstreamRejected):
        deepl.parse_balance((replied({}, 403),))


def test_every_language_is_a_model() -> None:
    (request,) = deepl.models_requests("https://api.deepl.com", Credentials("k"), 0)
    assert request.url == "https://api.deepl.com/v2/languages?type=target"
    languages = [{"language": "DE", "name": "German"}, {"language": "PT-BR"}, {"name": "x"}]
    assert deepl.parse_models((replied(languages),)) == ("deepl-DE", "deepl-PT-BR")
    with pytest.raises(UpstreamGarbled):
        deepl.parse_models((replied({}),))
    with pytest.raises(UpstreamRejected):
        deepl.parse_models((replied([], 403),))
