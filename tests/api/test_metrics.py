"""`/metrics`: what is counted, and who is told."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from oneapi.errors import GatewayError
from oneapi.metrics import Metrics
from oneapi.relay import pipeline
from tests.api.site import ADMIN, Site
from tests.relay.test_pipeline import GOOD, body, rejected
from tests.relay.world import World, drained


def told(metrics: Metrics) -> dict[str, float]:
    lines = metrics.text().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def test_calls_are_counted_by_outcome_with_their_tokens_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    world = World({1: [GOOD, rejected(500), rejected(500)], 2: [GOOD, rejected(503)]}, priorities={1: 5})
    metrics = Metrics(lambda: world.clock_s)
    for _ in range(3):
        with contextlib.suppress(GatewayError):
            drained(pipeline.relay(world.call(), body, world.ports(observe=metrics.observe)))
    found = told(metrics)
    assert found['oneapi_calls_total{outcome="whole"}'] == 2
    assert found['oneapi_calls_total{outcome="failed"}'] == 1
    assert found['oneapi_tokens_total{direction="input"}'] == 200
    assert found['oneapi_tokens_total{direction="output"}'] == 20
    assert found['oneapi_attempt_failures_total{channel="1",status="500"}'] == 2
    assert found['oneapi_attempt_failures_total{channel="2",status="503"}'] == 1
    assert told(metrics) == found


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", 200), ("10.1.2.3", 200), ("::1", 200), ("8.8.8.8", 404)]
)
def test_only_private_addresses_are_told(site: Site, address: str, status: int) -> None:
    response = site.app.test_client().get("/metrics", environ_base={"REMOTE_ADDR": address})
    assert response.status_code == status


@pytest.mark.parametrize(("role", "status"), [(ADMIN, 200), (1, 404)])
def test_an_administrators_access_token_opens_it_from_anywhere(site: Site, role: int, status: int) -> None:
    caller: Any = site.user(role)
    response = site.app.test_client().get(
        "/metrics", headers={"Authorization": caller.token}, environ_base={"REMOTE_ADDR": "8.8.8.8"}
    )
    assert response.status_code == status
