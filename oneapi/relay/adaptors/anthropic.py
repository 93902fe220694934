"""Anthropic, and services that offer Claude's protocol at a base URL of their own.

Source: https://platform.claude.com/docs/en/api/overview, /versioning, /beta-headers, /models-list (read 2026-11-25);
spec relay.md §8.2. A client's `anthropic-version` and `anthropic-beta` go up as they came; without a version it is
2023-06-01, the last that takes temperature. The beta headers that One API sends have no meaning any more.

Not offered by Anthropic: embeddings, images, speech, transcription, moderation, rerank, a balance query.
"""

from __future__ import annotations

from dataclasses import replace

from oneapi.errors import UpstreamGarbled
from oneapi.relay.adaptor import Adaptor, Credentials, Endpoint, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import default_models
from oneapi.relay.protocols import anthropic
from oneapi.relay.protocols.anthropic_error import parse_error
from oneapi.relay.protocols.provider_json import loads

VERSION = "2023-06-01"


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """The key in `x-api-key`, and the API's version where the client named none."""
    return replace(request, headers={"anthropic-version": VERSION, **request.headers, "x-api-key": credentials.key})


def models_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    """All models in one page."""
    request = UpstreamRequest(method="GET", url=f"{base_url}/v1/models?limit=1000")
    return (sign(request, credentials, now),)


def parse_models(replies: tuple[WholeReply, ...]) -> tuple[str, ...]:
    """Ids of the models that answer. Raises UpstreamRejected or UpstreamGarbled."""
    (reply,) = replies
    if reply.status != 200:
        raise parse_error(reply.status, reply.headers, reply.body)
    rows = loads(reply.body).get("data")
    if not isinstance(rows, list):
        raise UpstreamGarbled("The provider's list of models has no rows.")
    return tuple(str(row["id"]) for row in rows if isinstance(row, dict) and row.get("lifecycle") != "retired")


ADAPTORS = (
    Adaptor(
        type=14,
        name="anthropic",
        label="Anthropic Claude",
        base_url="https://api.anthropic.com",
        endpoints={"chat": Endpoint(path="/v1/messages", codec=anthropic.CODEC)},
        sign=sign,
        accepts=frozenset({"image_urls", "images", "files"}),
        has_stream_options=False,
        key_hint="sk-ant-api03-…",
        owner="anthropic",
        models=default_models(14),
        models_requests=models_requests,
        parse_models=parse_models,
    ),
)
