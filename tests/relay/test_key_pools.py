"""Several keys in one channel: which is used, and what a refused one means for the call and for the channel."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from oneapi.keyring import Keyring
from oneapi.options import Options
from oneapi.relay import adaptors, directory, pipeline, routing
from oneapi.relay.exchange import Attempt, Channel, Exchange
from oneapi.services.health import KEY_REST_S, RATE_REST_S, Health
from tests.relay.test_pipeline import GOOD, WHOLE, body, rejected
from tests.relay.world import World, drained

KEYS = ("key-a", "key-b", "key-c")


def channel(number: int = 1, weights: tuple[int, ...] = (1, 1)) -> Channel:
    settings = [f'{{"key": "{key}", "weight": {weight}}}' for key, weight in zip(KEYS[1:], weights, strict=False)]
    columns: dict[str, Any] = {
        "id": number, "type": 1, "name": "pool", "base_url": "http://up", "key": KEYS[0], "config": "", "other": "",
        "models": "", "group": "", "priority": 0, "weight": 0, "model_mapping": "", "system_prompt": "",
        "settings": f'{{"keys": [{", ".join(settings)}]}}',
    }  # fmt: skip
    made = directory.channel_of(SimpleNamespace(**columns), adaptors.load(), Keyring())  # type: ignore[arg-type]
    assert made is not None
    return made


def pooled_world(*scripts: Any) -> World:
    world = World({1: list(scripts)})
    world.directory._channels[1] = channel()  # type: ignore[index]
    return world


def keys_sent(world: World) -> list[str]:
    return [request.headers["Authorization"].removeprefix("Bearer ") for request in world.sent]


def ask(world: World, **ports: Any) -> bytes:
    return drained(pipeline.relay(world.call(), body, world.ports(**ports)))


def test_a_pools_keys_take_part_in_proportion_to_their_weights() -> None:
    route = routing.Route(channel(weights=(3, 0)), "m", World({}).prices.price("gpt-4o", 1))  # type: ignore[arg-type]
    rng = random.Random(5)
    drawn = Counter(
        routing.with_key(route, is_resting=lambda *_: False, tried=(), rng=rng).channel.key for _ in range(4000)
    )
    assert drawn.keys() == {"key-a", "key-b"}
    assert 900 < drawn["key-a"] < 1100


def test_resting_and_tried_keys_come_last() -> None:
    pool = channel()
    ids = {one.channel.key: one.id for one in pool.pool}
    route = routing.Route(pool, "m", World({}).prices.price("gpt-4o", 1))  # type: ignore[arg-type]

    def drawn(resting: set[str], tried: set[str]) -> set[str]:
        rng = random.Random(1)
        return {
            routing.with_key(
                route,
                is_resting=lambda _, key_id: key_id in {ids[key] for key in resting},
                tried={ids[key] for key in tried},
                rng=rng,
            ).channel.key
            for _ in range(50)
        }

    assert drawn({"key-a"}, {"key-b"}) == {"key-c"}
    assert drawn({"key-b", "key-c"}, {"key-a"}) == {"key-b", "key-c"}
    assert drawn(set(), set(KEYS)) == set(KEYS)


@pytest.mark.parametrize("failure", [rejected(401), rejected(429)])
def test_a_refused_key_makes_way_for_another_of_the_same_channel(failure: Any) -> None:
    world = pooled_world(failure, GOOD)
    assert ask(world) == WHOLE
    first, second = keys_sent(world)
    assert first != second
    assert world.asked == [1, 1]
    assert len({attempt.key_id for attempt in world.observed[0].attempts}) == 2


def test_at_most_three_keys_are_tried_and_each_once() -> None:
    world = pooled_world(rejected(401), rejected(401), rejected(401), GOOD)
    with pytest.raises(Exception, match="no"):
        ask(world)
    assert sorted(keys_sent(world)) == sorted(KEYS)


def test_what_is_not_about_the_key_does_not_try_another() -> None:
    world = pooled_world(rejected(500), GOOD)
    with pytest.raises(Exception, match="no"):
        ask(world)
    assert len(world.sent) == 1


def test_a_key_is_not_shown_where_a_channel_is() -> None:
    assert not any(key in repr(channel()) for key in KEYS)


# ---- health ----


class Clinic:
    def __init__(self, options: Options | None = None) -> None:
        self.now = 1000.0
        self.pool = channel()
        self.disabled: list[int] = []
        self.written: list[Any] = []
        self.world = pooled_world()
        self.health = Health(
            now=lambda: self.now,
            directory=lambda: self.world.directory,
            options=lambda: options or Options(automatic_disable_channel_enabled=True),
            write=self.written.append,
            disable=lambda channel_id, reason: self.disabled.append(channel_id),
        )

    def sees(self, key: str, status: int) -> None:
        world = World({1: [rejected(status)]})
        with pytest.raises(Exception, match="no"):
            ask(world)
        failed = world.observed[0].attempts[0]
        key_id = directory.key_id(key)
        attempt = Attempt(
            channel_id=1, channel_name="pool", model="gpt-4o", started_s=0, error=failed.error, key_id=key_id
        )
        exchange: Exchange = replace(world.observed[0], attempts=[attempt], error=None)
        self.health.observe(exchange)

    def works(self, key: str) -> None:
        world = World({1: [GOOD]})
        assert ask(world) == WHOLE
        attempts = [replace(world.observed[0].attempts[0], channel_id=1, key_id=directory.key_id(key))]
        self.health.observe(replace(world.observed[0], attempts=attempts))

    def rests(self, key: str) -> bool:
        return self.health.is_key_resting(1, directory.key_id(key))


@pytest.mark.parametrize(("status", "rest_s"), [(401, KEY_REST_S), (429, RATE_REST_S)])
def test_a_refused_key_rests_and_its_channel_goes_on(status: int, rest_s: float) -> None:
    clinic = Clinic()
    clinic.sees("key-b", status)
    assert (clinic.rests("key-a"), clinic.rests("key-b")) == (False, True)
    assert clinic.disabled == []
    assert not clinic.health.is_cooling(1, "gpt-4o")
    clinic.now += rest_s
    assert not clinic.rests("key-b")


def test_others_are_told_of_a_refused_key_once_and_when_it_works_again() -> None:
    clinic = Clinic()
    clinic.sees("key-b", 429)
    assert clinic.written == []
    clinic.sees("key-b", 401)
    clinic.sees("key-b", 401)
    (told,) = clinic.written
    assert (told.channel_id, told.model, told.key_id) == (1, "", directory.key_id("key-b"))
    assert (told.until, told.reason) == (1000 + KEY_REST_S, "HTTP 401: no")
    clinic.works("key-b")  # it was under way when the key was refused
    assert clinic.rests("key-b")
    clinic.now += KEY_REST_S
    clinic.works("key-b")
    clinic.works("key-b")
    assert [change.until for change in clinic.written] == [told.until, 0]


def test_a_worker_takes_over_which_keys_rest_and_keeps_what_it_knows_alone() -> None:
    clinic, other = Clinic(), Clinic()
    clinic.sees("key-b", 401)
    other.sees("key-c", 429)
    other.health.adopt(clinic.written)
    assert [other.rests(key) for key in KEYS] == [False, True, True]
    other.health.adopt([])
    assert [other.rests(key) for key in KEYS] == [False, False, True]


def test_a_channel_whose_own_key_is_disabled_goes_by_another() -> None:
    row = SimpleNamespace(
        id=1, type=1, name="", base_url="", key="key-a", config="", other="", models="", group="", priority=0, weight=0,
        model_mapping="", system_prompt="", settings='{"keys": [{"key": "key-a", "disabled": true}, "key-b"]}',
    )  # fmt: skip
    made = directory.channel_of(row, adaptors.load(), Keyring())  # type: ignore[arg-type]
    assert made is not None
    assert (made.key, made.pool) == ("key-b", ())


def test_a_channel_whose_keys_were_all_refused_is_disabled() -> None:
    clinic = Clinic()
    for key in KEYS:
        assert clinic.disabled == []
        clinic.sees(key, 401)
    assert clinic.disabled == [1]
