"""What the ledger keeps beside users and logs, so that no quota is ever lost or taken twice."""

from __future__ import annotations

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Int, LongText


class Hold(Model):
    """Quota taken for a call that is not settled yet. Settling deletes the row, which is what makes it happen once."""

    __tablename__ = "holds"
    __table_args__ = (Index("idx_holds_expires_at", "expires_at"),)

    request_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(Int)
    token_id: Mapped[int] = mapped_column(Int)
    user_quota: Mapped[int] = mapped_column(Int)
    token_quota: Mapped[int] = mapped_column(Int)  # 0 where the token is unlimited
    worker: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[int] = mapped_column(Int)
    expires_at: Mapped[int] = mapped_column(Int)
    released_at: Mapped[int | None] = mapped_column(Int)  # given back by the job; the row stays for a day


class OutboxEntry(Model):
    """A log row on its way to the log database, written in the transaction of its money (with LOG_SQL_DSN only)."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("idx_outbox_request_id", "request_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Int, primary_key=True)
    request_id: Mapped[str] = mapped_column(String(191))
    row: Mapped[str] = mapped_column(LongText)  # JSON of a LogEntry
    created_at: Mapped[int] = mapped_column(Int)


class Opening(Model):
    """Where a user's account starts, and what the log rows that are no longer there had summed up to.

    For each user: users.quota + open holds = quota + credited - charged + sum of his log rows of types 1, 3 and 4
    - sum of his log rows of type 2. Rows that were there before our program first saw the user are part of his
    opening balance already: they are entered in `credited` and `charged` with the opposite sign (bootstrap.py).
    """

    __tablename__ = "openings"

    user_id: Mapped[int] = mapped_column(Int, primary_key=True, autoincrement=False)
    quota: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    credited: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    charged: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    created_at: Mapped[int] = mapped_column(Int)
