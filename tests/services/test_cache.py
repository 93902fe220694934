"""What workers tell and remember together."""

import time
from collections.abc import Callable

import gevent
import pytest

from oneapi.config import Config
from oneapi.services.cache import Cache, LocalCache, NullCache, limits_storage, open_cache
from tests.servers import Redis


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        gevent.sleep(0.02)
    return condition()


@pytest.fixture(params=["local", "redis"])
def cache(request: pytest.FixtureRequest) -> Cache:
    if request.param == "local":
        return open_cache(Config())
    server: Redis = request.getfixturevalue("redis_server")
    server.flush()
    return open_cache(Config(redis_conn_string=server.url))


def test_values_come_back_until_they_are_deleted(cache: Cache) -> None:
    assert cache.get("a") is None
    cache.set("a", b"1", 60)
    assert cache.get("a") == b"1"
    cache.delete("a")
    assert cache.get("a") is None


def test_news_reach_who_listens(cache: Cache) -> None:
    heard: list[int] = []
    listening = gevent.spawn(cache.listen, "news", lambda: heard.append(1))

    def is_heard() -> bool:
        cache.publish("news")
        return bool(heard)

    assert eventually(is_heard)
    listening.kill()


def test_local_values_end_with_their_time() -> None:
    now = [0.0]
    cache = LocalCache(lambda: now[0])
    cache.set("a", b"1", 5)
    now[0] = 5
    assert cache.get("a") is None


def test_local_values_do_not_fill_the_memory() -> None:
    cache = LocalCache()
    for number in range(20_001):
        cache.set(str(number), b"", 60)
    assert len(cache._values) <= 10_000


def test_the_null_cache_remembers_nothing() -> None:
    cache = NullCache()
    cache.set("a", b"1", 5)
    assert cache.get("a") is None


def test_redis_that_is_away_is_gone_without_and_comes_back(
    redis_server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(Config(redis_conn_string=redis_server.url))
    heard: list[int] = []
    listening = gevent.spawn(cache.listen, "news", lambda: heard.append(1))
    redis_server.stop()
    try:
        cache.set("a", b"1", 60)
        cache.publish("news")
        assert cache.get("a") is None
        assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    finally:
        redis_server.start()

    def is_heard() -> bool:
        cache.publish("news")
        return bool(heard)

    assert eventually(is_heard)
    listening.kill()


def test_sentinels_are_addressed_for_limits() -> None:
    config = Config(redis_conn_string="a:26379, b:26380", redis_master_name="mymaster", redis_password="p")
    uri, options = limits_storage(config)
    assert uri == "redis+sentinel://a:26379,b:26380/mymaster"
    assert options["password"] == "p"
    assert limits_storage(Config()) == ("memory://", {})
