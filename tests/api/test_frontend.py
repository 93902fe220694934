"""A slave with FRONTEND_BASE_URL serves the API and sends everything else to the master (management.md §8.3)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oneapi.config import Config
from oneapi.services import bootstrap
from tests.api.site import Site
from tests.servers import sqlite_database

BASE = "https://api.example.org"


@pytest.fixture(scope="module")
def slave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("slave")
    database = sqlite_database(folder)
    bootstrap.prepare(database.config())
    environ = {"SQLITE_PATH": database.sqlite_path, "NODE_TYPE": "slave", "FRONTEND_BASE_URL": f"{BASE}/"}
    site = Site(Config.from_environ(environ))
    yield site
    site.close()


@pytest.mark.parametrize(
    "uri",
    ["/", "/login", "/user/reset?email=a%40b.de&token=1", "/admin/", "/api/unknown?x=1", "/a%2Fb"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whatever_no_route_serves_is_elsewhere(slave: Site, method: str, uri: str) -> None:
    response = slave.app.test_client().open(uri, method=method, environ_base={"RAW_URI": uri})
    assert (response.status_code, response.headers["Location"]) == (301, f"{BASE}{uri}")


def test_a_target_without_a_path_of_its_own_does_not_choose_the_host(slave: Site) -> None:
    response = slave.app.test_client().get("/about", environ_base={"RAW_URI": "http://evil.example/about"})
    assert response.headers["Location"] == f"{BASE}/about"


def test_the_api_and_the_probes_are_served_here(slave: Site) -> None:
    client = slave.app.test_client()
    assert client.get("/api/status").get_json()["success"] is True
    assert client.get("/healthz").status_code == 200
    assert client.get("/api/user/self").status_code == 401
    assert client.get("/dashboard/billing/usage").status_code == 401


def test_a_master_keeps_its_pages(site: Site) -> None:
    assert site.app.test_client().get("/login").status_code == 200
    assert site.app.test_client().get("/api/unknown").status_code == 404
