"""The catalogue of messages."""

import re
from string import Formatter

import pytest

from oneapi.i18n.messages import MESSAGES, language_of, text


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


@pytest.mark.parametrize("key", MESSAGES)
def test_both_languages_name_the_same_values(key: str) -> None:
    english, chinese = MESSAGES[key]
    assert fields(english) == fields(chinese)
    assert re.search("[\u4e00-\u9fff]", chinese) or english == chinese


def test_values_are_filled_in() -> None:
    assert text("too_many_requests", "en", seconds=7) == "Too many requests; try again in 7 s"
    assert text("model_mapping_invalid", "en") == (
        'the model mapping must be a JSON object of texts, such as {"gpt-4": "gpt-4o"}'
    )


@pytest.mark.parametrize("header", [None, "", "en", "de-DE", "xzh"])
def test_everything_but_chinese_is_english(header: str | None) -> None:
    assert language_of(header) == "en"
