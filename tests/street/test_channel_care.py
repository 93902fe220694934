"""Testing a channel from the API, and asking for its balance: what the provider says, what is stored, who pays."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from gevent.pywsgi import WSGIServer

from tests.gateway import ROOT_ACCESS_TOKEN, Gateway, StartGateway
from tests.street.upstreams import MockUpstream


def api(gateway: Gateway, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(gateway.base_url + path, json.dumps(body).encode() if body else None)
    request.add_header("Authorization", ROOT_ACCESS_TOKEN)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_channel_is_tested_at_nobodys_cost(start_gateway: StartGateway, mock: MockUpstream) -> None:
    gateway = start_gateway()
    for name, models in (("good", "gpt-4o-mini"), ("vectors", "text-embedding-3-small"), ("broken", "mock-e500")):
        channel = {"type": 1, "name": name, "key": "k", "base_url": mock.url, "models": models, "group": "default"}
        assert api(gateway, "/api/channel/", channel)["success"]
    before = api(gateway, "/api/user/self")["data"]["quota"]
    good, vectors, broken = (api(gateway, f"/api/channel/test/{number}") for number in (1, 2, 3))
    assert good["success"] and good["time"] > 0 and good["message"].startswith("The quick brown fox")
    assert vectors["success"] and vectors["message"] == "1 vector(s)"
    assert not broken["success"] and broken["time"] == 0 and "mock fault 500" in broken["message"]
    rows = {row["id"]: row for row in api(gateway, "/api/channel/")["data"]}
    assert rows[1]["test_time"] > 0 and rows[1]["response_time"] >= 1
    assert rows[3]["response_time"] == 0
    assert api(gateway, "/api/user/self")["data"]["quota"] == before
    tests = api(gateway, "/api/log/?type=5")["data"]
    assert [(row["channel"], row["model_name"]) for row in tests] == [
        (3, "mock-e500"),
        (2, "text-embedding-3-small"),
        (1, "gpt-4o-mini"),
    ]


def test_a_balance_is_asked_for_and_stored(start_gateway: StartGateway) -> None:
    def provider(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        asked = environ["PATH_INFO"], environ["HTTP_AUTHORIZATION"]
        return [json.dumps({"total_available": 12.5}).encode()] if asked == wanted else [b"{}"]

    wanted = ("/dashboard/billing/credit_grants", "Bearer k")
    server = WSGIServer(("127.0.0.1", 0), provider, log=None)
    server.start()
    try:
        gateway = start_gateway()
        base = f"http://127.0.0.1:{server.server_port}"
        for number in (4, 29):  # CloseAI, and Groq, which has no such query
            channel = {"type": number, "name": "c", "key": "k", "base_url": base, "models": "m", "group": "default"}
            assert api(gateway, "/api/channel/", channel)["success"]
        assert api(gateway, "/api/channel/update_balance/1") == {"success": True, "message": "", "balance": 12.5}
        assert api(gateway, "/api/channel/1")["data"]["balance"] == 12.5
        refused = api(gateway, "/api/channel/update_balance/2")
        assert not refused["success"] and "Groq" in refused["message"]
    finally:
        server.stop()
