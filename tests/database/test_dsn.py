from pathlib import Path

import pytest

from oneapi.dsn import url_of

MYSQL = {"charset": "utf8mb4", "collation": "utf8mb4_general_ci", "ssl_disabled": "true"}


def address(dsn: str) -> tuple[object, ...]:
    url = url_of(dsn, "unused.db")
    return url.drivername, url.username, url.password, url.host, url.port, url.database


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("root:123456@tcp(localhost:3306)/oneapi", ("root", "123456", "localhost", 3306, "oneapi")),
        ("root:123456@tcp(db)/oneapi", ("root", "123456", "db", 3306, "oneapi")),
        ("root@tcp(db:3307)/oneapi", ("root", None, "db", 3307, "oneapi")),
        ("root:@tcp(db:3307)/oneapi", ("root", "", "db", 3307, "oneapi")),
        ("root:p@/oneapi", ("root", "p", "127.0.0.1", 3306, "oneapi")),
        ("/oneapi", (None, None, "127.0.0.1", 3306, "oneapi")),
        ("tcp(db:1)/oneapi", (None, None, "db", 1, "oneapi")),
        ("u:a@b:c/d(e)f?g#h%41@tcp(db:3306)/oneapi", ("u", "a@b:c/d(e)f?g#h%41", "db", 3306, "oneapi")),
        ("u:p@tcp([::1]:3307)/oneapi", ("u", "p", "::1", 3307, "oneapi")),
        ("u:p@tcp([fe80::1])/oneapi", ("u", "p", "fe80::1", 3306, "oneapi")),
        ("u:p@unix(/run/mysqld/mysqld.sock)/oneapi", ("u", "p", None, None, "oneapi")),
        ("u:p@tcp(db)/one%2Fapi?parseTime=True", ("u", "p", "db", 3306, "one/api")),
        ("mysql://u:a%40b@db:3307/oneapi", ("u", "a@b", "db", 3307, "oneapi")),
        ("mariadb://u@db/oneapi", ("u", None, "db", 3306, "oneapi")),
    ],
)
def test_mysql_address_is_read_as_the_go_driver_reads_it(dsn: str, expected: tuple[object, ...]) -> None:
    assert address(dsn) == ("mysql+pymysql", *expected)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("", MYSQL),
        ("charset=utf8mb4&parseTime=True&loc=Local&allowNativePasswords=true&multiStatements=true", MYSQL),
        ("charset=utf8", MYSQL),
        ("charset=utf8mb4,utf8", MYSQL),
        ("charset=utf8&collation=utf8_unicode_ci", MYSQL | {"collation": "utf8mb4_unicode_ci"}),
        ("collation=utf8mb4_0900_ai_ci", MYSQL | {"collation": "utf8mb4_0900_ai_ci"}),
        ("charset=latin1", {"charset": "latin1", "ssl_disabled": "true"}),
        ("collation=latin1_bin", {"charset": "latin1", "collation": "latin1_bin", "ssl_disabled": "true"}),
        ("tls=false", MYSQL),
        ("timeout=10s&readTimeout=1m30s", MYSQL | {"connect_timeout": "10", "read_timeout": "90"}),
        ("timeout=500ms&readTimeout=0&writeTimeout=2h", MYSQL | {"connect_timeout": "1", "write_timeout": "7200"}),
        ("sql_mode=%27ANSI%27&autocommit=0", MYSQL | {"init_command": "SET sql_mode='ANSI',autocommit=0"}),
    ],
)
def test_mysql_parameters_become_the_drivers_or_the_sessions(parameters: str, expected: dict[str, str]) -> None:
    assert dict(url_of(f"u:p@tcp(db)/oneapi?{parameters}", "").query) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("false", {"ssl_disabled": "true"}),
        ("0", {"ssl_disabled": "true"}),
        ("skip-verify", {"ssl_check_hostname": "false"}),
        ("preferred", {}),
    ],
)
def test_mysql_tls(mode: str, expected: dict[str, str]) -> None:
    query = dict(url_of(f"u:p@tcp(db)/oneapi?tls={mode}", "").query)
    assert {name: value for name, value in query.items() if name.startswith("ssl")} == expected


def test_mysql_tls_true_verifies_name_and_certificate() -> None:
    query = dict(url_of("u:p@tcp(db)/oneapi?tls=true", "").query)
    assert query["ssl_check_hostname"] == "true"
    assert Path(str(query["ssl_ca"])).is_file()


@pytest.mark.parametrize(
    ("dsn", "expected", "query"),
    [
        ("postgres://u:p@db:5433/oneapi?sslmode=disable", ("u", "p", "db", 5433, "oneapi"), {"sslmode": "disable"}),
        ("postgresql://u@db/oneapi", ("u", None, "db", None, "oneapi"), {}),
        ("postgres://u:a%40b%2Fc%3Ad@db/oneapi", ("u", "a@b/c:d", "db", None, "oneapi"), {}),
        ("postgres://u:a@b@db/oneapi", ("u", "a@b", "db", None, "oneapi"), {}),
        ("postgres://u:p@[::1]:1/oneapi", ("u", "p", "::1", 1, "oneapi"), {}),
        ("postgres:///oneapi?host=/run/postgresql", (None, None, None, None, "oneapi"), {"host": "/run/postgresql"}),
        (
            "postgres://u:p@a:1,b/oneapi?target_session_attrs=read-write",
            ("u", "p", None, None, "oneapi"),
            {"host": "a,b", "port": "1,5432", "target_session_attrs": "read-write"},
        ),
        (
            "postgres://u:p@db/oneapi?TimeZone=Asia/Shanghai&search_path=a%20b&statement_cache_capacity=0",
            ("u", "p", "db", None, "oneapi"),
            {"options": "-c TimeZone=Asia/Shanghai -c search_path=a\\ b"},
        ),
    ],
)
def test_postgresql_url(dsn: str, expected: tuple[object, ...], query: dict[str, str]) -> None:
    assert address(dsn) == ("postgresql+psycopg", *expected)
    assert dict(url_of(dsn, "").query) == query


def test_postgresql_verifies_against_the_systems_certificates() -> None:
    query = dict(url_of("postgres://u:p@db/oneapi?sslmode=verify-full", "").query)
    assert Path(str(query["sslrootcert"])).is_file()


@pytest.mark.parametrize("path", ["one-api.db", "one-api.db?_busy_timeout=5000", "file:one-api.db?cache=shared"])
def test_sqlite_path_is_absolute_and_without_its_query(path: str) -> None:
    assert url_of("  ", path).database == str(Path("one-api.db").absolute())


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("host=db user=u password=geheim dbname=oneapi", "has no slash"),
        ("u:geheim@tcp(db:3306/oneapi", "closing bracket"),
        ("u:geheim@tcp(db:3306)/oneapi?loc=Asia/Shanghai", "closing bracket"),
        ("u:geheim@udp(db:3306)/oneapi", "neither tcp nor unix"),
        ("u:geheim@tcp(db:70000)/oneapi", "from 1 to 65535"),
        ("u:geheim@tcp(db)/oneapi?tls=custom", "value of tls"),
        ("u:geheim@tcp(db)/oneapi?timeout=10", "value of timeout"),
    ],
)
def test_malformed_dsn_is_refused_without_repeating_its_password(dsn: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        url_of(dsn, "unused.db")
    assert "geheim" not in str(caught.value)
