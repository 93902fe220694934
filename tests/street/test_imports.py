"""`oneapi import-models` and `oneapi import-prices` beside a running program, which sells at the new price."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.gateway import StartGateway
from tests.street.clients import ask
from tests.street.console import UNLIMITED, Console
from tests.street.upstreams import INPUT_TOKENS, OUTPUT_TOKENS, MockUpstream

MODEL = "mock"  # one of the two that the mock lists; it has no price
PRICE = {"litellm_provider": "house", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 3e-06}
OLD_COST = (INPUT_TOKENS + OUTPUT_TOKENS) * 30
NEW_COST = INPUT_TOKENS // 2 + OUTPUT_TOKENS * 3 // 2


def command(console: Console, *arguments: str) -> list[str]:
    """The lines a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "oneapi", *arguments],
        cwd=console.gateway.folder,
        env=console.gateway.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def cost(console: Console, key: str) -> int:
    """What one more answer costs."""
    heard = ask(console.url, key, MODEL)
    assert heard.is_answered, heard
    with console.books() as books:
        (quota,) = books.execute("SELECT quota FROM logs WHERE request_id = ?", (heard.request_id,)).fetchone()
    return int(quota)


@pytest.fixture
def console(start_gateway: StartGateway) -> Console:
    return Console(start_gateway(**UNLIMITED))


def test_models_and_prices_are_taken_over_while_the_program_serves(console: Console, mock: MockUpstream) -> None:
    with console:
        channel = console.channel(mock.url, models=f"alias,{MODEL},gone", model_mapping={"alias": MODEL}, name="c")
        key = console.token(console.user())
        console.wait_until_known(MODEL, key)
        dearer, free = command(console, "import-models", str(channel)), ["alias", "gone", MODEL]
        assert dearer == [
            f"Channel {channel} (c, OpenAI) lists 3 models, its provider 2.",
            "+ gpt-4o-mini  $0.15 in, $0.6 out a million tokens",
            "- gone",
            "Nothing was changed yet; --apply does it: 1 models added, 1 taken away.",
        ]
        assert console.models(key) == free
        command(console, "import-models", str(channel), "--apply")
        console.wait_until(lambda: console.models(key) == ["alias", "gpt-4o-mini", MODEL])
        with console.books() as books:
            (told,) = books.execute("SELECT content FROM logs WHERE content LIKE '%import-models%'").fetchone()
        changed = f"models: alias,{MODEL},gone → alias,{MODEL},gpt-4o-mini"
        assert told == f"oneapi import-models updated channel {channel} (c): {changed}"

        assert cost(console, key) == OLD_COST
        prices = console.gateway.folder / "prices.json"
        prices.write_text(json.dumps({MODEL: PRICE}))
        assert command(console, "import-prices", str(prices), "--apply")[-1] == "Done: prices of 1 models saved."
        console.wait_until(lambda: cost(console, key) == NEW_COST)
