"""Which channels are tried, and what a failure means."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import (
    ClientGone,
    InvalidRequest,
    NoChannel,
    UpstreamGarbled,
    UpstreamRejected,
    UpstreamUnreachable,
)
from oneapi.relay.adaptor import Adaptor
from oneapi.relay.exchange import Channel
from oneapi.relay.routing import plan, shuffled, verdict
from tests.relay.world import World


def tier(*weights: int) -> tuple[Channel, ...]:
    adaptor = Adaptor(type=1, name="x", label="X")
    return tuple(
        Channel(id=number, type=1, name="", adaptor=adaptor, base_url="", key="", weight=weight)
        for number, weight in enumerate(weights)
    )


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_every_channel_of_a_tier_comes_exactly_once(weights: list[int], rng: random.Random) -> None:
    assert sorted(channel.id for channel in shuffled(tier(*weights), rng)) == list(range(len(weights)))


@given(st.lists(st.integers(0, 5), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_channels_without_weight_come_after_those_with_one(weights: list[int], rng: random.Random) -> None:
    order = [channel.weight > 0 for channel in shuffled(tier(*weights), rng)]
    assert order == sorted(order, reverse=True)


def test_the_first_choice_is_in_proportion_to_weights() -> None:
    rng = random.Random(5)
    first = Counter(next(shuffled(tier(1, 3), rng)).id for _ in range(4000))
    assert 2.6 < first[1] / first[0] < 3.4


def test_without_weights_all_are_equal() -> None:
    rng = random.Random(5)
    first = Counter(next(shuffled(tier(0, 0, 0), rng)).id for _ in range(3000))
    assert all(850 < count < 1150 for count in first.values())


def test_tiers_are_walked_downwards() -> None:
    world = World({1: [], 2: [], 3: []}, priorities={1: -5, 2: 0, 3: 10})
    routes = _plan(world, attempts=3)
    assert [route.channel.id for route in routes] == [3, 2, 1]


def test_no_more_routes_than_attempts() -> None:
    assert len(_plan(World({1: [], 2: [], 3: []}), attempts=2)) == 2


def test_a_mode_the_provider_lacks_is_not_asked_for() -> None:
    world = World({1: []}, channel_type=27)  # MiniMax has no moderations
    with pytest.raises(NoChannel):
        _plan(world, attempts=2, mode="moderations")


def test_all_cooling_is_better_than_nobody() -> None:
    world = World({1: [], 2: []})
    routes = _plan(world, attempts=3, is_cooling=lambda channel_id, model: True)
    assert len(routes) == 2


def _plan(world: World, **changes):  # type: ignore[no-untyped-def]
    given = {
        "group": "default",
        "model": "gpt-4o",
        "mode": "chat",
        "attempts": 3,
        "is_cooling": lambda channel_id, model: False,
        "rng": random.Random(3),
    }
    return plan(world.directory, **{**given, **changes})


def _rejected(status: int, **fields):  # type: ignore[no-untyped-def]
    return UpstreamRejected("Your api key not valid, insufficient balance", upstream_status=status, **fields)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UpstreamUnreachable("x"), (True, "count")),
        (UpstreamGarbled("x"), (True, "count")),
        (_rejected(500), (True, "count")),
        (_rejected(529), (True, "count")),
        (_rejected(408), (True, "count")),
        (_rejected(401), (True, "disable")),
        (_rejected(402), (True, "disable")),
        (_rejected(403), (True, "cool_model")),
        (_rejected(403, provider_code="account_deactivated"), (True, "disable")),
        (_rejected(403, provider_type="permission_error"), (True, "disable")),
        (_rejected(429), (True, "cool")),
        (_rejected(429, provider_code="insufficient_quota"), (True, "disable")),
        (_rejected(404, provider_code="model_not_found"), (True, "cool_model")),
        (_rejected(404), (False, "none")),
        (_rejected(400), (False, "none")),
        (_rejected(400, provider_code="invalid_api_key"), (False, "none")),
        (_rejected(400, is_credential=True), (True, "disable")),
        (_rejected(413), (False, "none")),
        (_rejected(422), (False, "none")),
        (_rejected(200), (True, "count")),
        (_rejected(200, provider_type="insufficient_quota"), (True, "disable")),
        (InvalidRequest("x"), (False, "none")),
        (ClientGone(), (False, "none")),
        (ValueError("a fault of our own"), (False, "none")),
    ],
)
def test_verdicts(error: BaseException, expected: tuple[bool, str]) -> None:
    found = verdict(error)
    assert (found.may_retry, found.blame) == expected


@pytest.mark.parametrize("error", [UpstreamGarbled("x"), UpstreamUnreachable("x"), _rejected(500)])
def test_after_content_upstreams_failures_count_and_are_not_retried(error: BaseException) -> None:
    assert verdict(error, has_begun=True) == replace(verdict(error), may_retry=False, blame="count")


def test_a_client_cannot_write_an_error_that_disables() -> None:
    # Providers quote what was sent to them; only the status, type and code they choose themselves count.
    quoted = UpstreamRejected("Invalid value: 'your credit balance is too low'", upstream_status=400)
    assert verdict(quoted).blame == "none"
