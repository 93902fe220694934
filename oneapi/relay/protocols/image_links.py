"""Pictures by link as pictures in base64, for providers that make links only.

A client's wish for `b64_json` rides in the request's own body as far as the flow, which takes it out before anything
is sent.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Sequence
from dataclasses import replace

from oneapi.relay.adaptor import Json, Pause, UpstreamRequest, WholeReply
from oneapi.relay.protocols import provider_error
from oneapi.relay.protocols.provider_json import dumps, loads

Steps = Generator[UpstreamRequest | Pause, WholeReply | None, list[str]]


def wish(request: UpstreamRequest) -> tuple[UpstreamRequest, bool]:
    """The request without the wish for a form, and whether the wish was base64."""
    body: Json = loads(request.body)
    form = body.pop("response_format", "")
    return replace(request, body=dumps(body)), form == "b64_json"


def fetched(urls: Sequence[str]) -> Steps:
    """The pictures behind these links as base64 text. Raises UpstreamRejected where a link gives none."""
    found = []
    for url in urls:
        reply = yield UpstreamRequest(method="GET", url=url)
        assert reply is not None
        if reply.status != 200:
            raise provider_error.parse_error(reply.status, reply.headers, reply.body)
        found.append(base64.b64encode(reply.body).decode())
    return found
