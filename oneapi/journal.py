"""The log: One API's lines on stdout, stderr and in a file a day; no key, token or password in any of them.

    [LEVEL] YYYY/MM/DD - HH:MM:SS | request id | file:line [function] text
    [GIN] YYYY/MM/DD - HH:MM:SS | request id | status | latency | client ip | method path

Information and access lines go to stdout, everything graver to stderr, all of it to the file. The rest of the program
logs by the standard library's `logging`; only who begins a request sets `REQUEST_ID`. A relayed request has no line of
its own here: its row in table `logs` says more.

Source: spec management.md §11, with the file begun anew at midnight.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import sys
import time
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from oneapi.config import Config

if TYPE_CHECKING:
    from flask import Flask, Response

REQUEST_ID_HEADER = "X-Oneapi-Request-Id"
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")

_ACCESS = logging.getLogger("oneapi.access")
_LONGEST_PATH = 1000
_UNLOGGED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds, by programs
_LEVELS = {logging.WARNING: "WARN", logging.CRITICAL: "FATAL"}


# ---- what must not be read in a log ----

_SECRETS = re.compile(
    r"""
      (?P<scheme> \b(?:Bearer|Basic)\s+ ) [^\s"',;]+                                # Authorization
    | (?P<name> \b(?:api[-_]?key|x-goog-api-key|key|access[-_]?token|token|secret|password|passwd|signature)
        ["']?\s*[=:]\s*["']?(?!Bearer|Basic|\*\*\*) ) [^\s"'&,;)}\]]{4,}            # key=…, "password": "…"
    | (?P<user> (?://|^|[\s"'=]) [^\s:/@"']{1,64} : ) [^\s"']{1,256} (?= @(?:tcp6?|unix)?[(\w\[] )  # user:password@host
    | (?P<prefix> \b(?:sk|rk|pk|xai|pplx|nvapi|csk|gsk|hf|r8|fw|AIza|AKIA|eyJ)(?:[-_]|(?<=AIza)|(?<=AKIA)|(?<=eyJ)) )
        [\w.-]{8,}                                                                  # keys known by how they begin
    """,
    re.VERBOSE | re.IGNORECASE,
)


def mask(text: str) -> str:
    """The text with everything that looks like a credential replaced by `***`."""
    return _SECRETS.sub(lambda found: f"{found.group(found.lastgroup or 0)}***", text)


# ---- lines ----


class TextFormatter(logging.Formatter):
    """One API's lines."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y/%m/%d - %H:%M:%S", time.localtime(record.created))
        text = mask(_message(record))
        if record.name == _ACCESS.name:
            return f"[GIN] {when} | {REQUEST_ID.get()} | {text}"
        level = _LEVELS.get(record.levelno, record.levelname)
        return f"[{level}] {when} | {REQUEST_ID.get()} | {_place(record)} {text}"


class JsonFormatter(logging.Formatter):
    """The same as one JSON object a line, for programs that read logs."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created)),
            "level": _LEVELS.get(record.levelno, record.levelname),
            "logger": record.name,
            "request_id": REQUEST_ID.get(),
            "source": _place(record),
            "message": mask(_message(record)),
        }
        return json.dumps(line, ensure_ascii=False)


def _place(record: logging.LogRecord) -> str:
    if record.name.startswith("gunicorn."):
        return "gunicorn"  # all its lines come from one function
    return f"{record.filename}:{record.lineno} [{record.funcName}]"


def _message(record: logging.LogRecord) -> str:
    parts = [record.getMessage()]
    if record.exc_info:
        parts.append("".join(traceback.format_exception(*record.exc_info)).rstrip())
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


# ---- where they go ----


class Console(logging.Handler):
    """Lines up to INFO on stdout, graver ones on stderr, whatever these names stand for at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = sys.stdout if record.levelno <= logging.INFO else sys.stderr
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:
            self.handleError(record)


class LogFile(logging.Handler):
    """Appends each line with one write, so that several processes may share the file without mixing their lines.

    Begins a new file at midnight, and when somebody has moved the old one away.
    """

    def __init__(self, folder: Path, *, only_one: bool) -> None:
        super().__init__()
        self._folder = folder
        self._only_one = only_one
        self._path: Path | None = None
        self._descriptor = -1
        self._identity = (0, 0)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
            os.write(self._open(record.created), line.encode(errors="backslashreplace"))
        except Exception:
            self.handleError(record)

    def _open(self, moment: float) -> int:
        day = "" if self._only_one else time.strftime("-%Y%m%d", time.localtime(moment))
        path = self._folder / f"oneapi{day}.log"
        if path != self._path or self._identity != _identity(path):
            self._release()
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self._path, self._identity = path, _identity(path)
        return self._descriptor

    def _release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def close(self) -> None:
        self._release()
        super().close()


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def begin(environ: Mapping[str, str]) -> Config:
    """Reads the configuration, sets up the log by it, and logs what is not used as given.

    Raises ConfigError.
    """
    complaints: list[tuple[int, str]] = []
    config = Config.from_environ(environ, lambda level, line: complaints.append((level, line)))
    configure(config)
    for level, line in complaints:
        logging.getLogger(__name__).log(level, line)
    return config


def configure(config: Config) -> None:
    """Sets up logging for this process and those it forks, in place of what was there.

    A folder that cannot be written to costs the file, not the start: stdout and stderr still have every line.
    """
    formatter = JsonFormatter() if config.log_format == "json" else TextFormatter()
    handlers: list[logging.Handler] = [Console()]
    trouble: OSError | None = None
    if config.log_dir:
        try:
            folder = Path(config.log_dir)
            folder.mkdir(exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(f"No permission to write to {folder}.")
            handlers.append(LogFile(folder, only_one=config.only_one_log_file))
        except OSError as error:
            trouble = error
    for handler in handlers:
        handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.DEBUG if config.debug else logging.INFO)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO if config.debug_sql else logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    if trouble:
        logging.getLogger(__name__).error("There will be no log file: %s", trouble)


# ---- requests ----


def new_request_id() -> str:
    """Local time to the second, the nanoseconds within it, and eight random digits."""
    second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second_text(second)}{nanoseconds}{random.randrange(10**7, 10**8)}"


@lru_cache(maxsize=2)
def _second_text(second: int) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.localtime(second))


def init_app(app: Flask) -> None:
    """Gives every request that reaches Flask an id, in its log lines and its answer, and an access line."""
    from flask import g, request  # here, since the process that only starts the workers has no use for Flask

    @app.before_request
    def begin() -> None:
        REQUEST_ID.set(new_request_id())
        g.begun_s = time.monotonic()

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = REQUEST_ID.get()
        if request.path not in _UNLOGGED_PATHS:
            elapsed_ms = (time.monotonic() - g.begun_s) * 1000
            path = _printable(request.path)[:_LONGEST_PATH] + _masked_query(request.query_string.decode("latin-1"))
            _ACCESS.info(
                "%d | %.3fms | %s | %s %s", response.status_code, elapsed_ms, request.remote_addr, request.method, path
            )
        return response


def _masked_query(query: str) -> str:
    """The names in a query without their values: codes, tokens and what people searched for stay unread."""
    if not query:
        return ""
    names = (part.partition("=")[0] for part in query.split("&") if part)
    return "?" + "&".join(f"{_printable(unquote(name)[:64])}=***" for name in names)


def _printable(text: str) -> str:
    """The text without what could begin a line of its own."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
