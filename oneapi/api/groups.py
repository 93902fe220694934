"""/api/group: the groups of users there are.

Source: spec management.md §4.11.
"""

from __future__ import annotations

from oneapi.api.asked import Asked
from oneapi.api.routing import ADMIN, Route
from oneapi.services import groups


def listing(asked: Asked) -> object:
    return groups.names(asked.options)


ROUTES = (Route("GET", "/api/group/", ADMIN, listing),)
