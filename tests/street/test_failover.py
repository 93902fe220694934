"""Who is asked next when a provider fails, what the client sees, what is charged, and what becomes of the channel."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from sqlalchemy import select

from oneapi.models import ChannelHealth
from oneapi.relay import encodings
from tests.servers import free_port, sqlite_database
from tests.street.clients import Heard, ask
from tests.street.shop import COST, RATIO, Goods, Shop, opened
from tests.street.upstreams import MockUpstream

GOOD = "mock-n3-d5"
LATE = "mock-n3-d5-f16500"  # the first byte comes when the client has heard of its being kept alive
HANGING = "mock-hang"
RELAY_TIMEOUT_S = 19

# Fault of the mock → the status it shows to the gateway, whole and streamed; 0: none came.
NEXT_IS_ASKED = {
    "e401": (401, 401),
    "e402": (402, 402),
    "e403": (403, 403),
    "e408": (408, 408),
    "e429": (429, 429),
    "e500": (500, 500),
    "e502": (502, 502),
    "e503": (503, 503),
    "e504": (504, 504),
    "n1-cut": (200, 0),
}
NOBODY_ELSE_IS_ASKED = {"e400": 400, "e404": 404, "e413": 413, "e422": 422}
FOR_HEALTH = ("e503-b1", "e400-b1", "slow-b1")
STREAMED = pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])


def model(fault: str, is_stream: bool = False) -> str:
    """What clients ask for where the first provider has that fault."""
    return f"{fault}-{'stream' if is_stream else 'whole'}"


def bad_goods(mock: MockUpstream) -> Iterator[Goods]:
    """A channel for each fault, before all others. The provider's model differs too, so that no channel rests for what
    another test did."""
    for fault in (*NEXT_IS_ASKED, *NOBODY_ELSE_IS_ASKED, *FOR_HEALTH, "n10-cut"):
        for is_stream in (False, True):
            yield one(mock.url, model(fault, is_stream), f"mock-{fault}-d{5 + is_stream}", priority=2)
    yield one(f"http://127.0.0.1:{free_port()}", "unreachable", GOOD, priority=2)
    yield one(mock.url, "hanging-first", HANGING, priority=2)


def one(url: str, asked: str, given: str, *, priority: int = 0) -> Goods:
    return {"base_url": url, "models": asked, "model_mapping": f'{{"{asked}": "{given}"}}', "priority": priority}


@pytest.fixture(scope="module")
def goods(mock: MockUpstream) -> list[Goods]:
    bad = list(bad_goods(mock))
    rescued = [channel["models"] for channel in bad]
    mapping = ", ".join(f'"{name}": "{GOOD}"' for name in rescued)
    good = {"base_url": mock.url, "models": ",".join(rescued), "model_mapping": f"{{{mapping}}}", "priority": 1}
    hopeless = [one(mock.url, "hopeless", f"mock-{fault}-b2", priority=int(fault[1:])) for fault in ("e503", "e500")]
    return [*bad, good, *hopeless, one(mock.url, "late", LATE), one(mock.url, "hanging", HANGING)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, goods: list[Goods]) -> Iterator[Shop]:
    """With one worker, because each counts failures for itself."""
    folder = tmp_path_factory.mktemp("shop")
    places = {"WEB_CONCURRENCY": "1", "RELAY_TIMEOUT": str(RELAY_TIMEOUT_S)}
    with opened(folder, sqlite_database(folder), goods, **places) as running:
        yield running


@pytest.fixture
def key(shop: Shop) -> str:
    return shop.token(shop.user(quota=1000 * COST))


def channels(shop: Shop, goods: list[Goods], name: str) -> list[int]:
    """The ids of the channels that offer a model, in the order in which they are to be tried."""
    offering = [
        (-fields["priority"], number) for number, fields in enumerate(goods, 1) if name in fields["models"].split(",")
    ]
    return [number for _, number in sorted(offering)]


def attempts(shop: Shop, heard: Heard) -> list[tuple[int, int]]:
    """Channel and status of each attempt."""
    return [(attempt["channel"], attempt["status"]) for attempt in shop.receipt(heard)["attempts"]]


@STREAMED
@pytest.mark.parametrize("fault", NEXT_IS_ASKED)
def test_the_next_channel_answers_where_a_provider_is_at_fault(
    shop: Shop, goods: list[Goods], key: str, fault: str, is_stream: bool
) -> None:
    name = model(fault, is_stream)
    heard = ask(shop.url, key, name, stream=is_stream, with_usage=is_stream)
    assert heard.is_answered
    first, second = channels(shop, goods, name)
    assert attempts(shop, heard) == [(first, NEXT_IS_ASKED[fault][is_stream]), (second, 200)]
    charge = shop.charge(heard)
    assert (charge.quota, charge.channel_id) == (COST, second)
    if is_stream:
        assert len(heard.events) == 5  # three pieces, the finish, and usage: nothing of the first channel's


@STREAMED
def test_the_next_channel_answers_where_a_provider_cannot_be_reached(
    shop: Shop, goods: list[Goods], key: str, is_stream: bool
) -> None:
    heard = ask(shop.url, key, "unreachable", stream=is_stream, with_usage=is_stream)
    assert heard.is_answered
    first, second = channels(shop, goods, "unreachable")
    assert attempts(shop, heard) == [(first, 0), (second, 200)]
    assert shop.charge(heard).quota == COST


@STREAMED
@pytest.mark.parametrize("fault", NOBODY_ELSE_IS_ASKED)
def test_nobody_else_is_asked_where_the_request_is_at_fault(
    shop: Shop, goods: list[Goods], key: str, fault: str, is_stream: bool
) -> None:
    name, status = model(fault, is_stream), NOBODY_ELSE_IS_ASKED[fault]
    heard = ask(shop.url, key, name, stream=is_stream)
    assert heard.status == status
    assert heard.error is not None
    assert f"mock fault {status}" in heard.error["message"]
    first, _ = channels(shop, goods, name)
    assert attempts(shop, heard) == [(first, status)]
    assert heard.request_id not in shop.charges()


@STREAMED
def test_where_all_fail_the_client_sees_the_last_failure_and_pays_nothing(
    shop: Shop, goods: list[Goods], key: str, is_stream: bool
) -> None:
    heard = ask(shop.url, key, "hopeless", stream=is_stream)
    assert heard.status == 500
    assert heard.error is not None
    assert "mock fault 500" in heard.error["message"]
    first, second = channels(shop, goods, "hopeless")
    assert attempts(shop, heard) == [(first, 503), (second, 500)]
    assert heard.request_id not in shop.charges()


def test_a_stream_that_breaks_off_ends_with_an_error_and_costs_what_was_delivered(
    shop: Shop, goods: list[Goods], key: str
) -> None:
    name = model("n10-cut", True)
    heard = ask(shop.url, key, name, stream=True, with_usage=True)
    assert (heard.status, heard.is_complete, heard.is_answered) == (200, True, False)
    assert b"[DONE]" not in heard.body
    *pieces, last = heard.events
    assert len(pieces) == 5
    assert last["error"]["message"]
    first, _ = channels(shop, goods, name)
    assert attempts(shop, heard) == [(first, 200)]
    charge = shop.charge(heard)
    assert charge.completion_tokens == encodings.count(heard.text, charge.model_name) > 0
    assert charge.quota == (charge.prompt_tokens + charge.completion_tokens) * RATIO


def test_a_channel_rests_after_five_failures_and_for_nothing_that_clients_do(
    shop: Shop, goods: list[Goods], key: str
) -> None:
    failing, refusing, slow = (model(fault) for fault in FOR_HEALTH)
    heard = [ask(shop.url, key, failing) for _ in range(6)]
    first, second = channels(shop, goods, failing)
    assert [attempts(shop, client) for client in heard] == [[(first, 503), (second, 200)]] * 5 + [[(second, 200)]]
    refused = [ask(shop.url, key, refusing) for _ in range(6)]
    assert [attempts(shop, client) for client in refused] == [[(channels(shop, goods, refusing)[0], 400)]] * 6
    left = [gevent.spawn(ask, shop.url, key, slow, leaves_after_s=0.3) for _ in range(6)]
    assert [call.get().has_left for call in left] == [True] * 6
    bad = {channels(shop, goods, name)[0] for name in (failing, refusing, slow)}
    resting = shop.rows(select(ChannelHealth.channel_id, ChannelHealth.state).where(ChannelHealth.channel_id.in_(bad)))
    assert [tuple(row) for row in resting] == [(first, "open")]


def test_a_stream_that_waits_is_kept_alive_while_channels_are_tried(shop: Shop, goods: list[Goods], key: str) -> None:
    names = ("late", "hanging-first", "hanging")
    streams = [gevent.spawn(ask, shop.url, key, name, stream=True, with_usage=True) for name in names]
    late, rescued, lost = (call.get() for call in streams)
    for client in (late, rescued, lost):
        assert client.status == 200
        assert client.body.startswith(b": keep-alive\n\n")
        assert client.is_complete
    assert late.is_answered
    assert shop.charge(late).quota == COST
    assert rescued.is_answered
    first, second = channels(shop, goods, "hanging-first")
    assert attempts(shop, rescued) == [(first, 0), (second, 200)]
    assert shop.charge(rescued).quota == COST
    assert not lost.is_answered
    assert lost.error is not None
    assert lost.request_id not in shop.charges()


def test_the_books_are_right(shop: Shop) -> None:
    shop.check([])
