"""Rate classes: management.md §7."""

from pathlib import Path
from typing import Any

from oneapi.services import bootstrap
from tests.api.site import PASSWORD, Site
from tests.servers import Redis, sqlite_database


def limited_site(folder: Path, **config: Any) -> Site:
    database = sqlite_database(folder)
    bootstrap.prepare(database.config())
    return Site(database.config(web_concurrency=1, **config))


def status_from(site: Site, address: str, path: str = "/api/status", method: str = "GET", **more: Any) -> Any:
    return site.app.test_client().open(path, method=method, environ_base={"REMOTE_ADDR": address}, **more)


def test_one_allowance_for_all_of_the_api_and_billing_per_address(tmp_path: Path) -> None:
    site = limited_site(tmp_path, global_api_rate_limit=4)
    paths = ["/api/status", "/api/token/", "/dashboard/billing/usage", "/api/nothing"]
    assert [status_from(site, "203.0.113.1", path).status_code for path in paths] == [200, 401, 401, 404]
    refused = [status_from(site, "203.0.113.1", path) for path in paths]
    assert [response.status_code for response in refused] == [429] * 4
    assert int(refused[0].headers["Retry-After"]) > 0
    assert refused[0].get_json()["success"] is False
    assert refused[2].get_json()["error"]["message"]
    assert refused[0].headers["X-Oneapi-Request-Id"]
    assert status_from(site, "203.0.113.2").status_code == 200
    site.close()


def test_a_header_does_not_buy_another_allowance(tmp_path: Path) -> None:
    site = limited_site(tmp_path, global_api_rate_limit=1)
    forged = {"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7"}
    assert status_from(site, "203.0.113.1").status_code == 200
    assert status_from(site, "203.0.113.1", headers=forged).status_code == 429
    site.close()


def test_critical_calls_share_twenty_in_twenty_minutes(tmp_path: Path) -> None:
    site = limited_site(tmp_path)
    login = {"username": "nobody", "password": PASSWORD}
    statuses = [
        status_from(site, "203.0.113.1", path, "POST", json=login).status_code
        for path in ["/api/user/register", "/api/user/login/"] * 10
    ]
    assert 429 not in statuses
    for path in ("/api/user/login", "/api/user/register/"):
        assert status_from(site, "203.0.113.1", path, "POST", json=login).status_code == 429
    assert status_from(site, "203.0.113.1").status_code == 200
    assert status_from(site, "203.0.113.2", "/api/user/login", "POST", json=login).status_code == 200
    site.close()


def test_zero_switches_a_class_off(tmp_path: Path) -> None:
    site = limited_site(tmp_path, global_api_rate_limit=0)
    assert {status_from(site, "203.0.113.1").status_code for _ in range(600)} == {200}
    site.close()


def test_memory_is_shared_out_among_workers(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    bootstrap.prepare(database.config())
    site = Site(database.config(web_concurrency=3, global_api_rate_limit=7))
    statuses = [status_from(site, "203.0.113.1").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    site.close()


def test_workers_count_together_in_redis_and_go_on_without_it(tmp_path: Path, redis_server: Redis) -> None:
    redis_server.flush()
    (tmp_path / "b").mkdir()
    one = limited_site(tmp_path, global_api_rate_limit=4, redis_conn_string=redis_server.url)
    assert [status_from(one, "203.0.113.1").status_code for _ in range(2)] == [200, 200]
    two = limited_site(tmp_path / "b", global_api_rate_limit=4, redis_conn_string=redis_server.url)
    assert [status_from(two, "203.0.113.1").status_code for _ in range(3)] == [200, 200, 429]
    redis_server.stop()
    try:
        assert status_from(two, "203.0.113.9").status_code == 200
    finally:
        redis_server.start()
    one.close()
    two.close()
