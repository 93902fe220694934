"""What tests need from the machine. A test that lacks it is skipped with a line that says how to get it.

Where ONEAPI_REQUIRE_SERVICES=1, as in CI, lacking something fails instead: nothing goes untested in silence.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

# Name -> where its program is (names on PATH or patterns of paths), and Debian's package.
_SERVICES = {
    "chromium": (("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "mariadb": (("mariadbd", "/usr/sbin/mariadbd"), "mariadb-server"),
    "nginx": (("nginx", "/usr/sbin/nginx"), "nginx"),
    "node": (("node",), "nodejs"),
    "postgresql": (("/usr/lib/postgresql/*/bin/postgres", "postgres"), "postgresql"),
    "redis": (("redis-server",), "redis-server"),
    "systemd": (("systemd-analyze",), "systemd"),
    "wrk": (("wrk",), "wrk"),
}


def lacking(reason: str) -> NoReturn:
    """Skips the test, or fails it where everything must be there."""
    if os.environ.get("ONEAPI_REQUIRE_SERVICES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_service(name: str) -> Path:
    """The service's program."""
    places, package = _SERVICES[name]
    for place in places:
        if "*" in place:
            found = sorted(Path("/").glob(place.lstrip("/")))
            if found:
                return found[-1]
        elif program := shutil.which(place):
            return Path(program)
    lacking(f"{name} is not installed: apt-get install {package}")
