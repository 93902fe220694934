import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from oneapi.services import bootstrap
from tests.api.site import Site
from tests.servers import FreshDatabase, sqlite_database


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared SQLite file to copy, which is quicker than preparing one."""
    database = sqlite_database(tmp_path_factory.mktemp("prepared"))
    bootstrap.prepare(database.config())
    return Path(database.sqlite_path)


@pytest.fixture
def site(tmp_path: Path, prepared: Path) -> Iterator[Site]:
    """A site on SQLite."""
    database = sqlite_database(tmp_path)
    shutil.copy(prepared, database.sqlite_path)
    yield from _open(database)


@pytest.fixture(scope="session")
def servers_databases() -> dict[str, FreshDatabase]:
    """A prepared database on each server that was asked for: emptied for the next test, which is quicker."""
    return {}


@pytest.fixture(params=["sqlite", "mariadb", "postgres"])
def any_site(
    request: pytest.FixtureRequest, tmp_path: Path, prepared: Path, servers_databases: dict[str, FreshDatabase]
) -> Iterator[Site]:
    """A site on each kind of database."""
    if request.param == "sqlite":
        database = sqlite_database(tmp_path)
        shutil.copy(prepared, database.sqlite_path)
    else:
        if request.param not in servers_databases:
            servers_databases[request.param] = request.getfixturevalue(request.param).fresh()
        else:
            _empty(servers_databases[request.param])
        database = servers_databases[request.param]
        bootstrap.prepare(database.config())
    yield from _open(database)


def _empty(database: FreshDatabase) -> None:
    engine = create_engine(database.url)
    with engine.begin() as connection:
        for name in inspect(connection).get_table_names():
            if name not in ("alembic_version", "revisions"):
                restart = " RESTART IDENTITY" if engine.dialect.name == "postgresql" else ""
                connection.execute(text(f"TRUNCATE TABLE {name}{restart}"))
    engine.dispose()


def _open(database: FreshDatabase) -> Iterator[Site]:
    site = Site(database.config(critical_rate_limit=0))
    yield site
    site.close()
