"""Google Vertex AI: Gemini, Claude, embeddings, and the open models of its Model Garden.

Source: https://cloud.google.com/vertex-ai/generative-ai/docs (read 2026-11-25), the google-genai SDK 3.6 and
Anthropic's SDK 2.13 (hosts and paths); spec relay.md §8.5. Which protocol serves a model is told by its name: claude-…
is Anthropic's, publisher/model is an open model behind an OpenAI-compatible endpoint, all others are Google's.

An access token is bought with the account's JSON: of a service account by a signed claim
(https://developers.google.com/identity/protocols/oauth2/service-account#httprest), of a person (what `gcloud auth
application-default login` writes) by the refresh token. The JSON stands in the field `vertex_ai_adc`, or in the key,
alone or as One API's front end wrote it: region|project|JSON. The project may also come from the JSON.

Not offered: other kinds of credentials (workload identity, API keys of express mode), pictures by Imagen (switched off
on 2026-08-17), and what Google AI Studio's adaptor does not offer either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay.adaptor import (
    Adaptor,
    BoughtToken,
    Credentials,
    Edit,
    Endpoint,
    Field,
    Headers,
    Mode,
    Target,
    UpstreamRequest,
    WholeReply,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.edits import drop, setting
from oneapi.relay.protocols import (
    anthropic,
    anthropic_error,
    gemini,
    gemini_embeddings,
    gemini_error,
    gemini_images,
    gemini_safety,
    openai_chat,
    provider_error,
)
from oneapi.relay.protocols.provider_json import loads

VERSION = "v1beta1"  # what Google's own SDK uses for Gemini
ANTHROPIC_VERSION = "vertex-2023-10-16"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TOKEN_URI = "https://oauth2.googleapis.com/token"
_CLAIM_S = 3600


# ---- the account ----


@dataclass(frozen=True, slots=True)
class _Account:
    region: str
    project: str
    adc: Mapping[str, Any]  # Google's JSON of a credential


def account(credentials: Credentials) -> _Account:
    """The channel's account. Raises UpstreamRejected, about the credential, where its JSON is none."""
    fields, key = credentials.fields, credentials.key.strip()
    region, project, text = (fields.get(name, "").strip() for name in _FIELDS)
    if key.count("|") >= 2:  # as One API's front end stores it beside the fields
        in_key = [piece.strip() for piece in key.split("|", 2)]
        region, project, text = region or in_key[0], project or in_key[1], text or in_key[2]
    elif key.startswith("{"):
        text = text or key
    adc: Any = {}
    if text:
        try:
            adc = json.loads(text)
        except ValueError:
            adc = None
        if not isinstance(adc, dict):
            raise _unusable("The channel's Google credential is not a JSON object.")
    project = project or str(adc.get("project_id") or adc.get("quota_project_id") or "")
    return _Account(region or "global", project, adc)


_FIELDS = ("region", "vertex_ai_project_id", "vertex_ai_adc")


def _unusable(message: str) -> UpstreamRejected:
    return UpstreamRejected(message, upstream_status=401, provider_type="authentication_error")


def host(region: str) -> str:
    if region == "global":
        return "aiplatform.googleapis.com"
    if region in ("us", "eu"):
        return f"aiplatform.{region}.rep.googleapis.com"
    return f"{region}-aiplatform.googleapis.com"


# ---- access tokens ----


def token_request(credentials: Credentials, now: float) -> UpstreamRequest:
    """The request that buys an access token. Raises UpstreamRejected where the account cannot."""
    adc = account(credentials).adc
    form: dict[str, str]
    match adc.get("type"):
        case "service_account":
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": _claim(adc, now),
            }
        case "authorized_user":
            form = {
                "grant_type": "refresh_token",
                **{name: str(adc.get(name) or "") for name in ("client_id", "client_secret", "refresh_token")},
            }
        case None:
            raise _unusable("The channel has no Google credential.")
        case kind:
            raise _unusable(f"A Google credential of type {kind} cannot be used here.")
    return UpstreamRequest(
        url=_token_uri(adc),
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
    )


def _token_uri(adc: Mapping[str, Any]) -> str:
    return str(adc.get("token_uri") or _TOKEN_URI)


def _claim(adc: Mapping[str, Any], now: float) -> str:
    """The account's claim on a token, signed with its key."""
    import jwt  # with the cryptography below it, of no use to anybody else

    claim = {
        "iss": adc.get("client_email"),
        "scope": _SCOPE,
        "aud": _token_uri(adc),
        "iat": int(now),
        "exp": int(now) + _CLAIM_S,
    }
    try:
        return jwt.encode(claim, adc["private_key"], "RS256", headers={"kid": adc.get("private_key_id")})
    except (KeyError, TypeError, ValueError, jwt.PyJWTError) as error:
        raise _unusable("The channel's Google credential has no usable private key.") from error


def parse_token(reply: WholeReply, now: float) -> BoughtToken:
    """Raises UpstreamRejected for a refusal, UpstreamGarbled for an answer without a token."""
    if reply.status != 200:
        refusal = provider_error.parse_error(reply.status, reply.headers, reply.body)
        if 400 <= reply.status < 500 and reply.status not in (408, 429):
            raise _unusable(f"Google gives no access token: {refusal.message}")
        raise refusal
    body = loads(reply.body)
    token, lives_s = body.get("access_token"), body.get("expires_in")
    if not isinstance(token, str) or not isinstance(lives_s, int | float):
        raise UpstreamGarbled("Google's answer has no access token.")
    return BoughtToken(token, now + lives_s)


# ---- requests ----


def url(target: Target) -> str:
    """The endpoint's URL; host, region and project are filled in by `sign`, for the key may hold them."""
    base = target.base_url or "https://{host}"
    version = target.fields.get("api_version") or VERSION
    return base + target.path.replace("{model}", target.model).replace("{api_version}", version)


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """Raises UpstreamRejected, about the credential, where no project is named."""
    found = account(credentials)
    if not found.project:
        raise _unusable("The channel names no Google Cloud project.")
    filled = (
        request.url.replace("{host}", host(found.region))
        .replace("{region}", found.region)
        .replace("{project}", found.project)
    )
    return replace(request, url=filled, headers={**request.headers, "Authorization": f"Bearer {credentials.token}"})


def edits(model: str, mode: Mode) -> tuple[Edit, ...]:
    """Claude's model stands in the URL, and its version in the body."""
    return (drop("model"), setting("anthropic_version", ANTHROPIC_VERSION)) if _is_claude(model) else ()


def field_edits(fields: Mapping[str, str], model: str, mode: Mode) -> tuple[Edit, ...]:
    is_gemini = mode in ("chat", "images") and not _is_claude(model) and "/" not in model
    return gemini_safety.edits(fields) if is_gemini else ()


def reads_url(url: str) -> bool:
    return url.startswith(("https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"))


# ---- endpoints ----


def _claude_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """Anthropic's own words, or Google's, whose errors have a status in words."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    outer = value[0] if isinstance(value, list) and value else value
    error = outer.get("error") if isinstance(outer, dict) else None
    is_googles = isinstance(error, dict) and "status" in error
    return (gemini_error.parse_error if is_googles else anthropic_error.parse_error)(status, headers, body)


_PLACE = "projects/{project}/locations/{region}"
_GOOGLE = f"/{{api_version}}/{_PLACE}/publishers/google/models/{{model}}"
_CLAUDE = f"/v1/{_PLACE}/publishers/anthropic/models/{{model}}"

_CHAT = Endpoint(
    path=f"{_GOOGLE}:generateContent", stream_path=f"{_GOOGLE}:streamGenerateContent?alt=sse", codec=gemini.CODEC
)
_CLAUDE_CHAT = Endpoint(
    path=f"{_CLAUDE}:rawPredict",
    stream_path=f"{_CLAUDE}:streamRawPredict",
    codec=replace(anthropic.CODEC, parse_error=_claude_error),
)
_OPEN_CHAT = Endpoint(
    path=f"/v1/{_PLACE}/endpoints/openapi/chat/completions",
    codec=replace(openai_chat.CODEC, parse_error=gemini_error.parse_error),
)
_IMAGES = Endpoint(path=f"{_GOOGLE}:generateContent", codec=gemini_images.CODEC, flow=gemini_images.repeated)
_GEMINI_EMBEDDINGS = Endpoint(
    path=f"{_GOOGLE}:batchEmbedContents",
    codec=gemini_embeddings.VERTEX_BATCH,
    flow=gemini_embeddings.one_or_many,
)
_EMBEDDINGS = Endpoint(path=f"{_GOOGLE}:predict", codec=gemini_embeddings.PREDICT)
_ENDPOINTS: Mapping[Mode, Endpoint] = {"chat": _CHAT, "embeddings": _EMBEDDINGS, "images": _IMAGES}


def _is_claude(model: str) -> bool:
    return model.startswith("claude")


def endpoint_of(model: str, mode: Mode) -> Endpoint:
    """Raises InvalidRequest for a mode that this model does not have."""
    if mode == "chat":
        return _CLAUDE_CHAT if _is_claude(model) else _OPEN_CHAT if "/" in model else _CHAT
    if _is_claude(model) or "/" in model:
        raise InvalidRequest(f"{model} offers chat alone on Vertex AI.", param="model")
    if mode == "embeddings" and model.startswith("gemini"):
        return _GEMINI_EMBEDDINGS
    return _ENDPOINTS[mode]


ADAPTORS = (
    Adaptor(
        type=42,
        name="vertexai",
        label="Google Vertex AI",
        endpoints=_ENDPOINTS,
        endpoint_of=endpoint_of,
        url=url,
        sign=sign,
        edits=edits,
        field_edits=field_edits,
        accepts=frozenset({"images", "audio", "files"}),
        reads_url=reads_url,
        fields=(
            Field(name="region", label="Region", hint="For instance us-central1, us, eu; global where it is empty."),
            Field(name="vertex_ai_project_id", label="Project", hint="Else that of the credential."),
            Field(
                name="vertex_ai_adc",
                label="Credential (JSON)",
                hint="The JSON of a service account, or of application-default credentials.",
                is_secret=True,
            ),
            Field(name="api_version", label="API version of Gemini models", default=VERSION),
            gemini_safety.FIELD,
        ),
        key_hint="Leave it to the fields, or region|project|JSON",
        owner="vertexai",
        models=default_models(42),
        note="Without a base URL the region's own host is asked.",
        token_request=token_request,
        parse_token=parse_token,
    ),
)
