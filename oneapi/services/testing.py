"""Testing a channel: one small request through the relay as clients' requests go, save that it costs nobody anything.

Source: spec management.md §4.7, with D-38 mended: the model is one that the channel lists, its own test model goes
first, and models that make vectors, pictures or sound are asked for what they make (trials.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import gevent
from sqlalchemy import Engine

from oneapi.data import load_prices
from oneapi.database import run_write
from oneapi.errors import GatewayError, UpstreamUnreachable
from oneapi.options import Options
from oneapi.relay import pipeline
from oneapi.relay.directory import ChannelDirectory
from oneapi.relay.exchange import Call, Caller, Channel, Hold, LogEntry, Ports
from oneapi.relay.pricing import PriceList
from oneapi.services import channels, logs
from oneapi.services.trials import Trial, trial_of

LONGEST_S = 180.0
_SHOWN_CHARACTERS = 1000
_NOBODY = Caller(
    user_id=0,
    username="",
    group="",
    role=100,
    user_quota=0,
    token_id=0,
    token_name="",
    token_quota=0,
    is_unlimited=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """How a test ended: `message` is the model's answer, or what went wrong. `is_timed`: its time says something."""

    is_ok: bool
    message: str
    elapsed_s: float = 0.0
    model: str = ""
    error: GatewayError | None = None
    is_timed: bool = True


def test(channel: Channel, ports: Ports, prompt: str, *, wanted: str = "") -> Tested:
    """Asks the channel's provider once, whatever the channel's status. Nothing is stored.

    `wanted` is the model that somebody asks for.
    """
    trial = trial_of(channel, wanted)
    if trial is None:
        return Tested(is_ok=False, message=channel.adaptor.retired or "The channel lists no model that can be tested.")
    started_s = ports.monotonic()
    said: str | None = None
    message, error = "The provider's answer is not what it should be.", None
    try:
        said = trial.kind.read(_answer(channel, trial, ports, prompt))
    except GatewayError as failed:
        message, error = failed.message, failed
    return Tested(
        is_ok=said is not None,
        message=message if said is None else said,
        elapsed_s=ports.monotonic() - started_s,
        model=trial.model,
        error=error,
        is_timed=trial.kind.is_timed,
    )


def record(engine: Engine, channel: Channel, tested: Tested, *, response_time_ms: int, now: int) -> None:
    """Stores when the channel was tested and how long it took, and a log row of type 5."""
    channels.record_test(engine, channel.id, response_time_ms=response_time_ms, now=now)
    entry = LogEntry(
        user_id=0,
        created_at=now,
        type=logs.TEST,
        content=f"{channel.name}: {tested.message}"[:_SHOWN_CHARACTERS],
        model_name=tested.model,
        channel_id=channel.id,
        elapsed_time=round(tested.elapsed_s * 1000),
    )
    run_write(engine, lambda connection: logs.record(connection, entry))


def _answer(channel: Channel, trial: Trial, ports: Ports, prompt: str) -> bytes:
    """The body that a client would get. Raises GatewayError."""
    request = trial.kind.render(trial.model, prompt)
    call = Call(
        request_id=ports.new_id(),
        dialect="openai",
        mode=trial.kind.mode,
        method="POST",
        path=request.path,
        query="",
        headers={"content-type": request.content_type},
        client_ip="",
        received_at=ports.now(),
        received_s=ports.monotonic(),
        channel_id=channel.id,
    )
    too_long = UpstreamUnreachable(f"The provider did not answer within {LONGEST_S:g} seconds.", phase="first_byte")
    with gevent.Timeout(LONGEST_S, too_long):
        reply = pipeline.relay(call, lambda: request.body, _free(ports, channel))
        try:
            return b"".join(reply.body)
        finally:
            reply.close()


def _free(ports: Ports, channel: Channel) -> Ports:
    """The ports of a call that has one way to go, is nobody's, and leaves nothing behind."""
    return replace(
        ports,
        authenticate=lambda call: _NOBODY,
        directory=lambda: ChannelDirectory({channel.id: channel}, (), _prices()),
        reserve=lambda caller, quota, request_id: Hold(request_id, 0, 0, 0, 0),
        settle=lambda hold, settlement: None,
        observe=lambda exchange: None,
        is_cooling=lambda channel_id, model: False,
        is_key_resting=lambda channel_id, key_id: False,
        admit=lambda caller, head: None,
    )


@lru_cache(maxsize=1)
def _prices() -> PriceList:
    """Prices under which every model has one, whatever the operator refuses to sell."""
    return PriceList.of(load_prices(), Options())
