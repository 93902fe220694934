"""How much CPU a reservation and its settlement cost, and how long they take.

    python bench/ledger.py                                        SQLite in a new folder beside this file
    python bench/ledger.py --processes 2                          two workers on one file
    python bench/ledger.py --processes 2 --rate 500               as many calls a second in each, come what may
    python bench/ledger.py --url mysql+pymysql://… --users 50     a database that may be filled and emptied

Without --rate, all greenlets reserve and settle without a pause, more than any gateway could do beside its work:
latency is then that of a full queue. CPU is what the ledger takes in all threads, without the bench's own calls.
Tables are made where they are missing, and rows of earlier runs deleted.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402
import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gevent
from sqlalchemy import Engine, create_engine, delete, insert
from sqlalchemy.engine import make_url

from oneapi.config import Config
from oneapi.database import open_engine
from oneapi.extensions import db
from oneapi.models import Channel, Hold, Log, Token, User
from oneapi.relay.exchange import Caller, LogEntry, Settlement
from oneapi.relay.exchange import Hold as Held
from oneapi.services.quota import Ledger

RECEIPT = json.dumps(
    {
        "usage": {"prompt_tokens": 812, "completion_tokens": 214, "cached_tokens": 512},
        "buckets": {"input": 300, "cached": 512, "output": 214},
        "price": {"input": "0.075", "cached": "0.0375", "output": "0.3"},
        "group_ratio": "1",
        "hold": 4000,
        "quota": 106,
        "attempts": [{"channel": 1, "status": 200, "ms": 1812}],
    }
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="SQLAlchemy URL of a database; default: a new SQLite file")
    parser.add_argument("--greenlets", type=int, default=64, help="in each process")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--users", type=int, default=1, help="among whom the calls are spread")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=0, help="calls a second in each process, at random moments")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        print(json.dumps(run(open_engine(make_url(given.url), Config()), given)))
        return
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix="ledger-") as folder:
        given.url = given.url or f"sqlite:///{folder}/bench.db"
        prepare(create_engine(given.url), given.users)
        arguments = [f"--{name}={getattr(given, name)}" for name in ("url", "greenlets", "users", "seconds", "rate")]
        children = [
            subprocess.Popen([sys.executable, __file__, *arguments, f"--child={number}"], stdout=subprocess.PIPE)
            for number in range(given.processes)
        ]
        results = [json.loads(child.communicate()[0]) for child in children]
    for result in results:
        print(
            "{pairs} pairs, {rate:.0f}/s, {cpu_us:.1f} µs of CPU each ({loop_us:.1f} on the loop), "
            "p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms".format(**result)
        )


def prepare(engine: Engine, users: int) -> None:
    for metadata in db.metadatas.values():
        metadata.create_all(engine)
    with engine.begin() as connection:
        for model in (User, Token, Channel, Hold, Log):
            connection.execute(delete(model))
        for number in range(1, users + 1):
            connection.execute(insert(User).values(id=number, username=f"user{number}", quota=10**15))
            connection.execute(insert(Token).values(id=number, user_id=number, key=f"key{number}", remain_quota=10**15))
        connection.execute(insert(Channel).values(id=1, name="bench", key="", type=1))
    engine.dispose()


class Nothing:
    """A ledger that does nothing: what is left is the bench's own work."""

    def reserve(self, caller: Caller, quota: int, request_id: str) -> Held:
        return Held(request_id, caller.user_id, caller.token_id, quota, quota)

    def settle(self, hold: Held, settlement: Settlement) -> None:
        pass


def run(engine: Engine, given: argparse.Namespace) -> dict[str, float]:
    own = measure(Nothing(), given, seconds=0.5)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(engine=engine, spool_dir=Path(folder), worker_id=f"bench-{given.child}")
        ledger.start()
        figures = measure(ledger, given, seconds=given.seconds)
        ledger.stop()
    return figures | {name: figures[name] - own[name] for name in ("cpu_us", "loop_us")}


def measure(ledger: Ledger | Nothing, given: argparse.Namespace, *, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    until = time.monotonic() + seconds

    def call(number: int) -> None:
        user = number % given.users + 1
        caller = Caller(
            user_id=user, username=f"user{user}", group="default", role=1, user_quota=0,
            token_id=user, token_name="default", token_quota=0, is_unlimited=False,
        )  # fmt: skip
        request_id = f"20260101{given.child:04}{number:012}"
        log = LogEntry(
            user_id=user, created_at=int(time.time()), type=2, content="倍率：0.07 × 1.00 × 4.00",
            username=f"user{user}", token_name="default", model_name="gpt-4o-mini", quota=106, prompt_tokens=812,
            completion_tokens=214, channel_id=1, elapsed_time=1812, is_stream=True, token_id=user, first_token_ms=312,
            requested_model="gpt-4o-mini", receipt=RECEIPT, request_id=request_id,
        )  # fmt: skip
        started = time.monotonic()
        hold = ledger.reserve(caller, 4000, request_id)
        reserved = time.monotonic()
        if given.rate:
            gevent.sleep(random.uniform(0.005, 0.05))
        answered = time.monotonic()
        ledger.settle(hold, Settlement(quota=106, channel_id=1, log=log))
        latencies.append(reserved - started)
        latencies.append(time.monotonic() - answered)

    def calls_without_pause() -> None:
        while time.monotonic() < until:
            call(next(numbers))

    numbers = itertools.count()
    started, cpu, loop = time.monotonic(), time.process_time(), time.thread_time()
    if given.rate:
        calls = []
        while time.monotonic() < until:
            gevent.sleep(random.expovariate(given.rate))
            calls.append(gevent.spawn(call, next(numbers)))
    else:
        calls = [gevent.spawn(calls_without_pause) for _ in range(given.greenlets)]
    gevent.joinall(calls, raise_error=True)
    elapsed, cpu, loop = time.monotonic() - started, time.process_time() - cpu, time.thread_time() - loop
    pairs = len(latencies) // 2
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "pairs": pairs,
        "rate": pairs / elapsed,
        "cpu_us": cpu / pairs * 1e6,
        "loop_us": loop / pairs * 1e6,
        "p50": cuts[49] * 1e3,
        "p99": cuts[98] * 1e3,
        "worst": max(latencies) * 1e3,
    }


if __name__ == "__main__":
    main()
