"""What somebody may use within a while: the limits of a token, a user, or a group's users, as JSON says them.

    {"requests_per_minute": 60, "tokens_per_minute": 100000, "concurrency": 4,
     "budget": {"period": "day", "quota": 500000}}

What is left out, or 0, is not limited. Counting is done in services/admission.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec

Period = Literal["day", "week", "month"]
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Quota that may be spent in each day, week (from Monday) or month, of UTC."""

    period: Period
    quota: _Count


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """0 stands for no limit. Language tokens are those of requests and answers together."""

    requests_per_minute: _Count = 0
    tokens_per_minute: _Count = 0
    concurrency: _Count = 0
    budget: Budget | None = None

    def over(self, others: Limits) -> Limits:
        """These, completed by others where these say nothing."""
        return Limits(
            requests_per_minute=self.requests_per_minute or others.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute or others.tokens_per_minute,
            concurrency=self.concurrency or others.concurrency,
            budget=self.budget or others.budget,
        )


NO_LIMITS = Limits()


def parse_limits(value: object) -> Limits:
    """Limits from decoded JSON. Raises ValueError, whose text says what is wrong."""
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if item is not None}
    limits = msgspec.convert(value, Limits)
    if limits.budget is not None and not limits.budget.quota:
        return msgspec.structs.replace(limits, budget=None)
    return limits


def stored_limits(text: str) -> Limits:
    """Limits as a column has them. Raises ValueError."""
    try:
        return parse_limits(msgspec.json.decode(text))
    except RecursionError as error:
        raise ValueError(str(error)) from None


def render_limits(limits: Limits) -> str | None:
    """What a column is to have: None where nothing is limited."""
    return None if limits == NO_LIMITS else msgspec.json.encode(limits).decode()


def render_group_limits(groups: Mapping[str, Limits]) -> str:
    """{group: limits} as an option has it; groups without limits are left out."""
    return msgspec.json.encode({name: limits for name, limits in groups.items() if limits != NO_LIMITS}).decode()


def parse_group_limits(text: str) -> Mapping[str, Limits]:
    """{group: limits}: what each user of the group may do, save where his own limits say otherwise.

    Raises ValueError. Budgets are for tokens alone.
    """
    try:
        groups = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"is not valid JSON: {error}") from None
    if not isinstance(groups, dict):
        raise ValueError("must be a JSON object of groups and their limits")
    found: dict[str, Limits] = {}
    for group, value in groups.items():
        try:
            found[group] = parse_limits(value)
        except ValueError as error:
            raise ValueError(f"has limits for {group} that cannot be used: {error}") from None
        if found[group].budget is not None:
            raise ValueError(f"has a budget for {group}: budgets are for tokens")
    return MappingProxyType(found)
