"""What the panel's lists have in common: filters that are plain query parameters, so that a view can be bookmarked.

Flask-Admin sorts, searches and pages over the whole table; this narrows its query. Rows are deleted and switched by
/api, which the page's script calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from flask import request
from sqlalchemy import ColumnElement, func, literal

from oneapi.admin.view import RowsView
from oneapi.extensions import db
from oneapi.services.numbers import id_of

Where = Callable[[str], ColumnElement[bool] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One box above a list. `where` gives the condition for a text that was chosen, None where it can mean nothing; a
    view that asks a service for its rows needs none.

    kind: "select" (with choices), "text", or "time", whose texts are Unix seconds.
    """

    name: str
    label: Any
    where: Where = lambda text: None
    kind: str = "text"
    choices: Callable[[], Sequence[tuple[str, Any]]] | None = None

    @property
    def chosen(self) -> str:
        return request.args.get(self.name, "").replace("\0", "").strip()


def equals(column: Any) -> Where:
    """The column has exactly this text."""
    return lambda text: column == text


def equals_number(column: Any) -> Where:
    """The column has exactly this number."""
    return lambda text: None if (number := id_of(text)) is None else column == number


def has_item(column: Any) -> Callable[[str], ColumnElement[bool]]:
    """The column is a comma-separated list that has this item."""

    def where(text: str) -> ColumnElement[bool]:
        items = literal(",").concat(func.coalesce(column, "")).concat(",")
        condition: ColumnElement[bool] = items.contains(f",{text},", autoescape=True)
        return condition

    return where


class ListView(RowsView):
    """A table as a list with filters. `page` gives its template what it needs besides the rows."""

    column_display_actions = False
    column_default_sort = ("id", True)
    filters: ClassVar[tuple[Filter, ...]] = ()

    def __init__(self, model: Any, **names: Any) -> None:
        super().__init__(model, db, **names)

    def render(self, template: str, **values: Any) -> Any:
        if template == self.list_template:
            values = {
                "filters_offered": self.offered_filters(),
                "is_narrowed": self._is_narrowed(),
                **self.page(),
                **values,
            }
        return super().render(template, **values)

    def page(self) -> Mapping[str, Any]:
        return {}

    def offered_filters(self) -> tuple[Filter, ...]:
        return self.filters

    def owned(self) -> Iterable[ColumnElement[bool]]:
        """Whose rows may be seen; all of them, unless a view says otherwise."""
        return ()

    def conditions(self) -> Iterable[ColumnElement[bool]]:
        """What the list is narrowed to: its filters, and whose rows they are."""
        for one in self.offered_filters():
            if (text := one.chosen) and (condition := one.where(text)) is not None:
                yield condition
        yield from self.owned()

    def get_query(self) -> Any:
        return super().get_query().filter(*self.conditions())

    def get_one(self, id: Any) -> Any:
        number = id_of(str(id))
        if number is None:
            return None
        return db.session.query(self.model).filter(self.model.id == number, *self.owned()).one_or_none()

    def _is_narrowed(self) -> bool:
        """Whether a search or a filter hides something: an empty list then has another reason."""
        return bool(request.args.get("search")) or any(one.chosen for one in self.offered_filters())
