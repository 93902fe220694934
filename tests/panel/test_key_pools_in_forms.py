"""Several keys of a channel in its form, without a browser: they go in, and only marks come out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from oneapi.models import Channel
from oneapi.relay.directory import key_id
from oneapi.services import channels
from oneapi.services.health import Change
from tests.api.conftest import site, site_on
from tests.api.site import ADMIN, Site
from tests.panel.provider import Provider
from tests.panel.test_nouns import NOW, channel, page, post

__all__ = ["site", "site_on"]

KEYS = [f"sk-{name}-0123456789abcdef" for name in ("first", "second", "third")]
FORM = {"type": "1", "name": "pool", "group": "default", "models": ["m"]}


def pooled(site: Site) -> int:
    return channel(site, key=KEYS[0], models="m", group="default", settings=json.dumps({"keys": KEYS[1:]}))


def keys_of(row: Any) -> list[Any]:
    return [row.key, *json.loads(row.settings or "{}").get("keys", [])]


def test_several_keys_make_one_channel_where_that_is_wanted(site: Site) -> None:
    administrator = site.logged_in(ADMIN)
    form = {**FORM, "key": f"{KEYS[0]}\n\n {KEYS[1]}\r\n{KEYS[0]}", "pools_keys": True}
    assert post(administrator, "/admin/channel/save", form)["success"] is True
    (row,) = site.rows(Channel)
    assert keys_of(row) == KEYS[:2]
    assert post(administrator, "/admin/channel/save", {**form, "key": " \n"})["field"] == "key"


def test_keys_are_added_weighed_disabled_and_removed(site: Site) -> None:
    channel_id, administrator = pooled(site), site.logged_in(ADMIN)
    first, second, third = map(key_id, KEYS)
    form = {
        **FORM, "id": channel_id, "further_keys": "sk-new",
        f"key-{first}-weight": 1, f"key-{first}-removed": True,
        f"key-{second}-weight": 5, f"key-{second}-disabled": True,
        f"key-{third}-weight": 1, "key-00000000-removed": True,
    }  # fmt: skip
    assert post(administrator, "/admin/channel/save", form)["success"] is True
    row = site.row(Channel, channel_id)
    assert keys_of(row) == [KEYS[1], {"key": KEYS[1], "weight": 5, "disabled": True}, KEYS[2], "sk-new"]
    site.program.snapshots.refresh()
    used = site.program.snapshots.directory.channel(channel_id)
    assert used is not None
    assert [one.channel.key for one in used.pool] == [KEYS[2], "sk-new"]
    # The form as it is opened, and saved with nothing touched.
    assert post(administrator, "/admin/channel/save", {**FORM, "id": channel_id})["success"] is True
    assert keys_of(site.row(Channel, channel_id)) == keys_of(row)
    answer = post(administrator, "/admin/channel/save", {**form, f"key-{third}-weight": "many"})
    assert answer["success"] is False
    last = {f"key-{key_id(key)}-{name}": 1 for key in (KEYS[1], KEYS[2], "sk-new") for name in ("weight", "removed")}
    assert post(administrator, "/admin/channel/save", {**FORM, "id": channel_id, **last})["field"] == "key"


def test_a_page_shows_marks_states_and_reasons_and_no_key(site: Site) -> None:
    channel_id, administrator = pooled(site), site.logged_in(ADMIN)
    mark = key_id(KEYS[1])
    rest = Change(channel_id, "", reason="HTTP 401: gone", failures=1, until=4_000_000_000, key_id=mark)
    channels.write_health(site.engine, rest, now=NOW)
    assert channels.read_health(site.engine) == [rest]
    form = page(administrator, f"/admin/channel/edit/{channel_id}")
    assert form.count("…cdef</code>") == 3
    assert "HTTP 401: gone" in form
    listed, system = page(administrator, "/admin/channel/"), page(administrator, "/admin/system/")
    assert f"key {mark} rests" in listed
    assert f"key {mark}</td>" in system
    assert not any(key in html for key in KEYS for html in (form, listed, system))


def test_the_program_lets_a_key_rest_that_was_written(site: Site) -> None:
    channel_id = pooled(site)
    rest = Change(channel_id, "", reason="no", failures=1, until=4_000_000_000, key_id=key_id(KEYS[1]))
    channels.write_health(site.engine, rest, now=NOW)
    site.program.snapshots.refresh()
    ports = site.program.ports
    assert [ports.is_key_resting(channel_id, key_id(key)) for key in KEYS] == [False, True, False]
    channels.write_health(site.engine, replace(rest, until=0), now=NOW)
    site.program.snapshots.refresh()
    assert not ports.is_key_resting(channel_id, key_id(KEYS[1]))


def test_a_provider_is_asked_for_its_models_with_a_key_that_is_in_use(site: Site, upstream: Provider) -> None:
    upstream.models = ("of-the-provider",)
    settings = {"keys": [{"key": KEYS[0], "disabled": True}, KEYS[1]]}
    channel_id = channel(site, key=KEYS[0], base_url=upstream.url, settings=json.dumps(settings))
    asked = {"id": channel_id, "type": "1", "base_url": upstream.url}
    assert post(site.logged_in(ADMIN), "/admin/channel/offered", asked)["data"] == ["of-the-provider"]
    assert upstream.keys == [KEYS[1]]


def test_a_channel_that_never_had_a_key_is_saved_without_one(site: Site) -> None:
    channel_id = channel(site, key="", models="m", group="default")
    answer = post(site.logged_in(ADMIN), "/admin/channel/save", {**FORM, "id": channel_id, "name": "renamed"})
    assert answer["success"] is True
    assert (site.row(Channel, channel_id).name, site.row(Channel, channel_id).key) == ("renamed", "")


def test_keys_are_all_tried_again_once_they_were_edited(site: Site) -> None:
    channel_id = pooled(site)
    rest = Change(channel_id, "", reason="no", failures=1, until=4_000_000_000, key_id=key_id(KEYS[1]))
    broken = Change(channel_id, "m", reason="HTTP 500", failures=1, until=4_000_000_000)
    for change in (rest, broken):
        channels.write_health(site.engine, change, now=NOW)
    site.program.snapshots.refresh()
    administrator = site.logged_in(ADMIN)
    assert post(administrator, "/admin/channel/save", {**FORM, "id": channel_id, "name": "renamed"})["success"] is True
    assert channels.read_health(site.engine) == [rest, broken]
    assert post(administrator, "/admin/channel/save", {**FORM, "id": channel_id, "key": "sk-new"})["success"] is True
    assert channels.read_health(site.engine) == [broken]
    site.program.snapshots.refresh()
    assert not site.program.ports.is_key_resting(channel_id, key_id(KEYS[1]))
