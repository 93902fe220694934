"""Nobody spends what he does not have, however many requests come at once: through the running program with two
workers, on each kind of database."""

from __future__ import annotations

from itertools import cycle, islice

import gevent
from sqlalchemy import update

from oneapi.models import User
from tests.street.clients import Heard, ask
from tests.street.shop import COST, QUICK, Shop

# Enough for twenty answers, and not for one more. A request holds more than it costs, but never twice as much: so the
# twentieth still fits when it comes alone.
ANSWERS = 20
CREDIT = (ANSWERS + 1) * COST - 1
REQUESTS = 300


def spend(shop: Shop, *keys: str, requests: int = REQUESTS, **how: bool) -> list[Heard]:
    """So many requests at once, then one after another until one is refused."""
    calls = [gevent.spawn(ask, shop.url, key, QUICK, **how) for key in islice(cycle(keys), requests)]
    heard = [call.get() for call in calls]
    for _ in range(ANSWERS + 1):
        heard.append(ask(shop.url, keys[0], QUICK, **how))
        if heard[-1].status != 200:
            break
    return heard


def check(shop: Shop, heard: list[Heard], user_id: int, code: str) -> None:
    """Twenty answers, and for everybody else the refusal that says why."""
    answers = [client for client in heard if client.is_answered]
    refusals = [client for client in heard if not client.is_answered]
    assert len(answers) == ANSWERS
    assert {client.status for client in refusals} == {403}
    for client in refusals:
        error = client.error
        assert error is not None
        assert (error["type"], error["code"]) == ("one_api_error", code)
        assert client.request_id in error["message"]
    shop.check(heard, user_id)
    assert shop.charged(user_id) == ANSWERS * COST


def test_three_hundred_requests_against_a_balance_for_twenty(shop: Shop) -> None:
    user = shop.user(quota=CREDIT)
    heard = spend(shop, shop.token(user))
    check(shop, heard, user.id, "insufficient_user_quota")
    assert shop.balance(user.id) == COST - 1


def test_several_tokens_of_one_user_share_his_balance(shop: Shop) -> None:
    user = shop.user(quota=CREDIT)
    limited = shop.token(user, unlimited_quota=False, remain_quota=1000 * COST)
    heard = spend(shop, shop.token(user), limited, shop.token(user))
    check(shop, heard, user.id, "insufficient_user_quota")
    assert shop.balance(user.id) == COST - 1


def test_a_limited_token_stops_at_its_limit(shop: Shop) -> None:
    user = shop.user(quota=1000 * COST)
    key = shop.token(user, unlimited_quota=False, remain_quota=CREDIT)
    heard = spend(shop, key)
    check(shop, heard, user.id, "pre_consume_token_quota_failed")
    assert shop.remainder(key) == COST - 1
    assert shop.balance(user.id) == (1000 - ANSWERS) * COST


def test_streams_are_held_to_the_balance_too(shop: Shop) -> None:
    user = shop.user(quota=CREDIT)
    heard = spend(shop, shop.token(user), requests=100, stream=True, with_usage=True)
    check(shop, heard, user.id, "insufficient_user_quota")


def test_the_command_verify_finds_money_that_was_made_or_lost(shop: Shop) -> None:
    user = shop.user(quota=CREDIT)
    answered = ask(shop.url, shop.token(user), QUICK)
    shop.check([answered], user.id)
    shop.tamper(update(User).where(User.id == user.id).values(quota=User.quota + 7))
    made = shop.command("verify")
    shop.tamper(update(User).where(User.id == user.id).values(quota=User.quota - 7))
    right = shop.command("verify")
    has, should = CREDIT - COST + 7, CREDIT - COST
    finding = f"user {user.id}: balance and open holds are {has}, the logs explain {should}: 7 too much"
    assert made.stdout.splitlines()[0] == finding
    assert made.stdout.endswith(" 1 findings.\n")
    assert right.stdout.endswith(" 0 findings.\n")
    assert (made.returncode, right.returncode) == (1, 0)
