#!/usr/bin/env python3
"""Measures lists, searches, sums and dashboards over large tables, and writes bench/REPORT-lists.md.

    python -m bench.lists [--logs 5000000] [--objects 100000] [--rounds 20] [--databases sqlite mariadb]

The program makes the tables, as in a new installation; this fills them: log rows of 90 days by 200 users with 500
tokens, 30 models and 100 channels, some much busier than others and most at work in some hours only; and as many
channels, users and tokens of root's as `--objects` says. Then it sums the logs up as the program's job does, starts the
program with one worker, and asks it for each page in turn, round after round. Beside each stands a plain query for the
same rows on a connection of its own; sums and charts have the rows added up beside them. Data is deleted at the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
import requests
from sqlalchemy import Connection, Engine, text

from oneapi.config import Config
from oneapi.database import open_databases
from oneapi.services import bootstrap, passwords, rollups
from tests.gateway import Gateway
from tests.needs import require_service
from tests.servers import FreshDatabase, MariaDB, sqlite_database
from tests.street.console import UNLIMITED

HERE = Path(__file__).parent
PASSWORD = "correct horse"
DAYS, DAY_S = 90, 86400
USERS, TOKENS, MODELS, CHANNELS = 200, 500, 30, 100
LOG_LIMIT_MS, LIST_LIMIT_MS = 300, 500
_CHUNK = 250_000
_PLAIN_ROUNDS = 5
_SLOW_S = 1.0  # a plain query that takes longer is asked once only


# ---- the data ----

# One SQL for both databases: `{pick}` gives whole numbers from 0 below a limit, the low ones much more often, the same
# for the same row in every database; `{spread}` gives them evenly.
LOGS = """
INSERT INTO logs (id, user_id, created_at, type, content, username, token_name, model_name, quota, prompt_tokens,
  completion_tokens, channel_id, request_id, elapsed_time, is_stream, system_prompt_reset, token_id, first_token_ms,
  receipt, requested_model)
SELECT id, user_number + 1, created_at, type,
  CASE type WHEN 1 THEN 'Topped up by code' WHEN 3 THEN 'Changed user ' || user_number || ': quota: 1 → 2'
    WHEN 2 THEN 'model ratio 1.25, group ratio 1.00, completion ratio 4.00' ELSE 'upstream answered 502' END,
  'user' || user_number, CASE WHEN type IN (2, 6) THEN 'token' || token ELSE '' END,
  CASE WHEN type IN (2, 6) THEN 'model-' || model ELSE '' END,
  CASE type WHEN 2 THEN 500 + noise % 9000 WHEN 1 THEN 500000 ELSE 0 END,
  CASE type WHEN 2 THEN noise % 4000 ELSE 0 END, CASE type WHEN 2 THEN noise % 800 ELSE 0 END,
  CASE WHEN type IN (2, 6) THEN channel + 1 ELSE 0 END, 'request-' || id, 300 + noise % 9000, noise % 2, 0, token + 1,
  CASE type WHEN 2 THEN 100 + noise % 900 END, CASE type WHEN 2 THEN '{receipt}' END, 'model-' || model
FROM (
  SELECT id, token, token % {users} + 1 AS user_number, noise, created_at,
    ({low_model} + token * 7) % {models} AS model, ({low_channel} + token * 11) % {channels} AS channel,
    CASE WHEN noise % 1000 < 935 THEN 2 WHEN noise % 1000 < 985 THEN 6 WHEN noise % 1000 < 992 THEN 1 ELSE 3 END AS type
  FROM (
    SELECT id, {noise} AS noise, {begin} + {whole}(id * 1.0 * {seconds} / {rows}) AS created_at,
      CASE WHEN {noise} % 4 > 0 THEN {busy} ELSE ({session} + 13 * {whole}(id * 1.0 * {hours} / {rows})) % {tokens} END
      AS token
    FROM {numbers}
  ) AS first_part
) AS second_part
"""
RECEIPT = (
    '{"version":1,"usage":{"input":1200,"cached":0,"output":300},"ratio":"1.25","group_ratio":"1","completion":"4",'
    '"quota":3000,"held":9000,"result":"whole","attempts":[{"channel":7,"status":200,"ms":812}],"upstream_id":"x-1"}'
)
USER_ROWS = """
INSERT INTO users (id, username, password, display_name, role, status, email, github_id, wechat_id, lark_id, oidc_id,
  access_token, quota, used_quota, request_count, {group}, aff_code, inviter_id, created_time)
SELECT id + 1, 'user' || id, '{password}', 'Display ' || id, 1, 1, 'user' || id || '@example.com', '', '', '', '',
  'access' || id, 5000000, {noise} % 900000, {noise} % 9000, CASE WHEN id % 10 = 0 THEN 'vip' ELSE 'default' END,
  'aff' || id, 0, {begin}
FROM {numbers}
"""
OPENINGS = """
INSERT INTO openings (user_id, quota, credited, charged, created_at)
SELECT id, quota, 0, 0, {begin} FROM users WHERE id > 1
"""
TOKEN_ROWS = """
INSERT INTO tokens (user_id, {key}, status, name, created_time, accessed_time, expired_time, remain_quota,
  unlimited_quota, used_quota, subnet)
SELECT 1, 'bench' || id, 1 + id % 2, 'token ' || id, {begin} + id, {begin} + id, -1, {noise} % 900000, 0,
  {noise} % 900000, '' FROM {numbers}
"""
CHANNEL_ROWS = """
INSERT INTO channels (id, type, {key}, status, name, weight, created_time, test_time, response_time, base_url, balance,
  balance_updated_time, models, {group}, used_quota, model_mapping, priority, config, tag)
SELECT id, CASE WHEN id % 10 = 0 THEN 14 ELSE 1 END, 'sk-bench-' || id, 1 + (id % 20 = 0), 'channel ' || id, 0, {begin},
  {begin}, {noise} % 3000, 'http://127.0.0.1:9', 0, 0, 'model-' || (id % 30) || ',model-' || ((id + 1) % 30),
  CASE WHEN id % 10 = 0 THEN 'vip' ELSE 'default' END, {noise} % 900000, '', 0, '', 'tag ' || (id % 50)
FROM {numbers}
"""
ABILITY_ROWS = """
INSERT INTO abilities ({group}, model, channel_id, enabled, priority)
SELECT {group}, 'model-' || ((id + {shift}) % 30), id, status = 1, 0 FROM channels
"""


@dataclass(frozen=True)
class Kind:
    """A kind of database: its words for what differs, and its private server, where it has one."""

    name: str
    words: Mapping[str, str]

    def numbers(self, first: int, last: int) -> str:
        if self.name == "mariadb":
            return f"(SELECT seq AS id FROM seq_{first}_to_{last}) AS numbers"
        many = f"WITH RECURSIVE n(id) AS (SELECT {first} UNION ALL SELECT id + 1 FROM n WHERE id < {last})"
        return f"({many} SELECT id FROM n) AS numbers"

    def fill(self, statement: str, **values: object) -> str:
        return statement.format_map({**self.words, **values})


# Both mix the row's number by multiplication; u * u * u makes low results common.
_U = "(({id} * {factor} % 1000003) / 1000003.0)"


def _low(limit: int, factor: int, whole: str) -> str:
    u = _U.format(id="id", factor=factor)
    return f"{whole}({limit} * {u} * {u} * {u})"


def _kind(name: str, whole: str, quote: str) -> Kind:
    words = {
        "whole": whole,
        "key": f"{quote}key{quote}",
        "group": f"{quote}group{quote}",
        "busy": _low(60, 7919, whole),
        "session": _low(25, 7919, whole),
        "low_model": _low(4, 104_729, whole),
        "low_channel": _low(8, 15_485_863, whole),
        "noise": "(id * 48271 % 2147483647)",
        "users": str(USERS),
        "tokens": str(TOKENS),
        "models": str(MODELS),
        "channels": str(CHANNELS),
    }
    return Kind(name, words)


KINDS = {"sqlite": _kind("sqlite", "floor", '"'), "mariadb": _kind("mariadb", "floor", "`")}


class LargeMariaDB(MariaDB):
    """With memory for its tables, as whoever keeps millions of rows gives it."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        return [
            *super().command(),
            "--innodb-buffer-pool-size=2G",
            "--innodb-log-file-size=512M",
            "--innodb-autoinc-lock-mode=2",
            "--sql-mode=PIPES_AS_CONCAT",
            "--local-infile=0",
        ]


def generate(engine: Engine, kind: Kind, *, logs: int, objects: int, now: int) -> None:
    """Fills the tables. The indexes of the logs are made afterwards, which is quicker."""
    begin = now - DAYS * DAY_S
    with engine.connect() as connection:
        if kind.name == "sqlite":
            connection.connection.dbapi_connection.execute("PRAGMA synchronous=OFF")  # type: ignore[union-attr]

        def run(statement: str, **values: object) -> None:
            connection.exec_driver_sql(kind.fill(statement, begin=begin, **values).replace("%", _percent(engine)))
            connection.commit()

        for index in _indexes(connection):
            connection.exec_driver_sql(f"DROP INDEX {index}" + (" ON logs" if kind.name == "mariadb" else ""))
        for first in range(1, logs + 1, _CHUNK):
            last = min(first + _CHUNK - 1, logs)
            run(
                LOGS,
                numbers=kind.numbers(first, last),
                seconds=DAYS * DAY_S - 1,
                hours=DAYS * 24,
                rows=logs,
                receipt=RECEIPT,
            )
        password = passwords.hashed(PASSWORD)
        run(USER_ROWS, numbers=kind.numbers(1, objects), password=password)
        run(OPENINGS)
        run(TOKEN_ROWS, numbers=kind.numbers(1, objects))
        run(CHANNEL_ROWS, numbers=kind.numbers(1, objects))
        for shift in (0, 1):
            run(ABILITY_ROWS, shift=shift)
        if kind.name == "mariadb":
            connection.exec_driver_sql("ANALYZE TABLE logs, users, tokens, channels")


def _percent(engine: Engine) -> str:
    """How a percent sign is written for the driver."""
    return "%%" if engine.dialect.paramstyle in ("format", "pyformat") else "%"


def _indexes(connection: Connection) -> list[str]:
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'logs'"
    else:
        query = (
            "SELECT DISTINCT index_name FROM information_schema.statistics"
            " WHERE table_schema = database() AND table_name = 'logs' AND index_name <> 'PRIMARY'"
        )
    return list(connection.scalars(text(query)))


# ---- what is asked ----


@dataclass(frozen=True)
class Ask:
    """A page, who asks for it ("root" or "user"), the plain query for the same rows, and the limit."""

    what: str
    path: str
    plain: str
    who: str = "root"
    limit_ms: int = LOG_LIMIT_MS


@dataclass
class Figures:
    """What each answer took: until its last byte had come, and of the processor by program and database together."""

    answers_ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)
    plain_ms: float = 0
    size: int = 0


def p95(several: Sequence[float]) -> float:
    return sorted(several)[-(-len(several) * 95 // 100) - 1]


class Processor:
    """Counts the processor time of some processes, with all their threads."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def ms(self) -> float:
        found = 0
        for pid in self._pids:
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):  # a thread that has just ended
                    found += int(path.read_text().split()[0])
        return found / 1e6


def asks(now: int, logs: int, objects: int) -> list[Ask]:
    """All that is measured. The plain queries are for both databases."""
    return [*_lists(now, logs), *_sums(now), *_dashboards(now), *_panel_logs(now), *_objects(objects)]


NEWEST = "ORDER BY id DESC LIMIT"
OF_LOGS = "SELECT * FROM logs"
MINE = f"{OF_LOGS} WHERE user_id = 2"


def _that_day(now: int) -> tuple[str, str]:
    """A day two months ago: as parameters of /api, and as a condition."""
    begin, end = now - 60 * DAY_S, now - 59 * DAY_S - 1
    return f"start_timestamp={begin}&end_timestamp={end}", f"created_at >= {begin} AND created_at <= {end}"


def _lists(now: int, logs: int) -> Iterator[Ask]:
    asked, day = _that_day(now)
    since = now - 60 * DAY_S
    for what, given, plain, paging in (
        ("first page", "p=0", "", "10"),
        ("page 1,000", "p=1000", "", "10 OFFSET 10000"),
        ("page 10,000", "p=10000", "", "10 OFFSET 100000"),
        ("after an id", f"before_id={logs // 2}", f"id < {logs // 2}", "10"),
        ("with total", "size=20", "", "20"),
        ("busy user", "username=user1", "username = 'user1'", "10"),
        ("busy user, with total", "username=user1&size=20", "username = 'user1'", "20"),
        ("rare user", "username=user200", "username = 'user200'", "10"),
        ("nobody", "username=nobody", "username = 'nobody'", "10"),
        ("model", "model_name=model-3", "model_name = 'model-3'", "10"),
        ("no such model", "model_name=none", "model_name = 'none'", "10"),
        ("channel", "channel=17", "channel_id = 17", "10"),
        ("token", "token_name=token499", "token_name = 'token499'", "10"),
        ("top-ups", "type=1", "type = 1", "10"),
        ("channel tests (none)", "type=5", "type = 5", "10"),
        ("request id", f"request_id=request-{logs // 3}", f"request_id = 'request-{logs // 3}'", "10"),
        ("a day two months ago", asked, day, "10"),
        ("since two months", f"start_timestamp={since}", f"created_at >= {since}", "10"),
        ("busy user, that day", f"username=user1&{asked}", f"{day} AND username = 'user1'", "10"),
        ("rare user, that day", f"username=user200&{asked}", f"{day} AND username = 'user200'", "10"),
        ("model, that day", f"model_name=model-3&{asked}", f"{day} AND model_name = 'model-3'", "10"),
        ("top-ups, that day", f"type=1&{asked}", f"{day} AND type = 1", "10"),
        ("model of rare user", "username=user200&model_name=model-3", "username = 'user200' AND model_name = 'model-3'", "10"),  # noqa: E501
    ):  # fmt: skip
        where = f" WHERE {plain}" if plain else ""
        yield Ask(f"logs, {what}", f"/api/log/?{given}", f"{OF_LOGS}{where} {NEWEST} {paging}")
    for what, keyword in (("content", "upstream"), ("user", "user19"), ("rare content", "Topped"), ("nothing", "zzz")):
        plain = f"content LIKE '{keyword}%' OR username LIKE '{keyword}%'"
        yield Ask(f"search logs, {what}", f"/api/log/search?keyword={keyword}", f"{OF_LOGS} WHERE {plain} {NEWEST} 100")
    yield Ask("search logs, a type", "/api/log/search?keyword=1", f"{OF_LOGS} WHERE type = 1 {NEWEST} 100")
    for what, given, plain in (
        ("first page", "self?p=0", f"{NEWEST} 10"),
        ("page 1,000", "self?p=1000", f"{NEWEST} 10 OFFSET 10000"),
        ("model", "self?model_name=model-3", f"AND model_name = 'model-3' {NEWEST} 10"),
        ("that day", f"self?{asked}", f"AND {day} {NEWEST} 10"),
        ("search, nothing", "self/search?keyword=zzz", f"AND content LIKE 'zzz%' {NEWEST} 100"),
    ):
        yield Ask(f"own logs, {what}", f"/api/log/{given}", f"{MINE} {plain}", "user")


def _sums(now: int) -> Iterator[Ask]:
    asked, day = _that_day(now)
    since = now - 60 * DAY_S
    summed = "SELECT sum(quota) FROM logs WHERE type = 2"
    for what, given, plain in (
        ("all", "", "1 = 1"),
        ("busy user", "username=user1", "username = 'user1'"),
        ("model", "model_name=model-3", "model_name = 'model-3'"),
        ("channel", "channel=17", "channel_id = 17"),
        ("token", "token_name=token0", "token_name = 'token0'"),
        ("since two months", f"start_timestamp={since}", f"created_at >= {since}"),
        ("a day two months ago", asked, day),
        ("model of busy user", "username=user1&model_name=model-3", "username = 'user1' AND model_name = 'model-3'"),
    ):
        yield Ask(f"sum, {what}", f"/api/log/stat?{given}", f"{summed} AND {plain}")
    yield Ask("own sum", "/api/log/self/stat", f"{summed} AND user_id = 2", "user")


def _dashboards(now: int) -> Iterator[Ask]:
    for days, by in (
        (1, "model"), (7, "model"), (7, "channel"), (7, "user"), (7, "token"), (30, "model"),
        (90, "model"), (90, "channel"), (90, "user"), (90, "token"),
    ):  # fmt: skip
        span = "24h" if days == 1 else f"{days}d"
        column = {"user": "username", "channel": "channel_id"}.get(by, f"{by}_name")
        rows = f"type IN (2, 6) AND created_at >= {now - days * DAY_S}"
        plain = f"SELECT {column}, count(*), sum(quota), sum(elapsed_time) FROM logs WHERE {rows}"
        path = f"/admin/usage?span={span}&by={by}&zone=480"
        yield Ask(f"dashboard, {span} by {by}", f"{path}&scope=all", f"{plain} GROUP BY {column}")
        if by in ("model", "token"):
            yield Ask(f"own dashboard, {span} by {by}", path, f"{plain} AND user_id = 2 GROUP BY {column}", "user")
    week = f"type = 2 AND created_at >= {now - 7 * DAY_S} AND user_id = 2 GROUP BY model_name"
    plain = f"SELECT model_name, sum(quota) FROM logs WHERE {week}"
    yield Ask("/api/user/dashboard", "/api/user/dashboard", plain, "user")
    yield Ask("dashboard page", "/admin/", "SELECT * FROM users WHERE id = 1")


def _panel_logs(now: int) -> Iterator[Ask]:
    asked, day = _that_day(now)
    for what, given, plain in (
        ("first page", "", f"{NEWEST} 20"),
        ("page 500", "page=500", f"{NEWEST} 20 OFFSET 10000"),
        ("rare user", "username=user200", f"WHERE username = 'user200' {NEWEST} 20"),
        ("that day", asked.replace("_timestamp", ""), f"WHERE {day} {NEWEST} 20"),
    ):
        yield Ask(f"panel, logs, {what}", f"/admin/log/?{given}", f"{OF_LOGS} {plain}")
    yield Ask("panel, own logs", "/admin/log/", f"{MINE} {NEWEST} 20", "user")


def _objects(objects: int) -> Iterator[Ask]:
    for noun, column in (("channel", "name"), ("token", "name"), ("user", "username")):
        typed = f"{noun}{objects - 1}" if noun == "user" else f"{noun} {objects - 1}"
        rows = f"SELECT * FROM {noun}s WHERE {'user_id = 1' if noun == 'token' else '1 = 1'}"
        for what, path, plain in (
            (f"{noun}s", f"/api/{noun}/?p=0", f"{NEWEST} 10"),
            (f"{noun}s, page 1,000", f"/api/{noun}/?p=1000", f"{NEWEST} 10 OFFSET 10000"),
            (f"{noun}s, with total", f"/api/{noun}/?size=20", f"{NEWEST} 20"),
            (f"search {noun}s", f"/api/{noun}/search?keyword={typed}", f"AND {column} LIKE '{typed}%'"),
            (f"panel, {noun}s", f"/admin/{noun}/", f"{NEWEST} 20"),
            (f"panel, {noun}s, page 500", f"/admin/{noun}/?page=500", f"{NEWEST} 20 OFFSET 10000"),
            (f"panel, {noun}s, by use", f"/admin/{noun}/?sort={_SORTS[noun]}&desc=1", "ORDER BY used_quota DESC LIMIT 20"),  # noqa: E501
            (f"panel, search {noun}s", f"/admin/{noun}/?search={typed}", f"AND {column} LIKE '%{typed}%' {NEWEST} 20"),
        ):
            yield Ask(what, path, f"{rows} {plain}", limit_ms=LIST_LIMIT_MS)
    for what, given, plain in (
        ("of a type", "type=14", "type = 14"),
        ("of a group", "group=vip", "',' || \"group\" || ',' LIKE '%,vip,%'"),
        ("with a model", "model=model-7", "',' || models || ',' LIKE '%,model-7,%'"),
        ("with a tag", "tag=tag 7", "tag = 'tag 7'"),
    ):
        query = f"SELECT * FROM channels WHERE {plain} {NEWEST} 20"
        yield Ask(f"panel, channels {what}", f"/admin/channel/?{given}", query, limit_ms=LIST_LIMIT_MS)


_SORTS = {"channel": 7, "token": 2, "user": 6}  # place of `used_quota` among the columns of the list


# ---- measuring ----


@contextmanager
def database(kind: Kind, folder: Path) -> Iterator[tuple[FreshDatabase, list[int]]]:
    """An empty database, and the processes that serve it, until the block is left."""
    if kind.name == "sqlite":
        yield sqlite_database(folder), []
        return
    server = LargeMariaDB(require_service("mariadb"))
    try:
        yield server.fresh(), [server.pid]
    finally:
        server.close()


@contextmanager
def plainly(given: FreshDatabase) -> Iterator[Callable[[str], object]]:
    """A connection of the plain queries' own, through the driver alone."""
    connection: Any
    if given.kind == "sqlite":
        connection = sqlite3.connect(given.sqlite_path)
    else:
        url = given.url
        connection = pymysql.connect(
            host=url.host, port=url.port or 0, user=url.username, password=url.password or "", database=url.database
        )

    def ask(query: str) -> object:
        cursor = connection.cursor()
        try:
            cursor.execute(query if given.kind == "sqlite" else query.replace('"group"', "`group`"))
            return cursor.fetchall()
        finally:
            cursor.close()
            connection.commit()

    try:
        yield ask
    finally:
        connection.close()


def sessions(url: str) -> dict[str, requests.Session]:
    """Root, and the busiest user, both logged in."""
    found = {}
    for who, name in (("root", "root"), ("user", "user1")):
        session = found[who] = requests.Session()
        session.trust_env = False
        answer = session.post(f"{url}/api/user/login", json={"username": name, "password": PASSWORD}, timeout=60)
        assert answer.json()["success"], answer.text
    return found


def measure(url: str, wanted: Sequence[Ask], rounds: int, processor: Processor) -> dict[Ask, Figures]:
    """Each page once per round, in turn; the first round only warms up."""
    figures = {ask: Figures() for ask in wanted}
    asking = sessions(url)
    for number in range(rounds + 1):
        for ask in wanted:
            worked, begin = processor.ms(), time.perf_counter()
            answer = asking[ask.who].get(url + ask.path, timeout=120)
            took, worked = time.perf_counter() - begin, processor.ms() - worked
            is_answered = answer.status_code == 200 and "application/json" not in answer.headers["Content-Type"]
            assert is_answered or answer.json().get("success"), (ask, answer.status_code, answer.text[:300])
            if number:
                figures[ask].answers_ms.append(took * 1000)
                figures[ask].processor_ms.append(worked)
            figures[ask].size = len(answer.content)
    for session in asking.values():
        session.close()
    return figures


def add_plain(given: FreshDatabase, figures: Mapping[Ask, Figures]) -> None:
    with plainly(given) as ask_plainly:
        for ask, found in figures.items():
            times: list[float] = []
            while len(times) < (1 if times and times[0] > _SLOW_S * 1000 else _PLAIN_ROUNDS):
                begin = time.perf_counter()
                ask_plainly(ask.plain)
                times.append((time.perf_counter() - begin) * 1000)
            found.plain_ms = min(times)


def run(kind: Kind, args: argparse.Namespace) -> list[str]:
    """One database's section."""
    now = int(time.time())
    with (
        tempfile.TemporaryDirectory(prefix="oneapi-lists-", dir=args.folder) as name,
        database(kind, Path(name)) as (given, server_pids),
    ):
        config: Config = given.config(initial_root_password=PASSWORD)
        bootstrap.prepare(config)
        databases = open_databases(config)
        clock = Clock()
        generate(databases.main, kind, logs=args.logs, objects=args.objects, now=now)
        clock.stop("Generated")
        bootstrap.build_indexes(config)
        indexes_s = clock.stop("Indexes")
        hours = rollups.roll_up(databases.logs, now=now)
        rollups_s = clock.stop("Summed up")
        databases.dispose()
        made = (
            f"The index job made all indexes of the logs in {indexes_s:.0f} s, and the roll-up job summed up {hours:,} "
            f"hours in {rollups_s:.0f} s ({rollups_s / max(hours, 1) * 1000:.0f} ms each)."
        )
        return section(kind, args, given, Path(name), made, now, server_pids)


def section(
    kind: Kind,
    args: argparse.Namespace,
    given: FreshDatabase,
    folder: Path,
    made: str,
    now: int,
    server_pids: Sequence[int],
) -> list[str]:
    """Measures what stands in the database."""
    clock = Clock()
    wanted = [ask for ask in asks(now, args.logs, args.objects) if args.only in ask.what]
    with Gateway(folder, {**UNLIMITED, "SQL_DSN": given.dsn, "SQLITE_PATH": given.sqlite_path}) as gateway:
        clock.stop("Started")
        processor = Processor([*gateway.worker_pids, *server_pids])
        runs = [measure(gateway.base_url, wanted, args.rounds, processor) for _ in range(args.runs)]
    clock.stop("Measured")
    add_plain(given, runs[0])
    clock.stop("Plain queries")
    head = f"## {kind.name}: {args.logs:,} log rows; {args.objects:,} channels, tokens and users each"
    return [head, "", made, "", *table(runs), ""]


class Clock:
    """Tells on the terminal how long the steps take."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def stop(self, what: str) -> float:
        took, self._begin = time.monotonic() - self._begin, time.monotonic()
        print(f"{what}: {took:.1f} s", file=sys.stderr, flush=True)
        return took


def table(runs: Sequence[Mapping[Ask, Figures]]) -> list[str]:
    heads = ["p50 ms | p95 ms | processor p50 | processor p95"] * len(runs)
    lines = [f"| asked for | {' | '.join(heads)} | plain query ms | ratio | kB | limit |"]
    lines.append("| --- |" + " ---: |" * (4 * len(runs) + 4))
    for ask, first in runs[0].items():
        several = [one[ask] for one in runs]
        cells = [
            f"{number:.1f}"
            for one in several
            for times in (one.answers_ms, one.processor_ms)
            for number in (statistics.median(times), p95(times))
        ]
        ratio = statistics.median(first.answers_ms) / max(first.plain_ms, 0.001)
        cells += [f"{first.plain_ms:.1f}", f"{ratio:.2g}", f"{first.size / 1000:.1f}"]
        verdict = f"**over {ask.limit_ms}**"
        if max(p95(one.answers_ms) for one in several) <= ask.limit_ms:
            verdict = "kept"
        elif max(p95(one.processor_ms) for one in several) <= ask.limit_ms:
            verdict = f"kept but for waiting ({ask.limit_ms})"
        lines.append(f"| {ask.what} | {' | '.join(cells)} | {verdict} |")
    return lines


def machine() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=5_000_000)
    parser.add_argument("--objects", type=int, default=100_000, help="channels, tokens and users, each")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=2, help="how often all of it is measured")
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--only", default="", help="only what has this in its name; the report is then not written")
    parser.add_argument("--folder", help="where the data is put meanwhile; 5,000,000 rows take 5 GB")
    args = parser.parse_args()
    report(args, [line for name in args.databases for line in run(KINDS[name], args)])


def report(args: argparse.Namespace, sections: Sequence[str]) -> None:
    lines = [
        "# Large tables",
        "",
        f"Written by `bench/lists.py` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores, {machine()}; niceness {os.nice(0)}, on a machine "
        "that was shared with other work, load about "
        f"{os.getloadavg()[2]:.0f}: times are longer by that, those of the plain queries too.",
        "",
        "One worker. Times are from the request to the answer's last byte over loopback, page and all; each page was "
        f"asked for {args.rounds} times a run, in turn with all others. The plain query is for the same rows on the "
        "same database through its driver alone, the quickest of five, or of one where it takes over a second; for "
        "sums and charts it adds the rows up. Processor times are of worker and database server together; where only "
        "they keep a limit, the rest was waiting for the processor.",
        f"Limits (p95): {LOG_LIMIT_MS} ms for logs, sums and dashboards, {LIST_LIMIT_MS} ms for the other lists.",
        "",
        *sections,
    ]
    text = "\n".join(lines)
    if not args.only:
        (HERE / "REPORT-lists.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
