#!/usr/bin/env python3
"""Opens many concurrent SSE chat completions, checks every chunk, and prints the delays as JSON.

One epoll loop on raw sockets that only stores bytes and times while streams run; all decoding and checking
happens afterwards, so that the client takes little of the CPU it shares with what it measures. Needs the mock
upstream of this folder behind the gateway: each of its chunks carries its number and the time it was sent.
"""

import argparse
import json
import re
import select
import socket
import time
from urllib.parse import urlsplit

MARK = re.compile(rb"\[(\d{5})\|(\d{15})\]")


class Stream:
    """One request: when it began, and the bytes that came back with their times."""

    __slots__ = ("began", "buffer", "ended", "error", "marks", "sock", "unsent")

    def __init__(self, sock, began, request):
        self.sock = sock
        self.began = began
        self.unsent = request
        self.buffer = bytearray()
        self.marks = []  # (bytes held, time) after each read
        self.error = None
        self.ended = None


def percentiles(values):
    if not values:
        return None
    values = sorted(values)
    last = len(values) - 1
    return {
        name: round(values[min(last, int(share * len(values)))], 3)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1))
    }


def unchunk(raw):
    """The body bytes of a chunked message, and for each byte range where it came from in `raw`."""
    body, places, at = bytearray(), [], 0
    while True:
        line = raw.find(b"\r\n", at)
        if line < 0:
            return body, places, False
        try:
            size = int(raw[at:line].split(b";")[0], 16)
        except ValueError:
            return body, places, False
        if size == 0:
            return body, places, True
        body += raw[line + 2 : line + 2 + size]
        places.append((len(body), line + 2 + size))
        if len(raw) < line + 4 + size:
            return body, places, False
        at = line + 4 + size


def judge(stream, chunks, delays):
    """What is wrong with a finished stream, or None; appends each chunk's delay in ms to `delays`."""
    if stream.error:
        return stream.error
    raw = stream.buffer
    split = raw.find(b"\r\n\r\n")
    if split < 0:
        return "no response"
    head = bytes(raw[:split]).lower()
    if not head.startswith(b"http/1.1 200"):
        return "status " + head[9:12].decode("latin1")
    rest = raw[split + 4 :]
    if b"transfer-encoding: chunked" in head:
        body, places, whole = unchunk(rest)
        if not whole:
            return "cut"
    else:
        body, places = rest, [(len(rest), len(rest))]
    numbers, place, mark = [], 0, 0
    for match in MARK.finditer(body):
        numbers.append(int(match[1]))
        end = match.end()
        if b"transfer-encoding: chunked" in head:
            while places[place][0] < end:
                place += 1
            before = places[place][0] - end
            end = max(places[place][1] - before, 0)
        end += split + 4
        while stream.marks[mark][0] < end:
            mark += 1
        delays.append((stream.marks[mark][1] - int(match[2]) / 1e6) * 1e3)
    if numbers != list(range(chunks)):
        return f"chunks damaged: {len(numbers)} of {chunks}"
    if not body.rstrip().endswith(b"data: [DONE]"):
        return "no [DONE]"
    return None


def run(args):
    url = urlsplit(args.url)
    address = (url.hostname, url.port or 80)
    body = json.dumps(
        {
            "model": args.model or f"mock-n{args.chunks}-d{args.delay}-f{args.first}",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "lorem ipsum " * (args.prompt_bytes // 12)}],
        }
    )
    extra = "".join(f"{name}: {value}\r\n" for name, value in (h.split(":", 1) for h in args.header))
    request = (
        f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {args.token}\r\n"
        f"Content-Type: application/json\r\nAccept: text/event-stream\r\n{extra}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
    poll = select.epoll()
    live, done, started = {}, [], 0
    now = time.monotonic
    begin = now()
    total = args.streams if not args.duration else None
    peak = 0

    def start():
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = Stream(sock, now(), request)
        sock.connect_ex(address)
        live[sock.fileno()] = stream
        poll.register(sock.fileno(), select.EPOLLOUT)

    def finish(fd, stream, error=None):
        stream.error = error
        stream.ended = now()
        poll.unregister(fd)
        stream.sock.close()
        stream.sock = None
        del live[fd]
        done.append(stream)

    while True:
        at = now() - begin
        due = args.streams if at >= args.ramp else int(args.streams * at / args.ramp) + 1
        if total is not None:
            while started < min(due, total):
                start()
                started += 1
            if not live and started >= total:
                break
        elif at < args.duration:
            while len(live) < due:
                start()
                started += 1
        elif not live:
            break
        peak = max(peak, len(live))
        wait = 0.001 if at < args.ramp or args.duration else 0.05
        for fd, event in poll.poll(wait):
            stream = live[fd]
            if event & select.EPOLLIN:
                try:
                    data = stream.sock.recv(262144)
                except OSError as error:
                    finish(fd, stream, type(error).__name__)
                    continue
                if not data:
                    finish(fd, stream)
                    continue
                stream.buffer += data
                stream.marks.append((len(stream.buffer), now()))
                if data.endswith(b"0\r\n\r\n"):
                    finish(fd, stream)
            elif event & (select.EPOLLERR | select.EPOLLHUP):
                finish(fd, stream, "connection refused or reset")
            elif event & select.EPOLLOUT:
                stream.unsent = stream.unsent[stream.sock.send(stream.unsent) :]
                if not stream.unsent:
                    poll.modify(fd, select.EPOLLIN)
        if at > args.limit:
            for fd, stream in list(live.items()):
                finish(fd, stream, f"not over after {args.limit:g} s")
            break
    seconds = now() - begin

    errors, ttft, totals, delays, good = {}, [], [], [], 0
    for stream in done:
        own = []
        wrong = judge(stream, args.chunks, own)
        if wrong:
            errors[wrong] = errors.get(wrong, 0) + 1
            continue
        good += 1
        delays += own
        totals.append((stream.ended - stream.began) * 1e3)
        data = stream.buffer.find(b"data:")
        first = next((at for held, at in stream.marks if held > data), stream.ended)
        ttft.append((first - stream.began) * 1e3)
    return {
        "streams": len(done),
        "ok": good,
        "errors": errors,
        "peak_concurrent": peak,
        "seconds": round(seconds, 2),
        "chunks": len(delays),
        "chunks_per_s": round(len(delays) / seconds, 1),
        "streams_per_s": round(good / seconds, 1),
        "ttft_ms": percentiles(ttft),
        "chunk_delay_ms": percentiles(delays),
        "total_ms": percentiles(totals),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="such as http://127.0.0.1:3000/v1/chat/completions")
    parser.add_argument("--streams", type=int, default=100, help="concurrent streams")
    parser.add_argument(
        "--duration",
        type=float,
        default=0,
        help="replace each finished stream by a new one for so many seconds; 0: one round",
    )
    parser.add_argument(
        "--ramp",
        type=float,
        default=1,
        help="seconds over which the streams start; keep it below chunks x delay, or they are never all open at once",
    )
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--delay", type=int, default=40, help="ms between chunks")
    parser.add_argument("--first", type=int, default=0, help="ms before the first chunk")
    parser.add_argument(
        "--model",
        help="ask for this model instead of one that names chunks and delays; "
        "--chunks must still be what the mock sends for it",
    )
    parser.add_argument("--prompt-bytes", type=int, default=500)
    parser.add_argument("--token", default="sk-bench")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--limit", type=float, default=120, help="give up after so many seconds")
    args = parser.parse_args()
    args.ramp = max(args.ramp, 1e-9)
    print(json.dumps(run(args)))


if __name__ == "__main__":
    main()
