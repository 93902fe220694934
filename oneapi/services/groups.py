"""Groups of users, and the models that channels offer them. A group exists because it has a ratio."""

from __future__ import annotations

from sqlalchemy import Engine, select

from oneapi.models import Ability
from oneapi.options import Options


def names(options: Options) -> list[str]:
    return list(options.group_ratio)


def available_models(engine: Engine, group: str) -> list[str]:
    """Models that some enabled channel serves for the group, in alphabetical order."""
    query = select(Ability.model).where(Ability.group == group, Ability.enabled.is_(True)).distinct()
    with engine.connect() as connection:
        return sorted(row.model for row in connection.execute(query) if row.model)
