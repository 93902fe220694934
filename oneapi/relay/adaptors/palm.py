"""Google PaLM 2: a channel type that One API's databases may hold, and that nobody serves any more.

Source: https://ai.google.dev/palm_docs/deprecation (switched off on 2024-10-09); spec relay.md §8.6.
"""

from __future__ import annotations

from oneapi.relay.adaptor import Adaptor, header_key
from oneapi.relay.adaptors import default_models

ADAPTORS = (
    Adaptor(
        type=11,
        name="palm",
        label="Google PaLM 2",
        base_url="https://generativelanguage.googleapis.com",
        sign=header_key("x-goog-api-key"),
        owner="google palm",
        models=default_models(11),
        retired="Google switched its PaLM API off in October 2024. Use a channel of type Google Gemini instead.",
    ),
)
