"""Reranking in the shape of Jina, Cohere (v2), SiliconFlow, Together, OpenRouter and Zhipu; Voyage's is near it.

Source: https://docs.cohere.com/reference/rerank and https://jina.ai/reranker (read 2026-11-25), spec relay.md §10.1.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Headers, Json, Rendering
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json
from oneapi.relay.protocols.openai_error import render_error
from oneapi.relay.protocols.openai_usage import parse_usage
from oneapi.relay.protocols.provider_error import error_in, parse_error
from oneapi.relay.protocols.provider_json import loads


class _Request(msgspec.Struct, gc=False):
    model: str | None = None
    query: str | None = None
    documents: list[msgspec.Raw] | None = None
    top_n: int | None = None


_REQUEST = msgspec.json.Decoder(_Request)


def head(body: bytes) -> Head:
    """Raises InvalidRequest naming the field that is wrong."""
    request = client_json.read(body, _REQUEST)
    model = client_json.require_model(request.model)
    client_json.require(request.query, "query")
    client_json.require(request.documents, "documents")
    client_json.check_range("top_n", request.top_n, 1, client_json.MAX_TOKENS)
    return Head(mode="rerank", model=model, input_bytes=len(body))


# ---- the client half ----

_READ = ("model", "query", "documents", "top_n", "return_documents")


def parse_request(body: Json) -> ir.RerankRequest:
    """Raises InvalidRequest for documents that are neither texts nor objects with a text."""
    documents = body.get("documents")
    if not isinstance(documents, list):
        raise InvalidRequest("Field 'documents' must be a list.", param="documents")
    for at, document in enumerate(documents):
        if not isinstance(document, str | dict):
            raise InvalidRequest(
                f"Field 'documents[{at}]' must be a text or an object with a text.", param=f"documents[{at}]"
            )
    return ir.RerankRequest(
        model=body.get("model") or "",
        query=body.get("query") or "",
        documents=tuple(documents),
        top_n=body.get("top_n"),
        returns_documents=body.get("return_documents"),
        extra={name: value for name, value in body.items() if name not in _READ},
    )


def document_text(document: str | ir.Extra) -> str:
    """The text of a document in a request or an answer."""
    return document if isinstance(document, str) else str(document.get("text") or "")


def render_response(response: ir.RerankResponse, rendering: Rendering) -> Json:
    """Documents are repeated where the client asked for them, from its own request if the provider did not."""
    request = rendering.request
    asked = request if isinstance(request, ir.RerankRequest) and request.returns_documents else None
    results = []
    for ranked in response.results:
        result: Json = {"index": ranked.index, "relevance_score": ranked.score}
        if ranked.document is not None:
            result["document"] = {"text": ranked.document}
        elif asked is not None and ranked.index < len(asked.documents):
            result["document"] = {"text": document_text(asked.documents[ranked.index])}
        results.append(result)
    usage = response.usage or ir.Usage()
    body: Json = {
        "id": response.id or rendering.id,
        "model": response.model or rendering.model,
        "object": "list",
        "results": results,
        "usage": {"prompt_tokens": usage.input_tokens, "total_tokens": usage.total_tokens},
    }
    if units := usage.units.get("search_units"):
        body["meta"] = {"billed_units": {"search_units": units}}
    return body


# ---- the upstream half ----


def render_request(request: ir.RerankRequest) -> Json:
    body: Json = {
        **request.extra,
        "model": request.model,
        "query": request.query,
        "documents": [document if isinstance(document, str) else dict(document) for document in request.documents],
    }
    if request.top_n is not None:
        body["top_n"] = request.top_n
    if request.returns_documents is not None:
        body["return_documents"] = request.returns_documents
    return body


def parse_response(body: Json) -> ir.RerankResponse:
    """Raises UpstreamGarbled for an answer without results."""
    rows = body.get("results", body.get("data"))
    if not isinstance(rows, list):
        raise UpstreamGarbled("The provider's answer has no results.")
    try:
        results = tuple(_ranked(row) for row in rows)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UpstreamGarbled("The provider sent a result without index or score.") from error
    return ir.RerankResponse(
        id=str(body.get("id") or ""), model=str(body.get("model") or ""), results=results, usage=usage_of(body)
    )


def _ranked(row: Any) -> ir.Ranked:
    score = row["relevance_score"] if "relevance_score" in row else row["score"]
    document = row.get("document")
    text = document_text(document) if isinstance(document, str | dict) else ""
    return ir.Ranked(int(row["index"]), float(score), text or None)


def usage_of(body: Json) -> ir.Usage | None:
    """Tokens by `usage` (most) or `meta.tokens` (SiliconFlow), search units by `meta.billed_units` (Cohere)."""
    meta = body.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    usage = parse_usage(body.get("usage")) or parse_usage(meta.get("tokens"))
    billed = meta.get("billed_units")
    units = billed.get("search_units") if isinstance(billed, dict) else None
    if not isinstance(units, int | float) or units <= 0:
        return usage
    known = usage or ir.Usage()
    return ir.Usage(
        input_tokens=known.input_tokens, output_tokens=known.output_tokens, units={"search_units": units}, raw=meta
    )


def read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    """Raises UpstreamRejected for an error inside a 200."""
    answer = loads(body)
    if answer.get("error") and (refusal := error_in(answer)) is not None:
        raise refusal
    return usage_of(answer)


CODEC = Codec(
    name="rerank",
    render_request=render_request,
    parse_response=parse_response,
    parse_error=parse_error,
    read_usage=read_usage,
    parse_request=parse_request,
    render_response=render_response,
    render_error=render_error,
)
