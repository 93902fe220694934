"""A price list that root brings: beside the prices in force, and taken over where he says so.

The page of models leads here; the command `oneapi import-prices` does the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gevent
from flask import flash, redirect, request
from flask_babel import gettext, lazy_gettext

from oneapi.admin.view import ROOT, SECTION_USE, PanelView, actor, engine, expose, now, options, program
from oneapi.columns import Columns, parse_price_table, render_price_table, short
from oneapi.data import load_prices
from oneapi.services import prices
from oneapi.services.publicprices import parse_list


class PriceView(PanelView):
    role = ROOT
    icon, section = "upload", SECTION_USE

    def is_visible(self) -> bool:
        return False

    @expose("/")
    def index(self) -> Any:
        return self._page()

    @expose("/compare", methods=["POST"])
    def compare(self) -> Any:
        file = request.files.get("list")
        provider = request.form.get("provider", "").strip()
        try:
            listed = gevent.get_hub().threadpool.apply(_parsed, (file.read() if file else b"", provider))
        except ValueError as error:
            return self._page(provider=provider, fault=str(error))
        return self._page(provider=provider, found=prices.compare(engine(), listed, options(), load_prices()))

    @expose("/save", methods=["POST"])
    def save(self) -> Any:
        """Takes over the entries whose boxes are ticked; each says its whole price."""
        chosen: dict[str, Columns] = {}
        try:
            for entry in request.form.getlist("price"):
                chosen.update(parse_price_table(entry))
        except ValueError as error:
            return self._page(fault=str(error))
        if chosen:
            prices.save(engine(), actor(), chosen, load_prices(), now=now())
            program().snapshots.refresh()
        flash(gettext("Prices of %(count)s models were saved.", count=len(chosen)), "success")
        return redirect(self.get_url("model.index"))

    def _page(self, *, provider: str = "", fault: str = "", found: prices.Comparison | None = None) -> Any:
        return self.render("panel/price.html", provider=provider, fault=fault, found=found, short=short, entry=_entry)


def _parsed(text: bytes, provider: str) -> Any:
    """In a native thread: a public list has megabytes."""
    return parse_list(text, provider=provider)


def _entry(model: str, columns: Columns) -> str:
    return render_price_table({model: columns})


VIEWS = (partial(PriceView, name=lazy_gettext("Import prices"), endpoint="price"),)
