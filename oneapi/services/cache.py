"""What workers tell and remember together: Redis where it is configured, this process alone where it is not.

Nothing depends on it for correctness. Redis that is away costs a line in the log a minute: values are then not found,
and news come with the next look at the database instead of at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from oneapi.config import Config

PREFIX = "oneapi:"  # One API's own keys have none; neither meets the other's
NEWS = "revisions"  # said after a change that other workers should look at


class Cache(Protocol):
    """Small values that may vanish at any time, and news."""

    def get(self, key: str) -> bytes | None: ...
    def set(self, key: str, value: bytes, ttl_s: int) -> None: ...
    def delete(self, key: str) -> None: ...
    def publish(self, channel: str) -> None: ...

    def listen(self, channel: str, heard: Callable[[], object]) -> None:
        """Calls `heard` at each publication, for as long as the greenlet lives that runs this."""


class NullCache:
    """Remembers nothing and tells nobody."""

    def get(self, key: str) -> bytes | None:
        return None

    def set(self, key: str, value: bytes, ttl_s: int) -> None:
        return

    def delete(self, key: str) -> None:
        return

    def publish(self, channel: str) -> None:
        return

    def listen(self, channel: str, heard: Callable[[], object]) -> None:
        return


class LocalCache:
    """For this process alone."""

    _LIMIT = 10_000

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._values: dict[str, tuple[float, bytes]] = {}
        self._listeners: dict[str, list[Callable[[], object]]] = {}

    def get(self, key: str) -> bytes | None:
        entry = self._values.get(key)
        return entry[1] if entry is not None and entry[0] > self._monotonic() else None

    def set(self, key: str, value: bytes, ttl_s: int) -> None:
        if len(self._values) >= self._LIMIT:
            now_s = self._monotonic()
            live = {key: entry for key, entry in self._values.items() if entry[0] > now_s}
            self._values = live if len(live) < self._LIMIT else {}
        self._values[key] = (self._monotonic() + ttl_s, value)

    def delete(self, key: str) -> None:
        self._values.pop(key, None)

    def publish(self, channel: str) -> None:
        for heard in self._listeners.get(channel, ()):
            heard()

    def listen(self, channel: str, heard: Callable[[], object]) -> None:
        self._listeners.setdefault(channel, []).append(heard)


def open_cache(config: Config) -> Cache:
    """Redis where REDIS_CONN_STRING is set, with or without Sentinel; connects when first used."""
    if not config.redis_conn_string:
        return LocalCache()
    from oneapi.services import redis_cache  # heavy, and nothing to most installations

    return redis_cache.RedisCache(redis_cache.redis_client(config))


def limits_storage(config: Config) -> tuple[str, dict[str, Any]]:
    """The same Redis as the address and options that `limits` wants, for counters; memory where there is none."""
    if not config.redis_conn_string:
        return "memory://", {}
    if not config.redis_master_name:
        return config.redis_conn_string, redis_options()
    options = redis_options() | ({"password": config.redis_password} if config.redis_password else {})
    hosts = ",".join(f"{host}:{port}" for host, port in sentinels(config))
    return f"redis+sentinel://{hosts}/{config.redis_master_name}", options


def redis_options() -> dict[str, Any]:
    """How Redis is connected to, and how long it is waited for."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "protocol": 2,  # servers before 6 and some proxies know no other
        "socket_timeout": 1,
        "socket_connect_timeout": 1,
        "health_check_interval": 30,
        # Once more, for a connection that has died unnoticed; by default a Redis that hangs is asked eleven times.
        "retry": Retry(NoBackoff(), 1),
    }


def sentinels(config: Config) -> list[tuple[str, int]]:
    """Where they listen, from a REDIS_CONN_STRING that lists them."""
    parts = [part.strip().removeprefix("redis://").rpartition(":") for part in config.redis_conn_string.split(",")]
    return [(host, int(port)) for host, _, port in parts]
