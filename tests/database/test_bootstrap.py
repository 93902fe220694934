import logging
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from sqlalchemy import Connection, Engine, func, insert, select

from oneapi.config import Config, ConfigError
from oneapi.database import main_url, open_databases, run_write, unpooled_engine
from oneapi.models import Log, Opening, Option, Token, User
from oneapi.services import passwords
from oneapi.services.bootstrap import SECRET_OPTION, NotReady, exclusive, prepare, session_secret
from tests.database.go_program import build, shapes
from tests.servers import DatabaseServer, FreshDatabase, MariaDB, PostgreSQL, free_port, sqlite_database

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def engine(database: FreshDatabase) -> Iterator[Engine]:
    databases = open_databases(database.config())
    yield databases.main
    databases.dispose()


def all_rows(engine: Engine, model: type[User] | type[Token]) -> list[dict[str, object]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(model.__table__)).mappings()]


def test_empty_database_gets_one_api_s_root(database: FreshDatabase, engine: Engine) -> None:
    prepare(database.config())
    (root,) = all_rows(engine, User)
    assert root["username"] == "root"
    assert root["display_name"] == "Root User"
    assert (root["role"], root["status"], root["group"], root["aff_code"]) == (100, 1, "default", "")
    assert root["quota"] == 500_000_000_000_000
    assert re.fullmatch("[0-9a-f]{32}", str(root["access_token"]))
    assert re.match(r"\$2[ab]\$1\d\$", str(root["password"]))
    assert passwords.matches(str(root["password"]), "123456")
    assert all_rows(engine, Token) == []


def test_initial_root_settings_are_taken(database: FreshDatabase, engine: Engine) -> None:
    config = database.config(
        initial_root_token="sk-abcDEF123", initial_root_access_token="a" * 32, initial_root_password="correct horse"
    )
    prepare(config)
    (root,) = all_rows(engine, User)
    (token,) = all_rows(engine, Token)
    assert root["access_token"] == "a" * 32
    assert passwords.matches(str(root["password"]), "correct horse")
    assert (token["id"], token["user_id"], token["key"]) == (1, root["id"], "abcDEF123")
    assert (token["name"], token["status"], token["expired_time"]) == ("Initial Root Token", 1, -1)
    assert (token["remain_quota"], token["unlimited_quota"]) == (500_000_000_000_000, True)


def test_tokens_can_be_made_after_the_initial_one(database: FreshDatabase, engine: Engine) -> None:
    prepare(database.config(initial_root_token="abc"))
    run_write(engine, lambda connection: connection.execute(insert(Token).values(user_id=1, key="def")))
    assert [token["id"] for token in all_rows(engine, Token)] == [1, 2]


def test_initial_settings_are_ignored_once_there_are_users(database: FreshDatabase, engine: Engine) -> None:
    prepare(database.config())
    before = all_rows(engine, User)
    prepare(database.config(initial_root_token="not-valid", initial_root_password="other"))
    assert all_rows(engine, User) == before
    assert all_rows(engine, Token) == []


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("initial_root_token", "sk-one-two", "INITIAL_ROOT_TOKEN must have no dash"),
        ("initial_root_token", "a" * 49, "INITIAL_ROOT_TOKEN must have at most 48"),
        ("initial_root_token", "with blank", "INITIAL_ROOT_TOKEN must have"),
        ("initial_root_token", "schlüssel", "INITIAL_ROOT_TOKEN must have"),
        ("initial_root_access_token", "a" * 33, "INITIAL_ROOT_ACCESS_TOKEN must have at most 32"),
        ("initial_root_password", "🔑" * 19, "INITIAL_ROOT_PASSWORD must have at most 72 bytes"),
    ],
)
def test_initial_setting_that_cannot_be_meant_is_refused(tmp_path: Path, setting: str, value: str, reason: str) -> None:
    database = sqlite_database(tmp_path)
    with pytest.raises(ConfigError, match=reason):
        prepare(database.config(**{setting: value}))
    databases = open_databases(database.config())
    assert all_rows(databases.main, User) == []  # and a second start with a better value works
    databases.dispose()
    prepare(database.config())


def test_default_password_is_warned_of_at_every_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = sqlite_database(tmp_path)
    for _ in range(2):
        prepare(database.config())
    assert caplog.text.count("password that everyone knows") == 2


def test_no_warning_where_root_has_a_password_of_his_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare(sqlite_database(tmp_path).config(initial_root_password="correct horse"))
    assert "password that everyone knows" not in caplog.text


def test_session_secret_is_made_once_and_kept(database: FreshDatabase, engine: Engine) -> None:
    prepare(database.config())
    secret = session_secret(engine, database.config())
    assert re.fullmatch("[0-9a-f]{64}", secret)
    prepare(database.config())
    assert session_secret(engine, database.config()) == secret


def test_configured_session_secret_stays_out_of_the_database(tmp_path: Path) -> None:
    config = sqlite_database(tmp_path).config(session_secret="mine")
    prepare(config)
    databases = open_databases(config)
    assert session_secret(databases.main, config) == "mine"
    with databases.main.connect() as connection:
        assert connection.scalar(select(Option.value).where(Option.key == SECRET_OPTION)) is None
    with pytest.raises(NotReady, match=SECRET_OPTION):
        session_secret(databases.main, Config())
    databases.dispose()


def test_root_has_an_opening_balance(database: FreshDatabase, engine: Engine) -> None:
    prepare(database.config())
    with engine.connect() as connection:
        opening = connection.execute(select(Opening)).one()
    assert (opening.user_id, opening.quota) == (1, 500_000_000_000_000)


def test_user_whom_the_go_program_makes_later_gets_an_opening_balance(database: FreshDatabase, engine: Engine) -> None:
    prepare(database.config())

    def go_program(connection: Connection) -> None:
        connection.execute(insert(User).values(username="new", quota=70))
        connection.execute(insert(Log).values(user_id=2, type=1, quota=100))
        connection.execute(insert(Log).values(user_id=2, type=2, quota=30))

    run_write(engine, go_program)
    prepare(database.config())
    with engine.connect() as connection:
        opening = connection.execute(select(Opening).where(Opening.user_id == 2)).one()
    assert (opening.quota, opening.credited, opening.charged) == (70, -100, -30)


def test_sums_of_many_users_are_taken_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi.services.bootstrap._MOST_IN", 1)
    config = sqlite_database(tmp_path).config()
    databases = open_databases(config)
    build(databases.main, "sqlite-head")
    prepare(config)
    with databases.main.connect() as connection:
        sums = {row.user_id: (row.credited, row.charged) for row in connection.execute(select(Opening))}
    assert sums == {1: (-9000, -400), 2: (0, -30), 5: (0, 0)}
    databases.dispose()


def test_logs_apart_get_their_tables_and_are_summed_up(database: FreshDatabase, postgres: PostgreSQL) -> None:
    config = database.config(log_sql_dsn=postgres.fresh().dsn)
    prepare(config)
    databases = open_databases(config)
    assert set(shapes(databases.logs)) == {"logs", "log_rollups", "alembic_version"}
    run_write(databases.main, lambda connection: connection.execute(insert(User).values(username="new", quota=5)))
    run_write(databases.logs, lambda connection: connection.execute(insert(Log).values(user_id=2, type=2, quota=30)))
    prepare(config)
    with databases.main.connect() as connection:
        assert connection.scalar(select(Opening.charged).where(Opening.user_id == 2)) == -30
    databases.dispose()


PREPARE = """
import logging, os, sys
from gevent import monkey
monkey.patch_all()
from oneapi.config import Config
from oneapi.services.bootstrap import prepare
logging.basicConfig(level=logging.INFO)
prepare(Config(sql_dsn=os.environ["SQL_DSN"], sqlite_path=os.environ["SQLITE_PATH"]))
"""


def test_six_processes_at_once_prepare_once(database: FreshDatabase, engine: Engine) -> None:
    environ = {"PYTHONPATH": str(ROOT), "SQL_DSN": database.dsn, "SQLITE_PATH": database.sqlite_path}
    processes = [
        subprocess.Popen([sys.executable, "-c", PREPARE], env=environ, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    said = "".join(process.communicate(timeout=60)[1] for process in processes)
    assert [process.returncode for process in processes] == [0] * 6, said
    assert said.count("Migrating") == 1
    assert said.count("The account root was made.") == 1
    assert len(all_rows(engine, User)) == 1
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Option)) == 1  # the session secret


def test_one_at_a_time_is_let_in(database: FreshDatabase) -> None:
    inside = unpooled_engine(database.url, database.config())
    waiting = unpooled_engine(database.url, database.config())
    order = []

    def second() -> None:
        with exclusive(waiting):
            order.append("second")

    with exclusive(inside):
        greenlet = gevent.spawn(second)
        gevent.sleep(0.5)
        order.append("first")
    greenlet.get(timeout=10)
    assert order == ["first", "second"]


def test_databases_of_one_server_do_not_wait_for_each_other(mariadb: MariaDB, postgres: PostgreSQL) -> None:
    for server in (mariadb, postgres):
        one, two = (unpooled_engine(server.fresh().url, Config()) for _ in range(2))
        with gevent.Timeout(5), exclusive(one), exclusive(two):
            pass


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_waits_for_a_database_that_comes_later(
    kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    config = server.fresh().config()
    server.stop(signal.SIGKILL)
    try:
        starting = gevent.spawn(prepare, config, patience_s=60)
        while "cannot be used yet" not in caplog.text:
            gevent.sleep(0.05)
        assert not starting.ready()
    finally:
        server.start()
    starting.get(timeout=30)
    assert "Next attempt in 0.5 s" in caplog.text


def test_database_that_stays_away_ends_the_start_with_one_clear_line() -> None:
    config = Config(sql_dsn=f"root:geheim@tcp(127.0.0.1:{free_port()})/oneapi")
    with pytest.raises(NotReady, match=r"cannot be used: .*Can't connect to MySQL server on '127.0.0.1'") as caught:
        prepare(config, patience_s=0)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_wrong_password_ends_the_start_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    form = {"mariadb": "oneapi:geheim@tcp({})/shared", "postgres": "postgres://oneapi:geheim@{}/shared"}[kind]
    with gevent.Timeout(10), pytest.raises(NotReady, match="refuses") as caught:
        prepare(Config(sql_dsn=form.format(f"127.0.0.1:{server.port}")))
    assert "geheim" not in str(caught.value)


def test_folder_of_sqlite_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match=f"{tmp_path}/missing/one-api.lock.db cannot be written"):
        prepare(Config(sqlite_path=str(tmp_path / "missing" / "one-api.db")))


def test_file_that_is_no_database_ends_the_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / "one-api.db"
    path.write_bytes(b"This is no database. " * 100)
    with pytest.raises(NotReady, match="file is not a database"):
        prepare(Config(sqlite_path=str(path)))


def test_slave_waits_for_its_master(database: FreshDatabase, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    slave = gevent.spawn(prepare, database.config(node_type="slave"), patience_s=60)
    while "a master node makes them" not in caplog.text:
        gevent.sleep(0.05)
    assert shapes(engine) == {}
    prepare(database.config())
    slave.get(timeout=30)
    assert len(all_rows(engine, User)) == 1


def test_slave_without_a_master_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="lacks tables or columns; a master node makes them"):
        prepare(sqlite_database(tmp_path).config(node_type="slave"), patience_s=0)


def test_slave_makes_root_where_its_master_has_not(database: FreshDatabase, engine: Engine) -> None:
    prepare(database.config())
    run_write(engine, lambda connection: connection.exec_driver_sql("DELETE FROM users"))
    prepare(database.config(node_type="slave"))
    assert [user["username"] for user in all_rows(engine, User)] == ["root"]


@pytest.mark.parametrize("node_type", ["master", "slave"])
def test_database_of_a_newer_version_is_used_as_it_is(
    database: FreshDatabase, engine: Engine, node_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(database.config())
    run_write(engine, lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    before = shapes(engine)
    prepare(database.config(node_type=node_type))
    assert shapes(engine) == before
    assert "newer version of this program, to step 9999" in caplog.text


def test_start_that_was_cut_short_on_mysql_is_finished_by_the_next(mariadb: MariaDB) -> None:
    # MySQL commits each statement by itself, so that half of the tables may be there.
    config = mariadb.fresh().config()
    prepare(config)
    engine = unpooled_engine(main_url(config), config)
    whole = shapes(engine)
    with engine.begin() as connection:
        for table in ("alembic_version", "revisions", "openings", "abilities"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN limits, DROP COLUMN language")
    prepare(config)
    finished = shapes(engine)
    assert set(finished) == set(whole)
    for table, shape in whole.items():
        assert set(finished[table]["columns"]) == set(shape["columns"])


def test_migration_is_quiet_about_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        prepare(sqlite_database(tmp_path).config())
    names = {record.name.partition(".")[0] for record in caplog.records}
    assert names == {"oneapi"}
