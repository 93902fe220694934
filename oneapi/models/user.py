"""Users: who has a balance."""

from __future__ import annotations

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from oneapi.extensions import Model
from oneapi.models.types import Char, Int, LongText, Name


class User(Model):
    """Columns down to `inviter_id` are One API's; the rest are ours, and NULL in rows that the Go program writes."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("username", name="uni_users_username"),
        Index("idx_users_username", "username"),
        Index("idx_users_display_name", "display_name"),
        Index("idx_users_email", "email"),
        Index("idx_users_git_hub_id", "github_id"),
        Index("idx_users_we_chat_id", "wechat_id"),
        Index("idx_users_lark_id", "lark_id"),
        Index("idx_users_oidc_id", "oidc_id"),
        Index("idx_users_access_token", "access_token", unique=True),
        Index("idx_users_aff_code", "aff_code", unique=True),
        Index("idx_users_inviter_id", "inviter_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Int, primary_key=True)
    username: Mapped[str | None] = mapped_column(Name, default="")
    password: Mapped[str] = mapped_column(LongText, default="")  # bcrypt; "" where only third parties sign in
    display_name: Mapped[str | None] = mapped_column(Name, default="")
    role: Mapped[int | None] = mapped_column(Int, default=1, server_default="1")
    status: Mapped[int | None] = mapped_column(Int, default=1, server_default="1")
    email: Mapped[str | None] = mapped_column(Name, default="")
    github_id: Mapped[str | None] = mapped_column(Name, default="")  # the login name; see github_numeric_id
    wechat_id: Mapped[str | None] = mapped_column(Name, default="")
    lark_id: Mapped[str | None] = mapped_column(Name, default="")
    oidc_id: Mapped[str | None] = mapped_column(Name, default="")
    # Unique, so that a default of "" would serve one user only.
    access_token: Mapped[str | None] = mapped_column(Char(32))
    quota: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    used_quota: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    request_count: Mapped[int | None] = mapped_column(Int, default=0, server_default="0")
    group: Mapped[str | None] = mapped_column(String(32), default="default", server_default="default")
    aff_code: Mapped[str | None] = mapped_column(String(32))
    inviter_id: Mapped[int | None] = mapped_column(Int, default=0)  # 0: nobody

    session_version: Mapped[int | None] = mapped_column(Int)  # raised to end all sessions
    github_numeric_id: Mapped[str | None] = mapped_column(String(64))
    limits: Mapped[str | None] = mapped_column(Text)  # JSON
    created_time: Mapped[int | None] = mapped_column(Int)
    language: Mapped[str | None] = mapped_column(String(16))
