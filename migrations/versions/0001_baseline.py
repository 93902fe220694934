"""One API's seven tables as its newest version has them, and what this program adds to them.

On a fresh database the tables are made just as the Go program makes them. On a database that it has made, whatever its
version, only what is missing is added. In the log database only the tables of logs are made.

Revision ID: 0001
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import inspect

from oneapi.models.ddl import Column, Index, Table, complete, drop_index, strip, widen

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

CHANNELS = Table(
    "channels",
    (
        Column("id", "id"),
        Column("type", "int", "0"),
        Column("key", "text"),
        Column("status", "int", "1"),
        Column("name", "name"),
        Column("weight", "unsigned", "0"),
        Column("created_time", "int"),
        Column("test_time", "int"),
        Column("response_time", "int"),
        Column("base_url", "name", "''"),
        Column("other", "longtext"),
        Column("balance", "float"),
        Column("balance_updated_time", "int"),
        Column("models", "longtext"),
        Column("group", "varchar(32)", "'default'"),
        Column("used_quota", "int", "0"),
        Column("model_mapping", "varchar(1024)", "''"),
        Column("priority", "int", "0"),
        Column("config", "longtext"),
        Column("system_prompt", "text"),
    ),
    indexes=(Index("idx_channels_name", ("name",)),),
    added=(
        Column("tag", "varchar(191)"),
        Column("settings", "text"),
        Column("status_reason", "text"),
        Column("status_time", "int"),
    ),
)
TOKENS = Table(
    "tokens",
    (
        Column("id", "id"),
        Column("user_id", "int"),
        Column("key", "char(48)"),
        Column("status", "int", "1"),
        Column("name", "name"),
        Column("created_time", "int"),
        Column("accessed_time", "int"),
        Column("expired_time", "int", "-1"),
        Column("remain_quota", "int", "0"),
        Column("unlimited_quota", "bool", "false"),
        Column("used_quota", "int", "0"),
        Column("models", "text"),
        Column("subnet", "name", "''"),
    ),
    indexes=(Index("idx_tokens_key", ("key",), is_unique=True), Index("idx_tokens_name", ("name",))),
    added=(Column("limits", "text"),),
    added_indexes=(Index("idx_tokens_user_id", ("user_id",)),),
)
USERS = Table(
    "users",
    (
        Column("id", "id"),
        Column("username", "name"),
        Column("password", "longtext", is_required=True),
        Column("display_name", "name"),
        Column("role", "int", "1"),
        Column("status", "int", "1"),
        Column("email", "name"),
        Column("github_id", "name"),
        Column("wechat_id", "name"),
        Column("lark_id", "name"),
        Column("oidc_id", "name"),
        Column("access_token", "char(32)"),
        Column("quota", "int", "0"),
        Column("used_quota", "int", "0"),
        Column("request_count", "int", "0"),
        Column("group", "varchar(32)", "'default'"),
        Column("aff_code", "varchar(32)"),
        Column("inviter_id", "int"),
    ),
    indexes=(
        Index("idx_users_username", ("username",)),
        Index("idx_users_display_name", ("display_name",)),
        Index("idx_users_email", ("email",)),
        Index("idx_users_git_hub_id", ("github_id",)),
        Index("idx_users_we_chat_id", ("wechat_id",)),
        Index("idx_users_lark_id", ("lark_id",)),
        Index("idx_users_oidc_id", ("oidc_id",)),
        Index("idx_users_access_token", ("access_token",), is_unique=True),
        Index("idx_users_aff_code", ("aff_code",), is_unique=True),
        Index("idx_users_inviter_id", ("inviter_id",)),
    ),
    unique=("uni_users_username", "username"),
    added=(
        Column("session_version", "int"),
        Column("github_numeric_id", "varchar(64)"),
        Column("limits", "text"),
        Column("created_time", "int"),
        Column("language", "varchar(16)"),
    ),
)
OPTIONS = Table("options", (Column("key", "name"), Column("value", "longtext")), key=("key",))
REDEMPTIONS = Table(
    "redemptions",
    (
        Column("id", "id"),
        Column("user_id", "int"),
        Column("key", "char(32)"),
        Column("status", "int", "1"),
        Column("name", "name"),
        Column("quota", "int", "100"),
        Column("created_time", "int"),
        Column("redeemed_time", "int"),
    ),
    indexes=(Index("idx_redemptions_key", ("key",), is_unique=True), Index("idx_redemptions_name", ("name",))),
    added=(Column("redeemed_by", "int"), Column("expired_time", "int")),
)
ABILITIES = Table(
    "abilities",
    (
        Column("group", "varchar(32)"),
        Column("model", "name"),
        Column("channel_id", "int"),
        Column("enabled", "bool"),
        Column("priority", "int", "0"),
    ),
    key=("group", "model", "channel_id"),
    indexes=(
        Index("idx_abilities_channel_id", ("channel_id",)),
        Index("idx_abilities_priority", ("priority",)),
    ),
)
LOGS = Table(
    "logs",
    (
        Column("id", "id"),
        Column("user_id", "int"),
        Column("created_at", "int"),
        Column("type", "int"),
        Column("content", "longtext"),
        Column("username", "name", "''"),
        Column("token_name", "name", "''"),
        Column("model_name", "name", "''"),
        Column("quota", "int", "0"),
        Column("prompt_tokens", "int", "0"),
        Column("completion_tokens", "int", "0"),
        Column("channel_id", "int"),
        Column("request_id", "name", "''"),
        Column("elapsed_time", "int", "0"),
        Column("is_stream", "bool", "false"),
        Column("system_prompt_reset", "bool", "false"),
    ),
    indexes=(
        Index("idx_logs_user_id", ("user_id",)),
        Index("idx_created_at_type", ("created_at", "type")),
        Index("index_username_model_name", ("model_name", "username")),
        Index("idx_logs_token_name", ("token_name",)),
        Index("idx_logs_model_name", ("model_name",)),
        Index("idx_logs_channel_id", ("channel_id",)),
    ),
    added=(
        Column("token_id", "int"),
        Column("first_token_ms", "int"),
        Column("receipt", "text"),
        Column("requested_model", "varchar(191)"),
    ),
    added_indexes=(
        Index("idx_logs_user_id_id", ("user_id", "id")),
        Index("idx_logs_username_id", ("username", "id")),
        Index("idx_logs_request_id", ("request_id",)),
    ),
)
ONE_APIS = (CHANNELS, TOKENS, USERS, OPTIONS, REDEMPTIONS, ABILITIES)

LOG_ROLLUPS = Table(
    "log_rollups",
    (
        Column("length_s", "int", is_required=True),
        Column("start", "int", is_required=True),
        Column("dimension", "varchar(16)", is_required=True),
        Column("user_id", "int", is_required=True),
        Column("name", "varchar(191)", is_required=True),
        Column("requests", "int", "0", is_required=True),
        Column("failures", "int", "0", is_required=True),
        Column("quota", "int", "0", is_required=True),
        Column("prompt_tokens", "int", "0", is_required=True),
        Column("completion_tokens", "int", "0", is_required=True),
        Column("elapsed_ms", "int", "0", is_required=True),
        Column("first_token_ms", "int", "0", is_required=True),
        Column("with_first_token", "int", "0", is_required=True),
    ),
    key=("length_s", "start", "dimension", "user_id", "name"),
    indexes=(Index("idx_log_rollups_name", ("dimension", "name", "length_s", "start")),),
)
OURS = (
    Table(
        "holds",
        (
            Column("request_id", "varchar(64)", is_required=True),
            Column("user_id", "int", is_required=True),
            Column("token_id", "int", is_required=True),
            Column("user_quota", "int", is_required=True),
            Column("token_quota", "int", is_required=True),
            Column("worker", "varchar(64)", is_required=True),
            Column("created_at", "int", is_required=True),
            Column("expires_at", "int", is_required=True),
            Column("released_at", "int"),
        ),
        key=("request_id",),
        indexes=(Index("idx_holds_expires_at", ("expires_at",)),),
    ),
    Table(
        "outbox",
        (
            Column("id", "id"),
            Column("request_id", "varchar(191)", is_required=True),
            Column("row", "longtext", is_required=True),
            Column("created_at", "int", is_required=True),
        ),
        indexes=(Index("idx_outbox_request_id", ("request_id",)),),
    ),
    Table(
        "openings",
        (
            Column("user_id", "int", is_required=True),
            Column("quota", "int", "0", is_required=True),
            Column("credited", "int", "0", is_required=True),
            Column("charged", "int", "0", is_required=True),
            Column("created_at", "int", is_required=True),
        ),
        key=("user_id",),
    ),
    Table(
        "revisions",
        (Column("name", "varchar(32)", is_required=True), Column("number", "int", is_required=True)),
        key=("name",),
    ),
    Table(
        "leases",
        (
            Column("name", "varchar(64)", is_required=True),
            Column("holder", "varchar(64)", is_required=True),
            Column("expires_at", "int", is_required=True),
        ),
        key=("name",),
    ),
    Table(
        "channel_health",
        (
            Column("channel_id", "int", is_required=True),
            Column("model", "varchar(191)", is_required=True),
            Column("state", "varchar(16)", is_required=True),
            Column("reason", "text"),
            Column("failures", "int", "0", is_required=True),
            Column("changed_at", "int", is_required=True),
            Column("until", "int", is_required=True),
        ),
        key=("channel_id", "model"),
    ),
    Table(
        "one_time_codes",
        (
            Column("id", "id"),
            Column("purpose", "varchar(32)", is_required=True),
            Column("subject", "varchar(191)", is_required=True),
            Column("code", "varchar(191)", is_required=True),
            Column("expires_at", "int", is_required=True),
            Column("attempts", "int", "0", is_required=True),
        ),
        indexes=(Index("idx_one_time_codes_purpose_subject", ("purpose", "subject")),),
    ),
    Table(
        "token_budgets",
        (
            Column("token_id", "int", is_required=True),
            Column("period", "varchar(16)", is_required=True),
            Column("start", "int", is_required=True),
            Column("used", "int", is_required=True),
        ),
        key=("token_id",),
    ),
)

# Longer than the Go program makes them, but of the same type: it changes a column back only when the type differs.
WIDER = {
    "channels": (
        Column("key", "text"),  # varchar(191) at first
        Column("base_url", "varchar(1024)", "''"),
        Column("group", "varchar(1024)", "'default'"),
        Column("model_mapping", "varchar(8192)", "''"),
    ),
    # An allow-list of models was varchar(191) at first; a column that is text already stays as it is.
    "tokens": (Column("models", "text"), Column("subnet", "varchar(2048)", "''")),
}
# Very old installations allowed a provider's key once only; One API drops that index at each start.
LEFTOVERS = {"channels": ("idx_channels_key",)}


def upgrade(role: str = "main") -> None:
    connection = op.get_bind()
    complete(connection, LOGS, is_growing=True)
    complete(connection, LOG_ROLLUPS)
    if role == "logs":
        return
    for table in (*ONE_APIS, *OURS):
        complete(connection, table)
    for name, indexes in LEFTOVERS.items():
        there = {index["name"] for index in inspect(connection).get_indexes(name)}
        for index in indexes:
            if index in there:
                drop_index(connection, name, index)
    for name, columns in WIDER.items():
        for column in columns:
            widen(connection, name, column)
    known = {name for (name,) in connection.exec_driver_sql("SELECT name FROM revisions")}
    for name in ("channels", "options", "accounts"):
        if name not in known:
            connection.exec_driver_sql(f"INSERT INTO revisions (name, number) VALUES ('{name}', 1)")


def downgrade(role: str = "main") -> None:
    """Leaves a database of the Go program's: its own tables, columns and rows stay."""
    connection = op.get_bind()
    strip(connection, LOGS)
    op.drop_table("log_rollups")
    if role == "logs":
        return
    for table in ONE_APIS:
        strip(connection, table)
    for table in OURS:
        op.drop_table(table.name)
