"""Log rows in a database of their own: each arrives once, whatever breaks on the way."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from sqlalchemy import event, func, insert, select

from oneapi.models import Log, OutboxEntry
from oneapi.services import log_rows, outbox
from oneapi.services.verify import verify
from tests.servers import FreshDatabase
from tests.services.books import Books, cost, eventually


@pytest.fixture
def books(kept_database: FreshDatabase, mariadb, tmp_path: Path) -> Iterator[Books]:  # type: ignore[no-untyped-def]
    books = Books(kept_database, tmp_path, logs=mariadb.fresh())
    yield books
    books.close()


def waiting(books: Books) -> int:
    return int(books.one(select(func.count()).select_from(OutboxEntry))[0])


def test_rows_are_written_with_their_money_and_moved_by_the_ledger(books: Books) -> None:
    books.add_user(quota=1000)
    unlimited = books.add_token()
    with books.ledger() as ledger:
        for number in range(5):
            request_id = f"r{number}"
            ledger.settle(ledger.reserve(unlimited, 10, request_id), cost(3, request_id, content="倍率 '\\"))
        eventually(lambda: books.charges() == (5, 15))
        eventually(lambda: waiting(books) == 0)
    assert books.user() == (985, 15, 5)


def test_credits_wait_in_the_outbox_until_they_are_moved(books: Books) -> None:
    books.add_user(quota=0)
    for _ in range(3):
        books.credit(1, 100)
    assert waiting(books) == 3
    assert verify(books.engine, books.log_engine, now=books.now).findings == ()
    assert outbox.move(books.engine, books.log_engine) == 3
    assert waiting(books) == 0
    assert verify(books.engine, books.log_engine, now=books.now).findings == ()
    with books.log_engine.connect() as connection:
        assert connection.scalar(select(func.sum(Log.quota))) == 300


def test_a_move_that_broke_after_the_rows_arrived_does_not_repeat_them(books: Books) -> None:
    books.add_user(quota=0)
    for quota in (1, 10, 100):
        books.credit(1, quota)
    entries = [outbox._entry(row.row) for row in books.all(select(OutboxEntry.row).order_by(OutboxEntry.id))]
    with books.log_engine.begin() as connection:
        values = [dict(zip(log_rows.COLUMNS, log_rows.values(entry), strict=True)) for entry in entries[:2]]
        connection.execute(insert(Log), values)
    # The balance is proved although two rows are in both databases.
    assert verify(books.engine, books.log_engine, now=books.now).findings == ()
    assert outbox.move(books.engine, books.log_engine) == 3
    with books.log_engine.connect() as connection:
        assert connection.scalars(select(Log.quota).order_by(Log.quota)).all() == [1, 10, 100]


def test_several_movers_at_once_move_each_row_once(books: Books) -> None:
    books.add_user(quota=0)
    for _ in range(450):
        books.credit(1, 1)
    movers = [gevent.spawn(outbox.move, books.engine, books.log_engine) for _ in range(4)]
    gevent.joinall(movers, raise_error=True)
    assert sum(mover.value for mover in movers) == 450
    with books.log_engine.connect() as connection:
        assert connection.execute(select(func.count(), func.sum(Log.quota))).one() == (450, 450)


def test_rows_stay_while_the_log_database_is_away(books: Books) -> None:
    books.add_user(quota=100)
    unlimited = books.add_token()

    def fail(*_: object) -> None:
        raise ConnectionError("away")

    event.listen(books.log_engine, "before_cursor_execute", fail)
    with books.ledger() as ledger:
        ledger.settle(ledger.reserve(unlimited, 10, "r1"), cost(3, "r1"))
        gevent.sleep(0.05)
    assert waiting(books) == 1
    event.remove(books.log_engine, "before_cursor_execute", fail)
    outbox.move(books.engine, books.log_engine)
    assert (books.charges(), waiting(books)) == ((1, 3), 0)
