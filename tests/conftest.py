from gevent import monkey

monkey.patch_all()  # first, as in every process of the program

# ruff: noqa: E402
import os
from pathlib import Path

import pytest

from tests.needs import lacking

pytest_plugins = ["tests.gateway", "tests.servers"]

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Recorded traffic of providers: ONEAPI_FIXTURES, or ../shared/fixtures beside the checkout."""
    folder = Path(os.environ.get("ONEAPI_FIXTURES") or ROOT.parent / "shared" / "fixtures")
    if not folder.is_dir():
        lacking(f"no recordings in {folder}: set ONEAPI_FIXTURES to their folder")
    return folder
