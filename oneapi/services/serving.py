"""Who would serve a model for a group right now, and why: the plan of routing.py, told to an operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oneapi.relay.exchange import Channel, Directory
from oneapi.relay.routing import routed
from oneapi.services.health import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One channel that has the model. `share` is its part of the first tries, in percent; 0 while it rests.

    `rests_until` is 0 where it does not rest; `obstacle` says why it is passed over: "retired" or "no_price".
    """

    channel_id: int
    name: str
    label: str
    priority: int
    weight: int
    model: str
    share: float
    rests_until: int = 0
    reason: str = ""
    obstacle: str = ""


def candidates(
    directory: Directory, breakers: Iterable[Change], *, group: str, model: str, now: float
) -> list[Candidate]:
    """All channels that serve the model for the group, in the order of their tiers."""
    resting = {(one.channel_id, one.model): one for one in breakers if one.until > now}
    found: list[Candidate] = []
    is_served = False
    for tier in directory.tiers(group, model):
        shares = {} if is_served else _shares(directory, tier, model, resting)
        is_served = is_served or bool(shares)
        for channel in tier:
            actual = channel.model_mapping.get(model) or model
            breaker = resting.get((channel.id, actual))
            found.append(
                Candidate(
                    channel_id=channel.id,
                    name=channel.name,
                    label=channel.adaptor.label,
                    priority=channel.priority,
                    weight=channel.weight,
                    model=actual,
                    share=shares.get(channel.id, 0.0),
                    rests_until=int(breaker.until) if breaker else 0,
                    reason=breaker.reason if breaker else "",
                    obstacle=_obstacle(directory, channel, model),
                )
            )
    return found


def _shares(
    directory: Directory, tier: tuple[Channel, ...], model: str, resting: dict[tuple[int, str], Change]
) -> dict[int, float]:
    """Which part of the first tries goes to each usable channel of a tier, as `routing.shuffled` draws them."""
    usable = [
        channel
        for channel in tier
        if not _obstacle(directory, channel, model)
        and (channel.id, channel.model_mapping.get(model) or model) not in resting
    ]
    weighted = [channel for channel in usable if channel.weight > 0]
    if weighted:
        total = sum(channel.weight for channel in weighted)
        return {channel.id: 100 * channel.weight / total for channel in weighted}
    return {channel.id: 100 / len(usable) for channel in usable}


def _obstacle(directory: Directory, channel: Channel, model: str) -> str:
    if channel.adaptor.retired:
        return "retired"
    return "" if routed(directory, channel, model) is not None else "no_price"
