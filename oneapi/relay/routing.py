"""Which channels to try for a call, in which order, and what a failure means for the next try and for the channel.

Source: spec relay.md §3 with the defects of §9.2 mended; docs/style.md §4 (verdicts); docs/architecture.md §6 (choice).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator
from typing import Literal

from oneapi.errors import (
    GatewayError,
    NoChannel,
    UpstreamError,
    UpstreamGarbled,
    UpstreamRejected,
    UpstreamUnreachable,
)
from oneapi.relay.adaptor import Mode
from oneapi.relay.exchange import Channel, Directory, Route
from oneapi.relay.records import record

Blame = Literal["none", "count", "cool", "cool_model", "disable"]


def plan(
    directory: Directory,
    *,
    group: str,
    model: str,
    mode: Mode,
    attempts: int,
    is_cooling: Callable[[int, str], bool],
    rng: random.Random,
) -> tuple[Route, ...]:
    """The routes to try in turn, at most `attempts` of them; never empty.

    Tier by tier of priority, weighted random within a tier. Channels that are cooling down, or whose provider does not
    offer the mode, come last or not at all.

    Raises NoChannel when no enabled channel serves the model for the group.
    """
    routes: list[Route] = []
    cooling: list[Route] = []
    is_known = False
    for tier in directory.tiers(group, model):
        for channel in shuffled(tier, rng):
            is_known = True
            if mode not in channel.adaptor.endpoints or channel.adaptor.retired:
                continue
            route = routed(directory, channel, model)
            if route is None:
                continue
            (cooling if is_cooling(channel.id, route.model) else routes).append(route)
            if len(routes) >= attempts:
                return tuple(routes)
    routes += cooling[: attempts - len(routes)]
    if routes:
        return tuple(routes)
    if is_known:
        raise NoChannel(
            f"No channel of group {group} offers {model} for this kind of request: "
            "the provider has no such endpoint, or the model has no price."
        )
    raise NoChannel(f"No available channel for model {model} in group {group}. Ask the operator to add one.")


def routed(directory: Directory, channel: Channel, model: str) -> Route | None:
    """The channel ready to be tried for the requested model; None where the operator refuses models without a price."""
    actual = channel.model_mapping.get(model) or model
    price = directory.prices.price(actual, channel.type)
    return None if price is None else Route(channel, actual, price)


def shuffled(tier: tuple[Channel, ...], rng: random.Random) -> Iterator[Channel]:
    """The channels of one tier in a random order, each next one drawn in proportion to its weight.

    Where no weight was ever set all are equal; beside channels with a weight, one without is the tier's last resort.
    """
    if len(tier) == 1:
        yield tier[0]
        return
    weighted = [channel for channel in tier if channel.weight > 0]
    total = sum(channel.weight for channel in weighted)
    while weighted:
        point = rng.random() * total
        for at, channel in enumerate(weighted):
            point -= channel.weight
            if point < 0 or at == len(weighted) - 1:
                break
        total -= channel.weight
        del weighted[at]
        yield channel
    rest = [channel for channel in tier if channel.weight <= 0]
    while rest:
        at = rng.randrange(len(rest))
        rest[at], rest[-1] = rest[-1], rest[at]
        yield rest.pop()


def with_key(
    route: Route, *, is_resting: Callable[[int, str], bool], tried: Collection[str], rng: random.Random
) -> Route:
    """The route with one of its channel's keys: one that does not rest and was not tried in this call, if there is.

    Drawn in proportion to the weights; keys that weigh nothing come in only when no other is left.
    """
    channel = route.channel
    fresh = [one for one in channel.pool if one.id not in tried] or list(channel.pool)
    usable = [one for one in fresh if not is_resting(channel.id, one.id)] or fresh
    total = sum(one.weight for one in usable)
    point = rng.random() * total
    chosen = usable[-1]
    for one in usable:
        point -= one.weight
        if point < 0:
            chosen = one
            break
    return Route(chosen.channel, route.model, route.price)


def speaks_of_the_key(error: BaseException) -> bool:
    """Whether another key of the same channel may do better: the key was refused, or has had enough for now."""
    return verdict(error).blame in ("disable", "cool")


@record()
class Verdict:
    """Whether another channel may be asked, and what this failure says about the channel.

    count: one failure towards opening the breaker of (channel, model). cool: that pair rests at once. cool_model: the
    same, for longer, since this account does not have the model. disable: the credential or account is at fault;
    the channel is switched off where the operator's option allows it, else it cools down.
    """

    may_retry: bool
    blame: Blame


_FINAL = Verdict(False, "none")
_COUNT = Verdict(True, "count")
_COOL = Verdict(True, "cool")
_COOL_MODEL = Verdict(True, "cool_model")
_DISABLE = Verdict(True, "disable")

# Types and codes by which providers say that the key or the account is at fault (spec relay.md §3.5).
_ACCOUNT_WORDS = frozenset(
    {
        "insufficient_quota",
        "authentication_error",
        "permission_error",
        "permission_denied",
        "forbidden",
        "invalid_api_key",
        "account_deactivated",
        "billing_error",
        "billing_not_active",
        "insufficient_balance",
        "access_terminated",
        "organization_restricted",
        "organization_disabled",
        "exceeded_current_quota_error",
    }
)
_MODEL_WORDS = re.compile(r"model|deployment|模型", re.IGNORECASE)


def verdict(error: BaseException, *, has_begun: bool = False) -> Verdict:
    """What a failed attempt means; `has_begun` when content had already gone to the client."""
    if has_begun:
        return Verdict(False, "count" if isinstance(error, UpstreamError) else "none")
    match error:
        case UpstreamUnreachable() | UpstreamGarbled():
            return _COUNT
        case UpstreamRejected():
            return _of_rejection(error)
        case GatewayError():
            return _FINAL
    return _FINAL  # the client left, the worker stops, or a fault of our own: no channel is to blame


def _of_rejection(error: UpstreamRejected) -> Verdict:
    status = error.upstream_status
    is_account = speaks_of_the_account(error)
    if status in (401, 402) or (status in (403, 429) and is_account):
        return _DISABLE
    if status == 403:
        return _COOL_MODEL
    if status == 404:
        return _COOL_MODEL if _MODEL_WORDS.search(f"{error.provider_code} {error.message}") else _FINAL
    if status == 429:
        return _COOL
    if status == 408 or status >= 500:
        return _COUNT
    if 400 <= status < 500:
        return _DISABLE if error.is_credential else _FINAL
    return _DISABLE if is_account or error.is_credential else _COUNT  # an error inside a 200


def speaks_of_the_account(error: UpstreamRejected) -> bool:
    """Whether the provider's type or code says that the key or the account is at fault.

    Never its message: that may quote what a client sent, and no client may hurt a channel. A provider that says so
    only in words is known by its own `parse_error`.
    """
    return str(error.provider_type).lower() in _ACCOUNT_WORDS or str(error.provider_code).lower() in _ACCOUNT_WORDS
