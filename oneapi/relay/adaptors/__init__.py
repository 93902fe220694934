"""Every channel type this program knows, found by walking this folder.

A module here offers `ADAPTORS`, a tuple. Adding a provider is adding a row to openai_compatible.py or a file: see
docs/adding-a-provider.md. A deployment may have files of its own in a folder beside (`look_in`).
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.resources import files
from types import MappingProxyType

from oneapi.relay.adaptor import Adaptor

# The order in which One API lists the static models of its types, and behind them those it leaves out (spec relay.md
# §1.6): a model that several types offer is said to belong to the first.
_CATALOGUE_ORDER = (
    *(1, 14, 11, 15, 16, 17, 18, 23, 24, 30, 33, 34, 35, 37, 38, 42, 43, 46),
    *(19, 25, 26, 27, 40, 28, 29, 31, 32, 36, 39, 41, 44, 45, 47, 48),
)


def look_in(folder: str) -> None:
    """Has `load` find the modules of this folder, too. Raises ValueError for one that is named like one of ours."""
    if folder in __path__:
        return
    ours, theirs = ({info.name for info in pkgutil.iter_modules(path)} for path in (__path__, [folder]))
    if taken := ours & theirs:
        raise ValueError(f"Adaptors of this program have these names already: {', '.join(sorted(taken))}.")
    __path__.append(folder)
    load.cache_clear()
    catalogue.cache_clear()


@cache
def load() -> Mapping[int, Adaptor]:
    """Channel type → adaptor, ascending. Raises ValueError where a number or a name is declared twice."""
    found: dict[int, Adaptor] = {}
    names: set[str] = set()
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for adaptor in import_module(f"{__name__}.{module}").ADAPTORS:
            if adaptor.type in found or adaptor.name in names:
                raise ValueError(f"Channel type {adaptor.type} or its name {adaptor.name!r} is declared twice.")
            found[adaptor.type] = adaptor
            names.add(adaptor.name)
    return MappingProxyType(dict(sorted(found.items())))


def with_settings(settings: Mapping[str, str]) -> Mapping[int, Adaptor]:
    """The adaptors with the deployment's own defaults for those fields of a channel that name a setting."""

    def changed(adaptor: Adaptor) -> Adaptor:
        fields = tuple(
            replace(field, default=settings[field.setting]) if settings.get(field.setting) else field
            for field in adaptor.fields
        )
        return adaptor if fields == adaptor.fields else replace(adaptor, fields=fields)

    return MappingProxyType({number: changed(adaptor) for number, adaptor in load().items()})


@cache
def catalogue() -> Mapping[str, str]:
    """Model → owner, for all models that the listed types offer: one row per model, in One API's order."""
    adaptors = load()
    order = (*_CATALOGUE_ORDER, *(number for number in adaptors if number not in _CATALOGUE_ORDER))
    owners: dict[str, str] = {}
    for number in order:
        adaptor = adaptors.get(number)
        if adaptor is not None and adaptor.is_listed:
            for model in adaptor.models:
                owners.setdefault(model, adaptor.owner)
    return MappingProxyType(owners)


def default_models(number: int) -> tuple[str, ...]:
    """The models offered for a new channel of this type: One API's list, then later models."""
    lists = _model_lists()
    reference = lists["reference"]["models"]
    models = reference.get(str(number), [])
    source = number
    if isinstance(models, int):
        source, models = models, reference[str(models)]
    later = [model for group in lists["added"].get(str(source), ()) for model in group["models"]]
    return tuple(dict.fromkeys((*models, *later)))


@cache
def _model_lists() -> dict[str, dict[str, dict]]:  # type: ignore[type-arg]
    parsed: dict[str, dict[str, dict]] = json.loads(  # type: ignore[type-arg]
        files("oneapi").joinpath("data", "channel_models.json").read_text("utf-8")
    )
    return parsed
