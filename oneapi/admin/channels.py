"""Channels as operators need them: the form asks what the adaptor declares, the list tells why and until when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
from flask import Response, abort, request
from flask_babel import gettext, lazy_gettext
from sqlalchemy import or_, select

from oneapi.admin.errors import refusal_text
from oneapi.admin.lists import Filter, ListView, equals, equals_number, has_item
from oneapi.admin.names import Names, joined
from oneapi.admin.view import ADMIN, ROOT, SECTION_OPERATE, actor, body, done, engine, expose, me, now, options, program
from oneapi.errors import GatewayError
from oneapi.i18n.panel import translated
from oneapi.models import Channel, ChannelHealth
from oneapi.relay import adaptors, directory
from oneapi.relay.adaptor import Adaptor
from oneapi.relay.channelsettings import ChannelSettings, parse_settings
from oneapi.relay.directory import key_id
from oneapi.services import channels, groups, keypool, offers, serving
from oneapi.services.channels import AUTO_DISABLED, DISABLED, ENABLED, ChannelFields, object_of
from oneapi.services.numbers import id_of
from oneapi.services.refusal import invalid_input, invalid_parameter

STATUSES = (
    (str(ENABLED), lazy_gettext("Enabled")),
    (str(DISABLED), lazy_gettext("Disabled")),
    (str(AUTO_DISABLED), lazy_gettext("Disabled automatically")),
)
_IN_FIELDS = "-"  # the key of channels whose credentials are all in fields of their own


def _types() -> list[tuple[str, Any]]:
    return [(str(one.type), one.label) for one in sorted(adaptors.load().values(), key=lambda one: one.label.lower())]


class _Form(msgspec.Struct, frozen=True, kw_only=True):
    """All but the fields that the channel's type declares; those are `config-<type>-<name>` beside these."""

    id: int = 0
    type: int = 0
    name: str = ""
    key: str = ""
    group: Names = ""
    models: Names = ""
    base_url: str = ""
    model_mapping: str = ""
    system_prompt: str = ""
    priority: int = 0
    weight: int = 0
    tag: str = ""
    proxy: str = ""
    forgets_proxy: bool = False
    further_keys: str = ""
    pools_keys: bool = False
    test_model: str = ""
    overrides: str = ""
    header_overrides: str = ""


class ChannelView(ListView):
    role = ADMIN
    icon, section = "plug", SECTION_OPERATE
    list_template = "panel/channel.html"
    column_list = (
        "id", "name", "type", "status", "group", "response_time", "balance", "used_quota", "priority", "weight",
    )  # fmt: skip
    loaded_columns = ("tag", "test_time", "balance_updated_time", "status_reason", "status_time")
    column_sortable_list = column_list
    column_searchable_list = ("name", "tag")
    filters = (
        Filter(
            name="type", label=lazy_gettext("Type"), where=equals_number(Channel.type), kind="select", choices=_types
        ),
        Filter(
            name="status",
            label=lazy_gettext("Status"),
            where=equals_number(Channel.status),
            kind="select",
            choices=lambda: STATUSES,
        ),
        Filter(name="group", label=lazy_gettext("Group"), where=has_item(Channel.group)),
        Filter(name="model", label=lazy_gettext("Model"), where=has_item(Channel.models)),
        Filter(name="tag", label=lazy_gettext("Tag"), where=equals(Channel.tag)),
    )

    def page(self) -> Mapping[str, Any]:
        known = adaptors.load()
        return {
            "adaptors": known,
            "balance_types": {number for number, one in known.items() if one.balance_requests is not None},
            "resting": self._resting(),
            "why_unreadable": _why_unreadable,
        }

    def _resting(self) -> dict[int, list[Any]]:
        """Open breakers by channel: model or key, reason and when it is tried again."""
        found: dict[int, list[Any]] = {}
        query = select(ChannelHealth).where(ChannelHealth.until > now()).order_by(ChannelHealth.until)
        with engine().connect() as connection:
            for row in connection.execute(query):
                found.setdefault(row.channel_id, []).append(channels.health_of(row))
        return found

    def _keys(self, row: Any) -> list[keypool.SeenKey]:
        query = select(ChannelHealth).where(ChannelHealth.channel_id == row.id)
        with engine().connect() as connection:
            resting = [channels.health_of(one) for one in connection.execute(query)]
        return keypool.seen(row.key or "", _settings_of(row), resting, now())

    # ---- the form ----

    def get_one(self, id: Any) -> Any:
        row = super().get_one(id)
        return row and channels.opened(engine(), row)

    @expose("/add")
    def add(self) -> Any:
        return self._form(None)

    @expose("/edit/<id>")
    def edit(self, id: str) -> Any:
        return self._form(self.get_one(id) or abort(404))

    def _form(self, row: Any) -> Any:
        known = sorted(adaptors.load().values(), key=lambda one: one.label.lower())
        settings = object_of(row.settings) if row is not None else {}
        stored = object_of(row.config) if row is not None else {}
        return self.render(
            "panel/channel_form.html",
            row=row,
            adaptors=known,
            types={str(one.type): _declared(one) for one in known},
            all_groups=groups.names(options()),
            shown_fields={
                (one.type, field.name): _shown(one, field.name, row, stored) for one in known for field in one.fields
            },
            has_stored={name for name, value in stored.items() if value},
            test_model=settings.get("test_model") or "",
            overrides=_pretty(settings.get("overrides")),
            header_overrides=_pretty(settings.get("header_overrides")),
            has_proxy=bool(settings.get("proxy")),
            keys=self._keys(row) if row is not None else (),
            mapping=object_of(row.model_mapping) if row is not None else {},
            may_reveal=row is not None and me().role == ROOT,
            why_unreadable=_why_unreadable(row.id) if row is not None else "",
        )

    @expose("/save", methods=["POST"])
    def save(self) -> Response:
        typed = body(dict[str, Any])
        try:
            form = msgspec.convert(typed, _Form, strict=False)
        except msgspec.ValidationError as error:
            raise invalid_parameter("field_has_wrong_type", detail=str(error)) from None
        row = self.get_one(form.id) if form.id else None
        if form.id and row is None:
            abort(404)
        if row is not None and not form.key.strip():
            channels.readable(engine(), row)  # what is left empty stays, so it must be known
        fields = _fields(form, typed, row)
        if row is not None:
            channels.update_one(engine(), actor(), fields, now=now())
            return done(gettext("Saved."), location=self.get_url(".index_view"))
        made = channels.create_many(engine(), actor(), fields, now=now())
        program().snapshots.refresh()
        return done(
            gettext("%(count)s channels were added.", count=len(made)) if len(made) > 1 else gettext("Channel added."),
            data=made,
            location=self.get_url(".index_view"),
        )

    # ---- what the pages' scripts ask ----

    @expose("/offered", methods=["POST"])
    def offered(self) -> Response:
        """The models that the provider lists, for a channel as the form has it now."""
        typed = body(dict[str, Any])
        row = self.get_one(typed.get("id") or 0)
        adaptor = adaptors.load().get(id_of(str(typed.get("type", ""))) or 0)
        if adaptor is None:
            abort(404)
        settings = object_of(row.settings) if row is not None else {}
        usable = _settings_of(row).usable_keys(row.key or "") if row is not None else ()
        keys = _lines(str(typed.get("key") or "")) or [one.key for one in usable]
        draft: Any = SimpleNamespace(
            id=0,
            name="",
            type=adaptor.type,
            key=keys[0] if keys else "",
            base_url=str(typed.get("base_url") or ""),
            other=row.other if row is not None else None,
            config=json.dumps(_config(adaptor, typed, row)),
            settings=json.dumps({"proxy": str(typed.get("proxy") or "") or settings.get("proxy", "")}),
            model_mapping="",
            priority=0,
            weight=0,
            system_prompt="",
            models="",
            group="",
        )
        channel = channels.relayed(engine(), draft)
        try:
            return done(data=offers.models(program().upstream, channel, now=now()))
        except GatewayError as error:
            return Response(
                msgspec.json.encode({"success": False, "message": error.message}), 422, mimetype="application/json"
            )

    @expose("/models/<id>")
    def models_of(self, id: str) -> Response:
        """The models of one channel, for the choice before a test."""
        row = self.get_one(id) or abort(404)
        chosen = object_of(row.settings).get("test_model") or ""
        return done(data={"models": directory.split(row.models), "chosen": chosen})

    @expose("/copy/<id>", methods=["POST"])
    def copy(self, id: str) -> Response:
        row = self.get_one(id) or abort(404)
        name = gettext("%(name)s (copy)", name=row.name)
        copy_id = channels.copy_one(engine(), actor(), row.id, name, now=now())
        return done(gettext("Copied; the copy is switched off."), location=self.get_url(".edit", id=copy_id))

    @expose("/key/<id>", methods=["POST"])
    def key(self, id: str) -> Response:
        """The key in clear, for root, who asked for it; that he did is recorded."""
        return done(data=channels.reveal_key(engine(), actor(), id_of(id) or 0, now=now()))

    @expose("/ids")
    def ids(self) -> Response:
        """Ids and names of all channels that search and filters leave, for work on all of them."""
        query = select(Channel.id, Channel.name).where(*self.conditions()).order_by(Channel.id)
        if search := request.args.get("search", "").strip():
            query = query.where(or_(*(text.contains(search, autoescape=True) for text in (Channel.name, Channel.tag))))
        with engine().connect() as connection:
            return done(data=[{"id": row.id, "name": row.name} for row in connection.execute(query)])

    @expose("/serving")
    def serving(self) -> Any:
        """Who would serve a model for a group now, and why."""
        group = request.args.get("group", "").strip() or "default"
        model = request.args.get("model", "").strip()
        current = program().snapshots.directory
        breakers = channels.read_health(engine())
        return self.render(
            "panel/channel_serving.html",
            group=group,
            model=model,
            all_groups=groups.names(options()),
            all_models=sorted(current.models(group)),
            candidates=serving.candidates(current, breakers, group=group, model=model, now=now()) if model else [],
            disabled=_switched_off(group, model) if model else (),
            adaptors=adaptors.load(),
        )


def _why_unreadable(channel_id: int) -> str:
    """Why an enabled channel is left out: its key is encrypted, and cannot be read. "" where it can."""
    error = program().snapshots.directory.unreadable.get(channel_id)
    return refusal_text(channels.unreadable(error)) if error is not None else ""


def _switched_off(group: str, model: str) -> Iterable[Any]:
    """Channels that have the model for the group and are disabled."""
    query = select(Channel.id, Channel.name, Channel.type, Channel.status, Channel.status_reason).where(
        Channel.status != ENABLED, has_item(Channel.models)(model), has_item(Channel.group)(group)
    )
    with engine().connect() as connection:
        return connection.execute(query.order_by(Channel.id).limit(50)).all()


def _declared(one: Adaptor) -> dict[str, Any]:
    """What the form's script needs to know of a type."""
    return {
        "label": one.label,
        "base_url": one.base_url,
        "key_hint": translated(one.key_hint),
        "note": translated(one.note),
        "retired": translated(one.retired),
        "models": one.models,
        "needs_models": set(one.endpoints) != {"proxy"},
        "may_list": offers.may_list(one),
        "has_secrets": any(field.is_secret for field in one.fields),
    }


def _shown(one: Adaptor, name: str, row: Any, stored: Mapping[str, Any]) -> str:
    """A field's value as the page may have it: no secret, and nothing of another type's."""
    if row is None or row.type != one.type or any(field.name == name and field.is_secret for field in one.fields):
        return ""
    legacy = row.other if name == one.legacy_field else ""
    return str(stored.get(name) or legacy or "")


def _fields(form: _Form, typed: Mapping[str, Any], row: Any) -> ChannelFields:
    adaptor = adaptors.load().get(form.type)
    key, further = _keys(form, typed, row)
    if not key and row is None and adaptor is not None and any(field.is_secret for field in adaptor.fields):
        key = _IN_FIELDS
    settings = _settings(form, row, further)
    return ChannelFields(
        id=form.id,
        type=form.type,
        name=form.name.strip(),
        key=key,
        group=joined(form.group),
        models=joined(form.models),
        base_url=form.base_url.strip().rstrip("/"),
        model_mapping=form.model_mapping.strip(),
        system_prompt=form.system_prompt,
        priority=form.priority,
        weight=form.weight,
        tag=form.tag,
        config=json.dumps(_config(adaptor, typed, row), ensure_ascii=False) if adaptor is not None else "{}",
        settings=json.dumps(settings, ensure_ascii=False) if settings else "",
    )


def _keys(form: _Form, typed: Mapping[str, Any], row: Any) -> tuple[str, list[Any]]:
    """The channel's key and its further ones. Without a pool, each line of a new channel's key is one channel's."""
    if row is None and not form.pools_keys:
        return form.key.strip(), []
    if row is None:
        own, *further = _lines(form.key) or [""]
        key, keys = keypool.edited(own, ChannelSettings(), edits={}, added=further)
    else:
        settings = _settings_of(row)
        marks = (key_id(one.key) for one in settings.all_keys(row.key or ""))
        edits = {mark: _key_edit(typed, mark) for mark in marks if f"key-{mark}-weight" in typed}
        added, replaced = _lines(form.further_keys), form.key.strip()
        key, keys = keypool.edited(row.key or "", settings, replaced=replaced, edits=edits, added=added)
    return key, msgspec.to_builtins(keys)


def _key_edit(typed: Mapping[str, Any], mark: str) -> keypool.KeyEdit:
    values = {name: typed[field] for name in keypool.KEY_EDITS if (field := f"key-{mark}-{name}") in typed}
    try:
        return msgspec.convert(values, keypool.KeyEdit, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_parameter("field_has_wrong_type", detail=str(error)) from None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _settings_of(row: Any) -> ChannelSettings:
    """What the relay makes of them: settings that cannot be read are none."""
    try:
        return parse_settings(row.settings)
    except ValueError:
        return ChannelSettings()


def _settings(form: _Form, row: Any, further_keys: list[Any]) -> dict[str, Any]:
    """The column of several settings. A proxy that was left blank stays: its address may hold a password."""
    stored = object_of(row.settings) if row is not None else {}
    given = {
        "test_model": form.test_model.strip(),
        "overrides": _checked(form.overrides, "overrides"),
        "header_overrides": _checked(form.header_overrides, "header_overrides"),
        "keys": further_keys,
        "proxy": "" if form.forgets_proxy else form.proxy.strip() or stored.get("proxy", ""),
    }
    return {name: value for name, value in {**stored, **given}.items() if value}


def _config(adaptor: Adaptor, typed: Mapping[str, Any], row: Any) -> dict[str, Any]:
    """The type's own fields as they were typed in. A secret that was left blank stays as it is stored."""
    config = object_of(row.config) if row is not None and row.type == adaptor.type else {}
    for field in adaptor.fields:
        text = str(typed.get(f"config-{adaptor.type}-{field.name}") or "").strip()
        if text or not field.is_secret:
            config[field.name] = text
    return {name: value for name, value in config.items() if value}


def _checked(text: str, field: str) -> dict[str, Any]:
    """A JSON object that was typed in. Raises Refusal."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise invalid_input("config_invalid", field=field)
    return value


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) if value else ""


VIEWS = (partial(ChannelView, Channel, name=lazy_gettext("Channels"), endpoint="channel"),)
