"""Letters through a real mail server on loopback: how they are secured, and what arrives."""

import re
from pathlib import Path

import gevent
import pytest

from oneapi.i18n import letters
from oneapi.options import Options
from oneapi.services import mail
from oneapi.services.mail import MailFailed
from tests.postoffice import PostOffice, post_office
from tests.relay.wire import HOST, certificate_of

LETTER = letters.channel_disabled("zh", name="<b>商店</b>", channel_id=3, reason="401 & more")
ACCOUNT = {"SMTPAccount": "gate@example.org", "SMTPToken": "secret"}


def send(office: PostOffice, to: str = "root@example.com", *, skip_verify: bool = False, **options: str) -> None:
    read = Options.from_rows(office.options(SystemName="某个 API", **options))
    mail.send(read, mail.receivers(to), LETTER, skip_verify=skip_verify, timeout_s=1)


@pytest.fixture
def believing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine trusts the test servers' certificate."""
    path = tmp_path / "ca.pem"
    path.write_bytes(certificate_of(HOST)[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


def test_a_server_without_account_is_spoken_to_plainly() -> None:
    with post_office(offers_starttls=True) as office:
        send(office)
    (received,) = office.received
    assert (received.was_encrypted, received.login) == (False, None)
    assert (received.sender, received.receivers) == ("noreply@example.org", ["root@example.com"])


def test_the_message_has_the_form_of_the_reference() -> None:
    with post_office() as office:
        send(office, "a@example.com; b@example.com")
    (received,) = office.received
    message = received.message
    assert message["Subject"] == "渠道「<b>商店</b>」（#3）已被禁用"
    assert message["From"].addresses[0].display_name == "某个 API"
    assert message["From"].addresses[0].addr_spec == "noreply@example.org"
    assert [address.addr_spec for address in message["To"].addresses] == ["a@example.com", "b@example.com"]
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.org>", message["Message-ID"])
    assert received.receivers == ["a@example.com", "b@example.com"]
    assert "某个 API" in received.html and "请勿直接回复" in received.html


def test_the_subject_travels_as_base64_of_utf_8() -> None:
    raw = bytes(mail.composed(Options(smtp_from="a@example.org"), ["b@example.org"], LETTER))
    assert b"Subject: =?utf-8?b?" in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 78


def test_what_comes_from_outside_is_escaped() -> None:
    with post_office() as office:
        send(office)
    html = office.received[0].html
    assert "&lt;b&gt;商店&lt;/b&gt;" in html and "401 &amp; more" in html and "<b>商店" not in html
    assert "401 & more" in office.received[0].text


def test_a_name_with_line_breaks_makes_no_headers() -> None:
    letter = letters.channel_enabled("en", name="x\r\nBcc: thief@example.org", channel_id=1)
    options = Options(smtp_from="a@example.org", system_name="One\r\nBcc: thief@example.org")
    message = mail.composed(options, ["b@example.org"], letter)
    assert message["Bcc"] is None


@pytest.mark.usefixtures("believing")
def test_an_account_is_told_only_after_starttls() -> None:
    with post_office(offers_starttls=True) as office:
        send(office, **ACCOUNT)
    (received,) = office.received
    assert received.was_encrypted
    assert received.login == ("gate@example.org", "secret")
    assert received.sender == "gate@example.org"


@pytest.mark.usefixtures("believing")
def test_port_465_is_tls_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with post_office(is_tls=True) as office:
        monkeypatch.setattr(mail, "PORT_TLS", office.port)
        send(office, **ACCOUNT)
    assert office.received[0].was_encrypted and office.received[0].login


@pytest.mark.parametrize("is_tls", [True, False])
def test_a_certificate_nobody_vouches_for_is_refused(monkeypatch: pytest.MonkeyPatch, is_tls: bool) -> None:
    with post_office(is_tls=is_tls, offers_starttls=not is_tls) as office:
        monkeypatch.setattr(mail, "PORT_TLS", office.port if is_tls else 465)
        with pytest.raises(MailFailed, match="certificate"):
            send(office, **ACCOUNT)
        assert not office.received
        send(office, skip_verify=True, **ACCOUNT)
    assert office.received[0].was_encrypted


def test_a_password_is_not_sent_in_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with post_office() as office:
        send(office, **ACCOUNT)  # this machine
        monkeypatch.setattr(mail, "_LOOPBACK", ())
        with pytest.raises(MailFailed, match="no encryption"):
            send(office, **ACCOUNT)
    assert [received.login for received in office.received] == [("gate@example.org", "secret")]


def test_a_server_that_hangs_up_after_taking_the_letter_has_taken_it() -> None:
    with post_office(is_rude=True) as office:
        send(office)
    assert len(office.received) == 1


def test_what_the_server_refuses_is_said() -> None:
    with post_office(refuses=frozenset({"x@example.com"})) as office:
        with pytest.raises(MailFailed, match="nobody lives here"):
            send(office, "x@example.com")
        with pytest.raises(MailFailed, match=r"refused x@example\.com"):
            send(office, "x@example.com;y@example.com")
        with pytest.raises(MailFailed, match="535 wrong password"):
            send(office, **ACCOUNT | {"SMTPToken": "wrong"})
        with pytest.raises(MailFailed, match="timed out"):
            office.delay_s = 10
            send(office)


def test_waiting_for_a_mail_server_holds_up_nobody() -> None:
    with post_office(delay_s=0.3) as office:
        sending = [gevent.spawn(send, office) for _ in range(5)]
        with gevent.Timeout(1.2):
            gevent.joinall(sending, raise_error=True)
    assert len(office.received) == 5


def test_without_a_server_nothing_is_sent() -> None:
    with pytest.raises(MailFailed, match="No mail server"):
        mail.send(Options(), ["a@example.org"], LETTER, skip_verify=False)


@pytest.mark.parametrize("text", ["a@b", "a.b+c@example.org", "x@sub.example.co.uk", "a@127.0.0.1"])
def test_addresses(text: str) -> None:
    assert mail.is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "@b", "a@", "a b@c.de", "a@b@c.de", "a@b.de\n", "a@b.de\r\nBcc: x", "a,b@c.de", "<a@b.de>", "a;b@c.de",
        "é@b.de", "a@b..de", f"{'a' * 65}@b.de", f"a@{'b' * 260}",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    assert not mail.is_address(text)
