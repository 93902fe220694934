"""Clients that hang up and providers that fail in every way: when the dust has settled, the books are right."""

from __future__ import annotations

import random
from functools import partial

from gevent.pool import Pool

from oneapi.relay import encodings
from tests.street.clients import Heard, Leaves, ask
from tests.street.shop import COST, ENDLESS, RATIO, SLOW, TROUBLESOME, Shop, wait_until
from tests.street.upstreams import MockUpstream

REQUESTS = 500
AT_ONCE = 80


def test_money_is_conserved_when_clients_leave_and_providers_fail(shop: Shop) -> None:
    rng = random.Random(20)
    rich, poor = shop.user(quota=REQUESTS * 4 * COST), shop.user(quota=15 * COST)
    limited = shop.token(rich, unlimited_quota=False, remain_quota=40 * COST)
    keys = [shop.token(rich), shop.token(rich), shop.token(rich), limited, shop.token(poor)]
    pool = Pool(AT_ONCE)
    calls = [
        pool.spawn(
            ask,
            shop.url,
            rng.choice(keys),
            rng.choice(TROUBLESOME),
            stream=rng.random() < 0.7,
            with_usage=rng.random() < 0.5,
            **some_way_to_leave(rng),
        )
        for _ in range(REQUESTS)
    ]
    heard = [call.get() for call in calls]
    # 401: the limited token was found used up, to the last unit.
    assert {client.status for client in heard} <= {0, 200, 400, 401, 403, 429, 500, 502, 503, 504}
    assert {client.status for client in heard} >= {200, 400, 403, 503}
    assert sum(client.is_answered for client in heard) > 50
    assert sum(client.has_left for client in heard) > 50
    shop.check(heard, rich.id, poor.id)
    assert shop.balance(poor.id) >= 0
    assert shop.remainder(limited) >= 0
    # Of those who left, what was sent is counted, and this upstream's own figure is less than its words make.
    charges = shop.charges()
    stayed = [client.request_id for client in heard if client.is_answered and not client.has_left]
    assert {charges[request_id][0].quota for request_id in stayed} == {COST}


def some_way_to_leave(rng: random.Random) -> dict[str, float | Leaves]:
    """Half of all clients stay; others leave before the first byte, somewhere in the middle, or just at the end."""
    match rng.randrange(6):
        case 0:
            return {"leaves_after_s": rng.random() * 0.3}
        case 1:
            return {"leaves": partial(has_more_than, rng.randrange(4000))}
        case 2:
            return {"leaves": has_finished}
    return {}


def has_more_than(length: int, heard: Heard) -> bool:
    return len(heard.body) > length


def has_finished(heard: Heard) -> bool:
    return b'"finish_reason":"stop"' in heard.body


def test_a_client_who_leaves_a_stream_pays_for_what_was_delivered(shop: Shop, mock: MockUpstream) -> None:
    user = shop.user(quota=1000 * COST)
    heard = ask(shop.url, shop.token(user), ENDLESS, stream=True, leaves=partial(has_more_than, 5000))
    assert heard.has_left
    wait_until(lambda: mock.stats()["streams_open"] == 0, 10)  # the provider is not let go on for its 30 seconds
    shop.check([heard], user.id)
    charge = shop.charge(heard)
    assert shop.receipt(heard)["result"] == "aborted"
    assert encodings.count(heard.text, ENDLESS) <= charge.completion_tokens < 3000
    assert charge.quota == (charge.prompt_tokens + charge.completion_tokens) * RATIO


def test_a_client_who_leaves_before_the_first_byte_pays_nothing(shop: Shop) -> None:
    user = shop.user(quota=1000 * COST)
    key = shop.token(user)
    heard = [ask(shop.url, key, SLOW, stream=is_stream, leaves_after_s=0.5) for is_stream in (False, True)]
    assert [client.has_left for client in heard] == [True, True]
    shop.check(heard, user.id)
    assert shop.charged(user.id) == 0
