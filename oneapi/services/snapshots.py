"""What a worker knows without asking: options, prices and the directory of channels, as of one moment each.

Immutable, swapped whole. Revisions in the database are compared once a second, so that a change made through any worker
or node is felt everywhere; SYNC_FREQUENCY rereads everything besides, for databases that a Go node writes to as well
(docs/architecture.md §5).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Event

import gevent
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from oneapi.database import in_thread
from oneapi.keyring import keyring_of
from oneapi.options import Options
from oneapi.relay import directory
from oneapi.relay.adaptor import Adaptor
from oneapi.relay.directory import ChannelDirectory
from oneapi.relay.pricing import PriceList
from oneapi.services import revisions, settings

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class Snapshots:
    """`on_accounts` and `on_channels` are called when the revision of that name has moved."""

    def __init__(
        self,
        engine: Engine,
        adaptors: Mapping[int, Adaptor],
        prices: Callable[[Options], PriceList],
        *,
        sync_s: float,
        monotonic: Callable[[], float],
        on_accounts: Callable[[], None],
        on_channels: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._keyring = keyring_of(engine)
        self._adaptors = adaptors
        self._prices = prices
        self._sync_s = sync_s
        self._monotonic = monotonic
        self._on_accounts = on_accounts
        self._on_channels = on_channels
        self._seen: dict[str, int] = {}
        self._reread_at_s = 0.0
        self._news = Event()
        self.options = Options()
        self.price_list = prices(self.options)
        self.directory = ChannelDirectory({}, (), self.price_list)

    def refresh(self) -> None:
        """Rereads what has changed since the last look; everything at first and when SYNC_FREQUENCY has passed."""
        now_s = self._monotonic()
        with self._engine.connect() as connection:
            seen = revisions.numbers(connection)
        moved = {name for name, number in seen.items() if self._seen.get(name) != number}
        if now_s >= self._reread_at_s:
            moved = {"options", "channels", "accounts"}
            self._reread_at_s = now_s + self._sync_s
        if "options" in moved:
            self._read_options()
        if moved & {"options", "channels"}:
            self.directory = in_thread(self._engine, self._read_directory)
        if "accounts" in moved:
            self._on_accounts()
        if "channels" in moved:
            self._on_channels()
        # Only now: had a reading failed, the next look would try again.
        self._seen = seen

    def run(self) -> None:
        """Looks once a second, or at once after `look_now`, for as long as the worker lives."""
        while True:
            self._news.wait(LOOK_EVERY_S)
            self._news.clear()
            try:
                self.refresh()
            except SQLAlchemyError as error:
                log.warning("channels and options could not be read again: %s", type(error).__name__)
                gevent.sleep(LOOK_EVERY_S)

    def look_now(self) -> None:
        """Something has changed, says Redis."""
        self._news.set()

    def _read_options(self) -> None:
        with self._engine.connect() as connection:
            self.options = Options.from_rows(settings.rows(connection))
        for warning in self.options.warnings:
            log.warning("%s", warning)
        self.price_list = self._prices(self.options)

    def _read_directory(self, connection: Connection) -> ChannelDirectory:
        return directory.read(connection, self._adaptors, self.price_list, self._keyring)
