"""Who is told what, by which way, and what becomes of what cannot be told."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from sqlalchemy import insert, update

from oneapi.config import Config
from oneapi.i18n import letters
from oneapi.i18n.letters import Letter
from oneapi.i18n.messages import Language
from oneapi.models import User
from oneapi.options import Options
from oneapi.services import notify
from oneapi.services.mail import MailFailed
from oneapi.services.notify import Notifier
from oneapi.services.web import Web
from tests.postoffice import PostOffice, json_server, post_office
from tests.services.books import Books


def letter(language: Language) -> Letter:
    return letters.channel_disabled(language, name="shop", channel_id=3, reason="401")


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as running:
        yield running


@pytest.fixture
def books(kept_database, tmp_path) -> Iterator[Books]:
    books = Books(kept_database, tmp_path)
    with books.engine.begin() as connection:
        roots = [
            {"id": 1, "username": "gone", "role": 100, "status": 2, "email": "gone@example.com", "aff_code": "1"},
            {"id": 2, "username": "root", "role": 100, "status": 1, "email": "root@example.com", "aff_code": "2"},
            {"id": 3, "username": "user", "role": 1, "status": 1, "email": "user@example.com", "aff_code": "3"},
        ]
        connection.execute(insert(User), roots)
    yield books
    books.close()


@contextmanager
def notifier(books: Books, office: PostOffice, *, limit: int = 100, **options: str) -> Iterator[Notifier]:
    read = Options.from_rows(office.options(**options))
    made = Notifier(books.engine, lambda: read, Web(Config()), retry_s=0.02, limit=limit)
    yield made
    made.stop()


def change(books: Books, user_id: int, **values: object) -> None:
    with books.engine.begin() as connection:
        connection.execute(update(User).where(User.id == user_id).values(**values))


def test_root_is_told_by_mail_at_his_present_address(books: Books, office: PostOffice) -> None:
    with notifier(books, office) as telling:
        telling.tell_root("news", letter).wait(5)
        change(books, 2, email="new@example.com", language="en")
        telling.tell_root("news", letter).wait(5)
    assert [(received.receivers, received.message["Subject"]) for received in office.received] == [
        (["root@example.com"], "渠道「shop」（#3）已被禁用"),
        (["new@example.com"], "Channel shop (#3) was disabled"),
    ]


def test_a_user_is_told_in_his_language_and_one_without_address_is_not(books: Books, office: PostOffice) -> None:
    change(books, 2, email="")
    change(books, 3, language="en-GB")
    with notifier(books, office) as telling:
        for user_id in (2, 3, 99):
            telling.mail_user(user_id, letter).wait(5)
    (received,) = office.received
    assert (received.receivers, received.message["Subject"]) == (["user@example.com"], "Channel shop (#3) was disabled")


def test_the_pusher_is_told_in_plain_text_instead_of_mail(books: Books, office: PostOffice) -> None:
    with json_server(lambda environ, body: (200, {"success": True, "message": ""})) as pusher:
        options = {"MessagePusherAddress": f"{pusher.url}/push/root", "MessagePusherToken": "secret"}
        with notifier(books, office, **options) as telling:
            telling.tell_root("news", letter).wait(5)
    ((method, path, body),) = pusher.asked
    assert (method, path) == ("POST", "/push/root")
    assert body.keys() == {"title", "description", "content", "url", "channel", "token"}
    assert body["title"] == "渠道「shop」（#3）已被禁用"
    assert (body["url"], body["channel"], body["token"]) == ("", "", "secret")
    assert body["content"] == body["description"] and "401" in body["content"] and "<" not in body["content"]
    assert not office.received


@pytest.mark.parametrize(
    "status, answer",
    [(200, {"success": False, "message": "wrong token"}), (500, "oops"), (302, "http://127.0.0.1:1/"), (200, [])],
)
def test_mail_is_sent_where_the_pusher_fails(
    books: Books, office: PostOffice, status: int, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        json_server(lambda environ, body: (status, answer)) as pusher,
        notifier(books, office, MessagePusherAddress=pusher.url) as telling,
    ):
        telling.tell_root("news", letter).wait(5)
    assert len(pusher.asked) == len(office.received) == 1
    assert "Message Pusher failed" in caplog.text


def test_where_nobody_can_be_told_the_log_says_so(
    books: Books, office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    change(books, 2, email="")
    with notifier(books, office) as telling:
        telling.tell_root("news", letter).wait(5)
    assert "Nobody was told" in caplog.text and "shop" in caplog.text


def test_a_letter_refused_for_now_is_tried_again(books: Books) -> None:
    with post_office(failures=2) as office, notifier(books, office) as telling:
        telling.mail("a@example.com", letter("en")).wait(5)
    assert len(office.received) == 1


def test_one_that_somebody_waits_for_is_tried_once_and_he_is_told(books: Books) -> None:
    with post_office(failures=1) as office, notifier(books, office) as telling:
        delivery = telling.mail("a@example.com", letter("en"), tries=1)
        with pytest.raises(MailFailed, match="451"):
            delivery.wait(5)
    assert not office.received


def test_what_fails_for_good_is_in_the_log(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    with post_office(failures=99) as office, notifier(books, office) as telling:
        delivery = telling.tell_root("that a channel was disabled", letter)
        with pytest.raises(MailFailed):
            delivery.wait(5)
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1 and "that a channel was disabled was not delivered" in errors[0]


def test_a_full_queue_refuses_loudly_and_at_once(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    with post_office(delay_s=0.2) as office, notifier(books, office, limit=3) as telling:
        posted = [telling.mail("a@example.com", letter("en")) for _ in range(20)]
        for one in posted[:3]:
            one.wait(5)
        with pytest.raises(MailFailed):
            posted[-1].wait(0)
    assert len(office.received) == 3
    assert caplog.text.count("others are waiting") == 17


def test_who_waits_is_not_kept_longer_than_he_said(books: Books) -> None:
    with post_office(delay_s=0.5) as office, notifier(books, office) as telling:
        with gevent.Timeout(0.4):
            telling.mail("a@example.com", letter("en")).wait(0.05)
        assert not office.received
        office.wait_for(1)


def test_what_a_stopping_worker_could_not_send_is_in_the_log(
    books: Books, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "_FAREWELL_S", 0.05)
    with post_office(delay_s=5) as office, notifier(books, office) as telling:
        for _ in range(6):
            telling.mail("a@example.com", letter("en"))
    assert caplog.text.count("this worker stopped") == 6
