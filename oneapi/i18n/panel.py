"""The panel's language: Chinese or English, and where its texts come from.

Texts stand in English in the code: `_("Log in")` in templates, `gettext("Log in")` in Python, `t("Log in")` in
JavaScript. Their Chinese is in `zh_Hans_CN/*.po`, one file a noun; all are read at the start, so that nothing has to be
compiled. Files whose name begins with `script` are for JavaScript and go to the browser with the page. A test finds
every text of the code that has no Chinese, and every Chinese text that is no longer used.

What services refuse is told by key instead (messages.py), because they know no request; `language()` says in which of
its two columns to look.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, has_request_context, request
from flask_babel import Babel, Domain, get_locale, gettext

from oneapi.i18n.messages import Language

COOKIE = "language"
CHINESE = "zh_Hans_CN"  # the name under which Flask-Admin and WTForms keep theirs
FOLDER = Path(__file__).parent / CHINESE


def init_app(app: Flask) -> None:
    _Babel(app, locale_selector=_locale)


def language() -> Language:
    """What this request's reader reads: his choice, which a cookie keeps, or else what his browser prefers."""
    if not has_request_context():
        return "en"
    chosen = request.cookies.get(COOKIE)
    if chosen == "en":
        return "en"
    if chosen == "zh":
        return "zh"
    return "zh" if (request.accept_languages.best_match(["zh", "zh-CN", "zh-TW", "en"]) or "en")[:2] == "zh" else "en"


def translated(text: str) -> str:
    """A text that an adaptor declares, in this request's language; "" stays "", which gettext would not leave so."""
    return str(gettext(text)) if text else ""


def script_texts() -> dict[str, str]:
    """Texts that JavaScript shows, in this request's language; none where they are as they stand in the code."""
    return _script_texts() if language() == "zh" else {}


@cache
def catalogue() -> Catalog:
    """All Chinese texts."""
    merged = Catalog(locale=CHINESE)
    for path in sorted(FOLDER.glob("*.po")):
        for message in _read(path):
            if message.id and message.string:
                merged[message.id] = message
    return merged


def _read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=CHINESE)


@cache
def _script_texts() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("script*.po")):
        found.update({str(message.id): str(message.string) for message in _read(path) if message.id and message.string})
    return found


@cache
def _translations() -> Translations:
    compiled = BytesIO()
    write_mo(compiled, catalogue())
    compiled.seek(0)
    return Translations(fp=compiled)


class _Catalogues(Domain):  # type: ignore[misc]
    """Our texts in the request's language."""

    def get_translations(self) -> NullTranslations:
        return _translations() if str(get_locale()) == CHINESE else NullTranslations()


class _Babel(Babel):  # type: ignore[misc]
    domain_instance: Any = _Catalogues()


def _locale() -> str:
    return CHINESE if language() == "zh" else "en"
