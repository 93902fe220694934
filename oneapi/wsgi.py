"""The application for WSGI servers: `oneapi.wsgi:app`, or `wsgi:app` in a checkout.

Under our own gunicorn settings the database is ready by now. Under any other server the first process to come here
prepares it.
"""

# ruff: noqa: E402
import gc

# Hardly anything that is loaded here is garbage: looking for it would take a tenth of the start. app.start() ends this.
gc.disable()

from gevent import monkey

_IS_GREEN = monkey.is_module_patched("socket")
if not _IS_GREEN:
    monkey.patch_all()

import logging
import os
import sys

import gevent
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from oneapi import journal
from oneapi.app import create_app, start
from oneapi.config import PREPARED_BY, Config, read_dotenv
from oneapi.database import is_unavailable
from oneapi.extensions import db
from oneapi.services.bootstrap import prepare
from oneapi.services.steps import SCRIPTS

_PAUSE_S = 1.0

log = logging.getLogger(__name__)


def application() -> Flask:
    """The application, on a prepared database, with its worker's loops running."""
    read_dotenv()
    if os.environ.get(PREPARED_BY) == str(os.getppid()):
        config = Config.from_environ(os.environ)
    else:
        config = journal.begin(os.environ)
        prepare(config)
    if _is_flask_command():
        return _with_migrations(create_app(config))
    if not _IS_GREEN:
        _warn_of_the_server()
    while True:
        try:
            made = create_app(config)
            start(made)
            return made
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            # Gunicorn stops altogether when a worker fails at its start, and with it what others are still streaming.
            log.warning("The database does not answer: this worker begins when it does.")
            gevent.sleep(_PAUSE_S)


def _with_migrations(made: Flask) -> Flask:
    """The application with the commands of `flask db`, which no worker needs."""
    from flask_migrate import Migrate

    Migrate(made, db, directory=str(SCRIPTS))
    return made


def _warn_of_the_server() -> None:
    advice = "Start with `oneapi`, or `gunicorn -c deploy/gunicorn.conf.py wsgi:app`."
    if "gunicorn.workers.gthread" in sys.modules:
        # Its loop was running before the patches: it would accept connections and never answer.
        raise RuntimeError(f"Gunicorn's threaded worker cannot serve this program. {advice}")
    log.error(
        "This server's workers are not gevent's: each serves one request at a time, and streams block the others. %s",
        advice,
    )


def _is_flask_command() -> bool:
    """Whether this is `flask routes` or its like, which looks at the application and serves nobody."""
    return os.environ.get("FLASK_RUN_FROM_CLI") == "true" and "run" not in sys.argv


app = application()
