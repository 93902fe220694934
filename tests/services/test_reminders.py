"""A user is told once that his balance is low, and once that it is used up, however many workers see it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import insert

from oneapi.config import Config
from oneapi.models import Hold, OneTimeCode
from oneapi.options import Options
from oneapi.relay.exchange import Call, Exchange
from oneapi.relay.exchange import Hold as HoldOfCall
from oneapi.services.notify import Notifier
from oneapi.services.reminders import Reminders
from oneapi.services.web import Web
from tests.postoffice import PostOffice, post_office
from tests.servers import FreshDatabase
from tests.services.books import Books, caller

USER = 1


class Site:
    def __init__(self, books: Books, office: PostOffice) -> None:
        self.books, self.office = books, office
        self.moment = 0.0
        read = Options.from_rows(office.options(QuotaRemindThreshold="1000", ServerAddress="https://shop.example.org"))
        self.options = read
        self.notifier = Notifier(books.engine, lambda: read, Web(Config()))
        self.workers = [self.worker() for _ in range(3)]

    def worker(self) -> Reminders:
        return Reminders(
            self.books.engine, lambda: self.options, self.notifier, now=self.books.now, monotonic=lambda: self.moment
        )

    def call(self, quota: int, *, held: int = 0, worker: int = 0) -> None:
        """A call that found this balance and held so much of it; a minute passes before it."""
        self.moment += 61
        self.workers[worker].observe(exchange(quota, held))

    def letters(self) -> int:
        """How many came, once all that was begun has ended."""
        with gevent.Timeout(5):
            while self.notifier._carriers:
                gevent.sleep(0.005)
        return len(self.office.received)


def exchange(quota: int, held: int) -> Exchange:
    call: Any = Call(
        request_id="r", dialect="openai", mode="chat", method="POST", path="/", query="", headers={}, client_ip="",
        received_at=0, received_s=0,
    )  # fmt: skip
    made = Exchange(call=call, caller=replace(caller(USER, 1), user_quota=quota))
    made.hold = HoldOfCall("r", USER, 1, held, 0) if held else None
    return made


@pytest.fixture
def site(kept_database: FreshDatabase, tmp_path: Path) -> Iterator[Site]:
    books = Books(kept_database, tmp_path)
    with books.engine.begin() as connection:
        connection.execute(OneTimeCode.__table__.delete())
    books.add_user(USER, quota=5000)
    books.set_user(USER, email="user@example.com", language="en")
    with post_office() as office:
        made = Site(books, office)
        yield made
        made.notifier.stop()
    books.close()


def test_a_balance_that_is_well_costs_no_look_at_the_database(site: Site) -> None:
    site.call(5000, held=4000)
    assert not site.notifier._carriers and not site.notifier._queue


def test_crossing_the_threshold_is_told_once_by_all_workers_together(site: Site) -> None:
    site.books.set_user(USER, quota=999)
    for _ in range(2):
        for worker in range(3):
            site.call(999, worker=worker)
    assert site.letters() == 1
    (received,) = site.office.received
    assert received.receivers == ["user@example.com"]
    assert "running low" in received.message["Subject"]
    assert "999" in received.text and "https://shop.example.org/topup" in received.text


def test_a_stale_suspicion_is_checked(site: Site) -> None:
    site.call(10, held=5)
    assert site.letters() == 0


def test_what_running_calls_hold_is_not_spent_yet(site: Site) -> None:
    site.books.set_user(USER, quota=200)
    with site.books.engine.begin() as connection:
        values = {"user_id": USER, "token_id": 1, "token_quota": 0, "worker": "w", "created_at": 0, "expires_at": 9}
        connection.execute(insert(Hold).values(request_id="h", user_quota=4800, **values))
    site.call(200)
    assert site.letters() == 0


def test_that_it_is_used_up_is_told_besides(site: Site) -> None:
    site.books.set_user(USER, quota=900)
    site.call(900)
    assert site.letters() == 1
    site.books.set_user(USER, quota=-3)
    site.call(-3)
    site.call(-3)
    assert site.letters() == 2
    assert "used up" in site.office.received[1].message["Subject"]


def test_one_who_was_told_that_it_is_used_up_need_not_hear_that_it_is_low(site: Site) -> None:
    site.books.set_user(USER, quota=0)
    site.call(0)
    site.books.set_user(USER, quota=5)
    site.call(5)
    assert site.letters() == 1


def test_a_credit_makes_the_next_crossing_news_again(site: Site) -> None:
    for round_ in (1, 2):
        site.books.set_user(USER, quota=10)
        site.call(10)
        assert site.letters() == round_
        site.books.credit(USER, 5000)
    site.books.set_user(USER, quota=10)
    site.books.credit(USER, -5)  # a debit is none
    site.call(5)
    assert site.letters() == 3
    site.books.credit(USER, -1)
    site.call(4)
    assert site.letters() == 3


def test_a_user_without_address_is_not_marked(site: Site) -> None:
    site.books.set_user(USER, quota=10, email="")
    site.call(10)
    assert site.letters() == 0
    site.books.set_user(USER, email="late@example.com")
    site.call(10)
    assert site.letters() == 1


def test_one_worker_looks_once_a_minute(site: Site) -> None:
    site.books.set_user(USER, quota=10, email="")
    site.call(10)
    site.letters()
    site.books.set_user(USER, email="late@example.com")
    site.workers[0].observe(exchange(10, 0))
    assert site.letters() == 0
