"""/api/log: what was consumed, credited and managed.

Source: spec management.md §4.10. Beyond it: filters `request_id` and `before_id` (rows older than that one), and
`types` of what is to be deleted.
"""

from __future__ import annotations

from dataclasses import replace

from oneapi.api import objects
from oneapi.api.asked import Asked, total_of
from oneapi.api.routing import ADMIN, COMMON, Answer, Route
from oneapi.services import logs, pruning, statistics
from oneapi.services.logs import Filters
from oneapi.services.numbers import id_of
from oneapi.services.refusal import Refusal, invalid_parameter


def filters_of(asked: Asked) -> Filters:
    """Which rows are asked for."""
    return Filters(
        type=asked.number("type"),
        start=asked.number("start_timestamp"),
        end=asked.number("end_timestamp"),
        username=asked.text("username"),
        token_name=asked.text("token_name"),
        model_name=asked.text("model_name"),
        channel_id=asked.number("channel"),
        request_id=asked.text("request_id"),
        before_id=asked.number("before_id"),
    )


def own_filters_of(asked: Asked) -> Filters:
    """The same for one's own rows."""
    return Filters(
        user_id=asked.account.id,
        type=asked.number("type"),
        start=asked.number("start_timestamp"),
        end=asked.number("end_timestamp"),
        token_name=asked.text("token_name"),
        model_name=asked.text("model_name"),
        request_id=asked.text("request_id"),
    )


def listing(asked: Asked) -> object:
    found = logs.list_page(asked.log_engine, filters_of(asked), asked.page())
    return Answer([objects.log(row) for row in found.rows], beside=total_of(found))


def own_listing(asked: Asked) -> object:
    found = logs.list_page(asked.log_engine, own_filters_of(asked), asked.page())
    return Answer([objects.own_log(row) for row in found.rows], beside=total_of(found))


def stat(asked: Asked) -> object:
    return {"quota": statistics.consumed(asked.log_engine, filters_of(asked))}


def own_stat(asked: Asked) -> object:
    filters = replace(own_filters_of(asked), channel_id=asked.number("channel"))
    return {"quota": statistics.consumed(asked.log_engine, filters)}


def search(asked: Asked) -> object:
    return [objects.log(row) for row in logs.search(asked.log_engine, asked.text("keyword"))]


def own_search(asked: Asked) -> object:
    rows = logs.search(asked.log_engine, asked.text("keyword"), user_id=asked.account.id)
    return [objects.own_log(row) for row in rows]


def prune(asked: Asked) -> object:
    before = asked.number("target_timestamp")
    if not before:
        raise Refusal("target_timestamp_required")
    types: tuple[int, ...] = pruning.PRUNED_BY_DEFAULT
    if given := asked.text("types"):
        numbers = [id_of(part.strip()) for part in given.split(",")]
        types = tuple(number for number in numbers if number is not None)
        if len(types) != len(numbers):
            raise invalid_parameter("log_types_unknown")
    return pruning.prune(asked.databases, asked.actor, before=before, types=types, now=asked.now)


ROUTES = (
    Route("GET", "/api/log/", ADMIN, listing),
    Route("DELETE", "/api/log/", ADMIN, prune),
    Route("GET", "/api/log/stat", ADMIN, stat),
    Route("GET", "/api/log/search", ADMIN, search),
    Route("GET", "/api/log/self", COMMON, own_listing),
    Route("GET", "/api/log/self/stat", COMMON, own_stat),
    Route("GET", "/api/log/self/search", COMMON, own_search),
)
