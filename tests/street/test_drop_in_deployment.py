"""The program started by One API's own variables from a `.env` file, with its logs in a database of another kind.

Each test is one of the acceptance checks of management.md, appendix B; docs/acceptance.md names them all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests
from sqlalchemy import func, select

from oneapi.models import Log
from tests.gateway import ROOT_ACCESS_TOKEN, ROOT_API_KEY, Gateway
from tests.servers import DatabaseServer, Redis
from tests.street.clients import ask
from tests.street.console import ROOT_KEY
from tests.street.installation import database_of
from tests.street.shop import Shop, wait_until
from tests.street.upstreams import MockUpstream

MODEL = "mock-n1-d0"
LOGS_OF = {"sqlite": "mariadb", "mariadb": "postgres", "postgres": "mariadb"}

# Variables of management.md §2.2, each with a value that its documentation gives or allows.
VARIABLES = {
    "GIN_MODE": "release",
    "DEBUG": "true",
    "SESSION_SECRET": "random_string",
    "SQLITE_BUSY_TIMEOUT": "3000",
    "SQL_MAX_IDLE_CONNS": "10",
    "SQL_MAX_OPEN_CONNS": "20",
    "SQL_MAX_LIFETIME": "60",
    "MEMORY_CACHE_ENABLED": "true",
    "NODE_TYPE": "master",
    "POLLING_INTERVAL": "1",
    "CHANNEL_TEST_FREQUENCY": "1440",
    "CHANNEL_UPDATE_FREQUENCY": "1440",
    "BATCH_UPDATE_ENABLED": "true",
    "BATCH_UPDATE_INTERVAL": "1",
    "GLOBAL_API_RATE_LIMIT": "480",
    "GLOBAL_WEB_RATE_LIMIT": "240",
    "RELAY_TIMEOUT": "60",
    "USER_CONTENT_REQUEST_TIMEOUT": "30",
    "THEME": "berry",
    "GEMINI_SAFETY_SETTING": "BLOCK_NONE",
    "GEMINI_VERSION": "v1",
    "ENFORCE_INCLUDE_USAGE": "true",
    "TEST_PROMPT": "Print your model name exactly and do not output without any other text.",
    "ENABLE_METRIC": "true",
    "METRIC_QUEUE_SIZE": "10",
    "METRIC_SUCCESS_RATE_THRESHOLD": "0.8",
    "METRIC_SUCCESS_CHAN_SIZE": "1024",
    "METRIC_FAIL_CHAN_SIZE": "128",
    "INITIAL_ROOT_TOKEN": ROOT_API_KEY,
    "INITIAL_ROOT_ACCESS_TOKEN": ROOT_ACCESS_TOKEN,
    "ONLY_ONE_LOG_FILE": "true",
    "NO_PROXY": "127.0.0.1",
    "TZ": "Asia/Shanghai",
    "TRUSTED_PROXIES": "none",  # ours: One API believes every peer
}


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgres"])
def deployment(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: Redis,
    mock: MockUpstream,
) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("deployment")
    redis_server.flush()
    database = database_of(request, folder)
    server: DatabaseServer = request.getfixturevalue(LOGS_OF[request.param])
    logs = server.fresh()
    place = {
        "SQL_DSN": database.dsn,
        "SQLITE_PATH": database.sqlite_path,
        "LOG_SQL_DSN": logs.dsn,
        "REDIS_CONN_STRING": redis_server.url,
    }
    lines = [f"{name}='{value}'" for name, value in (VARIABLES | place).items()]
    (folder / ".env").write_text("\n".join(lines))
    gateway = Gateway(folder)
    for name in VARIABLES:
        gateway.environ.pop(name, None)  # what the environment has wins over the file
    with gateway, Shop(gateway, database, logs) as running:
        fields = {"type": 1, "name": "mock", "key": "sk-1", "base_url": mock.url, "models": MODEL, "group": "default"}
        running.call("POST", "/api/channel/", fields)
        running.wait_until_known(MODEL)
        yield running


def test_one_apis_variables_and_dsns_are_read_from_a_file(deployment: Shop) -> None:
    log = deployment.gateway.log()
    assert "Its default is used" not in log
    assert "SESSION_SECRET is One API's example random_string" in log
    assert "REDIS_CONN_STRING is set without SYNC_FREQUENCY" in log
    assert deployment.call("GET", "/api/user/self")["username"] == "root"


def test_logs_in_another_kind_of_database_are_listed_summed_and_cleaned(deployment: Shop) -> None:
    before = deployment.number(select(func.count()).select_from(Log).where(Log.type == 2))
    assert ask(deployment.url, ROOT_KEY, MODEL).status == 200
    wait_until(lambda: deployment.number(select(func.count()).select_from(Log).where(Log.type == 2)) == before + 1)
    row = deployment.call("GET", f"/api/log/?type=2&model_name={MODEL}")[0]
    assert (row["username"], row["model_name"]) == ("root", MODEL) and row["quota"] > 0
    total = deployment.number(select(func.sum(Log.quota)).where(Log.type == 2))
    assert deployment.call("GET", "/api/log/stat") == {"quota": total}
    assert deployment.call("GET", "/api/log/search?keyword=2")[0]["request_id"] == row["request_id"]
    days = deployment.call("GET", "/api/user/dashboard")
    assert {day["ModelName"] for day in days} == {MODEL} and sum(day["Quota"] for day in days) == total
    assert deployment.call("DELETE", f"/api/log/?target_timestamp={int(time.time()) + 60}") > 0
    assert deployment.call("GET", "/api/log/?type=2") == []
    assert deployment.number(select(func.count()).select_from(Log).where(Log.type == 2)) == 0
    assert deployment.findings() == []


def test_twenty_critical_calls_are_shared_and_a_forged_address_buys_none(deployment: Shop) -> None:
    def login(number: int, **headers: str) -> requests.Response:
        body = {"username": f"nobody{number}", "password": "wrong password"}
        return requests.post(f"{deployment.url}/api/user/login", json=body, headers=headers, timeout=30)

    def state(**headers: str) -> requests.Response:
        return requests.get(f"{deployment.url}/api/oauth/state", headers=headers, timeout=30)

    assert {login(number).status_code for number in range(10)} == {200}
    assert {state().status_code for _ in range(10)} == {200}
    forged = {"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7"}
    for refused in (login(11), state(), login(12, **forged), state(**forged)):
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 1200
        assert refused.headers["X-Oneapi-Request-Id"]
        assert refused.json()["success"] is False
    assert requests.get(f"{deployment.url}/api/status", timeout=30).status_code == 200
