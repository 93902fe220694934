"""Who may come in where, asked without a browser: every page of the panel, and every role."""

from __future__ import annotations

import re

import pytest
import requests

from tests.gateway import StartGateway
from tests.panel.conftest import ROOT_PASSWORD
from tests.street.console import UNLIMITED, Console
from tools.screenshots import PANEL

COMMON, ADMIN, ROOT = 1, 10, 100
LEAST = {
    "/admin/": COMMON,
    "/admin/playground/": COMMON,
    "/admin/token/": COMMON,
    "/admin/token/add": COMMON,
    "/admin/model/": COMMON,
    "/admin/log/": COMMON,
    "/admin/topup/": COMMON,
    "/admin/account/": COMMON,
    "/admin/channel/": ADMIN,
    "/admin/channel/add": ADMIN,
    "/admin/channel/serving": ADMIN,
    "/admin/user/": ADMIN,
    "/admin/user/add": ADMIN,
    "/admin/redemption/": ADMIN,
    "/admin/redemption/add": ADMIN,
    "/admin/group/": ROOT,
    "/admin/price/": ROOT,
    "/admin/setting/": ROOT,
    "/admin/setting/system": ROOT,
    "/admin/setting/other": ROOT,
    "/admin/system/": ADMIN,
}


def token_of(session: requests.Session, url: str) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', session.get(url, timeout=10).text)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def sessions(panel: Console) -> dict[int, requests.Session]:
    root = requests.Session()
    login = {"username": "root", "password": ROOT_PASSWORD}
    root.post(f"{panel.url}/api/user/login", json=login, timeout=10)
    return {0: requests.Session(), COMMON: panel.user().session, ADMIN: panel.user(role="admin").session, ROOT: root}


def test_every_page_is_in_the_table() -> None:
    assert {path.partition("?")[0] for path in PANEL.values() if "edit" not in path} == set(LEAST)


@pytest.mark.parametrize("path", LEAST)
def test_a_page_is_open_from_its_role_on(path: str, panel: Console, sessions: dict[int, requests.Session]) -> None:
    def status(role: int) -> int:
        return sessions[role].get(panel.url + path, timeout=10).status_code

    assert sessions[0].get(panel.url + path, timeout=10).url == f"{panel.url}/login?next={path}"
    assert {role: status(role) for role in (COMMON, ADMIN, ROOT)} == {
        role: 200 if role >= LEAST[path] else 403 for role in (COMMON, ADMIN, ROOT)
    }


@pytest.mark.parametrize(
    "path", ["account/profile", "account/password", "account/token", "account/leave", "topup/redeem"]
)
def test_a_write_needs_a_login_and_its_token(path: str, panel: Console, sessions: dict[int, requests.Session]) -> None:
    url = f"{panel.url}/admin/{path}"
    session = sessions[COMMON]
    assert session.post(url, json={}, timeout=10).status_code == 400
    foreign = {"X-CSRFToken": token_of(sessions[ROOT], f"{panel.url}/admin/")}
    assert session.post(url, json={}, headers=foreign, timeout=10).status_code == 400
    nobody = requests.Session()
    headers = {"X-CSRFToken": token_of(nobody, f"{panel.url}/login"), "Accept": "application/json"}
    answer = nobody.post(url, json={}, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["location"]) == (401, "/login")
    nobody.close()


def test_a_disabled_user_is_out_at_once(panel: Console) -> None:
    user = panel.user()
    assert user.session.get(f"{panel.url}/admin/", allow_redirects=False, timeout=10).status_code == 200
    panel.manage(user.username, "disable")
    assert user.session.get(f"{panel.url}/admin/", allow_redirects=False, timeout=10).status_code == 302


def test_pages_have_a_rate_of_their_own(start_gateway: StartGateway) -> None:
    url = start_gateway(GLOBAL_WEB_RATE_LIMIT="3").base_url
    assert [requests.get(f"{url}/about", timeout=10).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert requests.get(f"{url}/api/status", timeout=10).status_code == 200


def test_a_slave_sends_people_to_the_node_that_has_pages(panel: Console, start_gateway: StartGateway) -> None:
    first = start_gateway(**UNLIMITED)
    first.stop()
    slave = start_gateway(
        **UNLIMITED,
        NODE_TYPE="slave",
        FRONTEND_BASE_URL="https://api.example.com/",
        SQLITE_PATH=str(first.folder / "one-api.db"),
    )
    for path in ("/", "/login?next=/topup", "/admin/token/", "/nowhere"):
        answer = requests.get(slave.base_url + path, allow_redirects=False, timeout=10)
        assert (answer.status_code, answer.headers["Location"]) == (301, f"https://api.example.com{path}")
    assert requests.get(f"{slave.base_url}/api/status", timeout=10).status_code == 200
