"""A channel whose last requests mostly failed is disabled; nothing a client did counts (management.md §9.4)."""

from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from oneapi.errors import ClientGone, GatewayError, InvalidRequest, UpstreamRejected, UpstreamUnreachable
from oneapi.options import Options
from oneapi.relay.exchange import Attempt, Call, Exchange
from oneapi.services.success_rate import SuccessRate
from tests.services.books import caller

BUSY = UpstreamUnreachable("silence", phase="first_byte")
BAD_KEY = UpstreamRejected("no", upstream_status=401)


def exchange(*attempts: tuple[int, BaseException | None], error: BaseException | None = None) -> Exchange:
    call: Any = Call(
        request_id="r", dialect="openai", mode="chat", method="POST", path="/", query="", headers={}, client_ip="",
        received_at=0, received_s=0,
    )  # fmt: skip
    tried = [
        Attempt(channel_id=channel, channel_name="", model="m", started_s=0, error=failure)
        for channel, failure in attempts
    ]
    return Exchange(call=call, caller=caller(1, 1), attempts=tried, error=error, has_begun=tried[-1].error is None)


def disabled_after(exchanges: Iterable[Exchange], *, options: Options | None = None) -> list[tuple[int, int, float]]:
    seen: list[tuple[int, int, float]] = []
    rate = SuccessRate(
        window=5, threshold=0.8, options=lambda: options or Options(), disable=lambda *told: seen.append(told)
    )
    for one in exchanges:
        rate.observe(one)
    return seen


GOOD, FAILED = exchange((1, None)), exchange((1, BUSY), error=BUSY)


def test_a_full_window_below_the_threshold_disables_at_a_failure() -> None:
    assert disabled_after([GOOD, GOOD, GOOD, FAILED, FAILED]) == [(1, 5, 0.6)]


def test_a_window_that_is_not_full_says_nothing() -> None:
    assert disabled_after([FAILED] * 4) == []


def test_exactly_the_threshold_is_enough() -> None:
    assert disabled_after([GOOD] * 4 + [FAILED]) == []


def test_only_the_last_requests_count() -> None:
    assert disabled_after([FAILED] * 4 + [GOOD] * 5 + [FAILED]) == []


def test_the_window_begins_anew_after_it() -> None:
    assert len(disabled_after([FAILED] * 9)) == 1
    assert len(disabled_after([FAILED] * 10)) == 2


def test_each_channel_has_its_own_window() -> None:
    both = exchange((1, BUSY), (2, None))
    assert [told[0] for told in disabled_after([both] * 5)] == [1]


def test_a_success_counts_at_the_first_attempt_only() -> None:
    second = exchange((1, BUSY), (2, None))
    failing = exchange((2, BUSY), error=BUSY)
    assert disabled_after([second] * 4 + [failing] * 4, options=Options())[-1:] != [(2, 5, 0.5)]
    assert (2, 5, 0.0) in disabled_after([second] * 4 + [failing] * 5)


@pytest.mark.parametrize(
    "error", [InvalidRequest("what?"), ClientGone(), GatewayError("ours"), UpstreamRejected("bad", upstream_status=400)]
)
def test_what_no_provider_is_to_blame_for_does_not_count(error: BaseException) -> None:
    assert disabled_after([exchange((1, error), error=error)] * 10) == []


def test_a_stream_that_broke_off_counts() -> None:
    broken = exchange((1, None), error=BUSY)
    assert disabled_after([broken] * 5) == [(1, 5, 0.0)]


def test_a_refused_key_counts_unless_it_disables_by_itself() -> None:
    refused = exchange((1, BAD_KEY), error=BAD_KEY)
    assert disabled_after([refused] * 5) == [(1, 5, 0.0)]
    assert disabled_after([refused] * 5, options=Options(automatic_disable_channel_enabled=True)) == []


def test_a_database_that_is_away_fails_no_call() -> None:
    def away(*told: Any) -> None:
        raise OperationalError("UPDATE", None, Exception("gone"))

    rate = SuccessRate(window=1, threshold=0.5, options=Options, disable=away)
    rate.observe(FAILED)
