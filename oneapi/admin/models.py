"""Models and what each costs: in one's own group, and for administrators in any."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from flask import request
from flask_babel import lazy_gettext

from oneapi.admin.view import ADMIN, COMMON, ROOT, SECTION_USE, PanelView, expose, me, options, program
from oneapi.relay.pricelist import Price
from oneapi.services import groups

_USD_A_MILLION = Decimal(2)  # of one million tokens at ratio 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Prices in USD, with the group's ratio; for a million tokens, or for one unit of `per_unit`."""

    model: str
    owner: str
    channels: int
    input: Decimal | None = None
    output: Decimal | None = None
    cached: Decimal | None = None
    per_unit: tuple[tuple[str, Decimal], ...] = ()
    long_from: int = 0
    is_default: bool = False


def _row(model: str, owner: str, channels: int, price: Price | None, ratio: Decimal) -> Row:
    if price is None:
        return Row(model=model, owner=owner, channels=channels)
    factor = _USD_A_MILLION * ratio
    return Row(
        model=model,
        owner=owner,
        channels=channels,
        input=price.input * factor,
        output=price.output * factor,
        cached=None if price.cached is None else price.cached * factor,
        per_unit=tuple((unit, usd * ratio) for unit, usd in price.per_unit.items()),
        long_from=price.above[0][0] if price.above else 0,
        is_default=price.is_default,
    )


class ModelView(PanelView):
    role = COMMON
    icon, section = "sparkles", SECTION_USE

    @expose("/")
    def index(self) -> Any:
        may_choose = me().role >= ADMIN
        group = (may_choose and request.args.get("group", "").strip()) or me().group
        directory, prices = program().snapshots.directory, program().snapshots.price_list
        ratio = prices.group_ratio(group)
        rows = []
        for model, owner in sorted(directory.models(group).items()):
            tiers = directory.tiers(group, model)
            first = tiers[0][0]
            actual = first.model_mapping.get(model) or model
            rows.append(_row(model, owner, sum(map(len, tiers)), prices.price(actual, first.type), ratio))
        return self.render(
            "panel/model.html",
            rows=rows,
            group=group,
            ratio=ratio,
            may_choose=may_choose,
            may_import=me().role >= ROOT,
            all_groups=groups.names(options()) if may_choose else [],
        )


VIEWS = (partial(ModelView, name=lazy_gettext("Models and prices"), endpoint="model"),)
