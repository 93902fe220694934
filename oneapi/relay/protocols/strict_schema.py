"""A JSON schema for providers that hold their models to it: every object closed, and no rule that cannot be held.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations" (read
2026-11-25); Bedrock's list is the same. As Anthropic's own SDKs do, a rule that cannot be held is told to the model in
the description.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oneapi.relay.adaptor import Json

_NOT_HELD = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "maxItems",
        "uniqueItems",
        "minContains",
        "maxContains",
        "minProperties",
        "maxProperties",
        "patternProperties",
        "propertyNames",
    }
)
_OF_SCHEMAS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf", "prefixItems")


def strict_schema(schema: Mapping[str, Any]) -> Json:
    """A copy that can be held to. `oneOf` becomes `anyOf`, and no object has fields beyond those it names."""
    held: Json = {}
    told: Json = {}
    for name, value in schema.items():
        if name in _NOT_HELD or (name == "minItems" and value not in (0, 1)):
            told[name] = value
        elif name in _OF_SCHEMAS and isinstance(value, dict):
            held[name] = {key: _inner(item) for key, item in value.items()}
        elif name == "oneOf" and isinstance(value, list):
            held["anyOf"] = [_inner(item) for item in value]
        elif name in _LISTS and isinstance(value, list):
            held[name] = [_inner(item) for item in value]
        elif name == "items":
            held[name] = _inner(value)
        else:
            held[name] = value
    if held.get("type") == "object" or "properties" in held:
        held["additionalProperties"] = False
    if told:
        words = "{" + ", ".join(f"{name}: {_plain(value)}" for name, value in told.items()) + "}"
        before = held.get("description")
        held["description"] = f"{before}\n\n{words}" if before else words
    return held


def _inner(value: Any) -> Any:
    return strict_schema(value) if isinstance(value, dict) else value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
