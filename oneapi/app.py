"""The application, put together: the table of contents of the program.

`create_app` builds everything and starts nothing; `start` begins a worker's own loops (ledger, snapshots, jobs). A test
may build as many applications as it likes.
"""

from __future__ import annotations

import gc
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import gevent
from flask import Flask

from oneapi import admin, api, database, journal, metrics, probes
from oneapi.addresses import ClientAddress, Forwarded
from oneapi.config import Config
from oneapi.data import load_prices
from oneapi.database import Databases
from oneapi.jobs import Jobs, Tools, jobs_of
from oneapi.journal import new_request_id
from oneapi.metrics import Metrics
from oneapi.relay import adaptors, encodings, tokencount
from oneapi.relay.door import RelayDoor
from oneapi.relay.exchange import Call, Caller, Exchange, Ports
from oneapi.relay.media import Fetcher
from oneapi.relay.pricing import PriceList
from oneapi.relay.upstream import Upstream
from oneapi.services import channels, tokens
from oneapi.services.admission import Admission
from oneapi.services.bootstrap import session_secret
from oneapi.services.cache import NEWS, Cache, open_cache
from oneapi.services.health import Health
from oneapi.services.ledger_writer import Pace
from oneapi.services.monitor import Monitor
from oneapi.services.notify import Notifier
from oneapi.services.oauth import Providers
from oneapi.services.quota import Ledger
from oneapi.services.refused import RefusedCalls
from oneapi.services.reminders import Reminders
from oneapi.services.rounds import Rounds
from oneapi.services.snapshots import Snapshots
from oneapi.services.success_rate import SuccessRate
from oneapi.services.turnstile import Turnstile
from oneapi.services.web import Web

TOKEN_TTL_S = 5.0  # how long a key found is believed without another look


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What lives as long as the process: `app.extensions["oneapi"]`."""

    config: Config
    databases: Databases
    ledger: Ledger
    snapshots: Snapshots
    token_cache: tokens.TokenCache
    health: Health
    upstream: Upstream
    ports: Ports
    cache: Cache
    metrics: Metrics
    web: Web
    notifier: Notifier
    monitor: Monitor
    turnstile: Turnstile
    providers: Providers
    rounds: Rounds
    jobs: Jobs

    def stop(self) -> None:
        """Ends what `start` began, when the last call is settled."""
        self.jobs.stop()
        self.metrics.flush()
        self.ledger.stop()
        self.notifier.stop()
        self.upstream.close()
        self.web.close()


def create_app(config: Config | None = None) -> Flask:
    """The application on a prepared database (services/bootstrap.py)."""
    config = config or Config.from_environ(os.environ)
    app = Flask("oneapi")
    databases = database.open_databases(config)
    database.init_app(app, databases)
    app.secret_key = session_secret(databases.main, config)
    program = _program(config, databases)
    app.extensions["oneapi"] = program
    journal.init_app(app)
    probes.init_app(app, databases.main, config)
    metrics.init_app(app, databases.main, program.metrics)
    api.init_app(app, config)
    if not config.frontend_base_url:  # or there are no pages here
        admin.init_app(app, config)
    client_address = ClientAddress(config.trusted_proxies)
    door = RelayDoor(app.wsgi_app, program.ports, max_body_bytes=config.max_body_bytes, client_address=client_address)
    app.extensions["oneapi.door"] = door  # the worker's short way to it (relay/worker.py)
    app.wsgi_app = Forwarded(door, client_address)  # type: ignore[method-assign]
    return app


def start(app: Flask) -> None:
    """Begins the loops of a worker: after this the application serves."""
    program: Program = app.extensions["oneapi"]
    program.snapshots.refresh()
    program.ledger.start()
    gevent.spawn(program.snapshots.run)
    gevent.spawn(program.metrics.run)
    gevent.spawn(program.cache.listen, NEWS, program.snapshots.look_now)
    if program.config.is_master:
        program.jobs.start()
    _settle_memory()


def _settle_memory() -> None:
    """What is loaded by now stays: the garbage collector need not look at it again, nor so often.

    By its defaults it costs a fifth of a busy worker's time. Reference counts free what a request leaves behind.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()  # wsgi.py has switched it off


def _program(config: Config, databases: Databases) -> Program:
    engine = databases.main
    built_in = load_prices()
    if config.adaptors_dir:
        adaptors.look_in(config.adaptors_dir)
    token_cache = tokens.TokenCache(engine, TOKEN_TTL_S, time.monotonic)

    def adopt_health() -> None:
        health.adopt(channels.read_health(engine))

    snapshots = Snapshots(
        engine,
        adaptors.with_settings(
            {
                "gemini_safety_setting": config.gemini_safety_setting,
                "gemini_version": config.gemini_version,
            }
        ),
        lambda options: PriceList.of(built_in, options),
        sync_s=config.sync_frequency,
        monotonic=time.monotonic,
        on_accounts=token_cache.clear,
        on_channels=adopt_health,
    )
    web = Web(config)
    notifier = Notifier(engine, lambda: snapshots.options, web, skip_verify=config.smtp_skip_verify)
    cache = open_cache(config)
    monitor = Monitor(engine, notifier, lambda: cache.publish(NEWS))
    health = Health(
        now=time.time,
        directory=lambda: snapshots.directory,
        options=lambda: snapshots.options,
        write=lambda change: channels.write_health(engine, change, now=int(time.time())),
        disable=monitor.disable,
    )
    upstream = Upstream(config)
    ledger = Ledger(
        engine=engine,
        log_engine=databases.logs if databases.logs is not databases.main else None,
        spool_dir=Path(config.data_dir) / "spool",
        worker_id=f"{os.uname().nodename[:40]}:{os.getpid()}",
        sqlite_busy_timeout_ms=config.sqlite_busy_timeout,
        pace=Pace(count_s=config.batch_update_interval if config.batch_update_enabled else None),
    )

    meter = Metrics(time.monotonic)
    observers = [
        health.observe,
        meter.observe,
        Reminders(engine, lambda: snapshots.options, notifier).observe,
        RefusedCalls(engine, lambda: snapshots.options).observe,
    ]
    if config.enable_metric:
        observers.append(_success_rate(config, monitor, snapshots).observe)

    def observe(exchange: Exchange) -> None:
        for learn in observers:
            learn(exchange)

    def authenticate(call: Call) -> Caller:
        return tokens.authenticate_key(
            token_cache, credential(call), client_ip=call.client_ip, now=call.received_at, engine=engine
        )

    def count_tokens(text: str, model: str) -> int:
        if snapshots.options.approximate_token_enabled:
            return tokencount.approximate_tokens(text)
        return encodings.count(text, model)

    ports = Ports(
        authenticate=authenticate,
        directory=lambda: snapshots.directory,
        options=lambda: snapshots.options,
        reserve=ledger.reserve,
        settle=ledger.settle,
        send=upstream.send,
        credentials_token=upstream.token,
        forget_token=upstream.forget_token,
        fetch=Fetcher(config).fetch,
        count_tokens=count_tokens,
        is_cooling=health.is_cooling,
        is_key_resting=health.is_key_resting,
        sleep=gevent.sleep,
        observe=observe,
        now=time.time,
        monotonic=time.monotonic,
        new_id=new_request_id,
        rng=random.Random(),
        must_ask_usage=config.enforce_include_usage,
        admit=Admission(engine, config, ledger.worker_id, lambda: snapshots.options).admit,
    )
    rounds = Rounds(databases, ports, upstream, monitor, prompt=config.test_prompt, pause_s=config.polling_interval)
    tools = Tools(databases=databases, config=config, options=lambda: snapshots.options)
    return Program(
        config=config,
        databases=databases,
        ledger=ledger,
        snapshots=snapshots,
        token_cache=token_cache,
        health=health,
        upstream=upstream,
        ports=ports,
        cache=cache,
        metrics=meter,
        web=web,
        notifier=notifier,
        monitor=monitor,
        turnstile=Turnstile(engine, web),
        providers=Providers(web),
        rounds=rounds,
        jobs=Jobs(tools, ledger.worker_id, jobs_of(config, rounds)),
    )


def _success_rate(config: Config, monitor: Monitor, snapshots: Snapshots) -> SuccessRate:
    threshold = config.metric_success_rate_threshold
    return SuccessRate(
        window=config.metric_queue_size,
        threshold=threshold,
        options=lambda: snapshots.options,
        disable=lambda channel_id, window, rate: monitor.disable_for_rate(channel_id, window, rate, threshold),
    )


def credential(call: Call) -> str:
    """The client's key, in whichever header its SDK puts it; `?key=` for Gemini's."""
    for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
        if value := call.headers.get(name, "").strip():
            return value
    if "key=" in call.query:
        return next((value for name, value in parse_qsl(call.query) if name == "key"), "")
    return ""
