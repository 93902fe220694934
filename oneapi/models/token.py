"""Tokens: the API keys of users."""

from __future__ import annotations

from sqlalchemy import Index, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Bool, Char, Int, Name, text_or_varchar


class Token(Model):
    """Columns down to `subnet` are One API's, `limits` is ours."""

    __tablename__ = "tokens"
    __table_args__ = (
        Index("idx_tokens_key", "key", unique=True),
        Index("idx_tokens_name", "name"),
        Index("idx_tokens_user_id", "user_id"),  # ours
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Int, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(Int, default=0)
    key: Mapped[str | None] = mapped_column(Char(48))  # without sk-
    status: Mapped[int | None] = mapped_column(Int, default=1, server_default="1")
    name: Mapped[str | None] = mapped_column(Name, default="")
    created_time: Mapped[int | None] = mapped_column(Int, default=0)
    accessed_time: Mapped[int | None] = mapped_column(Int, default=0)
    expired_time: Mapped[int | None] = mapped_column(Int, default=-1, server_default="-1")  # -1: never
    remain_quota: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    unlimited_quota: Mapped[bool | None] = mapped_column(Bool, default=False, server_default=false())
    used_quota: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    models: Mapped[str | None] = mapped_column(Text)  # comma-separated; empty: all
    # Comma-separated CIDRs; 191 characters in the reference, widened by the migration.
    subnet: Mapped[str | None] = mapped_column(text_or_varchar(2048), default="", server_default="")

    # JSON (oneapi/limits.py): requests_per_minute, tokens_per_minute, concurrency, budget {period, quota}
    limits: Mapped[str | None] = mapped_column(Text)
