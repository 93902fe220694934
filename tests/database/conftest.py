"""Databases that the Go program has made."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from oneapi.config import Config
from oneapi.database import open_databases
from tests.database.go_program import SCHEMAS, build
from tests.servers import sqlite_database

FIXTURES = {"sqlite": None, "mysql": "mariadb", "postgresql": "postgres"}


@pytest.fixture(params=sorted(path.stem for path in SCHEMAS.glob("*.sql")))
def go_made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Config, Engine]]:
    """A database of the Go program's, with rows; one of each kind and age."""
    fixture = FIXTURES[request.param.split("-")[0]]
    database = request.getfixturevalue(fixture).fresh() if fixture else sqlite_database(tmp_path)
    databases = open_databases(database.config())
    build(databases.main, request.param)
    yield database.config(), databases.main
    databases.dispose()
