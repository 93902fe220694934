import pytest
from sqlalchemy import Table

from oneapi.extensions import db
from oneapi.models import Channel, Redemption, Token, User

TABLES = [table for metadata in db.metadatas.values() for table in metadata.sorted_tables]


def defaults(table: Table) -> dict[str, object]:
    return {column.name: column.default.arg for column in table.c if column.default is not None}  # type: ignore[attr-defined]


def test_omitted_fields_are_stored_as_the_go_program_stores_them() -> None:
    assert defaults(Token.__table__) == {
        "user_id": 0,
        "status": 1,
        "name": "",
        "created_time": 0,
        "accessed_time": 0,
        "expired_time": -1,
        "remain_quota": 0,
        "unlimited_quota": False,
        "used_quota": 0,
        "subnet": "",
    }
    assert defaults(Redemption.__table__)["quota"] == 100
    assert defaults(Channel.__table__) | {"group": "default", "status": 1, "weight": 0, "base_url": ""} == defaults(
        Channel.__table__
    )


def test_unique_secrets_have_no_default_that_two_rows_would_share() -> None:
    assert not {"access_token", "aff_code", "key"} & set(defaults(User.__table__) | defaults(Token.__table__))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_default_of_the_program_is_the_databases_default(table: Table) -> None:
    program = defaults(table)
    for column in table.c:
        if column.server_default is not None:
            text = str(column.server_default.arg)  # type: ignore[attr-defined]
            assert str(program[column.name]).lower() == text, column


def test_logs_and_their_sums_live_in_the_log_database() -> None:
    assert set(db.metadatas["logs"].tables) == {"logs", "log_rollups"}
