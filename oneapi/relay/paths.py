"""Which paths are the relay's: (method, path) → what is asked for.

Source: spec relay.md §1.1. A path is classified by its route, never by how it looks (§9.1 row 1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, unquote_plus

from oneapi.relay.adaptor import Mode

Task = Literal["relay", "list_models", "retrieve_model", "proxy", "not_implemented"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request line asks of the relay; `model` is the path's own, `channel_id` and `target` the raw proxy's."""

    task: Task
    mode: Mode = "chat"
    dialect: str = "openai"
    model: str = ""
    channel_id: int | None = None
    target: str = ""


_RELAYED: Mapping[str, Mode] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderations",
    "/v1/images/generations": "images",
    "/v1/images/edits": "image_edits",
    "/v1/images/variations": "image_variations",
    "/v1/edits": "edits",
    "/v1/audio/speech": "speech",
    "/v1/audio/transcriptions": "transcription",
    "/v1/audio/translations": "translation",
    "/v1/rerank": "rerank",
}
_EXACT: Mapping[tuple[str, str], Asked] = {
    **{("POST", path): Asked("relay", mode) for path, mode in _RELAYED.items()},
    ("GET", "/v1/models"): Asked("list_models"),
}
_ENGINE = re.compile(r"/v1/engines/(.+)/embeddings", re.DOTALL)
_MODEL = re.compile(r"/v1/models/(.+)", re.DOTALL)
_PROXY = re.compile(r"/v1/oneapi/proxy/(\d{1,18})(/.*)?", re.DOTALL)

# OpenAI's stateful services, which One API answers with 501.
_NOT_IMPLEMENTED = tuple(
    (frozenset(methods.split()), re.compile(pattern.replace("*", "[^/]+")))
    for methods, pattern in (
        ("GET POST", "/v1/files"),
        ("GET DELETE", "/v1/files/*"),
        ("GET", "/v1/files/*/content"),
        ("GET POST", "/v1/fine_tuning/jobs"),
        ("GET", "/v1/fine_tuning/jobs/*"),
        ("GET", "/v1/fine_tuning/jobs/*/events"),
        ("POST", "/v1/fine_tuning/jobs/*/cancel"),
        ("DELETE", "/v1/models/*"),
        ("GET POST", "/v1/assistants"),
        ("GET POST DELETE", "/v1/assistants/*"),
        ("GET POST", "/v1/assistants/*/files"),
        ("GET DELETE", "/v1/assistants/*/files/*"),
        ("POST", "/v1/threads"),
        ("GET POST DELETE", "/v1/threads/*"),
        ("POST", "/v1/threads/*/messages"),
        ("GET POST", "/v1/threads/*/messages/*"),
        ("GET", "/v1/threads/*/messages/*/files"),
        ("GET", "/v1/threads/*/messages/*/files/*"),
        ("GET POST", "/v1/threads/*/runs"),
        ("GET POST", "/v1/threads/*/runs/*"),
        ("POST", "/v1/threads/*/runs/*/submit_tool_outputs"),
        ("POST", "/v1/threads/*/runs/*/cancel"),
        ("GET", "/v1/threads/*/runs/*/steps"),
        ("GET", "/v1/threads/*/runs/*/steps/*"),
    )
)


def asked(method: str, path: str) -> Asked | None:
    """What the request line asks of the relay, None where the path is not the relay's. `path` is as sent, undecoded."""
    found = _EXACT.get((method, path))
    if found is not None:
        return found
    if not path.startswith("/v1/"):
        return None
    if (proxied := _PROXY.fullmatch(path)) is not None:
        return Asked("proxy", "proxy", channel_id=int(proxied[1]), target=proxied[2] or "/")
    path = unquote(path).rstrip("/")
    found = _EXACT.get((method, path))
    if found is not None:
        return found
    if method == "POST" and (engine := _ENGINE.fullmatch(path)) is not None:
        return Asked("relay", "embeddings", model=engine[1])
    if method == "GET" and (named := _MODEL.fullmatch(path)) is not None:
        return Asked("retrieve_model", model=named[1])
    for methods, pattern in _NOT_IMPLEMENTED:
        if method in methods and pattern.fullmatch(path):
            return Asked("not_implemented")
    return None


def described() -> list[tuple[str, str, str]]:
    """(method, path, mode or task) of what is answered here, with names in braces for what may stand there."""
    return [
        *((*line, found.mode if found.task == "relay" else found.task) for line, found in _EXACT.items()),
        ("POST", "/v1/engines/{model}/embeddings", "embeddings"),
        ("GET", "/v1/models/{model}", "retrieve_model"),
    ]


def without_key(query: str) -> str:
    """The query without `key=`, in which some SDKs send what is the caller's key here: no provider may see it."""
    if "key" not in unquote_plus(query):
        return query
    return "&".join(item for item in query.split("&") if unquote_plus(item.partition("=")[0]) != "key")
