"""A world for the pipeline made of plain values: a clock that moves when somebody waits, providers that follow a
script, a ledger that is a dict. No Flask, no database, no network.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oneapi.data import load_prices
from oneapi.errors import InsufficientQuota, UpstreamUnreachable
from oneapi.options import Options
from oneapi.relay import adaptors
from oneapi.relay.adaptor import UpstreamRequest
from oneapi.relay.directory import ChannelDirectory
from oneapi.relay.exchange import Call, Caller, Channel, Exchange, Hold, Ports, Reply, Settlement
from oneapi.relay.pricing import PriceList

FIRST_BYTE_S = 600.0
IDLE_S = 300.0


@dataclass(frozen=True)
class Wait:
    """The provider says nothing for so long."""

    seconds: float


Script = tuple[Any, ...]  # Wait, bytes, an exception to raise; the end of the script is the end of the body


@dataclass
class ScriptedReply:
    """Implements UpstreamReply; the silence limits are the real transport's."""

    world: World
    status: int
    headers: Mapping[str, str]
    script: list[Any]
    silent_s: float = 0.0
    is_closed: bool = False

    def wait(self, seconds: float) -> bool:
        return self._waits(seconds, FIRST_BYTE_S)

    def read(self, seconds: float) -> bytes | None:
        if not self._waits(seconds, IDLE_S):
            return None
        self.silent_s = 0.0
        if not self.script:
            return b""
        item = self.script.pop(0)
        if isinstance(item, BaseException):
            raise item
        return bytes(item)

    def close(self) -> None:
        self.is_closed = True

    def _waits(self, seconds: float, limit_s: float) -> bool:
        while self.script and isinstance(self.script[0], Wait):
            left = self.script[0].seconds
            spent = min(left, seconds, limit_s - self.silent_s)
            self.world.clock_s += spent
            self.silent_s += spent
            if self.silent_s >= limit_s:
                raise UpstreamUnreachable("The provider was silent for too long.", phase="idle")
            if spent < left:
                self.script[0] = Wait(left - spent)
                return False
            self.script.pop(0)
        return True


@dataclass
class World:
    """Channels by id, each with the scripts of its answers in turn: (status, headers, *body), or an exception."""

    scripts: dict[int, list[Any]]
    options: Options = field(default_factory=lambda: Options(retry_times=3))
    balance: int = 10**9
    clock_s: float = 1000.0
    priorities: dict[int, int] = field(default_factory=dict)
    mappings: dict[int, dict[str, str]] = field(default_factory=dict)
    prompts: dict[int, str] = field(default_factory=dict)
    channel_type: int = 1
    cooling: set[tuple[int, str]] = field(default_factory=set)
    caller: Caller = field(
        default_factory=lambda: Caller(
            user_id=7,
            username="alice",
            group="default",
            role=1,
            user_quota=0,
            token_id=3,
            token_name="ci",
            token_quota=0,
            is_unlimited=True,
        )
    )
    asked: list[int] = field(default_factory=list)
    sent: list[UpstreamRequest] = field(default_factory=list)
    replies: list[ScriptedReply] = field(default_factory=list)
    holds: dict[str, int] = field(default_factory=dict)
    reserved: list[int] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)
    observed: list[Exchange] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        found = adaptors.load()
        self.prices = PriceList.of(load_prices(), self.options)
        channels = {
            number: Channel(
                id=number,
                type=self.channel_type,
                name=f"channel {number}",
                adaptor=found[self.channel_type],
                base_url=f"http://channel-{number}",
                key=f"key-{number}",
                priority=self.priorities.get(number, 0),
                model_mapping=self.mappings.get(number, {}),
                system_prompt=self.prompts.get(number, ""),
            )
            for number in self.scripts
        }
        served = [
            ("default", model, number, self.priorities.get(number, 0))
            for number in self.scripts
            for model in ("gpt-4o", "gpt-3.5-turbo", "dall-e-3", "whisper-1", "tts-1", "text-embedding-3-small")
        ]
        self.directory = ChannelDirectory(channels, served, self.prices)

    def ports(self, **changes: Any) -> Ports:
        ports = Ports(
            authenticate=lambda call: self.caller,
            directory=lambda: self.directory,
            options=lambda: self.options,
            reserve=self._reserve,
            settle=self._settle,
            send=self._send,
            credentials_token=lambda channel: "",
            forget_token=lambda channel: None,
            fetch=lambda url: (_ for _ in ()).throw(AssertionError(url)),
            count_tokens=lambda text, model: len(text.split()),
            is_cooling=lambda channel_id, model: (channel_id, model) in self.cooling,
            sleep=self._sleep,
            observe=self.observed.append,
            now=lambda: self.clock_s,
            monotonic=lambda: self.clock_s,
            new_id=lambda: f"id-{next(self._ids)}",
            rng=random.Random(1),
        )
        return replace(ports, **changes)

    def _reserve(self, caller: Caller, quota: int, request_id: str) -> Hold:
        if self.balance < quota:
            raise InsufficientQuota("The balance does not cover this request.")
        self.balance -= quota
        self.holds[request_id] = quota
        self.reserved.append(quota)
        return Hold(request_id, caller.user_id, caller.token_id, quota, 0)

    def _settle(self, hold: Hold, settlement: Settlement) -> None:
        if hold.request_id in self.holds:
            self.balance += self.holds.pop(hold.request_id) - settlement.quota
            self.settled.append(settlement)

    def _send(self, request: UpstreamRequest, channel: Channel, is_stream: bool) -> ScriptedReply:
        self.asked.append(channel.id)
        self.sent.append(request)
        script = self.scripts[channel.id].pop(0)
        if isinstance(script, BaseException):
            raise script
        status, headers, *body = script
        reply = ScriptedReply(self, status, headers, list(body))
        self.replies.append(reply)
        return reply

    def _sleep(self, seconds: float) -> None:
        self.clock_s += seconds
        self.sleeps.append(seconds)

    def call(self, mode: Any = "chat", path: str = "/v1/chat/completions", **headers: str) -> Call:
        return Call(
            request_id=f"request-{next(self._ids)}",
            dialect="openai",
            mode=mode,
            method="POST",
            path=path,
            query="",
            headers={"content-type": "application/json", **headers},
            client_ip="203.0.113.9",
            received_at=self.clock_s,
            received_s=self.clock_s,
        )


def drained(reply: Reply) -> bytes:
    """The whole body, as a server would send it."""
    try:
        return b"".join(reply.body)
    finally:
        reply.close()


def pieces(reply: Reply) -> Iterator[bytes]:
    return iter(reply.body)
