#!/usr/bin/env python3
"""Measures the gateway beside nginx, and beside other gateways where they are installed, and writes bench/REPORT.md.

    python bench/run.py [--litellm COMMAND] [--portkey COMMAND] [--quick]

Everything runs on this machine: the mock upstream, nginx as a plain proxy before it, the program on SQLite with one
worker, billing and durable settlement on, and the peers with their cheapest settings (no database, no logging). Servers
are pinned to one core and the load with the mock to the other. Each figure is the median of rounds that visit every
server in turn, and each ratio the median of the rounds' own ratios: on a shared machine nothing else means anything.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
PATH = "/v1/chat/completions"
MOCK, NGINX = 9100, 9200
KEY = "benchbenchbenchbenchbenchbenchbenchbenchbenchbenc"[:48]
MODELS = ("gpt-4o-mini", *(f"mock-n50-d{delay}-f0" for delay in (40, 100, 200)), "mock-n60-d500-f0")
Figures = dict[str, Any]


@dataclass(frozen=True)
class Server:
    name: str
    url: str
    pid: int
    fields: str = ""  # further fields of compare.py's target

    @property
    def target(self) -> str:
        return f"{self.name}={self.url};pid={self.pid}{self.fields}"


@contextlib.contextmanager
def running(
    command: Sequence[str], *, port: int, core: str, cwd: Path = ROOT, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server on one core, from when its port answers until the block is left."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        sys.exit(f"Something serves on port {port} already: it would be measured in place of {command[0]}.")
    log = tempfile.TemporaryFile()  # noqa: SIM115  # closed below
    process = subprocess.Popen(
        ["taskset", "-c", core, *command],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                sys.exit(f"{command[0]} does not serve:\n{log.read().decode(errors='replace')[-3000:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        log.close()


@contextlib.contextmanager
def ours(
    folder: Path, workers: int, core: str, port: int, more: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """The program on SQLite, with a channel to the mock. `more` is for its environment."""
    environ = {
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": str(workers),
        "INITIAL_ROOT_TOKEN": KEY,
        "INITIAL_ROOT_ACCESS_TOKEN": "0123456789abcdef0123456789abcdef",
        "LOG_DIR": "",
        "PYTHONPATH": str(ROOT),
        **(more or {}),
    }
    with running([sys.executable, "-m", "oneapi"], port=port, core=core, cwd=folder, environ=environ) as process:
        base = f"http://127.0.0.1:{port}"
        channel = {"type": 1, "name": "mock", "key": "k", "base_url": f"http://127.0.0.1:{MOCK}"}
        ask(f"{base}/api/channel/", {**channel, "models": ",".join(MODELS), "group": "default"})
        time.sleep(2)  # every worker has seen it
        yield Server("ours", base + PATH, process.pid, f";token={KEY}")


def ask(url: str, body: Mapping[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode())
    request.add_header("Authorization", "0123456789abcdef0123456789abcdef")
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                if json.load(answer)["success"]:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def compare(servers: Sequence[Server], *options: str) -> dict[str, Figures]:
    command = [sys.executable, str(HERE / "compare.py"), "--json", "--pin", "1", *options]
    done = subprocess.run(
        [*command, *(server.target for server in servers)], capture_output=True, text=True, check=True
    )
    summary: dict[str, Figures] = json.loads(done.stdout)
    return summary


def commit_ms(folder: Path) -> float:
    """One durable commit of a small row on this disk, as SQLite makes it."""
    connection = sqlite3.connect(folder / "commit.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER)")
    took = []
    for number in range(200):
        began = time.perf_counter()
        connection.execute("INSERT INTO row VALUES (?)", (number,))
        took.append(time.perf_counter() - began)
    connection.close()
    return statistics.median(took) * 1000


def scan_us(size: int) -> float:
    """One look through a JSON body of that size by the standard library."""
    body = json.dumps(
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "lorem ipsum " * (size // 12)}]}
    )
    took = []
    for _ in range(50):
        began = time.perf_counter()
        json.loads(body)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def first_answer_s(folder: Path, port: int) -> float:
    """From the command, on a prepared database, to the first answer of the relay."""
    began = time.monotonic()
    with running(
        [sys.executable, "-m", "oneapi"],
        port=port,
        core="0",
        cwd=folder,
        environ={"BIND": f"127.0.0.1:{port}", "WEB_CONCURRENCY": "1", "LOG_DIR": "", "PYTHONPATH": str(ROOT)},
    ):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models")
        request.add_header("Authorization", f"Bearer {KEY}")
        with urllib.request.urlopen(request, timeout=30):
            return time.monotonic() - began


_LITELLM = {"LITELLM_LOG": "ERROR", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}


def litellm(command: str, folder: Path) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: gpt-4o-mini\n    litellm_params:\n      model: openai/gpt-4o-mini\n"
        f"      api_base: http://127.0.0.1:{MOCK}/v1\n      api_key: k\n"
    )
    options = ["--config", str(config), "--port", "9300", "--num_workers", "1"]
    return running([*shlex.split(command), *options], port=9300, core="0", environ=_LITELLM)


def portkey(command: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return running([*shlex.split(command), "--port=9400", "--headless"], port=9400, core="0")


def row(name: str, figures: Figures, keys: Sequence[str]) -> str:
    cells = []
    for key in keys:
        figure = figures.get(key)
        if figure is None:
            cells.append("–")
        else:
            ratio = f" (×{figure['ratio']:.2f})" if "ratio" in figure else ""
            cells.append(f"{figure['median']:g}{ratio}")
    return f"| {name} | " + " | ".join(cells) + " |"


def table(summary: Mapping[str, Figures], keys: Sequence[str]) -> list[str]:
    head = "| server | " + " | ".join(keys) + " |"
    rule = "| --- |" + " --- |" * len(keys)
    return [head, rule, *(row(name, figures, keys) for name, figures in summary.items()), ""]


CHAT = ("rps", "p50_ms", "p99_ms", "cpu_us_each", "rss_mb", "not_2xx")
STREAM = ("ok", "failed", "cpu_us_each", "chunk_delay_p50", "chunk_delay_p99", "peak_rss_mb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", default=shutil.which("litellm"), help="LiteLLM's proxy command")
    parser.add_argument(
        "--portkey", help="Portkey's gateway, for instance: node …/@portkey-ai/gateway/build/start-server.js"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, to try the script")
    args = parser.parse_args()
    rounds, seconds = ("2", "2") if args.quick else ("5", "4")
    lines = [
        "# What was measured",
        "",
        f"Written by `bench/run.py` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {processor()}. The first server of each table is the base of the ratios (×).",
        "One worker on one core, billing on, SQLite with `synchronous=FULL`. `cpu_us_each` is CPU per request, or per",
        "streamed chunk with the stream's own set-up shared out.",
        "",
    ]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=HERE)))
        mock = ["node", str(HERE / "mock_upstream.js"), "--port", str(MOCK)]
        stack.enter_context(running(mock, port=MOCK, core="1"))
        (folder / "nginx").mkdir()
        nginx_command = ["nginx", "-p", str(folder / "nginx"), "-c", str(HERE / "nginx_baseline.conf")]
        nginx = stack.enter_context(running(nginx_command, port=NGINX, core="0"))
        base = Server("nginx", f"http://127.0.0.1:{NGINX}{PATH}", nginx.pid)
        one = folder / "one"
        one.mkdir()
        with ours(one, 1, "0", 9500) as gateway:
            lines += ["## Whole answers, 64 connections", ""]
            lines += table(compare([base, gateway], "--rounds", rounds, "--seconds", seconds), CHAT)
            alone = compare([base, gateway], "--rounds", rounds, "--seconds", seconds, "--connections", "1")
            lines += [f"## One connection (one durable commit of this disk: {commit_ms(folder):.2f} ms)", ""]
            lines += table(alone, CHAT)
            large = compare([base, gateway], "--rounds", rounds, "--seconds", seconds, "--prompt-bytes", "200000")
            lines += [f"## Prompts of 200 kB (one JSON scan of it: {scan_us(200_000):.0f} µs)", ""]
            lines += table(large, CHAT)
            streams = ["--mode", "stream", "--rounds", "2" if args.quick else "3"]
            many = compare([base, gateway], *streams, "--streams", "1000", "--delay", "200", "--ramp", "3")
            lines += ["## 1,000 streams of 50 chunks, one each 200 ms", "", *table(many, STREAM)]
        with ours(one, 1, "0", 9500) as gateway:
            most = compare([gateway], "--mode", "stream", "--rounds", "1", "--streams", "3000", "--chunks", "60",
                           "--delay", "500", "--ramp", "10")  # fmt: skip
            lines += ["## 3,000 streams on one worker (memory includes gunicorn's master)", "", *table(most, STREAM)]
        two = folder / "two"
        two.mkdir()
        with ours(two, 2, "0,1", 9501) as gateway:
            pair = compare([gateway], "--rounds", rounds, "--seconds", seconds, "--connections", "16")
            lines += ["## Two workers on one SQLite file, 16 connections", "", *table(pair, CHAT)]
        lines += [f"Start to first answer: {first_answer_s(one, 9502):.1f} s (prepared database).", ""]
        for name, command in (("litellm", args.litellm), ("portkey", args.portkey)):
            if not command:
                lines += [f"{name} was not installed here.", ""]
                continue
            peer = stack.enter_context(litellm(command, folder) if name == "litellm" else portkey(command))
            if name == "litellm":
                server = Server(name, f"http://127.0.0.1:9300{PATH}", peer.pid)
            else:
                fields = (
                    ";header=x-portkey-provider:openai" + f";header=x-portkey-custom-host:http://127.0.0.1:{MOCK}/v1"
                )
                server = Server(name, f"http://127.0.0.1:9400{PATH}", peer.pid, fields)
            with ours(one, 1, "0", 9500) as gateway:
                lines += [f"## Beside {name}", ""]
                lines += table(compare([server, gateway], "--rounds", "3", "--seconds", seconds), CHAT)
    text = "\n".join(lines)
    (HERE / "REPORT.md").write_text(text)
    print(text)


def processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    main()
