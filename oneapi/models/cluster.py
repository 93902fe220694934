"""What the workers and nodes of one installation tell each other through the database."""

from __future__ import annotations

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Int


class Revision(Model):
    """How often something has changed: 'channels', 'options' or 'accounts' (services/revisions.py)."""

    __tablename__ = "revisions"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(Int)


class Lease(Model):
    """Which process may do something that one process at a time does, and until when unless it renews."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[int] = mapped_column(Int)


class ChannelHealth(Model):
    """A circuit breaker that is not closed: (channel, model) pairs that cool down; and single keys of a channel that
    rest (state "key"), whose mark stands for the model, after a comma."""

    __tablename__ = "channel_health"

    channel_id: Mapped[int] = mapped_column(Int, primary_key=True, autoincrement=False)
    model: Mapped[str] = mapped_column(String(191), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))  # open, key
    reason: Mapped[str | None] = mapped_column(Text)
    failures: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    changed_at: Mapped[int] = mapped_column(Int)
    until: Mapped[int] = mapped_column(Int)
