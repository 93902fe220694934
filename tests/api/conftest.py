from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.site import Site, site_on
from tests.servers import FreshDatabase, sqlite_database


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site on SQLite."""
    yield from _open(sqlite_database(tmp_path))


@pytest.fixture
def any_site(database: FreshDatabase) -> Iterator[Site]:
    """A site on each kind of database."""
    yield from _open(database)


def _open(database: FreshDatabase) -> Iterator[Site]:
    site = site_on(database, critical_rate_limit=0)
    yield site
    site.close()
