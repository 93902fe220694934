"""Sums for charts: by step of the reader's own clock, by model, channel, user or token; the same from sums of hours and
days as from the rows, also when these are gone."""

from __future__ import annotations

from random import Random
from typing import Any

from sqlalchemy import delete, insert

from oneapi.models import Log
from oneapi.services.logs import CONSUMPTION, FAILURE, TOP_UP, Filters
from oneapi.services.rollups import roll_up
from oneapi.services.statistics import By, Span, consumed, dashboard, usage
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


# ---- from sums ----

NOW = NOON + 1234
SPANS = (
    Span(start=NOW - 2 * DAY, end=NOW + 1, step_s=3600),
    Span(start=NOW - 8 * DAY, end=NOW + 1, step_s=DAY),
    Span(start=NOW - 8 * DAY, end=NOW + 1, step_s=DAY, zone_s=8 * 3600),
    Span(start=NOW - 8 * DAY, end=NOW + 1, step_s=DAY, zone_s=-12600),
)
CUTS: tuple[tuple[By, int | None], ...] = (
    ("model", None), ("token", None), ("channel", None), ("user", None), ("model", 1), ("token", 2),
)  # fmt: skip
FILTERS = (
    Filters(),
    Filters(user_id=1, model_name="m0"),
    Filters(username="user 2"),
    Filters(channel_id=1, start=NOW - 5 * DAY + 7, end=NOW - DAY + 11),
    Filters(token_name="token 1", start=NOW - 3 * DAY),
    Filters(model_name="m1", username="user 1"),
    Filters(user_id=2, channel_id=3),
)


def random_row(chance: Random) -> dict[str, Any]:
    user = chance.randint(1, 3)
    return {
        "user_id": user,
        "username": f"user {user}",
        "type": chance.choice((CONSUMPTION, CONSUMPTION, CONSUMPTION, FAILURE, TOP_UP)),
        "created_at": chance.choice((NOW, NOON - DAY, NOON - 3 * DAY, NOON - 9 * DAY)) - chance.randint(0, 6 * 3600),
        "model_name": chance.choice(("m0", "m1", "m2", None)),
        "token_name": chance.choice(("token 0", "token 1", "")),
        "channel_id": chance.choice((None, 1, 2, 3)),
        "quota": chance.randint(0, 100),
        "prompt_tokens": chance.randint(0, 9),
        "completion_tokens": chance.choice((None, 3)),
        "elapsed_time": chance.randint(0, 1000),
        "first_token_ms": chance.choice((None, 20)),
    }


def read(site: Site, filters: tuple[Filters, ...] = FILTERS) -> list[Any]:
    """All that is told of the logs."""
    found: list[Any] = [
        usage(site.log_engine, span, by, user_id=user_id, most_parts=3) for span in SPANS for by, user_id in CUTS
    ]
    found += [dashboard(site.log_engine, user_id, now=NOW) for user_id in (1, 2)]
    return found + [consumed(site.log_engine, one) for one in filters]


def test_sums_tell_what_the_rows_told_also_when_these_are_gone(any_site: Site) -> None:
    chance = Random(1)
    with any_site.log_engine.begin() as connection:
        connection.execute(insert(Log), [random_row(chance) for _ in range(300)])
    told = read(any_site)
    assert roll_up(any_site.log_engine, now=NOW) > 20
    assert read(any_site) == told
    with any_site.log_engine.begin() as connection:
        connection.execute(delete(Log).where(Log.created_at < NOW - 12 * 3600 - NOW % 3600))
    assert read(any_site, ()) == told[: -len(FILTERS)]


def test_the_sum_of_what_was_consumed_is_of_the_rows_that_are_there(any_site: Site) -> None:
    for age in range(5):
        log(any_site, quota=10**age, created_at=NOON - age * DAY)
    roll_up(any_site.log_engine, now=NOON + DAY)
    assert consumed(any_site.log_engine, Filters()) == 11111
    with any_site.log_engine.begin() as connection:
        connection.execute(delete(Log).where(Log.created_at < NOON - DAY))
    assert consumed(any_site.log_engine, Filters()) == 11
    assert consumed(any_site.log_engine, Filters(model_name="m", end=NOON - DAY)) == 10
    assert consumed(any_site.log_engine, Filters(end=NOON - 2 * DAY)) == 0
