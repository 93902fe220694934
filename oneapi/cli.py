"""The command `oneapi`: serves, or runs one of the tasks in `COMMANDS`.

One API's flags are understood as its Go program understands them: one dash or two, `-port 3000` or `--port=3000`, and
the variable PORT wins over the flag. `.env` in the working directory is read first; variables that exist win.

A task is a line in `COMMANDS`: where its function is, and what it does. The function is given the configuration and the
rest of the command line and returns the exit status. A module of its own is imported after gevent's patches; what a
function of this one needs of the program it imports itself, after them.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from oneapi import __version__, journal
from oneapi.config import Config, ConfigError, read_dotenv

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Command:
    """A task: `function` is "module:name" of a (Config, Sequence[str]) -> int."""

    function: str
    help: str


COMMANDS: Mapping[str, Command] = {
    "serve": Command("oneapi.cli:serve", "Prepare the database and serve; what `oneapi` alone does."),
    "prepare": Command("oneapi.cli:prepare", "Migrate the database and make the first account, then exit."),
    "verify": Command("oneapi.cli:verify", "Prove every balance and every charge; --help says more."),
    "check-db": Command(
        "oneapi.services.check_db:check_db_command", "Say what a start would add to a database; prove all else stays."
    ),
    "doctor": Command("oneapi.services.doctor:doctor_command", "Check the deployment, and say what to mend."),
    "import-models": Command(
        "oneapi.services.imports:import_models_command",
        "Compare a channel's models with its provider's; --help says more.",
    ),
    "import-prices": Command(
        "oneapi.services.imports:import_prices_command", "Compare prices with a public list; --help says more."
    ),
    "channel-keys": Command(
        "oneapi.services.channel_keys:channel_keys_command", "Encrypt or decrypt keys at rest; --help says more."
    ),
    "rebuild-abilities": Command(
        "oneapi.services.ability_repair:rebuild_abilities_command", "Mend the table from which channels are chosen."
    ),
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with its status."""
    given = _parser().parse_args(_with_two_dashes(sys.argv[1:] if arguments is None else arguments))
    read_dotenv()
    _put_flags_into(os.environ, given)
    try:
        config = Config.from_environ(os.environ)
    except ConfigError as error:
        sys.exit(str(error))
    sys.exit(_run(COMMANDS[given.command], config, given.arguments))


def _run(command: Command, config: Config, arguments: Sequence[str]) -> int:
    module, _, name = command.function.partition(":")
    if module != __name__:
        from gevent import monkey

        monkey.patch_all()
    status: int = getattr(import_module(module), name)(config, arguments)
    return status


def _parser() -> argparse.ArgumentParser:
    tasks = "\n".join(f"  {name:<18} {command.help}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="oneapi",
        usage="oneapi [flags] [command] [arguments of the command]",
        description="An OpenAI-compatible gateway in front of many providers of language models.",
        epilog=f"commands:\n{tasks}\n\nEverything else is said by environment variables or by .env in the working\n"
        "directory; deploy/.env.example lists them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--port", metavar="N", help="port to listen on (default 3000; the variable PORT wins)")
    parser.add_argument("--log-dir", metavar="DIR", help="folder of the log files (default ./logs; empty: no files)")
    parser.add_argument(
        "--workers", metavar="N", help="worker processes (default: one per core, with SQLite at most 2)"
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="serve", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _with_two_dashes(arguments: Sequence[str]) -> list[str]:
    """The command line with Go's `-port` written `--port`, as far as the flags are ours."""
    return [re.sub(r"^-(?=(port|log-dir|workers|version|help)(=|$))", "--", argument) for argument in arguments]


def _put_flags_into(environ: dict[str, str] | os._Environ[str], given: argparse.Namespace) -> None:
    """Hands flags on the way everything else is said, so that every process started from here knows of them."""
    if given.port is not None and not environ.get("PORT"):
        environ["PORT"] = given.port
    if given.log_dir is not None:
        environ["LOG_DIR"] = given.log_dir
    if given.workers is not None:
        environ["WEB_CONCURRENCY"] = given.workers


def serve(_config: Config, arguments: Sequence[str]) -> int:
    """Becomes gunicorn's master. What else is on the command line are gunicorn's own flags."""
    settings = Path(__file__).with_name("gunicorn_conf.py")
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "-c", str(settings), *arguments, "oneapi.wsgi:app"])


def prepare(config: Config, _arguments: Sequence[str]) -> int:
    """Brings the database up to date, under a lock: any number of nodes may start at once."""
    from gevent import monkey

    monkey.patch_all()
    from oneapi.services import bootstrap

    journal.configure(config)
    try:
        bootstrap.prepare(config)
    except (bootstrap.NotReady, ConfigError) as error:
        log.critical("%s", error)
        return 1
    except Exception:  # a fault of our own: into the log, where keys are masked
        log.critical("The database could not be prepared.", exc_info=True)
        return 1
    return 0


def verify(config: Config, arguments: Sequence[str]) -> int:
    """Proves every balance and every charge (services/verify.py)."""
    from gevent import monkey

    monkey.patch_all()
    from oneapi.services.verify import verify_command

    return verify_command(config, arguments)


if __name__ == "__main__":
    main()
