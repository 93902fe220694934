"""Gunicorn's settings and hooks, for `oneapi` and for `gunicorn -c deploy/gunicorn.conf.py wsgi:app` alike.

Gunicorn executes this file; its names are gunicorn's own. In the master, before the first worker: the database is
prepared by a child process, so that the master never imports the program. In each worker: a loop that ends and settles
what is still running, five seconds before the master would kill the worker (docs/architecture.md §2).
"""

from gevent import monkey

monkey.patch_all()  # before anything imports ssl: patched afterwards, every HTTPS call recurses without end

# ruff: noqa: E402
import logging
import os
import resource
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import gevent
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config as GunicornConfig
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from gunicorn.workers.ggevent import GeventWorker

from oneapi import journal
from oneapi.cli import prepare
from oneapi.config import PREPARED_BY, Config, ConfigError, read_dotenv

_SQLITE_WORKERS = 2  # more only wait for each other's locks
_SETTLE_S = 5

log = logging.getLogger(__name__)


class JournalLogger(Logger):
    """Gunicorn's own lines go where the program's go."""

    def setup(self, cfg: GunicornConfig) -> None:
        super().setup(cfg)
        self.error_log.propagate = True


def _default_workers(config: Config) -> int:
    cores = len(os.sched_getaffinity(0))
    return min(cores, _SQLITE_WORKERS) if config.is_sqlite else cores


def _folder_for_metrics(parent: Path) -> str:
    """A new folder, named after this master; those of masters that were killed go."""
    for folder in parent.glob("oneapi-metrics-*-*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"oneapi-metrics-{os.getpid()}-", dir=parent)


read_dotenv()
try:
    _config = journal.begin(os.environ)
except ConfigError as error:
    sys.exit(str(error))

bind = _config.bind or f"0.0.0.0:{_config.port}"
worker_class = "oneapi.relay.worker.RelayWorker"  # gevent's, with a short way for the relay
workers = _config.web_concurrency or _default_workers(_config)
os.environ["WEB_CONCURRENCY"] = str(workers)  # limits kept in memory are shared out by it
worker_connections = _config.worker_connections
timeout = _config.worker_timeout  # the heartbeat of a whole worker, not of a request
graceful_timeout = _config.graceful_timeout
keepalive = _config.keepalive
max_requests = 0  # a worker that is replaced stops accepting until its streams have ended
preload_app = False  # sockets to databases must not cross the fork
control_socket_disable = True  # it would lie under $HOME, the same for every instance
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # a reload comes here again, with the same master's variables
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _folder_for_metrics(Path(worker_tmp_dir or tempfile.gettempdir()))
limit_request_field_size = 16380
accesslog = None
errorlog = None
logger_class = JournalLogger
loglevel = "debug" if _config.debug else "info"
proc_name = "oneapi"


def on_starting(server: Arbiter) -> None:
    """In the master, once; a reload (HUP) does not come here."""
    if not issubclass(server.cfg.worker_class, GeventWorker):
        log.error("The worker class is %s: streams will block each other. Use gevent.", server.cfg.worker_class_str)
    if _config.is_sqlite and server.cfg.workers > _SQLITE_WORKERS:
        log.warning("%d workers on SQLite mostly wait for each other; 2 are enough.", server.cfg.workers)
    _raise_file_limit(server.cfg.worker_connections)
    _prepare_database()


def _raise_file_limit(connections: int) -> None:
    """Allows each worker the files it may need: a socket to each client and one to a provider for it."""
    wanted = 2 * connections + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < connections:
        log.warning("`ulimit -n` allows %d open files; WORKER_CONNECTIONS promises %d.", possible, connections)


def _prepare_database() -> None:
    """In a fork, so that the master never loads the program: what workers share with it they could not unload."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = prepare(_config, ())
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        sys.exit(status if status > 0 else 1)  # it has said why
    os.environ[PREPARED_BY] = str(os.getpid())


def post_worker_init(worker: Worker) -> None:
    gevent.spawn(_drain_when_stopping, worker)


def _drain_when_stopping(worker: Worker) -> None:
    from oneapi.relay import door  # the program is imported in workers only

    while worker.alive:
        gevent.sleep(0.2)
    door.drain(max(1, worker.cfg.graceful_timeout - _SETTLE_S))


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """In the worker, when its last call has ended: what is still to be written is."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions["oneapi"].stop()


def child_exit(server: Arbiter, worker: Worker) -> None:
    """In the master: the worker's running calls are no more; what it counted stays counted."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Arbiter) -> None:
    """In the master, at the very end."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def worker_abort(worker: Worker) -> None:
    """The heartbeat stopped: says where the worker stood."""
    worker.log.error(
        "Worker %s was blocked for %s s:\n%s", worker.pid, worker.cfg.timeout, "".join(traceback.format_stack(limit=12))
    )
