"""Passwords: bcrypt, as One API keeps them, so that each program can verify what the other wrote."""

from __future__ import annotations

import bcrypt
import gevent

from oneapi.services.refusal import invalid_input

LEAST_CHARACTERS, MOST_CHARACTERS, MOST_BYTES = 8, 20, 72
_COST = 10  # One API's
# What a name that nobody has is checked against, so that the answer takes as long as for one that exists.
_NOBODYS = b"$2b$10$3XN/EM7fvY6LUcfm2xyK6uj/aGIp5Lw1WAKINFCIkjIGeq6AkqA5a"


def check_rules(password: str) -> None:
    """Raises Refusal where the password is too short or too long. bcrypt reads no more than 72 bytes."""
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS or len(password.encode()) > MOST_BYTES:
        raise invalid_input("password_length", least=LEAST_CHARACTERS, most=MOST_CHARACTERS)


def hashed(password: str) -> str:
    """The hash to store. Takes some 60 ms, in the thread pool."""
    pool = gevent.get_hub().threadpool
    result: bytes = pool.apply(bcrypt.hashpw, (password.encode(), bcrypt.gensalt(_COST)))
    return result.decode()


def matches(stored: str | None, password: str) -> bool:
    """Whether this is the password. An account without one (made by a third party's login) has none that matches."""
    given = password.encode()
    if len(given) > MOST_BYTES:
        return False
    try:
        is_equal = gevent.get_hub().threadpool.apply(bcrypt.checkpw, (given, stored.encode() if stored else _NOBODYS))
    except ValueError:  # what is stored is no bcrypt hash
        return False
    return bool(stored) and bool(is_equal)
