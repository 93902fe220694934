"""A node may stop at any time: what can be finished is finished, the rest is ended and paid for as far as it came."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from oneapi.relay import encodings
from tests.servers import sqlite_database
from tests.street.clients import CHAT, ask
from tests.street.console import ROOT_KEY
from tests.street.shop import COST, ENDLESS, RATIO, Shop, opened, wait_until
from tests.street.upstreams import MockUpstream

SHORT = "mock-n30-d50"  # 1.5 s
WHOLE = "mock-f1500"
GRACE = "10"  # seconds, of which the last five are for settling
STOPPED_WITHIN_S = 30


@pytest.fixture
def goods(mock: MockUpstream) -> list[dict[str, str]]:
    return [{"base_url": mock.url, "models": f"{SHORT},{WHOLE},{ENDLESS}"}]


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
        wait_until(lambda: mock.stats()["requests"] >= before + 35)
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


@pytest.fixture
def patient(tmp_path: Path, goods: list[dict[str, str]]) -> Iterator[Shop]:
    """With time enough for streams, and for idle connections, to outlast every patience of these tests."""
    with opened(tmp_path, sqlite_database(tmp_path), goods, GRACEFUL_TIMEOUT="90", KEEPALIVE="75") as running:
        yield running


def test_idle_connections_do_not_delay_the_stop(patient: Shop) -> None:
    host, _, port = patient.url.removeprefix("http://").partition(":")
    address = (host, int(port))
    silent = [socket.create_connection(address) for _ in range(4)]
    asked = []
    for method, path, body in (
        ("POST", CHAT, question(WHOLE)),
        ("GET", "/v1/models", None),
        ("GET", "/api/status", None),
    ):
        connection = http.client.HTTPConnection(*address)
        connection.request(method, path, body, {"Authorization": f"Bearer {ROOT_KEY}"})
        response = connection.getresponse()
        assert (response.status, response.will_close) == (200, False)
        response.read()
        asked.append(connection)
    assert patient.gateway.stop(STOPPED_WITHIN_S) == 0
    for waiting in [*silent, *(connection.sock for connection in asked)]:
        assert waiting.recv(1) == b""
        waiting.close()


def question(model: str) -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Say something."}]})


def test_a_connection_that_was_busy_at_the_signal_is_closed_after_its_answer(patient: Shop, mock: MockUpstream) -> None:
    connection = http.client.HTTPConnection(patient.url.removeprefix("http://"))
    before = mock.stats()["requests"]
    connection.request("POST", CHAT, question(WHOLE), {"Authorization": f"Bearer {ROOT_KEY}"})
    wait_until(lambda: mock.stats()["requests"] > before)
    assert patient.gateway.stop(STOPPED_WITHIN_S) == 0
    response = connection.getresponse()
    assert response.status == 200
    assert json.loads(response.read())["choices"]
    connection.close()
