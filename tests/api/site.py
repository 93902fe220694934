"""A site for tests of the API: the real application on a real database, asked by a test client."""

from __future__ import annotations

import itertools
import json
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import insert, inspect, select, update
from werkzeug.test import TestResponse

from oneapi.app import Program, create_app
from oneapi.config import Config
from oneapi.models import Log, Opening, Option, Revision, User
from oneapi.services import passwords, revisions

PASSWORD = "correct horse"
COMMON, ADMIN, ROOT = 1, 10, 100


class Caller:
    """Somebody with an access token, a cookie, or nothing."""

    def __init__(self, site: Site, client: FlaskClient, user_id: int = 0, token: str = "") -> None:
        self.site = site
        self.client = client
        self.id = user_id
        self.token = token

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> TestResponse:
        """The whole response."""
        if self.token:
            headers.setdefault("Authorization", self.token)
        data = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
        return self.client.open(path, method=method, data=data, headers=list(headers.items()))

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The data of an answer that must be a success."""
        response = self.ask(method, path, body)
        answer = response.get_json()
        assert answer["success"] is True, answer
        assert answer["message"] == ""
        return answer.get("data")

    def refused(self, method: str, path: str, body: object = None) -> str:
        """The message of an answer that must be One API's kind of refusal: status 200, success false, no data."""
        response = self.ask(method, path, body)
        answer = response.get_json()
        assert (response.status_code, answer["success"]) == (200, False), answer
        assert "data" not in answer
        return str(answer["message"])


class Site:
    """On a prepared database."""

    def __init__(self, config: Config) -> None:
        self.app = create_app(config)
        self.program: Program = self.app.extensions["oneapi"]
        self.program.snapshots.refresh()
        self.engine, self.log_engine = self.program.databases.main, self.program.databases.logs
        self._names = itertools.count(1)

    def forget(self) -> None:
        """Takes its database for another one than before."""
        self.program.snapshots.refresh()
        self.program.token_cache.clear()
        self._names = itertools.count(1)

    def close(self) -> None:
        self.program.notifier.stop()
        self.program.web.close()
        self.program.databases.dispose()

    def anybody(self) -> Caller:
        """Somebody who has not logged in, with cookies of his own."""
        return Caller(self, self.app.test_client())

    def user(self, role: int = COMMON, **columns: Any) -> Caller:
        """A new user, who asks with his access token. His password is PASSWORD."""
        number = next(self._names)
        token = f"{number:032x}"
        values = {
            "username": f"user{number}",
            "password": HASH,
            "display_name": f"User {number}",
            "role": role,
            "access_token": token,
            "aff_code": f"aff{number}",
            **columns,
        }
        with self.engine.begin() as connection:
            user_id = connection.execute(insert(User).values(**values)).inserted_primary_key[0]
            opening = {"user_id": user_id, "quota": values.get("quota", 0), "credited": 0, "charged": 0}
            connection.execute(insert(Opening).values(created_at=0, **opening))
        return Caller(self, self.app.test_client(), user_id, values["access_token"] or "")

    def logged_in(self, role: int = COMMON, **columns: Any) -> Caller:
        """A new user, who asks with a cookie."""
        user = self.user(role, **columns)
        user.token = ""
        row = self.row(User, user.id)
        user.call("POST", "/api/user/login", {"username": row.username, "password": PASSWORD})
        return user

    def row(self, model: Any, row_id: int) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(select(model).where(model.id == row_id)).one()

    def rows(self, model: Any, *conditions: Any) -> list[Any]:
        engine = self.log_engine if model is Log else self.engine
        with engine.connect() as connection:
            return list(connection.execute(select(model).where(*conditions).order_by(*inspect(model).primary_key)))

    def change(self, model: Any, row_id: int, **values: Any) -> None:
        """Writes to a row as another program would."""
        with self.engine.begin() as connection:
            connection.execute(update(model).where(model.id == row_id).values(**values))

    def set_options(self, **values: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(insert(Option), [{"key": key, "value": value} for key, value in values.items()])
            revisions.bump(connection, "options")
        self.program.snapshots.refresh()

    def revision(self, name: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(select(Revision.number).where(Revision.name == name)).scalar_one())


HASH = passwords.hashed(PASSWORD)
