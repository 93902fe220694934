"""A sampling profiler for a worker: put this folder on PYTHONPATH, and see bench/hotspots.py.

Where SAMPLES names a file, signal SIGRTMIN+1 begins to take one sample for each millisecond of CPU, and SIGRTMIN+2
writes what was seen, as JSON. Until then it costs nothing. A function that calls into C is charged for the call.
"""

import json
import os
import signal
from collections import Counter

_own = Counter()
_within = Counter()


def _name(code):
    return f"{'/'.join(code.co_filename.split('/')[-2:])} {code.co_name}"


def _sample(_signal, frame):
    if frame is None:
        return
    _own[_name(frame.f_code)] += 1
    seen = set()
    while frame is not None:
        seen.add(frame.f_code)
        frame = frame.f_back
    for name in set(map(_name, seen)):
        _within[name] += 1


def _begin(_signal, _frame):
    signal.signal(signal.SIGPROF, _sample)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)


def _write(_signal, _frame):
    signal.setitimer(signal.ITIMER_PROF, 0)
    seen = {"samples": _own.total(), "own": _own.most_common(), "within": _within.most_common()}
    path = os.environ["SAMPLES"]
    with open(path + ".part", "w") as file:
        json.dump(seen, file)
    os.replace(path + ".part", path)


if os.environ.get("SAMPLES"):
    signal.signal(signal.SIGRTMIN + 1, _begin)
    signal.signal(signal.SIGRTMIN + 2, _write)
