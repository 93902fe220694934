"""`/metrics` for Prometheus: calls, their outcome and tokens, failures by channel, of all workers of this node.

A finished call adds to numbers of its worker; once a second they are moved into the files that prometheus-client's
workers share (PROMETHEUS_MULTIPROC_DIR, set by gunicorn_conf.py; one process alone needs none). Told to private
addresses, so that a scraper beside the program needs no key; through a public address only an administrator's access
token opens it.
"""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections.abc import Callable

import gevent
from flask import Flask, Response, abort, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import Engine

from oneapi import addresses
from oneapi.errors import GatewayError, UpstreamRejected
from oneapi.relay.door import LIVE
from oneapi.relay.exchange import Exchange
from oneapi.services import accounts
from oneapi.services.roles import ADMIN

FLUSH_S = 1.0
SHARED = "PROMETHEUS_MULTIPROC_DIR"

Labels = tuple[str, ...]


class Metrics:
    """The numbers of one worker."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._registry = CollectorRegistry()
        self._pending: Counts[tuple[str, Labels]] = Counts()
        registry = self._registry
        self._counters = {
            "calls": Counter("oneapi_calls", "Calls that ended, by outcome.", ("outcome",), registry=registry),
            "tokens": Counter("oneapi_tokens", "Language tokens, by direction.", ("direction",), registry=registry),
            "seconds": Counter("oneapi_call_seconds", "Sum of the calls' lengths.", (), registry=registry),
            "first": Counter(
                "oneapi_first_content_seconds",
                "Sum of the waits for the first content, of calls that got any.",
                (),
                registry=registry,
            ),
            "failures": Counter(
                "oneapi_attempt_failures",
                "Attempts that failed, by channel and the provider's status (0: none came).",
                ("channel", "status"),
                registry=registry,
            ),
        }
        self._live = Gauge(
            "oneapi_live_calls", "Calls that are running.", registry=registry, multiprocess_mode="livesum"
        )

    def observe(self, exchange: Exchange) -> None:
        """Takes note of a finished call."""
        pending, began_s = self._pending, exchange.call.received_s
        pending["calls", (_outcome(exchange),)] += 1
        pending["seconds", ()] += self._monotonic() - began_s  # type: ignore[assignment]
        if exchange.first_content_s is not None:
            pending["first", ()] += exchange.first_content_s - began_s  # type: ignore[assignment]
        if (usage := exchange.usage) is not None:
            pending["tokens", ("input",)] += usage.input_tokens
            pending["tokens", ("output",)] += usage.output_tokens
        for attempt in exchange.attempts:
            if attempt.error is not None:
                pending["failures", (str(attempt.channel_id), _status(attempt.error))] += 1

    def flush(self) -> None:
        """Moves what was noted to where all workers' numbers are."""
        pending, self._pending = self._pending, Counts()
        for (name, labels), count in pending.items():
            counter = self._counters[name]
            (counter.labels(*labels) if labels else counter).inc(max(0, count))
        self._live.set(len(LIVE))

    def run(self) -> None:
        """Flushes once a second, for as long as the worker lives."""
        while True:
            gevent.sleep(FLUSH_S)
            self.flush()

    def text(self) -> bytes:
        """All workers' numbers in Prometheus's words."""
        self.flush()
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def init_app(app: Flask, engine: Engine, metrics: Metrics) -> None:
    @app.get("/metrics")
    def tell() -> Response:
        if not (_is_private(request.remote_addr or "") or _is_administrator(engine)):
            abort(404)
        return Response(metrics.text(), content_type=CONTENT_TYPE_LATEST)


def _is_private(text: str) -> bool:
    address = addresses.parse(text)
    return not text or (address is not None and (address.is_private or address.is_loopback))


def _is_administrator(engine: Engine) -> bool:
    token = request.headers.get("Authorization", "")
    account = accounts.find_by_access_token(engine, token) if token else None
    return account is not None and account.status == accounts.ENABLED and account.role >= ADMIN


def _outcome(exchange: Exchange) -> str:
    if exchange.is_whole:
        return "whole"
    if exchange.has_begun:
        return "cut"
    return "refused" if isinstance(exchange.error, GatewayError) and not exchange.attempts else "failed"


def _status(error: BaseException) -> str:
    return str(error.upstream_status) if isinstance(error, UpstreamRejected) else "0"
