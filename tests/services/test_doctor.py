"""`oneapi doctor` without a public address: what can be seen from the machine itself."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
import redis
from sqlalchemy import insert

from oneapi.config import VARIABLES, Config
from oneapi.database import main_url, unpooled_engine
from oneapi.i18n.findings import WORDS
from oneapi.models import Option
from oneapi.services import bootstrap, database_checks, doctor
from oneapi.services.findings import Finding
from oneapi.services.proxy_checks import CLAIMED, judge
from tests.servers import FreshDatabase, MariaDB, PostgreSQL, Redis, free_port, sqlite_database

CHECKOUT = Path(__file__).parent.parent.parent


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A prepared SQLite database and folders of its own, with which nothing is wrong."""
    made = sqlite_database(tmp_path).config(
        initial_root_password="correct horse",
        data_dir=str(tmp_path),
        log_dir=str(tmp_path / "logs"),
        web_concurrency=1,
        worker_connections=100,
    )
    bootstrap.prepare(made)
    return made


def found(config: Config) -> dict[str, Finding]:
    """Findings by key."""
    return {finding.key: finding for finding in doctor.examine(config)}


def troubles(config: Config) -> dict[str, str]:
    return {finding.key: finding.level for finding in doctor.examine(config) if finding.level != "ok"}


def test_nothing_is_wrong_with_a_small_installation(config: Config) -> None:
    assert troubles(config) == {}
    assert {"database", "sqlite_folder", "sqlite_wal", "root_password_own", "redis_none"} <= set(found(config))


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_nothing_is_wrong_with_a_prepared_server(kind: str, request: pytest.FixtureRequest, config: Config) -> None:
    server: MariaDB | PostgreSQL = request.getfixturevalue(kind)
    on_server = replace(config, sql_dsn=server.fresh().dsn)
    bootstrap.prepare(on_server)
    assert troubles(on_server) == {}
    assert {"database", "rights", "charset", "clock", "connections", "options"} <= set(found(on_server))


def test_what_is_said_on_the_first_day(tmp_path: Path, database: FreshDatabase) -> None:
    config = database.config(data_dir=str(tmp_path), log_dir="", web_concurrency=1, worker_connections=100)
    if database.kind != "sqlite":
        assert troubles(config) == {"unprepared": "warning"}
    bootstrap.prepare(config)
    assert troubles(config) == {"root_password": "fault"}


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    config = Config(sqlite_path=str(tmp_path / "missing.db"), data_dir=str(tmp_path), log_dir="", web_concurrency=1)
    finding = found(config)["database_away"]
    assert (finding.level, finding.values["variable"]) == ("fault", "SQLITE_PATH")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_database_that_refuses_is_told_without_its_password(kind: str, request: pytest.FixtureRequest) -> None:
    port = request.getfixturevalue(kind).port
    form = {"mariadb": "oneapi:geheim@tcp(127.0.0.1:{})/shared", "postgres": "postgres://oneapi:geheim@127.0.0.1:{}/x"}
    finding = found(Config(sql_dsn=form[kind].format(port), log_dir=""))["database_away"]
    assert (finding.level, finding.values["variable"]) == ("fault", "SQL_DSN")
    assert "geheim" not in finding.text()


def test_dsn_that_cannot_be_meant_is_told(config: Config) -> None:
    assert troubles(replace(config, sql_dsn="nonsense")) == {"database_away": "fault"}


def test_connections_that_the_server_does_not_allow_are_warned_of(config: Config, mariadb: MariaDB) -> None:
    on_server = replace(config, sql_dsn=mariadb.fresh().dsn, sql_max_open_conns=10_000, web_concurrency=4)
    bootstrap.prepare(on_server)
    finding = found(on_server)["connections_few"]
    assert (finding.level, finding.values) == ("warning", {"allowed": 500, "wanted": 40_000})


def test_database_that_is_too_old_is_found(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database_checks._OLDEST, "SQLite", (99, 1))
    finding = found(config)["version_too_old"]
    assert (finding.level, finding.values["least"]) == ("fault", "99.1")


def test_option_that_cannot_be_read_is_warned_of(config: Config) -> None:
    with unpooled_engine(main_url(config), config).begin() as connection:
        connection.execute(insert(Option).values(key="GroupRatio", value="{"))
    assert troubles(config) == {"option_unreadable": "warning"}


@pytest.mark.parametrize(("apart_s", "level"), [(10, "warning"), (-10, "warning"), (3600, "fault")])
def test_clock_that_differs_is_found(apart_s: int, level: str, mariadb: MariaDB) -> None:
    with database_checks.reading(mariadb.url, Config()) as connection:
        (finding,) = database_checks.clock(connection, "database", now=lambda: time.time() + apart_s)
    assert (finding.key, finding.level) == ("clock_differs", level)


def test_journal_of_the_go_program_is_warned_of(config: Config) -> None:
    engine = unpooled_engine(main_url(config), config)
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA journal_mode=DELETE")
    assert troubles(config) == {"sqlite_no_wal": "warning"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/one-api.db", "ext4"),
        ("/data/shared/one-api.db", "nfs4"),
        ("/data/shared-not/one-api.db", "ext4"),
        ("/data/with blank/one-api.db", "cifs"),
    ],
)
def test_filesystem_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    mounts = (
        "/dev/sda1 / ext4 rw 0 0\nhost:/x /data/shared nfs4 rw 0 0\n//host/y /data/with\\040blank cifs rw 0 0\n"
        "none /data/shared/deeper tmpfs rw 0 0\n"
    )
    assert doctor.filesystem_of(Path(path), mounts) == kind


def test_folders_that_cannot_be_written_to_are_found(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    closed = replace(config, data_dir="/proc/nowhere", log_dir=str(tmp_path / "file" / "logs"))
    findings = [finding for finding in doctor.examine(closed) if finding.level != "ok"]
    assert [(finding.key, finding.values["variable"]) for finding in findings] == [
        ("folder_closed", "DATA_DIR"),
        ("folder_closed", "LOG_DIR"),
    ]
    on_proc = found(replace(config, sqlite_path="/proc/one-api.db"))
    assert on_proc["sqlite_folder_closed"].level == "fault"


def test_settings_of_the_process_are_judged(config: Config) -> None:
    judged = replace(config, session_secret="short", web_concurrency=8, worker_connections=10**9)
    assert troubles(judged) == {"session_secret_short": "warning", "workers_many": "warning", "files_few": "warning"}
    assert "session_secret" in found(replace(config, session_secret="s" * 32))


# ---- Redis ----


@pytest.fixture
def settings_of_redis(redis_server: Redis) -> Iterator[Any]:
    """A client by which a test changes the server's settings; they are put back."""
    with redis.Redis(port=redis_server.port, protocol=2) as client:
        before = {name: client.config_get(name)[name] for name in ("maxmemory", "maxmemory-policy")}
        yield client
        for name, value in before.items():
            client.config_set(name, value)


def test_redis_that_answers_is_well(config: Config, redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SLOW_REDIS_MS", 10_000)
    finding = found(replace(config, redis_conn_string=redis_server.url))["redis"]
    assert re.fullmatch(r"Redis \d+\.\d+\.\d+ answers within \d+\.\d+ ms\.", finding.text())


def test_redis_that_is_slow_old_or_forgetful_is_told(
    config: Config, redis_server: Redis, settings_of_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_SLOW_REDIS_MS", 0)
    monkeypatch.setattr(doctor, "_OLDEST_REDIS", (99, 0))
    settings_of_redis.config_set("maxmemory", 10**9)
    settings_of_redis.config_set("maxmemory-policy", "allkeys-lru")
    assert troubles(replace(config, redis_conn_string=redis_server.url)) == {
        "redis_slow": "warning",
        "version_too_old": "fault",
        "redis_evicts": "warning",
    }


@pytest.mark.parametrize("address", ["redis://:geheim@127.0.0.1:{port}/0", "geheim"])
def test_redis_that_is_away_is_told_without_its_password(config: Config, address: str) -> None:
    finding = found(replace(config, redis_conn_string=address.format(port=free_port())))["redis_away"]
    assert finding.level == "fault"
    assert "geheim" not in finding.text()


# ---- what arrives behind a proxy ----


@pytest.mark.parametrize(
    ("seen", "findings"),
    [
        ({"peer_port": 4711}, {"address_direct": "ok"}),
        ({}, {"address": "ok"}),
        ({"forwarded_for": f"{CLAIMED}, 198.51.100.7"}, {"address": "ok"}),
        ({"forwarded_for": ""}, {"address_hidden": "fault"}),
        ({"forwarded_for": CLAIMED}, {"address_claimed": "fault"}),
        ({"is_peer_trusted": False, "scheme": "http"}, {"proxy_untrusted": "fault"}),
        ({"scheme": "http"}, {"address": "ok", "scheme_hidden": "warning"}),
        ({"host": "127.0.0.1:3000"}, {"address": "ok", "host_hidden": "warning"}),
        ({"protocol": "HTTP/1.0"}, {"address": "ok", "http10": "warning"}),
    ],
)
def test_what_a_proxy_says_of_a_request_is_judged(seen: dict[str, Any], findings: dict[str, str]) -> None:
    arrived = {
        "peer": "192.0.2.1",
        "peer_port": 1,
        "is_peer_trusted": True,
        "forwarded_for": "198.51.100.7",
        "scheme": "https",
        "host": "api.example.com",
        "protocol": "HTTP/1.1",
    }
    judged = list(judge(arrived | seen, host="api.example.com", is_tls=True, own_port=4711))
    assert {finding.key: finding.level for finding in judged} == findings
    for finding in judged:
        assert "{" not in finding.text() + finding.cure("zh")
        if finding.key == "address":
            assert finding.values["client"] == "198.51.100.7"
        if finding.key == "proxy_untrusted":
            assert finding.cure() == f"TRUSTED_PROXIES={VARIABLES['trusted_proxies'].example},192.0.2.1"


# ---- the command ----


def test_the_command_speaks_the_terminals_language(config: Config, tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CHECKOUT),
        "LANG": "zh_CN.UTF-8",
        "PYTHONIOENCODING": "utf-8",
        "SQLITE_PATH": config.sqlite_path,
        "LOG_DIR": "",
        "SESSION_SECRET": "random_string",
    }
    done = subprocess.run(
        [sys.executable, "-m", "oneapi", "doctor"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok      accounts: root 账户已修改默认密码。" in done.stdout
    assert "warning settings: SESSION_SECRET is One API's example" in done.stdout
    assert "          请修正该环境变量。" in done.stdout


def test_both_languages_tell_the_same_values() -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for key, words in WORDS.items():
        assert fields(words.english) == fields(words.chinese), key
        assert fields(words.english_cure) == fields(words.chinese_cure), key
        assert bool(words.english_cure) == bool(words.chinese_cure), key
