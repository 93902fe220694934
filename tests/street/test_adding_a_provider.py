"""docs/adding-a-provider.md, followed to the letter: one file in a folder of one's own, one case, and it is served."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from oneapi.relay import adaptors
from tests.gateway import Gateway
from tests.relay import test_cases as cases
from tests.street.console import ROOT_KEY, UNLIMITED, Console

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-provider.md"
BLOCKS = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))


@pytest.fixture
def adaptors_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "adaptors"
    folder.mkdir()
    (folder / "acme.py").write_text(BLOCKS["acme.py"], "utf-8")
    return folder


@pytest.fixture
def case(tmp_path: Path) -> Path:
    folder = tmp_path / "fixtures" / "acme" / "chat"
    folder.mkdir(parents=True)
    for name in BLOCKS.keys() - {"acme.py"}:
        (folder / name).write_text(BLOCKS[name], "utf-8")
    return folder


@pytest.fixture
def looking_there(adaptors_dir: Path) -> Iterator[None]:
    adaptors.look_in(str(adaptors_dir))
    yield
    adaptors.__path__.remove(str(adaptors_dir))
    adaptors.load.cache_clear()
    adaptors.catalogue.cache_clear()


@pytest.mark.usefixtures("looking_there")
def test_the_case_of_the_page_passes(case: Path) -> None:
    cases.test_case(case)


@pytest.mark.usefixtures("looking_there")
def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deepl.py").write_text("ADAPTORS = ()\n")
    with pytest.raises(ValueError, match="deepl"):
        adaptors.look_in(str(tmp_path))


class _Acme(BaseHTTPRequestHandler):
    heard: list[tuple[str, str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append((self.path, self.headers["X-Acme-Key"], body))
        reply = BLOCKS["reply.json"].encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


def test_the_provider_of_the_page_is_served(adaptors_dir: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, str, Any]] = []
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), type("Acme", (_Acme,), {"heard": heard}))
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    folder = tmp_path / "gateway"
    folder.mkdir()
    try:
        with (
            Gateway(folder, {**UNLIMITED, "ADAPTORS_DIR": str(adaptors_dir)}) as running,
            Console(running) as console,
            openai.OpenAI(base_url=f"{running.base_url}/v1", api_key=ROOT_KEY, max_retries=0) as client,
        ):
            url = f"http://127.0.0.1:{upstream.server_address[1]}"
            console.channel(url, type=1000, models="acme-large", key="sk-acme")
            console.wait_until_known("acme-large")
            asked = json.loads(BLOCKS["client.json"])
            answer = client.chat.completions.create(**asked)
            chunks = list(client.chat.completions.create(**asked, stream=True))
    finally:
        upstream.shutdown()
        upstream.server_close()
    assert answer.choices[0].message.content == "Good day"
    assert answer.usage is not None and answer.usage.total_tokens == 5
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Good day"
    assert heard == [("/v1/think", "sk-acme", json.loads(BLOCKS["upstream.json"])["body"])] * 2
