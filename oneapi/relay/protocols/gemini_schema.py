"""JSON schemas as Gemini takes them, and Google's own kind of schema as JSON schema.

Source: https://ai.google.dev/api/generate-content#FIELDS.response_json_schema and https://ai.google.dev/api/caching#Schema
(read 2026-11-25). Gemini takes `$ref`, `$defs`, `anyOf`, `oneOf`, `additionalProperties` and the usual bounds, ignores
much of the rest, but wants a `$ref` to stand alone and knows no `const` and `allOf`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from oneapi.relay.adaptor import Json

_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")  # name → schema
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def cleaned(schema: Mapping[str, Any]) -> Json:
    """The schema without what Gemini refuses, saying the same. A schema that is clean comes back equal."""
    return _Cleaner(schema).clean(schema, frozenset())


class _Cleaner:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def clean(self, schema: Mapping[str, Any], inside: frozenset[str]) -> Json:
        """`inside` are the references that are being written out, for one that leads back to itself."""
        ref = schema.get("$ref")
        siblings = {name for name in schema if not name.startswith("$") and name != "definitions"}
        if isinstance(ref, str) and siblings:
            target = self._target(ref)
            if target is None or ref in inside:
                return {"$ref": _moved(ref)}
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            return self.clean({**target, **beside}, inside | {ref})
        if isinstance(parts := schema.get("allOf"), list):
            joined = {name: value for name, value in schema.items() if name != "allOf"}
            for part in parts:
                if isinstance(part, dict):
                    ref = part.get("$ref")
                    _add(joined, (self._target(ref) if isinstance(ref, str) and ref not in inside else None) or part)
                    inside = inside | {ref} if isinstance(ref, str) else inside
            return self.clean(joined, inside)
        out = _walk(schema, lambda inner: self.clean(inner, inside))
        out.pop("$schema", None)
        if isinstance(ref, str):
            out["$ref"] = _moved(ref)
        if isinstance(old := out.pop("definitions", None), dict):
            out["$defs"] = {**old, **out.get("$defs", {})}
        if "const" in out:
            out["enum"] = [out.pop("const")]
        return out

    def _target(self, ref: str) -> Mapping[str, Any] | None:
        """What a reference inside the document leads to."""
        if not ref.startswith("#/"):
            return None
        found: Any = self._root
        for step in ref[2:].split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None


def _moved(ref: str) -> str:
    """A reference into `definitions`, the old name of `$defs`, which Gemini does not know."""
    return "#/$defs/" + ref.removeprefix("#/definitions/") if ref.startswith("#/definitions/") else ref


def _add(schema: Json, more: Mapping[str, Any]) -> None:
    """Both at once: properties and required names are joined, of any other keyword the first stays."""
    for name, value in more.items():
        known = schema.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            schema[name] = {**value, **known}
        elif name == "required" and isinstance(known, list) and isinstance(value, list):
            schema[name] = list(dict.fromkeys([*known, *value]))
        else:
            schema.setdefault(name, value)


def _walk(schema: Mapping[str, Any], change: Callable[[Mapping[str, Any]], Json]) -> Json:
    """A copy with every schema inside changed; a property may be called like a keyword."""
    out = dict(schema)
    for name in _MAPS:
        if isinstance(inner := out.get(name), dict):
            out[name] = {key: change(item) if isinstance(item, dict) else item for key, item in inner.items()}
    for name in _LISTS:
        if isinstance(items := out.get(name), list):
            out[name] = [change(item) if isinstance(item, dict) else item for item in items]
    for name in _ONE:
        if isinstance(item := out.get(name), dict):
            out[name] = change(item)
    return out


def of_google(schema: Mapping[str, Any]) -> Json:
    """Google's subset of OpenAPI 3.0 (types in capitals, `nullable`, numbers as texts) as JSON schema."""
    out = _walk(schema, of_google)
    kind = out.get("type")
    if isinstance(kind, str):
        out["type"] = [kind.lower(), "null"] if out.pop("nullable", False) else kind.lower()
    for name in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
        if isinstance(value := out.get(name), str) and value.isdigit():
            out[name] = int(value)
    out.pop("propertyOrdering", None)
    return out
