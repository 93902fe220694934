"""Secrets at rest: texts of the database, sealed with keys that the database does not hold.

A sealed text is `enc:v1:<key's name>:<nonce, ciphertext and tag in base64url>`: AES-256-GCM, with the place of the text
(table, column, row) as associated data, so that it does not open in another place. Keys are made of KEY_ENCRYPTION_KEY
by scrypt, once in a process. Without one, texts are kept plain, as One API reads them; plain texts are always read.
"""

from __future__ import annotations

import hashlib
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "enc:v1:"
CHANNEL_COLUMNS = ("key", "config", "settings")  # of a channel: its credentials, and what may hold some

_NONCE_BYTES = 12
# The salt is the same everywhere, because all nodes must make the same key of the same phrase.
_SALT = b"oneapi: secrets at rest, v1"


class Unreadable(Exception):
    """A sealed text that none of our keys opens. `key_name` is the missing key's; "" where the text itself is wrong."""

    def __init__(self, key_name: str = "") -> None:
        super().__init__(
            f"it is encrypted with key {key_name}, which KEY_ENCRYPTION_KEY does not have"
            if key_name
            else "its encrypted text is damaged, or was written for another place"
        )
        self.key_name = key_name


class Keyring:
    """Made of phrases, of which the first seals and all open; of none, it keeps texts plain."""

    def __init__(self, phrases: Iterable[str] = ()) -> None:
        self._ciphers = {_name(key): _cipher(key) for key in map(_derived, phrases)}
        self._first = next(iter(self._ciphers), "")

    @property
    def can_seal(self) -> bool:
        return bool(self._first)

    def seal(self, text: str, place: str) -> str:
        """The text as it is to be stored there; itself, where it is empty or nothing is sealed."""
        if not text or not self._first:
            return text
        nonce = os.urandom(_NONCE_BYTES)
        box = nonce + self._ciphers[self._first].encrypt(nonce, text.encode(), place.encode())
        return f"{PREFIX}{self._first}:{urlsafe_b64encode(box).decode()}"

    def open(self, text: str, place: str) -> str:
        """The text that is stored there. Raises Unreadable."""
        if not is_sealed(text):
            return text
        name, _, box = text.removeprefix(PREFIX).partition(":")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise Unreadable(name)
        from cryptography.exceptions import InvalidTag

        try:
            sealed = urlsafe_b64decode(box)
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode()).decode()
        except (ValueError, InvalidTag) as error:
            raise Unreadable from error

    def is_current(self, text: str) -> bool:
        """Whether the text was sealed with the key that seals now."""
        return text.startswith(f"{PREFIX}{self._first}:")


def _cipher(key: bytes) -> AESGCM:
    # Loaded where there is a key: most installations have none.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def is_sealed(text: str | None) -> bool:
    return text is not None and text.startswith(PREFIX)


def channel_place(channel_id: int, column: str) -> str:
    """Where a column of a channel is."""
    return f"channels.{column}:{channel_id}"


def option_place(key: str) -> str:
    """Where an option's value is."""
    return f"options.value:{key}"


def keyring_of(bind: Engine | Connection) -> Keyring:
    """The keys of that database (database.open_databases)."""
    return bind.get_execution_options().get("keyring", _NO_KEYS)  # type: ignore[no-any-return]


@lru_cache(maxsize=16)
def _derived(phrase: str) -> bytes:
    return hashlib.scrypt(phrase.encode(), salt=_SALT, n=2**15, r=8, p=1, maxmem=64 * 1024 * 1024, dklen=32)


def _name(key: bytes) -> str:
    """What stands for a key where the key itself must not be seen."""
    return hashlib.sha256(b"name:" + key).hexdigest()[:8]


_NO_KEYS = Keyring()
