"""Every text of the panel has its Chinese, and no Chinese is kept for a text that is gone."""

import re
from string import Formatter

from tools import texts

_NAMED = re.compile(r"%\(\w+\)s")


def test_every_text_of_a_page_has_chinese() -> None:
    known = texts.translated("*.po")
    assert {text: str(path) for text, path in texts.page_texts().items() if not known.get(text)} == {}


def test_every_text_of_a_channels_type_has_chinese() -> None:
    known = texts.translated("*.po")
    assert {text for text in texts.adaptor_texts() if not known.get(text)} == set()


def test_every_text_of_a_script_has_chinese() -> None:
    known = texts.translated("script*.po")
    assert {text: str(path) for text, path in texts.script_texts().items() if not known.get(text)} == {}


def test_no_script_text_is_kept_that_nobody_shows() -> None:
    assert set(texts.translated("script*.po")) - set(texts.script_texts()) == set()


def test_placeholders_are_the_same_in_both_languages() -> None:
    for english, chinese in texts.translated("*.po").items():
        first = chinese[0] if isinstance(chinese, tuple | list) else chinese
        assert sorted(_NAMED.findall(english)) == sorted(_NAMED.findall(first)), english
    for english, chinese in texts.translated("script*.po").items():
        assert _fields(english) == _fields(str(chinese)), english


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}
