"""Amazon Bedrock: Claude and Llama 3 by InvokeModel, every other chat model by Converse, embeddings and reranking.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html,
/latest/userguide/inference-profiles-support.html, /api-keys.html (read 2026-11-25); spec relay.md §8.3.

Credentials are `ak` and `sk` of the channel's fields (with `session_token` for temporary ones), or, where these are
empty, the key: `ak|sk|region` as One API stores it, `ak|sk|region|session token`, or a Bedrock API key, which may be
followed by `|region`. A base URL of the channel's own (an interface endpoint, a proxy) takes the place of Amazon's.

A model is named as Bedrock names it (`amazon.nova-pro-v1:0`, `us.meta.llama4-…`, an ARN), or, of Claude and the Llamas
that One API offers, as elsewhere; then the inference profile that later Claudes need goes before it, that of the
region unless the field `profile` says another. An ARN that does not name its model is spoken to by Converse.

Not carried: a client's `anthropic-beta` header (Bedrock refuses betas it does not know; the body's `anthropic_beta`
goes up). Not offered here: image generation, InvokeModel for other models than those named, and the newer endpoint
bedrock-mantle, which an Anthropic or OpenAI compatible channel reaches by its base URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay.adaptor import (
    Adaptor,
    Credentials,
    Endpoint,
    Field,
    Flow,
    Json,
    Mode,
    Target,
    UpstreamRequest,
    WholeReply,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.protocols import aws_signature, bedrock_converse, bedrock_invoke, bedrock_vectors
from oneapi.relay.protocols.anthropic_models import claude
from oneapi.relay.protocols.bedrock_error import parse_error
from oneapi.relay.protocols.provider_json import dumps, loads

_BASE_URL = "https://bedrock-runtime.{region}.amazonaws.com"
_DEFAULT_REGION = "us-east-1"

# ---- models ----

_IDS: Mapping[str, str] = {
    "claude-instant-1.2": "anthropic.claude-instant-v1",
    "claude-2.0": "anthropic.claude-v2",
    "claude-2.1": "anthropic.claude-v2:1",
    "claude-3-5-sonnet-20241022": "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "claude-3-5-sonnet-latest": "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "claude-3-5-haiku-latest": "anthropic.claude-3-5-haiku-20241022-v1:0",
    "claude-3-7-sonnet-latest": "anthropic.claude-3-7-sonnet-20250219-v1:0",
    "claude-sonnet-4-0": "anthropic.claude-sonnet-4-20250514-v1:0",
    "claude-opus-4-0": "anthropic.claude-opus-4-20250514-v1:0",
    "claude-opus-4-1": "anthropic.claude-opus-4-1-20250805-v1:0",
    "claude-sonnet-4-5": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "claude-haiku-4-5": "anthropic.claude-haiku-4-5-20251001-v1:0",
    "claude-opus-4-5": "anthropic.claude-opus-4-5-20251101-v1:0",
    "claude-opus-4-6": "anthropic.claude-opus-4-6-v1",
    "llama3-8b-8192": "meta.llama3-8b-instruct-v1:0",
    "llama3-70b-8192": "meta.llama3-70b-instruct-v1:0",
}
_DATED = re.compile(r"claude-.*-\d{8}")
_LLAMA_3 = re.compile(r"meta\.llama3-(?:8b|70b)-")
_PROFILE = "{profile}"  # where a profile's prefix goes: it depends on the region, which may stand in the key


def model_id(model: str) -> str:
    """Bedrock's name for a model, with a place for the inference profile where it must be called by one."""
    if known := _IDS.get(model):
        named = known
    elif not model.startswith("claude-"):
        return model
    else:
        named = f"anthropic.{model}-v1:0" if _DATED.fullmatch(model) else f"anthropic.{model}"
    needs_profile = named.startswith("anthropic.") and claude(named).version >= (3, 7)
    return _PROFILE + named if needs_profile else named


def _profile(region: str, asked: str, model: str) -> str:
    if asked:
        return "" if asked == "none" else f"{asked.rstrip('.')}."
    if region.startswith("us-gov-"):
        return "us-gov."
    if region.startswith(("us-", "ca-")):
        return "us."
    if region.startswith("eu-"):
        return "eu."
    return "apac." if region.startswith("ap-") and claude(model).version < (4, 5) else "global."


def endpoint_of(model: str, mode: Mode) -> Endpoint:
    """Raises InvalidRequest for a model that has no such mode."""
    named = model_id(model)
    is_embedding, is_reranker = "embed" in named, "rerank" in named
    if mode == "embeddings" and is_embedding:
        return _EMBEDDINGS
    if mode == "rerank" and is_reranker:
        return _RERANK
    if mode != "chat" or is_embedding or is_reranker:
        raise InvalidRequest(f"The model {model} is not one for {mode}.", param="model")
    if "anthropic.claude" in named:
        return _CLAUDE
    return _LLAMA if _LLAMA_3.search(named) else _CONVERSE


def url(target: Target) -> str:
    """Base URL and path, with the places for region and profile left open for `sign`."""
    named = model_id(target.model)
    prefix = _PROFILE if named.startswith(_PROFILE) else ""
    return target.base_url + target.path.format(model=prefix + quote(named.removeprefix(_PROFILE), safe=""))


# ---- credentials ----


@dataclass(frozen=True, slots=True)
class _Account:
    region: str
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    api_key: str = ""


def _account(credentials: Credentials) -> _Account:
    fields = credentials.fields
    access_key, secret_key = fields.get("ak", ""), fields.get("sk", "")
    parts = [part.strip() for part in credentials.key.split("|")]
    if access_key and secret_key:
        region = fields.get("region") or (parts[2] if len(parts) > 2 else "")
        return _Account(region or _DEFAULT_REGION, access_key, secret_key, fields.get("session_token", ""))
    if len(parts) > 2:
        token = fields.get("session_token") or (parts[3] if len(parts) > 3 else "")
        return _Account(parts[2] or fields.get("region") or _DEFAULT_REGION, parts[0], parts[1], token)
    region = (parts[1] if len(parts) > 1 else "") or fields.get("region", "")
    return _Account(region or _DEFAULT_REGION, api_key=parts[0])


# Headers of a client that mean something to other providers only, and those of an earlier signature.
_NOT_FOR_AMAZON = ("anthropic-beta", "anthropic-version", "openai-beta", "authorization")
_PLACE = re.compile(r"\{profile\}([^/]+)")


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """Signature Version 4, or the API key as bearer; the region and the profile are filled in."""
    account = _account(credentials)
    asked = credentials.fields.get("profile", "")
    address = _PLACE.sub(
        lambda found: _profile(account.region, asked, unquote(found[1])) + found[1],
        request.url.replace("{region}", account.region),
    )
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers = {name: value for name, value in headers.items() if name not in _NOT_FOR_AMAZON}
    is_stream = address.endswith("-stream")
    headers["accept"] = "application/vnd.amazon.eventstream" if is_stream else "application/json"
    if address.endswith("/invoke-with-response-stream"):
        headers["x-amzn-bedrock-accept"] = "application/json"
    request = replace(request, url=address, headers=headers)
    if account.api_key:
        return request.with_headers(authorization=f"Bearer {account.api_key}")
    return aws_signature.sign(
        request,
        now,
        access_key=account.access_key,
        secret_key=account.secret_key,
        session_token=account.session_token,
        region=account.region,
        service="bedrock",
    )


# ---- embeddings: a call for each text, or for each 96 ----


def embed_each(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """Calls with the bodies that the codec listed, one after the other; the answer is the list of their answers."""
    answers: list[Json] = []
    for body in loads(request.body)["each"]:
        reply = yield sign(replace(request, body=dumps(body)), credentials, now)
        assert reply is not None
        if reply.status != 200:
            return reply
        answer = loads(reply.body)
        count = reply.headers.get("x-amzn-bedrock-input-token-count", "")
        if bedrock_vectors.TOKEN_COUNT not in answer and count.isdigit():
            answer[bedrock_vectors.TOKEN_COUNT] = int(count)
        answers.append(answer)
    return WholeReply(200, {"content-type": "application/json"}, dumps({"answers": answers}))


# ---- the list of models ----


def models_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    """The control plane's two lists: models, and the inference profiles by which later ones are called."""
    plane = base_url.replace("bedrock-runtime.", "bedrock.")
    paths = ("/foundation-models", "/inference-profiles?maxResults=1000")
    return tuple(sign(UpstreamRequest(method="GET", url=plane + path), credentials, now) for path in paths)


def parse_models(replies: tuple[WholeReply, ...]) -> tuple[str, ...]:
    """Ids of models that can be called on demand, and of profiles. Raises UpstreamRejected or UpstreamGarbled."""
    found: list[str] = []
    for reply, rows, name in zip(
        replies,
        ("modelSummaries", "inferenceProfileSummaries"),
        ("modelId", "inferenceProfileId"),
        strict=True,
    ):
        if reply.status != 200:
            raise parse_error(reply.status, reply.headers, reply.body)
        listed = loads(reply.body).get(rows)
        if not isinstance(listed, list):
            raise UpstreamGarbled("The provider's list of models has no rows.")
        found += [str(row[name]) for row in listed if isinstance(row, dict) and name in row and _is_callable(row)]
    return tuple(found)


def _is_callable(row: Json) -> bool:
    kinds = row.get("inferenceTypesSupported")
    return not isinstance(kinds, list) or "ON_DEMAND" in kinds


_INVOKE, _INVOKE_STREAM = "/model/{model}/invoke", "/model/{model}/invoke-with-response-stream"
_CLAUDE = Endpoint(path=_INVOKE, stream_path=_INVOKE_STREAM, codec=bedrock_invoke.CLAUDE, framing="aws")
_LLAMA = Endpoint(path=_INVOKE, stream_path=_INVOKE_STREAM, codec=bedrock_invoke.LLAMA, framing="aws")
_CONVERSE = Endpoint(
    path="/model/{model}/converse",
    stream_path="/model/{model}/converse-stream",
    codec=bedrock_converse.CODEC,
    framing="aws",
)
_EMBEDDINGS = Endpoint(path=_INVOKE, codec=bedrock_vectors.EMBEDDINGS, flow=embed_each)
_RERANK = Endpoint(path=_INVOKE, codec=bedrock_vectors.RERANK)

ADAPTORS = (
    Adaptor(
        type=33,
        name="bedrock",
        label="AWS Bedrock",
        base_url=_BASE_URL,
        endpoints={"chat": _CONVERSE, "embeddings": _EMBEDDINGS, "rerank": _RERANK},
        endpoint_of=endpoint_of,
        url=url,
        sign=sign,
        accepts=frozenset({"images", "audio", "files"}),
        has_stream_options=False,
        fields=(
            Field(name="region", label="Region", hint=_DEFAULT_REGION),
            Field(name="ak", label="Access key id", is_secret=True),
            Field(name="sk", label="Secret access key", is_secret=True),
            Field(name="session_token", label="Session token", hint="For temporary credentials.", is_secret=True),
            Field(
                name="profile",
                label="Inference profile",
                hint="us, eu, apac, jp, au, global or none; empty: that of the region.",
            ),
        ),
        key_hint="A Bedrock API key, or ak|sk|region",
        owner="aws",
        models=default_models(33),
        models_requests=models_requests,
        parse_models=parse_models,
    ),
)
