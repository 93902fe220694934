"""Several keys in one channel: how they are seen, and what becomes of them when they are edited."""

from __future__ import annotations

import pytest

from oneapi.relay.channelsettings import ChannelSettings, KeyOfPool
from oneapi.relay.directory import key_id
from oneapi.services.health import Change
from oneapi.services.keypool import KeyEdit, SeenKey, edited, seen
from oneapi.services.refusal import Refusal

POOL = ChannelSettings(keys=("sk-second", KeyOfPool("sk-third", 3)))
REMOVED = KeyEdit(removed=True)


def of(**edits: KeyEdit) -> dict[str, KeyEdit]:
    """By marks, as forms have them."""
    return {key_id(f"sk-{name}"): edit for name, edit in edits.items()}


def test_a_key_is_seen_by_its_mark_and_its_ending_and_with_the_reason_why_it_rests() -> None:
    long = "sk-0123456789abcdef"
    settings = ChannelSettings(keys=(KeyOfPool("short", 2, disabled=True),))
    resting = [
        Change(1, "", reason="HTTP 401: no", failures=1, until=150, key_id=key_id(long)),
        Change(1, "", reason="long ago", failures=1, until=50, key_id=key_id("short")),
        Change(1, "gpt-4o", reason="of a model", failures=1, until=150),
    ]
    assert seen(long, settings, resting, 100) == [
        SeenKey(id=key_id(long), ending="cdef", weight=1, is_disabled=False, rests_until=150, reason="HTTP 401: no"),
        SeenKey(id=key_id("short"), ending="", weight=2, is_disabled=True),
    ]


def test_what_is_not_edited_stays_and_new_keys_come_last_once() -> None:
    assert edited("sk-first", POOL, edits={}) == ("sk-first", list(POOL.keys))
    own, keys = edited("sk-first", POOL, edits={}, added=["sk-new", "sk-third", "sk-new"])
    assert (own, keys) == ("sk-first", [*POOL.keys, "sk-new"])


def test_keys_are_weighed_disabled_and_removed() -> None:
    edits = of(first=KeyEdit(weight=1, disabled=True), second=KeyEdit(weight=5), third=REMOVED)
    own, keys = edited("sk-first", POOL, edits=edits)
    assert own == "sk-first"
    assert keys == [KeyOfPool("sk-first", disabled=True), KeyOfPool("sk-second", 5)]


def test_where_its_own_key_is_removed_the_next_becomes_its_own() -> None:
    assert edited("sk-first", POOL, edits=of(first=REMOVED)) == ("sk-second", [KeyOfPool("sk-third", 3)])
    own, keys = edited("sk-first", POOL, edits=of(first=REMOVED, second=REMOVED))
    assert (own, keys) == ("sk-third", [KeyOfPool("sk-third", 3)])


def test_a_replaced_key_keeps_its_weight_and_is_enabled_again() -> None:
    settings = ChannelSettings(keys=(KeyOfPool("sk-first", 4, disabled=True), "sk-second"))
    weighed = ("sk-new", [KeyOfPool("sk-new", 4), "sk-second"])
    assert edited("sk-first", settings, replaced="sk-new", edits={}) == weighed
    assert edited("sk-first", ChannelSettings(), replaced="sk-new", edits={}) == ("sk-new", [])
    assert edited("sk-first", POOL, replaced="sk-second", edits={}) == ("sk-second", [KeyOfPool("sk-third", 3)])


def test_a_channel_without_a_key_stays_without_one_or_gets_its_first() -> None:
    assert edited("", ChannelSettings(), edits={}) == ("", [])
    assert edited("", ChannelSettings(), replaced="sk-new", edits={}) == ("sk-new", [])
    assert edited("", ChannelSettings(), edits={}, added=["sk-new"]) == ("sk-new", [])


def test_what_was_stored_is_not_judged_again() -> None:
    off = KeyOfPool("sk-first", disabled=True)
    assert edited("sk-first", ChannelSettings(keys=(off,)), edits={}) == ("sk-first", [off])


@pytest.mark.parametrize("edit", [REMOVED, KeyEdit(disabled=True)])
def test_a_channel_keeps_a_key_that_is_enabled(edit: KeyEdit) -> None:
    with pytest.raises(Refusal):
        edited("sk-first", POOL, edits=of(first=edit, second=edit, third=edit))
