"""Channels: configured accounts at providers."""

from __future__ import annotations

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Float, Int, LongText, Name, Unsigned, text_or_varchar


class Channel(Model):
    """Columns down to `system_prompt` are One API's, the rest are ours.

    `base_url`, `group` and `model_mapping` are shorter in the reference (191, 32 and 1024); the migration widens them.
    """

    __tablename__ = "channels"
    __table_args__ = (
        Index("idx_channels_name", "name"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Int, primary_key=True)
    type: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    key: Mapped[str | None] = mapped_column(Text, default="")
    status: Mapped[int | None] = mapped_column(Int, default=1, server_default="1")
    name: Mapped[str | None] = mapped_column(Name, default="")
    weight: Mapped[int | None] = mapped_column(Unsigned, default=0, server_default="0")
    created_time: Mapped[int | None] = mapped_column(Int, default=0)
    test_time: Mapped[int | None] = mapped_column(Int, default=0)
    response_time: Mapped[int | None] = mapped_column(Int, default=0)  # ms
    base_url: Mapped[str | None] = mapped_column(text_or_varchar(1024), default="", server_default="")
    other: Mapped[str | None] = mapped_column(LongText)
    balance: Mapped[float | None] = mapped_column(Float, default=0)
    balance_updated_time: Mapped[int | None] = mapped_column(Int, default=0)
    models: Mapped[str | None] = mapped_column(LongText, default="")  # comma-separated
    group: Mapped[str | None] = mapped_column(String(1024), default="default", server_default="default")
    used_quota: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    model_mapping: Mapped[str | None] = mapped_column(String(8192), default="", server_default="")  # JSON object
    priority: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    config: Mapped[str | None] = mapped_column(LongText, default="")  # JSON object
    system_prompt: Mapped[str | None] = mapped_column(Text)

    tag: Mapped[str | None] = mapped_column(String(191))
    settings: Mapped[str | None] = mapped_column(Text)  # JSON: proxy, overrides, header_overrides, test_model, keys
    status_reason: Mapped[str | None] = mapped_column(Text)
    status_time: Mapped[int | None] = mapped_column(Int)
