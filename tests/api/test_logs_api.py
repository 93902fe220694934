"""/api/log: rules of management.md §4.10, object of §4.13; and what pruning leaves behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from oneapi.models import Log, Opening, OutboxEntry, User
from oneapi.relay.exchange import LogEntry
from oneapi.services import bootstrap, logs
from tests.api.site import ADMIN, Site
from tests.api.test_users_api import balanced
from tests.servers import sqlite_database

KEYS = {
    "id", "user_id", "created_at", "type", "content", "username", "token_name", "model_name", "quota", "prompt_tokens",
    "completion_tokens", "channel", "request_id", "elapsed_time", "is_stream", "system_prompt_reset",
}  # fmt: skip


def write(site: Site, **columns: Any) -> int:
    values = {"user_id": 1, "created_at": 1000, "type": 2, **columns}
    with site.log_engine.begin() as connection:
        return int(connection.execute(insert(Log).values(**values)).inserted_primary_key[0])


def test_a_row_has_exactly_the_keys_of_the_reference(any_site: Site) -> None:
    row_id = write(
        any_site, content="…", username="alice", token_name="ci", model_name="gpt-4o", quota=42, prompt_tokens=10,
        completion_tokens=4, channel_id=2, request_id="2025", elapsed_time=830, is_stream=True,
    )  # fmt: skip
    (shown,) = any_site.user(ADMIN).call("GET", "/api/log/")
    assert shown == {
        "id": row_id, "user_id": 1, "created_at": 1000, "type": 2, "content": "…", "username": "alice",
        "token_name": "ci", "model_name": "gpt-4o", "quota": 42, "prompt_tokens": 10, "completion_tokens": 4,
        "channel": 2, "request_id": "2025", "elapsed_time": 830, "is_stream": True, "system_prompt_reset": False,
    }  # fmt: skip
    assert shown.keys() == KEYS


def test_nulls_of_older_versions_are_zero_values(any_site: Site) -> None:
    names = (
        "content", "username", "quota", "channel_id", "request_id", "elapsed_time", "is_stream", "system_prompt_reset"
    )  # fmt: skip
    write(any_site, **dict.fromkeys(names))
    (shown,) = any_site.user(ADMIN).call("GET", "/api/log/")
    assert None not in shown.values()


@pytest.mark.parametrize(
    "query, expected",
    [
        ("", [5, 4, 3, 2, 1]),
        ("type=0", [5, 4, 3, 2, 1]),
        ("type=2", [4, 3, 2, 1]),
        ("start_timestamp=1002&end_timestamp=1004", [4, 3, 2]),
        ("start_timestamp=NaN&end_timestamp=1700000000.5", [5, 4, 3, 2, 1]),
        ("username=alice", [1]),
        ("username=alic", []),
        ("token_name=ci", [2]),
        ("model_name=gpt-4o", [3]),
        ("channel=7", [4]),
        ("request_id=r2", [2]),
        ("before_id=3", [2, 1]),
        ("p=1", []),
        ("size=2&p=1", [3, 2]),
    ],
)
def test_filters(site: Site, query: str, expected: list[int]) -> None:
    admin = site.user(ADMIN)
    write(site, created_at=1001, username="alice")
    write(site, created_at=1002, token_name="ci", request_id="r2")
    write(site, created_at=1003, model_name="gpt-4o")
    write(site, created_at=1004, channel_id=7)
    write(site, created_at=1005, type=5)
    listed = admin.ask("GET", f"/api/log/?{query}").get_json()
    assert [row["id"] for row in listed["data"]] == expected
    assert listed.get("total") == (5 if "size" in query else None)


def test_ones_own_rows_hide_their_numbers_and_nobody_elses_are_seen(site: Site) -> None:
    user = site.user()
    write(site, user_id=user.id, model_name="mine", channel_id=3)
    write(site, user_id=user.id + 1, username="other", model_name="theirs")
    for query in ("", "?username=other", "?channel=9", "?type=2"):
        (row,) = user.call("GET", f"/api/log/self{query}")
        assert (row["id"], row["model_name"]) == (0, "mine")


def test_sums_are_of_consumption_whatever_type_is_asked_for(any_site: Site) -> None:
    admin, user = any_site.user(ADMIN), any_site.user()
    write(any_site, user_id=user.id, username="old name", quota=5, token_name="ci")
    write(any_site, user_id=user.id, username="new name", quota=7)
    write(any_site, user_id=user.id, quota=100, type=1)
    write(any_site, user_id=admin.id, quota=1)
    assert admin.call("GET", "/api/log/stat") == {"quota": 13}
    assert admin.call("GET", "/api/log/stat?type=1&username=old%20name") == {"quota": 5}
    # By the user's id: what he was called at the time does not matter.
    assert user.call("GET", "/api/log/self/stat?type=1") == {"quota": 12}
    assert user.call("GET", "/api/log/self/stat?token_name=ci") == {"quota": 5}
    assert user.call("GET", "/api/log/self/stat?token_name=none") == {"quota": 0}
    assert user.call("GET", "/api/log/self/stat?channel=9") == {"quota": 0}


def test_search_looks_at_type_texts_and_request_id(any_site: Site) -> None:
    admin, user = any_site.user(ADMIN), any_site.user()
    ids = [
        write(any_site, type=1, content="order 7"),
        write(any_site, model_name="gpt-4o", user_id=user.id),
        write(any_site, request_id="2026abc", user_id=user.id),
    ]

    def found(keyword: str) -> list[int]:
        return [row["id"] for row in admin.call("GET", f"/api/log/search?keyword={keyword}")]

    assert (found("1"), found("ord"), found("gpt-"), found("2026")) == ([ids[0]], [ids[0]], [ids[1]], [ids[2]])
    assert found("rder") == [] and found("%25") == []
    assert [row["model_name"] for row in user.call("GET", "/api/log/self/search?keyword=gpt")] == ["gpt-4o"]
    assert user.call("GET", "/api/log/self/search?keyword=order") == []


def test_search_gives_the_hundred_newest(site: Site) -> None:
    with site.log_engine.begin() as connection:
        rows = [{"user_id": 1, "created_at": number, "type": 2, "content": "same"} for number in range(120)]
        connection.execute(insert(Log), rows)
    found = site.user(ADMIN).call("GET", "/api/log/search?keyword=same")
    assert [row["created_at"] for row in found] == list(range(119, 19, -1))


# ---- pruning ----


def test_cleaning_takes_consumption_tests_and_failures_and_leaves_the_rest(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    kept = [write(any_site, type=kind) for kind in (1, 3, 4)]
    for kind in (2, 5, 6):
        write(any_site, type=kind)
    new = write(any_site, created_at=2000)
    assert admin.call("DELETE", "/api/log/?target_timestamp=2000") == 3
    left = {row.id for row in any_site.rows(Log, Log.user_id == 1)}
    assert left == {*kept, new}
    (trail,) = any_site.rows(Log, Log.user_id == admin.id)
    assert "deleted 3 log rows" in trail.content


def test_cleaning_wants_a_time_and_known_types(site: Site) -> None:
    admin = site.user(ADMIN)
    for query in ("", "?target_timestamp=", "?target_timestamp=soon", "?target_timestamp=0"):
        assert admin.refused("DELETE", f"/api/log/{query}") == "a target_timestamp is required"
    for types in ("7", "1,x", "0"):
        admin.refused("DELETE", f"/api/log/?target_timestamp=9&types={types}")


def test_balances_can_be_proved_after_rows_of_every_type_are_gone(any_site: Site) -> None:
    admin, user = any_site.user(ADMIN), any_site.user(quota=1000)
    admin.call("POST", "/api/topup", {"user_id": user.id, "quota": 50})
    admin.call("PUT", "/api/user/", {"id": user.id, "quota": 900})
    write(any_site, user_id=user.id, type=2, quota=30)
    write(any_site, user_id=user.id, type=4, quota=7)
    any_site.change(User, user.id, quota=900 - 30 + 7)
    assert balanced(any_site, user.id)
    assert admin.call("DELETE", "/api/log/?target_timestamp=9000000000&types=1,2,3,4,5,6") >= 4
    assert any_site.rows(Log, Log.user_id == user.id) == []
    opening = any_site.rows(Opening, Opening.user_id == user.id)[0]
    assert (opening.credited, opening.charged) == (50 - 150 + 7, 30)
    assert balanced(any_site, user.id)


def test_many_rows_go_in_batches(site: Site) -> None:
    with site.log_engine.begin() as connection:
        connection.execute(insert(Log), [{"user_id": 1, "created_at": 5, "type": 2, "quota": 1}] * 5001)
    assert site.user(ADMIN).call("DELETE", "/api/log/?target_timestamp=6") == 5001
    assert site.rows(Opening, Opening.user_id == 1)[0].charged == 5001


# ---- a log database of its own ----


@pytest.fixture(params=["mariadb", "postgres"])
def split_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Main database on SQLite, logs on a server."""
    main = sqlite_database(tmp_path)
    dsn = request.getfixturevalue(request.param).fresh().dsn
    config = main.config(log_sql_dsn=dsn, critical_rate_limit=0)
    bootstrap.prepare(config)
    site = Site(config)
    yield site
    site.close()


def test_rows_of_the_main_database_wait_in_the_outbox(split_site: Site) -> None:
    admin, user = split_site.user(ADMIN), split_site.user()
    admin.call("POST", "/api/topup", {"user_id": user.id, "quota": 5, "remark": "order"})
    with split_site.engine.connect() as connection:
        waiting = [json.loads(row.row) for row in connection.execute(select(OutboxEntry))]
        ids = [row.request_id for row in connection.execute(select(OutboxEntry))]
        assert connection.execute(select(Log)).all() == []
    assert (waiting[0]["type"], waiting[0]["content"]) == (1, "order")
    assert len(set(ids)) == len(ids) == 2


def test_lists_sums_and_cleaning_work_on_the_log_database(split_site: Site) -> None:
    admin, user = split_site.user(ADMIN), split_site.user()
    write(split_site, user_id=user.id, quota=4, model_name="m")
    assert [row["quota"] for row in admin.call("GET", "/api/log/")] == [4]
    assert user.call("GET", "/api/log/self/stat") == {"quota": 4}
    assert user.call("GET", "/api/user/dashboard") == []
    assert admin.call("DELETE", "/api/log/?target_timestamp=2000") == 1
    assert split_site.rows(Opening, Opening.user_id == user.id)[0].charged == 4
    assert split_site.rows(Log) == []


def test_a_row_is_cleaned_of_what_a_database_refuses(any_site: Site) -> None:
    with any_site.engine.begin() as connection:
        logs.record(connection, LogEntry(user_id=1, created_at=1, type=3, content="a\0b\ud800", username="n" * 300))
    (row,) = any_site.rows(Log)
    assert (row.content, len(row.username)) == ("ab?", 191)
