"""Abilities: (group, model, channel) triples, derived from channels."""

from __future__ import annotations

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Bool, Int, Name


class Ability(Model):
    __tablename__ = "abilities"
    __table_args__ = (
        Index("idx_abilities_channel_id", "channel_id"),
        Index("idx_abilities_priority", "priority"),
    )

    group: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(Name, primary_key=True)
    channel_id: Mapped[int] = mapped_column(Int, primary_key=True, autoincrement=False)
    enabled: Mapped[bool | None] = mapped_column(Bool, default=False)
    priority: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
