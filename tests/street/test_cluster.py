"""Two nodes of two workers behave as one, and lose nobody's money, whichever of them or of their servers dies."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import pytest
import redis
import requests
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from sqlalchemy import ColumnElement, Select, func, insert, or_, select, update

from oneapi import jobs
from oneapi.models import Channel, Hold, Lease, Log, OneTimeCode
from oneapi.services.cache import NEWS, PREFIX
from oneapi.services.logs import TEST
from oneapi.services.quota import HOLD_S
from tests.gateway import ROOT_ACCESS_TOKEN
from tests.needs import require_service
from tests.servers import FreshDatabase, MariaDB, Redis, Server
from tests.street.clients import Heard, ask
from tests.street.console import User
from tests.street.crowd import Crowd
from tests.street.nodes import Clerk, WorkerLine, lines_to, seconds_until_felt
from tests.street.shop import COST, ENDLESS, Shop, joined, opened, wait_until
from tests.street.upstreams import MockUpstream
from tests.street.wire import Reply

BRISK = ("mock-n5-d10", "mock-n10-d30", "mock-f30")
SWITCHED = "mock-n1-d1"  # has a channel of its own, the second
CREDIT = 100_000 * COST
A_MINUTE = 4
WORKERS = 2  # of each node


@dataclass(frozen=True, slots=True)
class Cluster:
    nodes: tuple[Shop, Shop]
    mariadb: MariaDB
    redis: Redis

    def wait_for_listeners(self) -> None:
        """Until every worker is told by Redis what is new."""
        channel = PREFIX + NEWS
        with redis.Redis(port=self.redis.port, protocol=2) as client:
            wait_until(lambda: client.pubsub_numsub(channel) == [(channel.encode(), WORKERS * len(self.nodes))])


class Load:
    """A crowd at each node, with the keys of two users, one of them limited; and a clerk at both.

    A context manager: at its end everybody goes home. Nobody's money was lost or made then, and nothing has failed
    without a cause.
    """

    def __init__(self, nodes: Sequence[Shop]) -> None:
        self.nodes = nodes
        self.users = [nodes[0].user(quota=CREDIT) for _ in nodes]
        first, second = (node.token(user) for node, user in zip(nodes, self.users, strict=True))
        self.key = first
        self.limited = nodes[0].token(self.users[1], unlimited_quota=False, remain_quota=CREDIT)
        keys = (first, second, self.limited)
        self._crowds = {node: Crowd(node.url, keys, BRISK, random.Random(7), clients=4) for node in nodes}
        self._clerk = Clerk(nodes, user_id=self.users[1].id, channel_id=1)

    def wait_for_answers(self, *nodes: Shop) -> None:
        """Until a few more clients of these nodes (without any: of all) have got what they wanted."""
        for node in nodes or self.nodes:
            self._crowds[node].wait_for_answers(10)

    @property
    def unheard(self) -> int:
        """How many calls came to nothing, as those do that a killed node has taken."""
        return sum(crowd.unheard for crowd in self._crowds.values())

    def __enter__(self) -> Load:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        heard = [client for crowd in self._crowds.values() for client in crowd.go_home()]
        told = self._clerk.go_home()
        if error is None:
            self._check(heard, told)

    def _check(self, heard: Sequence[Heard], told: Sequence[requests.Response]) -> None:
        for answer in (*heard, *told):
            status = _status(answer)
            assert status == 200 or (status == 503 and int(answer.headers["retry-after"]) > 0), answer
        for node in self.nodes:
            node.check(heard, *(user.id for user in self.users))
        shop, (_, rich) = self.nodes[0], self.users
        assert shop.remainder(self.limited) + shop.charged_to(self.limited) == CREDIT
        given = (shop.credited(rich.id) - CREDIT) // Clerk.QUOTA
        assert self._clerk.given <= given <= self._clerk.given + self._clerk.untold


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, mock: MockUpstream) -> Iterator[Cluster]:
    """On a MariaDB and a Redis of its own, so that nothing else feels their end. What a test stops it starts again."""
    cache = Redis(require_service("redis"))
    try:
        with _own_mariadb() as mariadb:
            folder = tmp_path_factory.mktemp("cluster")
            with _nodes(folder, mariadb.fresh(), mock, REDIS_CONN_STRING=cache.url) as nodes:
                yield Cluster(nodes, mariadb, cache)
    finally:
        cache.close()


@contextmanager
def _own_mariadb() -> Iterator[MariaDB]:
    server = MariaDB(require_service("mariadb"))
    try:
        yield server
    finally:
        server.close()


@contextmanager
def _nodes(folder: Path, database: FreshDatabase, mock: MockUpstream, **environ: str) -> Iterator[tuple[Shop, Shop]]:
    goods = [{"base_url": mock.url, "models": models} for models in (",".join((*BRISK, ENDLESS)), SWITCHED)]
    places = [folder / name for name in ("a", "b")]
    for place in places:
        place.mkdir()
    with opened(places[0], database, goods, **environ) as first, joined(first, places[1]) as second:
        yield first, second


# ---- what is changed through one node ----


def test_changes_are_felt_by_every_worker_with_redis_without_it_and_when_it_is_back(cluster: Cluster) -> None:
    victim = cluster.nodes[0].user()
    key = cluster.nodes[1].token(victim)
    with Load(cluster.nodes) as load:
        load.wait_for_answers()
        cluster.wait_for_listeners()
        _changes_are_felt("with Redis", cluster.nodes, victim, key)
        with _killed(cluster.redis):
            _changes_are_felt("while Redis is away", cluster.nodes, victim, key)
            load.wait_for_answers()
        cluster.wait_for_listeners()
        _changes_are_felt("with Redis again", cluster.nodes, victim, key)
    assert load.unheard == 0


@pytest.mark.parametrize("shop", ["postgres"], indirect=True)
def test_changes_are_felt_by_every_worker_where_there_is_no_redis(
    shop: Shop, tmp_path: Path, mock: MockUpstream
) -> None:
    channel = {"type": 1, "name": "switched", "key": "k", "base_url": mock.url, "models": SWITCHED, "group": "default"}
    shop.call("POST", "/api/channel/", channel)
    channel_id = shop.number(select(Channel.id).where(Channel.name == channel["name"]))
    victim = shop.user()
    with joined(shop, tmp_path, WEB_CONCURRENCY="1") as other:
        _changes_are_felt("without Redis", (shop, other), victim, other.token(victim), channel_id)
    shop.call("DELETE", f"/api/channel/{channel_id}")


def _changes_are_felt(where: str, nodes: Sequence[Shop], victim: User, key: str, channel_id: int = 2) -> None:
    """The channel of SWITCHED is switched off, the user banned, and both allowed again, through the first node.

    Prints for each how long after the answer of /api it was until the last worker knew.
    """
    changing = nodes[0]

    def models(line: WorkerLine) -> Reply:
        return line.get("/v1/models", f"Bearer {key}")

    def is_offered(line: WorkerLine) -> bool:
        return SWITCHED in {row["id"] for row in models(line).json["data"]}

    def is_let_in(line: WorkerLine) -> bool:
        return models(line).status == 200

    def switch(status: int) -> None:
        changing.call("PUT", "/api/channel/", {"id": channel_id, "status": status})

    seconds = [
        seconds_until_felt(nodes, lambda: switch(2), lambda line: not is_offered(line)),
        seconds_until_felt(nodes, lambda: switch(1), is_offered),
        seconds_until_felt(
            nodes, lambda: changing.manage(victim.username, "disable"), lambda line: not is_let_in(line)
        ),
        seconds_until_felt(nodes, lambda: changing.manage(victim.username, "enable"), is_let_in),
    ]
    print(f"{where}: felt after", ", ".join(f"{1000 * one:.0f}" for one in seconds), "ms")


def test_whoever_is_banned_through_one_node_is_served_nothing_more_by_the_other(cluster: Cluster) -> None:
    here, there = cluster.nodes
    victim = here.user()
    key = there.token(victim)
    assert ask(there.url, key, SWITCHED).status == 200
    here.manage(victim.username, "disable")
    # At once, news or not: the balance, and whose it is, is looked at where it is written.
    assert [ask(node.url, key, SWITCHED).status for node in (there, here) * 3] == [403] * 6
    own = victim.session.get(f"{there.url}/api/user/self", timeout=30)
    assert not own.json()["success"]


# ---- what is limited ----


def test_a_limit_holds_whether_redis_is_there_or_not(cluster: Cluster) -> None:
    user = cluster.nodes[0].user()

    def answered() -> int:
        key = cluster.nodes[0].token(user, limits={"requests_per_minute": A_MINUTE})
        heard = Pool(8).map(lambda number: ask(cluster.nodes[number % 2].url, key, SWITCHED), range(32))
        refused = [client for client in heard if not client.is_answered]
        assert all(client.status == 429 and int(client.headers["retry-after"]) > 0 for client in refused), refused
        return len(heard) - len(refused)

    # Each node allows as much by itself; and twice as much is allowed where a minute ends and another begins.
    few = range(1, 2 * 2 * A_MINUTE + 1)
    assert answered() in few
    with _killed(cluster.redis):
        assert answered() in few


def test_calls_at_once_are_counted_over_all_nodes(cluster: Cluster) -> None:
    here, there = cluster.nodes
    user = here.user(quota=CREDIT)
    key = here.token(user, limits={"concurrency": 3})
    is_enough = Event()
    running = [
        gevent.spawn(ask, node.url, key, ENDLESS, stream=True, leaves=lambda _: is_enough.is_set())
        for node in (here, here, there)
    ]
    wait_until(lambda: here.number(_open_holds(Hold.user_id == user.id)) == 3)
    refused = [ask(node.url, key, SWITCHED) for node in cluster.nodes]
    is_enough.set()
    assert [client.status for client in refused] == [429, 429]
    assert [call.get().status for call in running] == [200] * 3
    wait_until(lambda: here.holds() == 0)
    assert ask(there.url, key, SWITCHED).is_answered


# ---- what dies ----


def test_a_database_that_restarts_is_waited_for_by_all_nodes(cluster: Cluster) -> None:
    with Load(cluster.nodes) as load:
        load.wait_for_answers()
        with _stopped(cluster.mariadb):
            for node in cluster.nodes:
                asked = [
                    ask(node.url, load.key, SWITCHED),
                    *(
                        requests.get(node.url + path, headers={"Authorization": credential}, timeout=60)
                        for path, credential in (
                            ("/api/user/self", ROOT_ACCESS_TOKEN),
                            ("/api/channel/", ROOT_ACCESS_TOKEN),
                            ("/v1/dashboard/billing/usage", f"Bearer {load.key}"),
                            ("/v1/models", "Bearer sk-unknown"),
                        )
                    ),
                    *(load.users[0].session.get(node.url + path, timeout=60) for path in ("/", "/admin/token/")),
                ]
                for answer in asked:
                    assert _status(answer) == 503, answer
                    assert int(answer.headers["retry-after"]) > 0
        load.wait_for_answers()
    assert load.unheard == 0


def test_a_node_that_is_killed_leaves_its_jobs_to_the_other_which_repeats_none(cluster: Cluster) -> None:
    one = cluster.nodes[0]
    user = one.user(quota=CREDIT)
    key = one.token(user)
    wait_until(lambda: _holder(one, "jobs: expire one-time codes") is not None)
    one.tamper(insert(OneTimeCode).values(purpose="expired", subject="nobody", code="", expires_at=1))
    with Load(cluster.nodes) as load:
        load.wait_for_answers()
        leader = _holder(one, jobs.LEASE)
        assert leader is not None
        (killed,) = [node for node in cluster.nodes if _pid(leader) in node.gateway.worker_pids]
        (other,) = [node for node in cluster.nodes if node is not killed]
        cut = [gevent.spawn(ask, killed.url, key, ENDLESS, stream=True) for _ in range(3)]
        wait_until(lambda: one.number(_open_holds(Hold.user_id == user.id)) == 3)
        dead = set(killed.gateway.worker_pids)
        killed.gateway.kill9()
        gevent.joinall(cut, raise_error=True)
        load.wait_for_answers(other)
        killed.gateway.start()
        load.wait_for_answers()
        # So much time passes that leases and holds of the dead run out.
        left_behind, leased = (
            or_(*(column.like(f"%:{pid}:%") for pid in dead)) for column in (Hold.worker, Lease.holder)
        )
        one.tamper(update(Hold).where(left_behind).values(expires_at=Hold.expires_at - HOLD_S - 1))
        one.tamper(update(Lease).where(leased).values(expires_at=Lease.expires_at - jobs.LEASE_S - 1))
        wait_until(lambda: _pid(_holder(one, jobs.LEASE)) not in dead, 60)
        wait_until(lambda: one.number(_open_holds(left_behind)) == 0)
    assert one.balance(user.id) == CREDIT
    # It has run shortly before, and is not due again.
    assert one.number(select(func.count()).select_from(OneTimeCode).where(OneTimeCode.purpose == "expired")) == 1


# ---- what is done once ----


def test_a_round_asked_of_every_worker_at_once_is_one_round(cluster: Cluster) -> None:
    one = cluster.nodes[0]
    may_end = Event()

    def provider(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        may_end.wait(60)
        start_response("200 OK", [("Content-Type", "application/json")])
        choice = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
        return [json.dumps({"id": "1", "object": "chat.completion", "model": "slow", "choices": [choice]}).encode()]

    server = WSGIServer(("127.0.0.1", 0), provider, log=None)
    server.start()
    slow = {"type": 1, "name": "slow", "key": "k", "base_url": f"http://127.0.0.1:{server.server_port}"}
    one.call("POST", "/api/channel/", slow | {"models": "slow", "group": "default"})
    try:
        with lines_to(cluster.nodes) as lines:
            asked = [gevent.spawn(line.get, "/api/channel/test") for line in lines]
            told = [call.get().json["success"] for call in asked]
        may_end.set()
        assert sorted(told) == [False, False, False, True]
        wait_until(lambda: one.call("GET", "/api/channel/rounds") == {})
        tests = select(Log.channel_id, func.count()).where(Log.type == TEST).group_by(Log.channel_id)
        channels = [row[0] for row in one.rows(select(Channel.id).order_by(Channel.id))]
        assert sorted(tuple(row) for row in one.rows(tests)) == [(number, 1) for number in channels]
    finally:
        may_end.set()
        one.call("DELETE", f"/api/channel/{one.number(select(Channel.id).where(Channel.name == 'slow'))}")
        server.stop()


@contextmanager
def _killed(server: Server) -> Iterator[None]:
    with _stopped(server, signal.SIGKILL):
        yield


@contextmanager
def _stopped(server: Server, how: signal.Signals | None = None) -> Iterator[None]:
    server.stop(how)
    try:
        yield
    finally:
        server.start()


def _open_holds(which: ColumnElement[bool]) -> Select[Any]:
    return select(func.count()).select_from(Hold).where(which, Hold.released_at.is_(None))


def _status(answer: Heard | requests.Response) -> int:
    return answer.status if isinstance(answer, Heard) else answer.status_code


def _holder(shop: Shop, lease: str) -> str | None:
    return next((row.holder for row in shop.rows(select(Lease.holder).where(Lease.name == lease))), None)


def _pid(holder: str | None) -> int:
    """The process that a lease's holder names."""
    return int((holder or ":0:").split(":")[1])
