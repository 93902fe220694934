#!/usr/bin/env python3
"""Measures several servers in turn, round after round, and prints each one's figures and ratios to the first.

On a noisy machine only figures taken side by side mean anything: each round visits every target once, in an
order that turns by one each round, and the ratio printed is the median of the rounds' own ratios.

A target is NAME=URL, then optional fields after semicolons: pid=N (that process and its children are charged
for CPU and memory), token=KEY, model=NAME, header=NAME:VALUE (once per header). For instance
  compare.py 'direct=http://127.0.0.1:9100/v1/chat/completions' 'ours=http://127.0.0.1:3000/v1/chat/completions;pid=71'
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def family(pid):
    """A process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def usage(pid):
    """CPU seconds spent, resident MB, threads and open files of a process and its descendants, added up."""
    total = {"cpu": 0.0, "rss_mb": 0.0, "threads": 0, "fds": 0}
    for member in family(pid):
        try:
            with open(f"/proc/{member}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            total["fds"] += len(os.listdir(f"/proc/{member}/fd"))
        except OSError:
            continue
        total["cpu"] += (int(fields[11]) + int(fields[12])) / TICK
        total["threads"] += int(fields[17])
        total["rss_mb"] += int(fields[21]) * PAGE / 1e6
    return total


class Target:
    def __init__(self, text):
        self.name, _, rest = text.partition("=")
        self.url, *fields = rest.split(";")
        self.pid, self.token, self.model, self.headers = None, "sk-bench", None, []
        for field in fields:
            key, _, value = field.partition("=")
            if key == "pid":
                self.pid = int(value)
            elif key == "header":
                self.headers.append(value)
            elif key in ("token", "model"):
                setattr(self, key, value)
            else:
                sys.exit(f"{text}: what is {key}?")
        self.rounds = []

    def chat(self, args):
        env = dict(
            os.environ,
            TOKEN=self.token,
            MODEL=self.model or "gpt-4o-mini",
            HEADERS=";".join(self.headers),
            PROMPT_BYTES=str(args.prompt_bytes),
        )
        command = [
            *args.pin,
            "wrk",
            f"-t{args.threads}",
            f"-c{args.connections}",
            f"-d{args.seconds:g}s",
            "--timeout",
            "30s",
            "-s",
            os.path.join(HERE, "chat.lua"),
            self.url,
        ]
        output = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        result = json.loads(output.strip().splitlines()[-1])
        result["work"] = result["requests"]
        return result

    def stream(self, args):
        command = [
            *args.pin,
            sys.executable,
            os.path.join(HERE, "stream_load.py"),
            self.url,
            "--token",
            self.token,
            "--streams",
            str(args.streams),
            "--chunks",
            str(args.chunks),
            "--delay",
            str(args.delay),
            "--first",
            str(args.first),
            "--ramp",
            str(args.ramp),
            "--prompt-bytes",
            str(args.prompt_bytes),
        ]
        for header in self.headers:
            command += ["--header", header]
        if self.model:
            command += ["--model", self.model]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        top = 0
        while running.poll() is None and self.pid:
            top = max(top, usage(self.pid)["rss_mb"])
            time.sleep(0.5)
        result = json.loads(running.communicate()[0])
        flat = {
            "ok": result["ok"],
            "failed": result["streams"] - result["ok"],
            "errors": result["errors"],
            "peak_concurrent": result["peak_concurrent"],
            "chunks_per_s": result["chunks_per_s"],
            "streams_per_s": result["streams_per_s"],
        }
        for key in ("ttft_ms", "chunk_delay_ms", "total_ms"):
            for name, value in (result[key] or {}).items():
                flat[f"{key[:-3]}_{name}"] = value
        if top:
            flat["peak_rss_mb"] = round(top, 1)
        flat["work"] = result["chunks"]
        return flat

    def measure(self, args):
        before = usage(self.pid) if self.pid else None
        began = time.monotonic()
        result = getattr(self, args.mode)(args)
        took = time.monotonic() - began
        work = result.pop("work")
        if before:
            after = usage(self.pid)
            spent = after["cpu"] - before["cpu"]
            result["cpu_us_each"] = round(spent / work * 1e6, 1) if work else None
            result["cores"] = round(spent / took, 2)
            result["rss_mb"] = round(after["rss_mb"], 1)
        self.rounds.append(result)


def report(targets):
    summary = {}
    for target in targets:
        figures = {}
        for key, first in target.rounds[0].items():
            if isinstance(first, dict):
                merged = {}
                for result in target.rounds:
                    for name, count in result[key].items():
                        merged[name] = merged.get(name, 0) + count
                figures[key] = merged
                continue
            values = [r.get(key) for r in target.rounds]
            if any(value is None for value in values):
                continue
            figures[key] = {"median": round(statistics.median(values), 3), "min": min(values), "max": max(values)}
            pairs = [(own, base.get(key)) for own, base in zip(values, targets[0].rounds, strict=True)]
            if target is not targets[0] and all(base for _, base in pairs):
                figures[key]["ratio"] = round(statistics.median(own / base for own, base in pairs), 3)
        summary[target.name] = figures
    return summary


def table(summary):
    lines = []
    for name, figures in summary.items():
        lines.append(name)
        for key, value in figures.items():
            if "median" not in value:
                if value:
                    lines.append(f"  {key:18} {value}")
                continue
            ratio = f"  x{value['ratio']:g} of first" if "ratio" in value else ""
            lines.append(f"  {key:18} {value['median']:>12g}  [{value['min']:g} .. {value['max']:g}]{ratio}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="+", type=Target)
    parser.add_argument(
        "--mode",
        choices=("chat", "stream"),
        default="chat",
        help="chat: whole answers, by wrk; stream: SSE answers, by stream_load.py",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pin", default=None, metavar="CPUS", help="run the load generator on these CPUs (taskset)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of a table")
    parser.add_argument("--prompt-bytes", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5, help="chat: how long each visit lasts")
    parser.add_argument("--connections", type=int, default=64, help="chat: 1 shows latency, 64 or more saturates")
    parser.add_argument("--threads", type=int, default=1, help="chat: wrk's threads")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--delay", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--ramp", type=float, default=1)
    args = parser.parse_args()
    args.pin = ["taskset", "-c", args.pin] if args.pin else []
    for turn in range(args.rounds):
        shift = turn % len(args.target)
        for target in args.target[shift:] + args.target[:shift]:
            target.measure(args)
    summary = report(args.target)
    print(json.dumps(summary) if args.json else table(summary))


if __name__ == "__main__":
    main()
