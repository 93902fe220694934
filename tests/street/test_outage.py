"""The database goes away under load and comes back: running streams end, new calls are told when to come again, and
every charge is written when it can be."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
import requests

from oneapi.services import spool
from tests.needs import require_service
from tests.servers import MariaDB
from tests.street.clients import ask
from tests.street.crowd import Crowd
from tests.street.shop import COST, opened, wait_until
from tests.street.upstreams import MockUpstream

LONG = "mock-n60-d50"  # 3 s
CUT = "mock-n100-d50-cut"  # breaks off after 2.5 s
WHOLE = "mock-f2500"
QUICK = "mock-n3-d10"
CUTS = 12  # so many that one of the two workers stops asking the channel, and cannot tell the other


@pytest.fixture
def server() -> Iterator[MariaDB]:
    """A server of the test's own, so that nothing else feels its end."""
    own = MariaDB(require_service("mariadb"))
    yield own
    own.close()


def test_a_database_that_goes_away_costs_nobody_anything(tmp_path: Path, server: MariaDB, mock: MockUpstream) -> None:
    goods = [{"base_url": mock.url, "models": f"{LONG},{CUT},{WHOLE},{QUICK}"}]
    with opened(tmp_path, server.fresh(), goods) as shop:
        user = shop.user(quota=100_000 * COST)
        key, unknown = shop.token(user), shop.token(user)
        before = mock.stats()["requests"]
        streams = [gevent.spawn(ask, shop.url, key, LONG, stream=True, with_usage=True) for _ in range(20)]
        cut = [gevent.spawn(ask, shop.url, key, CUT, stream=True) for _ in range(CUTS)]
        whole = [gevent.spawn(ask, shop.url, key, WHOLE) for _ in range(10)]
        wait_until(lambda: mock.stats()["requests"] == before + 30 + CUTS)
        crowd = Crowd(shop.url, [key], [QUICK], random.Random(4), clients=8)
        crowd.wait_for_answers(20)
        server.stop()

        refused = [ask(shop.url, token, QUICK, stream=is_stream) for token in (key, unknown) for is_stream in (0, 1)]
        for client in refused:
            assert client.status == 503, client
            assert int(client.headers["retry-after"]) > 0
            assert client.error is not None
            assert client.error["type"] == "one_api_error"
        assert requests.get(f"{shop.url}/healthz", timeout=10).status_code == 200
        assert requests.get(f"{shop.url}/readyz", timeout=10).status_code == 503
        answered = [call.get() for call in streams + whole]
        assert [client.is_answered for client in answered] == [True] * 30
        broken = [call.get() for call in cut]
        assert [client.error is not None and client.is_complete for client in broken] == [True] * CUTS
        assert len(spool.find(shop.spool)) > 0
        # Its successor waits for the database, and must not take the other worker along.
        os.kill(shop.gateway.worker_pids[0], signal.SIGKILL)
        wait_until(lambda: "this worker begins when it does" in shop.gateway.log())

        server.start()
        crowd.wait_for_answers(20)
        wait_until(lambda: not spool.find(shop.spool))
        heard = crowd.go_home()
        assert {client.status for client in heard} == {200, 503}
        shop.check([*heard, *refused, *answered, *broken], user.id)
        assert all(shop.charge(client).quota > 0 for client in broken)
