from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, Table, insert, select, text

from oneapi.services import bootstrap
from tests.api.site import Site
from tests.servers import FreshDatabase, sqlite_database

SiteOn = Callable[[str], Site]


class Content:
    """What a database held when this was made, to be put back: quicker than preparing another database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        metadata = MetaData()
        metadata.reflect(engine)
        self._tables = [table for table in metadata.sorted_tables if table.name != "alembic_version"]
        with engine.connect() as connection:
            self._rows = {table.name: _rows(connection, table) for table in self._tables}

    def put_back(self) -> None:
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.execute(text("DELETE FROM sqlite_sequence"))
            for table in self._tables:
                if connection.execute(select(1).select_from(table).limit(1)).first():
                    self._empty(connection, table)
                if rows := self._rows[table.name]:
                    connection.execute(insert(table), rows)
                    if connection.dialect.name == "postgresql" and "id" in table.c:
                        sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
                        connection.execute(text(f"SELECT setval({sequence}, {max(row['id'] for row in rows)})"))

    @staticmethod
    def _empty(connection: Any, table: Table) -> None:
        if connection.dialect.name == "sqlite":
            connection.execute(table.delete())
        else:
            restart = " RESTART IDENTITY" if connection.dialect.name == "postgresql" else ""
            connection.execute(text(f"TRUNCATE TABLE {table.name}{restart}"))


def _rows(connection: Any, table: Table) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]


@pytest.fixture(scope="session")
def site_on(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteOn]:
    """`site_on("sqlite")`: the site on that kind of database, as new."""
    sites: dict[str, tuple[Site, Content]] = {}

    def give(kind: str) -> Site:
        if kind not in sites:
            database: FreshDatabase
            if kind == "sqlite":
                database = sqlite_database(tmp_path_factory.mktemp("site"))
            else:
                database = request.getfixturevalue(kind).fresh()
            config = database.config(critical_rate_limit=0, global_api_rate_limit=0)
            bootstrap.prepare(config)
            site = Site(config)
            sites[kind] = site, Content(site.engine)
        site, content = sites[kind]
        content.put_back()
        site.forget()
        return site

    yield give
    for site, _ in sites.values():
        site.close()


@pytest.fixture
def site(site_on: SiteOn) -> Site:
    """A site on SQLite."""
    return site_on("sqlite")


@pytest.fixture(params=["sqlite", "mariadb", "postgres"])
def any_site(request: pytest.FixtureRequest, site_on: SiteOn) -> Site:
    """A site on each kind of database."""
    return site_on(request.param)
