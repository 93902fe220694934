"""Doctor: looks over a deployment, and says of each thing whether it is well, and what to do where it is not.

It changes nothing. `examine` is what can be seen from the machine itself, and is shown on the panel too; the command
also tries the way through the public address (proxy_checks.py).
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import URL, Connection, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from oneapi.config import Config, ConfigError
from oneapi.database import main_url
from oneapi.i18n.messages import Language, language_of
from oneapi.models import User
from oneapi.services import bootstrap, database_checks, passwords, proxy_checks, spool, steps, upgrade_plan
from oneapi.services.findings import Finding, fault, has_fault, ok, print_all, warning

_NETWORK_FILESYSTEMS = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gfs2", "ocfs2",
    "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.juicefs",
)  # fmt: skip
_OLDEST_REDIS = (5, 0)
_SLOW_REDIS_MS = 20
_LEAST_SECRET = 16  # characters
_SQLITE_WORKERS = 2


def examine(config: Config) -> list[Finding]:
    """What can be seen from this machine. May take some seconds where a server does not answer."""
    return [*_databases(config), *_redis(config), *_folders(config), *_process(config)]


# ---- databases ----


def _databases(config: Config) -> Iterator[Finding]:
    try:
        for role, url in database_checks.urls(config).items():
            subject = "database" if role == "main" else "log database"
            if url.get_backend_name() == "sqlite":
                yield from _sqlite(Path(url.database or ""), subject)
            try:
                with database_checks.reading(url, config) as connection:
                    yield from _database(connection, config, role, subject)
            except SQLAlchemyError as error:
                reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
                yield fault(subject, "database_away", reason=reason, variable=_variable(url, role))
    except ConfigError as error:
        yield fault("database", "database_away", reason=error, variable="SQL_DSN")


def _variable(url: URL, role: str) -> str:
    if role == "logs":
        return "LOG_SQL_DSN"
    return "SQLITE_PATH" if url.get_backend_name() == "sqlite" else "SQL_DSN"


def _database(connection: Connection, config: Config, role: str, subject: str) -> Iterator[Finding]:
    yield database_checks.version(connection, subject)
    yield from database_checks.clock(connection, subject)
    yield from database_checks.rights(connection, subject)
    yield from database_checks.charset(connection, subject)
    yield from database_checks.journal(connection, subject)
    yield from database_checks.connections(connection, subject, config.sql_max_open_conns * _workers(config))
    version = steps.version_of(connection)
    plan = upgrade_plan.plan(connection, config, role)
    if version.pending:
        yield warning(subject, "unprepared")
    if version.is_newer:
        yield warning(subject, "newer", step=version.step)
    if plan.lacking:
        yield fault(subject, "lacks", what=", ".join(plan.lacking))
    if role == "main":
        yield from database_checks.option_values(connection, subject)
        yield from _root_password(connection)


def _root_password(connection: Connection) -> Iterator[Finding]:
    if not inspect(connection).has_table(User.__tablename__):
        return
    stored = connection.scalar(select(User.password).where(User.username == "root"))
    is_default = bool(stored) and passwords.matches(stored, bootstrap.DEFAULT_PASSWORD)
    yield fault("accounts", "root_password") if is_default else ok("accounts", "root_password_own")


def _sqlite(path: Path, subject: str) -> Iterator[Finding]:
    """What the file and its folder must bear."""
    closed = next(((what, reason) for what in (path.parent, path) if (reason := _why_closed(what))), None)
    if closed is not None:
        yield fault(subject, "sqlite_folder_closed", what=closed[0], reason=closed[1])
    else:
        yield ok(subject, "sqlite_folder", folder=path.parent)
    try:
        kind = filesystem_of(path, Path("/proc/self/mounts").read_text())
    except OSError:
        return  # not Linux
    is_far = kind in _NETWORK_FILESYSTEMS
    yield fault(subject, "sqlite_network", kind=kind) if is_far else ok(subject, "sqlite_disk", kind=kind)


def filesystem_of(path: Path, mounts: str) -> str:
    """The kind of filesystem that a path lies on, by the lines of /proc/self/mounts; "" for unknown."""
    found, longest = "", -1
    for line in mounts.splitlines():
        _, place, kind, *_ = line.split(" ")
        # Blanks in names stand there as octal numbers.
        mounted = Path(place.encode().decode("unicode_escape"))
        if path.is_relative_to(mounted) and len(mounted.parts) >= longest:
            found, longest = kind, len(mounted.parts)
    return found


# ---- Redis ----


def _redis(config: Config) -> Iterator[Finding]:
    if not config.redis_conn_string:
        yield ok("redis", "redis_none")
        return
    from redis import RedisError  # here, since most installations have none

    from oneapi.services.redis_cache import redis_client

    try:
        with redis_client(config) as client:
            client.ping()  # connects
            begun_s = time.perf_counter()
            client.ping()
            ms = round((time.perf_counter() - begun_s) * 1000, 1)
            known = {**client.info("server"), **client.info("memory")}
    except (RedisError, ValueError) as error:
        yield fault("redis", "redis_away", reason=error)
        return
    version = str(known.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_REDIS:
        least = ".".join(map(str, _OLDEST_REDIS))
        yield fault("redis", "version_too_old", product="Redis", version=version, least=least)
    yield ok("redis", "redis", version=version, ms=ms) if ms < _SLOW_REDIS_MS else warning("redis", "redis_slow", ms=ms)
    policy = known.get("maxmemory_policy", "noeviction")
    if known.get("maxmemory") and policy != "noeviction":
        yield warning("redis", "redis_evicts", policy=policy)


# ---- this machine ----


def _folders(config: Config) -> Iterator[Finding]:
    folders = {"DATA_DIR": spool.folder_of(config)} | ({"LOG_DIR": Path(config.log_dir)} if config.log_dir else {})
    for variable, folder in folders.items():
        folder = folder.absolute()
        if reason := _why_closed(folder):
            yield fault("folders", "folder_closed", folder=folder, reason=reason, variable=variable)
        else:
            yield ok("folders", "folder", folder=folder)


def _why_closed(path: Path) -> str:
    """Why a file cannot be written, or no file be made in a folder that exists or could be made; "" where it can."""
    try:
        if path.is_file():
            with path.open("r+b"):
                return ""
        while not path.exists():
            path = path.parent
        with tempfile.TemporaryFile(dir=path):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _process(config: Config) -> Iterator[Finding]:
    if not config.session_secret:
        yield ok("sessions", "session_secret_kept")
    elif len(config.session_secret) < _LEAST_SECRET:
        yield warning("sessions", "session_secret_short")
    else:
        yield ok("sessions", "session_secret")
    workers = _workers(config)
    if config.is_sqlite and workers > _SQLITE_WORKERS:
        yield warning("workers", "workers_many", workers=workers)
    else:
        yield ok("workers", "workers", workers=workers)
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and allowed < config.worker_connections:
        yield warning("workers", "files_few", allowed=allowed, wanted=config.worker_connections)
    else:
        yield ok("workers", "files", allowed=allowed)


def _workers(config: Config) -> int:
    cores = len(os.sched_getaffinity(0))
    return config.web_concurrency or (min(cores, _SQLITE_WORKERS) if config.is_sqlite else cores)


# ---- the command ----


_HELP = """\
Looks over this deployment and says what is well, what may become trouble, and what is wrong, each with its cure: the
databases, Redis, folders and settings of this machine, and with --url what the proxies in front do to requests and
streams. Run it on a machine of the program, as the same user and with the same environment or .env; the program must
be running for --url. It changes nothing."""
_STATUS = "exit status: 0 no fault, 1 a fault was found"


def doctor_command(config: Config, arguments: Sequence[str]) -> int:
    """`oneapi doctor`: prints what it finds, and gives the exit status that its help promises."""
    parser = argparse.ArgumentParser(
        prog="oneapi doctor",
        description=_HELP,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--url", metavar="URL", type=_url, help="the public address, such as https://api.example.com")
    parser.add_argument("--token", metavar="KEY", default="", help="an API key (sk-…) to try through the address")
    parser.add_argument(
        "--idle",
        metavar="SECONDS",
        type=float,
        default=proxy_checks.IDLE_S,
        help=f"how long a silent connection must be borne (default {proxy_checks.IDLE_S:g}; 0: not tried)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    given = parser.parse_args(arguments)
    language = _language()
    findings = [*_settings(), *examine(config)]
    if given.url:
        findings.extend(_through(config, given.url, given.idle, given.token))
    if given.json:
        listed = [finding.as_json(language) for finding in findings]
        print(msgspec.json.format(msgspec.json.encode(listed)).decode())
    else:
        print_all(findings, language)
    return 1 if has_fault(findings) else 0


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError("is no URL that begins with http:// or https://")
    return text.rstrip("/")


def _language() -> Language:
    """What the terminal speaks."""
    return language_of(next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), ""))


def _settings() -> list[Finding]:
    """What of the environment is not used as it is given."""
    found: list[Finding] = []

    def report(level: int, line: str) -> None:
        if level >= logging.WARNING:
            found.append(warning("settings", "setting", line=line))

    Config.from_environ(os.environ, report)
    return found


def _through(config: Config, url: str, idle_s: float, token: str) -> Iterator[Finding]:
    try:
        engine = database_checks.engine_for_reading(main_url(config), config)
        secret = bootstrap.session_secret(engine, config)
    except (SQLAlchemyError, bootstrap.NotReady, ConfigError) as error:
        reason = str(getattr(error, "orig", None) or error)
        yield fault("public address", "url_untried", url=url, reason=reason)
        return
    yield from proxy_checks.through(
        url, secret, idle_s=idle_s, max_body_bytes=config.max_body_bytes, token=token.strip()
    )
