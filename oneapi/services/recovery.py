"""Recovery: a new password for who can read the mail of an account's address.

Whoever asks is answered the same, whether or not the address has an account (D-11). Source: spec management.md §6.5.
"""

from __future__ import annotations

import secrets
import string
from urllib.parse import urlencode

from sqlalchemy import Connection, Engine, select, update

from oneapi.database import run_write
from oneapi.i18n import letters
from oneapi.i18n.letters import Letter
from oneapi.i18n.messages import Language
from oneapi.models import User
from oneapi.options import Options
from oneapi.services import audit, codes, emails, mail, passwords, revisions
from oneapi.services.accounts import ENABLED
from oneapi.services.audit import MASKED, Actor, Change
from oneapi.services.codes import RESET_PASSWORD
from oneapi.services.emails import Sender
from oneapi.services.notify import Notifier, language_of
from oneapi.services.refusal import Refusal, invalid_input
from oneapi.services.registration import email_spellings
from oneapi.services.rows import AnySelect

_GENERATED_LENGTH = 12
_LETTERS = string.ascii_lowercase + string.digits


def request(sender: Sender, email: str) -> None:
    """Sends the link to the address, where an account has it, and waits for nothing."""
    if not mail.is_address(email):
        raise invalid_input("email_invalid")
    emails.take_turn(sender, RESET_PASSWORD.name, email)
    token = codes.new_token()
    codes.issue(sender.engine, sender.secret, RESET_PASSWORD, email, token, now=sender.now)
    with sender.engine.connect() as connection:
        account = connection.execute(_accounts(email)).first()
    if account is None:
        return
    letter = letters.password_reset(
        language_of(account.language),
        system_name=sender.options.system_name,
        link=f"{sender.options.server_address}/user/reset?{urlencode({'email': email, 'token': token})}",
        minutes=codes.LIFETIME_S // 60,
    )
    sender.notifier.mail(email, letter)


def reset(engine: Engine, secret: bytes, email: str, token: str, password: str, *, address: str, now: int) -> str:
    """Sets the password of every active account with that address, ends their sessions, and returns it.

    An empty password has one made. `address` is from where it was asked. Raises Refusal.
    """
    if password:
        passwords.check_rules(password)
    proof = codes.check(engine, secret, RESET_PASSWORD, email, token, now=now)
    password = password or "".join(secrets.choice(_LETTERS) for _ in range(_GENERATED_LENGTH))
    digest = passwords.hashed(password)

    def work(connection: Connection) -> None:
        rows = connection.execute(_accounts(email).with_for_update()).all()
        proof.spend(connection)
        if not rows:
            raise Refusal(RESET_PASSWORD.wrong)
        for row in rows:
            values = {"password": digest, "session_version": (row.session_version or 0) + 1}
            connection.execute(update(User).where(User.id == row.id).values(values))
            actor = Actor(user_id=row.id, username=row.username or "", role=row.role or 0, address=address)
            change = Change("password", MASKED, MASKED)
            audit.record(connection, actor, "reset the password by mail", [change], now=now)
        revisions.bump(connection, "accounts")

    run_write(engine, work)
    return password


def tell_changed(notifier: Notifier, options: Options, actor: Actor) -> None:
    """Writes to somebody that his password was changed, lest it was somebody else who did it (D-08)."""
    if not mail.is_configured(options):
        return

    def write(language: Language) -> Letter:
        return letters.password_changed(language, system_name=options.system_name, address=actor.address)

    notifier.mail_user(actor.user_id, write)


def _accounts(email: str) -> AnySelect:
    query = select(User.id, User.username, User.role, User.session_version, User.language)
    return query.where(User.email.in_(email_spellings(email)), User.status == ENABLED).order_by(User.id)
