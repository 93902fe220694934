"""The cache in Redis, which all workers and nodes share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
import redis
from redis.sentinel import Sentinel

from oneapi.config import Config
from oneapi.services.cache import PREFIX, redis_options, sentinels

log = logging.getLogger(__name__)

_SENTINEL: Any = Sentinel
_COMPLAIN_EVERY_S = 60
_LISTEN_AGAIN_S = 2


class RedisCache:
    """For all workers and nodes."""

    def __init__(self, client: Any) -> None:
        self._client = client  # redis.Redis, whose types are not whole
        self._complained_s = -float(_COMPLAIN_EVERY_S)

    def get(self, key: str) -> bytes | None:
        value = self._try(lambda: self._client.get(PREFIX + key))
        return value if isinstance(value, bytes) else None

    def set(self, key: str, value: bytes, ttl_s: int) -> None:
        self._try(lambda: self._client.set(PREFIX + key, value, ex=ttl_s))

    def delete(self, key: str) -> None:
        self._try(lambda: self._client.delete(PREFIX + key))

    def publish(self, channel: str) -> None:
        self._try(lambda: self._client.publish(PREFIX + channel, b""))

    def listen(self, channel: str, heard: Callable[[], object]) -> None:
        while True:
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    subscription.subscribe(PREFIX + channel)
                    while True:
                        if subscription.get_message(timeout=30) is not None:
                            heard()
            except redis.RedisError as error:
                self._complain(error)
            gevent.sleep(_LISTEN_AGAIN_S)

    def _try(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except redis.RedisError as error:
            self._complain(error)
            return None

    def _complain(self, error: redis.RedisError) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s >= _COMPLAIN_EVERY_S:
            self._complained_s = now_s
            log.warning("Redis does not answer (%s): going on without.", type(error).__name__)


def redis_client(config: Config) -> Any:
    """A client of the Redis that is configured; connects when first used."""
    if not config.redis_master_name:
        return redis.Redis.from_url(config.redis_conn_string, **redis_options())
    password = config.redis_password or None
    options = redis_options()
    sentinel: Any = _SENTINEL(sentinels(config), sentinel_kwargs=options, password=password, **options)
    return sentinel.master_for(config.redis_master_name)
