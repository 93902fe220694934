"""Several keys in one channel, as operators manage them: each is known by its mark, and none is shown in clear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from oneapi.relay.channelsettings import ChannelSettings, KeyOfPool
from oneapi.relay.directory import key_id
from oneapi.services.health import Change
from oneapi.services.refusal import invalid_input

_SHOWN = 4  # characters at the end of a key by which people know it again
_LONG_ENOUGH = 16  # for them not to give it away


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenKey:
    """`id` is its mark, which logs have as well; `rests_until` is 0 while it is used."""

    id: str
    ending: str
    weight: int
    is_disabled: bool
    rests_until: int = 0
    reason: str = ""


class KeyEdit(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of a stored key."""

    weight: int = 1
    disabled: bool = False
    removed: bool = False


KEY_EDITS = KeyEdit.__struct_fields__


def seen(own_key: str, settings: ChannelSettings, resting: Iterable[Change], now: int) -> list[SeenKey]:
    """A channel's keys, its own first, with what is known of them. `resting` are this channel's."""
    rests = {one.key_id: one for one in resting if one.key_id and one.until > now}
    found = []
    for key in settings.all_keys(own_key):
        rest = rests.get(key_id(key.key))
        found.append(
            SeenKey(
                id=key_id(key.key),
                ending=key.key[-_SHOWN:] if len(key.key) >= _LONG_ENOUGH else "",
                weight=key.weight,
                is_disabled=key.disabled,
                rests_until=int(rest.until) if rest else 0,
                reason=rest.reason if rest else "",
            )
        )
    return found


def edited(
    own_key: str,
    settings: ChannelSettings,
    *,
    replaced: str = "",
    edits: Mapping[str, KeyEdit],
    added: Sequence[str] = (),
) -> tuple[str, list[str | KeyOfPool]]:
    """The channel's own key and its further ones, for `settings.keys`, after a change. Raises Refusal.

    `replaced` takes the place of its own key. Where that one is removed, the next becomes its own.
    """
    before = settings.all_keys(own_key)
    keys: list[KeyOfPool] = []
    for at, key in enumerate(before):
        edit = edits.get(key_id(key.key), KeyEdit(weight=key.weight, disabled=key.disabled))
        if at == 0 and replaced:
            keys.append(KeyOfPool(replaced, edit.weight))
        elif not edit.removed:
            keys.append(KeyOfPool(key.key, edit.weight, edit.disabled))
    if replaced and not before:
        keys.append(KeyOfPool(replaced))
    keys += map(KeyOfPool, added)
    first_of_each = {key.key: key for key in reversed(keys)}
    ordered = [first_of_each[text] for text in dict.fromkeys(key.key for key in keys)]
    if not ordered and not before:
        return "", []  # a channel that never had one
    if not ordered:
        raise invalid_input("channel_key_required")
    if all(key.disabled for key in ordered) and not all(key.disabled for key in before):
        raise invalid_input("pool_has_no_key")
    own, *others = ordered
    further = others if own == KeyOfPool(own.key) else ordered
    return own.key, [key.key if key == KeyOfPool(key.key) else key for key in further]
