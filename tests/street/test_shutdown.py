"""A node may stop at any time: what can be finished is finished, the rest is ended and paid for as far as it came."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import gevent
import pytest

from oneapi.relay import encodings
from tests.servers import sqlite_database
from tests.street.clients import CHAT, ask
from tests.street.console import ROOT_KEY
from tests.street.crowd import Crowd
from tests.street.shop import COST, ENDLESS, RATIO, opened, wait_until
from tests.street.upstreams import MockUpstream

SHORT = "mock-n30-d50"  # 1.5 s
WHOLE = "mock-f1500"
BRISK = ("mock-n5-d10", "mock-n10-d30", "mock-f30")
GRACE = "10"  # seconds, of which the last five are for settling
STOPPED_WITHIN_S = 30
QUESTION = json.dumps({"model": WHOLE, "messages": [{"role": "user", "content": "Say something."}]})
READ = (("GET", "/v1/models"), ("GET", "/api/status"))


@pytest.fixture
def goods(mock: MockUpstream) -> list[dict[str, str]]:
    return [{"base_url": mock.url, "models": ",".join((SHORT, WHOLE, ENDLESS, *BRISK))}]


def test_sigterm_ends_no_stream_that_can_end_by_itself(
    tmp_path: Path, mock: MockUpstream, goods: list[dict[str, str]]
) -> None:
    with opened(tmp_path, sqlite_database(tmp_path), goods, GRACEFUL_TIMEOUT=GRACE) as shop:
        user = shop.user(quota=1000 * COST)
        key = shop.token(user)
        before = mock.stats()["requests"]
        short = [gevent.spawn(ask, shop.url, key, SHORT, stream=True, with_usage=True) for _ in range(20)]
        whole = [gevent.spawn(ask, shop.url, key, WHOLE) for _ in range(10)]
        endless = [gevent.spawn(ask, shop.url, key, ENDLESS, stream=True) for _ in range(5)]
        wait_until(lambda: mock.stats()["requests"] == before + 35)
        assert shop.gateway.stop(STOPPED_WITHIN_S) == 0
        ended = [call.get() for call in short + whole]
        assert [client.is_answered for client in ended] == [True] * 30
        assert all(len(client.events) == 32 for client in ended[:20])  # 30 pieces, the finish, and usage
        aborted = [call.get() for call in endless]
        shop.check(ended + aborted, user.id)
        for client in aborted:
            assert (client.status, client.is_complete, client.is_answered) == (200, True, False)
            assert client.error is not None
            assert "restarting" in client.error["message"]
            charge = shop.charge(client)
            assert charge.completion_tokens == encodings.count(client.text, ENDLESS) > 0
            assert charge.quota == (charge.prompt_tokens + charge.completion_tokens) * RATIO
            assert shop.receipt(client)["result"] == "aborted"


def test_idle_connections_do_not_delay_the_stop_and_a_busy_one_is_closed_after_its_answer(
    tmp_path: Path, mock: MockUpstream, goods: list[dict[str, str]]
) -> None:
    # Time enough for every connection to outlast this test's patience.
    patience = {"GRACEFUL_TIMEOUT": "90", "KEEPALIVE": "75", "WEB_CONCURRENCY": "1"}
    with opened(tmp_path, sqlite_database(tmp_path), goods, **patience) as shop, ExitStack() as stack:
        host, _, port = shop.url.removeprefix("http://").partition(":")
        address = (host, int(port))
        idle = [stack.enter_context(socket.create_connection(address)) for _ in range(4)]
        asked = [stack.enter_context(closing(http.client.HTTPConnection(*address))) for _ in range(3)]
        for connection, (method, path) in zip(asked, (("POST", CHAT), *READ), strict=True):
            connection.request(
                method, path, QUESTION if method == "POST" else None, {"Authorization": f"Bearer {ROOT_KEY}"}
            )
            response = connection.getresponse()
            assert (response.status, response.will_close) == (200, False)
            response.read()
        busy = stack.enter_context(closing(http.client.HTTPConnection(*address)))
        before = mock.stats()["requests"]
        busy.request("POST", CHAT, QUESTION, {"Authorization": f"Bearer {ROOT_KEY}"})
        wait_until(lambda: mock.stats()["requests"] == before + 1)
        assert shop.gateway.stop(STOPPED_WITHIN_S) == 0
        for waiting in [*idle, *(connection.sock for connection in asked)]:
            assert waiting.recv(1) == b""
        response = busy.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["choices"]
        assert response.will_close


def test_a_reload_under_load_loses_no_call(tmp_path: Path, mock: MockUpstream, goods: list[dict[str, str]]) -> None:
    with opened(tmp_path, sqlite_database(tmp_path), goods, GRACEFUL_TIMEOUT=GRACE) as shop:
        user = shop.user(quota=100_000 * COST)
        crowd = Crowd(shop.url, [shop.token(user)], BRISK, random.Random(6), clients=20)
        crowd.wait_for_answers(50)
        old = shop.gateway.worker_pids
        os.kill(shop.gateway.pid, signal.SIGHUP)
        wait_until(lambda: len(shop.gateway.worker_pids) == 2 and not set(old) & set(shop.gateway.worker_pids))
        crowd.wait_for_answers(50)
        heard = crowd.go_home()
        assert crowd.unheard == 0
        assert [client for client in heard if not client.is_answered] == []
        shop.check(heard, user.id)
