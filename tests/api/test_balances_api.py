"""Balances of each type that can be asked, from a fake provider on loopback: management.md §9.2, appendix B 28."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import gevent
import pytest
from sqlalchemy import insert

from oneapi.models import Channel, Log
from oneapi.relay.adaptor import UpstreamRequest, WholeReply
from oneapi.relay.exchange import Channel as Ready
from tests.api.site import ADMIN, Site
from tests.postoffice import JsonServer, json_server

KEY = "sk-a-key"
Answers = dict[str, Any]  # host and path, or path alone for the channel's own address -> JSON


class Provider:
    """Answers by `answers`, and keeps the headers."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.status = 200
        self.credentials: list[tuple[str, str]] = []  # Authorization, Api-Key

    def __call__(self, environ: dict[str, Any], body: Any) -> tuple[int, Any]:
        self.credentials.append((environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_API_KEY", "")))
        answer = self.answers.get(environ["PATH_INFO"])
        return (404, {"error": {"message": "no such path"}}) if answer is None else (self.status, answer)


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def server(site: Site, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    """What is sent to any host comes here, under the host's name; the rest of the way is the program's own."""
    with json_server(provider) as running:
        send_whole = site.program.upstream.send_whole

        def send_here(request: UpstreamRequest, channel: Ready, timeout_s: float = 60.0) -> WholeReply:
            if not request.url.startswith(running.url):
                request = replace(request, url=f"{running.url}/{request.url.partition('://')[2]}")
            return send_whole(request, channel, timeout_s)

        monkeypatch.setattr(site.program.upstream, "send_whole", send_here)
        yield running


def add(site: Site, server: JsonServer, type: int, **columns: Any) -> int:
    values = {"name": "shop", "models": "m", "group": "default", "status": 1, "base_url": server.url, **columns}
    with site.engine.begin() as connection:
        inserted = connection.execute(insert(Channel).values(type=type, key=KEY, **values))
        return int(inserted.inserted_primary_key[0])


def ask(site: Site, channel_id: int) -> dict[str, Any]:
    return dict(site.user(ADMIN).ask("GET", f"/api/channel/update_balance/{channel_id}").get_json())


SUBSCRIPTION, USAGE = "/v1/dashboard/billing/subscription", "/v1/dashboard/billing/usage"
CASES: list[tuple[int, Answers, float]] = [
    (1, {SUBSCRIPTION: {"hard_limit_usd": 120, "has_payment_method": True}, USAGE: {"total_usage": 2050}}, 99.5),
    (8, {SUBSCRIPTION: {"hard_limit_usd": 5, "has_payment_method": False}, USAGE: {"total_usage": 100}}, 4.0),
    (4, {"/dashboard/billing/credit_grants": {"total_available": 12.5}}, 12.5),
    (5, {"/api.openai-sb.com/sb-api/user/status": {"data": {"credit": "9981.5"}}}, 9981.5),
    (10, {"/aiproxy.io/api/report/getUserOverview": {"success": True, "data": {"totalPoints": 77}}}, 77.0),
    (12, {"/api.api2gpt.com/dashboard/billing/credit_grants": {"total_remaining": 3.25}}, 3.25),
    (13, {"/api.aigc2d.com/dashboard/billing/credit_grants": {"total_available": 8}}, 8.0),
    (20, {"/openrouter.ai/api/v1/credits": {"data": {"total_credits": 10, "total_usage": 2.5}}}, 7.5),
    (36, {"/api.deepseek.com/user/balance": {"balance_infos": [
        {"currency": "USD", "total_balance": "1.00"}, {"currency": "CNY", "total_balance": "110.00"},
    ]}}, 110.0),
    (44, {"/api.siliconflow.cn/v1/user/info": {"code": 20000, "data": {"totalBalance": "88.00"}}}, 88.0),
]  # fmt: skip


@pytest.mark.parametrize("type, answers, balance", CASES)
def test_each_type_is_asked_as_its_provider_wants(
    site: Site, provider: Provider, server: JsonServer, type: int, answers: Answers, balance: float
) -> None:
    provider.answers = answers
    channel = add(site, server, type)
    assert ask(site, channel) == {"success": True, "message": "", "balance": balance}
    row = site.row(Channel, channel)
    assert row.balance == balance and abs(row.balance_updated_time - time.time()) < 10
    assert all(method == "GET" for method, _, _ in server.asked)
    wanted = ("", KEY) if type == 10 else (f"Bearer {KEY}", "")
    assert set(provider.credentials) == {wanted}


def test_openai_is_asked_for_the_month_and_for_a_hundred_days(
    site: Site, provider: Provider, server: JsonServer
) -> None:
    provider.answers = CASES[0][1]
    ask(site, add(site, server, 1))
    today = datetime.now(UTC).date()
    usage = [urlsplit(path).query for _, path, _ in server.asked if USAGE in path]
    assert usage == [
        f"start_date={start.isoformat()}&end_date={today.isoformat()}"
        for start in (today.replace(day=1), today - timedelta(days=100))
    ]


def test_the_key_of_openai_sb_goes_into_the_query(site: Site, provider: Provider, server: JsonServer) -> None:
    provider.answers = CASES[3][1]
    ask(site, add(site, server, 5))
    assert server.asked[0][1].endswith(f"/sb-api/user/status?api_key={KEY}")


@pytest.mark.parametrize(
    "type, answers, message",
    [
        (5, {"/api.openai-sb.com/sb-api/user/status": {"msg": "key unknown"}}, "key unknown"),
        (10, {"/aiproxy.io/api/report/getUserOverview": {"success": False, "message": "who?"}}, "who?"),
        (44, {"/api.siliconflow.cn/v1/user/info": {"code": 20001, "message": "banned"}}, "banned"),
        (36, {"/api.deepseek.com/user/balance": {"balance_infos": []}}, "CNY"),
        (4, {"/dashboard/billing/credit_grants": {"total_available": None}}, "total_available"),
        (4, {"/dashboard/billing/credit_grants": ["?"]}, ""),
        (20, {}, "no such path"),
        (14, {}, "Anthropic"),
    ],
)
def test_what_is_no_balance_is_said_and_not_stored(
    site: Site, provider: Provider, server: JsonServer, type: int, answers: Answers, message: str
) -> None:
    provider.answers = answers
    channel = add(site, server, type, balance=5)
    answer = ask(site, channel)
    assert answer["success"] is False and message in answer["message"] and "balance" not in answer
    assert KEY not in answer["message"]
    row = site.row(Channel, channel)
    assert (row.balance, row.balance_updated_time) == (5, 0)


def test_deepseeks_dollars_count_where_there_is_no_yuan(site: Site, provider: Provider, server: JsonServer) -> None:
    infos = [{"currency": "USD", "total_balance": "2.50"}]
    provider.answers = {"/api.deepseek.com/user/balance": {"balance_infos": infos}}
    assert ask(site, add(site, server, 36))["balance"] == 2.5


def test_a_refused_key_is_an_error(site: Site, provider: Provider, server: JsonServer) -> None:
    provider.answers, provider.status = {"/dashboard/billing/credit_grants": {"error": {"message": "bad key"}}}, 401
    assert "bad key" in ask(site, add(site, server, 4))["message"]


def test_a_round_asks_all_enabled_channels_and_switches_off_what_is_empty(
    site: Site, provider: Provider, server: JsonServer
) -> None:
    provider.answers = {
        "/dashboard/billing/credit_grants": {"total_available": 12.5},
        "/openrouter.ai/api/v1/credits": {"data": {"total_credits": 10, "total_usage": 10}},
    }
    full, empty, unknown = add(site, server, 4), add(site, server, 20), add(site, server, 14)
    off, failing = add(site, server, 4, status=2), add(site, server, 44)
    site.user(ADMIN).call("GET", "/api/channel/update_balance")
    with gevent.Timeout(10):
        while site.program.rounds.progress()["channel balances"] is not None:
            gevent.sleep(0.01)
    rows = {row.id: row for row in site.rows(Channel)}
    assert [rows[channel].status for channel in (full, empty, unknown, off, failing)] == [1, 3, 1, 2, 1]
    assert "balance is used up" in rows[empty].status_reason
    assert [rows[channel].balance for channel in (full, off, failing)] == [12.5, 0, 0]
    assert any("status: 1 → 3" in log.content for log in site.rows(Log, Log.type == 3))
