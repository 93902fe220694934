"""Quota as people type it: in dollars where the site shows it so."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from oneapi.admin.view import options
from oneapi.services.refusal import invalid_input

_LARGEST = 2**63 - 1


def unit() -> str:
    """What stands before an amount that is typed in."""
    return "$" if options().display_in_currency_enabled else ""


def shown(quota: int | None) -> str:
    """The amount as it stands in a box: all its digits, so that one that is not touched comes back the same."""
    if not unit():
        return str(quota or 0)
    text = f"{Decimal(quota or 0) / options().quota_per_unit:.8f}".rstrip("0").rstrip(".")
    return text if text != "-0" else "0"


def edited(text: str, stored: int | None, field: str = "quota") -> int:
    """What stands in a box that had `stored` in it. An amount that was not touched is the stored one, whatever its
    digits on the page. Raises Refusal."""
    if stored is not None and text.strip() == shown(stored):
        return stored
    return typed(text or "0", field)


def typed(text: str, field: str = "quota") -> int:
    """The quota that was typed into that field. Raises Refusal."""
    try:
        amount = Decimal(text.strip().removeprefix("$").replace(",", ""))
    except InvalidOperation:
        raise invalid_input("quota_is_no_number", field=field) from None
    if not amount.is_finite() or abs(amount) > _LARGEST:
        raise invalid_input("quota_is_no_number", field=field)
    quota = amount * options().quota_per_unit if unit() else amount
    if abs(quota) > _LARGEST:
        raise invalid_input("quota_too_large", field=field)
    return int(quota.quantize(Decimal(1), ROUND_HALF_UP))
