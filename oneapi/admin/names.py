"""Lists of names as forms send them: chosen one by one, or typed with commas and line breaks between them."""

from __future__ import annotations

from typing import TypeAlias

Names: TypeAlias = str | list[str]


def joined(names: Names) -> str:
    """As One API's columns have them: separated by commas."""
    texts = [names] if isinstance(names, str) else names
    parts = (part.strip() for text in texts for part in text.replace("\n", ",").replace("，", ",").split(","))
    return ",".join(dict.fromkeys(part for part in parts if part))
