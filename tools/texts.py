"""Texts of the panel that stand in the code, for those who translate: `make texts` lists what has no Chinese.

Python is searched for gettext and lazy_gettext, templates for _, scripts for t (oneapi/i18n/panel.py); adaptors declare
what the form of a channel says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po

from oneapi.relay import adaptors

CODE = Path(__file__).parent.parent / "oneapi"
CATALOGUES = CODE / "i18n" / "zh_Hans_CN"

_KEYWORDS = {"gettext": None, "lazy_gettext": None, "ngettext": (1, 2), "_": None}


def page_texts() -> dict[str, Path]:
    """Texts of Python and templates, each with a file that it stands in."""
    found = {}
    for path in sorted((CODE / "admin").rglob("*.py")):
        found.update(dict.fromkeys(_extracted("python", path, _KEYWORDS), path))
    for path in sorted((CODE / "templates").rglob("*.html")):
        found.update(dict.fromkeys(_extracted("jinja2.ext:babel_extract", path, _KEYWORDS), path))
    return found


def adaptor_texts() -> dict[str, Path]:
    """What the form of a channel says of its type. A single word of a hint is an example, not a text."""
    found = {}
    for adaptor in adaptors.load().values():
        hints = [adaptor.key_hint, adaptor.note, adaptor.retired, *(field.hint for field in adaptor.fields)]
        texts = [field.label or field.name for field in adaptor.fields] + [hint for hint in hints if " " in hint]
        found.update(dict.fromkeys(texts, CODE / "relay" / "adaptors"))
    return found


def script_texts() -> dict[str, Path]:
    found = {}
    for path in sorted((CODE / "static" / "js").glob("*.js")):
        found.update(dict.fromkeys(_extracted("javascript", path, {"t": None}), path))
    return found


def translated(pattern: str) -> dict[str, str]:
    """Texts with their Chinese, of the catalogues whose names match."""
    found = {}
    for path in sorted(CATALOGUES.glob(pattern)):
        with path.open("rb") as file:
            found.update({_first(message.id): message.string for message in read_po(file) if message.id})
    return found


def _extracted(method: str, path: Path, keywords: dict[str, Any]) -> Iterator[str]:
    options = {"parse_template_string": True} if method == "javascript" else {}
    for _line, text, _comments, _context in extract_from_file(method, path, keywords=keywords, options=options):
        yield _first(text)


def _first(text: Any) -> str:
    """Of a text with a plural, the singular."""
    return text[0] if isinstance(text, (tuple, list)) else text


def main() -> int:
    missing = 0
    for title, used, known in (
        ("pages", page_texts(), translated("*.po")),
        ("adaptors", adaptor_texts(), translated("*.po")),
        ("scripts", script_texts(), translated("script*.po")),
    ):
        for text, path in used.items():
            if not known.get(text):
                missing += 1
                print(f"# {title}: {path.relative_to(CODE)}\nmsgid {text!r}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
