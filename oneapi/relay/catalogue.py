"""The models a caller sees: `GET /v1/models` and `GET /v1/models/{id}`.

Source: spec relay.md §1.6 with the defects of §9.1 rows 4 and 5 mended: one row per visible id, owned by the channel
type that serves it, and 404 for what the caller cannot see.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from oneapi.errors import NotFound
from oneapi.relay.adaptor import Json
from oneapi.relay.exchange import Caller, Directory

_CREATED = 1626777600  # the one date that One API gives to every model
_PERMISSION: Json = {
    "id": "modelperm-LwHkVFn8AcMItP432fKKDIKJ",
    "object": "model_permission",
    "created": _CREATED,
    "allow_create_engine": True,
    "allow_sampling": True,
    "allow_logprobs": True,
    "allow_search_indices": False,
    "allow_view": True,
    "allow_fine_tuning": False,
    "organization": "*",
    "group": None,
    "is_blocking": False,
}


def model_list(caller: Caller, directory: Directory) -> Json:
    """OpenAI's list of what this caller may ask for, in alphabetical order."""
    owners = _visible(caller, directory)
    return {"object": "list", "data": [row(model, owners[model]) for model in sorted(owners)]}


def one_model(model: str, caller: Caller, directory: Directory) -> Json:
    """One row of the list. Raises NotFound for an unknown model and for one that this caller may not use."""
    owners = _visible(caller, directory)
    if model not in owners:
        raise NotFound(
            f"The model {model} does not exist, or you may not use it.", code="model_not_found", param="model"
        )
    return row(model, owners[model])


def _visible(caller: Caller, directory: Directory) -> dict[str, str]:
    """Visible model → owner. A token's own list is taken as it is, its globs among what channels serve."""
    served = directory.models(caller.group)
    if not caller.models:
        return dict(served)
    named = {item: served.get(item, "custom") for item in caller.models if not _is_glob(item)}
    globs = [item for item in caller.models if _is_glob(item)]
    matched = {model: owner for model, owner in served.items() if any(fnmatchcase(model, glob) for glob in globs)}
    return {**matched, **named}


def _is_glob(item: str) -> bool:
    return any(character in item for character in "*?[")


def row(model: str, owner: str) -> Json:
    """A model as OpenAI's lists show it."""
    return {
        "id": model,
        "object": "model",
        "created": _CREATED,
        "owned_by": owner,
        "permission": [_PERMISSION],
        "root": model,
        "parent": None,
    }
