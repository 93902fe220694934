"""`oneapi check-db`: what it says beforehand is what a start then does, and nothing else changes."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, func, insert, select
from sqlalchemy.exc import DBAPIError

from oneapi.config import Config
from oneapi.database import main_url, open_databases, unpooled_engine
from oneapi.models import Log, Opening, Option
from oneapi.services import database_checks
from oneapi.services.bootstrap import prepare
from oneapi.services.check_db import Survey, check_db_command, survey
from oneapi.services.upgrade_plan import Plan
from tests.database.go_program import build, contents, shapes
from tests.servers import PASSWORD, FreshDatabase, MariaDB, PostgreSQL, sqlite_database

CHECKOUT = Path(__file__).parent.parent.parent
KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijkl"  # of the Go program's token 3
AGES = {
    "head": "version 0.6.11 or later;",
    "v0.6.10": "version 0.6.10 or later, but before 0.6.11;",
    "v0.5.5": "a version before 0.5.6;",
}


def surveyed(config: Config) -> Survey:
    (found,) = survey(config)
    return found


def levels(found: Survey) -> dict[str, str]:
    return {finding.key: finding.level for finding in found.findings}


def told(capsys: pytest.CaptureFixture[str], config: Config, *arguments: str) -> tuple[int, str]:
    status = check_db_command(config, list(arguments))
    return status, capsys.readouterr().out


@pytest.fixture
def of_one_api(database: FreshDatabase) -> Iterator[tuple[Config, Engine]]:
    """The newest Go program's database, with rows, once of each kind."""
    databases = open_databases(database.config())
    build(databases.main, f"{database.kind}-head")
    yield database.config(), databases.main
    databases.dispose()


def test_says_what_the_start_will_do_and_does_nothing(
    go_made: tuple[Config, Engine], request: pytest.FixtureRequest
) -> None:
    config, engine = go_made
    before, rows = shapes(engine), contents(engine)
    found = surveyed(config)
    assert next(age for schema, age in AGES.items() if f"-{schema}]" in request.node.name) in found.origin
    assert PASSWORD not in found.place
    assert (shapes(engine), contents(engine)) == (before, rows)
    prepare(config)
    after = shapes(engine)
    added = {table: shape for table, shape in after.items() if table in before}
    assert set(found.plan.tables) == set(after) - set(before) - {"alembic_version"}
    assert sorted(found.plan.columns) == sorted(
        f"{table}.{column}"
        for table, shape in added.items()
        for column in shape["columns"]
        if column not in before[table]["columns"]
    )
    assert sorted(found.plan.wider) == sorted(
        f"{table}.{column}"
        for table, shape in before.items()
        for column, kind in shape["columns"].items()
        if after[table]["columns"][column] != kind
    )
    made = {name for table, shape in added.items() for name, *_ in shape["indexes"] - before[table]["indexes"]}
    gone = {name for table, shape in before.items() for name, *_ in shape["indexes"] - after[table]["indexes"]}
    assert set(found.plan.indexes) == made
    assert set(found.plan.dropped_indexes) == gone
    assert {row["key"] for row in contents(engine)["options"]} - {row["key"] for row in rows["options"]} == set(
        found.plan.options
    )
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Opening)) == found.plan.openings == 3
    assert found.plan.has_root
    assert found.plan.lacking == found.plan.later_indexes == ()


def test_what_a_start_has_made_needs_nothing_more(database: FreshDatabase) -> None:
    prepare(database.config())
    found = surveyed(database.config())
    assert found.plan == Plan()
    assert "migrated to step" in found.origin
    assert set(levels(found).values()) == {"ok"}


def test_empty_database_gets_everything(database: FreshDatabase) -> None:
    if database.kind == "sqlite":
        Path(database.sqlite_path).touch()
    found = surveyed(database.config())
    assert found.origin == "It is empty."
    assert {"users", "logs", "holds"} <= set(found.plan.tables)
    assert not found.plan.has_root


def test_upgrade_is_proved_by_digests_of_before_and_after(
    of_one_api: tuple[Config, Engine], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, engine = of_one_api
    saved = str(tmp_path / "before.json")
    assert told(capsys, config, "--save", saved)[0] == 0
    prepare(config)
    with engine.begin() as connection:  # what is younger than the digests is none of their business
        connection.execute(insert(Log).values(user_id=1, type=2, quota=5))
    status, output = told(capsys, config, "--compare", saved)
    assert status == 0
    assert "users (3 rows), tokens (2 rows)" in output
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE users SET quota = quota - 1 WHERE id = 1")
        connection.exec_driver_sql("UPDATE channels SET name = 'other' WHERE id = 7")
        connection.exec_driver_sql("DELETE FROM redemptions")
    status, output = told(capsys, config, "--compare", saved)
    assert status == 1
    assert "users: the sum of quota was 4993, now it is 4992" in output
    assert "channels: values have changed" in output
    assert "redemptions: there were 1 rows, now there are 0" in output
    assert KEY not in output + Path(saved).read_text()


def test_a_copy_of_sqlite_is_upgraded_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = sqlite_database(tmp_path)
    engine = create_engine(database.url)  # which leaves the file as the Go program does, without a write-ahead log
    build(engine, "sqlite-v0.6.10")
    engine.dispose()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    status, output = told(capsys, database.config())
    assert status == 0
    assert "logs (4 rows)" in output
    assert "would   add columns: " in output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_rows_that_only_the_write_ahead_log_has_are_seen(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    prepare(database.config())
    databases = open_databases(database.config())
    with databases.main.connect() as connection, connection.begin():
        connection.execute(insert(Log).values(user_id=1, type=2, quota=5))
    assert Path(f"{database.sqlite_path}-wal").stat().st_size > 0
    assert surveyed(database.config()).digests["logs"].sums["quota"] == 5
    databases.dispose()


def test_duplicate_keys_are_found_before_the_start_fails_on_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = sqlite_database(tmp_path)
    databases = open_databases(database.config())
    build(databases.main, "sqlite-head")
    with databases.main.begin() as connection:
        connection.exec_driver_sql("DROP INDEX idx_tokens_key")
        connection.exec_driver_sql("INSERT INTO tokens (id, user_id, key) SELECT 9, 2, key FROM tokens WHERE id = 3")
    databases.dispose()
    status, output = told(capsys, database.config())
    assert status == 1
    assert "Values of tokens.key stand in more than one row (1)" in output
    assert "Rows: 3, 9." in output
    assert "The upgrade of a copy failed" in output
    assert KEY not in output


def test_a_table_that_should_be_there_is_missed(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    prepare(database.config())
    with closing(sqlite3.connect(database.sqlite_path)) as connection:
        connection.execute("DROP TABLE holds")
        connection.execute("ALTER TABLE logs DROP COLUMN receipt")
        connection.commit()
    found = surveyed(database.config())
    assert found.plan.lacking == ("holds", "logs.receipt")
    assert levels(found)["lacks"] == "fault"


def test_a_database_of_a_newer_version_is_named_so(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    prepare(database.config())
    with closing(sqlite3.connect(database.sqlite_path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert "newer version of this program, to step 9999" in surveyed(database.config()).origin


def test_option_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    prepare(database.config())
    databases = open_databases(database.config())
    with databases.main.begin() as connection:
        connection.execute(insert(Option).values(key="ModelRatio", value="{"))
    databases.dispose()
    found = surveyed(database.config())
    (finding,) = (finding for finding in found.findings if finding.key == "option_unreadable")
    assert (finding.level, "ModelRatio" in finding.text()) == ("warning", True)


def test_large_table_of_logs_gets_its_indexes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi.models.ddl.LARGE", 4)
    database = sqlite_database(tmp_path)
    databases = open_databases(database.config())
    build(databases.main, "sqlite-head")
    databases.dispose()
    plan = surveyed(database.config()).plan
    assert {"idx_logs_request_id", "idx_logs_user_id_id"} <= set(plan.later_indexes)
    assert not set(plan.later_indexes) & set(plan.indexes)


def test_logs_apart_are_looked_at_apart(tmp_path: Path, postgres: PostgreSQL) -> None:
    config = sqlite_database(tmp_path).config(log_sql_dsn=postgres.fresh().dsn)
    prepare(config)
    main, logs = survey(config)
    assert (main.role, logs.role) == ("main", "logs")
    assert set(logs.digests) == {"logs"}
    assert main.plan == logs.plan == Plan()


# ---- trouble that only servers have ----


def test_tables_in_a_narrow_charset_are_found_and_cured(mariadb: MariaDB) -> None:
    config = mariadb.fresh().config()
    engine = unpooled_engine(main_url(config), config)
    build(engine, "mysql-head")
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE tokens CONVERT TO CHARACTER SET latin1")
        connection.exec_driver_sql("ALTER TABLE abilities CONVERT TO CHARACTER SET utf8mb3")
    (finding,) = (finding for finding in surveyed(config).findings if finding.key == "charset_narrow")
    assert finding.level == "fault"
    assert "abilities (utf8mb3), tokens (latin1)" in finding.text()
    with engine.begin() as connection:
        for statement in str(finding.values["statement"]).split(";")[:-1]:
            connection.exec_driver_sql(statement)
    assert levels(surveyed(config))["charset"] == "ok"


def test_an_encoding_that_is_not_utf8_is_found(postgres: PostgreSQL) -> None:
    postgres.execute("CREATE DATABASE narrow ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    found = surveyed(Config(sql_dsn=postgres.dsn("narrow")))
    assert levels(found)["encoding"] == "fault"


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_missing_rights_are_found_and_cured(kind: str, request: pytest.FixtureRequest) -> None:
    server: Any = request.getfixturevalue(kind)
    database = server.fresh()
    name = database.url.database
    engine = unpooled_engine(database.url, Config())
    build(engine, "mysql-head" if kind == "mariadb" else "postgresql-head")
    if kind == "mariadb":
        server.execute("CREATE USER 'reader'@'%' IDENTIFIED BY 'reads'")
        server.execute(f"GRANT SELECT ON `{name}`.* TO 'reader'@'%'")
        config = Config(sql_dsn=f"reader:reads@tcp(127.0.0.1:{server.port})/{name}")
        missing = "INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX"
    else:
        server.execute("CREATE ROLE reader LOGIN PASSWORD 'reads'")
        with engine.begin() as connection:
            connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        config = Config(sql_dsn=f"postgres://reader:reads@127.0.0.1:{server.port}/{name}?sslmode=disable")
        missing = "CREATE in the schema public"
    (finding,) = (finding for finding in surveyed(config).findings if finding.key == "rights_missing")
    assert finding.level == "fault"
    assert str(finding.values["rights"]).startswith(missing)
    statements = str(finding.values["statement"]).split(";")[:-1]
    for statement in statements:
        if kind == "mariadb":
            server.execute(statement)
        else:
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)
    assert levels(surveyed(config))["rights"] == "ok"


@pytest.mark.parametrize(
    ("grants", "rights", "has_roles"),
    [
        (["GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION"], {"ALL PRIVILEGES"}, False),
        (["GRANT USAGE ON *.* TO `a`@`%`", "GRANT SELECT, INSERT ON `one_api`.* TO `a`@`%`"],
         {"USAGE", "SELECT", "INSERT"}, False),
        (["GRANT SELECT ON `one\\_api`.* TO `a`@`%`", "GRANT INSERT ON `one%`.* TO `a`@`%`"],
         {"SELECT", "INSERT"}, False),
        (["GRANT SELECT ON `other`.* TO `a`@`%`", "GRANT DELETE ON `one_api`.`users` TO `a`@`%`"], set(), False),
        (["GRANT `keeper`@`%` TO `a`@`%`"], set(), True),
    ],
)  # fmt: skip
def test_grants_of_mysql_are_understood(grants: list[str], rights: set[str], has_roles: bool) -> None:
    assert database_checks.granted_in(grants, "one_api") == (rights, has_roles)


def test_nothing_can_be_written_while_it_looks(database: FreshDatabase) -> None:
    prepare(database.config())
    with (
        pytest.raises(DBAPIError, match=r"(?i)read.?only"),
        database_checks.reading(database.url, database.config()) as connection,
    ):
        connection.execute(insert(Option).values(key="Notice", value="x"))


# ---- the command ----


def test_the_command_tells_machines(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    prepare(database.config())
    done = subprocess.run(
        [sys.executable, "-m", "oneapi", "check-db", "--json"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "SQLITE_PATH": database.sqlite_path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = json.loads(done.stdout)
    assert (found["role"], found["would_add"]["tables"]) == ("main", [])
    assert found["digests"]["users"]["rows"] == 1
    assert {finding["level"] for finding in found["findings"]} == {"ok"}


def test_what_cannot_be_looked_at_has_a_status_of_its_own(
    tmp_path: Path, mariadb: MariaDB, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Config(sqlite_path=str(tmp_path / "missing.db"))
    assert check_db_command(missing, []) == 2
    assert "there is no database" in capsys.readouterr().err
    refused = Config(sql_dsn=f"oneapi:geheim@tcp(127.0.0.1:{mariadb.port})/shared")
    assert check_db_command(refused, []) == 2
    assert "geheim" not in capsys.readouterr().err
    database = sqlite_database(tmp_path)
    prepare(database.config())
    (tmp_path / "other.json").write_text("[]")
    assert check_db_command(database.config(), ["--compare", str(tmp_path / "other.json")]) == 2
    assert "holds no digests" in capsys.readouterr().err
    (tmp_path / "other.json").write_text('{"logs": {}}')
    assert check_db_command(database.config(), ["--compare", str(tmp_path / "other.json")]) == 2
    assert "says nothing of the database main" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    assert check_db_command(database.config(), []) == 2
    assert "TMPDIR=" in capsys.readouterr().err
