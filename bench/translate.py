"""What a piece of a streamed answer costs: passed on as it came, and translated, for every provider that streams.

    python bench/translate.py [--rounds 15] [--pieces 400] [--gateway-rounds 5]

Writes bench/REPORT-translate.md. First by themselves the steps that the pipeline takes for each read: framing, parser,
renderer (`oneapi/relay/stream.py`). Then the whole program with its sockets, for some providers, all played by one
server of this file's own. Each round visits all in turn; a figure is the median of rounds, a ratio the median of the
rounds' own ratios to the first.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import gevent
from compare import usage
from gevent import socket
from gevent.server import StreamServer
from provider_streams import (
    ARGUMENTS,
    COMPLETIONS,
    TEXTS,
    THOUGHTS,
    THROUGH_THE_GATEWAY,
    Sample,
    pieces,
    reads,
)
from run import KEY, PATH, ask, ours, processor

from oneapi.relay.adaptor import Rendering
from oneapi.relay.adaptors import load
from oneapi.relay.framing import FRAMINGS
from oneapi.relay.protocols import openai_chat, openai_completions
from oneapi.relay.stream import AnswerStream, Translated, Verbatim

HERE = Path(__file__).parent
TABLES = {"Text": TEXTS, "Thoughts": THOUGHTS, "Arguments of a tool's call": ARGUMENTS, "Text completions": COMPLETIONS}
GATEWAY = 9500
STREAMS, GATEWAY_PIECES, PAUSE_S = 50, 200, 0.02

_DIALECTS = {"chat": openai_chat.CODEC, "completions": openai_completions.CODEC}
_RENDERING = Rendering(id="chatcmpl-0123456789abcdef01234567", created_at=1751568164, model="m")


# ---- the steps by themselves ----


class Given:
    """An answer that is there already."""

    status = 200
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, data: Sequence[bytes]) -> None:
        self._data = iter(data)

    def wait(self, seconds: float) -> bool:
        return True

    def read(self, seconds: float) -> bytes | None:
        return next(self._data, b"")

    def close(self) -> None:
        pass


def stream_of(sample: Sample, data: Sequence[bytes]) -> AnswerStream:
    """The stream as `attempts` makes it for a client of OpenAI's dialect."""
    endpoint, dialect = sample.endpoint, _DIALECTS[sample.mode]
    framing = FRAMINGS[endpoint.framing]()
    if endpoint.codec.name == dialect.name:
        assert endpoint.codec.watcher is not None
        return Verbatim(Given(data), framing, endpoint.codec.watcher(), hide_usage=False, end=b"", count=len)
    assert endpoint.codec.stream_parser is not None and dialect.stream_renderer is not None
    parser, renderer = endpoint.codec.stream_parser(), dialect.stream_renderer(_RENDERING)
    return Translated(Given(data), framing, parser, renderer, count=len)


def pulled(stream: AnswerStream) -> list[bytes]:
    out = []
    while not stream.is_whole:
        if data := stream.pull(15):
            out.append(data)
    return out


def said(body: bytes) -> str:
    """All that a client reads in a stream."""
    texts: list[str] = []
    for line in body.split(b"\n"):
        if line[:6] == b"data: " and line != b"data: [DONE]":
            for choice in json.loads(line[6:])["choices"]:
                delta = choice.get("delta", choice)
                texts += [delta.get(name) or "" for name in ("text", "content", "reasoning_content")]
                texts += [call.get("function", {}).get("arguments", "") for call in delta.get("tool_calls") or ()]
    return "".join(texts)


def check(count: int) -> None:
    """That every stream is read whole, and that no way to stream is missing."""
    for sample in itertools.chain(*TABLES.values()):
        told = said(b"".join(pulled(stream_of(sample, reads(sample.frames(count))))))
        assert told == "".join(pieces(count)), f"{sample.name}: {told[:80]!r}"
    known = {sample.endpoint.codec.name for sample in itertools.chain(TEXTS, COMPLETIONS)}
    for adaptor in load().values():
        for mode, endpoint in adaptor.endpoints.items():
            if mode in _DIALECTS and endpoint.codec.stream_parser is not None:
                assert endpoint.codec.name in known, f"{adaptor.name} streams {endpoint.codec.name}, not measured"


def steps(samples: Sequence[Sample], count: int, rounds: int) -> list[list[float]]:
    """CPU per piece in µs, of each sample in each round."""
    data = [reads(sample.frames(count)) for sample in samples]
    found: list[list[float]] = [[] for _ in samples]
    for _ in range(rounds):
        for number, sample in enumerate(samples):
            streams = [stream_of(sample, data[number]) for _ in range(5)]
            began = time.process_time()
            for stream in streams:
                pulled(stream)
            found[number].append((time.process_time() - began) / (len(streams) * count) * 1e6)
    return found


# ---- the whole program ----

_KINDS = {"ndjson": "application/x-ndjson", "aws": "application/vnd.amazon.eventstream"}


def serve() -> None:
    """Plays the providers: the path begins with a sample's number."""

    def handle(sock: Any, _address: Any) -> None:
        while head := _head(sock):
            sample = THROUGH_THE_GATEWAY[int(head.split(b"/", 2)[1])]
            kind = _KINDS.get(sample.endpoint.framing, "text/event-stream")
            sock.sendall(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            for frame in sample.frames(GATEWAY_PIECES):
                sock.sendall(b"%x\r\n%b\r\n" % (len(frame), frame))
                gevent.sleep(PAUSE_S)
            sock.sendall(b"0\r\n\r\n")

    server = StreamServer(("127.0.0.1", 0), handle, backlog=STREAMS)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


def _head(sock: Any) -> bytes:
    """Reads a request; its head, empty where none comes any more."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := sock.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:")
    while len(body) < length:
        body += sock.recv(65536)
    return head


def asked(model: str) -> str:
    """What a stream from the gateway says."""
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    data = bytearray()
    with socket.create_connection(("127.0.0.1", GATEWAY)) as sock:
        sock.sendall(
            f"POST {PATH} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        while data[-5:] != b"0\r\n\r\n" and (more := sock.recv(65536)):
            data += more
            assert data[:13] == b"HTTP/1.1 200 ", data.decode()
    return said(b"".join(line + b"\n" for line in data.split(b"\r\n") if line[:6] == b"data: "))


def through_the_gateway(rounds: int) -> list[list[float]]:
    """The worker's CPU per piece in µs, of each provider in each round; a stream's own set-up is in it."""
    found: list[list[float]] = [[] for _ in THROUGH_THE_GATEWAY]
    command = ["taskset", "-c", "1", sys.executable, __file__, "--serve"]
    with (
        tempfile.TemporaryDirectory(dir=HERE) as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as providers,
        ours(Path(folder), 1, "0", GATEWAY) as gateway,
    ):
        assert providers.stdout is not None
        port = int(providers.stdout.readline())
        try:
            numbers = {adaptor.name: number for number, adaptor in load().items()}
            for number, sample in enumerate(THROUGH_THE_GATEWAY):
                channel = {"type": numbers[sample.adaptor], "name": sample.name, "key": "k", "group": "default"}
                channel |= {"models": sample.model, "base_url": f"http://127.0.0.1:{port}/{number}"}
                ask(f"http://127.0.0.1:{GATEWAY}/api/channel/", channel)
            time.sleep(2)  # the worker has seen them
            for _ in range(rounds):
                for number, sample in enumerate(THROUGH_THE_GATEWAY):
                    before = usage(gateway.pid)["cpu"]
                    readers = [gevent.spawn(asked, sample.model) for _ in range(STREAMS)]
                    for reader in gevent.joinall(readers, raise_error=True):
                        assert reader.value == "".join(pieces(GATEWAY_PIECES)), f"{sample.name}: {reader.value[:80]!r}"
                    spent = usage(gateway.pid)["cpu"] - before
                    found[number].append(spent / (STREAMS * GATEWAY_PIECES) * 1e6)
        finally:
            providers.terminate()
    return found


# ---- the report ----


def table(samples: Sequence[Sample], found: Sequence[Sequence[float]]) -> list[str]:
    lines = ["| provider | passed on | µs a piece | × the first |", "| --- | --- | --- | --- |"]
    for sample, figures in zip(samples, found, strict=True):
        ratio = statistics.median(own / base for own, base in zip(figures, found[0], strict=True))
        fidelity = "as it came" if sample.endpoint.codec.name == _DIALECTS[sample.mode].name else "translated"
        lines.append(f"| {sample.name} | {fidelity} | {statistics.median(figures):.1f} | {ratio:.2f} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--pieces", type=int, default=400, help="in each stream")
    parser.add_argument("--gateway-rounds", type=int, default=5, help="0: the steps alone, and no report is written")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return
    check(args.pieces)
    lines = [
        "# What a streamed piece costs",
        "",
        f"Written by `bench/translate.py` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {processor()}.",
        "CPU time; each table's first row is the base of its ratios. The client speaks OpenAI's dialect; a piece is a",
        "word or two, nearly always a read. All other channel types pass on what comes, as the first row does.",
        "",
        "## The steps by themselves: framing, parser, renderer",
        "",
    ]
    for title, samples in TABLES.items():
        lines += [f"### {title}", "", *table(samples, steps(samples, args.pieces, args.rounds))]
    if args.gateway_rounds:
        lines += [
            f"## The whole program: {STREAMS} streams of {GATEWAY_PIECES} pieces, one each {PAUSE_S * 1000:.0f} ms",
            "",
            "One worker on one core, billing on, SQLite. What a piece costs whichever way it goes (reading from one",
            "socket, writing to another, being woken for it) is the greater part here.",
            "",
            *table(THROUGH_THE_GATEWAY, through_the_gateway(args.gateway_rounds)),
        ]
        (HERE / "REPORT-translate.md").write_text("\n".join(lines).rstrip() + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
