"""What calls are seen to do reaches the people whom it concerns, through the application as it is put together."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import insert

from oneapi.errors import UpstreamRejected, UpstreamUnreachable
from oneapi.models import Channel, User
from oneapi.relay.exchange import Attempt, Call, Exchange
from oneapi.services import bootstrap
from tests.api.site import PASSWORD, ROOT, Site
from tests.postoffice import PostOffice, post_office
from tests.servers import sqlite_database
from tests.services.books import caller

BAD_KEY = UpstreamRejected("Incorrect API key", upstream_status=401)
BUSY = UpstreamUnreachable("silence", phase="first_byte")


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as running:
        yield running


def exchange(error: BaseException | None, **of_caller: Any) -> Exchange:
    call: Any = Call(
        request_id="r", dialect="openai", mode="chat", method="POST", path="/", query="", headers={}, client_ip="",
        received_at=0, received_s=0,
    )  # fmt: skip
    attempt = Attempt(channel_id=1, channel_name="shop", model="m", started_s=0, error=error)
    who = replace(caller(1, 1), **{"user_quota": 10**9, **of_caller})
    return Exchange(call=call, caller=who, attempts=[attempt], error=error, has_begun=error is None)


def add_channel(site: Site) -> None:
    with site.engine.begin() as connection:
        connection.execute(insert(Channel).values(id=1, type=1, name="shop", key="k", models="m", group="default"))


def told(site: Site, office: PostOffice) -> list[str]:
    with gevent.Timeout(5):
        while site.program.notifier._carriers:
            gevent.sleep(0.005)
    return [f"{one.receivers[0]}: {one.message['Subject']}" for one in office.received]


def with_root(site: Site, office: PostOffice, **options: str) -> None:
    for row in site.rows(User, User.username == "root"):
        site.change(User, row.id, email="root@example.com", language="en")
    site.set_options(**office.options(**options))


def test_a_channel_whose_key_is_refused_is_switched_off_and_root_is_told_once(
    any_site: Site, office: PostOffice
) -> None:
    with_root(any_site, office, AutomaticDisableChannelEnabled="true")
    add_channel(any_site)
    for _ in range(3):
        any_site.program.ports.observe(exchange(BAD_KEY))
    row = any_site.row(Channel, 1)
    assert (row.status, row.status_reason) == (3, "HTTP 401: Incorrect API key")
    assert told(any_site, office) == ["root@example.com: Channel shop (#1) was disabled"]
    assert "Incorrect API key" in office.received[0].text


def test_a_user_whose_balance_runs_low_is_told(any_site: Site, office: PostOffice) -> None:
    any_site.set_options(**office.options(QuotaRemindThreshold="1000"))
    user = any_site.user(quota=900, email="user@example.com", language="en")
    any_site.program.ports.observe(exchange(None, user_id=user.id, user_quota=900))
    assert told(any_site, office) == ["user@example.com: One API: your quota is running low"]


def test_success_rates_count_where_enable_metric_is_set(tmp_path: Path, office: PostOffice) -> None:
    database = sqlite_database(tmp_path)
    config = database.config(enable_metric=True, metric_queue_size=4, metric_success_rate_threshold=0.5)
    bootstrap.prepare(config)
    site = Site(config)
    with_root(site, office)
    add_channel(site)
    for error in (None, BUSY, BUSY, BUSY):
        assert site.row(Channel, 1).status == 1
        site.program.ports.observe(exchange(error))
    assert site.row(Channel, 1).status == 3
    assert told(site, office) == ["root@example.com: Channel shop (#1) was disabled"]
    assert "Of its last 4 requests 25% succeeded" in office.received[0].text
    site.close()


def test_without_it_they_do_not(site: Site) -> None:
    add_channel(site)
    for _ in range(30):
        site.program.ports.observe(exchange(BUSY))
    assert site.row(Channel, 1).status == 1


def test_who_changed_a_password_is_written_to_its_owner(site: Site, office: PostOffice) -> None:
    site.set_options(**office.options())
    user = site.user(ROOT, email="user@example.com", language="en")
    user.call("PUT", "/api/user/self", {"display_name": "Ali"})
    user.call("PUT", "/api/user/self", {"password": f"new {PASSWORD}"})
    assert told(site, office) == ["user@example.com: One API: your password was changed"]
    assert "127.0.0.1" in office.received[0].text
