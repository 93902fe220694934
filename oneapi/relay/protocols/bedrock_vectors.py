"""Embeddings and reranking by Bedrock's InvokeModel: Titan, Nova, Cohere; Cohere's and Amazon's rerankers.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
/model-parameters-embed.html, /rerank-api.html, https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html
(read 2026-11-25) and recorded answers.

Titan and Nova take one text a call, Cohere 96. So what `render_request` gives is a list of bodies (`each`), and what
`parse_response` reads a list of answers (`answers`): the adaptor's flow makes the calls in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Json
from oneapi.relay.protocols import rerank
from oneapi.relay.protocols.bedrock_error import parse_error

_COHERE_TEXTS = 96
TOKEN_COUNT = "inputTextTokenCount"  # Titan's name for it; the flow gives it to the other answers, from a header


# ---- embeddings ----


def render_embeddings(request: ir.EmbeddingRequest) -> Json:
    """Raises InvalidRequest for input in tokens: only its own provider knows what they stand for."""
    texts = [item for item in request.inputs if isinstance(item, str)]
    if len(texts) != len(request.inputs):
        raise InvalidRequest("The provider takes texts, not tokens.", param="input")
    if "nova" in request.model:
        return {"each": [_nova(request, text) for text in texts]}
    if "cohere" in request.model:
        starts = range(0, len(texts), _COHERE_TEXTS)
        return {"each": [_cohere(request, texts[start : start + _COHERE_TEXTS]) for start in starts]}
    size = {"dimensions": request.dimensions} if request.dimensions else {}
    return {"each": [{**request.extra, "inputText": text, **size} for text in texts]}


def _nova(request: ir.EmbeddingRequest, text: str) -> Json:
    params: Json = {
        "embeddingPurpose": "GENERIC_INDEX",
        **request.extra,
        "text": {"value": text, "truncationMode": "NONE"},
    }
    if request.dimensions:
        params["embeddingDimension"] = request.dimensions
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}


def _cohere(request: ir.EmbeddingRequest, texts: list[str]) -> Json:
    size = {"output_dimension": request.dimensions} if request.dimensions else {}
    return {"input_type": "search_document", **request.extra, "texts": texts, **size}


def parse_embeddings(body: Json) -> ir.EmbeddingResponse:
    """Raises UpstreamGarbled for an answer without vectors."""
    answers = body.get("answers")
    if not isinstance(answers, list):
        answers = [body]
    vectors: list[tuple[float, ...]] = []
    tokens = 0
    for answer in answers:
        try:
            vectors += [tuple(float(number) for number in row) for row in _rows(answer)]
        except (TypeError, ValueError, KeyError) as error:
            raise UpstreamGarbled("The provider's answer has no embeddings.") from error
        count = answer.get(TOKEN_COUNT)
        tokens += count if isinstance(count, int) and 0 <= count < 10**15 else 0
    usage = ir.Usage(input_tokens=tokens, raw={TOKEN_COUNT: tokens}) if tokens else None
    return ir.EmbeddingResponse(vectors=tuple(vectors), usage=usage)


def _rows(answer: Mapping[str, Any]) -> list[Any]:
    """Titan's `embedding`, Cohere's `embeddings` (a list, or by type), Nova's list of objects."""
    if "embedding" in answer:
        return [answer["embedding"]]
    rows = answer["embeddings"]
    if isinstance(rows, dict):
        rows = rows["float"]
    return [row["embedding"] if isinstance(row, dict) else row for row in rows]


EMBEDDINGS = Codec(
    name="bedrock_embeddings",
    render_request=render_embeddings,
    parse_response=parse_embeddings,
    parse_error=parse_error,
)


# ---- reranking ----


def render_rerank(request: ir.RerankRequest) -> Json:
    """Documents as texts; Cohere's models want to be told the version of their API."""
    body: Json = {
        **request.extra,
        "query": request.query,
        "documents": [rerank.document_text(document) for document in request.documents],
    }
    if request.top_n is not None:
        body["top_n"] = request.top_n
    return {**body, "api_version": 2} if "cohere" in request.model else body


RERANK = Codec(
    name="bedrock_rerank",
    render_request=render_rerank,
    parse_response=rerank.parse_response,
    parse_error=parse_error,
)
