"""Redemptions: codes that give quota once."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Char, Int, Name


class Redemption(Model):
    """Columns down to `redeemed_time` are One API's, the rest are ours."""

    __tablename__ = "redemptions"
    __table_args__ = (
        Index("idx_redemptions_key", "key", unique=True),
        Index("idx_redemptions_name", "name"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Int, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(Int, default=0)  # who made it
    key: Mapped[str | None] = mapped_column(Char(32))
    status: Mapped[int | None] = mapped_column(Int, default=1, server_default="1")
    name: Mapped[str | None] = mapped_column(Name, default="")
    quota: Mapped[int | None] = mapped_column(Int, default=100, server_default="100")
    created_time: Mapped[int | None] = mapped_column(Int, default=0)
    redeemed_time: Mapped[int | None] = mapped_column(Int, default=0)

    redeemed_by: Mapped[int | None] = mapped_column(Int)  # a user's id
    expired_time: Mapped[int | None] = mapped_column(Int)  # NULL, 0 and -1: never
