"""Who somebody is at a third party, as far as accounts are concerned, and how an identity provider is described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from oneapi.options import Options

_KEY_LIMIT = 191  # of the columns, on MySQL


class ProviderFailed(Exception):
    """A provider did not vouch for anybody. `is_away`: it could not be asked; otherwise it said no, or nonsense."""

    def __init__(self, reason: str, *, is_away: bool = False) -> None:
        super().__init__(reason)
        self.is_away = is_away


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """`key` is what the provider's column holds, never empty. `email` is one that the provider has verified.

    `number` is GitHub's: a login name may pass to a stranger, the number does not (D-15).
    """

    key: str
    name: str = ""
    email: str = ""
    username: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A sign-in that was begun here, until the provider sends whoever it is back."""

    state: str
    aff_code: str = ""
    nonce: str = ""
    verifier: str = ""  # PKCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """`column` of table users binds an account to it. `identify` raises ProviderFailed.

    `authorize` gives the address at which people sign in; None where they do not go anywhere for it.
    """

    name: str
    label: str
    column: str
    display_name: str  # of accounts made by it whose owner gives no name
    is_enabled: Callable[[Options], bool]
    identify: Callable[[Options, str, Pending], Identity]
    authorize: Callable[[Options, Pending], str] | None = None


def key_of(values: Mapping[str, Any], name: str) -> str:
    """What an account is known by. Raises ProviderFailed: an empty one would be everybody's who is not bound."""
    key = text_of(values, name)
    if not key or len(key) > _KEY_LIMIT:
        raise ProviderFailed(f"its answer has no {name}")
    return key


def text_of(values: Mapping[str, Any], name: str) -> str:
    """A text of a provider's answer, as every database takes it; "" where it is none."""
    value = values.get(name)
    return value.encode("utf-8", "replace").decode().replace("\0", "").strip() if isinstance(value, str) else ""
