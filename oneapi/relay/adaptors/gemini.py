"""Google AI Studio's Gemini API, native.

Source: https://ai.google.dev/api (read 2026-11-25); spec relay.md §8.4. Today all models are reached at v1beta, and v1
lacks JSON schemas and system instructions: so v1beta serves where neither the channel nor
GEMINI_VERSION says otherwise.

Pictures and documents by URL are fetched and sent as bytes, save what only Google can read: its own store of files,
Google Cloud storage, and YouTube.

Not offered by generateContent in OpenAI's forms: edits and variations of pictures, speech and transcription (chat with
pictures and audio in and out does them), moderation, rerank, completions. There is no balance query.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from oneapi.errors import UpstreamGarbled
from oneapi.relay.adaptor import (
    Adaptor,
    Credentials,
    Edit,
    Endpoint,
    Field,
    Json,
    Mode,
    Target,
    UpstreamRequest,
    WholeReply,
    header_key,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.protocols import gemini, gemini_embeddings, gemini_images, gemini_safety
from oneapi.relay.protocols.gemini_error import parse_error
from oneapi.relay.protocols.provider_json import loads

VERSION = "v1beta"

_sign = header_key("x-goog-api-key")


def url(target: Target) -> str:
    """The model's path at the channel's API version; a model may be a whole resource name (tunedModels/…)."""
    version = target.fields.get("api_version") or VERSION
    model = target.model if "/" in target.model else f"models/{target.model}"
    return f"{target.base_url}/{version}/{model}{target.path}"


def reads_url(url: str) -> bool:
    """Whether only Google can read what is at this URL."""
    host = urlsplit(url).hostname or ""
    return host in ("generativelanguage.googleapis.com", "youtu.be", "youtube.com", "www.youtube.com")


def field_edits(fields: Mapping[str, str], model: str, mode: Mode) -> tuple[Edit, ...]:
    return gemini_safety.edits(fields) if mode in ("chat", "images") else ()


def models_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    """All models in one page."""
    version = credentials.fields.get("api_version") or VERSION
    request = UpstreamRequest(method="GET", url=f"{base_url}/{version}/models?pageSize=1000")
    return (_sign(request, credentials, now),)


_ACTIONS = frozenset({"generateContent", "embedContent"})


def parse_models(replies: tuple[WholeReply, ...]) -> tuple[str, ...]:
    """Names of the models that chat or embed. Raises UpstreamRejected or UpstreamGarbled."""
    (reply,) = replies
    if reply.status != 200:
        raise parse_error(reply.status, reply.headers, reply.body)
    rows = loads(reply.body).get("models")
    if not isinstance(rows, list):
        raise UpstreamGarbled("The provider's list of models has no rows.")
    return tuple(str(row.get("name")).removeprefix("models/") for row in rows if _is_offered(row))


def _is_offered(row: Json) -> bool:
    actions = row.get("supportedGenerationMethods")
    return not _ACTIONS.isdisjoint(actions if isinstance(actions, list) else ())


ADAPTORS = (
    Adaptor(
        type=24,
        name="gemini",
        label="Google Gemini (native)",
        base_url="https://generativelanguage.googleapis.com",
        endpoints={
            "chat": Endpoint(path=":generateContent", stream_path=":streamGenerateContent?alt=sse", codec=gemini.CODEC),
            "embeddings": Endpoint(path=":batchEmbedContents", codec=gemini_embeddings.BATCH),
            "images": Endpoint(path=":generateContent", codec=gemini_images.CODEC, flow=gemini_images.repeated),
        },
        url=url,
        sign=_sign,
        field_edits=field_edits,
        accepts=frozenset({"images", "audio", "files"}),
        reads_url=reads_url,
        has_stream_options=False,
        fields=(
            Field(
                name="api_version",
                label="API version",
                hint="v1beta has all models and fields.",
                default=VERSION,
                setting="gemini_version",
            ),
            gemini_safety.FIELD,
        ),
        legacy_field="api_version",
        key_hint="API key of Google AI Studio",
        owner="google gemini",
        models=default_models(24),
        models_requests=models_requests,
        parse_models=parse_models,
    ),
)
