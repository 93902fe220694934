"""OpenAI's moderations. Source: https://platform.openai.com/docs/api-reference/moderations (read 2026-11-25).

Providers report no usage: a moderation's price is that of its input, counted here. There is no other format to convert.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oneapi.relay.adaptor import Codec
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json
from oneapi.relay.protocols.openai_error import render_error
from oneapi.relay.protocols.openai_usage import read_reported_usage
from oneapi.relay.protocols.provider_error import parse_error

DEFAULT_MODEL = "text-moderation-latest"


class _Request(msgspec.Struct, gc=False):
    model: str | None = None
    input: str | list[Any] | None = None


_REQUEST = msgspec.json.Decoder(_Request)


def head(body: bytes) -> Head:
    """Raises InvalidRequest naming the field that is wrong."""
    request = client_json.read(body, _REQUEST)
    client_json.require(request.input, "input")
    return Head(
        mode="moderations",
        model=request.model or DEFAULT_MODEL,
        names_model=bool(request.model),
        input_bytes=len(body),
    )


CODEC = Codec(
    name="openai_moderations",
    parse_error=parse_error,
    read_usage=read_reported_usage,
    render_error=render_error,
)
