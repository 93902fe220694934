"""An installation of One API 0.6.10, stopped, and this program started on its database with root's access token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import requests
from sqlalchemy import NullPool, create_engine, text

from tests.database.go_program import build, contents
from tests.gateway import ROOT_ACCESS_TOKEN, Gateway
from tests.servers import DatabaseServer, FreshDatabase, sqlite_database
from tests.street.console import UNLIMITED
from tests.street.shop import Shop

GO_PASSWORD = "correct horse"
GO_EMAIL = "aming@example.org"
GO_TOKEN = "f" * 32  # the access token of user 2
NOWHERE = "http://127.0.0.1:9"  # a provider that nobody is


class Installation(Shop):
    """`before` and `after` are One API's rows when its program stopped, and when ours had started."""

    def __init__(self, gateway: Gateway, database: FreshDatabase, before: dict[str, list[dict[str, Any]]]) -> None:
        super().__init__(gateway, database, database)
        self.database = database
        self.before, self.after = before, contents(self._engine)

    def ask(
        self, method: str, path: str, body: object = None, *, token: str = ROOT_ACCESS_TOKEN, **headers: str
    ) -> requests.Response:
        """The whole answer to somebody with an access token, or to nobody, with no cookies and no redirects."""
        if token:
            headers.setdefault("Authorization", token)
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=30, allow_redirects=False)

    def refused(self, method: str, path: str, body: object = None, *, token: str = ROOT_ACCESS_TOKEN) -> str:
        """The message of a refusal in One API's way: status 200 and success false."""
        answer = self.ask(method, path, body, token=token)
        content = answer.json()
        assert (answer.status_code, content["success"]) == (200, False), content
        return str(content["message"])

    def anybody(self) -> requests.Session:
        """Somebody with cookies of his own, who has not logged in."""
        session = self._session()
        self._sessions.append(session)
        return session

    def add_channel(self, **fields: Any) -> int:
        """A new channel's id."""
        values = {"type": 1, "name": f"channel {next(self._names)}", "key": "sk-1", "models": "m", "group": "default"}
        self.call("POST", "/api/channel/", {**values, "base_url": NOWHERE, **fields})
        return int(self.call("GET", "/api/channel/")[0]["id"])


def database_of(request: pytest.FixtureRequest, folder: Path) -> FreshDatabase:
    """An empty database of the kind that the fixture's parameter names."""
    if request.param == "sqlite":
        return sqlite_database(folder)
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server.fresh()


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgres"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Shared by a module's tests: leave its options as they were."""
    folder = tmp_path_factory.mktemp("installation")
    database = database_of(request, folder)
    before = _made_by_one_api(database)
    place = {"SQL_DSN": database.dsn, "SQLITE_PATH": database.sqlite_path}
    with Gateway(folder, {**UNLIMITED, **place}) as gateway, Installation(gateway, database, before) as running:
        yield running


def _made_by_one_api(database: FreshDatabase) -> dict[str, list[dict[str, Any]]]:
    engine = create_engine(database.url, poolclass=NullPool)
    build(engine, f"{database.kind}-v0.6.10")
    hashed = bcrypt.hashpw(GO_PASSWORD.encode(), bcrypt.gensalt(10, b"2a")).decode()
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET access_token = :token WHERE id = 1"), {"token": ROOT_ACCESS_TOKEN})
        connection.execute(
            text("UPDATE users SET password = :password, email = :email WHERE id = 2"),
            {"password": hashed, "email": GO_EMAIL},
        )
        connection.execute(text("UPDATE channels SET base_url = :url"), {"url": NOWHERE})
    before = contents(engine)
    engine.dispose()
    return before
