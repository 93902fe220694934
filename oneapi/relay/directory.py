"""The channels of one moment, read from the database: who serves which model for which group.

A snapshot is immutable and swapped whole when its revision moves (services/snapshots.py).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, select

from oneapi.keyring import CHANNEL_COLUMNS, Keyring, Unreadable, channel_place, is_sealed
from oneapi.models.ability import Ability
from oneapi.models.channel import Channel as ChannelRow
from oneapi.relay.adaptor import Adaptor
from oneapi.relay.channelsettings import ChannelSettings, parse_settings
from oneapi.relay.exchange import Channel, PooledKey
from oneapi.relay.pricing import PriceList

log = logging.getLogger(__name__)

_ENABLED = 1


class ChannelDirectory:
    """Implements `exchange.Directory`. `served` holds (group, model, channel id, priority) of every enabled ability.

    `unreadable` has the channels that are left out because their credentials cannot be read, and why.
    """

    def __init__(
        self,
        channels: Mapping[int, Channel],
        served: Iterable[tuple[str, str, int, int]],
        prices: PriceList,
        unreadable: Mapping[int, Unreadable] = MappingProxyType({}),
    ) -> None:
        self.prices = prices
        self.unreadable = unreadable
        self._channels = channels
        self._served: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._tiers: dict[tuple[str, str], tuple[tuple[Channel, ...], ...]] = {}
        self._models: dict[str, dict[str, str]] = {}
        for group, model, channel_id, priority in served:
            if model and channel_id in channels:
                self._served.setdefault((group, model), []).append((-priority, channel_id))

    def tiers(self, group: str, model: str) -> tuple[tuple[Channel, ...], ...]:
        key = (group, model)
        found = self._tiers.get(key)
        if found is None:
            by_priority: dict[int, list[Channel]] = {}
            for negated, channel_id in sorted(self._served.get(key, ())):
                by_priority.setdefault(negated, []).append(self._channels[channel_id])
            found = tuple(tuple(tier) for tier in by_priority.values())
            if found:  # what clients make up must not fill the memory
                self._tiers[key] = found
        return found

    def channel(self, channel_id: int) -> Channel | None:
        return self._channels.get(channel_id)

    def channels(self) -> Iterable[Channel]:
        return self._channels.values()

    def models(self, group: str) -> Mapping[str, str]:
        found = self._models.get(group)
        if found is None:
            found = {}
            for (served_group, model), serving in self._served.items():
                if served_group == group:
                    adaptor = self._channels[min(serving)[1]].adaptor
                    found[model] = adaptor.owner or adaptor.name
            self._models[group] = found
        return found


def read(
    connection: Connection, adaptors: Mapping[int, Adaptor], prices: PriceList, keyring: Keyring
) -> ChannelDirectory:
    """The directory as the database has it now."""
    channels: dict[int, Channel] = {}
    unreadable: dict[int, Unreadable] = {}
    for row in connection.execute(select(ChannelRow.__table__).where(ChannelRow.status == _ENABLED)):
        try:
            channel = channel_of(row, adaptors, keyring)
        except Unreadable as error:
            unreadable[row.id] = error
            continue
        if channel is not None:
            channels[row.id] = channel
    for reason in sorted(set(map(str, unreadable.values()))):
        ids = [channel_id for channel_id, error in unreadable.items() if str(error) == reason]
        shown = ", ".join(map(str, ids[:20])) + (", …" if len(ids) > 20 else "")
        log.error("%d channels are left out, for their key cannot be read: %s (channels %s)", len(ids), reason, shown)
    abilities = connection.execute(
        select(Ability.group, Ability.model, Ability.channel_id, Ability.priority).where(Ability.enabled.is_(True))
    )
    served = [(row.group, row.model, row.channel_id, row.priority or 0) for row in abilities]
    return ChannelDirectory(channels, served, prices, unreadable)


def channel_of(row: Row[Any] | ChannelRow, adaptors: Mapping[int, Adaptor], keyring: Keyring) -> Channel | None:
    """A stored channel ready for the relay; None, with a log line, where nobody knows its type.

    Raises Unreadable where its credentials are sealed with a key that is missing.
    """
    adaptor = adaptors.get(row.type or 0)
    if adaptor is None:
        log.warning("channel %d (%s) has the unknown type %s and is left out", row.id, row.name, row.type)
        return None
    key, config, settings_text = (_in_clear(row, column, keyring) for column in CHANNEL_COLUMNS)
    fields = {name: str(value) for name, value in _object(config, row.id, "config").items() if value is not None}
    if adaptor.legacy_field and row.other and not fields.get(adaptor.legacy_field):
        fields[adaptor.legacy_field] = row.other
    for declared in adaptor.fields:
        if declared.default and not fields.get(declared.name):
            fields[declared.name] = declared.default
    settings = _settings(settings_text, row.id)
    keys = settings.usable_keys(key.strip())
    mapping = _object(row.model_mapping, row.id, "model_mapping")
    channel = Channel(
        id=row.id,
        type=adaptor.type,
        name=row.name or "",
        adaptor=adaptor,
        base_url=(row.base_url or adaptor.base_url).strip().rstrip("/"),
        key=keys[0].key if keys else "",
        fields=fields,
        priority=row.priority or 0,
        weight=row.weight or 0,
        model_mapping={name: target for name, target in mapping.items() if isinstance(target, str) and target},
        system_prompt=row.system_prompt or "",
        models=split(row.models),
        groups=split(row.group),
        proxy=settings.proxy or None,
        overrides=settings.overrides,
        header_overrides=settings.header_overrides,
        test_model=settings.test_model,
    )
    pool = tuple(
        PooledKey(key_id(one.key), one.weight, replace(channel, key=one.key, key_id=key_id(one.key)))
        for one in keys
    )
    return replace(channel, pool=pool) if len(pool) > 1 else channel


def key_id(key: str) -> str:
    """What stands for a key where the key itself must not be seen."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def split(text: str | None) -> tuple[str, ...]:
    """A comma-separated column as its items, trimmed, each once."""
    return tuple(dict.fromkeys(item for part in (text or "").split(",") if (item := part.strip())))


def _in_clear(row: Row[Any] | ChannelRow, column: str, keyring: Keyring) -> str:
    text: str = getattr(row, column) or ""
    return keyring.open(text, channel_place(row.id, column)) if is_sealed(text) else text


def _settings(text: str, channel_id: int) -> ChannelSettings:
    try:
        return parse_settings(text)
    except ValueError as error:
        log.warning("channel %d: its settings cannot be read and are ignored: %s", channel_id, error)
        return ChannelSettings()


def _object(text: str | None, channel_id: int, column: str) -> dict[str, Any]:
    if not text or not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        log.warning("channel %d: %s is not a JSON object and is ignored", channel_id, column)
        return {}
    return value
