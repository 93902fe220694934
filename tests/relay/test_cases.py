"""Cases that are files: what a client sends, what the provider must be sent, what it replies, what the client must get.

    tests/fixtures/<adaptor>/<case>/
        case.json      where it comes from, and what differs from the defaults of `Case`
        client.json    the client's body (client.bin with its content type for a form)
        upstream.json  method, url, headers and body of what must be sent; a list where there are several requests
        reply.*        the reply's bytes (sse, json, ndjson, bin); reply.1.*, reply.2.* where there are several
        answer.*       what the client must get; without it, exactly what the provider replied

Each case runs through the whole pipeline; its reply is fed whole, byte by byte and at random cuts, and the answer must
be the same each time.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from oneapi.errors import GatewayError
from oneapi.relay import adaptors, ir, pipeline
from oneapi.relay.dialects import error_json
from oneapi.relay.directory import ChannelDirectory
from oneapi.relay.exchange import Channel
from oneapi.relay.framing import SSE
from oneapi.relay.paths import asked
from tests.relay.world import World, drained

FOLDER = Path(__file__).parents[1] / "fixtures"
FOLDERS = sorted(path.parent for path in FOLDER.glob("*/*/case.json"))
_TYPES = {".json": "application/json", ".sse": "text/event-stream", ".ndjson": "application/x-ndjson"}


@dataclass(frozen=True, kw_only=True)
class Case:
    source: str
    date: str
    path: str = "/v1/chat/completions"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # the client's
    base_url: str | None = None  # the channel's own
    key: str = "KEY"
    fields: dict[str, str] = field(default_factory=dict)
    token: str = ""  # bought
    model_mapping: dict[str, str] = field(default_factory=dict)
    system_prompt: str = ""
    status: int = 200  # the last reply's
    reply_headers: dict[str, str] = field(default_factory=dict)
    answer_status: int = 200
    fetched: dict[str, Any] = field(default_factory=dict)  # URL → fields of the ir.Image that a fetch gives


def load(folder: Path) -> Case:
    return Case(**json.loads((folder / "case.json").read_text("utf-8")))


def _one(folder: Path, name: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{name}.*"))), None)


def replies(folder: Path, case: Case) -> list[tuple[int, dict[str, str], bytes]]:
    paths = sorted(folder.glob("reply.*"))
    told = []
    for at, path in enumerate(paths, 1):
        is_last = at == len(paths)
        headers = {"content-type": _TYPES.get(path.suffix, "application/octet-stream")}
        told.append(
            (case.status if is_last else 200, {**headers, **(case.reply_headers if is_last else {})}, path.read_bytes())
        )
    return told


def run(folder: Path, case: Case, cut: Any) -> tuple[World, int, bytes]:
    """The pipeline with one channel; the last reply's body comes in the pieces that `cut` makes."""
    adaptor = next(found for found in adaptors.load().values() if found.name == folder.parent.name)
    *first, (status, headers, body) = replies(folder, case)
    scripts: list[Any] = [*((status, headers, body) for status, headers, body in first), (status, headers, *cut(body))]
    client = _one(folder, "client")
    assert client is not None, f"{folder} has no client.*"
    sent = client.read_bytes()
    if client.suffix == ".json":
        sent = json.dumps(json.loads(sent), ensure_ascii=False, separators=(",", ":")).encode()
    task = asked("POST", case.path)
    assert task is not None, case.path
    world = World({1: scripts})
    model = task.model or (json.loads(sent).get("model") if client.suffix == ".json" else "") or "whisper-1"
    channel = Channel(
        id=1,
        type=adaptor.type,
        name="case",
        adaptor=adaptor,
        base_url=(adaptor.base_url if case.base_url is None else case.base_url).rstrip("/"),
        key=case.key,
        fields=case.fields,
        model_mapping=case.model_mapping,
        system_prompt=case.system_prompt,
    )
    world.directory = ChannelDirectory({1: channel}, [("default", model, 1, 0)], world.prices)
    call = replace(
        world.call(task.mode, case.path, **case.headers), dialect=task.dialect, path_model=task.model, query=case.query
    )
    ports = world.ports(credentials_token=lambda channel: case.token, fetch=lambda url: _fetched(case, url))
    try:
        reply = pipeline.relay(call, lambda: sent, ports)
        return world, reply.status, drained(reply)
    except GatewayError as error:
        return world, error.client_status, json.dumps(error_json(task.dialect, error, call.request_id)).encode()


def _fetched(case: Case, url: str) -> Any:
    return ir.Image(**case.fetched[url])


def whole(body: bytes) -> list[bytes]:
    return [body]


def byte_by_byte(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def at_random(body: bytes) -> list[bytes]:
    rng = random.Random(len(body))
    edges = sorted({0, len(body), *(rng.randrange(len(body) + 1) for _ in range(20))})
    return [body[start:end] for start, end in pairwise(edges)]


def readable(body: bytes, suffix: str) -> Any:
    """An answer in a form in which equal ones are equal: JSON parsed, events in a list."""
    if suffix == ".json":
        return json.loads(body)
    if suffix != ".sse":
        return body
    framing = SSE()
    frames = [*framing.feed(body), *framing.finish()]
    return [(frame.event, _parsed(frame.data)) for frame in frames]


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_case(folder: Path) -> None:
    case = load(folder)
    world, status, answer = run(folder, case, whole)
    _check_requests(folder, world)
    assert status == case.answer_status
    expected = _one(folder, "answer")
    if expected is None:
        assert answer == replies(folder, case)[-1][2]
    else:
        assert readable(answer, expected.suffix) == readable(expected.read_bytes(), expected.suffix)
    for cut in (byte_by_byte, at_random):
        assert run(folder, case, cut)[1:] == (status, answer), cut.__name__


def _check_requests(folder: Path, world: World) -> None:
    wanted = json.loads((folder / "upstream.json").read_text("utf-8"))
    wanted = wanted if isinstance(wanted, list) else [wanted]
    assert len(world.sent) == len(wanted)
    for request, expected in zip(world.sent, wanted, strict=True):
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert (request.method, request.url) == (expected.get("method", "POST"), expected["url"])
        assert {name: headers.get(name) for name in expected["headers"]} == expected["headers"]
        if "body" in expected:
            assert json.loads(request.body) == expected["body"]


def test_every_adaptor_has_a_case_and_every_case_an_adaptor() -> None:
    # The raw proxy converts nothing: what it passes on is tested with relay/rawproxy.py.
    names = {adaptor.name for adaptor in adaptors.load().values() if not adaptor.retired and adaptor.name != "proxy"}
    assert {folder.parent.name for folder in FOLDERS} == names
