"""Channels: accounts at providers, saved together with the abilities that follow from them.

An ability row stands for each distinct model of the channel in each of its groups. Rows are compared and only what
differs is written, in the transaction of the channel itself, so that no reader ever finds a channel half reachable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, Engine, and_, delete, insert, or_, select, update

from oneapi.database import run_write
from oneapi.keyring import CHANNEL_COLUMNS, Unreadable, channel_place, is_sealed, keyring_of
from oneapi.models import Ability, Channel, ChannelHealth
from oneapi.relay import adaptors, exchange
from oneapi.relay.channelsettings import check_settings, parse_settings
from oneapi.relay.directory import channel_of
from oneapi.services import audit, revisions
from oneapi.services.audit import MASKED, SYSTEM, Actor, Change
from oneapi.services.forms import Int64, given
from oneapi.services.health import Change as HealthChange
from oneapi.services.numbers import id_of
from oneapi.services.paging import Listing, Page, listed
from oneapi.services.refusal import Refusal, invalid_input, invalid_parameter
from oneapi.services.roles import ROOT
from oneapi.services.rows import AnyRow, inserted_id

ENABLED, DISABLED, AUTO_DISABLED = 1, 2, 3
KEY_AT_REST = "key"  # what ChannelHealth.state says of a key; "open" of a breaker
TYPE_PROXY = 43  # a channel that passes requests on as they are and needs no models

# What One API's update skips when it is empty, and what it writes whenever it is present (spec management.md §1.9).
_KEPT_WHEN_EMPTY = ("type", "key", "status", "name", "models", "group", "config")
_WRITTEN_WHEN_PRESENT = (
    "weight", "base_url", "other", "model_mapping", "priority", "system_prompt", "tag", "settings",
)  # fmt: skip
_SECRET = frozenset({"key", "config", "settings"})  # the last two may hold keys and proxies' passwords

_GROUP_NAME_LIMIT = 32  # abilities.group
_MODEL_NAME_LIMIT = 191  # abilities.model, on MySQL
_CHARACTERS: Mapping[str, Mapping[str, int]] = {
    "mysql": {"name": 191, "base_url": 191, "group": 255, "tag": 191},
    "postgresql": {"group": 255, "tag": 191},
}
_BYTES: Mapping[str, Mapping[str, int]] = {
    "mysql": {"key": 65535, "model_mapping": 65535, "system_prompt": 65535, "settings": 65535},
}


class ChannelFields(msgspec.Struct, frozen=True, kw_only=True):
    """What an administrator says about a channel. Counters and times are the program's own and not among it.

    `settings` is ours: a JSON object with proxy, overrides, header_overrides, test_model and keys.
    """

    id: Int64 | UnsetType = UNSET
    type: Int64 | UnsetType = UNSET
    key: str | UnsetType = UNSET
    status: Int64 | UnsetType = UNSET
    name: str | UnsetType = UNSET
    weight: Int64 | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    other: str | UnsetType = UNSET
    models: str | UnsetType = UNSET
    group: str | UnsetType = UNSET
    model_mapping: str | UnsetType = UNSET
    priority: Int64 | UnsetType = UNSET
    config: str | UnsetType = UNSET
    system_prompt: str | UnsetType = UNSET
    tag: str | UnsetType = UNSET
    settings: str | UnsetType = UNSET


# ---- reading ----


def list_page(engine: Engine, page: Page) -> Listing:
    """Channels, newest first."""
    with engine.connect() as connection:
        found = listed(connection, select(Channel).order_by(Channel.id.desc()), page)
    return replace(found, rows=[opened(engine, row) for row in found.rows])


def search(engine: Engine, keyword: str) -> list[AnyRow]:
    """Channels with that id, or whose name begins with the keyword."""
    matches = Channel.name.startswith(keyword, autoescape=True)
    if (number := id_of(keyword)) is not None:
        matches = or_(matches, Channel.id == number)
    with engine.connect() as connection:
        return [opened(engine, row) for row in connection.execute(select(Channel).where(matches))]


def get(engine: Engine, channel_id: int) -> AnyRow:
    with engine.connect() as connection:
        return _stored(connection, channel_id)


def shown_config(row: AnyRow) -> str:
    """A channel's config as it may be shown: with secrets blank, which mean "unchanged" when they come back."""
    config = object_of(row.config)
    secrets = [name for name in _secret_fields() if config.get(name)]
    return json.dumps({**config, **dict.fromkeys(secrets, "")}, ensure_ascii=False) if secrets else row.config or ""


def opened(bind: Engine | Connection, row: AnyRow) -> AnyRow:
    """A row of the table with its credentials in clear. Those that cannot be read stay as they are stored."""
    if not any(is_sealed(getattr(row, column)) for column in CHANNEL_COLUMNS):
        return row
    keyring, values = keyring_of(bind), {column.key: getattr(row, column.key) for column in Channel.__table__.columns}
    for column in CHANNEL_COLUMNS:
        with suppress(Unreadable):
            values[column] = keyring.open(values[column] or "", channel_place(row.id, column))
    return cast(AnyRow, SimpleNamespace(**values))


def readable(bind: Engine | Connection, row: AnyRow) -> AnyRow:
    """The same, where all of them can be read. Raises Refusal where some cannot."""
    try:
        for column in CHANNEL_COLUMNS:
            keyring_of(bind).open(getattr(row, column) or "", channel_place(row.id, column))
    except Unreadable as error:
        raise unreadable(error) from None
    return opened(bind, row)


def relayed(engine: Engine, row: AnyRow | Channel) -> exchange.Channel:
    """A stored channel, or the draft of one, as the relay uses it. Raises Refusal where it cannot be used."""
    try:
        channel = channel_of(row, adaptors.load(), keyring_of(engine))
    except Unreadable as error:
        raise unreadable(error) from None
    if channel is None:
        raise invalid_input("channel_type_unknown", type=row.type or 0)
    return channel


def unreadable(error: Unreadable) -> Refusal:
    """Why a channel's credentials cannot be read, for those who can do something about it."""
    return Refusal("channel_key_missing", name=error.key_name) if error.key_name else Refusal("channel_key_damaged")


# ---- writing ----


def create_many(engine: Engine, actor: Actor, fields: ChannelFields, *, now: int) -> list[int]:
    """One channel for each line of the key, otherwise alike, all or none of them. Returns their ids in that order."""
    values = _tidied(fields)
    keys = [line.strip() for line in values.pop("key", "").splitlines() if line.strip()]
    if not keys:
        raise invalid_input("channel_key_required")
    values = {
        "type": 0, "name": "", "models": "", "config": "", "base_url": "", "model_mapping": "",
        "weight": 0, "priority": 0, **values,
    }  # fmt: skip
    values["status"] = values.get("status") or ENABLED
    values["group"] = values.get("group") or "default"
    _check(values, engine.dialect.name)
    if not values["models"] and values["type"] != TYPE_PROXY:
        raise invalid_input("channel_models_required")

    def work(connection: Connection) -> list[int]:
        ids = []
        for key in keys:
            channel_id = _insert(connection, {**values, "key": key}, now)
            audit.record(connection, actor, f"created channel {channel_id} ({values['name']})", now=now)
            ids.append(channel_id)
        revisions.bump(connection, "channels")
        return ids

    return run_write(engine, work)


def update_one(engine: Engine, actor: Actor, fields: ChannelFields, *, now: int) -> AnyRow:
    """Changes a channel as One API does: plain fields that are empty, and nullable ones that are absent, stay."""
    tidied = _tidied(fields)
    values = {name: tidied[name] for name in _KEPT_WHEN_EMPTY if tidied.get(name)}
    values.update({name: tidied[name] for name in _WRITTEN_WHEN_PRESENT if name in tidied})

    def work(connection: Connection) -> AnyRow:
        stored = _stored(connection, given(fields.id, 0), for_update=True)
        written = {**values, "config": _with_secrets(values["config"], stored)} if "config" in values else values
        changed = {name: value for name, value in written.items() if value != getattr(stored, name)}
        # What is stored already is not judged again: a whole object must go back as it came.
        _check(changed, engine.dialect.name)
        if not changed:
            return stored
        if "status" in changed:
            changed.update(status_reason=None, status_time=now)
        return _write(connection, actor, stored, changed, now)

    return run_write(engine, work)


def copy_one(engine: Engine, actor: Actor, channel_id: int, name: str, *, now: int) -> int:
    """A second channel like this one, key and all, switched off until somebody has looked at it. Returns its id."""

    def work(connection: Connection) -> int:
        stored = readable(connection, _stored(connection, channel_id))
        copied = (*_KEPT_WHEN_EMPTY, *_WRITTEN_WHEN_PRESENT)
        values = {column: getattr(stored, column) for column in copied} | {"name": name, "status": DISABLED}
        copy_id = _insert(connection, values, now)
        audit.record(connection, actor, f"copied channel {channel_id} to {copy_id} ({name})", now=now)
        revisions.bump(connection, "channels")
        return copy_id

    return run_write(engine, work)


class BatchFields(msgspec.Struct, frozen=True, kw_only=True):
    """What may be given to many channels at once: what they have alike. What is left out stays."""

    weight: Int64 | UnsetType = UNSET
    priority: Int64 | UnsetType = UNSET
    models: str | UnsetType = UNSET
    group: str | UnsetType = UNSET
    model_mapping: str | UnsetType = UNSET
    system_prompt: str | UnsetType = UNSET
    tag: str | UnsetType = UNSET


BatchAction = Literal["enable", "disable", "delete", "edit"]


def change_many(
    engine: Engine,
    actor: Actor,
    action: BatchAction,
    *,
    ids: Sequence[int] = (),
    tag: str = "",
    fields: BatchFields | None = None,
    now: int,
) -> int:
    """Does the same to channels by their ids, or to all that have the tag: to all of them or to none.

    Returns how many channels there were. Ids that do not exist are passed over.
    """
    if bool(ids) == bool(tag):
        raise invalid_parameter("ids_or_tag_required")
    which = Channel.id.in_(ids) if ids else Channel.tag == tag
    edited = _tidied(msgspec.convert(msgspec.to_builtins(fields or BatchFields()), ChannelFields))
    _check(edited, engine.dialect.name)
    # Empty, these make a channel unreachable, or mean something else than they say.
    edited = {name: value for name, value in edited.items() if value or name not in ("models", "group")}
    values = {"enable": {"status": ENABLED}, "disable": {"status": DISABLED}}.get(action, edited)

    def work(connection: Connection) -> int:
        if action == "delete":
            return _remove(connection, actor, which, now)
        rows = connection.execute(select(Channel).where(which).order_by(Channel.id).with_for_update()).all()
        for stored in rows:
            changed = {name: value for name, value in values.items() if value != getattr(stored, name)}
            if "status" in changed:
                changed |= {"status_reason": None, "status_time": now}
            if changed:
                _write(connection, actor, stored, changed, now)
        return len(rows)

    return run_write(engine, work)


def shown_settings(engine: Engine, channel_id: int) -> dict[str, Any]:
    """A channel's settings without secrets: how many keys it has beside its own, and a proxy without its password."""
    with engine.connect() as connection:
        settings = parse_settings(readable(connection, _stored(connection, channel_id)).settings)
    return {
        "proxy": masked_url(settings.proxy),
        "test_model": settings.test_model,
        "overrides": settings.overrides,
        "header_overrides": settings.header_overrides,
        "keys": len(settings.keys),
    }


def change_settings(engine: Engine, actor: Actor, channel_id: int, given: Mapping[str, Any], *, now: int) -> None:
    """Changes those of a channel's settings that are given; null or empty takes one away."""

    def work(connection: Connection) -> None:
        stored = readable(connection, _stored(connection, channel_id, for_update=True))
        before = json.loads(stored.settings) if stored.settings else {}
        if given.get("proxy") and given["proxy"] == masked_url(before.get("proxy") or ""):
            after = {**before, **given, "proxy": before["proxy"]}  # as it was shown
        else:
            after = {**before, **given}
        text = json.dumps({name: value for name, value in after.items() if value}, ensure_ascii=False)
        values = {"settings": text if text != "{}" else ""}
        _check(values, engine.dialect.name)
        _write(connection, actor, stored, values, now)

    run_write(engine, work)


def masked_url(url: str) -> str:
    """The address with its password hidden."""
    before, at, after = url.rpartition("@")
    scheme, slashes, user = before.partition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{slashes}{name}{colon}{MASKED if colon else ''}{at}{after}"


def reveal_key(engine: Engine, actor: Actor, channel_id: int, *, now: int) -> str:
    """A channel's key in clear, for root alone; that it was looked at is recorded."""
    if actor.role != ROOT:
        raise Refusal("role_too_low")

    def work(connection: Connection) -> str:
        stored = readable(connection, _stored(connection, channel_id))
        audit.record(connection, actor, f"looked at the key of channel {channel_id} ({stored.name})", now=now)
        return stored.key or ""

    return run_write(engine, work)


def remove(engine: Engine, actor: Actor, channel_id: int, *, now: int) -> None:
    """Deletes a channel and its abilities. One that does not exist is deleted already."""

    def work(connection: Connection) -> None:
        _remove(connection, actor, and_(Channel.id == channel_id), now)

    run_write(engine, work)


def remove_disabled(engine: Engine, actor: Actor, *, now: int) -> int:
    """Deletes all channels that are disabled, by hand or automatically, and returns how many they were."""

    def work(connection: Connection) -> int:
        return _remove(connection, actor, Channel.status.in_((DISABLED, AUTO_DISABLED)), now)

    return run_write(engine, work)


# ---- what the program itself does to channels ----


def auto_disable(engine: Engine, channel_id: int, reason: str, *, now: int) -> bool:
    """Switches an enabled channel off (status 3). False where it was not enabled: then nothing happens."""
    return _switch(engine, channel_id, ENABLED, AUTO_DISABLED, reason, now)


def auto_enable(engine: Engine, channel_id: int, *, now: int) -> bool:
    """Switches an automatically disabled channel on again; one that somebody disabled stays off (D-42)."""
    return _switch(engine, channel_id, AUTO_DISABLED, ENABLED, "", now)


def write_health(engine: Engine, change: HealthChange, *, now: int) -> None:
    """Stores that a breaker opened or closed, so that other workers and the panel see it."""
    # No model has a comma in its name: a key's row never takes the place of a model's.
    name = f",{change.key_id}" if change.key_id else change.model
    is_same = and_(ChannelHealth.channel_id == change.channel_id, ChannelHealth.model == name)

    def work(connection: Connection) -> None:
        connection.execute(delete(ChannelHealth).where(is_same))
        if change.until:
            connection.execute(
                insert(ChannelHealth).values(
                    channel_id=change.channel_id,
                    model=name,
                    state=KEY_AT_REST if change.key_id else "open",
                    reason=change.reason,
                    failures=change.failures,
                    changed_at=now,
                    until=int(change.until),
                )
            )
        revisions.bump(connection, "channels")

    run_write(engine, work)


def read_health(engine: Engine) -> list[HealthChange]:
    """All breakers that are open."""
    with engine.connect() as connection:
        return [health_of(row) for row in connection.execute(select(ChannelHealth))]


def health_of(row: AnyRow) -> HealthChange:
    """What a row of the table says."""
    is_key = row.state == KEY_AT_REST
    return HealthChange(
        row.channel_id,
        "" if is_key else row.model,
        reason=row.reason or "",
        failures=row.failures,
        until=row.until,
        key_id=row.model.removeprefix(",") if is_key else "",
    )


def record_test(engine: Engine, channel_id: int, *, response_time_ms: int, now: int) -> None:
    """Stores when a channel was tested and how long it took; 0 stands for a failure."""

    def work(connection: Connection) -> None:
        values = {"test_time": now, "response_time": response_time_ms}
        connection.execute(update(Channel).where(Channel.id == channel_id).values(values))

    run_write(engine, work)


def record_balance(engine: Engine, channel_id: int, balance: float, *, now: int) -> None:
    """Stores an account's balance, in the provider's currency."""

    def work(connection: Connection) -> None:
        values = {"balance": balance, "balance_updated_time": now}
        connection.execute(update(Channel).where(Channel.id == channel_id).values(values))

    run_write(engine, work)


def rebuild_abilities(engine: Engine) -> int:
    """Makes all ability rows agree with their channels, and returns how many channels are there.

    For databases in which something else left orphans or gaps (D-25, D-39).
    """

    def work(connection: Connection) -> int:
        channels = connection.execute(select(Channel)).all()
        connection.execute(delete(Ability).where(Ability.channel_id.not_in(select(Channel.id))))
        for channel in channels:
            _write_abilities(connection, channel)
        revisions.bump(connection, "channels")
        return len(channels)

    return run_write(engine, work)


def _switch(engine: Engine, channel_id: int, before: int, after: int, reason: str, now: int) -> bool:
    def work(connection: Connection) -> bool:
        stored = connection.execute(
            select(Channel).where(Channel.id == channel_id, Channel.status == before).with_for_update()
        ).first()
        if stored is None:
            return False
        values = {"status": after, "status_reason": reason or None, "status_time": now}
        _write(connection, SYSTEM, stored, values, now)
        return True

    return run_write(engine, work)


# ---- parts of a write ----


def _stored(connection: Connection, channel_id: int, *, for_update: bool = False) -> AnyRow:
    query = select(Channel).where(Channel.id == channel_id)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    if row is None:
        raise Refusal("channel_not_found")
    return opened(connection, row)


def _with_secrets(config: str, stored: AnyRow) -> str:
    """A config that came back from being shown, with the secrets that are blank in it as they are stored."""
    given, before = object_of(config), object_of(stored.config)
    kept = {name: before[name] for name in _secret_fields() if given.get(name) == "" and before.get(name)}
    if not kept:
        return config
    merged = {**given, **kept}
    return str(stored.config) if merged == before else json.dumps(merged, ensure_ascii=False)


@lru_cache(maxsize=1)
def _secret_fields() -> frozenset[str]:
    """Names that any type declares as secret: what a channel was before, it may still hold."""
    return frozenset(field.name for adaptor in adaptors.load().values() for field in adaptor.fields if field.is_secret)


def _insert(connection: Connection, values: Mapping[str, Any], now: int) -> int:
    """A new channel with its abilities. Its credentials are sealed for its id, which the database gives."""
    plain = {name: value for name, value in values.items() if name not in CHANNEL_COLUMNS}
    channel_id = inserted_id(connection.execute(insert(Channel).values(created_time=now, **plain)))
    connection.execute(update(Channel).where(Channel.id == channel_id).values(_sealed(connection, channel_id, values)))
    _write_abilities(connection, _stored(connection, channel_id))
    return channel_id


def _sealed(connection: Connection, channel_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """These columns of a channel as they are to be stored. Raises Refusal for what does not fit."""
    keyring, stored = keyring_of(connection), dict(values)
    for column in CHANNEL_COLUMNS:
        if is_sealed(text := stored.get(column)):
            raise invalid_input("value_is_sealed", field=column)
        if text:
            stored[column] = keyring.seal(text, channel_place(channel_id, column))
    check_widths(stored, connection.dialect.name)
    return stored


def _write(connection: Connection, actor: Actor, stored: AnyRow, values: Mapping[str, Any], now: int) -> AnyRow:
    sealed = _sealed(connection, stored.id, values)
    connection.execute(update(Channel).where(Channel.id == stored.id).values(sealed))
    if values.keys() & {"key", "settings"}:
        # Keys that rested may be others now, or good again: all are tried.
        resting = and_(ChannelHealth.channel_id == stored.id, ChannelHealth.state == KEY_AT_REST)
        connection.execute(delete(ChannelHealth).where(resting))
    written = _stored(connection, stored.id)
    _write_abilities(connection, written)
    changes = [
        Change(name, MASKED, MASKED) if name in _SECRET else Change(name, getattr(stored, name), value)
        for name, value in values.items()
        if name != "status_time"
    ]
    audit.record(connection, actor, f"updated channel {stored.id} ({written.name})", changes, now=now)
    revisions.bump(connection, "channels")
    return written


def _remove(connection: Connection, actor: Actor, which: Any, now: int) -> int:
    doomed = connection.execute(select(Channel.id, Channel.name).where(which)).all()
    for channel in doomed:
        connection.execute(delete(Ability).where(Ability.channel_id == channel.id))
        connection.execute(delete(ChannelHealth).where(ChannelHealth.channel_id == channel.id))
        connection.execute(delete(Channel).where(Channel.id == channel.id))
        audit.record(connection, actor, f"deleted channel {channel.id} ({channel.name})", now=now)
    if doomed:
        revisions.bump(connection, "channels")
    return len(doomed)


def _write_abilities(connection: Connection, channel: AnyRow) -> None:
    """Makes the channel's ability rows what they should be, touching only those that differ."""
    wanted = (channel.status == ENABLED, channel.priority or 0)
    pairs = {
        (group, model)
        for group in _names(channel.group or "") or ("default",)
        for model in _names(channel.models or "") or ("",)
    }
    rows = connection.execute(select(Ability).where(Ability.channel_id == channel.id)).all()
    found = {(row.group, row.model): (bool(row.enabled), row.priority or 0) for row in rows}
    for group, model in sorted(found.keys() - pairs):
        connection.execute(
            delete(Ability).where(Ability.group == group, Ability.model == model, Ability.channel_id == channel.id)
        )
    if any(found[pair] != wanted for pair in found.keys() & pairs):
        connection.execute(
            update(Ability).where(Ability.channel_id == channel.id).values(enabled=wanted[0], priority=wanted[1])
        )
    if missing := sorted(pairs - found.keys()):
        # To MySQL's collations names that differ in case alone are one, and one row is enough.
        connection.execute(
            insert(Ability).prefix_with("IGNORE", dialect="mysql").prefix_with("IGNORE", dialect="mariadb"),
            [
                {"group": group, "model": model, "channel_id": channel.id, "enabled": wanted[0], "priority": wanted[1]}
                for group, model in missing
            ],
        )


def _tidied(fields: ChannelFields) -> dict[str, Any]:
    """What was given, with blanks around names and repeated names taken away."""
    values = {
        name: value
        for name in (*_KEPT_WHEN_EMPTY, *_WRITTEN_WHEN_PRESENT)
        if (value := getattr(fields, name)) is not UNSET
    }
    for name in ("models", "group"):
        if name in values:
            values[name] = ",".join(_names(values[name]))
    for name in ("name", "base_url", "model_mapping", "config", "tag", "settings"):
        if name in values:
            values[name] = values[name].strip()
    return values


def _names(text: str) -> tuple[str, ...]:
    """Distinct names of a comma-separated list, in their order."""
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _check(values: Mapping[str, Any], dialect: str) -> None:
    """Raises Refusal for the first of these values that a channel cannot have."""
    if "type" in values and values["type"] not in adaptors.load():
        raise invalid_input("channel_type_unknown", type=values["type"])
    if "status" in values and values["status"] not in (ENABLED, DISABLED, AUTO_DISABLED):
        raise invalid_input("channel_status_unknown")
    if values.get("weight", 0) < 0:
        raise invalid_input("channel_weight_negative")
    mapping = values.get("model_mapping")
    if mapping and not _is_object(mapping, of_texts=True):
        raise invalid_input("model_mapping_invalid")
    for name in ("config", "settings"):
        if values.get(name) and not _is_object(values[name]):
            raise invalid_input("config_invalid", field=name)
    if values.get("settings"):
        try:
            check_settings(values["settings"])
        except ValueError as error:
            raise invalid_input("settings_invalid", detail=str(error)) from None
    for group in _names(values.get("group", "")):
        if len(group) > _GROUP_NAME_LIMIT:
            raise invalid_input("value_too_long", field=f"group {group}", limit=_GROUP_NAME_LIMIT)
    for model in _names(values.get("models", "")):
        if len(model) > _MODEL_NAME_LIMIT:
            raise invalid_input("value_too_long", field=f"model {model[:40]}…", limit=_MODEL_NAME_LIMIT)
    check_widths(values, dialect)


def check_widths(values: Mapping[str, Any], dialect: str) -> None:
    """Raises Refusal for the first of these values that is too long for its column."""
    dialect = "mysql" if dialect == "mariadb" else dialect
    for limits, length in ((_CHARACTERS, len), (_BYTES, lambda text: len(text.encode()))):
        for name, limit in limits.get(dialect, {}).items():
            if length(values.get(name) or "") > limit:
                raise invalid_input("value_too_long", field=name, limit=limit)


def object_of(text: str | None) -> dict[str, Any]:
    """A JSON object that is stored as text; {} where there is none."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_object(text: str, *, of_texts: bool = False) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and (not of_texts or all(isinstance(item, str) for item in value.values()))
