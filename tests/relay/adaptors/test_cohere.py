"""Cohere's API, both versions, against recorded exchanges and by its documented rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors, ir
from oneapi.relay.adaptor import Codec, Credentials, Json, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import cohere as adaptor
from oneapi.relay.protocols import cohere, cohere_v1, openai_embeddings, rerank
from oneapi.relay.protocols.cohere_error import parse_error
from tests.relay.native import dropped, exchange, meaning, rendered, streamed, told
from tests.relay.protocols.recordings import FOLDER

COHERE = adaptors.load()[35]
CHAT = COHERE.endpoint("command-a-03-2025", "chat").codec
SEARCH = COHERE.endpoint("command-r-internet", "chat").codec
USER = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
PIXEL = "data:image/png;base64,AAAA"


def ask(codec: Codec = CHAT, **fields: Any) -> Json:
    return rendered(codec, {"model": "command-a-03-2025", "messages": [USER], **fields})


# ---- requests ----


def flat(body: Json) -> Json:
    """A request of Cohere's in one spelling: a text alone is a text, and what says nothing is not there."""
    messages = []
    for turn in body["messages"]:
        content = turn.get("content")
        if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
            content = content[0]["text"]
        turn = {**turn, "content": content}
        messages.append({name: value for name, value in turn.items() if value not in (None, "", [])})
    said = {name: value for name, value in body.items() if value not in (None, [])}
    return {**said, "messages": messages, "stream": body.get("stream", False)}


def openais(recorded: Json) -> Json:
    """The recorded request as a client of OpenAI's API would have put it."""
    body = dict(recorded)
    if stops := body.pop("stop_sequences", None):
        body["stop"] = stops
    if choice := body.get("tool_choice"):
        body["tool_choice"] = choice.lower()
    if thinking := body.pop("thinking", None):
        body["enable_thinking"] = thinking["type"] == "enabled"
    if (wanted := body.pop("response_format", None)) is not None:
        schema = {"name": "n", "schema": wanted["json_schema"]}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


RECORDED = sorted((FOLDER / "cohere").glob("v2-*.json"))
ASKED = [path.stem for path in RECORDED if "error" not in path.stem]


@pytest.mark.parametrize("name", ASKED)
def test_a_request_is_as_other_clients_send_it(name: str) -> None:
    recorded = exchange(f"cohere/{name}").request
    assert flat(rendered(CHAT, openais(recorded))) == flat(recorded)


def test_every_parameter_has_its_place() -> None:
    assert ask(
        max_completion_tokens=9,
        temperature=1.5,
        top_p=1,
        top_k=900,
        seed=7,
        stop="END",
        frequency_penalty=0.5,
        presence_penalty=-1,
        safety_mode="STRICT",
        citation_options={"mode": "FAST"},
        documents=["a"],
    ) == {
        "model": "command-a-03-2025",
        "messages": [USER],
        "stream": False,
        "citation_options": {"mode": "FAST"},
        "documents": ["a"],
        "safety_mode": "STRICT",
        "max_tokens": 9,
        "temperature": 1.5,
        "p": 0.99,
        "k": 500,
        "seed": 7,
        "stop_sequences": ["END"],
        "frequency_penalty": 0.5,
        "presence_penalty": 0,
    }


@pytest.mark.parametrize(
    ("wish", "sent"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, {"type": "disabled"}),
        ({"reasoning_effort": "low"}, {"type": "enabled", "token_budget": 1024}),
        ({"reasoning_effort": "high"}, {"type": "enabled"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 77}}, {"type": "enabled", "token_budget": 77}),
        ({"thinking": {"type": "disabled"}}, {"type": "disabled"}),
    ],
)
def test_thinking(wish: Json, sent: Any) -> None:
    assert ask(**wish).get("thinking") == sent


@pytest.mark.parametrize(
    ("choice", "names", "sent"),
    [
        (None, ["weather", "other"], None),
        ("auto", ["weather", "other"], None),
        ("none", ["weather", "other"], "NONE"),
        ("required", ["weather", "other"], "REQUIRED"),
        ({"type": "function", "function": {"name": "other"}}, ["other"], "REQUIRED"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}}, ["other"], None),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [OTHER]}}, ["other"], "REQUIRED"),
    ],
)
def test_every_choice_of_tools_can_be_told(choice: Any, names: list[str], sent: Any) -> None:
    fields = {"tools": [WEATHER, OTHER], "tool_choice": choice}
    body = ask(**fields)
    assert ([tool["function"]["name"] for tool in body["tools"]], body.get("tool_choice")) == (names, sent)
    assert dropped(CHAT, {"model": "m", "messages": [USER], **fields}) == set()


def test_strict_tools_are_held_to_their_schemas() -> None:
    strict = {"type": "function", "function": {"name": "s", "strict": True, "parameters": {"type": "object"}}}
    assert ask(tools=[strict])["strict_tools"] is True
    assert "strict_tools" not in ask(tools=[strict, WEATHER])


def test_a_plan_goes_back_with_its_calls_and_a_thought_without_calls_stays() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    results = [{"type": "text", "text": "dry"}, {"type": "text", "text": "cold"}]
    messages = [
        {"role": "developer", "content": "be short"},
        USER,
        {"role": "assistant", "content": None, "reasoning_content": "I will look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": results},
        {"role": "assistant", "content": "Dry.", "reasoning_content": "Hm."},
        USER,
    ]
    assert ask(messages=messages)["messages"] == [
        {"role": "system", "content": "be short"},
        USER,
        {"role": "assistant", "tool_calls": [call], "tool_plan": "I will look."},
        {"role": "tool", "tool_call_id": "c", "content": results},
        {"role": "assistant", "content": "Dry."},
        USER,
    ]


def test_what_has_no_place_is_named() -> None:
    picture = {"type": "image_url", "image_url": {"url": PIXEL}}
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    messages = [
        {"role": "user", "content": [sound, picture], "name": "Ann"},
        {"role": "tool", "tool_call_id": "c", "content": [picture]},
    ]
    fields = {"n": 2, "logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 1}, "user": "u"}
    more = {"metadata": {"a": "b"}, "parallel_tool_calls": True}
    assert dropped(CHAT, {"model": "m", "messages": messages, **fields, **more}) == {
        "audio",
        "images",
        "logit_bias",
        "logprobs",
        "may_call_in_parallel",
        "metadata",
        "n",
        "name",
        "top_logprobs",
        "user",
    }
    assert dropped(CHAT, {"model": "m", "messages": messages[:1]}) == {"audio", "name"}


# ---- answers ----


def independent(body: bytes) -> Json:
    """An answer, whole or streamed, by the plainest reading there is."""
    if body[:1] == b"{":
        answer = json.loads(body)
        message, ending = answer["message"], answer
        pieces = message.get("content") or []
        text = "".join(piece.get("text", "") for piece in pieces)
        thoughts = message.get("tool_plan", "") + "".join(piece.get("thinking", "") for piece in pieces)
        calls = [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or ()
        ]
    else:
        events = [json.loads(line[5:]) for line in body.splitlines() if line[:6] == b"data: " and line[6:7] == b"{"]
        messages = [(event, event["delta"]["message"]) for event in events if "message" in event.get("delta", {})]
        text = "".join(m["content"].get("text", "") for e, m in messages if e["type"] == "content-delta")
        thoughts = "".join(m["tool_plan"] for e, m in messages if e["type"] == "tool-plan-delta")
        made: dict[int, list[str]] = {}
        for event, message in messages:
            if event["type"] == "tool-call-start":
                call = message["tool_calls"]
                made[event["index"]] = [call["id"], call["function"]["name"], call["function"]["arguments"]]
            elif event["type"] == "tool-call-delta":
                made[event["index"]][2] += message["tool_calls"]["function"]["arguments"]
        calls = [(id, name, arguments) for id, name, arguments in made.values()]
        ending = next(event for event in events if event["type"] == "message-end")["delta"]
    tokens = ending["usage"]["tokens"]
    said: Json = {
        "text": text,
        "thoughts": thoughts,
        "calls": calls,
        "reason": {"MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}.get(ending["finish_reason"], "stop"),
        "tokens": (tokens["input_tokens"] + tokens.get("image_tokens", 0), tokens["output_tokens"]),
    }
    return {name: value for name, value in said.items() if value}


def read(name: str) -> ir.ChatResponse:
    found = exchange(f"cohere/{name}")
    return cohere.parse_response(found.json) if found.body[:1] == b"{" else streamed(CHAT, found.body)


@pytest.mark.parametrize("name", ASKED)
def test_a_recorded_answer_says_what_is_in_it(name: str) -> None:
    response = read(name)
    assert told(response) == independent(exchange(f"cohere/{name}").body)
    assert response.id


def test_the_recordings_are_read_at_all() -> None:
    exchange("cohere/v2-chat")
    assert len(ASKED) == 21


def test_usage_has_its_buckets() -> None:
    usage = read("v2-reasoning-tool-call").usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (267, 91)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (144, 58)
    seen = read("v2-image-base64").usage
    assert seen is not None and (seen.input_tokens, seen.image_input_tokens) == (293, 259)


def test_citations_are_annotations_one_for_each_source() -> None:
    (choice,) = read("v2-tool-result").choices
    (text,) = choice.parts
    assert isinstance(text, ir.Text)
    assert text.annotations[0] == {
        "type": "url_citation",
        "url_citation": {"start_index": 34, "end_index": 39, "title": "get_time_eksdqe8f9g4y:0", "url": ""},
    }
    assert len(text.annotations) == 3
    thought, cited = read("v2-citations").choices[0].parts
    assert isinstance(thought, ir.Reasoning) and isinstance(cited, ir.Text)
    titles = {annotation["url_citation"]["title"] for annotation in cited.annotations}
    assert titles == {"facts.txt"}


def events(*told_events: Json) -> bytes:
    return b"".join(b"event: e\ndata: " + json.dumps(event).encode() + b"\n\n" for event in told_events)


START = {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant"}}}
END = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 3}}}}


def test_thoughts_and_citations_stream() -> None:
    source = {"type": "document", "id": "doc:0", "document": {"title": "T", "url": "https://example.com"}}
    citation = {"start": 0, "end": 2, "text": "Hi", "sources": [source], "type": "TEXT_CONTENT"}
    of_thought = {**citation, "type": "THINKING_CONTENT"}
    response = streamed(
        CHAT,
        events(
            START,
            {
                "type": "content-start",
                "index": 0,
                "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}},
            },
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "Hm."}}}},
            {"type": "citation-start", "index": 0, "delta": {"message": {"citations": of_thought}}},
            {"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "Hi"}}}},
            {"type": "citation-start", "index": 0, "delta": {"message": {"citations": citation}}},
            {"type": "citation-end", "index": 0},
            {"type": "content-end", "index": 1},
            END,
        ),
    )
    assert told(response) == {"text": "Hi", "thoughts": "Hm.", "reason": "stop", "tokens": (3, 0)}
    text = response.choices[0].parts[1]
    place = {"start_index": 0, "end_index": 2, "title": "T", "url": "https://example.com"}
    assert isinstance(text, ir.Text) and text.annotations == ({"type": "url_citation", "url_citation": place},)


@pytest.mark.parametrize(
    ("word", "reason"), [("STOP_SEQUENCE", "stop"), ("TIMEOUT", "length"), ("ERROR_TOXIC", "content_filter")]
)
def test_finish_reasons(word: str, reason: str) -> None:
    end = {"type": "message-end", "delta": {"finish_reason": word}}
    piece = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "a"}}}}
    assert told(streamed(CHAT, events(START, piece, end))) == {"text": "a", "reason": reason}


def test_an_answer_that_the_provider_gave_up_is_an_error() -> None:
    end = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "out of luck"}}
    with pytest.raises(UpstreamRejected, match="out of luck") as caught:
        streamed(CHAT, events(START, end))
    assert meaning(caught.value) == (500, "ERROR", True, "count")


def test_a_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(UpstreamGarbled, match="ended before"):
        streamed(CHAT, events(START, {"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}}))


# ---- version 1, for the search ----


def test_a_search_is_a_connector_of_version_1() -> None:
    assert COHERE.endpoint("command-r-internet", "chat").path == "/v1/chat"
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "three"},
        {"role": "user", "content": [{"type": "text", "text": "four"}, {"type": "text", "text": "five"}]},
    ]
    assert ask(SEARCH, model="command-r-internet", messages=messages, top_p=0.5, max_tokens=5) == {
        "model": "command-r",
        "message": "four\nfive",
        "chat_history": [
            {"role": "SYSTEM", "message": "Be brief."},
            {"role": "USER", "message": "one"},
            {"role": "CHATBOT", "message": 'two\nweather({"a":1})'},
            {"role": "USER", "message": "three"},
        ],
        "connectors": [{"id": "web-search"}],
        "stream": False,
        "max_tokens": 5,
        "p": 0.5,
    }


def test_a_search_wants_a_question() -> None:
    with pytest.raises(InvalidRequest, match="message of the user"):
        ask(SEARCH, messages=[{"role": "assistant", "content": "a"}])


@pytest.mark.parametrize("name", ["v1-chat", "v1-cache-read"])
def test_a_recorded_answer_of_version_1(name: str) -> None:
    found = exchange(f"cohere/{name}").json
    said = told(cohere_v1.parse_response(found))
    counts = found["meta"]["tokens"]
    assert said["text"] == found["text"]
    assert (said["reason"], said["tokens"]) == ("stop", (counts["input_tokens"], counts["output_tokens"]))


def test_a_stream_of_version_1() -> None:
    found = exchange("documented/cohere/v1-chat-stream")
    assert told(streamed(SEARCH, found.body, "ndjson")) == {"text": "Hello!", "reason": "stop", "tokens": (70, 3)}


def test_what_a_search_found_is_cited() -> None:
    documents = [{"id": "web_0", "title": "T", "url": "https://example.com"}]
    citations = [{"start": 0, "end": 2, "text": "Hi", "document_ids": ["web_0", "web_1"]}]
    lines: list[Json] = [
        {"event_type": "stream-start", "generation_id": "g"},
        {"event_type": "search-queries-generation", "search_queries": []},
        {"event_type": "search-results", "documents": documents},
        {"event_type": "text-generation", "text": "Hi"},
        {"event_type": "citation-generation", "citations": citations},
        {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"text": "Hi"}},
    ]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    whole = {"text": "Hi", "documents": documents, "citations": citations, "finish_reason": "COMPLETE"}
    for response in (streamed(SEARCH, body, "ndjson"), cohere_v1.parse_response(whole)):
        (text,) = response.choices[0].parts
        assert isinstance(text, ir.Text)
        assert [note["url_citation"]["url"] for note in text.annotations] == ["https://example.com", ""]


# ---- errors ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cohere/v2-error-400", (400, "context_length_exceeded", False, "none")),
        ("cohere/v2-error-401", (401, "cohere_error", True, "disable")),
        ("cohere/v2-error-404", (404, "model_not_found", True, "cool_model")),
        ("cohere/v1-error-404", (404, "model_not_found", True, "cool_model")),
        ("cohere/embed-error-404", (404, "model_not_found", True, "cool_model")),
        ("documented/cohere/v2-error-429", (429, "cohere_error", True, "cool")),
    ],
)
def test_recorded_refusals(name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(name)
    error = parse_error(found.status, found.headers, found.body)
    assert error.message == found.json["message"]
    assert meaning(error) == expected


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (402, "Please add a payment method", (402, "cohere_error", True, "disable")),
        (
            429,
            "You are using a Trial key, which is limited to 1000 API calls / month. Upgrade.",
            (402, "cohere_error", True, "disable"),
        ),
        (422, "invalid request", (422, "cohere_error", False, "none")),
        (498, "invalid token", (401, "cohere_error", True, "disable")),
        (499, "request cancelled", (500, "cohere_error", True, "count")),
        (503, "upstream unavailable", (503, "cohere_error", True, "count")),
    ],
)
def test_documented_refusals(status: int, message: str, expected: tuple[Any, ...]) -> None:
    assert meaning(parse_error(status, {}, json.dumps({"id": "1", "message": message}).encode())) == expected


@pytest.mark.parametrize("body", [b"", b"no JSON", b'{"data":"x"}'])
def test_other_shapes_of_errors_are_told_too(body: bytes) -> None:
    assert parse_error(502, {}, body).message


def test_an_error_in_an_answers_place_is_raised() -> None:
    for parse in (cohere.parse_response, cohere_v1.parse_response, adaptor.parse_embeddings, adaptor.parse_rerank):
        with pytest.raises(UpstreamRejected, match="no luck"):
            parse({"message": "no luck"})
    for framing, codec in (("sse", CHAT), ("ndjson", SEARCH)):
        with pytest.raises(UpstreamRejected, match="no luck"):
            streamed(codec, (b"data: " if framing == "sse" else b"") + b'{"message":"no luck"}\n\n', framing)


# ---- embeddings ----

EMBED = COHERE.endpoint("embed-v4.0", "embeddings")


def calls(texts: list[str], **fields: Any) -> list[Json]:
    body = {"model": "embed-v4.0", "input": texts, **fields}
    each: list[Json] = adaptor.render_embeddings(openai_embeddings.parse_request(body))["each"]
    return each


def test_an_embedding_request_is_as_other_clients_send_it() -> None:
    recorded = exchange("cohere/embed").request
    sent = {name: value for name, value in recorded.items() if value is not None}
    assert calls(["Hello, world!"], input_type="search_query", truncate="NONE") == [sent]


def test_embeddings_have_a_purpose_and_a_size() -> None:
    assert calls(["a"], dimensions=256) == [
        {
            "model": "embed-v4.0",
            "input_type": "search_document",
            "embedding_types": ["float"],
            "output_dimension": 256,
            "texts": ["a"],
        }
    ]


def test_pictures_are_embedded_as_pictures() -> None:
    (body,) = calls(["a", PIXEL])
    assert body["inputs"] == [
        {"content": [{"type": "text", "text": "a"}]},
        {"content": [{"type": "image_url", "image_url": {"url": PIXEL}}]},
    ]


def test_tokens_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="not tokens"):
        adaptor.render_embeddings(ir.EmbeddingRequest(model="m", inputs=((1,),)))


def test_many_texts_take_several_calls() -> None:
    each = calls([str(number) for number in range(200)])
    assert [len(body["texts"]) for body in each] == [96, 96, 8]
    assert EMBED.flow is not None
    request = UpstreamRequest(url="u", body=json.dumps({"each": each}).encode())
    flow = EMBED.flow(request, Credentials("k"), 0)
    found: WholeReply | None = None
    for body in each:
        wanted = flow.send(found)
        assert isinstance(wanted, UpstreamRequest) and json.loads(wanted.body) == body
        vectors = [[float(text)] for text in body["texts"]]
        answer = {"embeddings": {"float": vectors}, "meta": {"billed_units": {"input_tokens": len(vectors)}}}
        found = WholeReply(200, {}, json.dumps(answer).encode())
    with pytest.raises(StopIteration) as stop:
        flow.send(found)
    response = adaptor.parse_embeddings(json.loads(stop.value.value.body))
    assert [vector[0] for vector in response.vectors] == [float(number) for number in range(200)]
    assert response.usage is not None and response.usage.input_tokens == 200


@pytest.mark.parametrize("calls_before", [0, 1])
def test_a_call_that_fails_ends_the_flow(calls_before: int) -> None:
    assert EMBED.flow is not None
    flow = EMBED.flow(UpstreamRequest(url="u", body=b'{"each":[{},{}]}'), Credentials("k"), 0)
    next(flow)
    for _ in range(calls_before):
        flow.send(WholeReply(200, {}, b"{}"))
    with pytest.raises(StopIteration) as stop:
        flow.send(WholeReply(429, {}, b"{}"))
    assert stop.value.value.status == 429


def test_one_call_is_the_answers_own() -> None:
    assert EMBED.flow is not None
    flow = EMBED.flow(UpstreamRequest(url="u", body=b'{"each":[{"a":1}]}'), Credentials("k"), 0)
    with pytest.raises(StopIteration) as stop:
        next(flow)
    assert stop.value.value == UpstreamRequest(url="u", body=b'{"a":1}')


@pytest.mark.parametrize(("name", "tokens"), [("embed", 4), ("embed-image", None)])
def test_recorded_embeddings(name: str, tokens: int | None) -> None:
    found = exchange(f"cohere/{name}").json
    response = adaptor.parse_embeddings(found)
    assert [list(vector) for vector in response.vectors] == found["embeddings"]["float"]
    assert (response.usage.input_tokens if response.usage else None) == tokens


def test_an_answer_without_vectors_is_an_error() -> None:
    for body in ({}, {"embeddings": {"int8": []}}, {"answers": [1]}):
        with pytest.raises(UpstreamGarbled):
            adaptor.parse_embeddings(body)


# ---- rerank, and the models there are ----


def test_rerank_is_as_other_clients_send_it() -> None:
    found = exchange("cohere/rerank")
    request = rerank.parse_request({**found.request, "return_documents": True})
    assert adaptor.render_rerank(request) == found.request
    response = adaptor.parse_rerank(found.json)
    assert [(ranked.index, ranked.score) for ranked in response.results] == [(0, 0.75809944), (2, 0.5515985)]
    assert response.usage is not None and response.usage.units == {"search_units": 1}


def test_documents_are_sent_as_texts() -> None:
    request = ir.RerankRequest(model="m", query="q", documents=("a", {"text": "b"}))
    assert adaptor.render_rerank(request)["documents"] == ["a", "b"]


def test_the_models_there_are() -> None:
    assert COHERE.models_requests is not None
    (request,) = COHERE.models_requests("https://api.cohere.ai", Credentials("k"), 0)
    assert request.url == "https://api.cohere.ai/v1/models?page_size=1000"
    body = json.dumps({"models": [{"name": "command-a-03-2025"}, {"name": "embed-v4.0"}]}).encode()
    assert adaptor.parse_models((WholeReply(200, {}, body),)) == ("command-a-03-2025", "embed-v4.0")
    with pytest.raises(UpstreamRejected):
        adaptor.parse_models((WholeReply(401, {}, b"{}"),))
    with pytest.raises(UpstreamGarbled):
        adaptor.parse_models((WholeReply(200, {}, b"{}"),))
