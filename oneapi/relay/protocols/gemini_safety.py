"""Gemini's safety thresholds, as a channel sets them for requests that say nothing themselves.

Source: https://ai.google.dev/gemini-api/docs/safety-settings (read 2026-11-25); spec relay.md §8.4 and its categories.
"""

from __future__ import annotations

from collections.abc import Mapping

from oneapi.relay.adaptor import Edit, Field, Json

CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
)
FIELD = Field(
    name="safety_setting",
    label="Safety threshold",
    hint="For all categories: BLOCK_NONE, OFF, BLOCK_ONLY_HIGH, BLOCK_MEDIUM_AND_ABOVE, BLOCK_LOW_AND_ABOVE; "
    "`default` leaves it to Google.",
    default="BLOCK_NONE",
    setting="gemini_safety_setting",
)
_GOOGLES = "default"


def edits(fields: Mapping[str, str]) -> tuple[Edit, ...]:
    """Sets the channel's threshold for every category, where the request has none."""
    threshold = fields.get(FIELD.name) or FIELD.default
    if threshold.lower() == _GOOGLES:
        return ()
    settings = [{"category": category, "threshold": threshold} for category in CATEGORIES]

    def edit(body: Json) -> Json:
        return body if body.get("safetySettings") is not None else {**body, "safetySettings": settings}

    return (edit,)
