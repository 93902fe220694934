"""What an administrator does with a running program: channels, users and tokens by /api, and a look into the books."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

import requests

from tests.gateway import ROOT_ACCESS_TOKEN, ROOT_API_KEY, Gateway

# The limits on /api are for people; and one that a test runs into would hide what it is about.
UNLIMITED = {"GLOBAL_API_RATE_LIMIT": "0", "GLOBAL_WEB_RATE_LIMIT": "0", "CRITICAL_RATE_LIMIT": "0"}
ROOT_KEY = f"sk-{ROOT_API_KEY}"
_PASSWORD = "correct horse"
_SEEN_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class User:
    id: int
    username: str
    session: requests.Session


class Console:
    """One for each running program on SQLite. A context manager, for its connections."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.url = gateway.base_url
        self._root = self._session(Authorization=ROOT_ACCESS_TOKEN)
        self._sessions = [self._root]
        self._names = itertools.count(1)

    def _session(self, **headers: str) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.headers.update(headers)
        return session

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions:
            session.close()

    def call(self, method: str, path: str, body: object = None, *, session: requests.Session | None = None) -> Any:
        """The data of an answer of /api that must be a success."""
        answer = (session or self._root).request(method, self.url + path, json=body, timeout=30)
        content = answer.json()
        assert content["success"], (method, path, content)
        return content.get("data")

    # ---- channels ----

    def channel(self, base_url: str, *, type: int = 1, models: str = "gpt-4o-mini", **fields: Any) -> int:
        """A new channel's id. Workers know it within a second: see `wait_until_known`."""
        name = fields.pop("name", f"channel {next(self._names)}")
        fields = {"key": f"sk-upstream-{name.replace(' ', '-')}", "group": "default", **fields}
        fields = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in fields.items()}
        fields |= {"type": type, "name": name, "base_url": base_url, "models": models}
        self.call("POST", "/api/channel/", fields)
        with self.books() as books:
            found = books.execute("SELECT id FROM channels WHERE name = ? ORDER BY id DESC", (name,)).fetchone()
        return int(found["id"])

    def wait_until_known(self, model: str, key: str = ROOT_KEY) -> None:
        """Waits until the model stands in the list of those that the key may ask for."""
        self.wait_until(lambda: model in self.models(key))

    def models(self, key: str) -> list[str]:
        answer = self._root.get(f"{self.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=30)
        return [row["id"] for row in answer.json()["data"]]

    def wait_until(self, is_so: Any) -> None:
        deadline = time.monotonic() + _SEEN_WITHIN_S
        while not is_so():
            assert time.monotonic() < deadline, "the program did not take notice"
            time.sleep(0.05)

    def option(self, name: str, value: str) -> None:
        self.call("PUT", "/api/option/", {"key": name, "value": value})

    # ---- users and tokens ----

    def user(self, *, quota: int = 100_000_000, group: str = "default", role: str = "") -> User:
        """A new user, logged in; `role` "admin" makes him an administrator."""
        username = f"user{next(self._names)}"
        row = self.call("POST", "/api/user/", {"username": username, "password": _PASSWORD, "display_name": username})
        if group != "default":
            self.call("PUT", "/api/user/", {"id": row["id"], "username": username, "group": group})
        self.call("POST", "/api/topup", {"user_id": row["id"], "quota": quota - row["quota"], "remark": "a start"})
        if role:
            self.manage(username, "promote")
        session = self._session()
        self._sessions.append(session)
        self.call("POST", "/api/user/login", {"username": username, "password": _PASSWORD}, session=session)
        return User(row["id"], username, session)

    def manage(self, username: str, action: str) -> None:
        self.call("POST", "/api/user/manage", {"username": username, "action": action})

    def token(self, user: User, **fields: Any) -> str:
        """A new API key of the user's, unlimited unless said otherwise."""
        fields = {"name": f"token {next(self._names)}", "expired_time": -1, "unlimited_quota": True, **fields}
        return f"sk-{self.call('POST', '/api/token/', fields, session=user.session)['key']}"

    # ---- the books ----

    def books(self) -> contextlib.closing[sqlite3.Connection]:
        """The program's database, to be looked into."""
        connection = sqlite3.connect(f"file:{self.gateway.folder / 'one-api.db'}?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        return contextlib.closing(connection)

    def log_row(self, request_id: str) -> dict[str, Any] | None:
        """The row of the request in table logs."""
        with self.books() as books:
            row = books.execute("SELECT * FROM logs WHERE request_id = ?", (request_id,)).fetchone()
        return dict(row) if row is not None else None

    def balance(self, user_id: int) -> int:
        with self.books() as books:
            return int(books.execute("SELECT quota FROM users WHERE id = ?", (user_id,)).fetchone()["quota"])

    def holds(self) -> int:
        """How many holds are open."""
        with self.books() as books:
            return int(books.execute("SELECT count(*) FROM holds WHERE released_at IS NULL").fetchone()[0])
