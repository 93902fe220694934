"""Keys: found, cached, judged (relay.md §2)."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select, update

from oneapi.database import open_databases
from oneapi.errors import Forbidden, GatewayError, InvalidRequest, Unauthenticated
from oneapi.limits import Limits
from oneapi.models import Hold, Token, User
from oneapi.services import bootstrap, tokens
from oneapi.services.tokens import TokenAndUser, TokenCache, authenticate_key, authorize, parse_credential
from tests.servers import FreshDatabase, sqlite_database

KEY = "K" * 48
NOW = 1_750_000_000


def filled(database: FreshDatabase) -> Iterator[Engine]:
    """An engine on a database with one token of one user."""
    bootstrap.prepare(database.config())
    databases = open_databases(database.config())
    with databases.main.begin() as connection:
        values = {"id": 7, "username": "alice", "access_token": "a", "aff_code": "a", "quota": 500, "group": "vip"}
        connection.execute(insert(User).values(role=10, **values))
        connection.execute(insert(Token).values(id=3, user_id=7, key=KEY, name="ci", remain_quota=40))
    yield databases.main
    databases.dispose()


@pytest.fixture
def any_engine(database: FreshDatabase) -> Iterator[Engine]:
    yield from filled(database)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    yield from filled(sqlite_database(tmp_path))


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def change(engine: Engine, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(Token).where(Token.id == 3).values(**values))


def status(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(Token.status).where(Token.id == 3)).scalar_one())


def found_in(engine: Engine) -> TokenAndUser:
    found = tokens.find_by_key(engine, KEY)
    assert found is not None
    return found


# ---- finding ----


def test_a_key_gives_the_token_with_its_user(any_engine: Engine) -> None:
    change(any_engine, models=" gpt-4o,,o1* ", subnet="10.0.0.0/8, ::1", limits='{"requests_per_minute": 5}')
    caller = found_in(any_engine).caller
    assert (caller.user_id, caller.username, caller.group, caller.role, caller.user_quota) == (
        7,
        "alice",
        "vip",
        10,
        500,
    )
    assert (caller.token_id, caller.token_name, caller.token_quota, caller.is_unlimited) == (3, "ci", 40, False)
    assert caller.models == {"gpt-4o", "o1*"}
    assert caller.subnets == ("10.0.0.0/8", "::1")
    assert caller.limits == {"token": Limits(requests_per_minute=5)}


def test_a_key_in_the_wrong_case_or_with_blanks_is_unknown(any_engine: Engine) -> None:
    for key in (KEY.lower(), KEY + " ", KEY[:-1], ""):
        assert tokens.find_by_key(any_engine, key) is None


def test_a_short_key_is_found(any_engine: Engine) -> None:
    change(any_engine, key="short")
    assert tokens.find_by_key(any_engine, "short") is not None
    assert tokens.find_by_key(any_engine, "short   ") is None


def test_a_token_without_its_user_is_unknown(engine: Engine) -> None:
    change(engine, user_id=999)
    assert tokens.find_by_key(engine, KEY) is None


def test_new_keys_are_48_letters_and_digits_and_all_differ() -> None:
    keys = {tokens.new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(len(key) == 48 and key.isascii() and key.isalnum() for key in keys)


# ---- the cache ----


def test_a_warm_find_reads_no_database(engine: Engine) -> None:
    cache = TokenCache(engine, 5, Clock())
    first = cache.find(KEY)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert cache.find(KEY) is first
    assert statements == []


def test_a_find_is_believed_for_a_while_and_until_the_cache_is_cleared(engine: Engine) -> None:
    clock = Clock()
    cache = TokenCache(engine, 5, clock)
    cache.find(KEY)
    change(engine, name="renamed")
    names = []
    for step in (lambda: None, lambda: setattr(clock, "now_s", 5.0), lambda: change(engine, name="again"), cache.clear):
        step()
        found = cache.find(KEY)
        names.append(found.caller.token_name if found else "")
    assert names == ["ci", "renamed", "renamed", "again"]


def test_what_was_read_before_a_clear_is_not_kept_after_it(engine: Engine) -> None:
    cache = TokenCache(engine, 5, Clock())

    @event.listens_for(engine, "before_cursor_execute", once=True)
    def news_come_meanwhile(*_: object) -> None:
        cache.clear()

    cache.find(KEY)
    change(engine, name="renamed")
    found = cache.find(KEY)
    assert found is not None and found.caller.token_name == "renamed"


def test_a_deleted_key_is_forgotten(engine: Engine) -> None:
    clock = Clock()
    cache = TokenCache(engine, 5, clock)
    cache.find(KEY)
    change(engine, key="other")
    clock.now_s = 6
    assert cache.find(KEY) is None


def test_unknown_keys_do_not_fill_the_memory(engine: Engine) -> None:
    cache = TokenCache(engine, 5, Clock())
    for number in range(50):
        assert cache.find(f"guess{number}") is None
    assert cache._entries == {}


def test_a_warm_check_is_cheap(engine: Engine) -> None:
    cache = TokenCache(engine, 60, time.monotonic)
    credential, now = f"Bearer sk-{KEY}", time.time()

    def microseconds() -> float:
        began = time.perf_counter()
        for _ in range(2000):
            authenticate_key(cache, credential, client_ip="127.0.0.1", now=now, engine=engine)
        return (time.perf_counter() - began) / 2000 * 1e6

    assert min(microseconds() for _ in range(10)) < 5


# ---- judging ----


@pytest.mark.parametrize(
    "credential, key, suffix",
    [
        ("Bearer sk-KEY", "KEY", None),
        ("bearer KEY", "KEY", None),
        ("Bearer  sk-KEY ", "KEY", None),
        ("sk-KEY", "KEY", None),
        ("KEY", "KEY", None),
        ("Bearer sk-KEY-12", "KEY", "12"),
        ("KEY-12-34", "KEY", "12"),
        ("KEY-", "KEY", ""),
        ("sk-sk-KEY", "sk", "KEY"),
        ("", "", None),
        ("Bearer ", "", None),
    ],
)
def test_forms_of_a_credential(credential: str, key: str, suffix: str | None) -> None:
    assert parse_credential(credential) == (key, suffix)


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"status": 4}, Unauthenticated, "used up"),
        ({"status": 3}, Unauthenticated, "expired"),
        ({"status": 2}, Unauthenticated, "not usable"),
        ({"expired_time": NOW - 1}, Unauthenticated, "expired"),
        ({"expired_time": 0}, Unauthenticated, "expired"),
        ({"remain_quota": 0}, Unauthenticated, "used up"),
        ({"remain_quota": -5}, Unauthenticated, "used up"),
        ({"user_status": 2}, Forbidden, "banned"),
        ({"user_status": 3}, Forbidden, "banned"),
    ],
)
def test_a_token_that_may_not_be_used(
    engine: Engine, changes: dict[str, Any], error: type[GatewayError], words: str
) -> None:
    with pytest.raises(error, match=words):
        authorize(replace(found_in(engine), **changes), client_ip="10.1.2.3", now=NOW)


@pytest.mark.parametrize("changes", [{"expired_time": NOW}, {"expired_time": -1}, {"remain_quota": 1}])
def test_a_token_that_may_be_used(engine: Engine, changes: dict[str, Any]) -> None:
    found = replace(found_in(engine), **changes)
    assert authorize(found, client_ip="10.1.2.3", now=NOW) is found.caller


def test_an_unlimited_token_has_no_remainder_to_look_at(engine: Engine) -> None:
    change(engine, unlimited_quota=True, remain_quota=-1)
    assert authorize(found_in(engine), client_ip="", now=NOW).is_unlimited


@pytest.mark.parametrize(
    "subnet, client_ip, is_good",
    [
        ("10.0.0.0/8", "10.9.9.9", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.9.9.9", True),
        ("10.0.0.0/8, 2001:db8::/32", "2001:db8::7", True),
        ("192.168.0.5", "192.168.0.5", True),
        ("192.168.0.5", "192.168.0.6", False),
        ("nonsense", "10.0.0.1", False),
        ("nonsense,10.0.0.0/8", "10.0.0.1", True),
        ("10.0.0.0/8", "", False),
        ("", "anything", True),
    ],
)
def test_networks(engine: Engine, subnet: str, client_ip: str, is_good: bool) -> None:
    change(engine, subnet=subnet)
    found = found_in(engine)
    if is_good:
        assert authorize(found, client_ip=client_ip, now=NOW) is found.caller
    else:
        with pytest.raises(Forbidden, match="may only be used from"):
            authorize(found, client_ip=client_ip, now=NOW)


@pytest.mark.parametrize(
    "model, is_good", [("", True), ("gpt-4o", True), ("o1-mini", True), ("GPT-4o", False), ("gpt", False)]
)
def test_models(engine: Engine, model: str, is_good: bool) -> None:
    change(engine, models="gpt-4o,o1*")
    found = found_in(engine)
    if is_good:
        assert authorize(found, client_ip="", now=NOW, model=model) is found.caller
    else:
        with pytest.raises(Forbidden, match="may not use the model"):
            authorize(found, client_ip="", now=NOW, model=model)


def authenticate(engine: Engine, credential: str = KEY) -> Any:
    return authenticate_key(TokenCache(engine, 5, Clock()), credential, client_ip="", now=NOW, engine=engine)


def test_an_administrator_may_pin_a_channel(engine: Engine) -> None:
    assert authenticate(engine, f"sk-{KEY}-12").channel_id == 12
    assert authenticate(engine).channel_id is None
    for suffix in ("", "x", "-1", "1.5", "²"):
        with pytest.raises(InvalidRequest):
            authenticate(engine, f"sk-{KEY}-{suffix}")


def test_others_may_not_pin_a_channel(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(User).where(User.id == 7).values(role=1))
    with pytest.raises(Forbidden, match="administrators"):
        authenticate(engine, f"sk-{KEY}-12")


@pytest.mark.parametrize("credential", ["", "Bearer ", "sk-", "-12"])
def test_no_key_is_told_so(engine: Engine, credential: str) -> None:
    with pytest.raises(Unauthenticated, match="No API key"):
        authenticate(engine, credential)


# ---- tokens that have come to their end ----


@pytest.mark.parametrize("values, becomes", [({"expired_time": 1000}, 3), ({"remain_quota": 0}, 4)])
def test_a_spent_token_is_marked(any_engine: Engine, values: dict[str, int], becomes: int) -> None:
    change(any_engine, **values)
    with pytest.raises(Unauthenticated):
        authenticate(any_engine)
    assert status(any_engine) == becomes


def test_what_running_calls_hold_is_not_spent(any_engine: Engine) -> None:
    change(any_engine, remain_quota=0)
    with any_engine.begin() as connection:
        quotas = {"user_quota": 40, "token_quota": 40, "created_at": NOW, "expires_at": NOW + 120}
        connection.execute(insert(Hold).values(request_id="r", user_id=7, token_id=3, worker="w", **quotas))
    with pytest.raises(Unauthenticated, match="used up"):
        authenticate(any_engine)
    assert status(any_engine) == 1


def test_a_token_that_got_quota_meanwhile_is_not_marked(engine: Engine) -> None:
    change(engine, remain_quota=0)
    cache = TokenCache(engine, 5, Clock())
    cache.find(KEY)
    change(engine, remain_quota=9)
    with pytest.raises(Unauthenticated):
        authenticate_key(cache, KEY, client_ip="", now=NOW, engine=engine)
    assert status(engine) == 1
    assert authenticate_key(cache, KEY, client_ip="", now=NOW, engine=engine).token_quota == 9
