"""/api/token: everybody's own API keys, administrators' too.

Source: spec management.md §4.8.
"""

from __future__ import annotations

from oneapi.api import objects
from oneapi.api.asked import Asked, path_id, total_of
from oneapi.api.routing import COMMON, Answer, Route
from oneapi.services import tokens
from oneapi.services.forms import given
from oneapi.services.tokens import TokenFields


def listing(asked: Asked) -> object:
    found = tokens.list_page(asked.engine, asked.account.id, asked.page(), asked.text("order"))
    return Answer([objects.token(row) for row in found.rows], beside=total_of(found))


def search(asked: Asked) -> object:
    return [objects.token(row) for row in tokens.search(asked.engine, asked.account.id, asked.text("keyword"))]


def one(asked: Asked, id: str) -> object:
    return objects.token(tokens.get(asked.engine, asked.account.id, path_id(id)))


def create(asked: Asked) -> object:
    fields = asked.body(TokenFields)
    return objects.token(tokens.create(asked.engine, asked.actor, asked.account.id, fields, now=asked.now))


def update(asked: Asked) -> object:
    fields = asked.body(TokenFields)
    if not asked.text("status_only"):
        row = tokens.update_all(asked.engine, asked.actor, asked.account.id, fields, now=asked.now)
    else:
        token_id, status = given(fields.id, 0), given(fields.status, 0)
        row = tokens.set_status(asked.engine, asked.actor, asked.account.id, token_id, status, now=asked.now)
    return objects.token(row)


def remove(asked: Asked, id: str) -> None:
    tokens.remove(asked.engine, asked.actor, asked.account.id, path_id(id), now=asked.now)


ROUTES = (
    Route("GET", "/api/token/", COMMON, listing),
    Route("GET", "/api/token/search", COMMON, search),
    Route("GET", "/api/token/<id>", COMMON, one),
    Route("POST", "/api/token/", COMMON, create),
    Route("PUT", "/api/token/", COMMON, update),
    Route("DELETE", "/api/token/<id>", COMMON, remove),
)
