import logging
from dataclasses import fields

import pytest

from oneapi.config import VARIABLES, Config, ConfigError, read_dotenv


def read(**environ: str) -> tuple[Config, list[tuple[int, str]]]:
    lines: list[tuple[int, str]] = []
    config = Config.from_environ(environ, lambda level, line: lines.append((level, line)))
    return config, lines


def test_an_empty_environment_gives_the_documented_defaults():
    config, lines = read()
    assert config == Config()
    assert lines == []
    assert (config.port, config.sqlite_path, config.sync_frequency) == (3000, "one-api.db", 600)
    assert (config.global_api_rate_limit, config.global_web_rate_limit) == (480, 240)
    assert config.is_master and config.is_sqlite and not config.is_sync_frequency_set


def test_every_field_that_is_read_has_a_help_text_and_a_group():
    derived = {field.name for field in fields(Config)} - set(VARIABLES)
    assert derived == {"is_sync_frequency_set"}
    for name, variable in VARIABLES.items():
        assert len(variable.help) > 10 and variable.help.endswith("."), name
        assert variable.group, name


def test_set_but_empty_counts_as_unset():
    assert read(SQL_DSN="", PORT=" ", RELAY_TIMEOUT="", RELAY_PROXY="")[0] == Config()


def test_an_empty_log_dir_means_no_files():
    assert read(LOG_DIR="")[0].log_dir == ""


def test_blanks_and_carriage_returns_around_a_value_are_no_part_of_it():
    config, lines = read(PORT="4000\r", NODE_TYPE=" slave ")
    assert (config.port, config.node_type, lines) == (4000, "slave", [])


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("RELAY_TIMEOUT", "soon", "relay_timeout", 0),
        ("RELAY_TIMEOUT", "-1", "relay_timeout", 0),
        ("POLLING_INTERVAL", "1.5", "polling_interval", 0),
        ("SYNC_FREQUENCY", "x", "sync_frequency", 600),
        ("BATCH_UPDATE_ENABLED", "True", "batch_update_enabled", False),
        ("METRIC_SUCCESS_RATE_THRESHOLD", "80", "metric_success_rate_threshold", 0.8),
        ("THEME", "dark", "theme", "default"),
        ("NODE_TYPE", "replica", "node_type", "master"),
        ("GRACEFUL_TIMEOUT", "5", "graceful_timeout", 60),
    ],
)
def test_a_malformed_value_leaves_the_default_and_one_line(name, value, field, expected):
    config, lines = read(**{name: value})
    assert getattr(config, field) == expected
    [(level, line)] = lines
    assert level == logging.WARNING
    assert line.startswith(name) and value in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHANNEL_TEST_FREQUENCY", "often"),
        ("RELAY_PROXY", "localhost:1080"),
        ("USER_CONTENT_REQUEST_PROXY", "ftp://localhost"),
        ("PORT", "http"),
        ("PORT", "70000"),
        ("TRUSTED_PROXIES", "proxy.example"),
    ],
)
def test_some_malformed_values_stop_the_start(name, value):
    with pytest.raises(ConfigError, match=f"^{name} "):
        read(**{name: value})


def test_all_faults_that_stop_the_start_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        read(PORT="x", CHANNEL_TEST_FREQUENCY="y")
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["PORT", "CHANNEL_TEST_FREQUENCY"]


def test_phrases_stand_in_a_row_the_newest_first():
    config, _ = read(KEY_ENCRYPTION_KEY=" a new long phrase, the older phrase ,")
    assert config.key_encryption_key == ("a new long phrase", "the older phrase")
    assert "phrase" not in repr(config)


def test_a_phrase_that_can_be_guessed_stops_the_start():
    with pytest.raises(ConfigError, match=r"^KEY_ENCRYPTION_KEY has a phrase of fewer than 16") as caught:
        read(KEY_ENCRYPTION_KEY="a new long phrase,hunter2")
    assert "hunter2" not in str(caught.value)


def test_no_line_and_no_repr_shows_a_secret():
    with pytest.raises(ConfigError) as caught:
        read(RELAY_PROXY="user:hunter2@host")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(read(SQL_DSN="root:hunter2@tcp(localhost)/db", SESSION_SECRET="hunter2")[0])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEBUG_SQL", "TRUE", True),
        ("ONLY_ONE_LOG_FILE", "True", True),
        ("MEMORY_CACHE_ENABLED", "false", False),
        ("BATCH_UPDATE_ENABLED", "true", True),
    ],
)
def test_booleans_are_read_as_one_api_reads_them(name, value, expected):
    assert getattr(read(**{name: value})[0], name.lower()) is expected


def test_the_session_secret_of_the_example_is_refused_loudly():
    config, [(level, line)] = read(SESSION_SECRET="random_string")
    assert config.session_secret == ""
    assert level == logging.ERROR and "SESSION_SECRET" in line


def test_redis_is_used_without_sync_frequency_and_says_so():
    config, [(_, line)] = read(REDIS_CONN_STRING="redis://localhost")
    assert config.redis_conn_string == "redis://localhost"
    assert "SYNC_FREQUENCY" in line
    assert read(REDIS_CONN_STRING="redis://localhost", SYNC_FREQUENCY="60")[1] == []


def test_only_a_slave_redirects_pages():
    url = "https://api.example.com/"
    assert read(FRONTEND_BASE_URL=url, NODE_TYPE="slave")[0].frontend_base_url == "https://api.example.com"
    config, [(_, line)] = read(FRONTEND_BASE_URL=url)
    assert config.frontend_base_url == "" and "FRONTEND_BASE_URL" in line


def test_the_name_in_one_apis_readme_is_read_too():
    assert read(SQL_CONN_MAX_LIFETIME="90")[0].sql_max_lifetime == 90
    assert read(SQL_CONN_MAX_LIFETIME="90", SQL_MAX_LIFETIME="30")[0].sql_max_lifetime == 30


def test_idle_connections_stay_within_open_ones():
    config, [(_, line)] = read(SQL_MAX_OPEN_CONNS="10")
    assert config.sql_max_idle_conns == 10 and "SQL_MAX_OPEN_CONNS" in line


def test_trusted_proxies_are_private_networks_unless_stated():
    assert any(str(network) == "10.0.0.0/8" for network in Config().trusted_proxies)
    assert read(TRUSTED_PROXIES="none")[0].trusted_proxies == ()
    stated = read(TRUSTED_PROXIES="203.0.113.7, 2001:db8::/32")[0].trusted_proxies
    assert [str(network) for network in stated] == ["203.0.113.7/32", "2001:db8::/32"]


def test_dotenv_adds_what_is_missing_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PORT=4001\nSQL_DSN=root:p(w)@tcp(localhost:3306)/db\n")
    monkeypatch.setenv("PORT", "4000")
    monkeypatch.setenv("SQL_DSN", "")  # so that monkeypatch takes it back in the end
    monkeypatch.delenv("SQL_DSN")
    read_dotenv()
    import os

    assert (os.environ["PORT"], os.environ["SQL_DSN"]) == ("4000", "root:p(w)@tcp(localhost:3306)/db")
