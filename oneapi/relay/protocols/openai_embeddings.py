"""OpenAI's embeddings. Source: https://platform.openai.com/docs/api-reference/embeddings (read 2026-11-25)."""

from __future__ import annotations

import base64
from array import array
from typing import Any

import msgspec

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Json, Rendering
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json
from oneapi.relay.protocols.openai_error import render_error
from oneapi.relay.protocols.openai_usage import parse_usage, read_reported_usage, render_usage
from oneapi.relay.protocols.provider_error import parse_error


class _Request(msgspec.Struct, gc=False):
    model: str | None = None
    input: str | list[Any] | None = None


_REQUEST = msgspec.json.Decoder(_Request)


def head(body: bytes, path_model: str = "") -> Head:
    """The model of /v1/engines/{model}/embeddings counts where the body names none. Raises InvalidRequest."""
    request = client_json.read(body, _REQUEST)
    client_json.require(request.input, "input")
    return Head(
        mode="embeddings",
        model=client_json.require_model(request.model or path_model),
        names_model=bool(request.model),
        input_bytes=len(body),
    )


# ---- the client half, for providers with formats of their own ----

_READ = ("model", "input", "dimensions", "encoding_format", "user")


def parse_request(body: Json) -> ir.EmbeddingRequest:
    """Raises InvalidRequest for an input that is neither text nor tokens, nor a list of them."""
    given = body.get("input")
    items = [given] if isinstance(given, str) or _is_tokens(given) else given
    if not isinstance(items, list) or not items:
        raise InvalidRequest("Field 'input' must be a text or a list of texts.", param="input")
    inputs: list[str | tuple[int, ...]] = []
    for at, item in enumerate(items):
        if isinstance(item, str):
            inputs.append(item)
        elif _is_tokens(item):
            inputs.append(tuple(item))
        else:
            raise InvalidRequest(f"Field 'input[{at}]' must be a text or a list of tokens.", param=f"input[{at}]")
    dimensions = body.get("dimensions")
    if dimensions is not None and (isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1):
        raise InvalidRequest("Field 'dimensions' must be a positive integer.", param="dimensions")
    return ir.EmbeddingRequest(
        model=body.get("model") or "",
        inputs=tuple(inputs),
        dimensions=dimensions,
        encoding=body.get("encoding_format") or "",
        user=body.get("user") or "",
        extra={name: value for name, value in body.items() if name not in _READ},
    )


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def render_response(response: ir.EmbeddingResponse, rendering: Rendering) -> Json:
    """Vectors as lists of numbers, or as base64 of 32-bit floats where the client asked for that."""
    request = rendering.request
    is_base64 = isinstance(request, ir.EmbeddingRequest) and request.encoding == "base64"
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": to_base64(vector) if is_base64 else list(vector)}
            for index, vector in enumerate(response.vectors)
        ],
        "model": response.model or rendering.model,
        "usage": {
            name: count
            for name, count in render_usage(response.usage or ir.Usage()).items()
            if name in ("prompt_tokens", "total_tokens")
        },
    }


def to_base64(vector: tuple[float, ...]) -> str:
    """Little-endian 32-bit floats, as OpenAI packs them."""
    return base64.b64encode(array("f", vector).tobytes()).decode()


# ---- the upstream half ----


def render_request(request: ir.EmbeddingRequest) -> Json:
    inputs = [item if isinstance(item, str) else list(item) for item in request.inputs]
    body: Json = {"model": request.model, "input": inputs[0] if len(inputs) == 1 else inputs}
    optional = {"dimensions": request.dimensions, "encoding_format": request.encoding, "user": request.user}
    return {**request.extra, **body, **{name: value for name, value in optional.items() if value}}


def parse_response(body: Json) -> ir.EmbeddingResponse:
    """Raises UpstreamGarbled for an answer without vectors."""
    rows = body.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UpstreamGarbled("The provider's answer has no embeddings.")
    return ir.EmbeddingResponse(
        model=str(body.get("model") or ""),
        vectors=tuple(_vector(row.get("embedding")) for row in rows),
        usage=parse_usage(body.get("usage")),
    )


def _vector(value: Any) -> tuple[float, ...]:
    try:
        if isinstance(value, str):
            packed = array("f")
            packed.frombytes(base64.b64decode(value, validate=True))
            return tuple(packed)
        return tuple(float(item) for item in value)
    except (TypeError, ValueError) as error:
        raise UpstreamGarbled("The provider sent an embedding that is not a list of numbers.") from error


CODEC = Codec(
    name="openai_embeddings",
    render_request=render_request,
    parse_response=parse_response,
    parse_error=parse_error,
    read_usage=read_reported_usage,
    parse_request=parse_request,
    render_response=render_response,
    render_error=render_error,
)
