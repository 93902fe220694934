"""Groups of users, and the models that channels offer them. A group exists because it has a ratio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sqlalchemy import Engine, func, or_, select

from oneapi.models import Ability, User
from oneapi.options import Options
from oneapi.services import settings
from oneapi.services.accounts import DELETED
from oneapi.services.audit import Actor
from oneapi.services.refusal import Refusal, invalid_input

NAME_LIMIT = 32  # of users.group


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`ratio` is None where users or channels name a group that has none; prices are then taken as they are."""

    name: str
    ratio: Decimal | None
    users: int
    channels: int
    models: int


def names(options: Options) -> list[str]:
    return list(options.group_ratio)


def available_models(engine: Engine, group: str) -> list[str]:
    """Models that some enabled channel serves for the group, in alphabetical order."""
    query = select(Ability.model).where(Ability.group == group, Ability.enabled.is_(True)).distinct()
    with engine.connect() as connection:
        return sorted(row.model for row in connection.execute(query) if row.model)


def overview(engine: Engine, options: Options) -> list[Group]:
    """All groups with their ratios and who is in them; those that are only named somewhere stand last."""
    served = (
        select(
            Ability.group,
            func.count(Ability.channel_id.distinct()).label("channels"),
            func.count(Ability.model.distinct()).label("models"),
        )
        .where(Ability.enabled.is_(True))
        .group_by(Ability.group)
    )
    members = (
        select(User.group, func.count().label("users"))
        .where(or_(User.status != DELETED, User.status.is_(None)))
        .group_by(User.group)
    )
    with engine.connect() as connection:
        offers = {row.group: row for row in connection.execute(served)}
        users = {row.group or "default": row.users for row in connection.execute(members)}
    known = dict.fromkeys((*options.group_ratio, *sorted({*offers, *users} - {*options.group_ratio})))
    return [
        Group(
            name=name,
            ratio=options.group_ratio.get(name),
            users=users.get(name, 0),
            channels=offers[name].channels if name in offers else 0,
            models=offers[name].models if name in offers else 0,
        )
        for name in known
    ]


def save(engine: Engine, actor: Actor, options: Options, name: str, ratio: str, *, now: int) -> None:
    """Gives a group its ratio, and makes the group where there is none. Raises Refusal."""
    name = name.strip()
    if not name or "," in name:
        raise invalid_input("group_name_invalid")
    if len(name) > NAME_LIMIT:
        raise invalid_input("group_too_long", limit=NAME_LIMIT)
    try:
        number = Decimal(ratio.strip())
    except InvalidOperation:
        raise invalid_input("group_ratio_invalid") from None
    _write(engine, actor, {**options.group_ratio, name: number}, now)


def remove(engine: Engine, actor: Actor, options: Options, name: str, *, now: int) -> None:
    """Takes a group's ratio away. Raises Refusal while users are in it: they would pay without its factor."""
    with engine.connect() as connection:
        query = select(func.count()).where(User.group == name, or_(User.status != DELETED, User.status.is_(None)))
        count = connection.execute(query).scalar_one()
    if count:
        raise Refusal("group_has_users", group=name, count=count)
    ratios = dict(options.group_ratio)
    if ratios.pop(name, None) is None:
        raise Refusal("record_not_found")
    _write(engine, actor, ratios, now)


def _write(engine: Engine, actor: Actor, ratios: Mapping[str, Decimal], now: int) -> None:
    """Saves the option with the digits as they stand: money is not made from floats."""
    entries = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{ratio:f}" for name, ratio in ratios.items())
    settings.save(engine, actor, {"GroupRatio": f"{{{entries}}}"}, now=now)
