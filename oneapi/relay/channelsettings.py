"""What column `channels.settings` may hold: ours beside One API's columns, as a JSON object.

    {"proxy": "socks5://…", "test_model": "gpt-4o-mini",
     "overrides": {"temperature": 1, "user": null}, "header_overrides": {"x-team": "a"},
     "keys": ["sk-second", {"key": "sk-third", "weight": 3}, {"key": "sk-fourth", "disabled": true}]}

`overrides` are merged into the JSON that goes upstream (edits.merge), `header_overrides` into its headers; neither may
hold secrets, which have a column of their own. `keys` are used in turn with the channel's own key; that one may stand
among them, too, where its weight is not 1 or it is disabled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

_SECRET_NAME = re.compile(
    r"authorization|cookie|secret|password|credential|(api|access|private)[-_]?key|"
    r"(access|auth|bearer|refresh|session)[-_]?token|^token$|^key$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"\b(sk|pk|rk|gsk|xai)-[0-9A-Za-z_-]{16,}|\bAIza[0-9A-Za-z_-]{30,}|^(bearer|basic) ", re.IGNORECASE
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OURS = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "host", "te", "transfer-encoding", "upgrade"}
)


_Key = Annotated[str, msgspec.Meta(min_length=1)]


class KeyOfPool(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of a channel's keys. Its part of the calls is its weight."""

    key: _Key
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1
    disabled: bool = False


class ChannelSettings(msgspec.Struct, frozen=True, kw_only=True):
    proxy: str = ""
    test_model: str = ""
    overrides: dict[str, Any] = {}
    header_overrides: dict[str, str] = {}
    keys: tuple[_Key | KeyOfPool, ...] = ()

    def all_keys(self, own_key: str) -> tuple[KeyOfPool, ...]:
        """All keys of the channel, each once, its own first."""
        more = [KeyOfPool(key.strip()) if isinstance(key, str) else key for key in self.keys]
        return tuple({one.key: one for one in (KeyOfPool(own_key), *more) if one.key}.values())

    def usable_keys(self, own_key: str) -> tuple[KeyOfPool, ...]:
        """Those that are not disabled; its own where all are."""
        every = self.all_keys(own_key)
        return tuple(one for one in every if not one.disabled) or every[:1]


def parse_settings(text: str | None) -> ChannelSettings:
    """Settings as they are stored. Raises ValueError, whose text holds no value of theirs."""
    if not text or not text.strip():
        return ChannelSettings()
    try:
        value = msgspec.json.decode(text)
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if item is not None}
        return msgspec.convert(value, ChannelSettings)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def check_settings(text: str) -> None:
    """Raises ValueError where a channel must not be given these settings."""
    settings = parse_settings(text)
    for name, header in settings.header_overrides.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(header):
            raise ValueError(f"header_overrides: HTTP does not allow the name or the value of {name[:40]!r}")
        if name.lower() in _OURS:
            raise ValueError(f"header_overrides: {name} is not yours to set")
        _refuse_secret("header_overrides", name, header)
    for name in ("model", "stream"):
        if name in settings.overrides:
            raise ValueError(f"overrides: {name} decides price and form of the answer; use the model mapping")
    _look_for_secrets(settings.overrides)


def _look_for_secrets(value: Mapping[str, Any]) -> None:
    for name, item in value.items():
        _refuse_secret("overrides", name, item)
        if isinstance(item, dict):
            _look_for_secrets(item)


def _refuse_secret(where: str, name: str, value: object) -> None:
    if _SECRET_NAME.search(name) or (isinstance(value, str) and _SECRET_VALUE.search(value)):
        raise ValueError(f"{where}: {name[:40]} looks like a secret, which belongs into the channel's key")
