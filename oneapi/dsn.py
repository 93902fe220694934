"""DSNs: One API's ways to say where a database is, as SQLAlchemy's URLs.

Source: the README of github.com/go-sql-driver/mysql, the documentation of github.com/jackc/pgx and of libpq; which of
it One API's operators use is in spec management.md §1.1 and §1.2.
"""

from __future__ import annotations

import math
import os
import re
import ssl
from urllib.parse import unquote, unquote_plus

import certifi
from sqlalchemy import URL

_GO_FORM = "the form is user:password@tcp(host:3306)/name"

# Parameters of the Go driver for PostgreSQL that libpq does not know and a server must not be sent.
_PGX_ONLY = {
    "default_query_exec_mode",
    "description_cache_capacity",
    "min_read_buffer_size",
    "pool_health_check_period",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conns",
    "pool_min_conns",
    "prefer_simple_protocol",
    "statement_cache_capacity",
    "statement_cache_mode",
}
# Parameters of the Go driver for MySQL that concern Go, or ask for what is so here anyway.
_GO_ONLY = {
    "allowAllFiles",
    "allowCleartextPasswords",
    "allowFallbackToPlaintext",
    "allowNativePasswords",
    "allowOldPasswords",
    "checkConnLiveness",
    "clientFoundRows",
    "columnsWithAlias",
    "compress",
    "connectionAttributes",
    "interpolateParams",
    "loc",
    "maxAllowedPacket",
    "multiStatements",
    "parseTime",
    "rejectReadOnly",
    "serverPubKey",
    "strict",
    "timeTruncate",
}
_TRUE = ("1", "t", "true")
_FALSE = ("", "0", "f", "false")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


def url_of(dsn: str, sqlite_path: str) -> URL:
    """The address a DSN names. Raises ValueError, whose text holds no part of the DSN and completes "NAME ...".

    Empty is SQLite at `sqlite_path`; postgres:// and postgresql:// are libpq's URLs; anything else is the Go driver's
    `user:password@tcp(host:port)/name?parameters`, for which a mysql:// or mariadb:// URL may stand.
    """
    dsn = dsn.strip()
    scheme, mark, rest = dsn.partition("://")
    if not dsn:
        return _sqlite(sqlite_path)
    if mark and scheme in ("postgres", "postgresql"):
        return _postgresql(rest)
    if mark and scheme in ("mysql", "mariadb"):
        return _mysql(rest)
    return _go_mysql(dsn)


def _sqlite(path: str) -> URL:
    # The Go program appends a query of its own to the path, so that some operators have put theirs there too.
    return URL.create("sqlite", database=os.path.abspath(path.removeprefix("file:").partition("?")[0]))


def _postgresql(rest: str) -> URL:
    from psycopg.pq import Conninfo  # the driver is loaded where its database is used

    user, password, address, name, query = _split(rest)
    options = {option.keyword.decode() for option in Conninfo.get_defaults()}
    # libpq refuses names it does not know; the Go driver sets them as parameters of the session.
    given = _parameters(query)
    parameters = {key: value for key, value in given.items() if key in options}
    session = [
        f"-c {key}=" + value.replace("\\", "\\\\").replace(" ", "\\ ")
        for key, value in given.items()
        if key not in options and key not in _PGX_ONLY
    ]
    if session:
        parameters["options"] = " ".join([parameters.get("options", ""), *session]).lstrip()
    if parameters.get("sslmode") in ("verify-ca", "verify-full"):
        # libpq looks for certificates of its own, the Go driver for the system's.
        parameters.setdefault("sslrootcert", _system_certificates())
    host, port = _host_and_port(address)
    if "," in address:  # several servers, tried in turn
        servers = [_host_and_port(server) for server in address.split(",")]
        parameters["host"] = ",".join(server or "" for server, _ in servers)
        parameters["port"] = ",".join(str(number or 5432) for _, number in servers)
        host, port = None, None
    return URL.create("postgresql+psycopg", user, password, host, port, name or None, parameters)


def _mysql(rest: str) -> URL:
    user, password, address, name, query = _split(rest)
    host, port = _host_and_port(address)
    return URL.create(
        "mysql+pymysql", user, password, host or "127.0.0.1", port or 3306, name, _mysql_parameters(query)
    )


def _go_mysql(dsn: str) -> URL:
    """The last slash begins the name; before it, the last @ ends the credentials, in which the first colon begins the
    password. So a password may hold any character, unescaped.
    """
    head, slash, tail = dsn.rpartition("/")
    if not slash:
        raise ValueError(f"has no slash before the database's name; {_GO_FORM}")
    credentials, _, place = head.rpartition("@")
    user, colon, password = credentials.partition(":")
    net, bracket, address = place.partition("(")
    if bracket and not address.endswith(")"):
        raise ValueError(f"has an address without its closing bracket, or an unescaped slash after it; {_GO_FORM}")
    name, _, query = tail.partition("?")
    parameters = _mysql_parameters(query)
    host: str | None = None
    port: int | None = None
    if net == "unix":
        parameters["unix_socket"] = address[:-1] or "/tmp/mysql.sock"
    elif net in ("", "tcp", "tcp4", "tcp6"):
        host, port = _host_and_port(address[:-1])
        host, port = host or "127.0.0.1", port or 3306
    else:
        raise ValueError(f"names a network that is neither tcp nor unix; {_GO_FORM}")
    return URL.create("mysql+pymysql", user or None, password if colon else None, host, port, unquote(name), parameters)


def _mysql_parameters(query: str) -> dict[str, str]:
    """The Go driver's parameters as PyMySQL's; one that neither knows is a variable to set in the session."""
    given = _parameters(query)
    parameters = _characters(given.pop("charset", ""), given.pop("collation", "")) | _tls(given.pop("tls", ""))
    for name, ours in {"timeout": "connect", "readTimeout": "read", "writeTimeout": "write"}.items():
        if seconds := _duration(name, given.pop(name, "0")):
            parameters[f"{ours}_timeout"] = str(math.ceil(seconds))
    variables = [f"{name}={value}" for name, value in given.items() if name not in _GO_ONLY]
    if variables:
        parameters["init_command"] = "SET " + ",".join(variables)
    return parameters


def _characters(charset: str, collation: str) -> dict[str, str]:
    charset = charset.split(",")[0] or collation.partition("_")[0] or "utf8mb4"
    if charset in ("utf8", "utf8mb3"):  # cannot hold every character; utf8mb4 can, and holds these the same way
        charset, collation = "utf8mb4", re.sub("^utf8(mb3)?_", "utf8mb4_", collation)
    if charset == "utf8mb4":
        collation = collation or "utf8mb4_general_ci"
    return {"charset": charset} | ({"collation": collation} if collation else {})


def _tls(mode: str) -> dict[str, str]:
    """PyMySQL's arguments for the Go driver's `tls`. PyMySQL tries TLS unless told not to, Go's driver does not."""
    mode = mode.lower()
    if mode in _FALSE:
        return {"ssl_disabled": "true"}
    if mode in _TRUE:
        return {"ssl_ca": _system_certificates(), "ssl_check_hostname": "true"}
    if mode == "skip-verify":
        return {"ssl_check_hostname": "false"}
    if mode == "preferred":
        return {}
    raise ValueError("has a value of tls that is none of true, false, skip-verify, preferred")


def _system_certificates() -> str:
    paths = ssl.get_default_verify_paths()
    return paths.cafile or certifi.where()


def _duration(name: str, text: str) -> float:
    """Seconds of a Go duration such as 10s, 1m30s or 500ms."""
    number = r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)"
    if text != "0" and not re.fullmatch(f"({number})+", text):
        raise ValueError(f"has a value of {name} that is no duration such as 10s")
    return sum(float(amount) * _SECONDS[unit] for amount, unit in re.findall(number, text))


def _split(rest: str) -> tuple[str | None, str | None, str, str, str]:
    """User, password, address, database name and query of what follows ://; the last @ ends the credentials."""
    head, _, query = rest.partition("?")
    authority, _, name = head.partition("/")
    credentials, _, address = authority.rpartition("@")
    user, colon, password = credentials.partition(":")
    return unquote(user) or None, unquote(password) if colon else None, address, unquote(name), query


def _parameters(query: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in query.split("&") if "=" in pair)
    return {name: unquote_plus(value) for name, _, value in pairs}


def _host_and_port(address: str) -> tuple[str | None, int | None]:
    """Host and port of `host:port`, `host`, `[v6]:port`, `[v6]` or a bare v6 address; None for what is not there."""
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?", address)
    if not found:
        return unquote(address), None
    host, port = found[1] or found[2], found[3]
    if port and not 0 < int(port) < 65536:
        raise ValueError("has a port that is not from 1 to 65535")
    return unquote(host or "") or None, int(port) if port else None
