"""The description of /api and /v1: complete, valid, and what the program keeps to, whoever asks for whatever."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import response_schema_conformance
from sqlalchemy import insert

from oneapi.api import NOUNS
from oneapi.api.openapi import describe
from oneapi.models import Token
from oneapi.relay import paths
from tests.api.site import ADMIN, COMMON, ROOT, Site

# These would ask hosts of schemathesis's invention.
_REACHES_OUT = ("/api/channel/fetch_models", "/api/channel/test", "/api/channel/update_balance", "/api/oauth")
# These would end whoever asks, and all that comes after would be refused.
_ENDS_THE_ASKER = (("delete", "/api/user/self"), ("get", "/api/user/token"), ("post", "/api/user/token"))


@pytest.fixture
def description(site: Site) -> Any:
    return site.anybody().ask("GET", "/api/openapi.json").get_json()


def test_every_route_of_the_tables_is_described(description: Any) -> None:
    described = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    routes = {
        (route.method, route.path.replace("<", "{").replace(">", "}")) for noun in NOUNS for route in noun.ROUTES
    }
    relayed = {(method, path) for method, path, _ in paths.described()}
    assert described == routes | relayed
    assert len(routes) > 50


def test_relay_paths_that_are_described_are_the_relays() -> None:
    for method, path, mode in paths.described():
        found = paths.asked(method, path.replace("{model}", "gpt-4o"))
        assert found is not None
        assert mode in (found.mode, found.task)


def test_bodies_and_query_parameters_are_those_the_views_read(description: Any) -> None:
    login = description["paths"]["/api/user/login"]["post"]
    assert set(_schema(description, login)["properties"]) == {"username", "password"}
    assert login["security"] == []
    token = description["paths"]["/api/token/"]["put"]
    assert {"name", "limits", "remain_quota"} <= set(_schema(description, token)["properties"])
    listing = {item["name"]: item["schema"]["type"] for item in description["paths"]["/api/log/"]["get"]["parameters"]}
    assert listing["username"] == "string"
    assert listing["start_timestamp"] == listing["p"] == "integer"


def _schema(description: Any, operation: Any) -> Any:
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return description["components"]["schemas"][reference.rpartition("/")[2]]


def test_ids_of_operations_are_unique(description: Any) -> None:
    ids = [operation["operationId"] for methods in description["paths"].values() for operation in methods.values()]
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("role", [None, COMMON, ADMIN, ROOT])
def test_no_request_of_any_role_finds_a_fault(site: Site, role: int | None) -> None:
    asker = site.anybody() if role is None else site.user(role, quota=10**9)
    key = "k" * 48
    with site.engine.begin() as connection:
        values = {"user_id": asker.id, "key": key, "status": 1, "name": "a", "unlimited_quota": True}
        connection.execute(insert(Token).values(expired_time=-1, remain_quota=0, **values))
    schema = schemathesis.openapi.from_dict(describe(NOUNS))
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        method, path = operation.method.lower(), operation.path
        if path.startswith(_REACHES_OUT) or (method, path) in _ENDS_THE_ASKER:
            continue

        @settings(
            max_examples=6,
            database=None,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            nonlocal asked
            asked += 1
            credential = f"Bearer {key}" if case.path.startswith("/v1/") and role else asker.token
            headers = {"Accept-Encoding": "identity"} | ({"Authorization": credential} if credential else {})
            response = case.call(app=site.app, headers=headers)
            assert response.status_code not in (500, 502, 504), (case, response.text)
            if response.status_code != 200 or case.path.startswith("/api/"):
                case.validate_response(response, checks=[response_schema_conformance])

        holds()
    assert asked > 200
