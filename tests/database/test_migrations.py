import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import flask_migrate
import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Engine, insert, select, text

from oneapi.config import Config
from oneapi.database import init_app, open_databases
from oneapi.extensions import db
from oneapi.models import Channel, Log, Opening, User, ddl
from oneapi.services import bootstrap, steps
from oneapi.services.bootstrap import build_indexes, prepare
from oneapi.services.steps import SCRIPTS
from tests.database.go_program import ONE_APIS, SCHEMAS, build, contents, shapes
from tests.servers import DatabaseServer, FreshDatabase, MariaDB, sqlite_database


@pytest.fixture
def fresh(database: FreshDatabase) -> Iterator[tuple[Config, Engine]]:
    """A database that was empty before the first start."""
    prepare(database.config())
    databases = open_databases(database.config())
    yield database.config(), databases.main
    databases.dispose()


@pytest.fixture
def other(new_database: Callable[[], FreshDatabase]) -> Iterator[Engine]:
    """An empty database of the same kind, to compare with."""
    databases = open_databases(new_database().config())
    yield databases.main
    databases.dispose()


def columns_of_head(dialect: str) -> dict[str, list[str]]:
    """One API's tables and their columns, in order, as its newest version makes them."""
    statements = (SCHEMAS / f"{dialect}-head.sql").read_text()
    tables = re.findall(r'CREATE TABLE [`"](\w+)[`"] \((.*)\);', statements)
    return {name: re.findall(r'(?:^|,)[`"](\w+)[`"] [a-z]', body) for name, body in tables}


def test_every_row_is_kept(go_made: tuple[Config, Engine]) -> None:
    config, engine = go_made
    before = contents(engine)
    prepare(config)
    after = contents(engine)
    for table, rows in before.items():
        if table == "options":
            rows = [*rows, *(row for row in after["options"] if row["key"] == bootstrap.SECRET_OPTION)]
        kept = [{name: row[name] for name in rows[0]} for row in after[table]]
        assert sorted(kept, key=str) == sorted(rows, key=str)


def test_only_columns_and_indexes_are_added(go_made: tuple[Config, Engine]) -> None:
    config, engine = go_made
    before = shapes(engine)
    prepare(config)
    after = shapes(engine)
    for table, shape in before.items():
        added = [name for name in after[table]["columns"] if name not in shape["columns"]]
        assert list(after[table]["columns"]) == [*shape["columns"], *added]
        assert after[table]["key"] == shape["key"]
        gone = {name for name, _, _ in shape["indexes"] - after[table]["indexes"]}
        assert gone <= {"idx_channels_key"}  # which the Go program drops, too


def test_the_go_program_finds_all_that_it_wants(go_made: tuple[Config, Engine]) -> None:
    config, engine = go_made
    prepare(config)
    after = shapes(engine)
    for table, columns in columns_of_head(engine.dialect.name).items():
        assert set(columns) <= set(after[table]["columns"])


def test_second_start_changes_nothing(go_made: tuple[Config, Engine]) -> None:
    config, engine = go_made
    prepare(config)
    shape, rows = shapes(engine), contents(engine)
    prepare(config)
    assert shapes(engine) == shape
    assert contents(engine) == rows


def test_rows_of_an_older_version_can_be_read_by_models(go_made: tuple[Config, Engine]) -> None:
    config, _ = go_made
    prepare(config)
    app = Flask("test")
    databases = open_databases(config)
    init_app(app, databases)
    with app.app_context():
        user = db.session.get(User, 2)
        assert user and (user.username, user.quota, user.access_token, user.limits) == ("阿明", -7, "f" * 32, None)
        channel = db.session.get(Channel, 7)
        assert channel and (channel.balance, channel.group, channel.tag) == (12.5, "default", None)
        log = db.session.get(Log, 13)
        assert log and (log.quota, log.token_id, log.receipt) == (30, None, None)
    databases.dispose()


def test_balance_and_log_agree_from_the_first_start_on(go_made: tuple[Config, Engine]) -> None:
    config, engine = go_made
    prepare(config)
    with engine.connect() as connection:
        openings = {row.user_id: row for row in connection.execute(select(Opening))}
        assert {user_id: row.quota for user_id, row in openings.items()} == {1: 5000, 2: -7, 5: 0}
        # The law of models/ledger.py: what the log says of the past is cancelled, not counted twice.
        for user_id, credits, charges in ((1, 9000, 400), (2, 0, 30), (5, 0, 0)):
            opening = openings[user_id]
            assert opening.credited - opening.charged + credits - charges == 0


def test_fresh_tables_are_the_go_programs(fresh: tuple[Config, Engine]) -> None:
    _, engine = fresh
    shape = shapes(engine)
    for table, columns in columns_of_head(engine.dialect.name).items():
        assert list(shape[table]["columns"])[: len(columns)] == columns


def test_fresh_tables_have_the_go_programs_types_and_indexes(fresh: tuple[Config, Engine], other: Engine) -> None:
    _, engine = fresh
    dialect = engine.dialect.name
    build(other, f"{dialect}-head")
    shape, expected = shapes(engine), shapes(other)
    wider = {("channels", "base_url"), ("channels", "group"), ("channels", "model_mapping"), ("tokens", "subnet")}
    for table in ONE_APIS:
        for name, (kind, is_nullable) in expected[table]["columns"].items():
            kind_here, is_nullable_here = shape[table]["columns"][name]
            assert is_nullable_here is is_nullable, (table, name)
            if dialect == "sqlite" or (table, name) not in wider:
                assert kind_here == kind, (table, name)
        assert shape[table]["indexes"] >= expected[table]["indexes"]
        assert shape[table]["key"] == expected[table]["key"]


@pytest.mark.parametrize("schema", [None, "sqlite-head", "sqlite-v0.6.10", "sqlite-v0.5.5"])
def test_sqlite_tables_stay_readable_for_the_go_programs_parser(tmp_path: Path, schema: str | None) -> None:
    database = sqlite_database(tmp_path)
    if schema:
        databases = open_databases(database.config())
        build(databases.main, schema)
        databases.dispose()
    prepare(database.config())
    with closing(sqlite3.connect(database.sqlite_path)) as connection:
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    for name in ONE_APIS:
        assert not re.search(r"[\t\n\r]", tables[name])
        body = re.fullmatch(r"CREATE TABLE [`\"]?\w+[`\"]? \((.*)\)", tables[name])
        assert body
        for part in re.split(r",(?![^(]*\))", body[1]):
            assert re.match(r"\s*(`\w+` [a-z]|PRIMARY KEY \(|CONSTRAINT `\w+` UNIQUE \()", part), part


def test_fresh_sqlite_never_reuses_an_id(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    prepare(database.config())
    with closing(sqlite3.connect(database.sqlite_path)) as connection:
        for _ in range(2):
            connection.execute("INSERT INTO channels (name) VALUES ('x')")
            last = connection.execute("SELECT max(id) FROM channels").fetchone()
            connection.execute("DELETE FROM channels")
    assert last == (2,)


def test_early_and_narrow_columns_are_widened(mariadb: MariaDB) -> None:
    config = mariadb.fresh().config()
    databases = open_databases(config)
    build(databases.main, "mysql-v0.5.5")
    prepare(config)
    columns = {name: shape["columns"] for name, shape in shapes(databases.main).items()}
    assert columns["tokens"]["models"][0].startswith("TEXT")
    assert columns["channels"]["key"][0].startswith("TEXT")
    assert columns["channels"]["group"][0].startswith("VARCHAR(1024)")
    with databases.main.begin() as connection:
        groups, mapping = ",".join(["group"] * 150), '{"a":"' + "b" * 5000 + '"}'
        connection.execute(insert(Channel).values(name="wide", group=groups, model_mapping=mapping))
        assert connection.scalar(select(Channel.group).where(Channel.name == "wide")) == groups
        # The default is still there for the Go program, which leaves the column out.
        connection.exec_driver_sql("INSERT INTO channels (name) VALUES ('plain')")
        assert connection.scalar(select(Channel.group).where(Channel.name == "plain")) == "default"
        # Two channels may share a key again.
        connection.execute(insert(Channel), [{"name": "a", "key": "same"}, {"name": "b", "key": "same"}])
    databases.dispose()


def test_models_and_migrations_agree(fresh: tuple[Config, Engine], other: Engine) -> None:
    _, engine = fresh
    for metadata in db.metadatas.values():
        metadata.create_all(other)
    migrated, modelled = shapes(engine), shapes(other)
    assert set(migrated) == {*modelled, "alembic_version"}
    for name, expected in modelled.items():
        shape = migrated[name]
        assert list(shape["columns"]) == list(expected["columns"]), name
        assert shape["indexes"] == expected["indexes"], name
        assert shape["key"] == expected["key"], name
        for column, (kind, is_nullable) in expected["columns"].items():
            kind_here, is_nullable_here = shape["columns"][column]
            assert _kind(kind_here, engine.dialect.name) == _kind(kind, engine.dialect.name), (name, column)
            assert is_nullable_here is is_nullable or column in expected["key"], (name, column)


def _kind(kind: str, dialect: str) -> str:
    """A type without what SQLite does not mind: its booleans are numbers, its text has no lengths."""
    return re.sub(r"\(\d+\)", "", kind).replace("BOOLEAN", "NUMERIC") if dialect == "sqlite" else kind


def test_steps_go_down_and_up_again(go_made: tuple[Config, Engine]) -> None:
    config, engine = go_made
    before = shapes(engine)
    prepare(config)
    rows = contents(engine)
    databases = open_databases(config)
    app = Flask("test")
    init_app(app, databases)
    flask_migrate.Migrate(app, db, directory=str(SCRIPTS))
    with app.app_context():
        flask_migrate.downgrade(revision="base")
        downgraded = shapes(engine)
        assert set(downgraded) == {*before, "alembic_version"}
        head = columns_of_head(engine.dialect.name)
        for table in ONE_APIS:
            assert set(downgraded[table]["columns"]) == set(head[table])
        flask_migrate.upgrade()
    databases.dispose()
    prepare(config)
    kept = contents(engine)
    assert {table: len(kept[table]) for table in kept} == {table: len(rows[table]) for table in rows}


def test_flask_db_goes_through_the_log_database_too(tmp_path: Path, mariadb: MariaDB) -> None:
    config = sqlite_database(tmp_path).config(log_sql_dsn=mariadb.fresh().dsn)
    databases = open_databases(config)
    app = Flask("test")
    init_app(app, databases)
    flask_migrate.Migrate(app, db, directory=str(SCRIPTS))
    with app.app_context():
        flask_migrate.upgrade()
    assert set(shapes(databases.logs)) == {"logs", "log_rollups", "alembic_version"}
    assert {*ONE_APIS, "log_rollups", "holds"} <= set(shapes(databases.main))
    databases.dispose()


def test_the_newest_step_is_alembics_last() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    assert steps.newest() == scripts.get_current_head()


def test_steps_are_packaged() -> None:
    checkout = Path(__file__).parent.parent.parent
    assert (checkout / "oneapi" / "migrations").resolve() == checkout / "migrations"
    assert SCRIPTS.resolve() == checkout / "migrations"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of logs count as many."""
    monkeypatch.setattr(ddl, "LARGE", 3)


@pytest.mark.usefixtures("large")
def test_indexes_of_a_large_log_are_left_to_a_job(go_made: tuple[Config, Engine]) -> None:
    config, engine = go_made
    prepare(config)
    names = {name for name, _, _ in shapes(engine)["logs"]["indexes"]}
    assert not names & {"idx_logs_user_id_id", "idx_logs_request_id"}
    build_indexes(config)
    names = {name for name, _, _ in shapes(engine)["logs"]["indexes"]}
    assert names >= {"idx_logs_user_id_id", "idx_logs_request_id", "idx_logs_channel_id"}
    build_indexes(config)  # finds nothing to do


def test_index_that_postgresql_could_not_finish_is_made_again(postgres: DatabaseServer) -> None:
    config = postgres.fresh().config()
    prepare(config)
    databases = open_databases(config)
    invalid = text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
    with databases.main.begin() as connection:
        broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_logs_request_id'::regclass"
        connection.execute(text(broken))
        assert connection.scalar(invalid) == 1
    build_indexes(config)
    with databases.main.connect() as connection:
        assert connection.scalar(invalid) == 0
    assert "idx_logs_request_id" in {name for name, _, _ in shapes(databases.main)["logs"]["indexes"]}
    databases.dispose()


def test_index_lost_when_the_go_program_rebuilt_a_table_comes_back(fresh: tuple[Config, Engine]) -> None:
    config, engine = fresh
    before = shapes(engine)
    of_table = " ON tokens" if engine.dialect.name == "mysql" else ""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP INDEX idx_tokens_user_id{of_table}")
    prepare(config)
    assert shapes(engine) == before
