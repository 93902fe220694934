"""Public price lists, and other installations' own, read into columns of USD per million tokens.

Source: https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json (its fields; read 2026-11-25),
https://github.com/OpenRouterTeam/typescript-sdk/blob/main/docs/models/publicpricing.md (what GET /api/v1/models of
openrouter.ai says; read 2026-11-25), and One API's options ModelRatio and CompletionRatio.

Not taken, and told in `not_taken`: prices of what this program does not count, such as pictures given to a model,
pixels and sessions of a code interpreter, and those of batches and of the flex and priority tiers. A price of 0 for
anything but input says in these lists that it is not priced apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from oneapi.columns import Columns, parse_columns, parse_number, render_table
from oneapi.options import InvalidOption, Options, validate

Format = Literal["litellm", "openrouter", "oneapi"]
Json = Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class PublicList:
    """What a list says: prices by model, why some cannot be used, and which prices of a model were not taken."""

    format: Format
    prices: dict[str, Columns] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    not_taken: dict[str, set[str]] = field(default_factory=dict)

    def read(self, rows: Iterable[tuple[str, Json]], columns: Callable[[Json, set[str]], Columns]) -> PublicList:
        """Takes in the entry of each model."""
        for model, entry in rows:
            try:
                self.prices[model] = columns(entry, self.not_taken.setdefault(model, set()))
            except ValueError as error:
                self.unusable[model] = str(error)
        return self


def parse_list(text: str | bytes, *, format: Format | None = None, provider: str = "") -> PublicList:
    """The prices a document holds; `format` None is told from its shape.

    Models are named as the list names them. With `provider` only its models are read, without its name before them:
    LiteLLM's gemini/gemini-2.5-pro and OpenRouter's google/gemini-2.5-pro are then gemini-2.5-pro.

    Raises ValueError where it is no such document.
    """
    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"This is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("This is no price list: it must be a JSON object.")
    listed = _READERS[format or _format_of(document)](document, provider)
    if not listed.prices and not listed.unusable:
        of_whom = f" of {provider}" if provider else ""
        raise ValueError(f"This list names no model{of_whom} in the format {listed.format}.")
    return listed


def _format_of(document: Json) -> Format:
    data = document.get("data")
    if isinstance(data, list) and any(isinstance(row, dict) and "pricing" in row for row in data):
        return "openrouter"
    if any(isinstance(entry, dict) and "litellm_provider" in entry for entry in document.values()):
        return "litellm"
    return "oneapi"


# ---- LiteLLM ----

_LITELLM_TOKENS: Mapping[str, str] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
}
# Mode → price → unit. Elsewhere these stand for something that is not counted here.
_LITELLM_UNITS: Mapping[str, Mapping[str, str]] = {
    "image_generation": {"input_cost_per_image": "images", "output_cost_per_image": "images"},
    "audio_transcription": {"input_cost_per_second": "seconds", "output_cost_per_second": "seconds"},
    "audio_speech": {"input_cost_per_character": "characters"},
    "rerank": {"input_cost_per_query": "search_units"},
}
_LITELLM_SEARCH = "search_context_cost_per_query"
_LITELLM_TIERS = "tiered_pricing"
_LITELLM_LONG = re.compile(r"(.+)_above_(\d+)k_tokens")


def _litellm(document: Json, provider: str) -> PublicList:
    rows = (
        (name.removeprefix(f"{provider}/") if provider else name, entry)
        for name, entry in document.items()
        if name != "sample_spec" and isinstance(entry, dict)
        if not provider or entry.get("litellm_provider") == provider
    )
    return PublicList(format="litellm").read(rows, _litellm_columns)


def _litellm_columns(entry: Json, not_taken: set[str]) -> Columns:
    units = _LITELLM_UNITS.get(str(entry.get("mode")), {})
    tokens: dict[str, Decimal] = {}
    per_unit: dict[str, Decimal] = {}
    longer: dict[int, dict[str, Decimal]] = {}
    for key, value in entry.items():
        if ("cost" not in key and key != _LITELLM_TIERS) or not value:
            continue
        long = _LITELLM_LONG.fullmatch(key)
        if key in _LITELLM_TOKENS:
            tokens[_LITELLM_TOKENS[key]] = _million(value)
        elif key in units:
            per_unit[units[key]] = parse_number(value)
        elif key == _LITELLM_SEARCH and isinstance(value, dict):
            if price := value.get("search_context_size_medium"):
                per_unit["searches"] = parse_number(price)
        elif long and long[1] in _LITELLM_TOKENS:
            longer.setdefault(int(long[2]) * 1000, {})[_LITELLM_TOKENS[long[1]]] = _million(value)
        elif key == _LITELLM_TIERS and isinstance(value, list):
            for start, tier in map(_litellm_tier, value):
                (longer.setdefault(start, {}) if start else tokens).update(tier)
        else:
            not_taken.add(key)
    return _columns(tokens, per_unit, longer, is_free=entry.get("input_cost_per_token") == 0)


def _litellm_tier(tier: object) -> tuple[int, dict[str, Decimal]]:
    """The length of prompts from which a tier's prices hold, and these. Raises ValueError."""
    if not isinstance(tier, dict) or not isinstance(tier.get("range"), list) or not tier["range"]:
        raise ValueError("has tiers that cannot be read")
    prices = {column: _million(tier[key]) for key, column in _LITELLM_TOKENS.items() if tier.get(key)}
    return int(parse_number(tier["range"][0])), prices


# ---- OpenRouter ----

_OPENROUTER_TOKENS: Mapping[str, str] = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cached",
    "input_cache_write": "cache_write",
    "internal_reasoning": "reasoning",
    "audio": "audio_input",
    "audio_output": "audio_output",
    "image_token": "image_input",
    "image_output": "image_output",
}
_OPENROUTER_UNITS: Mapping[str, str] = {"request": "calls", "web_search": "searches"}


def _openrouter(document: Json, provider: str) -> PublicList:
    data = document.get("data")
    named = (row for row in (data if isinstance(data, list) else ()) if isinstance(row, dict))
    prefix = f"{provider}/" if provider else ""
    rows = (
        (row["id"].removeprefix(prefix), row["pricing"])
        for row in named
        if isinstance(row.get("id"), str) and isinstance(row.get("pricing"), dict) and row["id"].startswith(prefix)
    )
    return PublicList(format="openrouter").read(rows, _openrouter_columns)


def _openrouter_columns(pricing: Json, not_taken: set[str]) -> Columns:
    if str(pricing.get("prompt", "")).startswith("-"):
        raise ValueError("costs what the model costs that is chosen for a request")
    tokens: dict[str, Decimal] = {}
    per_unit: dict[str, Decimal] = {}
    for key, value in pricing.items():
        if isinstance(value, dict | list) or not parse_number(value):
            continue
        if key in _OPENROUTER_TOKENS:
            tokens[_OPENROUTER_TOKENS[key]] = _million(value)
        elif key in _OPENROUTER_UNITS:
            per_unit[_OPENROUTER_UNITS[key]] = parse_number(value)
        else:
            not_taken.add(key)
    return _columns(tokens, per_unit, {}, is_free="prompt" in pricing)


# ---- One API ----


def _oneapi(document: Json, provider: str) -> PublicList:
    """Options, as {"ModelRatio": {…}, …} or as GET /api/option/ lists them; or a table of ratios by itself."""
    listed = PublicList(format="oneapi")
    tables = _option_texts(document)
    options = Options.from_rows(tables)
    for key, text in tables.items():
        try:
            validate(key, text, options)
        except InvalidOption as error:
            raise ValueError(str(error)) from None
    listed.prices.update(options.ext_model_price)
    for model, ratio in options.model_ratio.items():
        own = options.ext_model_price.get(model, Columns(input=ratio * 2))
        factor = ratio * 2 / own.input if own.input else Decimal(1)
        per_unit = {unit: usd * factor for unit, usd in own.per_unit.items()}
        listed.prices[model] = replace(own.times(factor), per_unit=per_unit)
    for model, completion in options.completion_ratio.items():
        if model in listed.prices:
            listed.prices[model] = replace(listed.prices[model], output=listed.prices[model].input * completion)
        else:
            listed.unusable[model] = "has a CompletionRatio and no ModelRatio"
    return listed


_TABLES = ("ModelRatio", "CompletionRatio", "ExtModelPrice")


def _option_texts(document: Json) -> dict[str, str]:
    data = document.get("data")
    named: Mapping[Any, Any] = document if document.keys() & {*_TABLES} else {"ModelRatio": document}
    if isinstance(data, list):
        named = {row.get("key"): row.get("value") for row in data if isinstance(row, dict)}
    return {key: _as_text(named[key]) for key in _TABLES if key in named}


def _as_text(table: object) -> str:
    if isinstance(table, str):
        return table
    if not isinstance(table, dict):
        raise ValueError("This is no price list: a table must be a JSON object.")
    return render_table(table)


# ---- what they share ----


def _million(value: object) -> Decimal:
    """The price of a million tokens, of that of one."""
    return parse_number(value) * 1_000_000


def _columns(
    tokens: dict[str, Decimal], per_unit: dict[str, Decimal], longer: dict[int, dict[str, Decimal]], *, is_free: bool
) -> Columns:
    """Raises ValueError where nothing is priced, or what this program cannot bill."""
    if not tokens and not per_unit:
        if not is_free:
            raise ValueError("has no price for anything that is counted here")
        return Columns(input=Decimal(0), output=Decimal(0))
    above = [{**tokens, **tier, "input_tokens": length} for length, tier in longer.items()]
    return parse_columns({"input": Decimal(0), **tokens, "per_unit": per_unit, "above": above})


_READERS: Mapping[Format, Callable[[Json, str], PublicList]] = {
    "litellm": _litellm,
    "openrouter": _openrouter,
    "oneapi": _oneapi,
}
