"""E-mail addresses: which may be used, proving that one is one's own, and binding it to an account.

Whether an address has an account is told to nobody but its owner: where it has one, he is sent a letter that says so
instead of a code, and who asked sees no difference (D-11). Source: spec management.md §6.4.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, update

from oneapi.database import run_write
from oneapi.i18n import letters
from oneapi.i18n.messages import Language
from oneapi.models import User
from oneapi.options import Options
from oneapi.services import accounts, audit, codes, mail, revisions
from oneapi.services.audit import Actor, Change
from oneapi.services.codes import VERIFY_EMAIL
from oneapi.services.mail import MailFailed
from oneapi.services.notify import Notifier
from oneapi.services.refusal import Refusal, invalid_input
from oneapi.services.registration import EMAIL_LIMIT, is_email_taken
from oneapi.services.throttle import Throttle

_WAIT_S = 15.0  # for the mail server's word, while somebody waits for his code
# One letter a minute, and not many a day, whoever asks from wherever.
_SENT = Throttle("mail", most=1, window_s=60, message="mail_sent_recently")
_SENT_TODAY = Throttle("mail-day", most=20, window_s=86400, message="mail_sent_recently")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What it takes to write to somebody who asks for it."""

    engine: Engine
    options: Options
    notifier: Notifier
    secret: bytes
    now: int


def check(options: Options, email: str) -> None:
    """Raises Refusal where this is no address, or one that may not be used here."""
    if len(email) > EMAIL_LIMIT:
        raise invalid_input("email_too_long", limit=EMAIL_LIMIT)
    if not mail.is_address(email):
        raise invalid_input("email_invalid")
    if options.email_domain_restriction_enabled:
        domain = email.rpartition("@")[2].lower()
        if domain not in {allowed.lower() for allowed in options.email_domain_whitelist}:
            raise Refusal("email_domain_refused")


def send_code(sender: Sender, email: str, language: Language) -> None:
    """Sends a verification code to the address. Raises Refusal, also where the mail server does."""
    check(sender.options, email)
    take_turn(sender, VERIFY_EMAIL.name, email)
    with sender.engine.connect() as connection:
        in_use = is_email_taken(connection, email)
    code = codes.new_code()
    codes.issue(sender.engine, sender.secret, VERIFY_EMAIL, email, code, now=sender.now)
    name = sender.options.system_name
    if in_use:
        letter = letters.address_in_use(language, system_name=name, login_url=f"{sender.options.server_address}/login")
    else:
        letter = letters.verification(language, system_name=name, code=code, minutes=codes.LIFETIME_S // 60)
    try:
        sender.notifier.mail(email, letter, tries=1).wait(_WAIT_S)
    except MailFailed:
        _SENT.forget(sender.engine, (_turn(VERIFY_EMAIL.name, email),))
        raise Refusal("mail_failed") from None


def bind(engine: Engine, actor: Actor, secret: bytes, email: str, code: str, *, now: int) -> None:
    """Gives the actor's account the address, by the code that was sent to it."""
    proof = codes.check(engine, secret, VERIFY_EMAIL, email, code, now=now)

    def work(connection: Connection) -> None:
        stored = accounts.row_of(connection, actor.user_id, for_update=True)
        proof.spend(connection)
        if is_email_taken(connection, email, owner_id=stored.id):
            raise Refusal("email_taken")
        connection.execute(update(User).where(User.id == stored.id).values(email=email))
        change = Change("email", stored.email, email)
        audit.record(connection, actor, f"updated user {stored.id} ({stored.username})", [change], now=now)
        revisions.bump(connection, "accounts")

    run_write(engine, work)


def take_turn(sender: Sender, purpose: str, email: str) -> None:
    """Counts a letter that is to be sent. Raises Refusal where there is no mail server, or too soon after another."""
    if not mail.is_configured(sender.options):
        raise Refusal("mail_not_configured")
    turn = (_turn(purpose, email),)
    _SENT.take(sender.engine, turn, sender.now)
    _SENT_TODAY.take(sender.engine, turn, sender.now)


def _turn(purpose: str, email: str) -> str:
    return f"{purpose}:{email.casefold()}"
