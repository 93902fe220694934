"""Options: runtime settings that differ from their defaults."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import LongText, Name


class Option(Model):
    __tablename__ = "options"

    key: Mapped[str] = mapped_column(Name, primary_key=True)
    value: Mapped[str | None] = mapped_column(LongText, default="")
