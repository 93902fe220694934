"""Load that goes on whatever happens."""

from __future__ import annotations

import random
from collections.abc import Sequence

import gevent

from tests.street.clients import Heard, ask
from tests.street.shop import wait_until

_PAUSE_S = 0.05


class Crowd:
    """Clients that ask again and again, whatever they hear, until they are sent home."""

    def __init__(
        self, url: str, keys: Sequence[str], models: Sequence[str], rng: random.Random, *, clients: int
    ) -> None:
        self.heard: list[Heard] = []
        self.unheard = 0  # calls to which nothing came back
        self._url = url
        self._models = models
        self._rng = rng
        self._is_leaving = False
        self._clients = [gevent.spawn(self._ask_on, keys[number % len(keys)]) for number in range(clients)]

    def _ask_on(self, key: str) -> None:
        while not self._is_leaving:
            is_stream = self._rng.random() < 0.6
            heard = ask(self._url, key, self._rng.choice(self._models), stream=is_stream, with_usage=is_stream)
            if heard.status:
                self.heard.append(heard)
            else:
                self.unheard += 1
            if not heard.is_answered:
                gevent.sleep(_PAUSE_S)

    @property
    def answers(self) -> int:
        return sum(client.is_answered for client in self.heard)

    def wait_for_answers(self, count: int) -> None:
        """Waits until the crowd has got so many more."""
        enough = self.answers + count
        wait_until(lambda: self.answers >= enough)

    def go_home(self) -> list[Heard]:
        """Everything that was heard."""
        self._is_leaving = True
        gevent.joinall(self._clients, raise_error=True)
        return self.heard
