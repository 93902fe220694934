"""Sums for charts: by step of the reader's own clock, by model, channel, user or token."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from oneapi.models import Log
from oneapi.services.logs import CONSUMPTION, FAILURE, TOP_UP
from oneapi.services.statistics import Span, usage
from tests.api.conftest import any_site, site_on
from tests.api.site import Site

__all__ = ["any_site", "site_on"]

DAY = 86400
NOON = 1_700_000_000 - 1_700_000_000 % DAY + DAY // 2  # of a day of UTC
WEEK = Span(start=NOON - 6 * DAY, end=NOON + 1, step_s=DAY)


def log(site: Site, **columns: Any) -> None:
    values = {"user_id": 1, "type": CONSUMPTION, "created_at": NOON, "model_name": "m", "username": "root", **columns}
    with site.log_engine.begin() as connection:
        connection.execute(insert(Log).values(**values))


def test_sums_are_by_day_and_by_model(any_site: Site) -> None:
    log(any_site, quota=10, prompt_tokens=3, completion_tokens=4, elapsed_time=1000, first_token_ms=200)
    log(any_site, quota=5, elapsed_time=3000, model_name="n", created_at=NOON - DAY)
    log(any_site, type=FAILURE)
    log(any_site, type=TOP_UP, quota=1000)
    log(any_site, quota=1, created_at=NOON - 8 * DAY)
    used = usage(any_site.log_engine, WEEK, "model")
    assert (used.total.requests, used.total.failures, used.total.quota) == (2, 1, 15)
    assert (used.total.prompt_tokens, used.total.completion_tokens) == (3, 4)
    assert (used.total.elapsed_ms, used.total.first_token_ms, used.total.with_first_token) == (4000, 200, 1)
    assert len(used.steps) == 7
    assert used.steps[-1] == NOON - DAY // 2
    assert {step: sums.quota for step, sums in used.by_step.items()} == {used.steps[-1]: 10, used.steps[-2]: 5}
    assert [(name, total.quota) for name, total, _ in used.parts] == [("m", 10), ("n", 5)]
    assert used.parts[1][2][used.steps[-2]].quota == 5


def test_days_are_the_readers(any_site: Site) -> None:
    log(any_site, quota=10, created_at=NOON + 5 * 3600)  # 17:00 in UTC is the next day in Shanghai
    span = Span(start=NOON - DAY, end=NOON + DAY, step_s=DAY, zone_s=8 * 3600)
    used = usage(any_site.log_engine, span, "model")
    ((step, sums),) = used.by_step.items()
    assert (step, sums.quota) == (NOON + DAY // 2 - 8 * 3600, 10)
    assert step in used.steps


def test_only_the_dearest_parts_are_named_and_nobody_elses(any_site: Site) -> None:
    for number in range(5):
        log(any_site, quota=number, token_name=f"t{number}")
    log(any_site, quota=99, user_id=2, token_name="of another")
    used = usage(any_site.log_engine, WEEK, "token", user_id=1, most_parts=2)
    assert [name for name, _, _ in used.parts] == ["t4", "t3"]
    assert used.total.quota == 10


def test_channels_are_told_by_their_number(any_site: Site) -> None:
    log(any_site, quota=1, channel_id=7)
    used = usage(any_site.log_engine, WEEK, "channel")
    assert [(name, total.requests) for name, total, _ in used.parts] == [("7", 1)]


def test_nothing_used_is_no_error(any_site: Site) -> None:
    used = usage(any_site.log_engine, WEEK, "user")
    assert (used.total.requests, used.parts) == (0, [])
