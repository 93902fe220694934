"""A program with KEY_ENCRYPTION_KEY, without it, and after its keys have been made plain again."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import requests

from tests.gateway import Gateway, StartGateway
from tests.street.console import ROOT_KEY, UNLIMITED, Console
from tests.street.upstreams import MockUpstream

PHRASE = "a phrase that nobody guesses"
KEY = "sk-upstream-that-nobody-may-read"
MODEL = "mock-n1-d0"


def ask(console: Console, model: str) -> requests.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    headers = {"Authorization": f"Bearer {ROOT_KEY}"}
    return requests.post(f"{console.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def stored_key(console: Console, channel_id: int) -> str:
    with console.books() as books:
        return str(books.execute("SELECT key FROM channels WHERE id = ?", (channel_id,)).fetchone()["key"])


def run(gateway: Gateway, *arguments: str) -> str:
    """What `oneapi channel-keys` says, run beside the program with the phrase."""
    environ = {**gateway.environ, "KEY_ENCRYPTION_KEY": PHRASE}
    command = [sys.executable, "-m", "oneapi", "channel-keys", *arguments]
    done = subprocess.run(command, cwd=gateway.folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    return done.stdout


class Panel:
    """Root's browser."""

    def __init__(self, console: Console) -> None:
        self._session, self._url = requests.Session(), console.url
        login = {"username": "root", "password": "rootpassword"}
        console.call("POST", "/api/user/login", login, session=self._session)

    def page(self, name: str) -> str:
        answer = self._session.get(f"{self._url}/admin/{name}/", headers={"Accept-Language": "en"}, timeout=30)
        assert answer.status_code == 200
        return answer.text

    def save(self, **fields: Any) -> dict[str, Any]:
        """The answer to the form of a channel."""
        token = re.search(r'name="csrf-token" content="([^"]+)"', self.page("channel"))
        assert token is not None
        headers = {"X-CSRFToken": token[1], "Accept": "application/json", "Accept-Language": "en"}
        saved: dict[str, Any] = self._session.post(
            f"{self._url}/admin/channel/save", json=fields, headers=headers, timeout=30
        ).json()
        return saved

    def close(self) -> None:
        self._session.close()


def test_keys_are_encrypted_unreadable_without_the_phrase_and_plain_after_decrypt(
    start_gateway: StartGateway, mock: MockUpstream
) -> None:
    gateway = start_gateway(**UNLIMITED, INITIAL_ROOT_PASSWORD="rootpassword", KEY_ENCRYPTION_KEY=PHRASE)
    with Console(gateway) as console:
        sealed = console.channel(mock.url, models=MODEL, key=KEY)
        console.wait_until_known(MODEL)
        assert stored_key(console, sealed).startswith("enc:v1:")
        assert ask(console, MODEL).status_code == 200
    assert gateway.stop() == 0

    del gateway.environ["KEY_ENCRYPTION_KEY"]
    gateway.start()
    with Console(gateway) as console:
        plain = console.channel(mock.url, models="plain", model_mapping={"plain": MODEL}, key="sk-plain")
        console.wait_until_known("plain")
        assert ask(console, "plain").status_code == 200, "other channels work"
        refused = ask(console, MODEL)
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "one_api_error")
        reason = "which KEY_ENCRYPTION_KEY does not have"
        assert reason in gateway.log() and f"(channels {sealed})" in gateway.log()
        panel = Panel(console)
        assert reason in panel.page("channel")
        assert f"1 channels are left out, because their keys cannot be read: #{sealed}" in panel.page("system")
        # What the form leaves empty stays as it is stored: here nobody knows what that is.
        form = {"id": sealed, "type": 1, "name": "renamed", "models": [MODEL], "group": ["default"]}
        refusal = panel.save(**form)
        assert refusal["success"] is False and reason in refusal["message"]
        tested = requests.get(
            f"{console.url}/api/channel/test/{sealed}",
            headers={"Authorization": gateway.environ["INITIAL_ROOT_ACCESS_TOKEN"]},
            timeout=30,
        ).json()
        assert tested["success"] is False and "KEY_ENCRYPTION_KEY" in tested["message"]

        assert run(gateway, "decrypt") == "Channels: 1 of 2 decrypted.\nOptions: 0 of 0 decrypted.\n"
        assert stored_key(console, sealed) == KEY
        console.wait_until_known(MODEL)  # of itself, without a restart
        assert ask(console, MODEL).status_code == 200
        assert reason not in panel.page("channel") and "are left out" not in panel.page("system")
        assert panel.save(**form)["success"] is True
        assert stored_key(console, sealed) == KEY
        panel.close()
        assert run(gateway, "encrypt", "--dry-run").startswith("Channels: 2 of 2 would be encrypted.\n")
        assert stored_key(console, plain) == "sk-plain"
    assert KEY not in gateway.log()
