"""/api/openapi.json: OpenAPI 3.1's description of /api and of the relay's paths, made from the program itself.

Routes and roles come from the tables of the nouns, bodies from the structs that views read, query parameters from the
names that views ask for (which are looked up in their source), the relay's paths from relay/paths.py. So it cannot
say what the program does not do; tests let schemathesis hold the program to it.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

import msgspec
from flask import Response

from oneapi import __version__
from oneapi.api.asked import Asked
from oneapi.api.routing import Route, View
from oneapi.relay import paths

Json = dict[str, Any]

_ROLES = {1: "user", 10: "admin", 100: "root"}
_ENVELOPE: Json = {
    "type": "object",
    "properties": {"success": {"type": "boolean"}, "message": {"type": "string"}, "data": {}},
    "required": ["success", "message"],
}
_ERROR: Json = {
    "type": "object",
    "properties": {"error": {"type": "object", "required": ["message", "type"]}},
    "required": ["error"],
}
_PAGING = {"p": "integer", "size": "integer", "page_size": "integer"}
_REF = "#/components/schemas/{name}"


@dataclass(slots=True)
class _Read:
    """What a view reads of a request."""

    form: type | None = None
    query: dict[str, str] = field(default_factory=dict)


def describe(nouns: Iterable[ModuleType]) -> Json:
    """The whole description as JSON."""
    described: dict[str, Json] = {}
    reads = {route: _read_by(route.view) for noun in nouns for route in noun.ROUTES}
    forms = sorted({read.form for read in reads.values() if read.form is not None}, key=lambda form: form.__qualname__)
    schemas, components = msgspec.json.schema_components(forms, ref_template=_REF)
    schema_of = dict(zip(forms, schemas, strict=True))
    for route, read in reads.items():
        path = re.sub(r"<(\w+)>", r"{\1}", route.path)
        schema = None if read.form is None else schema_of[read.form]
        described.setdefault(path, {})[route.method.lower()] = _operation(route, path, read, schema)
    for method, path, mode in paths.described():
        described.setdefault(path, {})[method.lower()] = _relayed(method, path, mode)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "One API in Python",
            "version": __version__,
            "description": "Rules that say no answer with status 200 and `success: false`. "
            "Paths of /api are served with and without a final slash.",
        },
        "paths": described,
        "components": {
            "schemas": {**components, "Envelope": _ENVELOPE, "Error": _ERROR},
            "securitySchemes": {
                "access_token": {"type": "apiKey", "in": "header", "name": "Authorization"},
                "session": {"type": "apiKey", "in": "cookie", "name": "session"},
                "api_key": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(route: Route, path: str, read: _Read, schema: Json | None) -> Json:
    answer = {"application/json": {"schema": {"$ref": _REF.format(name="Envelope")}}}
    is_free = inspect.signature(route.view, eval_str=True).return_annotation is Response
    operation: Json = {
        "operationId": f"{route.view.__module__.rpartition('.')[2]}.{route.view.__name__}.{route.method.lower()}",
        "tags": [path.split("/")[2].removesuffix(".json")],
        "summary": _summary(route),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _names(path)),
            *({"name": name, "in": "query", "schema": {"type": kind}} for name, kind in sorted(read.query.items())),
        ],
        "responses": {
            "200": {"description": "The answer, or a refusal.", "content": {} if is_free else answer},
            "default": {"description": "An error.", "content": answer},
        },
        "security": [] if route.role is None else [{"access_token": []}, {"session": []}],
    }
    if is_free:
        operation["responses"]["200"].pop("content")
    if schema is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}, "required": True}
    return operation


def _summary(route: Route) -> str:
    told = (inspect.getdoc(route.view) or route.view.__name__.replace("_", " ").capitalize()).partition("\n")[0]
    return told if route.role is None else f"{told.rstrip('.')} (role: {_ROLES[route.role]})"


def _relayed(method: str, path: str, mode: str) -> Json:
    described: Json = {
        "operationId": f"relay.{mode}.{re.sub('[^a-z]+', '_', path)}",
        "tags": ["relay"],
        "summary": mode.replace("_", " ").capitalize(),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _names(path)
        ],
        "responses": {
            "200": {"description": "The provider's answer, or a stream of events."},
            "default": {
                "description": "An error.",
                "content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}},
            },
        },
        "security": [{"api_key": []}],
    }
    if method == "POST":
        described["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True}
    return described


def _names(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


# ---- what a view reads ----


def _read_by(view: View) -> _Read:
    read = _Read()
    for call in _calls(view, set()):
        match call:
            case ("body", form):
                read.form = form
            case ("text", name):
                read.query.setdefault(name, "string")
            case ("number", name):
                read.query[name] = "integer"
            case ("page", _):
                read.query.update(_PAGING)
    return read


def _calls(view: Any, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """(method of `asked`, its argument) of each call in a view, and in functions of the API that it calls."""
    if not isinstance(view, FunctionType) or view in seen:
        return
    seen.add(view)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(view)))):
        if not isinstance(node, ast.Call):
            continue
        match node.func, node.args:
            case ast.Attribute(value=ast.Name("asked"), attr="body"), [ast.Name(form)]:
                yield "body", view.__globals__[form]
            case ast.Attribute(value=ast.Name("asked"), attr="text" | "number" as kind), [ast.Constant(name)]:
                yield kind, name
            case ast.Attribute(value=ast.Name("asked"), attr="page"), []:
                yield "page", None
            case ast.Name(called), _:
                yield from _calls(view.__globals__.get(called), seen)
            case ast.Attribute(value=ast.Name(module), attr=called), _:
                found = view.__globals__.get(module)
                if isinstance(found, ModuleType) and found.__name__.startswith("oneapi.api."):
                    yield from _calls(getattr(found, called), seen)


@lru_cache
def _described() -> bytes:
    from oneapi.api import NOUNS  # which are listed there, this one among them

    return msgspec.json.encode(describe(NOUNS))


def description(asked: Asked) -> Response:
    """This description."""
    return Response(_described(), mimetype="application/json")


ROUTES = (Route("GET", "/api/openapi.json", None, description),)
