"""A running program with its books, on any kind of database: who had how much, who was charged for what."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Insert, NullPool, Select, Update, create_engine, func, select, update

import oneapi
from oneapi.config import Config
from oneapi.database import open_databases
from oneapi.models import Hold, Lease, Log, Opening, OutboxEntry, Token, User
from oneapi.services import bootstrap, channels, settings
from oneapi.services.audit import SYSTEM as PROGRAM
from oneapi.services.logs import CONSUMPTION, MANAGEMENT, SYSTEM, TOP_UP
from oneapi.services.verify import verify
from tests.gateway import ROOT_ACCESS_TOKEN, ROOT_API_KEY, Gateway
from tests.servers import DatabaseServer, FreshDatabase, free_port, sqlite_database
from tests.street.clients import Heard
from tests.street.console import UNLIMITED, Console
from tests.street.upstreams import INPUT_TOKENS, OUTPUT_TOKENS, MockUpstream

# Models of the mock (bench/README.md) that channels of `shop` offer. None has a price, so that each costs RATIO.
QUICK = "mock-n5-d10-f100"
ENDLESS = "mock-n3000-d10"
SLOW = "mock-slow"  # slower than RELAY_TIMEOUT allows
TROUBLESOME = (
    "mock-n4-d5",
    "mock-n16-d10",
    "mock-e400",
    "mock-e401-p50",
    "mock-e429-p50",
    "mock-e500-p50",
    "mock-e503",
    "mock-hang-p50",
    "mock-n8-d5-cut",
    "mock-n8-d5-cut-p50",
    SLOW,
)
MODELS = (QUICK, ENDLESS, *TROUBLESOME)
RATIO = 30
COST = (INPUT_TOKENS + OUTPUT_TOKENS) * RATIO  # of one whole answer of the mock

BY_WSGI = (
    "-m",
    "gunicorn",
    "-c",
    str(Path(oneapi.__file__).with_name("gunicorn_conf.py")),
    "-k",
    "gevent",
    "oneapi.wsgi:app",
)

_WAIT_S = 30
_NOTHING: Mapping[str, str] = {}


class Shop(Console):
    """A console whose books are read through the database's own driver, and whose program may die and come back."""

    def __init__(self, gateway: Gateway, database: FreshDatabase, logs: FreshDatabase) -> None:
        super().__init__(gateway)
        self.database = database
        self.logs = logs
        self._engine = create_engine(database.url, poolclass=NullPool)
        self._log_engine = self._engine if logs is database else create_engine(logs.url, poolclass=NullPool)

    @property
    def spool(self) -> Path:
        """Where charges are that the database could not take."""
        return self.gateway.folder / "spool"

    # ---- the books ----

    def rows(self, query: Select[Any]) -> list[Any]:
        engine = self._log_engine if Log.__table__ in query.get_final_froms() else self._engine
        with engine.connect() as connection:
            return list(connection.execute(query))

    def number(self, query: Select[Any]) -> int:
        (row,) = self.rows(query)
        return int(row[0] or 0)

    def balance(self, user_id: int) -> int:
        return self.number(select(User.quota).where(User.id == user_id))

    def remainder(self, key: str) -> int:
        """What a limited token may still spend."""
        return self.number(select(Token.remain_quota).where(Token.key == key.removeprefix("sk-")))

    def charged_to(self, key: str) -> int:
        """The sum of all charges to a token."""
        token = self.number(select(Token.id).where(Token.key == key.removeprefix("sk-")))
        return self.number(select(func.sum(Log.quota)).where(Log.type == CONSUMPTION, Log.token_id == token))

    def holds(self) -> int:
        """How many holds are open."""
        return self.number(select(func.count()).select_from(Hold).where(Hold.released_at.is_(None)))

    def charged(self, user_id: int) -> int:
        """The sum of all charges."""
        return self.number(select(func.sum(Log.quota)).where(Log.type == CONSUMPTION, Log.user_id == user_id))

    def credited(self, user_id: int) -> int:
        """All that the user was ever given."""
        opening = self.number(select(func.sum(Opening.quota)).where(Opening.user_id == user_id))
        given = select(func.sum(Log.quota)).where(Log.type.in_((TOP_UP, MANAGEMENT, SYSTEM)), Log.user_id == user_id)
        return opening + self.number(given)

    def charges(self) -> dict[str, list[Any]]:
        """The charges of all requests: request id → its log rows, of which there should be one."""
        found: dict[str, list[Any]] = {}
        for row in self.rows(select(Log).where(Log.type == CONSUMPTION)):
            found.setdefault(row.request_id, []).append(row)
        return found

    def charge(self, heard: Heard) -> Any:
        """The one charge of a request."""
        (row,) = self.charges()[heard.request_id]
        return row

    def receipt(self, heard: Heard) -> Any:
        """The receipt of a request, whether it was charged or failed."""
        (row,) = self.rows(select(Log.receipt).where(Log.request_id == heard.request_id))
        return json.loads(row.receipt)

    # ---- what must hold ----

    def check(self, heard: Iterable[Heard], *users: int) -> None:
        """The dust has settled: nobody's money was lost or made, and each client was charged for what he got."""
        wait_until(lambda: self.holds() == 0 and self.number(select(func.count()).select_from(OutboxEntry)) == 0)
        charges = self.charges()
        assert [request_id for request_id, rows in charges.items() if len(rows) != 1] == []
        for client in heard:
            if client.is_answered:
                assert charges[client.request_id][0].quota > 0, client
            elif client.status >= 400:
                assert client.request_id not in charges, (client, self.receipt(client))
        for user_id in users:
            assert self.balance(user_id) + self.charged(user_id) == self.credited(user_id)
        assert self.findings() == []
        _, crash, rest = self.gateway.log().partition("Traceback")
        assert not crash, crash + rest[:5000]

    def findings(self) -> list[str]:
        """What `oneapi verify` finds, without the cost of starting it."""
        return [str(finding) for finding in verify(self._engine, self._log_engine, spool_dir=self.spool).findings]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command `oneapi` in this deployment."""
        return subprocess.run(
            [sys.executable, "-m", "oneapi", *arguments],
            cwd=self.gateway.folder,
            env=self.gateway.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def let_pass(self, seconds: int) -> None:
        """Makes the program believe that so much time has passed since holds and leases were renewed."""
        for table in (Hold, Lease):
            self.tamper(update(table).values(expires_at=table.expires_at - seconds))

    def tamper(self, statement: Update | Insert) -> None:
        """Writes into the books behind the program's back."""
        with self._engine.begin() as connection:
            connection.execute(statement)


Goods = Mapping[str, Any]  # fields of services.channels.ChannelFields; type, key and name have defaults


@contextmanager
def opened(
    folder: Path,
    database: FreshDatabase,
    goods: Iterable[Goods],
    options: Mapping[str, str] = _NOTHING,
    *,
    logs: FreshDatabase | None = None,
    command: tuple[str, ...] = ("-m", "oneapi"),
    **environ: str,
) -> Iterator[Shop]:
    """A shop on an empty database, with two workers unless told otherwise. Channels have the ids 1, 2, 3…

    `logs`: an empty database of a server, where logs are to be kept apart.

    Channels and options are there before the program starts, so that no worker has to take notice of them.
    """
    log_dsn = logs.dsn if logs else ""
    stock(database.config(log_sql_dsn=log_dsn), goods, options)
    place = {"SQL_DSN": database.dsn, "SQLITE_PATH": database.sqlite_path, "LOG_SQL_DSN": log_dsn}
    # Always the same port: clients come back when the program does.
    more = {"BIND": f"127.0.0.1:{free_port()}", "WEB_CONCURRENCY": "2", **UNLIMITED, **place, **environ}
    with Gateway(folder, more, command) as gateway, Shop(gateway, database, logs or database) as shop:
        yield shop


@contextmanager
def joined(shop: Shop, folder: Path, **environ: str) -> Iterator[Shop]:
    """One more node of a shop: the same databases and environment, with a folder and a port of its own."""
    own = {"BIND": f"127.0.0.1:{free_port()}", "HOME": str(folder), **environ}
    with Gateway(folder, {**shop.gateway.environ, **own}) as gateway, Shop(gateway, shop.database, shop.logs) as node:
        yield node


@pytest.fixture(scope="session", params=["sqlite", "mariadb", "postgres"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mock: MockUpstream
) -> Iterator[Shop]:
    """A shop on each kind of database, which tests share. Its three channels lead to the mock, tried in this order.

    The one on PostgreSQL runs under Gunicorn's own gevent worker, which comes to the relay by WSGI.
    """
    folder = tmp_path_factory.mktemp("shop")
    if request.param == "sqlite":
        database = sqlite_database(folder)
    else:
        server: DatabaseServer = request.getfixturevalue(request.param)
        database = server.fresh()
    goods = [{"base_url": mock.url, "models": ",".join(MODELS), "priority": number} for number in (3, 2, 1)]
    command = BY_WSGI if request.param == "postgres" else ("-m", "oneapi")
    options = {"PreConsumedQuota": "150"}
    with opened(folder, database, goods, options, command=command, RELAY_TIMEOUT="1") as running:
        yield running


def stock(config: Config, goods: Iterable[Goods], options: Mapping[str, str]) -> None:
    """Prepares the database, with root's keys, channels and options."""
    keys = {"initial_root_access_token": ROOT_ACCESS_TOKEN, "initial_root_token": ROOT_API_KEY}
    bootstrap.prepare(replace(config, **keys))
    databases = open_databases(config)
    now = int(time.time())
    try:
        for number, fields in enumerate(goods, 1):
            given = {"type": 1, "key": "sk-upstream", "name": f"channel {number}", **fields}
            channels.create_many(databases.main, PROGRAM, channels.ChannelFields(**given), now=now)
        settings.save(databases.main, PROGRAM, options, now=now)
    finally:
        databases.dispose()


def wait_until(is_so: Callable[[], bool], seconds: float = _WAIT_S) -> None:
    """Returns when it is so, and fails when it does not become so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.05)
