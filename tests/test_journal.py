import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from oneapi import journal
from oneapi.config import Config
from oneapi.journal import REQUEST_ID, LogFile, TextFormatter, mask

LINE = re.compile(r"\[(\w+)\] \d{4}/\d\d/\d\d - \d\d:\d\d:\d\d \| (\S+) \| (\S+:\d+ \[\w+\]) (.*)")


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Leaves the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    for handler in handlers:
        root.removeHandler(handler)
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def record(text: str, *values: object, level: int = logging.INFO, created: float | None = None) -> logging.LogRecord:
    made = logging.LogRecord("oneapi.x", level, "/x/place.py", 7, text, values, None, "act")
    made.created = time.time() if created is None else created
    return made


@pytest.mark.parametrize(
    "text",
    [
        "the key sk-HUNTER2HUNTER2 was refused",
        "Authorization: Bearer HUNTER2",
        "authorization='Basic HUNTER2='",
        "GET https://x.example/v1beta/models?key=HUNTER2&alt=sse",
        '{"api_key": "HUNTER2"}',
        "{'x-goog-api-key': 'HUNTER2'}",
        "password=HUNTER2;",
        "cannot connect to root:HUNTER2@tcp(localhost:3306)/oneapi",
        "cannot connect to root:a@b:HUNTER2@tcp(localhost:3306)/oneapi",
        "postgres://oneapi:HUNTER2@db/oneapi",
        "redis://:HUNTER2@cache:6379/0",
        "AIzaHUNTER2HUNTER2",
        "AKIAHUNTER2HUNTER2",
        "gsk_HUNTER2HUNTER2 hf_HUNTER2HUNTER2 xai-HUNTER2HUNTER2",
        "eyJhbGciOiJIUzI1NiJ9.HUNTER2HUNTER2.signature",
    ],
)
def test_credentials_are_masked(text):
    assert "HUNTER2" not in mask(text)
    assert "***" in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "user 7 has 3 tokens: 12 prompt_tokens=400",
        "channel 5 (gpt-4o) answered 429 in 12:30:01",
        "http://localhost:3000/api/status?p=1",
        "code=no_available_channel status: 503",
        "task-force asks for a risk-assessment",
        "mail to someone@example.com failed",
    ],
)
def test_what_is_no_credential_stays(text):
    assert mask(text) == text


def test_lines_have_one_apis_form():
    token = REQUEST_ID.set("20260102030405123")
    try:
        line = TextFormatter().format(record("hello %s", "world", level=logging.WARNING))
    finally:
        REQUEST_ID.reset(token)
    found = LINE.fullmatch(line)
    assert found is not None, line
    assert found.groups() == ("WARN", "20260102030405123", "place.py:7 [act]", "hello world")


def test_a_traceback_is_masked_too():
    try:
        raise ValueError("sk-HUNTER2HUNTER2")
    except ValueError as error:
        failed = record("failed", level=logging.ERROR)
        failed.exc_info = (type(error), error, error.__traceback__)
    line = TextFormatter().format(failed)
    assert "Traceback" in line and "ValueError: sk-***" in line


def test_information_goes_to_stdout_and_trouble_to_stderr(own_logging, capsys, tmp_path):
    journal.configure(Config(log_dir=str(tmp_path / "logs")))
    logging.getLogger("a").info("fine")
    logging.getLogger("a").error("broken")
    captured = capsys.readouterr()
    assert "fine" in captured.out and "broken" not in captured.out
    assert "broken" in captured.err and "fine" not in captured.err
    [file] = (tmp_path / "logs").iterdir()
    assert file.name == time.strftime("oneapi-%Y%m%d.log")
    assert len(file.read_text().splitlines()) == 2


def test_an_empty_log_dir_writes_no_file(own_logging, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal.configure(Config(log_dir=""))
    logging.getLogger("a").info("fine")
    assert list(tmp_path.iterdir()) == []


def test_a_log_dir_that_cannot_be_made_does_not_stop_the_start(own_logging, capsys, tmp_path):
    journal.configure(Config(log_dir=str(tmp_path / "missing" / "logs")))
    assert "no log file" in capsys.readouterr().err


def test_json_lines_can_be_read_by_programs(own_logging, capsys):
    journal.configure(Config(log_dir="", log_format="json"))
    logging.getLogger("a").info('a "quoted"\nline')
    line = json.loads(capsys.readouterr().out)
    assert (line["level"], line["message"], line["logger"]) == ("INFO", 'a "quoted"\nline', "a")


def test_midnight_begins_a_new_file(tmp_path):
    handler = LogFile(tmp_path, only_one=False)
    noon = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))
    handler.emit(record("sunday", created=noon))
    handler.emit(record("monday", created=noon + 86400))
    handler.close()
    assert (tmp_path / "oneapi-20260301.log").read_text() == "sunday\n"
    assert (tmp_path / "oneapi-20260302.log").read_text() == "monday\n"


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    handler = LogFile(tmp_path, only_one=True)
    handler.emit(record("old"))
    (tmp_path / "oneapi.log").rename(tmp_path / "oneapi.log.1")
    handler.emit(record("new"))
    handler.close()
    assert (tmp_path / "oneapi.log").read_text() == "new\n"
    assert (tmp_path / "oneapi.log.1").read_text() == "old\n"


def test_processes_that_share_a_file_do_not_mix_their_lines(tmp_path):
    program = (
        "import logging, sys; from pathlib import Path; from oneapi.journal import LogFile\n"
        "log = logging.getLogger('x'); log.setLevel(20); log.propagate = False\n"
        "log.addHandler(LogFile(Path(sys.argv[1]), only_one=True))\n"
        "for _ in range(300): log.info(sys.argv[2] * 2000)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(journal.__file__).parent.parent)}
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), letter], env=environ) for letter in "abc"
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    lines = (tmp_path / "oneapi.log").read_text().splitlines()
    assert sorted(lines) == ["a" * 2000] * 300 + ["b" * 2000] * 300 + ["c" * 2000] * 300


@pytest.fixture
def app() -> Flask:
    made = Flask("test")
    journal.init_app(made)

    @made.get("/hello")
    def hello() -> str:
        return "hello"

    @made.get("/healthz")
    def healthz() -> str:
        return "ok"

    return made


def test_every_answer_has_a_request_id_and_an_access_line(own_logging, capsys, app):
    journal.configure(Config(log_dir=""))
    answer = app.test_client().get("/hello?code=HUNTER2&p=1&%0aq=x")
    request_id = answer.headers["X-Oneapi-Request-Id"]
    assert re.fullmatch(r"\d{14}\d{1,9}\d{8}", request_id)
    line = capsys.readouterr().out.strip()
    assert re.fullmatch(
        rf"\[GIN\] \d{{4}}/\d\d/\d\d - \d\d:\d\d:\d\d \| {request_id} \| 200 \| [\d.]+ms \| 127\.0\.0\.1 \| "
        r"GET /hello\?code=\*\*\*&p=\*\*\*&\?q=\*\*\*",
        line,
    )


def test_an_unknown_path_has_a_request_id_too(own_logging, capsys, app):
    journal.configure(Config(log_dir=""))
    answer = app.test_client().get("/nowhere")
    assert answer.status_code == 404 and answer.headers["X-Oneapi-Request-Id"]
    assert " | 404 | " in capsys.readouterr().out


def test_health_checks_leave_no_lines(own_logging, capsys, app):
    journal.configure(Config(log_dir=""))
    app.test_client().get("/healthz")
    assert capsys.readouterr().out == ""
