"""/api/channel: accounts at providers. Their keys go in and never come out.

Source: spec management.md §4.6.
"""

from __future__ import annotations

from oneapi.api import objects
from oneapi.api.asked import Asked, path_id, total_of
from oneapi.api.routing import ADMIN, Answer, Route
from oneapi.services import channels
from oneapi.services.channels import ChannelFields


def listing(asked: Asked) -> object:
    found = channels.list_page(asked.engine, asked.page())
    return Answer([objects.channel(row) for row in found.rows], beside=total_of(found))


def search(asked: Asked) -> object:
    return [objects.channel(row) for row in channels.search(asked.engine, asked.text("keyword"))]


def one(asked: Asked, id: str) -> object:
    return objects.channel(channels.get(asked.engine, path_id(id)))


def create(asked: Asked) -> None:
    channels.create_many(asked.engine, asked.actor, asked.body(ChannelFields), now=asked.now)


def update(asked: Asked) -> object:
    fields = asked.body(ChannelFields)
    return objects.channel(channels.update_one(asked.engine, asked.actor, fields, now=asked.now))


def remove(asked: Asked, id: str) -> None:
    channels.remove(asked.engine, asked.actor, path_id(id), now=asked.now)


def remove_disabled(asked: Asked) -> object:
    return channels.remove_disabled(asked.engine, asked.actor, now=asked.now)


ROUTES = (
    Route("GET", "/api/channel/", ADMIN, listing),
    Route("GET", "/api/channel/search", ADMIN, search),
    Route("GET", "/api/channel/<id>", ADMIN, one),
    Route("POST", "/api/channel/", ADMIN, create),
    Route("PUT", "/api/channel/", ADMIN, update),
    Route("DELETE", "/api/channel/disabled", ADMIN, remove_disabled),
    Route("DELETE", "/api/channel/<id>", ADMIN, remove),
)
