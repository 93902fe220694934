"""Verify finds whatever does not add up, and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from sqlalchemy import delete, insert, update

from oneapi.models import Hold, Log, Opening, Option, OutboxEntry, Token, User
from oneapi.relay import exchange as relay
from oneapi.relay.exchange import Settlement
from oneapi.services import orphans
from oneapi.services.quota import HOLD_S
from oneapi.services.spool import Entry, Spool
from oneapi.services.verify import Finding, Range, Verification, verify, verify_command
from tests.servers import FreshDatabase
from tests.services.books import Books, caller, cost


@pytest.fixture
def books(kept_database: FreshDatabase, tmp_path: Path) -> Iterator[Books]:
    books = Books(kept_database, tmp_path)
    books.add_user(1, quota=1000)
    books.add_user(2, quota=500)
    books.add_token(1, 1)
    books.add_token(2, 2, quota=300)
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(caller(), 50, "r1"), receipted(20, "r1"))
        ledger.settle(ledger.reserve(caller(2, 2, is_unlimited=False), 50, "r2"), receipted(80, "r2", user_id=2))
        ledger.reserve(caller(), 70, "open")
        hold = ledger.reserve(caller(2, 2, is_unlimited=False), 70, "late")
        orphans.release(books.engine, now=int(books.time) + HOLD_S + 1)
        ledger.settle(hold, receipted(30, "late", user_id=2))
        ledger.reserve(caller(), 40, "open again")
    books.credit(1, 250, kind=1)
    books.credit(1, -100, kind=3)
    books.credit(2, 5, kind=4)
    yield books
    books.close()


def receipted(quota: int, request_id: str, *, user_id: int = 1) -> Settlement:
    """A settlement whose receipt says the same."""
    return cost(quota, request_id, user_id=user_id, receipt=json.dumps({"implied": quota}))


def implied(receipt: object) -> int:
    if not isinstance(receipt, dict) or "implied" not in receipt:
        raise ValueError("no receipt of ours")
    return int(receipt["implied"])


def look(books: Books, **more: object) -> Verification:
    return verify(books.engine, books.log_engine, recompute=implied, now=books.now, **more)  # type: ignore[arg-type]


def change(books: Books, statement: object) -> None:
    engine = books.log_engine if "logs" in str(statement) else books.engine
    with engine.begin() as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def test_nothing_is_found_where_everything_adds_up(books: Books) -> None:
    verification = look(books)
    assert (verification.findings, verification.unseen) == ((), ())
    assert (verification.users, verification.receipts) == (2, 3)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (
            update(User).where(User.id == 1).values(quota=User.quota + 7),
            Finding("user 1", "balance and open holds are 1137, the logs explain 1130: 7 too much"),
        ),
        (
            update(User).where(User.id == 2).values(quota=User.quota - 7),
            Finding("user 2", "balance and open holds are 388, the logs explain 395: 7 too little"),
        ),
        (
            delete(Log).where(Log.request_id == "r1"),
            Finding("user 1", "balance and open holds are 1130, the logs explain 1150: 20 too little"),
        ),
        (
            delete(Hold).where(Hold.request_id == "open again"),
            Finding("user 1", "balance and open holds are 1090, the logs explain 1130: 40 too little"),
        ),
        (
            update(Opening).where(Opening.user_id == 2).values(charged=1),
            Finding("user 2", "balance and open holds are 395, the logs explain 394: 1 too much"),
        ),
        (
            insert(OutboxEntry).values(
                request_id="x",
                row='{"user_id":2,"created_at":1700000000,"type":1,"quota":9}',
                created_at=1_700_000_000,
            ),
            Finding("user 2", "balance and open holds are 395, the logs explain 404: 9 too little"),
        ),
        (
            update(Log).where(Log.request_id == "r1").values(receipt='{"implied": 21}'),
            Finding("log row *", "charges user 1 20 for r1, its receipt says 21"),
        ),
        (
            update(Log).where(Log.request_id == "r1").values(receipt='{"implied": '),
            Finding("log row *", "has a receipt that cannot be read: Input data was truncated"),
        ),
        (
            update(Log).where(Log.request_id == "r1").values(receipt="[]"),
            Finding("log row *", "has a receipt that cannot be read: no receipt of ours"),
        ),
        (
            update(Hold).where(Hold.request_id == "open again").values(token_quota=41),
            Finding("hold open again", "takes 40 from the user and 41 of it from the token"),
        ),
        (update(User).where(User.id == 1).values(used_quota=-1), Finding("user 1", "has used less than nothing")),
        (update(Token).where(Token.id == 2).values(used_quota=-1), Finding("token 2", "has used less than nothing")),
    ],
)
def test_each_kind_of_difference_is_found(books: Books, statement: object, finding: Finding) -> None:
    change(books, statement)
    (found,) = look(books).findings
    assert (found.subject.startswith(finding.subject.rstrip("*")), found.text) == (True, finding.text)


def test_what_was_left_lying_is_found(books: Books) -> None:
    books.time += HOLD_S + 601
    assert [str(finding) for finding in look(books).findings] == [
        "hold open again: keeps 40 from user 1 though it expired 601 s ago"
    ]
    orphans.release(books.engine, now=int(books.time))
    books.time += 86400 + 601
    change(
        books,
        insert(OutboxEntry).values(
            request_id="x", row='{"user_id":2,"created_at":1700000000,"type":5}', created_at=int(books.time) - 601
        ),
    )
    assert [str(finding) for finding in look(books).findings] == [
        "holds: 2 were released more than a day ago and are still there",
        "outbox: 1 log rows have waited for the log database for 600 s",
    ]


def test_settlements_that_wait_on_the_disk_are_found(books: Books, tmp_path: Path) -> None:
    waiting = Spool(tmp_path, "node")
    entry = Entry(relay.Hold("open", 1, 1, 70, 0), cost(1, "open"))
    waiting.append([entry, entry])
    waiting.reject(entry, ValueError("refused"))
    waiting.close()
    texts = [finding.text for finding in look(books, spool_dir=tmp_path).findings]
    assert texts == ["2 settlements wait for the database", "1 settlements were refused by the database"]


def test_it_says_what_it_cannot_see(books: Books) -> None:
    change(books, insert(Option).values(key="LogConsumeEnabled", value="false"))
    change(books, update(Log).where(Log.request_id == "r1").values(receipt=None))
    change(books, delete(Opening).where(Opening.user_id == 2))
    verification = look(books)
    change(books, delete(Option))
    assert verification.findings == ()
    assert [sentence.split(":")[0] for sentence in verification.unseen] == [
        "LogConsumeEnabled is off",
        "1 users have no opening balance yet (a master node makes it at its start)",
        "1 charges have no receipt",
    ]


def test_charges_are_proved_without_log_rows_too(books: Books) -> None:
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(caller(), 50, "unlogged"), Settlement(quota=33, channel_id=1))
    assert look(books).findings == ()


@pytest.mark.parametrize(
    ("within", "receipts"),
    [
        (Range(user_id=2), 2),
        (Range(start=1_700_000_001), 0),
        (Range(end=1_700_000_000), 0),
        (Range(start=1_700_000_000, end=1_700_000_001), 3),
    ],
)
def test_receipts_of_a_range_are_recomputed(books: Books, within: Range, receipts: int) -> None:
    assert look(books, within=within).receipts == receipts


def test_it_finds_nothing_while_the_ledger_is_at_work(books: Books) -> None:
    with books.ledger() as ledger:

        def call(number: int) -> None:
            for turn in range(8):
                request_id = f"{number}-{turn}"
                ledger.settle(ledger.reserve(caller(), 5, request_id), receipted(2, request_id))

        calls = [gevent.spawn(call, number) for number in range(8)]
        looks = 0
        while not all(call.dead for call in calls):
            assert look(books).findings == ()
            looks += 1
            gevent.sleep(0.001)
        gevent.joinall(calls, raise_error=True)
    assert looks > 0


def test_the_command_prints_what_it_finds_and_fails(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = books.database.config(data_dir=str(tmp_path))
    change(books, update(Log).where(Log.receipt.is_not(None)).values(receipt=None))
    change(books, update(Hold).values(expires_at=2**40))
    orphans.purge(books.engine, now=2**40)
    assert verify_command(config, []) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "2 balances and 0 receipts were checked, 0 findings."
    change(books, update(User).where(User.id == 1).values(quota=0))
    assert verify_command(config, ["--since", "2023-01-01", "--user", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("user 1: balance and open holds are 40")
    assert lines[-1] == "2 balances and 0 receipts were checked, 1 findings."
