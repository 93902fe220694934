"""Cohere: chat, embeddings and reranking by version 2 of its API, transcription by the same.

Source: recorded exchanges, spec relay.md §8.16, and https://docs.cohere.com/reference/chat, /embed, /rerank. Models
whose name ends in -internet are asked by version 1, the only one that can search the web. One API's base URL,
https://api.cohere.ai, serves both versions.

Embeddings go 96 a call, which is what Cohere takes; `input_type` is search_document where the client names none, and a
data URL of a picture is taken for a picture.
Not offered: images, speech, moderation, text completions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Endpoint,
    Flow,
    Json,
    Mode,
    UpstreamRequest,
    WholeReply,
    bearer,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.protocols import cohere, cohere_v1, openai_audio, openai_embeddings, rerank
from oneapi.relay.protocols.cohere_error import error_in, parse_error
from oneapi.relay.protocols.provider_json import dumps, loads

# ---- embeddings ----

_MOST_INPUTS = 96
_PICTURE = re.compile(r"data:image/")
_OWN = ("input_type", "max_tokens", "priority", "truncate")


def render_embeddings(request: ir.EmbeddingRequest) -> Json:
    """The bodies of the calls that it takes, in a list. Raises InvalidRequest for an input in tokens."""
    texts = [item for item in request.inputs if isinstance(item, str)]
    if len(texts) < len(request.inputs):
        raise InvalidRequest("The provider takes texts, not tokens.", param="input")
    body: Json = {"model": request.model, "input_type": "search_document", "embedding_types": ["float"]}
    body |= {name: request.extra[name] for name in _OWN if name in request.extra}
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    starts = range(0, len(texts), _MOST_INPUTS)
    return {"each": [{**body, **_inputs(texts[start : start + _MOST_INPUTS])} for start in starts]}


def _inputs(texts: list[str]) -> Json:
    if not any(_PICTURE.match(text) for text in texts):
        return {"texts": texts}
    return {"inputs": [{"content": [_piece(text)]} for text in texts]}


def _piece(text: str) -> Json:
    if _PICTURE.match(text):
        return {"type": "image_url", "image_url": {"url": text}}
    return {"type": "text", "text": text}


def embed_each(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """The calls, one after the other; of several the answer is the list of their answers."""
    *first, last = loads(request.body)["each"]
    answers: list[Json] = []
    for body in first:
        reply = yield replace(request, body=dumps(body))
        assert reply is not None
        if reply.status != 200:
            return reply
        answers.append(loads(reply.body))
    final = replace(request, body=dumps(last))
    if not answers:
        return final
    reply = yield final
    assert reply is not None
    if reply.status != 200:
        return reply
    return replace(reply, body=dumps({"answers": [*answers, loads(reply.body)]}))


def parse_embeddings(body: Json) -> ir.EmbeddingResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without vectors."""
    answers = body.get("answers")
    vectors: list[Any] = []
    tokens = 0
    for answer in answers if isinstance(answers, list) else [body]:
        rows, counts = _read(answer)
        vectors += rows
        tokens += counts
    return openai_embeddings.parse_response(
        {
            "data": [{"embedding": vector} for vector in vectors],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _read(answer: Any) -> tuple[list[Any], int]:
    """The vectors of one answer, and the tokens of its texts and pictures."""
    answer = answer if isinstance(answer, dict) else {}
    by_type = answer.get("embeddings")
    rows = by_type.get("float") if isinstance(by_type, dict) else by_type
    if not isinstance(rows, list):
        raise error_in(answer) or UpstreamGarbled("The provider's answer has no embeddings.")
    meta = answer.get("meta")
    units = meta.get("billed_units") if isinstance(meta, dict) else None
    units = units if isinstance(units, dict) else {}
    counts = (units.get(name) for name in ("input_tokens", "image_tokens"))
    return rows, sum(int(count) for count in counts if isinstance(count, int | float) and 0 <= count < 1e15)


_EMBEDDINGS = Endpoint(
    path="/v2/embed",
    codec=Codec(
        name="cohere_embeddings",
        render_request=render_embeddings,
        parse_response=parse_embeddings,
        parse_error=parse_error,
    ),
    flow=embed_each,
)

# ---- rerank ----


def render_rerank(request: ir.RerankRequest) -> Json:
    """Documents as texts; that they are to be repeated is not sent, as version 2 does not."""
    body = rerank.render_request(replace(request, returns_documents=None))
    return {**body, "documents": [rerank.document_text(document) for document in request.documents]}


def parse_rerank(body: Json) -> ir.RerankResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without results."""
    if "results" not in body and (error := error_in(body)) is not None:
        raise error
    return rerank.parse_response(body)


_RERANK = Endpoint(
    path="/v2/rerank",
    codec=Codec(
        name="cohere_rerank", render_request=render_rerank, parse_response=parse_rerank, parse_error=parse_error
    ),
)

# ---- the models there are ----


def models_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    return (bearer(UpstreamRequest(method="GET", url=f"{base_url}/v1/models?page_size=1000"), credentials, now),)


def parse_models(replies: tuple[WholeReply, ...]) -> tuple[str, ...]:
    """Raises UpstreamRejected, or UpstreamGarbled where the answer lists nothing."""
    (reply,) = replies
    if reply.status != 200:
        raise parse_error(reply.status, reply.headers, reply.body)
    models = loads(reply.body).get("models")
    if not isinstance(models, list):
        raise UpstreamGarbled("The provider's answer lists no models.")
    return tuple(str(model["name"]) for model in models if isinstance(model, dict) and model.get("name"))


# ---- the declaration ----

_SEARCHING_CHAT = Endpoint(path="/v1/chat", codec=cohere_v1.CODEC, framing="ndjson")
_ENDPOINTS: Mapping[Mode, Endpoint] = {
    "chat": Endpoint(path="/v2/chat", codec=cohere.CODEC),
    "embeddings": _EMBEDDINGS,
    "rerank": _RERANK,
    "transcription": Endpoint(
        path="/v2/audio/transcriptions", codec=replace(openai_audio.CODEC, parse_error=parse_error)
    ),
}


def endpoint_of(model: str, mode: Mode) -> Endpoint:
    return _SEARCHING_CHAT if mode == "chat" and model.endswith(cohere_v1.SEARCHING) else _ENDPOINTS[mode]


ADAPTORS = (
    Adaptor(
        type=35,
        name="cohere",
        label="Cohere",
        base_url="https://api.cohere.ai",
        endpoints=_ENDPOINTS,
        endpoint_of=endpoint_of,
        accepts=frozenset({"image_urls", "images"}),
        key_hint="API key",
        owner="Cohere",
        models=default_models(35),
        models_requests=models_requests,
        parse_models=parse_models,
    ),
)
