"""Private servers for tests: MariaDB, PostgreSQL and Redis on free ports, in folders of their own.

Each starts when a test first asks for it, serves all tests of the session, and can be stopped and started by tests of
failures. `database` gives a fresh database, once of each kind.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
import pymysql
import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import URL

from oneapi.config import Config
from oneapi.dsn import url_of
from tests.needs import require_service

_START_S = 60
_USER = "oneapi"
# Every character that a DSN could trip over.
PASSWORD = "p@ss:w/(o)?r#d&%41 =+"
_numbers = itertools.count(1)
S = TypeVar("S", bound="Server")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class FreshDatabase:
    """An empty database. `dsn` is One API's form of its address, "" for SQLite, whose file is `sqlite_path`."""

    kind: str
    dsn: str
    sqlite_path: str
    url: URL

    def config(self, **more: Any) -> Config:
        """A configuration with this as the main database."""
        return Config(**({"sql_dsn": self.dsn, "sqlite_path": self.sqlite_path} | more))


class Server:
    """A server process of ours. Subclasses say how it is set up, started and asked whether it serves."""

    name = ""
    user = ""  # whom it runs as when we are root
    stop_signal = signal.SIGTERM
    end_signal = signal.SIGKILL  # nobody needs the data any more

    def __init__(self, program: Path) -> None:
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix=f"oneapi-{self.name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            if os.getuid() == 0 and self.user:
                account = pwd.getpwnam(self.user)
                os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.set_up()
            self.start()
            self.welcome()
        except BaseException:
            self.close()
            raise

    def set_up(self) -> None:
        """Makes what the server finds at its first start."""

    def welcome(self) -> None:
        """Does once, with the server running, what tests need."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def ping(self) -> None:
        """Raises unless the server serves."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the server on its port, with the data it had, and waits until it serves."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*self._as_user(), *self.command()], stdout=output, stderr=output, cwd=self.folder, env=self._environ()
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                return self.ping()
            except Exception as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    tail = (self.folder / "output").read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"{self.name} does not start: {error}\n{tail}") from error
                time.sleep(0.05)

    def stop(self, how: signal.Signals | None = None) -> None:
        """Stops the server and waits for its end; SIGKILL stops it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(how or self.stop_signal)
            self._process.wait(_START_S)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Ends it for good."""
        self.stop(self.end_signal)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str) -> None:
        """Runs a command as the server's user."""
        done = subprocess.run(
            [*self._as_user(), *command], cwd=self.folder, env=self._environ(), capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def _environ(self) -> dict[str, str]:
        """A MariaDB that starts clears away what it takes for its own in the temporary folder, another one's too."""
        return {**os.environ, "TMPDIR": str(self.folder)}

    def _as_user(self) -> list[str]:
        """How to become the server's user, and to end with this process however that ends."""
        if not shutil.which("setpriv"):
            return []
        prefix = ["setpriv", "--pdeathsig", signal.Signals(self.stop_signal).name.removeprefix("SIG")]
        if os.getuid() == 0 and self.user:
            account = pwd.getpwnam(self.user)
            prefix += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        return prefix


class DatabaseServer(Server):
    kind = ""

    def __init__(self, program: Path, *, is_durable: bool = False) -> None:
        self.is_durable = is_durable  # whether it waits for the disk, as a power-cut test wants
        super().__init__(program)

    def create_database(self) -> tuple[str, URL]:
        """A new, empty database: its DSN in One API's form, and SQLAlchemy's URL."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.dsn(name), url_of(self.dsn(name), "")

    def fresh(self) -> FreshDatabase:
        dsn, url = self.create_database()
        return FreshDatabase(self.kind, dsn, "unused.db", url)

    @property
    def dsn_go(self) -> str:
        """The DSN of a database that all tests share."""
        return self.dsn("shared")

    @property
    def url(self) -> URL:
        return url_of(self.dsn_go, "")

    def welcome(self) -> None:
        self.execute("CREATE DATABASE shared")

    def dsn(self, name: str) -> str:
        raise NotImplementedError

    def execute(self, statement: str) -> None:
        """Runs one statement as the server's superuser."""
        raise NotImplementedError


class MariaDB(DatabaseServer):
    name = "mariadb"
    kind = "mysql"
    user = "mysql"

    def set_up(self) -> None:
        self.run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        _write_certificate(self.folder / "tls.pem")

    def command(self) -> list[str]:
        return [
            str(self.program),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
            f"--innodb-flush-log-at-trx-commit={1 if self.is_durable else 2}",
            "--max-connections=500",
            f"--ssl-cert={self.folder / 'tls.pem'}",
            f"--ssl-key={self.folder / 'tls.pem'}",
        ]

    def ping(self) -> None:
        # PyMySQL leaves a socket open that it could not connect, which a later test would be blamed for.
        self.run("mariadb-admin", "--no-defaults", f"--socket={self.folder / 'socket'}", "--user=root", "ping")

    def welcome(self) -> None:
        self.execute(f"CREATE USER {_USER}@'%' IDENTIFIED BY '{PASSWORD}'")
        self.execute(f"GRANT ALL ON *.* TO {_USER}@'%'")
        super().welcome()

    def dsn(self, name: str) -> str:
        return f"{_USER}:{PASSWORD}@tcp(127.0.0.1:{self.port})/{name}"

    def execute(self, statement: str) -> None:
        with (
            pymysql.connect(unix_socket=str(self.folder / "socket"), user="root", ssl_disabled=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


class PostgreSQL(DatabaseServer):
    name = "postgresql"
    kind = "postgresql"
    user = "postgres"
    stop_signal = signal.SIGINT  # SIGTERM would wait for clients to leave
    end_signal = signal.SIGQUIT  # SIGKILL would leave its shared memory behind

    def set_up(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        options = ["-U", _USER, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        self.run(str(self.program.with_name("initdb")), "-D", str(self.folder / "data"), *options)

    def command(self) -> list[str]:
        return [
            str(self.program),
            *("-D", str(self.folder / "data"), "-k", str(self.folder), "-p", str(self.port), "-h", "127.0.0.1"),
            *("-c", f"fsync={'on' if self.is_durable else 'off'}", "-c", "max_connections=300"),
        ]

    def ping(self) -> None:
        self.execute("SELECT 1")

    def dsn(self, name: str) -> str:
        return f"postgres://{_USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{name}?sslmode=disable"

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


class Redis(Server):
    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        port, folder = str(self.port), str(self.folder)
        return [str(self.program), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder]

    def ping(self) -> None:
        with redis.Redis(port=self.port, protocol=2) as client:
            client.ping()

    def flush(self) -> None:
        """Empties it."""
        with redis.Redis(port=self.port, protocol=2) as client:
            client.flushall()


def _write_certificate(path: Path) -> None:
    """A key and a certificate that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(text + certificate.public_bytes(pem))
    path.chmod(0o644)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server. A test that stops it starts it again."""
    yield from _serving(MariaDB(require_service("mariadb")))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A PostgreSQL server. A test that stops it starts it again."""
    yield from _serving(PostgreSQL(require_service("postgresql")))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis server. A test that stops it starts it again."""
    yield from _serving(Redis(require_service("redis")))


@pytest.fixture(params=["sqlite", "mariadb", "postgres"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], FreshDatabase]:
    """Makes an empty database at each call, all of one kind; the test runs once for each kind."""
    if request.param == "sqlite":
        return partial(sqlite_database, tmp_path)
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server.fresh


@pytest.fixture
def database(new_database: Callable[[], FreshDatabase]) -> FreshDatabase:
    """An empty database, once of each kind."""
    return new_database()


def sqlite_database(folder: Path) -> FreshDatabase:
    """An SQLite database in a folder of the test."""
    path = str(folder / f"one-api-{next(_numbers)}.db")
    return FreshDatabase("sqlite", "", path, url_of("", path))


def _serving(server: S) -> Iterator[S]:
    try:
        yield server
    finally:
        server.close()
