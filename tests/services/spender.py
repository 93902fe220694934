"""A worker process for tests: spends what it can of user 1 once it is given a line, and prints how many calls were
made and refused.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402
import sys
from pathlib import Path

import gevent
from gevent.pool import Pool
from sqlalchemy.engine import URL

from oneapi.config import Config
from oneapi.database import open_engine
from oneapi.errors import InsufficientQuota
from oneapi.services.quota import Ledger
from tests.services.books import caller, cost


def main(path: str, spool_dir: str, name: str) -> None:
    engine = open_engine(URL.create("sqlite", database=path), Config())
    ledger = Ledger(engine=engine, spool_dir=Path(spool_dir), worker_id=name)
    ledger.start()
    made = refused = 0

    def call(number: int) -> None:
        nonlocal made, refused
        try:
            hold = ledger.reserve(caller(is_unlimited=False), 10, f"{name}-{number}")
        except InsufficientQuota:
            refused += 1
            return
        gevent.sleep(0.001)
        ledger.settle(hold, cost(7, hold.request_id))
        made += 1

    print("ready", flush=True)
    sys.stdin.readline()
    pool = Pool(20)
    for number in range(300):
        pool.spawn(call, number)
    pool.join(raise_error=True)
    ledger.stop()
    print(made, refused)


if __name__ == "__main__":
    main(*sys.argv[1:])
