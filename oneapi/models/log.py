"""Logs: what was consumed, credited and managed. Lives where LOG_SQL_DSN says, else in the main database."""

from __future__ import annotations

from sqlalchemy import Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Bool, Int, LongText, Name


class Log(Model):
    """Columns down to `system_prompt_reset` are One API's, the rest are ours.

    The indexes of ours may be missing on a large table until a job has made them (bootstrap.py).
    """

    __bind_key__ = "logs"
    __tablename__ = "logs"
    __table_args__ = (
        Index("idx_logs_user_id", "user_id"),
        Index("idx_created_at_type", "created_at", "type"),
        Index("index_username_model_name", "model_name", "username"),
        Index("idx_logs_token_name", "token_name"),
        Index("idx_logs_model_name", "model_name"),
        Index("idx_logs_channel_id", "channel_id"),
        Index("idx_logs_user_id_id", "user_id", "id"),  # ours
        Index("idx_logs_username_id", "username", "id"),  # ours
        Index("idx_logs_request_id", "request_id"),  # ours
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Int, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(Int, default=0)
    created_at: Mapped[int | None] = mapped_column(Int, default=0)
    # 1 top-up, 2 consumption, 3 management, 4 system, 5 channel test, 6 failed request (ours)
    type: Mapped[int | None] = mapped_column(Int, default=0)
    content: Mapped[str | None] = mapped_column(LongText, default="")
    username: Mapped[str | None] = mapped_column(Name, default="", server_default="")
    token_name: Mapped[str | None] = mapped_column(Name, default="", server_default="")
    model_name: Mapped[str | None] = mapped_column(Name, default="", server_default="")
    quota: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    prompt_tokens: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    completion_tokens: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    channel_id: Mapped[int | None] = mapped_column(Int, default=0)
    request_id: Mapped[str | None] = mapped_column(Name, default="", server_default="")
    elapsed_time: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")  # ms
    is_stream: Mapped[bool | None] = mapped_column(Bool, default=False, server_default=false())
    system_prompt_reset: Mapped[bool | None] = mapped_column(Bool, default=False, server_default=false())

    token_id: Mapped[int | None] = mapped_column(Int)
    first_token_ms: Mapped[int | None] = mapped_column(Int)
    receipt: Mapped[str | None] = mapped_column(Text)  # JSON: how the price came about
    requested_model: Mapped[str | None] = mapped_column(String(191))


class LogRollup(Model):
    """Sums of the logs of one hour or one day of UTC, once for each way in which charts cut them (services/rollups.py).

    Kept beside the logs they sum up. The key begins with the time, so that new rows come at its end.
    """

    __bind_key__ = "logs"
    __tablename__ = "log_rollups"
    __table_args__ = (Index("idx_log_rollups_name", "dimension", "name", "length_s", "start"),)

    length_s: Mapped[int] = mapped_column(Int, primary_key=True, autoincrement=False)
    start: Mapped[int] = mapped_column(Int, primary_key=True, autoincrement=False)  # Unix seconds
    dimension: Mapped[str] = mapped_column(String(16), primary_key=True)
    user_id: Mapped[int] = mapped_column(Int, primary_key=True, autoincrement=False)  # 0 where not by user
    name: Mapped[str] = mapped_column(String(191), primary_key=True)
    requests: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    failures: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    quota: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    prompt_tokens: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    completion_tokens: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    elapsed_ms: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    first_token_ms: Mapped[int] = mapped_column(Int, default=0, server_default="0")
    with_first_token: Mapped[int] = mapped_column(Int, default=0, server_default="0")
