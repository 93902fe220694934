"""Hyperbolic's images, behind the channel types that take any base URL: OpenAI's path, with fields of their own.

Source: recorded exchanges of https://api.hyperbolic.xyz/v1/images/generations, and the fields in
https://github.com/api-evangelist/hyperbolic-ai (read 2026-11-25). One picture a call, in base64.

Not carried: quality, style, user, and links (pictures come as b64_json).
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from oneapi.errors import UpstreamGarbled
from oneapi.relay.adaptor import Credentials, Flow, Json, UpstreamRequest, WholeReply
from oneapi.relay.protocols import openai_images
from oneapi.relay.protocols.provider_json import dumps, loads

_HOST = "api.hyperbolic.xyz"
_OPENAIS = ("model", "n", "size", "quality", "style", "response_format", "user")


def image_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """At Hyperbolic, a call for each picture; at any other host the request as it is.

    Raises InvalidRequest for a size that is none, UpstreamGarbled for an answer without a picture.
    """
    if urlsplit(request.url).hostname != _HOST:
        return request
    given = loads(request.body)
    once = replace(request, body=dumps(_asked(given)))
    pictures: list[Json] = []
    for _ in range(given.get("n") or 1):
        reply = yield once
        assert reply is not None
        if reply.status != 200:
            return reply
        pictures += _pictures(loads(reply.body))
    return WholeReply(200, {"content-type": "application/json"}, dumps({"created": int(now), "data": pictures}))


def _asked(given: Json) -> Json:
    size = openai_images.pixels(str(given.get("size") or ""))
    asked: Json = {"model_name": given.get("model")}
    if size is not None:
        asked |= dict(zip(("width", "height"), size, strict=True))
    return asked | {name: value for name, value in given.items() if name not in _OPENAIS}


def _pictures(answer: Json) -> list[Json]:
    rows = answer.get("images")
    pictures = [row.get("image") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not pictures or not all(isinstance(picture, str) and picture for picture in pictures):
        raise UpstreamGarbled("The provider's answer has no images.")
    return [{"b64_json": picture} for picture in pictures]
