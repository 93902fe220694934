"""Processes that die at any moment under load: whoever has the end of an answer has been charged for it, and nobody's
quota stays held."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oneapi.services.quota import HOLD_S
from tests.servers import FreshDatabase
from tests.street.crowd import Crowd
from tests.street.shop import COST, Shop, opened, wait_until
from tests.street.upstreams import MockUpstream

MODELS = ("mock-n5-d10", "mock-n10-d30", "mock-f30")
WORKERS = 2


@pytest.fixture
def shop(tmp_path: Path, new_database: Callable[[], FreshDatabase], mock: MockUpstream) -> Iterator[Shop]:
    """On MariaDB with the logs in a database of their own."""
    goods = [{"base_url": mock.url, "models": ",".join(MODELS)}]
    database = new_database()
    logs = new_database() if database.kind == "mysql" else None
    with opened(tmp_path, database, goods, logs=logs, WEB_CONCURRENCY=str(WORKERS)) as running:
        yield running


def test_whoever_has_an_answer_has_been_charged_though_processes_die_at_any_moment(shop: Shop) -> None:
    rng = random.Random(3)
    users = [shop.user(quota=100_000 * COST) for _ in range(2)]
    limited = shop.token(users[1], unlimited_quota=False, remain_quota=100_000 * COST)
    crowd = Crowd(shop.url, [shop.token(users[0]), shop.token(users[1]), limited], MODELS, rng, clients=40)
    for _ in range(2):
        crowd.wait_for_answers(rng.randrange(20, 60))
        os.kill(rng.choice(shop.gateway.worker_pids), signal.SIGKILL)
        wait_until(lambda: len(shop.gateway.worker_pids) == WORKERS)
    crowd.wait_for_answers(50)
    shop.gateway.kill9()
    abandoned = shop.holds()
    shop.let_pass(HOLD_S + 1)
    shop.gateway.start()
    crowd.wait_for_answers(100)
    heard = crowd.go_home()
    assert abandoned > 0
    shop.check(heard, *(user.id for user in users))
    assert shop.remainder(limited) + shop.charged_to(limited) == 100_000 * COST
