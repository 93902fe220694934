"""`oneapi doctor --url` from the street: the real program behind a real nginx, well and badly configured."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from oneapi.config import Config
from oneapi.database import main_url
from oneapi.services import proxy_checks
from oneapi.services.bootstrap import session_secret
from oneapi.services.database_checks import engine_for_reading
from oneapi.services.findings import Finding
from tests.gateway import ROOT_API_KEY, Gateway
from tests.nginx import DEPLOYED, deployed_site, serving
from tests.servers import free_port

# Everything that the panels of hosting companies are known to get wrong.
BAD = """
    proxy_buffering on;
    proxy_ignore_headers X-Accel-Buffering;
    gzip on;
    gzip_types text/event-stream;
    client_max_body_size 1m;
    proxy_read_timeout 2s;
"""
# nginx as it is where nothing was said, and a header taken away.
SILENT = 'proxy_set_header X-Forwarded-For "";'
KEYLESS = 'proxy_set_header Authorization "";'


@dataclass(frozen=True)
class Proxies:
    """Addresses of the same program behind different configurations."""

    good: str
    bad: str
    silent: str
    keyless: str
    nothing: str
    moved: str


@pytest.fixture(scope="module")
def proxies(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    backend = gateway.base_url.removeprefix("http://")
    ports = [free_port() for _ in range(6)]
    sites = [deployed_site(backend, ports[0])]
    for port, lines in zip(ports[1:4], (BAD, SILENT, KEYLESS), strict=True):
        sites.append(f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{backend}; {lines} }} }}")
    sites.append(f"server {{ listen 127.0.0.1:{ports[4]}; return 200 'It works!'; }}")
    sites.append(f"server {{ listen 127.0.0.1:{ports[5]}; return 301 https://api.example.com$request_uri; }}")
    with serving(tmp_path_factory.mktemp("nginx"), ports[0], *sites):
        yield Proxies(*(f"http://127.0.0.1:{port}" for port in ports))


@pytest.fixture(scope="module")
def secret(gateway: Gateway) -> str:
    """What the program signs sessions with, as doctor reads it."""
    config = Config(sqlite_path=str(gateway.folder / "one-api.db"))
    return session_secret(engine_for_reading(main_url(config), config), config)


def through(url: str, secret: str, *, idle_s: float = 0, token: str = "") -> dict[str, Finding]:
    """What is found through an address, by key."""
    found = proxy_checks.through(url, secret, idle_s=idle_s, max_body_bytes=Config().max_body_bytes, token=token)
    return {finding.key: finding for finding in found}


def levels(found: dict[str, Finding]) -> dict[str, str]:
    return {key: finding.level for key, finding in found.items()}


def test_nothing_is_wrong_behind_the_site_that_we_ship(proxies: Proxies, secret: str) -> None:
    found = through(proxies.good, secret, idle_s=3, token=f"sk-{ROOT_API_KEY}")
    assert levels(found) == dict.fromkeys(
        ("url", "installation", "address", "token", "stream", "gzip", "body", "idle"), "ok"
    )
    assert found["address"].values == {"client": "127.0.0.1"}
    assert found["body"].values == {"mb": 20}


def test_each_fault_of_a_proxy_is_found_with_its_cure(gateway: Gateway, proxies: Proxies) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "oneapi", "doctor", "--url", proxies.bad, "--json"],
        cwd=gateway.folder,
        env=gateway.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    found = {one["key"]: one for one in json.loads(done.stdout) if one["subject"] == "public address"}
    cures = {
        "address_claimed": "proxy_set_header X-Forwarded-For $remote_addr;",
        "host_hidden": "proxy_set_header Host $http_host;",
        "http10": "proxy_http_version 1.1;",
        "stream_buffered": "proxy_buffering off;",
        "gzip_on": "gzip off;",
        "body_limited": "client_max_body_size 64m;",
        "idle_cut": "proxy_read_timeout 900s;",
    }
    assert set(found) == {"url", "installation", *cures}
    for key, line in cures.items():
        assert line in found[key]["cure"]
    assert {key for key, one in found.items() if one["level"] == "warning"} == {"host_hidden", "http10"}
    assert "413" in found["body_limited"]["text"]


def test_buffering_that_only_our_header_prevents_is_warned_of(proxies: Proxies, secret: str) -> None:
    found = through(proxies.silent, secret)
    assert found["stream_by_header"].level == "warning"
    assert found["address_hidden"].level == "fault"
    assert "idle" not in found


@pytest.mark.parametrize(
    ("proxy", "key"), [("keyless", "authorization_lost"), ("nothing", "url_not_ours"), ("moved", "url_moved")]
)
def test_what_stops_every_request_is_told_alone(proxies: Proxies, secret: str, proxy: str, key: str) -> None:
    found = through(getattr(proxies, proxy), secret)
    assert {name for name, level in levels(found).items() if level != "ok"} == {key}


def test_address_where_nobody_is(secret: str) -> None:
    assert levels(through(f"http://127.0.0.1:{free_port()}", secret)) == {"url_away": "fault"}


def test_another_installation_is_told_from_this_one(gateway: Gateway) -> None:
    found = through(gateway.base_url, "the secret of somebody else's nodes")
    assert levels(found) == {"url": "ok", "installation_other": "fault"}


def test_program_itself_may_be_the_address(gateway: Gateway, secret: str) -> None:
    found = through(gateway.base_url, secret, token="sk-nobodys")
    assert {key for key, level in levels(found).items() if level != "ok"} == {"token_refused"}
    assert "address_direct" in found


@pytest.mark.parametrize("path", ["seen", "stream", "silence?seconds=600", "body"])
@pytest.mark.parametrize("ticket", [None, "forged", "IlRpY2tldCI.aSXZ9A.x"])
def test_nobody_without_a_ticket_is_served(gateway: Gateway, path: str, ticket: str | None) -> None:
    request = urllib.request.Request(
        f"{gateway.base_url}/v1/oneapi/doctor/{path}",
        data=b"x" if path == "body" else None,
        headers={"Authorization": f"Bearer {ticket}"} if ticket else {},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 401
    caught.value.close()


@pytest.mark.parametrize("line", [line for lines in proxy_checks.NGINX.values() for line in lines])
def test_lines_of_cures_are_those_that_we_ship(line: str) -> None:
    assert line in {shipped.strip() for shipped in DEPLOYED.splitlines()}
