"""What the tests of providers with protocols of their own share: exchanges by name, answers told as plain values."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from oneapi.errors import UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Flow, Json, Pause, UpstreamRequest, WholeReply
from oneapi.relay.convert import used_fields
from oneapi.relay.framing import FRAMINGS
from oneapi.relay.protocols import openai_chat
from oneapi.relay.routing import verdict
from tests.needs import lacking
from tests.relay.protocols.recordings import FOLDER, WRITTEN


@dataclass(frozen=True)
class Exchange:
    request: Any
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def exchange(name: str) -> Exchange:
    """A recorded exchange, or documented/<provider>/<case>."""
    path = (WRITTEN if name.startswith("documented/") else FOLDER) / f"{name}.json"
    if not path.is_file():
        lacking(f"no {path}: the recordings are not here")
    found = json.loads(path.read_text("utf-8"))
    response = found["response"]
    body = response["body"]
    if response["body_encoding"] == "websocket":  # as the transport hands them on: a line each
        body = "".join(
            (frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)) + "\n" for frame in body
        )
    return Exchange(found["request"]["body"], response["status"], response["headers"], body.encode())


def rendered(codec: Codec, body: Json) -> Json:
    """What a request of OpenAI's makes the provider be sent; it is plain JSON."""
    assert codec.render_request is not None
    request = openai_chat.parse_request(body)
    made = codec.render_request(request)
    assert json.loads(json.dumps(made)) == made
    return made


def dropped(codec: Codec, body: Json) -> frozenset[str]:
    """What of a request the codec says it loses."""
    request = openai_chat.parse_request(body)
    lost = codec.cannot_carry if codec.drops is None else codec.cannot_carry | codec.drops(request)
    return used_fields(request) & lost


def streamed(codec: Codec, body: bytes, framing: str = "sse") -> ir.ChatResponse:
    """The answer a stream tells: whole, byte by byte and cut at random it must be the same."""
    told = [_events(codec, cut(body), framing) for cut in (_whole, _bytes, _random)]
    assert told[0] == told[1] == told[2]
    return ir.collect(told[0])


def _events(codec: Codec, pieces: list[bytes], framing: str) -> list[ir.Event]:
    assert codec.stream_parser is not None
    cutter, parser = FRAMINGS[framing](), codec.stream_parser()
    frames = [frame for piece in pieces for frame in cutter.feed(piece)] + cutter.finish()
    return [event for frame in frames for event in parser.feed(frame)] + [*parser.finish()]


def _whole(body: bytes) -> list[bytes]:
    return [body]


def _bytes(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def _random(body: bytes) -> list[bytes]:
    rng = random.Random(len(body))
    edges = sorted({0, len(body), *(rng.randrange(len(body) + 1) for _ in range(20))})
    return [body[start:end] for start, end in pairwise(edges)]


def told(response: ir.ChatResponse) -> Json:
    """An answer of one choice as plain values; what it does not say is left out."""
    (choice,) = response.choices
    parts = choice.parts
    said: Json = {
        "text": "".join(part.text for part in parts if isinstance(part, ir.Text)),
        "thoughts": "".join(part.text for part in parts if isinstance(part, ir.Reasoning)),
        "calls": [(part.id, part.name, part.arguments) for part in parts if isinstance(part, ir.ToolCall)],
        "reason": choice.finish_reason,
    }
    if response.usage is not None:
        said["tokens"] = (response.usage.input_tokens, response.usage.output_tokens)
    return {name: value for name, value in said.items() if value}


def meaning(error: UpstreamRejected) -> tuple[int, Any, bool, str]:
    """Status and code, whether another channel may be tried, and what becomes of this one."""
    found = verdict(error)
    return error.upstream_status, error.provider_code, found.may_retry, found.blame


def replied(body: Any, status: int = 200, kind: str = "application/json") -> WholeReply:
    """A whole reply with these bytes, or with this value as JSON."""
    return WholeReply(status, {"content-type": kind}, body if isinstance(body, bytes) else json.dumps(body).encode())


def driven(flow: Flow, *replies: WholeReply) -> tuple[list[UpstreamRequest], Any]:
    """What a flow sends when it is answered so, and what it gives in the end; its pauses take no time."""
    requests: list[UpstreamRequest] = []
    found: WholeReply | None = None
    answers = iter(replies)
    try:
        while True:
            wanted = flow.send(found)
            if isinstance(wanted, Pause):
                found = None
            else:
                requests.append(wanted)
                found = next(answers)
    except StopIteration as stop:
        assert not [*answers], "not all replies were asked for"
        return requests, stop.value
