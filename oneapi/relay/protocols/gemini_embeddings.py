"""Embeddings of Google's models, in the three forms that they have.

Source: https://ai.google.dev/api/embeddings (batchEmbedContents), the google-genai SDK 3.6 (which form Vertex AI wants
for which model), https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api (predict);
read 2026-11-25.

Not carried: inputs that are tokens already (refused), the wish for base64 (the renderer's), the user.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Credentials, Flow, Json, UpstreamRequest
from oneapi.relay.protocols.gemini_answer import parse_usage
from oneapi.relay.protocols.gemini_error import parse_error
from oneapi.relay.protocols.provider_json import dumps, loads


def _texts(request: ir.EmbeddingRequest) -> Iterable[str]:
    for at, item in enumerate(request.inputs):
        if not isinstance(item, str):
            raise InvalidRequest("Google's models embed texts, not tokens.", param=f"input[{at}]")
        yield item


def render_batch(request: ir.EmbeddingRequest) -> Json:
    """For Google AI Studio. Raises InvalidRequest for an input in tokens."""
    model = request.model if "/" in request.model else f"models/{request.model}"
    size = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
    return {"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **size} for text in _texts(request)]}


def render_vertex_batch(request: ir.EmbeddingRequest) -> Json:
    """For Gemini models on Vertex AI. Raises InvalidRequest for an input in tokens."""
    size = request.dimensions
    config = {} if size is None else {"embedContentConfig": {"outputDimensionality": size}}
    return {"requests": [{"content": {"parts": [{"text": text}]}, **config} for text in _texts(request)]}


def render_predict(request: ir.EmbeddingRequest) -> Json:
    """For all other models on Vertex AI. Raises InvalidRequest for an input in tokens."""
    body: Json = {"instances": [{"content": text} for text in _texts(request)]}
    if request.dimensions is not None:
        body["parameters"] = {"outputDimensionality": request.dimensions}
    return body


def one_or_many(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """A batch of one is asked for as such: not all of Vertex AI's models take batches."""
    batch = loads(request.body)["requests"]
    yield from ()
    if len(batch) > 1:
        return request
    return replace(request, url=request.url.replace(":batchEmbedContents", ":embedContent"), body=dumps(batch[0]))


def parse_batch(body: Json) -> ir.EmbeddingResponse:
    """Of batchEmbedContents or embedContent. Raises UpstreamGarbled for an answer without vectors."""
    rows = body.get("embeddings")
    if rows is None and isinstance(body.get("embedding"), dict):
        rows = [body["embedding"]]
    return ir.EmbeddingResponse(vectors=_vectors(rows), usage=parse_usage(body.get("usageMetadata")))


def parse_predict(body: Json) -> ir.EmbeddingResponse:
    """Raises UpstreamGarbled for an answer without vectors."""
    predictions = body.get("predictions")
    rows = [
        row.get("embeddings") if isinstance(row, dict) else None
        for row in (predictions if isinstance(predictions, list) else ())
    ]
    counts = [
        count
        for row in rows
        if isinstance(row, dict)
        and isinstance(statistics := row.get("statistics"), dict)
        and isinstance(count := statistics.get("token_count"), int | float)
        and 0 <= count < 1e12
    ]
    usage = ir.Usage(input_tokens=int(sum(counts)), raw=body.get("metadata")) if counts else None
    return ir.EmbeddingResponse(vectors=_vectors(rows), usage=usage)


def _vectors(rows: Any) -> tuple[tuple[float, ...], ...]:
    if not isinstance(rows, list) or not rows:
        raise UpstreamGarbled("The provider's answer has no embeddings.")
    try:
        return tuple(tuple(float(number) for number in row["values"]) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise UpstreamGarbled("The provider sent an embedding that is not a list of numbers.") from error


BATCH = Codec(
    name="gemini_embeddings", render_request=render_batch, parse_response=parse_batch, parse_error=parse_error
)
VERTEX_BATCH = replace(BATCH, name="vertex_embeddings", render_request=render_vertex_batch)
PREDICT = replace(BATCH, name="vertex_predict", render_request=render_predict, parse_response=parse_predict)
