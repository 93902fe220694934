"""What a provider found when it searched the web, for those that tell it as {search_results: [{url, title}]}."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oneapi.relay.adaptor import Json


def citations(search_info: Any) -> Iterator[Json]:
    """The pages found, as annotations in OpenAI's shape; where in the text they count is not said."""
    results = search_info.get("search_results") if isinstance(search_info, dict) else None
    for result in results if isinstance(results, list) else ():
        if isinstance(result, dict) and result.get("url"):
            yield {"type": "url_citation", "url_citation": {"url": result["url"], "title": result.get("title") or ""}}
