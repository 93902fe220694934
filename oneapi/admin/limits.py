"""Limits as forms have them, a box for each, empty where nothing is limited; and as lists tell them."""

from __future__ import annotations

from typing import Any

import msgspec
from flask_babel import gettext

from oneapi.admin import amounts
from oneapi.admin.display import count, money
from oneapi.limits import NO_LIMITS, Limits, stored_limits


class LimitFields(msgspec.Struct, frozen=True, kw_only=True):
    """For forms that have them to inherit. Only a token's form has the two of its budget."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0
    budget_quota: str = ""
    budget_period: str = "day"


def of(text: str | None) -> Limits:
    """A column's limits. What cannot be read limits nobody, there as here."""
    try:
        return stored_limits(text) if text else NO_LIMITS
    except ValueError:
        return NO_LIMITS


def typed(form: LimitFields, stored: Limits = NO_LIMITS) -> dict[str, Any]:
    """What was typed in, as services take it. Raises Refusal."""
    limits: dict[str, Any] = {
        "requests_per_minute": form.requests_per_minute,
        "tokens_per_minute": form.tokens_per_minute,
        "concurrency": form.concurrency,
    }
    budget = stored.budget.quota if stored.budget is not None else None
    if quota := amounts.edited(form.budget_quota, budget, "budget_quota"):
        limits["budget"] = {"period": form.budget_period, "quota": quota}
    return limits


def budget_shown(limits: Limits) -> str:
    """The budget as it stands in its box."""
    return amounts.shown(limits.budget.quota) if limits.budget is not None else ""


def told(limits: Limits) -> list[str]:
    """Each limit in a few words."""
    found = []
    if limits.requests_per_minute:
        found.append(gettext("Requests a minute: %(count)s", count=count(limits.requests_per_minute)))
    if limits.tokens_per_minute:
        found.append(gettext("Tokens a minute: %(count)s", count=count(limits.tokens_per_minute)))
    if limits.concurrency:
        found.append(gettext("Calls at once: %(count)s", count=count(limits.concurrency)))
    if limits.budget is not None:
        quota = money(limits.budget.quota)
        match limits.budget.period:
            case "day":
                found.append(gettext("%(quota)s a day", quota=quota))
            case "week":
                found.append(gettext("%(quota)s a week", quota=quota))
            case "month":
                found.append(gettext("%(quota)s a month", quota=quota))
    return found
