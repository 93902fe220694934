"""/api/redemption: codes that give quota once.

Source: spec management.md §4.9.
"""

from __future__ import annotations

from oneapi.api import objects
from oneapi.api.asked import Asked, path_id, total_of
from oneapi.api.routing import ADMIN, Answer, Route
from oneapi.services import redemptions
from oneapi.services.forms import given
from oneapi.services.redemptions import RedemptionFields


def listing(asked: Asked) -> object:
    found = redemptions.list_page(asked.engine, asked.page())
    return Answer([objects.redemption(row) for row in found.rows], beside=total_of(found))


def search(asked: Asked) -> object:
    return [objects.redemption(row) for row in redemptions.search(asked.engine, asked.text("keyword"))]


def one(asked: Asked, id: str) -> object:
    return objects.redemption(redemptions.get(asked.engine, path_id(id)))


def create(asked: Asked) -> object:
    return redemptions.create_many(asked.engine, asked.actor, asked.body(RedemptionFields), now=asked.now)


def update(asked: Asked) -> object:
    fields = asked.body(RedemptionFields)
    if not asked.text("status_only"):
        row = redemptions.update_one(asked.engine, asked.actor, fields, now=asked.now)
    else:
        redemption_id, status = given(fields.id, 0), given(fields.status, 0)
        row = redemptions.set_status(asked.engine, asked.actor, redemption_id, status, now=asked.now)
    return objects.redemption(row)


def remove(asked: Asked, id: str) -> None:
    redemptions.remove(asked.engine, asked.actor, path_id(id), now=asked.now)


ROUTES = (
    Route("GET", "/api/redemption/", ADMIN, listing),
    Route("GET", "/api/redemption/search", ADMIN, search),
    Route("GET", "/api/redemption/<id>", ADMIN, one),
    Route("POST", "/api/redemption/", ADMIN, create),
    Route("PUT", "/api/redemption/", ADMIN, update),
    Route("DELETE", "/api/redemption/<id>", ADMIN, remove),
)
