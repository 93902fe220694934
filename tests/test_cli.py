import json
import os
import re
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import oneapi
from oneapi.cli import COMMANDS
from tests.gateway import Gateway

PACKAGE = Path(oneapi.__file__).parent
CHECKOUT = PACKAGE.parent

# Prints gunicorn's settings as the command would start with them.
SETTINGS = """
import json, os, runpy, sys
names = ("bind", "workers", "graceful_timeout", "keepalive", "worker_connections", "loglevel")
made = runpy.run_path(sys.argv[1])
print(json.dumps({name: made[name] for name in names} | {"told": os.environ["WEB_CONCURRENCY"]}))
"""


def run(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings(folder: Path, **environ: str) -> dict[str, object]:
    done = run(folder, "-c", SETTINGS, str(PACKAGE / "gunicorn_conf.py"), **environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("flag", ["--version", "-version"])
def test_version_is_printed(tmp_path, flag):
    done = run(tmp_path, "-m", "oneapi", flag)
    assert (done.returncode, done.stdout) == (0, f"{oneapi.__version__}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--help", "-help", "-h"])
def test_help_names_flags_and_commands(tmp_path, flag):
    done = run(tmp_path, "-m", "oneapi", flag)
    assert done.returncode == 0
    for word in ("--port", "--log-dir", "--workers", "--version", *COMMANDS):
        assert word in done.stdout


def test_every_command_has_a_function_and_a_help_text():
    for command in COMMANDS.values():
        module, _, name = command.function.partition(":")
        assert callable(getattr(import_module(module), name))
        assert command.help.endswith(".")


def test_an_unknown_command_or_flag_is_refused(tmp_path):
    assert run(tmp_path, "-m", "oneapi", "fly").returncode == 2
    assert run(tmp_path, "-m", "oneapi", "--fly").returncode == 2


def test_a_fatal_setting_ends_the_start_with_one_line(tmp_path):
    done = run(tmp_path, "-m", "oneapi", CHANNEL_TEST_FREQUENCY="often")
    assert done.returncode == 1
    assert done.stderr == "CHANNEL_TEST_FREQUENCY is not a whole number: 'often'\n"


# What `oneapi serve` becomes is replaced by a program that prints what it was started with.
SERVED = """
import json, os, sys
from oneapi import cli
os.execv = lambda program, command: print(json.dumps([command, {n: os.environ.get(n) for n in sys.argv[1].split()}]))
cli.main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ((), {}, {"PORT": None, "LOG_DIR": None, "WEB_CONCURRENCY": None}),
        (("--port", "4000"), {}, {"PORT": "4000"}),
        (("-port=4000",), {}, {"PORT": "4000"}),
        (("-port", "4000", "-log-dir", ""), {}, {"PORT": "4000", "LOG_DIR": ""}),
        (("--port", "4000"), {"PORT": "5000"}, {"PORT": "5000"}),
        (("--log-dir", "./elsewhere"), {"LOG_DIR": "./logs"}, {"LOG_DIR": "./elsewhere"}),
        (("--workers", "3"), {"WEB_CONCURRENCY": "1"}, {"WEB_CONCURRENCY": "3"}),
    ],
)
def test_flags_are_read_as_the_go_program_reads_them(tmp_path, arguments, environ, expected):
    done = run(tmp_path, "-c", SERVED, " ".join(expected), *arguments, **environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[1] == expected


def test_serving_hands_gunicorns_own_flags_on(tmp_path):
    done = run(tmp_path, "-c", SERVED, "PORT", "--port", "4000", "serve", "--reload", "--name", "x")
    command = json.loads(done.stdout)[0]
    assert command[1:] == [
        *("-m", "gunicorn", "-c", str(PACKAGE / "gunicorn_conf.py"), "--reload", "--name", "x", "oneapi.wsgi:app")
    ]


def test_port_in_dotenv_wins_over_the_flag(tmp_path):
    (tmp_path / ".env").write_text("PORT=5000\n")
    done = run(tmp_path, "-c", SERVED, "PORT", "--port", "4000")
    assert json.loads(done.stdout)[1] == {"PORT": "5000"}


def test_settings_follow_the_environment_and_dotenv(tmp_path):
    (tmp_path / ".env").write_text("PORT=4001\nGRACEFUL_TIMEOUT=30\nKEEPALIVE=5\n")
    made = settings(tmp_path, KEEPALIVE="7", DEBUG="true")
    assert made["bind"] == "0.0.0.0:4001"
    assert (made["graceful_timeout"], made["keepalive"], made["loglevel"]) == (30, 7, "debug")


def test_sqlite_is_served_by_two_workers_at_most(tmp_path):
    cores = len(os.sched_getaffinity(0))
    assert settings(tmp_path)["workers"] == min(2, cores)
    assert settings(tmp_path, SQL_DSN="root:x@tcp(localhost)/db")["workers"] == cores
    made = settings(tmp_path, WEB_CONCURRENCY="5")
    assert (made["workers"], made["told"]) == (5, "5")


def test_workers_learn_how_many_they_are(tmp_path):
    made = settings(tmp_path)
    assert made["told"] == str(made["workers"])


# ---- the running program ----


def test_a_plain_gunicorn_command_serves_the_same(tmp_path):
    command = ("-m", "gunicorn", "-c", str(CHECKOUT / "deploy" / "gunicorn.conf.py"), "--chdir", str(tmp_path))
    with Gateway(tmp_path, command=(*command, "wsgi:app")) as running:
        assert (tmp_path / "one-api.db").exists()
        assert running.stop() == 0


def test_a_foreign_server_is_warned_and_prepares_the_database_itself(tmp_path):
    command = ("-m", "gunicorn", "-k", "sync", "--bind", "127.0.0.1:0", "wsgi:app")
    with Gateway(tmp_path, command=command) as running:
        assert "are not gevent's" in running.log()
        assert (tmp_path / "one-api.db").exists()


def test_a_server_that_would_never_answer_is_refused(tmp_path):
    done = run(tmp_path, "-m", "gunicorn", "-k", "gthread", "--bind", "127.0.0.1:0", "wsgi:app", LOG_DIR="")
    assert done.returncode != 0
    assert "Gunicorn's threaded worker cannot serve this program" in done.stderr


def test_a_database_that_cannot_be_meant_ends_the_start_with_one_line(tmp_path):
    done = run(tmp_path, "-m", "oneapi", SQL_DSN="root:HUNTER2@nowhere", BIND="127.0.0.1:0", LOG_DIR="")
    assert done.returncode == 1
    assert "[FATAL]" in done.stderr and "SQL_DSN" in done.stderr
    assert "Traceback" not in done.stderr
    assert "HUNTER2" not in done.stdout + done.stderr


def test_a_database_that_refuses_ends_the_start(tmp_path, mariadb):
    dsn = re.sub(r"^[^@]*@", "somebody:HUNTER2@", mariadb.fresh().dsn)
    done = run(tmp_path, "-m", "oneapi", SQL_DSN=dsn, BIND="127.0.0.1:0", LOG_DIR="")
    assert done.returncode == 1
    assert "[FATAL]" in done.stderr and "somebody" in done.stderr
    assert "HUNTER2" not in done.stdout + done.stderr


def test_workers_may_open_a_file_for_each_end_of_every_stream(gateway):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = Path(f"/proc/{gateway.worker_pids[0]}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    wanted = 2 * 10_000
    assert int(line.split()[3]) >= (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted))


def test_the_program_starts_again_after_a_loss_of_power(start_gateway):
    running = start_gateway()
    running.kill9()
    running.start()
    assert running.log().count("The account root was made") == 1
    assert running.stop() == 0


def test_help_and_version_need_no_valid_environment(tmp_path):
    assert run(tmp_path, "-m", "oneapi", "--version", PORT="nonsense").returncode == 0
