"""/api/channel/test, /api/channel/update_balance: all channels in turn. They answer at once; `/api/channel/rounds` says
how far they have come. Source: spec management.md §4.7.
"""

from __future__ import annotations

from dataclasses import asdict

from oneapi.api.asked import Asked, program
from oneapi.api.routing import ADMIN, Route


def test_all(asked: Asked) -> None:
    program().rounds.begin_tests(asked.text("scope") or "all")


def refresh_balances(asked: Asked) -> None:
    program().rounds.begin_balances()


def progress(asked: Asked) -> object:
    """By name, the rounds that are under way: scope, channels done, channels in all."""
    found = program().rounds.progress()
    return {name.replace(" ", "_"): asdict(one) for name, one in found.items() if one is not None}


ROUTES = (
    Route("GET", "/api/channel/test", ADMIN, test_all),
    Route("POST", "/api/channel/test", ADMIN, test_all),
    Route("GET", "/api/channel/update_balance", ADMIN, refresh_balances),
    Route("POST", "/api/channel/update_balance", ADMIN, refresh_balances),
    Route("GET", "/api/channel/rounds", ADMIN, progress),
)
