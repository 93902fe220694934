"""Databases as the Go program leaves them: its own tables (schemas/*.sql), with rows in every one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Inspector, MetaData, Table, insert, inspect, select

SCHEMAS = Path(__file__).parent / "schemas"
ONE_APIS = ("channels", "tokens", "users", "options", "redemptions", "abilities", "logs")

_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijkl"
_ROWS: dict[str, list[dict[str, Any]]] = {
    "users": [
        {"id": 1, "username": "root", "password": "$2a$10$x", "role": 100, "quota": 5000, "aff_code": ""},
        {"id": 2, "username": "阿明", "password": "", "quota": -7, "access_token": "f" * 32, "aff_code": "Ab1d"},
        {"id": 5, "username": "gone", "password": "$2a$10$y", "status": 3, "quota": 0, "aff_code": "zzzz"},
    ],
    "tokens": [
        {"id": 3, "user_id": 1, "key": _KEY, "name": "all", "unlimited_quota": True, "expired_time": -1},
        {"id": 4, "user_id": 2, "key": _KEY[:32], "name": "of an old version", "remain_quota": 9, "models": "a,b"},
    ],
    "channels": [
        {"id": 7, "type": 1, "key": "sk-1", "name": "first", "models": "gpt-4o", "balance": 12.5, "used_quota": 3},
        {"id": 8, "type": 3, "key": "sk-2", "name": "second", "status": 3, "group": "default,vip", "config": "{}"},
    ],
    "abilities": [
        {"group": "default", "model": "gpt-4o", "channel_id": 7, "enabled": True},
        {"group": "vip", "model": "gpt-4o", "channel_id": 8, "enabled": False, "priority": 5},
    ],
    "options": [{"key": "GroupRatio", "value": '{"default":1,"vip":0.5}'}, {"key": "Notice", "value": "欢迎"}],
    "redemptions": [{"id": 6, "user_id": 1, "key": "0" * 32, "name": "code", "quota": 100}],
    "logs": [
        {"id": 11, "user_id": 1, "created_at": 100, "type": 1, "quota": 9000, "username": "root"},
        {"id": 12, "user_id": 1, "created_at": 101, "type": 2, "quota": 400, "model_name": "gpt-4o", "channel_id": 7},
        {"id": 13, "user_id": 2, "created_at": 102, "type": 2, "quota": 30, "is_stream": True},
        {"id": 14, "user_id": 1, "created_at": 103, "type": 5, "quota": 77, "content": "test"},
    ],
}  # fmt: skip


def build(engine: Engine, name: str) -> None:
    """Makes the tables of schemas/<name>.sql, and rows with what those tables can hold."""
    with engine.begin() as connection:
        for statement in (SCHEMAS / f"{name}.sql").read_text().splitlines()[1:]:
            connection.exec_driver_sql(statement.rstrip(";"))
        for table_name, rows in _ROWS.items():
            table = Table(table_name, MetaData(), autoload_with=connection)
            for row in rows:
                values = {column: value for column, value in row.items() if column in table.c}
                connection.execute(insert(table).values(values))
            if connection.dialect.name == "postgresql" and "id" in table.c:
                connection.exec_driver_sql(f"SELECT setval('{table_name}_id_seq', (SELECT max(id) FROM {table_name}))")


def contents(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """All rows of One API's tables."""
    with engine.connect() as connection:
        return {name: _rows(connection, name) for name in ONE_APIS}


def shapes(engine: Engine) -> dict[str, dict[str, Any]]:
    """Columns (name -> type), indexes and unique constraints of all tables, for comparing two moments."""
    inspector = inspect(engine)
    return {name: _shape(inspector, name) for name in inspector.get_table_names()}


def _rows(connection: Connection, name: str) -> list[dict[str, Any]]:
    table = Table(name, MetaData(), autoload_with=connection)
    return [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]


def _shape(inspector: Inspector, name: str) -> dict[str, Any]:
    return {
        "columns": {
            column["name"]: (str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)
        },
        "indexes": {
            (str(index["name"]), tuple(index["column_names"]), bool(index["unique"]))
            for index in inspector.get_indexes(name)
        },
        "key": tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
    }
