"""Clients of the street: each asks once, and some hang up before they have heard everything."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import gevent

CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
Leaves = Callable[["Heard"], bool]  # asked after each piece of an answer: does this client hang up now?


@dataclass(slots=True)
class Heard:
    """What one client got. `status` is 0 where no answer began."""

    is_stream: bool = False
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    is_complete: bool = False  # the message ended as HTTP says that it must
    has_left: bool = False

    @property
    def request_id(self) -> str:
        return self.headers.get("x-oneapi-request-id", "")

    @property
    def is_answered(self) -> bool:
        """Whether the whole answer was delivered: what a client of an SDK takes for a success."""
        if self.status != 200 or not self.body:
            return False
        return self.body.endswith(DONE) if self.is_stream else self.is_complete

    @property
    def events(self) -> list[Any]:
        """The JSON of each event of a stream."""
        blocks = [block.removeprefix(b"data: ") for block in self.body.split(b"\n\n") if block.startswith(b"data: ")]
        return [json.loads(block) for block in blocks if block != b"[DONE]"]

    @property
    def comments(self) -> list[bytes]:
        return [block for block in self.body.split(b"\n\n") if block.startswith(b":")]

    @property
    def text(self) -> str:
        """What a stream has said so far."""
        choices = [choice for event in self.events for choice in event.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error that came instead of an answer, or as the last event of a stream."""
        with suppress(ValueError):
            found = self.events[-1:] if self.is_stream and self.status == 200 else [json.loads(self.body)]
            return found[0].get("error") if found else None
        return None


def ask(
    base_url: str,
    key: str,
    model: str,
    *,
    stream: bool = False,
    max_tokens: int | None = 128,
    with_usage: bool = False,
    leaves: Leaves | None = None,
    leaves_after_s: float | None = None,
) -> Heard:
    """Asks for a chat completion on a connection of its own and listens to the end, or until this client hangs up:
    when `leaves` says so, or so many seconds after it has asked, if nothing has come by then."""
    url = urlsplit(base_url)
    assert url.hostname is not None
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say something."}]}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    if stream:
        body["stream"] = True
    if with_usage:
        body["stream_options"] = {"include_usage": True}
    heard = Heard(is_stream=stream)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    response = None
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", CHAT, json.dumps(body), headers)
        with gevent.Timeout(leaves_after_s, False):
            response = connection.getresponse()
        if response is None:
            heard.has_left = True
        else:
            _listen(heard, response, leaves)
    except (OSError, http.client.HTTPException):
        pass  # the program, or its host, has died: what was heard until then counts
    finally:
        if response is not None:
            response.close()
        connection.close()
    return heard


def _listen(heard: Heard, response: http.client.HTTPResponse, leaves: Leaves | None) -> None:
    heard.status = response.status
    heard.headers = {name.lower(): value for name, value in response.getheaders()}
    while data := response.read1(65536):
        heard.body += data
        if leaves is not None and leaves(heard):
            heard.has_left = True
            return
    heard.is_complete = not response.length
