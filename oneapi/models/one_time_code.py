"""One-time codes: e-mail verification, password reset and the like, shared by all workers and nodes."""

from __future__ import annotations

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Int


class OneTimeCode(Model):
    __tablename__ = "one_time_codes"
    __table_args__ = (
        Index("idx_one_time_codes_purpose_subject", "purpose", "subject"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Int, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(191))  # an address, or a user's id
    code: Mapped[str] = mapped_column(String(191))  # a hash of it
    expires_at: Mapped[int] = mapped_column(Int)
    attempts: Mapped[int] = mapped_column(Int, default=0, server_default="0")
