"""Budgets of tokens: what a token had used when its present day, week or month began."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Int


class TokenBudget(Model):
    """Only of tokens with a budget; written at a period's first call, so that nothing need be reset."""

    __tablename__ = "token_budgets"

    token_id: Mapped[int] = mapped_column(Int, primary_key=True, autoincrement=False)
    period: Mapped[str] = mapped_column(String(16))  # day, week, month
    start: Mapped[int] = mapped_column(Int)
    used: Mapped[int] = mapped_column(Int)  # tokens.used_quota at that time
