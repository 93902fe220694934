"""/api/channel: accounts at providers. Their keys go in and never come out.

Source: spec management.md §4.6. Beyond it: settings, copies, batches, and what a provider says it offers.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from oneapi.api import objects
from oneapi.api.asked import Asked, path_id, program, total_of
from oneapi.api.routing import ADMIN, Answer, Route, envelope
from oneapi.models import Channel
from oneapi.relay.channelsettings import KeyOfPool
from oneapi.services import balances, channels, offers, testing
from oneapi.services.channels import BatchAction, BatchFields, ChannelFields
from oneapi.services.forms import Int64


def listing(asked: Asked) -> object:
    found = channels.list_page(asked.engine, asked.page())
    return Answer([objects.channel(row) for row in found.rows], beside=total_of(found))


def search(asked: Asked) -> object:
    return [objects.channel(row) for row in channels.search(asked.engine, asked.text("keyword"))]


def one(asked: Asked, id: str) -> object:
    return objects.channel(channels.get(asked.engine, path_id(id)))


def create(asked: Asked) -> None:
    channels.create_many(asked.engine, asked.actor, asked.body(ChannelFields), now=asked.now)


def update(asked: Asked) -> object:
    fields = asked.body(ChannelFields)
    return objects.channel(channels.update_one(asked.engine, asked.actor, fields, now=asked.now))


def remove(asked: Asked, id: str) -> None:
    channels.remove(asked.engine, asked.actor, path_id(id), now=asked.now)


def remove_disabled(asked: Asked) -> object:
    return channels.remove_disabled(asked.engine, asked.actor, now=asked.now)


def test(asked: Asked, id: str) -> object:
    """One small request to the channel's provider; the answer is no envelope's `data`, but fields beside it."""
    wanted = asked.text("model")
    channel = channels.relayed(asked.engine, channels.get(asked.engine, path_id(id)))
    running = program()
    tested = testing.test(channel, running.ports, running.config.test_prompt, wanted=wanted)
    elapsed_ms = round(tested.elapsed_s * 1000) if tested.is_ok else 0
    testing.record(asked.engine, channel, tested, response_time_ms=elapsed_ms, now=asked.now)
    beside: dict[str, object] = {"time": elapsed_ms / 1000, "modelName": wanted}
    return envelope(tested.is_ok, tested.message, beside=beside)


def refresh_balance(asked: Asked, id: str) -> object:
    """Asks the provider what is left; `balance` stands beside the envelope's fields."""
    channel = channels.relayed(asked.engine, channels.get(asked.engine, path_id(id)))
    balance = balances.refresh(asked.engine, program().upstream, channel, now=asked.now)
    return Answer(beside={"balance": balance})


class _Name(msgspec.Struct, frozen=True):
    name: str = ""


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    proxy: str | UnsetType = UNSET
    test_model: str | UnsetType = UNSET
    overrides: dict[str, Any] | UnsetType = UNSET
    header_overrides: dict[str, str] | UnsetType = UNSET
    keys: list[str | KeyOfPool] | UnsetType = UNSET


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    action: BatchAction
    ids: Annotated[list[Int64], msgspec.Meta(max_length=1000)] = []
    tag: str = ""
    fields: BatchFields | None = None


class _Provider(msgspec.Struct, frozen=True, kw_only=True):
    type: Int64 = 1
    base_url: str = ""
    key: str = ""
    config: str = ""


def settings(asked: Asked, id: str) -> object:
    return channels.shown_settings(asked.engine, path_id(id))


def update_settings(asked: Asked, id: str) -> object:
    given: dict[str, Any] = msgspec.to_builtins(asked.body(_Settings))
    channels.change_settings(asked.engine, asked.actor, path_id(id), given, now=asked.now)
    return settings(asked, id)


def copy(asked: Asked, id: str) -> object:
    stored = channels.get(asked.engine, path_id(id))
    name = asked.body(_Name).name or f"{stored.name} (copy)"
    copy_id = channels.copy_one(asked.engine, asked.actor, stored.id, name, now=asked.now)
    return objects.channel(channels.get(asked.engine, copy_id))


def batch(asked: Asked) -> object:
    form = asked.body(_Batch)
    return channels.change_many(
        asked.engine, asked.actor, form.action, ids=form.ids, tag=form.tag, fields=form.fields, now=asked.now
    )


def offered(asked: Asked, id: str) -> object:
    """What the channel's provider says it has."""
    return _offered(asked, channels.get(asked.engine, path_id(id)))


def offered_to_key(asked: Asked) -> object:
    """The same before the channel is made."""
    form = asked.body(_Provider)
    row = Channel(
        id=0, name="", type=form.type, base_url=form.base_url.strip(), key=form.key.strip(), config=form.config
    )
    return _offered(asked, row)


def _offered(asked: Asked, row: Any) -> list[str]:
    return offers.models(program().upstream, channels.relayed(asked.engine, row), now=asked.now)


ROUTES = (
    Route("GET", "/api/channel/", ADMIN, listing),
    Route("GET", "/api/channel/search", ADMIN, search),
    Route("POST", "/api/channel/batch", ADMIN, batch),
    Route("GET", "/api/channel/fetch_models/<id>", ADMIN, offered),
    Route("POST", "/api/channel/fetch_models", ADMIN, offered_to_key),
    Route("POST", "/api/channel/<id>/copy", ADMIN, copy),
    Route("GET", "/api/channel/<id>/settings", ADMIN, settings),
    Route("PUT", "/api/channel/<id>/settings", ADMIN, update_settings),
    Route("GET", "/api/channel/test/<id>", ADMIN, test),
    Route("GET", "/api/channel/update_balance/<id>", ADMIN, refresh_balance),
    Route("GET", "/api/channel/<id>", ADMIN, one),
    Route("POST", "/api/channel/", ADMIN, create),
    Route("PUT", "/api/channel/", ADMIN, update),
    Route("DELETE", "/api/channel/disabled", ADMIN, remove_disabled),
    Route("DELETE", "/api/channel/<id>", ADMIN, remove),
)
