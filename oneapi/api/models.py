"""/api/models and /api/channel/models: the models that channel types are known to serve.

Source: spec management.md §4.3.
"""

from __future__ import annotations

import msgspec
from flask import Response

from oneapi.api.asked import Asked
from oneapi.api.routing import ADMIN, COMMON, Route
from oneapi.relay import adaptors
from oneapi.relay.catalogue import row


def by_channel_type(asked: Asked) -> object:
    """For prefilling the channel form: number of the type, as text → its models."""
    return {str(number): list(adaptor.models) for number, adaptor in adaptors.load().items()}


def catalogue(asked: Asked) -> Response:
    """OpenAI's list form, without an envelope; one row for each model (relay.md §1.6)."""
    rows = [row(model, owner) for model, owner in adaptors.catalogue().items()]
    return Response(msgspec.json.encode({"object": "list", "data": rows}), mimetype="application/json")


ROUTES = (
    Route("GET", "/api/models", COMMON, by_channel_type),
    Route("GET", "/api/channel/models", ADMIN, catalogue),
)
