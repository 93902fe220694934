"""Lists of the logs: the same rows come whichever index finds them."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from oneapi.models import Log
from oneapi.services import logs
from oneapi.services.logs import CONSUMPTION, FAILURE, TEST, TOP_UP, Filters, list_page, search
from oneapi.services.paging import Page
from tests.api.conftest import any_site, site, site_on
from tests.api.site import Site

__all__ = ["any_site", "site", "site_on"]

BEGIN = 1_700_000_000
TYPES = (CONSUMPTION, FAILURE, CONSUMPTION, TOP_UP, CONSUMPTION, CONSUMPTION, TEST)


def fill(site: Site) -> None:
    """Seventy rows, a minute after one another; row n of them has the id n + 1."""
    rows = [
        {
            "id": number + 1,
            "created_at": BEGIN + 60 * number,
            "type": TYPES[number % len(TYPES)],
            "user_id": 1 + number % 3,
            "username": f"user{number % 3}",
            "model_name": f"model{number % 5}",
            "token_name": None if number % 2 else "t",
            "channel_id": number % 4 or None,
            "receipt": "{}",
        }
        for number in range(70)
    ]
    with site.log_engine.begin() as connection:
        connection.execute(insert(Log), rows)


def ids(site: Site, filters: Filters, page: Page = Page(size=100)) -> list[int]:  # noqa: B008  # frozen
    return [row.id for row in list_page(site.log_engine, filters, page).rows]


@pytest.mark.parametrize("narrow", [0, 1000])
def test_the_rows_of_a_period_are_the_same_however_they_are_found(
    any_site: Site, narrow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(any_site)
    monkeypatch.setattr(logs, "_NARROW", narrow)
    period = {"start": BEGIN + 60 * 10, "end": BEGIN + 60 * 39}
    assert ids(any_site, Filters(**period)) == list(range(40, 10, -1))
    assert ids(any_site, Filters(**period), Page(1, 20)) == list(range(20, 10, -1))
    assert ids(any_site, Filters(**period, username="user1")) == list(range(38, 10, -3))
    assert ids(any_site, Filters(**period, user_id=1, model_name="model0")) == [31, 16]
    assert ids(any_site, Filters(**period, token_name="t", channel_id=2)) == [39, 35, 31, 27, 23, 19, 15, 11]
    assert ids(any_site, Filters(**period, type=TOP_UP)) == [39, 32, 25, 18, 11]
    assert ids(any_site, Filters(start=BEGIN + 60 * 67)) == [70, 69, 68]
    assert ids(any_site, Filters(end=BEGIN + 60, before_id=2)) == [1]


def test_rows_of_a_rare_type_are_found(any_site: Site) -> None:
    fill(any_site)
    assert ids(any_site, Filters(type=TEST), Page(0, 3)) == [70, 63, 56]
    assert ids(any_site, Filters(type=TEST, username="user0")) == [70, 49, 28, 7]


def test_a_list_reads_no_receipts_and_counts_no_further_than_it_must(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(site)
    monkeypatch.setattr(logs, "COUNT_LIMIT", 50)
    found = list_page(site.log_engine, Filters(), Page(0, 2, wants_total=True))
    assert found.total == 50
    assert not hasattr(found.rows[0], "receipt")
    assert list_page(site.log_engine, Filters(type=TOP_UP), Page(0, 2, wants_total=True)).total == 10


def test_a_search_looks_through_the_newest_rows(any_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(any_site)
    assert [row.id for row in search(any_site.log_engine, "user2")][-1] == 3
    assert [row.id for row in search(any_site.log_engine, "user2", user_id=3)][-1] == 3
    monkeypatch.setattr(logs, "SEARCHED", 20)
    monkeypatch.setattr(logs, "SEARCHED_OF_USER", 2)
    assert [row.id for row in search(any_site.log_engine, "user2")] == [69, 66, 63, 60, 57, 54, 51]
    assert [row.id for row in search(any_site.log_engine, "user2", user_id=3)] == [69, 66]
