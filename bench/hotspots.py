#!/usr/bin/env python3
"""Where a worker's time goes, and writes bench/HOTSPOTS.md: whole answers at 64 connections, and 1,000 streams.

    python bench/hotspots.py [--seconds 20]

Samples of one worker on one core, with the load and the mock on another (bench/sampler). Shares are of all samples.
"""

import argparse
import contextlib
import json
import os
import platform
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from run import HERE, MOCK, ROOT, compare, ours, processor, running

WARM_S = 3.0
MOST = 25
# What a request goes through, by the function that all of it happens within.
STAGES = {
    "reading the request": ("relay/worker.py _beginning", "relay/worker.py _read_head", "relay/worker.py _read_body"),
    "the whole relay": ("relay/pipeline.py relay",),
    "– finding the caller": ("oneapi/app.py authenticate",),
    "– choosing routes": ("relay/pipeline.py _plan",),
    "– reserving quota, without the commit": ("relay/pipeline.py _reserve",),
    "– converting the request": ("relay/attempts.py _converted",),
    "– sending it": ("relay/upstream.py send",),
    "– waiting for the answer's head": ("transport/direct.py wait",),
    "– reading the answer": ("relay/attempts.py _read", "relay/stream.py pull"),
    "– what it costs, and the log row": ("relay/accounting.py settlement",),
    "– settling, without the commit": ("services/quota.py settle",),
    "– health, metrics, reminders": ("oneapi/app.py observe",),
    "sending the answer": ("relay/worker.py _send",),
    "commits of the ledger": ("services/ledger_writer.py _write",),
    "the event loop itself": ("gevent/hub.py run",),
}


Seen = dict[str, Any]


def samples(load: Sequence[str], seconds: float) -> Seen:
    """What was seen of a worker under the load that compare.py makes with these options."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=HERE)))
        mock = ["node", str(HERE / "mock_upstream.js"), "--port", str(MOCK)]
        stack.enter_context(running(mock, port=MOCK, core="1"))
        file = folder / "samples.json"
        sampler = {"SAMPLES": str(file), "PYTHONPATH": f"{HERE / 'sampler'}{os.pathsep}{ROOT}"}
        gateway = stack.enter_context(ours(folder, 1, "0", 9500, sampler))
        worker = int(subprocess.check_output(["pgrep", "-P", str(gateway.pid)], text=True).split()[-1])
        loading = threading.Thread(target=compare, args=([gateway], *load))
        loading.start()
        time.sleep(WARM_S)
        os.kill(worker, signal.SIGRTMIN + 1)
        time.sleep(seconds)
        os.kill(worker, signal.SIGRTMIN + 2)
        while not file.exists():
            time.sleep(0.1)
        seen: Seen = json.loads(file.read_text())
        loading.join()
    return seen


def told(title: str, seen: Seen) -> list[str]:
    total, within = seen["samples"], dict(seen["within"])

    def share(count: int) -> str:
        return f"{100 * count / total:.1f} %"

    lines = [f"## {title}", "", f"{total} samples of a millisecond.", "", "| within | share |", "| --- | --- |"]
    for stage, functions in STAGES.items():
        if count := sum(within.get(function, 0) for function in functions):
            lines.append(f"| {stage} | {share(count)} |")
    lines += ["", "| by itself | share |", "| --- | --- |"]
    lines += [f"| `{name}` | {share(count)} |" for name, count in seen["own"][:MOST]]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="how long samples are taken")
    seconds = parser.parse_args().seconds
    whole = ["--rounds", "1", "--seconds", str(int(seconds + 2 * WARM_S))]
    streams = shlex.split("--mode stream --rounds 1 --streams 1000 --chunks 60 --delay 500 --ramp 3")
    lines = [
        "# Where the time goes",
        "",
        f"Written by `bench/hotspots.py` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; Python "
        f"{platform.python_version()}, {processor()}. One worker on one core, billing on,",
        "SQLite with `synchronous=FULL`. A function that calls into C is charged for the call: `send` and",
        "`receive` are the kernel's work, `run` the event loop's and its waits.",
        "",
        *told("Whole answers, 64 connections", samples(whole, seconds)),
        *told("1,000 streams", samples(streams, seconds)),
    ]
    text = "\n".join(lines)
    (HERE / "HOTSPOTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
