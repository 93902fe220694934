"""The whole suite in two halves at once: what runs programs and browsers, and everything else.

    python -m tools.shards [flags of pytest]

The first mostly waits, the second mostly computes; together they take two thirds of the time. Given a path or -k, or
anything else that picks tests, it is plain pytest.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile

FIRST = ("tests/street", "tests/panel")
_PICKING = re.compile(r"(?!-)|-[km]|--(lf|last-failed|ff|co|collect-only)$")


def main(flags: list[str]) -> int:
    if any(map(_PICKING.match, flags)):
        return _pytest(flags).wait()
    with tempfile.TemporaryFile() as kept:
        others = _pytest([*flags, *(f"--ignore={folder}" for folder in FIRST)], kept)
        first = _pytest([*flags, *FIRST]).wait()
        status = others.wait()
        kept.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(kept.read())
    return first or status


def _pytest(arguments: list[str], output: object = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT if output else None)  # type: ignore[call-overload,no-any-return]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
