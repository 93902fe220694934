"""Vertex AI: which protocol serves which model at which address, and access tokens bought with an account's JSON."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from oneapi.data import load_prices
from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.options import Options
from oneapi.relay import convert
from oneapi.relay.adaptor import Credentials, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import vertexai
from oneapi.relay.convert import ClientRequest
from oneapi.relay.exchange import Channel, Route
from oneapi.relay.pricing import PriceList
from oneapi.relay.protocols import anthropic, gemini_embeddings, openai_chat, openai_embeddings, openai_images
from tests.needs import lacking
from tests.relay.adaptors.test_openai_compatible import spec
from tests.relay.protocols.recordings import FOLDER, Recording, recordings
from tests.relay.world import World

(VERTEX,) = vertexai.ADAPTORS
NOW = 1_700_000_000.0
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_PEM = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
SERVICE = {
    "type": "service_account",
    "project_id": "own-project",
    "private_key_id": "kid-1",
    "private_key": _PEM,
    "client_email": "gateway@own-project.iam.gserviceaccount.com",
    "token_uri": "https://oauth2.googleapis.com/token",
}
PERSON = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}


def fields(adc: Any = SERVICE, **more: str) -> dict[str, str]:
    return {"vertex_ai_adc": json.dumps(adc), **more}


def converted(
    model: str, body: Any, *, mode: Any = "chat", base_url: str = "", codec: Any = openai_chat.CODEC, **given: str
) -> UpstreamRequest:
    """What goes to Vertex AI for a client's request."""
    world = World({})
    channel = Channel(id=1, type=42, name="v", adaptor=VERTEX, base_url=base_url, key="", fields={**fields(), **given})
    price = PriceList.of(load_prices(), Options()).price(model, 42)
    assert price is not None
    encoded = json.dumps({"model": model, **body}).encode()
    heads: Any = {"chat": openai_chat.head, "embeddings": openai_embeddings.head, "images": openai_images.head}
    head = anthropic.head(encoded) if codec is anthropic.CODEC else heads[mode](encoded)
    client = ClientRequest(world.call(mode), encoded, codec, head)
    credentials = Credentials(channel.key, channel.fields, "TOKEN")
    return convert.to_upstream(client, Route(channel, model, price), credentials, NOW).request


HI = {"messages": [{"role": "user", "content": "Hello"}]}


def test_number_label_address_and_owner_are_one_apis() -> None:
    (row,) = (row for row in spec()["channels"] if row["id"] == 42)
    assert (VERTEX.label, VERTEX.base_url, VERTEX.owner) == (row["name"], row["base_url"], row["owned_by"])
    assert set(row["config_fields"]) <= {field.name for field in VERTEX.fields}
    assert {field.name for field in VERTEX.fields if field.is_secret} == {"vertex_ai_adc"}


# ---- addresses and bodies ----


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("", "aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_gemini_at_its_region(region: str, host: str) -> None:
    request = converted("gemini-2.5-flash", HI, region=region, vertex_ai_project_id="PROJECT")
    place = f"projects/PROJECT/locations/{region or 'global'}"
    model = "publishers/google/models/gemini-2.5-flash"
    assert request.url == f"https://{host}/v1beta1/{place}/{model}:generateContent"
    assert request.headers["Authorization"] == "Bearer TOKEN"
    body = json.loads(request.body)
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Hello"}]}]
    assert body["safetySettings"][0]["threshold"] == "BLOCK_NONE"
    stream = converted("gemini-2.5-flash", {**HI, "stream": True}, region=region, vertex_ai_project_id="PROJECT")
    assert stream.url == f"https://{host}/v1beta1/{place}/{model}:streamGenerateContent?alt=sse"


def test_the_project_may_come_from_the_credential_and_the_host_from_the_operator() -> None:
    request = converted("gemini-2.5-flash", HI, base_url="https://proxy.example/vertex", api_version="v1")
    assert request.url.startswith("https://proxy.example/vertex/v1/projects/own-project/locations/global/")


def recorded(name: str) -> Recording:
    found = recordings(lambda r: r.name == name) or lacking(f"no recordings in {FOLDER}")
    recording: Recording = found[0].values[0]
    return recording


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("codec", [openai_chat.CODEC, anthropic.CODEC])
def test_claude_is_anthropics_publisher(stream: bool, codec: Any) -> None:
    wanted = recorded(f"documented/vertex/claude-chat{'-stream' if stream else ''}")
    request = converted(
        "claude-sonnet-4-5@20250929",
        {**HI, "max_tokens": 256, **({"stream": True} if stream else {})},
        codec=codec,
        region="us-east5",
        vertex_ai_project_id="PROJECT",
    )
    assert request.url == wanted.url
    body = json.loads(request.body)
    said = body["messages"][0]
    if isinstance(said["content"], list):  # the same in its long form
        (block,) = said["content"]
        body["messages"] = [{**said, "content": block["text"]}]
    assert body == wanted.request


def test_claude_answers_as_anthropic_does() -> None:
    codec = VERTEX.endpoint("claude-sonnet-4-5@20250929", "chat").codec
    assert codec.parse_response is not None and codec.parse_error is not None
    answer = codec.parse_response(json.loads(recorded("documented/vertex/claude-chat").body))
    assert (answer.choices[0].finish_reason, answer.usage and answer.usage.total_tokens) == ("stop", 13)
    google = b'{"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}'
    assert codec.parse_error(429, {}, google).provider_type == "RESOURCE_EXHAUSTED"
    own = b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}'
    assert codec.parse_error(400, {}, own).provider_code == "context_length_exceeded"
    assert codec.parse_error(502, {}, b"bad").message == "bad"


def test_open_models_stand_behind_openais_protocol() -> None:
    model = "meta/llama-4-maverick-17b-128e-instruct-maas"
    request = converted(model, HI, region="us-east5", vertex_ai_project_id="P")
    host = "https://us-east5-aiplatform.googleapis.com"
    assert request.url == f"{host}/v1/projects/P/locations/us-east5/endpoints/openapi/chat/completions"
    assert json.loads(request.body) == {"model": model, **HI}


def test_pictures_are_made_by_geminis_models() -> None:
    request = converted("gemini-3-pro-image", {"prompt": "a cat"}, mode="images", codec=openai_images.CODEC)
    assert request.url.endswith("/publishers/google/models/gemini-3-pro-image:generateContent")
    assert json.loads(request.body)["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]


@pytest.mark.parametrize("model", ["claude-opus-4-5@20251101", "meta/llama-4"])
def test_a_model_that_only_chats_says_so(model: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        VERTEX.endpoint(model, "embeddings")
    assert caught.value.param == "model"


# ---- embeddings ----


def embedding(model: str, texts: Any, **more: Any) -> UpstreamRequest:
    body = {"input": texts, **more}
    request = converted(model, body, mode="embeddings", codec=openai_embeddings.CODEC, region="global")
    flow = VERTEX.endpoint(model, "embeddings").flow
    if flow is None:
        return request
    with pytest.raises(StopIteration) as stopped:
        next(flow(request, Credentials(""), NOW))
    made: UpstreamRequest = stopped.value.value
    return made


def test_text_embeddings_are_predictions() -> None:
    request = embedding("text-embedding-005", ["a", "b"], dimensions=8)
    assert request.url.endswith("/text-embedding-005:predict")
    assert json.loads(request.body) == {
        "instances": [{"content": "a"}, {"content": "b"}],
        "parameters": {"outputDimensionality": 8},
    }


def test_geminis_embeddings_are_asked_for_alone_or_in_batches() -> None:
    one = embedding("gemini-embedding-2", "a", dimensions=8)
    assert one.url.endswith("/gemini-embedding-2:embedContent")
    content = {"parts": [{"text": "a"}]}
    config = {"outputDimensionality": 8}
    assert json.loads(one.body) == {"content": content, "embedContentConfig": config}
    many = embedding("gemini-embedding-2", ["a", "b"])
    assert many.url.endswith("/gemini-embedding-2:batchEmbedContents")
    assert json.loads(many.body) == {"requests": [{"content": content}, {"content": {"parts": [{"text": "b"}]}}]}


def test_counts_of_predictions_are_added_up() -> None:
    row = {"embeddings": {"values": [1, 2], "statistics": {"token_count": 3}}}
    made = gemini_embeddings.parse_predict({"predictions": [row, row]})
    assert (made.vectors, made.usage and made.usage.input_tokens) == (((1.0, 2.0), (1.0, 2.0)), 6)


# ---- access tokens ----


def bought(adc: Any, **more: str) -> UpstreamRequest:
    assert VERTEX.token_request is not None
    request = VERTEX.token_request(Credentials("", fields(adc, **more)), NOW)
    assert request is not None
    return request


def test_a_service_account_claims_its_token_with_its_own_signature() -> None:
    request = bought(SERVICE)
    assert (request.method, request.url) == ("POST", "https://oauth2.googleapis.com/token")
    assert request.headers == {"content-type": "application/x-www-form-urlencoded"}
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claim = jwt.decode(
        form["assertion"],
        _KEY.public_key(),
        ["RS256"],
        audience="https://oauth2.googleapis.com/token",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claim == {
        "iss": SERVICE["client_email"],
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": 1_700_000_000,
        "exp": 1_700_003_600,
    }
    assert jwt.get_unverified_header(form["assertion"]) == {"alg": "RS256", "typ": "JWT", "kid": "kid-1"}


def test_a_person_refreshes_a_token() -> None:
    form = parse_qs(bought(PERSON).body.decode())
    assert form == {
        "grant_type": ["refresh_token"],
        "client_id": ["c"],
        "client_secret": ["s"],
        "refresh_token": ["r"],
    }


@pytest.mark.parametrize(
    ("key", "given"),
    [
        (f"us-east1|in-key|{json.dumps(SERVICE)}", {}),
        (json.dumps(SERVICE), {"region": "us-east1", "vertex_ai_project_id": "in-key"}),
        ("us-east1|in-key|not used", fields()),
    ],
)
def test_the_account_may_stand_in_the_key(key: str, given: dict[str, str]) -> None:
    credentials = Credentials(key, given, "T")
    assert VERTEX.token_request is not None and VERTEX.token_request(credentials, NOW) is not None
    signed = VERTEX.sign(UpstreamRequest(url="https://{host}/{project}/{region}"), credentials, NOW)
    assert signed.url == "https://us-east1-aiplatform.googleapis.com/in-key/us-east1"


@pytest.mark.parametrize(
    "adc",
    [
        {},
        {"type": "external_account"},
        {**SERVICE, "private_key": "no key"},
        {"type": "service_account"},
    ],
)
def test_a_credential_that_cannot_be_used_is_the_channels_fault(adc: Any) -> None:
    with pytest.raises(UpstreamRejected) as caught:
        bought(adc)
    assert caught.value.is_credential
    assert _PEM[50:80] not in caught.value.message


def test_no_project_and_no_json_are_the_channels_fault() -> None:
    for given in (fields(PERSON), {"vertex_ai_adc": "{"}, {"vertex_ai_adc": "[]"}):
        with pytest.raises(UpstreamRejected) as caught:
            VERTEX.sign(UpstreamRequest(url="https://x"), Credentials("", given, "T"), NOW)
        assert caught.value.is_credential


def test_a_token_is_kept_until_its_end() -> None:
    assert VERTEX.parse_token is not None
    reply = WholeReply(200, {}, recorded("documented/vertex/oauth-token").body)
    token = VERTEX.parse_token(reply, NOW)
    assert (token.value, token.expires_at) == ("REDACTED", NOW + 3599)
    with pytest.raises(UpstreamGarbled):
        VERTEX.parse_token(WholeReply(200, {}, b"{}"), NOW)


@pytest.mark.parametrize(("status", "is_credential"), [(400, True), (401, True), (429, False), (503, False)])
def test_a_refused_claim_is_about_the_account_save_when_google_is_busy(status: int, is_credential: bool) -> None:
    body = b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}'
    assert VERTEX.parse_token is not None
    with pytest.raises(UpstreamRejected) as caught:
        VERTEX.parse_token(WholeReply(status, {}, body), NOW)
    assert caught.value.is_credential == is_credential
