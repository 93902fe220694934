"""One-time codes: what is sent to somebody so that he can prove that he received it.

Kept in the database, so that any worker knows them (D-22), and hashed with the site's own secret, so that who reads the
table cannot use them. A code is good for ten minutes, five guesses and one use; the use happens in the transaction of
what the code permits, so that a failure there does not cost it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, insert, select, update

from oneapi.database import run_write
from oneapi.models import OneTimeCode
from oneapi.services.refusal import Refusal

LIFETIME_S = 600
MOST_GUESSES = 5
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that could be taken for something else
_LENGTH = 6


@dataclass(frozen=True, slots=True)
class Purpose:
    """What codes are for. `wrong` is the message to who gives a wrong one."""

    name: str
    wrong: str = "code_wrong"


VERIFY_EMAIL = Purpose("verify-email")
RESET_PASSWORD = Purpose("reset-password", wrong="reset_link_wrong")


@dataclass(frozen=True, slots=True)
class Proof:
    """A code that was right, and is not used yet."""

    id: int
    wrong: str

    def spend(self, connection: Connection) -> None:
        """Uses it up in the caller's transaction. Raises Refusal where somebody else has."""
        if connection.execute(delete(OneTimeCode).where(OneTimeCode.id == self.id)).rowcount != 1:
            raise Refusal(self.wrong)


def new_code() -> str:
    """Six characters, for people to type."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def new_token() -> str:
    """32 hexadecimal digits, for links."""
    return secrets.token_hex(16)


def issue(engine: Engine, secret: bytes, purpose: Purpose, subject: str, code: str, *, now: int) -> None:
    """Makes `code` the one that counts for the subject; one that was sent before no longer does."""
    subject = subject.casefold()

    def work(connection: Connection) -> None:
        connection.execute(
            delete(OneTimeCode).where(OneTimeCode.purpose == purpose.name, OneTimeCode.subject == subject)
        )
        values = {"purpose": purpose.name, "subject": subject, "code": _hashed(secret, purpose, subject, code)}
        connection.execute(insert(OneTimeCode).values(**values, expires_at=now + LIFETIME_S))

    run_write(engine, work)


def check(engine: Engine, secret: bytes, purpose: Purpose, subject: str, code: str, *, now: int) -> Proof:
    """The proof that this is the code. Raises Refusal; wrong guesses are counted, whatever else fails."""
    subject = subject.casefold()
    given = _hashed(secret, purpose, subject, code)

    def work(connection: Connection) -> int | None:
        row = connection.execute(
            select(OneTimeCode.id, OneTimeCode.code)
            .where(
                OneTimeCode.purpose == purpose.name,
                OneTimeCode.subject == subject,
                OneTimeCode.expires_at > now,
                OneTimeCode.attempts < MOST_GUESSES,
            )
            .order_by(OneTimeCode.id.desc())
            .limit(1)
            .with_for_update()
        ).first()
        if row is None:
            return None
        if hmac.compare_digest(row.code, given):
            return int(row.id)
        connection.execute(
            update(OneTimeCode).where(OneTimeCode.id == row.id).values(attempts=OneTimeCode.attempts + 1)
        )
        return None

    found = run_write(engine, work)
    if found is None:
        raise Refusal(purpose.wrong)
    return Proof(found, purpose.wrong)


def _hashed(secret: bytes, purpose: Purpose, subject: str, code: str) -> str:
    text = "\0".join((purpose.name, subject, code.strip().casefold()))
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
