"""/api/option: runtime settings, for root.

Source: spec management.md §3.1, §4.11.
"""

from __future__ import annotations

import msgspec

from oneapi.api.asked import Asked, program
from oneapi.api.routing import ROOT, Route
from oneapi.data import load_prices, price_option_texts
from oneapi.options import Options
from oneapi.relay.pricelist import as_option
from oneapi.services import settings
from oneapi.services.refusal import Refusal, invalid_parameter


class _Setting(msgspec.Struct, frozen=True):
    key: str = ""
    value: str | bool | int | float = ""


def listing(asked: Asked) -> object:
    listed = settings.listing(asked.engine, _price_tables(asked.options))
    return [{"key": key, "value": value} for key, value in listed.items()]


def save(asked: Asked) -> None:
    try:
        setting = asked.body(_Setting)
    except Refusal as refusal:
        refusal.status = 400
        raise
    if not setting.key:
        raise invalid_parameter("option_key_required")
    settings.save(asked.engine, asked.actor, {setting.key: _text(setting.value)}, now=asked.now)
    program().snapshots.refresh()


def _price_tables(options: Options) -> dict[str, str]:
    """Price tables as people edit them: the built-in ones, and a saved table of models completed by them."""
    shown = price_option_texts()
    if options.model_ratio:
        shown["ModelRatio"] = as_option({**load_prices().model_ratios, **options.model_ratio})
    if options.completion_ratio:
        del shown["CompletionRatio"]
    return shown


def _text(value: str | bool | int | float) -> str:
    """One API wants text; scripts that send a number or a boolean mean what it looks like."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


ROUTES = (
    Route("GET", "/api/option/", ROOT, listing),
    Route("PUT", "/api/option/", ROOT, save),
)
