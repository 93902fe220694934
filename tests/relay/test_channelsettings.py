"""Settings of channels: which are accepted, and what becomes of several keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.relay.channelsettings import ChannelSettings, KeyOfPool, check_settings, parse_settings


@pytest.mark.parametrize(
    "settings",
    [
        {"overrides": {"temperature": 0.5, "user": None, "metadata": {"team": "a"}, "max_tokens": 5}},
        {"header_overrides": {"X-Team": "a", "anthropic-beta": "x"}},
        {"proxy": "socks5://user:pass@127.0.0.1:1080", "test_model": "gpt-4o-mini"},
        {"keys": ["sk-second", {"key": "sk-third", "weight": 3}]},
        {"proxy": None, "something_later": 1},
        {},
    ],
)
def test_sensible_settings_are_accepted(settings: dict[str, Any]) -> None:
    check_settings(json.dumps(settings))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"overrides": {"api_key": "x"}}, "api_key"),
        ({"overrides": {"extra": {"accessToken": "x"}}}, "accessToken"),
        ({"overrides": {"user": "sk-0123456789abcdefghij"}}, "user"),
        ({"overrides": {"model": "gpt-4o"}}, "model"),
        ({"overrides": {"stream": True}}, "stream"),
        ({"overrides": []}, "overrides"),
        ({"header_overrides": {"Authorization": "x"}}, "Authorization"),
        ({"header_overrides": {"X-Api-Key": "x"}}, "X-Api-Key"),
        ({"header_overrides": {"X-A": "Bearer abc"}}, "X-A"),
        ({"header_overrides": {"X-A": "a\r\nX-B: c"}}, "X-A"),
        ({"header_overrides": {"X A": "a"}}, "X A"),
        ({"header_overrides": {"Host": "a"}}, "Host"),
        ({"header_overrides": {"X-A": 1}}, "header_overrides"),
        ({"keys": [""]}, "keys"),
        ({"keys": [{"key": "k", "weight": -1}]}, "weight"),
        ([], "object"),
    ],
)
def test_secrets_and_nonsense_are_refused_without_being_repeated(settings: Any, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_settings(json.dumps(settings))
    assert told in str(caught.value)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "  ", "{}"])
def test_nothing_is_the_defaults(text: str | None) -> None:
    assert parse_settings(text) == ChannelSettings()


def test_a_pool_has_each_key_once_and_the_channels_own_first() -> None:
    settings = ChannelSettings(keys=("b", KeyOfPool("c", 3), "a", " b "))
    assert settings.all_keys("a") == (KeyOfPool("a"), KeyOfPool("b"), KeyOfPool("c", 3))


def test_a_key_that_stands_there_twice_is_as_it_is_said_last() -> None:
    assert ChannelSettings(keys=("b", KeyOfPool("a", 5))).all_keys("a") == (KeyOfPool("a", 5), KeyOfPool("b"))


def test_disabled_keys_are_not_used_unless_all_are() -> None:
    own, second = KeyOfPool("a", disabled=True), KeyOfPool("b", disabled=True)
    assert ChannelSettings(keys=(own, "b")).usable_keys("a") == (KeyOfPool("b"),)
    assert ChannelSettings(keys=(own, second)).usable_keys("a") == (own,)
    assert ChannelSettings().usable_keys("") == ()
