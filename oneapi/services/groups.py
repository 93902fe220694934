"""Groups of users, and the models that channels offer them. A group exists because it has a ratio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import Engine, func, or_, select

from oneapi.limits import NO_LIMITS, Limits, render_group_limits
from oneapi.models import Ability, User
from oneapi.options import Options
from oneapi.services import settings
from oneapi.services.accounts import DELETED
from oneapi.services.audit import Actor
from oneapi.services.refusal import Refusal, invalid_input
from oneapi.services.tokens import checked_limits

NAME_LIMIT = 32  # of users.group


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`ratio` is None where users or channels name a group that has none; prices are then taken as they are.

    `limits` are those of each of its users.
    """

    name: str
    ratio: Decimal | None
    limits: Limits
    users: int
    channels: int
    models: int


def names(options: Options) -> list[str]:
    return list(options.group_ratio)


def available_models(engine: Engine, group: str) -> list[str]:
    """Models that some enabled channel serves for the group, in alphabetical order."""
    # Names by the key alone, each then looked up once: a model may have a hundred thousand channels.
    named = select(Ability.model).where(Ability.group == group).distinct().subquery()
    serving = select(Ability.model).where(
        Ability.group == group, Ability.model == named.c.model, Ability.enabled.is_(True)
    )
    with engine.connect() as connection:
        rows = connection.execute(select(named.c.model).where(serving.exists()))
        return sorted(row.model for row in rows if row.model)


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
    named = {*offers, *users, *options.ext_group_limits}
    known = (*options.group_ratio, *sorted(named - {*options.group_ratio}))
    return [
        Group(
            name=name,
            ratio=options.group_ratio.get(name),
            limits=options.ext_group_limits.get(name, NO_LIMITS),
            users=users.get(name, 0),
            channels=offers[name].channels if name in offers else 0,
            models=offers[name].models if name in offers else 0,
        )
        for name in known
    ]


def save(engine: Engine, actor: Actor, name: str, ratio: str, *, now: int) -> None:
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
    settings.revise(engine, actor, lambda stored: _ratios({**stored.group_ratio, name: number}), now=now)


def save_limits(engine: Engine, actor: Actor, name: str, limits: Mapping[str, Any], *, now: int) -> None:
    """What each user of the group may do at most, as oneapi/limits.py has it; {} takes it away. Raises Refusal."""
    given = checked_limits(limits, may_budget=False)
    settings.revise(engine, actor, lambda stored: _limits({**stored.ext_group_limits, name: given}), now=now)


def remove(engine: Engine, actor: Actor, name: str, *, now: int) -> None:
    """Takes a group's ratio and limits away. Raises Refusal while users are in it: they would pay without a factor."""
    with engine.connect() as connection:
        query = select(func.count()).where(User.group == name, or_(User.status != DELETED, User.status.is_(None)))
        count = connection.execute(query).scalar_one()
    if count:
        raise Refusal("group_has_users", group=name, count=count)

    def without(stored: Options) -> Mapping[str, str]:
        if name not in stored.group_ratio:
            raise Refusal("record_not_found")
        ratios = {group: ratio for group, ratio in stored.group_ratio.items() if group != name}
        return {**_ratios(ratios), **_limits({**stored.ext_group_limits, name: NO_LIMITS})}

    settings.revise(engine, actor, without, now=now)


def _ratios(ratios: Mapping[str, Decimal]) -> dict[str, str]:
    """The option with the digits as they stand: money is not made from floats."""
    entries = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{ratio:f}" for name, ratio in ratios.items())
    return {"GroupRatio": f"{{{entries}}}"}


def _limits(limits: Mapping[str, Limits]) -> dict[str, str]:
    return {"ExtGroupLimits": render_group_limits(limits)}
