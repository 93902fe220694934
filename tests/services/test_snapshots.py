"""What a worker knows without asking follows what is written, whoever wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from oneapi.data import load_prices
from oneapi.database import run_write
from oneapi.relay import adaptors
from oneapi.relay.pricing import PriceList
from oneapi.services import revisions
from oneapi.services.snapshots import Snapshots
from tests.servers import sqlite_database
from tests.services.books import Books


def test_news_that_could_not_be_taken_whole_are_taken_at_the_next_look(tmp_path: Path) -> None:
    books = Books(sqlite_database(tmp_path), tmp_path)
    prices = load_prices()
    taken: list[str] = []
    away = False

    def take_channels() -> None:
        if away:
            raise PoolTimeout()
        taken.append("channels")

    snapshots = Snapshots(
        books.engine,
        adaptors.load(),
        lambda options: PriceList.of(prices, options),
        sync_s=600,
        monotonic=lambda: 0.0,
        on_accounts=lambda: taken.append("accounts"),
        on_channels=take_channels,
    )
    snapshots.refresh()
    assert taken == ["accounts", "channels"]
    for name in ("channels", "accounts"):
        run_write(books.engine, lambda connection, name=name: revisions.bump(connection, name))
    away = True
    with pytest.raises(PoolTimeout):
        snapshots.refresh()
    assert taken[2:] == ["accounts"]
    away = False
    snapshots.refresh()
    snapshots.refresh()
    assert taken[3:] == ["accounts", "channels"]
    books.close()
