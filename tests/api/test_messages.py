"""The catalogue of messages."""

import re
from pathlib import Path
from string import Formatter

import pytest

import oneapi
from oneapi.i18n.messages import MESSAGES, language_of, text
from oneapi.services import registration


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


@pytest.mark.parametrize("key", MESSAGES)
def test_both_languages_name_the_same_values(key: str) -> None:
    english, chinese = MESSAGES[key]
    assert fields(english) == fields(chinese)
    assert re.search("[\u4e00-\u9fff]", chinese) or english == chinese


def test_every_message_is_used_and_every_key_used_has_one() -> None:
    root = Path(oneapi.__file__).parent
    sources = "".join(path.read_text() for path in root.rglob("*.py") if path.name != "messages.py")
    refused = set(re.findall(r'(?:Refusal|invalid_input|invalid_parameter|messages\.text)\(\s*"(\w+)"', sources))
    assert refused <= set(MESSAGES)
    quoted = set(re.findall(r'"(\w+)"', sources)) | {f"{name}_too_long" for name in registration.TEXT_LIMITS}
    assert set(MESSAGES) <= quoted


def test_values_are_filled_in() -> None:
    assert text("too_many_requests", "en", seconds=7) == "Too many requests; try again in 7 s"
    assert text("model_mapping_invalid", "en") == (
        'the model mapping must be a JSON object of texts, such as {"gpt-4": "gpt-4o"}'
    )


@pytest.mark.parametrize("header", [None, "", "en", "de-DE", "xzh"])
def test_everything_but_chinese_is_english(header: str | None) -> None:
    assert language_of(header) == "en"
