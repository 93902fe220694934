"""OpenAI's own Python client against the running program."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests import replay
from tests.street.showcase import MAPPED, PROMPT, PROMPTED, SHY, VIP, Showcase

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("get_country", "get_product_name", "get_capital")
]


@pytest.fixture
def client(showcase: Showcase) -> Iterator[OpenAI]:
    with client_of(showcase, showcase.key) as made:
        yield made


def client_of(showcase: Showcase, key: str, **more: Any) -> OpenAI:
    return OpenAI(api_key=key, base_url=f"{showcase.url}/v1", max_retries=0, timeout=30, **more)


# ---- models ----


def test_models_are_listed_and_retrieved(client: OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert ids == sorted(set(ids))
    assert "chat" in ids
    assert VIP not in ids
    for name in ("chat", "meta-llama/Llama-3.3-70B-Instruct:free"):
        assert client.models.retrieve(name).id == name


def test_unknown_models_and_other_groups_models_are_not_found(client: OpenAI) -> None:
    for name in ("no-such-model", "no/such/model", VIP):
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve(name)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_group_sees_its_own_models(showcase: Showcase) -> None:
    key = showcase.console.token(showcase.console.user(group="vip"))
    with client_of(showcase, key) as client:
        assert [model.id for model in client.models.list()] == [VIP]
        assert client.chat.completions.create(model=VIP, messages=HI).choices


def test_a_token_limited_to_models_sees_those(showcase: Showcase) -> None:
    key = showcase.console.token(showcase.user, models="chat,embed")
    with client_of(showcase, key) as client:
        assert [model.id for model in client.models.list()] == ["chat", "embed"]
        assert client.models.retrieve("embed").owned_by == "openai"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("speech")


# ---- chat ----


def test_a_chat_is_answered_as_recorded(client: OpenAI, showcase: Showcase) -> None:
    for model in ("chat", "logprobs", "refusal"):
        answer = client.chat.completions.create(model=model, messages=HI)
        assert answer.model_dump(exclude_unset=True) == showcase.recorded(model)


def test_parallel_tool_calls(client: OpenAI, showcase: Showcase) -> None:
    answer = client.chat.completions.create(model="tools", messages=HI, tools=TOOLS)
    message = showcase.recorded("tools")["choices"][0]["message"]
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert [call.model_dump() for call in calls] == message["tool_calls"]
    assert len(calls) > 1


def chunks_of(recorded: bytes) -> list[Any]:
    """The recorded chunks, as the provider sent them."""
    frames = [frame.strip() for frame in replay.pieces(recorded, "text/event-stream") or []]
    return [json.loads(frame[6:]) for frame in frames if frame.startswith(b"data: {")]


@pytest.mark.parametrize("is_usage_wanted", [True, False])
@pytest.mark.parametrize("model", ["chat-stream", "tools-stream", "usage-stream"])
def test_a_stream_is_told_as_recorded(client: OpenAI, showcase: Showcase, model: str, is_usage_wanted: bool) -> None:
    wishes: Any = {"stream_options": {"include_usage": True}} if is_usage_wanted else {}
    with client.chat.completions.create(model=model, messages=HI, stream=True, **wishes) as stream:
        told = [chunk.model_dump(exclude_unset=True) for chunk in stream]
    recorded = chunks_of(showcase.recorded(model))
    assert recorded[-1]["usage"]["total_tokens"] > 0
    assert recorded[-1]["choices"] == []
    assert told == (recorded if is_usage_wanted else recorded[:-1])


def test_tool_calls_of_a_stream_are_put_together_by_the_sdk(client: OpenAI, showcase: Showcase) -> None:
    with client.chat.completions.stream(model="tools-stream", messages=HI, tools=TOOLS) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert len(message.tool_calls) > 1
    arguments: dict[int, str] = {}
    for chunk in chunks_of(showcase.recorded("tools-stream")):
        for choice in chunk["choices"]:
            for call in choice["delta"].get("tool_calls") or ():
                arguments[call["index"]] = arguments.get(call["index"], "") + call["function"]["arguments"]
    assert [call.function.arguments for call in message.tool_calls] == list(arguments.values())


def test_request_ids_are_in_headers_and_the_providers_own_is_kept(client: OpenAI, showcase: Showcase) -> None:
    raw = client.chat.completions.with_raw_response.create(model="tools", messages=HI)
    assert raw.parse()._request_id == "req_cd30db7dcceb6259d2a7f96526bfb943"
    row = showcase.console.log_row(raw.headers["x-oneapi-request-id"])
    assert row is not None
    assert row["model_name"] == "tools"
    assert raw.headers["x-ratelimit-limit-tokens"] == "150000000"


# ---- the other modes ----


def test_completions(client: OpenAI, showcase: Showcase) -> None:
    whole = client.completions.create(model="completions", prompt="hi")
    assert whole.choices[0].text == showcase.recorded("completions")["choices"][0]["text"]
    with client.completions.create(model="completions-stream", prompt="hi", stream=True) as stream:
        told = "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
    recorded = chunks_of(showcase.recorded("completions-stream"))
    assert told == "".join(chunk["choices"][0]["text"] for chunk in recorded if chunk["choices"])


def test_embeddings_on_both_paths(client: OpenAI, showcase: Showcase) -> None:
    recorded = showcase.recorded("embed")["data"][0]["embedding"]
    raw = base64.b64decode(recorded)
    numbers = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    assert client.embeddings.create(model="embed", input="hi").data[0].embedding == numbers
    with client_of(showcase, showcase.key) as engine:
        engine.base_url = f"{showcase.url}/v1/engines/text-embedding-3-small/"
        answer = engine.post("/embeddings", body={"input": "hi"}, cast_to=openai.types.CreateEmbeddingResponse)
        assert answer.data[0].embedding == [0.5, -0.5]
    path, _, sent = showcase.last_sent
    assert path == "/v1/embeddings"
    assert json.loads(sent) == {"input": "hi", "model": "text-embedding-3-small"}


def test_images(client: OpenAI, showcase: Showcase) -> None:
    pictures = client.images.generate(model="image-b64", prompt="a cat")
    assert pictures.data is not None
    assert pictures.data[0].b64_json == showcase.recorded("image-b64")["data"][0]["b64_json"]
    pictures = client.images.generate(model="image-url", prompt="a cat", size="256x256")
    assert pictures.data is not None
    assert pictures.data[0].url == showcase.recorded("image-url")["data"][0]["url"]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_image_edits_and_variations_carry_the_picture(client: OpenAI, showcase: Showcase) -> None:
    picture = bytes(range(256)) * 40
    edited = client.images.edit(model="image-edit", prompt="green", image=("a.png", picture, "image/png"))
    assert edited.data is not None
    assert edited.data[0].b64_json == showcase.recorded("image-edit")["data"][0]["b64_json"]
    varied = client.images.create_variation(model="dall-e-2", image=("a.png", picture, "image/png"))
    assert varied.data is not None
    path, headers, sent = showcase.last_sent
    assert path == "/v1/images/variations"
    assert picture in sent
    assert headers["content-type"].startswith("multipart/form-data; boundary=")


def test_speech(client: OpenAI, showcase: Showcase) -> None:
    recorded = showcase.recorded("speech")
    assert client.audio.speech.create(model="speech", input="hi", voice="alloy").content == recorded
    wishes = client.audio.speech.with_streaming_response
    with wishes.create(model="speech", input="hi", voice="alloy") as sound:
        assert b"".join(sound.iter_bytes()) == recorded
        assert sound.headers["content-type"] == "audio/mpeg"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_transcriptions_and_translations_carry_the_sound(client: OpenAI, showcase: Showcase) -> None:
    sound = bytes(range(256)) * 100
    recording = ("a.mp3", sound, "audio/mpeg")
    answer = client.audio.transcriptions.create(model="transcription", file=recording)
    assert answer.text == showcase.recorded("transcription")["text"]
    with client.audio.transcriptions.create(model="transcription-stream", file=recording, stream=True) as stream:
        last = list(stream)[-1]
    assert last.type == "transcript.text.done"
    assert last.text == chunks_of(showcase.recorded("transcription-stream"))[-1]["text"]
    assert client.audio.translations.create(model="whisper-1", file=recording).text
    path, _, sent = showcase.last_sent
    assert path == "/v1/audio/translations"
    assert sound in sent


def test_moderations(client: OpenAI, showcase: Showcase) -> None:
    answer = client.moderations.create(model="moderation", input="hi")
    assert answer.results[0].flagged == showcase.recorded("moderation")["results"][0]["flagged"]


# ---- errors, as the SDK knows them ----


def refusal(error: openai.APIStatusError) -> str:
    """The error's message without its request id, which must be that of the header."""
    assert isinstance(error.body, dict)
    message: str = error.body["message"]
    suffix = f" (request id: {error.response.headers['x-oneapi-request-id']})"
    assert message.endswith(suffix)
    return message.removesuffix(suffix)


def chat_error(showcase: Showcase, key: str, kind: type[openai.APIStatusError], model: str = "chat") -> Any:
    with client_of(showcase, key) as client, pytest.raises(kind) as caught:
        client.chat.completions.create(model=model, messages=HI)
    return caught.value


def test_authentication_errors(showcase: Showcase) -> None:
    console, user = showcase.console, showcase.user
    now = int(time.time())
    keys = {
        "sk-nobody": "The API key is invalid",
        console.token(user, expired_time=now - 10): "has expired",
        console.token(user, unlimited_quota=False, remain_quota=0): "used up",
    }
    for key, words in keys.items():
        assert words in refusal(chat_error(showcase, key, openai.AuthenticationError))
    disabled = console.call("POST", "/api/token/", {"name": "off"}, session=user.session)
    console.call("PUT", "/api/token/?status_only=1", {"id": disabled["id"], "status": 2}, session=user.session)
    error = chat_error(showcase, f"sk-{disabled['key']}", openai.AuthenticationError)
    assert "not usable" in refusal(error)


def test_permission_errors(showcase: Showcase) -> None:
    console = showcase.console
    limited = console.token(showcase.user, models="embed")
    assert "may not use the model chat" in refusal(chat_error(showcase, limited, openai.PermissionDeniedError))
    elsewhere = console.token(showcase.user, subnet="192.0.2.0/24")
    assert "192.0.2.0/24" in refusal(chat_error(showcase, elsewhere, openai.PermissionDeniedError))
    nearby = console.token(showcase.user, subnet="192.0.2.0/24, 127.0.0.0/8")
    with client_of(showcase, nearby) as client:
        client.chat.completions.create(model="chat", messages=HI)
    banned = console.user()
    key = console.token(banned)
    console.manage(banned.username, "disable")
    assert "banned" in refusal(chat_error(showcase, key, openai.PermissionDeniedError))
    suffixed = f"{showcase.key}-{showcase.channels['chat']}"
    assert "administrators" in refusal(chat_error(showcase, suffixed, openai.PermissionDeniedError))


@pytest.mark.parametrize("who", ["user", "token"])
def test_an_empty_purse_is_a_permission_error(showcase: Showcase, who: str) -> None:
    console = showcase.console
    poor = console.user(quota=1 if who == "user" else 10**6)
    limits = {} if who == "user" else {"unlimited_quota": False, "remain_quota": 1}
    error = chat_error(showcase, console.token(poor, **limits), openai.PermissionDeniedError)
    refusal(error)
    code = "insufficient_user_quota" if who == "user" else "pre_consume_token_quota_failed"
    assert (error.code, error.type) == (code, "one_api_error")


def test_a_rate_limit_keeps_the_providers_words_and_the_time_to_wait(showcase: Showcase) -> None:
    error = chat_error(showcase, showcase.key, openai.RateLimitError, "mock-e429")
    assert refusal(error) == "mock fault 429"
    assert (error.code, error.type) == ("mock_429", "rate_limit_error")
    assert error.response.headers["retry-after"] == "1"


def test_not_found(showcase: Showcase, client: OpenAI) -> None:
    error = chat_error(showcase, showcase.key, openai.NotFoundError, "error-404")
    assert refusal(error) == "The model `gpt-5.2-proo` does not exist or you do not have access to it."
    assert error.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(GET /v1/nothing\)"):
        client.get("/nothing", cast_to=object)


def test_bad_requests(showcase: Showcase, client: OpenAI) -> None:
    error = chat_error(showcase, showcase.key, openai.BadRequestError, "error-400")
    assert "does not support 'system'" in refusal(error)
    assert (error.code, error.param) == ("unsupported_value", "messages[0].role")
    error = chat_error(showcase, showcase.key, openai.BadRequestError, "error-context-length")
    assert error.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="chat", messages=[])
    assert caught.value.param == "messages"
    with pytest.raises(openai.APIStatusError) as large:
        client.embeddings.create(model="embed", input="x" * (1 << 20))
    assert large.value.status_code == 413


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("mock-e500", 500, "mock_500"),
        ("mock-e503", 503, "mock_503"),
        ("error-500", 500, None),
        ("error-html", 502, "bad_response_status_code"),
        ("error-401", 502, "upstream_credential_rejected"),
        ("no-such-model", 503, None),
    ],
)
def test_server_errors(showcase: Showcase, model: str, status: int, code: str | None) -> None:
    error = chat_error(showcase, showcase.key, openai.InternalServerError, model)
    assert (error.status_code, error.code) == (status, code)
    assert refusal(error)


def test_a_stream_that_breaks_raises_after_what_came(client: OpenAI) -> None:
    told = []
    with (
        pytest.raises(openai.APIError, match="provider"),
        client.chat.completions.create(model="mock-n4-cut", messages=HI, stream=True) as stream,
    ):
        told += [chunk.choices[0].delta.content for chunk in stream]
    assert len(told) <= 2


def test_the_sdk_retries_what_it_is_told_to_retry(showcase: Showcase) -> None:
    with client_of(showcase, showcase.key).with_options(max_retries=1) as client:
        began = time.monotonic()
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="mock-e429", messages=HI)
        assert time.monotonic() - began >= 1  # by Retry-After


# ---- what an operator arranges ----


def test_an_administrator_may_choose_the_channel(showcase: Showcase) -> None:
    """The channel's models and groups do not matter then."""
    with client_of(showcase, f"{showcase.admin_key}-{showcase.channels[VIP]}") as client:
        raw = client.chat.completions.with_raw_response.create(model="whatever", messages=HI)
    row = showcase.console.log_row(raw.headers["x-oneapi-request-id"])
    assert row is not None
    assert (row["channel_id"], row["model_name"]) == (showcase.channels[VIP], "whatever")


def test_a_channel_that_does_not_exist_may_not_be_chosen(showcase: Showcase) -> None:
    error = chat_error(showcase, f"{showcase.admin_key}-99999", openai.PermissionDeniedError)
    assert "99999" in refusal(error)


def test_a_mapped_model_is_what_the_provider_is_asked_for(client: OpenAI, showcase: Showcase) -> None:
    extra: Any = {"of_my_own": {"kept": [1, 2.50]}}
    raw = client.chat.completions.with_raw_response.create(model=MAPPED, messages=HI, extra_body=extra)
    _, _, sent = showcase.last_sent
    assert json.loads(sent) == {"messages": HI, "model": "gpt-4o-mini", **extra}
    row = showcase.console.log_row(raw.headers["x-oneapi-request-id"])
    assert row is not None
    assert (row["model_name"], row["requested_model"]) == ("gpt-4o-mini", MAPPED)
    client.audio.speech.create(model=MAPPED, input="hi", voice="alloy")
    assert json.loads(showcase.last_sent[2])["model"] == "gpt-4o-mini"
    client.audio.transcriptions.create(model=MAPPED, file=("a.mp3", b"sound", "audio/mpeg"))
    (model,) = (p["text"] for p in form_sent(showcase) if p["name"] == "model")
    assert model == "gpt-4o-mini"


def form_sent(showcase: Showcase) -> list[Any]:
    _, headers, sent = showcase.last_sent
    return replay.multipart(sent, headers["content-type"]) or []


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_a_forced_prompt_takes_the_place_of_the_clients(client: OpenAI, showcase: Showcase, role: Any) -> None:
    messages: Any = [{"role": role, "content": "first"}, {"role": "user", "content": "hi"}]
    raw = client.chat.completions.with_raw_response.create(model=PROMPTED, messages=messages)
    own = messages if role == "user" else messages[1:]
    first = {"role": "system" if role == "user" else role, "content": PROMPT}
    assert json.loads(showcase.last_sent[2])["messages"] == [first, *own]
    row = showcase.console.log_row(raw.headers["x-oneapi-request-id"])
    assert row is not None
    assert row["system_prompt_reset"] == 1


def test_usage_is_asked_for_where_it_must_be_and_kept_from_who_did_not_ask(client: OpenAI, showcase: Showcase) -> None:
    with client.chat.completions.create(model=SHY, messages=HI, stream=True) as stream:
        chunks = list(stream)
        request_id = stream.response.headers["x-oneapi-request-id"]
    assert json.loads(showcase.last_sent[2])["stream_options"] == {"include_usage": True}
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    row = showcase.console.log_row(request_id)
    assert row is not None
    assert (row["prompt_tokens"], row["completion_tokens"]) == (7, 3)


# ---- keys in other places ----


@pytest.mark.parametrize("name", ["Authorization", "authorization", "x-api-key", "api-key", "x-goog-api-key", "?key="])
def test_keys_are_found_wherever_an_sdk_puts_them(showcase: Showcase, name: str) -> None:
    headers: Any = {"Authorization": openai.Omit()}
    query = {"key": showcase.key, "kept": "1"} if name == "?key=" else {}
    if name.lower() == "authorization":
        headers = {name: f"bearer {showcase.key}"}
    elif not query:
        headers[name] = showcase.key
    with client_of(showcase, "nobody") as client:
        client.chat.completions.create(model="granted", messages=HI, extra_headers=headers, extra_query=query)
    path, sent, _ = showcase.last_sent
    assert path == "/v1/chat/completions" + ("?kept=1" if query else "")
    assert sent["authorization"].startswith("Bearer sk-upstream")
    assert showcase.key.removeprefix("sk-") not in f"{path}{sent}"
