"""Facts of the deployment: read once from the environment, then frozen.

One field of `Config` is one environment variable, whose name is the field's in capitals; type, default, help and
whether it is secret stand in that one place, and a test keeps `deploy/.env.example` complete by it. What an operator
changes while the program runs is an option instead (options.py).

Names, defaults and readings are One API's (spec management.md §2); a variable that is set but empty counts as unset.
Where ours differ, the help says so. Nothing here imports the rest of the program.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import load_dotenv

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Report = Callable[[int, str], object]  # a logging level and a line, as `Logger.log` takes them

# Set by the process that prepared the database, to its own id: the workers it starts need not look again.
PREPARED_BY = "ONEAPI_PREPARED_BY"


class ConfigError(Exception):
    """The environment holds something the program must not start with. The message names the variable."""


def read_dotenv() -> None:
    """Adds what `.env` in the working directory says to the environment; variables that exist win."""
    load_dotenv(Path(".env"))
    time.tzset()  # TZ may have come from there


# ---- how a text becomes a value; each raises ValueError, whose text completes "NAME ..." ----


def _text(text: str) -> str:
    return text


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text == "true"


def _flag_any_case(text: str) -> bool:
    return _flag(text.lower())


def _number(low: int, high: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError("is not a whole number") from None
        if number < low or (high is not None and number > high):
            raise ValueError(f"must be at least {low}" if high is None else f"must be from {low} to {high}")
        return number

    return parse


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise ValueError("is not a number") from None
    if not 0 <= share <= 1:
        raise ValueError("must be from 0 to 1")
    return share


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return parse


def _proxy(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https", "socks5", "socks5h") or not parts.hostname:
        raise ValueError("is no proxy URL such as http://host:port or socks5://host:port")
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no URL that begins with http:// or https://")
    return text.rstrip("/")


def _networks(text: str) -> tuple[Network, ...]:
    if text == "none":
        return ()
    try:
        return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"is no list of addresses or networks: {error}") from None


def _phrases(text: str) -> tuple[str, ...]:
    phrases = tuple(part.strip() for part in text.split(",") if part.strip())
    if any(len(phrase) < 16 for phrase in phrases):
        raise ValueError("has a phrase of fewer than 16 characters")
    return phrases


_PRIVATE = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """How one field is read. `is_fatal`: a malformed value stops the start; otherwise the default is used and said.

    `keeps_empty`: set but empty is a value of its own. `also` names other variables read when this one is unset.
    """

    parse: Callable[[str], Any]
    help: str
    group: str
    is_secret: bool = False
    is_fatal: bool = False
    keeps_empty: bool = False
    also: tuple[str, ...] = ()
    example: str = ""


_METADATA = "variable"


def _variable(
    group: str, default: Any, parse: Callable[[str], Any], help: str, *, secret: bool = False, **more: Any
) -> Any:
    return field(
        default=default,
        repr=not secret,
        metadata={_METADATA: Variable(parse=parse, help=help, group=group, is_secret=secret, **more)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The deployment, as the environment states it. `Config()` is what an empty environment gives."""

    # ---- serving ----
    port: int = _variable("Serving", 3000, _number(1, 65535), "Port to listen on; wins over --port.", is_fatal=True)
    bind: str = _variable(
        "Serving",
        "",
        _text,
        "Address and port to listen on instead of PORT on all IPv4 interfaces; [::]:3000 takes IPv4 and IPv6.",
        example="127.0.0.1:3000",
    )
    web_concurrency: int = _variable(
        "Serving",
        0,
        _number(0, 256),
        "Worker processes; 0: one per processor core, with SQLite at most 2.",
    )
    worker_connections: int = _variable(
        "Serving", 10000, _number(1), "Connections one worker keeps, idle ones included; `ulimit -n` must allow them."
    )
    worker_timeout: int = _variable(
        "Serving", 120, _number(0), "Seconds after which a worker whose event loop stands still is replaced."
    )
    graceful_timeout: int = _variable(
        "Serving",
        60,
        _number(6),
        "Seconds that running streams are given to end when the program is told to stop; "
        "those left are ended, and settled, five seconds earlier.",
    )
    keepalive: int = _variable(
        "Serving",
        75,
        _number(1),
        "Seconds an idle connection is kept; longer than the keepalive of the proxy in front.",
    )
    trusted_proxies: tuple[Network, ...] = _variable(
        "Serving",
        _networks(_PRIVATE),
        _networks,
        "Peers whose X-Forwarded-* headers are believed, separated by commas; `none` believes nobody.",
        example=_PRIVATE,
        is_fatal=True,
    )
    max_body_bytes: int = _variable(
        "Serving",
        64 * 1024 * 1024,
        _number(1024),
        "Largest request body, compressed or not; larger ones are answered 413.",
    )
    data_dir: str = _variable(
        "Serving",
        ".",
        _text,
        "Folder for what must outlive a loss of the database: charges that could not be written yet.",
    )
    session_secret: str = _variable(
        "Serving",
        "",
        _text,
        "Signs session cookies; the same on all nodes. Unset: made once and kept in the database.",
        secret=True,
    )
    key_encryption_key: tuple[str, ...] = _variable(
        "Serving",
        (),
        _phrases,
        "Encrypts channel keys and secret options in the database: a random text of at least 16 characters, the same "
        "on all nodes; older ones may follow after commas and are only read with. Unset: plain, as One API reads them.",
        secret=True,
        is_fatal=True,
    )
    gin_mode: str = _variable("Serving", "", _text, "One API's framework mode; read and without effect here.")

    # ---- database ----
    sql_dsn: str = _variable(
        "Database",
        "",
        _text,
        "Database: user:password@tcp(host:3306)/name or mysql://… for MySQL and MariaDB, postgres://… for PostgreSQL. "
        "Unset: SQLite.",
        secret=True,
        example="oneapi:password@tcp(localhost:3306)/oneapi",
    )
    log_sql_dsn: str = _variable(
        "Database", "", _text, "Another database for the table of logs, in the same forms.", secret=True
    )
    sqlite_path: str = _variable("Database", "one-api.db", _text, "SQLite's file.")
    sqlite_busy_timeout: int = _variable(
        "Database", 3000, _number(0), "Milliseconds a write waits while another process writes to SQLite."
    )
    sql_max_idle_conns: int = _variable(
        "Database", 20, _number(1), "Connections a worker keeps to a database (One API: 100 for its one process)."
    )
    sql_max_open_conns: int = _variable(
        "Database",
        60,
        _number(1),
        "Connections a worker opens at most; times the workers of all nodes it must stay below the server's limit "
        "(One API: 1000 for its one process).",
    )
    sql_max_lifetime: int = _variable(
        "Database",
        60,
        _number(1),
        "Seconds after which a connection is replaced; SQL_CONN_MAX_LIFETIME is read too.",
        also=("SQL_CONN_MAX_LIFETIME",),
    )

    # ---- Redis and nodes ----
    redis_conn_string: str = _variable(
        "Redis and nodes",
        "",
        _text,
        "redis://user:password@host:6379/0, for limits and news shared by all workers and nodes; with "
        "REDIS_MASTER_NAME a list host:port,host:port of sentinels. Used with or without SYNC_FREQUENCY "
        "(One API wants both).",
        secret=True,
        example="redis://localhost:6379",
    )
    redis_master_name: str = _variable("Redis and nodes", "", _text, "Name of the master that Redis Sentinel watches.")
    redis_password: str = _variable("Redis and nodes", "", _text, "Password, with Redis Sentinel.", secret=True)
    sync_frequency: int = _variable(
        "Redis and nodes",
        600,
        _number(1),
        "Seconds after which options and channels are read again, changed or not, "
        "for databases that the Go program writes to as well.",
    )
    memory_cache_enabled: bool = _variable(
        "Redis and nodes", False, _flag_any_case, "One API's cache of channels; here they are always cached."
    )
    node_type: str = _variable(
        "Redis and nodes", "master", _choice("master", "slave"), "slave: migrates nothing and runs no periodic jobs."
    )
    frontend_base_url: str = _variable(
        "Redis and nodes",
        "",
        _web_address,
        "Slaves only: pages are redirected to this address.",
        example="https://api.example.com",
    )

    # ---- first start ----
    initial_root_password: str = _variable(
        "First start", "", _text, "Password of root in an empty database, instead of 123456.", secret=True
    )
    initial_root_token: str = _variable(
        "First start",
        "",
        _text,
        "API key made for root in an empty database; no dash but that of a leading sk-.",
        secret=True,
    )
    initial_root_access_token: str = _variable(
        "First start",
        "",
        _text,
        "Root's access token for /api in an empty database, at most 32 characters.",
        secret=True,
    )

    # ---- relay ----
    relay_timeout: int = _variable(
        "Relay",
        0,
        _number(0),
        "Seconds a provider may be silent, before the first byte or within a stream; "
        "0: 600 for the first byte, 300 afterwards.",
    )
    relay_proxy: str = _variable(
        "Relay",
        "",
        _proxy,
        "Proxy for calls to providers. Unset: HTTP_PROXY, HTTPS_PROXY and NO_PROXY are honoured.",
        secret=True,
        is_fatal=True,
        example="socks5://localhost:1080",
    )
    http_proxy: str = _variable(
        "Relay", "", _text, "Proxy for http addresses, where RELAY_PROXY is unset.", secret=True, also=("http_proxy",)
    )
    https_proxy: str = _variable(
        "Relay", "", _text, "Proxy for https addresses, where RELAY_PROXY is unset.", secret=True, also=("https_proxy",)
    )
    no_proxy: str = _variable("Relay", "", _text, "Hosts reached without a proxy.", also=("no_proxy",))
    user_content_request_proxy: str = _variable(
        "Relay", "", _proxy, "Proxy for fetching images that users refer to.", secret=True, is_fatal=True
    )
    user_content_request_timeout: int = _variable(
        "Relay", 30, _number(1), "Seconds for fetching an image that a user refers to."
    )
    allow_private_fetch: bool = _variable(
        "Relay",
        False,
        _flag_any_case,
        "Images that users refer to may be fetched from private addresses, too: for networks without the internet.",
    )
    enforce_include_usage: bool = _variable(
        "Relay", False, _flag, "Clients are sent the usage of every stream, asked for or not."
    )
    gemini_safety_setting: str = _variable("Relay", "BLOCK_NONE", _text, "Threshold sent to Gemini for each category.")
    gemini_version: str = _variable("Relay", "v1beta", _text, "Version of Gemini's API for channels that state none.")
    tiktoken_cache_dir: str = _variable(
        "Relay",
        "",
        _text,
        "Folder with tiktoken's tables instead of those that come with the program.",
        also=("DATA_GYM_CACHE_DIR",),
    )
    adaptors_dir: str = _variable(
        "Relay",
        "",
        _text,
        "Folder with providers of your own, a Python file each: docs/adding-a-provider.md.",
        example="/data/adaptors",
    )

    # ---- channels ----
    test_prompt: str = _variable(
        "Channels",
        "Output only your specific model name with no additional text.",
        _text,
        "What a channel test asks.",
    )
    channel_test_frequency: int = _variable(
        "Channels", 0, _number(0), "Minutes between tests of all channels; 0: none.", is_fatal=True
    )
    channel_update_frequency: int = _variable(
        "Channels", 0, _number(0), "Minutes between balance queries of all channels; 0: none."
    )
    polling_interval: int = _variable(
        "Channels", 0, _number(0), "Seconds between two channels while all are tested or asked for their balance."
    )
    enable_metric: bool = _variable("Channels", False, _flag, "Channels are disabled by their success rate, too.")
    metric_queue_size: int = _variable("Channels", 10, _number(1), "Last requests that the success rate is taken from.")
    metric_success_rate_threshold: float = _variable(
        "Channels", 0.8, _share, "Success rate, from 0 to 1, below which a channel is disabled."
    )
    metric_success_chan_size: int = _variable(
        "Channels", 1024, _number(0), "A buffer of One API; read and without effect here."
    )
    metric_fail_chan_size: int = _variable(
        "Channels", 128, _number(0), "A buffer of One API; read and without effect here."
    )

    # ---- accounts ----
    batch_update_enabled: bool = _variable(
        "Accounts",
        False,
        _flag,
        "Statistics (used quota, numbers of requests) are written in batches; balances never are.",
    )
    batch_update_interval: int = _variable("Accounts", 5, _number(1), "Seconds between those batches.")
    global_api_rate_limit: int = _variable(
        "Accounts", 480, _number(0), "Requests to /api per address in three minutes; 0: any number."
    )
    global_web_rate_limit: int = _variable(
        "Accounts", 240, _number(0), "Requests for pages per address in three minutes; 0: any number."
    )
    critical_rate_limit: int = _variable(
        "Accounts", 20, _number(0), "Logins, registrations and mails per address in twenty minutes; 0: any number."
    )
    smtp_skip_verify: bool = _variable(
        "Accounts", False, _flag_any_case, "The mail server's certificate is not checked."
    )
    theme: str = _variable(
        "Accounts", "default", _choice("default", "berry", "air"), "One API's theme; kept, and without effect here."
    )

    # ---- logging ----
    log_dir: str = _variable(
        "Logging",
        "./logs",
        _text,
        "Folder of the log files, unless --log-dir says another. Set but empty: no files.",
        keeps_empty=True,
    )
    only_one_log_file: bool = _variable("Logging", False, _flag_any_case, "One file oneapi.log instead of one a day.")
    log_format: str = _variable(
        "Logging", "text", _choice("text", "json"), "text: One API's lines. json: one object a line."
    )
    debug: bool = _variable(
        "Logging",
        False,
        _flag_any_case,
        "Logs more, never bodies or keys. One API's also lifts every rate limit; ours does not.",
    )
    debug_sql: bool = _variable("Logging", False, _flag_any_case, "Logs SQL statements, without their values.")
    tz: str = _variable("Logging", "", _text, "Time zone of log lines and daily figures.", example="Asia/Shanghai")

    # Whether SYNC_FREQUENCY is set at all; no variable of its own.
    is_sync_frequency_set: bool = False

    @property
    def is_master(self) -> bool:
        """Whether this node migrates the database and may run the periodic jobs."""
        return self.node_type != "slave"

    @property
    def is_sqlite(self) -> bool:
        """Whether the main database is SQLite."""
        return not self.sql_dsn

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], report: Report = lambda level, line: None) -> Config:
        """What the environment states; `report` is told of each value that is not used as given.

        Raises ConfigError, with one line for each variable at fault, when the program must not start.
        """
        values: dict[str, Any] = {}
        errors: list[str] = []
        for name, variable in VARIABLES.items():
            text = _find(environ, name.upper(), variable)
            if text is None:
                continue
            try:
                values[name] = variable.parse(text)
            except ValueError as error:
                line = f"{name.upper()} {error}" + ("" if variable.is_secret else f": {text!r}")
                if variable.is_fatal:
                    errors.append(line)
                else:
                    report(logging.WARNING, f"{line}. Its default is used: {getattr(cls(), name)}")
        if errors:
            raise ConfigError("\n".join(errors))
        return _settled(cls(**values, is_sync_frequency_set=bool(environ.get("SYNC_FREQUENCY"))), report)


VARIABLES: Mapping[str, Variable] = {
    item.name: item.metadata[_METADATA] for item in fields(Config) if _METADATA in item.metadata
}


def _find(environ: Mapping[str, str], name: str, variable: Variable) -> str | None:
    """The text of the first of the variable's names that is set; None where all are unset or empty."""
    for key in (name, *variable.also):
        text = environ.get(key)
        if text is not None and (text.strip() or variable.keeps_empty):
            return text.strip()
    return None


def _settled(config: Config, report: Report) -> Config:
    """The configuration with what the variables say about each other carried out."""
    changes: dict[str, Any] = {}
    if config.session_secret == "random_string":
        report(logging.ERROR, "SESSION_SECRET is One API's example random_string, which everyone knows: it is ignored.")
        changes["session_secret"] = ""
    if config.frontend_base_url and config.is_master:
        report(logging.WARNING, "FRONTEND_BASE_URL is ignored: this node is a master (NODE_TYPE is not slave).")
        changes["frontend_base_url"] = ""
    if config.sql_max_open_conns < config.sql_max_idle_conns:
        report(logging.WARNING, "SQL_MAX_IDLE_CONNS is above SQL_MAX_OPEN_CONNS, which bounds it.")
        changes["sql_max_idle_conns"] = config.sql_max_open_conns
    if config.redis_conn_string and not config.is_sync_frequency_set:
        report(
            logging.WARNING,
            "REDIS_CONN_STRING is set without SYNC_FREQUENCY: One API would ignore Redis, this program uses it.",
        )
    if config.debug:
        report(logging.WARNING, "DEBUG is on. Unlike One API's, it leaves the rate limits in force.")
    return replace(config, **changes)
