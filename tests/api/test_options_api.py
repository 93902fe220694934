"""/api/option: rules of management.md §3 and §4.11."""

import json
from typing import Any

import pytest

from oneapi.models import Log, Option
from oneapi.options import OPTIONS
from tests.api.site import ROOT, Site

SECRETS = {
    "SMTPToken", "GitHubClientSecret", "LarkClientSecret", "OidcClientSecret", "WeChatServerToken",
    "MessagePusherToken", "TurnstileSecretKey",
}  # fmt: skip


def stored(site: Site, key: str) -> str | None:
    rows = site.rows(Option, Option.key == key)
    return rows[0].value if rows else None


def listed(site: Site, root: Any) -> dict[str, str]:
    rows = root.call("GET", "/api/option/")
    assert all(row.keys() == {"key", "value"} and isinstance(row["value"], str) for row in rows)
    return {row["key"]: row["value"] for row in rows}


def test_secrets_are_never_listed(any_site: Site) -> None:
    root = any_site.user(ROOT)
    for key in SECRETS | {"SomebodysToken", "SomebodysSecret"}:
        root.call("PUT", "/api/option/", {"key": key, "value": "do not tell"})
    response = root.ask("GET", "/api/option/")
    assert "do not tell" not in response.text
    assert not any(key.endswith(("Token", "Secret")) or key == "TurnstileSecretKey" for key in listed(any_site, root))
    assert all("do not tell" not in row.content for row in any_site.rows(Log))
    assert stored(any_site, "TurnstileSecretKey") == "do not tell"


def test_what_is_saved_is_listed_and_in_force_at_once(any_site: Site) -> None:
    root = any_site.user(ROOT)
    assert listed(any_site, root)["SystemName"] == "One API"
    assert root.call("PUT", "/api/option/", {"key": "SystemName", "value": "Mine"}) is None
    assert listed(any_site, root)["SystemName"] == "Mine"
    assert any_site.anybody().call("GET", "/api/status")["system_name"] == "Mine"


def test_the_keys_of_the_reference_are_listed_before_they_are_saved(site: Site) -> None:
    keys = {key for key, option in OPTIONS.items() if option.is_listed}
    assert keys - SECRETS <= listed(site, site.user(ROOT)).keys()


def test_unknown_keys_are_kept(site: Site) -> None:
    root = site.user(ROOT)
    root.call("PUT", "/api/option/", {"key": "OfALaterVersion", "value": "42"})
    assert listed(site, root)["OfALaterVersion"] == "42"


@pytest.mark.parametrize(
    "value, text", [(True, "true"), (False, "false"), (7, "7"), (7.0, "7"), ("7", "7"), (0.25, "0.25"), (None, "")]
)
def test_values_of_other_types_are_taken_for_their_text(site: Site, value: object, text: str) -> None:
    site.user(ROOT).call("PUT", "/api/option/", {"key": "OfALaterVersion", "value": value})
    assert stored(site, "OfALaterVersion") == text


@pytest.mark.parametrize("body", [b"nothing", b'{"key": "X", "value": [1]}', b'{"key": 5, "value": "x"}', b""])
def test_a_body_that_cannot_be_read_is_400(site: Site, body: bytes) -> None:
    response = site.user(ROOT).ask("PUT", "/api/option/", body)
    assert (response.status_code, response.get_json()["success"]) == (400, False)


@pytest.mark.parametrize(
    "key, value",
    [
        ("ModelRatio", "{"),
        ("ModelRatio", '{"gpt-4o": "much"}'),
        ("GroupRatio", "[]"),
        ("CompletionRatio", '{"a": -1}'),
        ("QuotaPerUnit", "0"),
        ("QuotaForNewUser", "many"),
        ("RetryTimes", "-1"),
        ("RegisterEnabled", "yes"),
        ("Theme", "dark"),
        ("ServerAddress", "ftp://x"),
        ("GitHubOAuthEnabled", "true"),
        ("TurnstileCheckEnabled", "true"),
        ("WeChatAuthEnabled", "true"),
        ("", "x"),
    ],
)
def test_what_cannot_be_saved_leaves_no_trace(site: Site, key: str, value: str) -> None:
    site.set_options(ModelRatio='{"gpt-4o": 3}')
    root, before = site.user(ROOT), site.revision("options")
    root.refused("PUT", "/api/option/", {"key": key, "value": value})
    assert stored(site, "ModelRatio") == '{"gpt-4o": 3}'
    assert stored(site, key) == ('{"gpt-4o": 3}' if key == "ModelRatio" else None)
    assert site.revision("options") == before
    assert str(site.program.snapshots.options.model_ratio["gpt-4o"]) == "3"


def test_a_switch_can_be_turned_on_once_what_it_needs_is_there(site: Site) -> None:
    root = site.user(ROOT)
    root.call("PUT", "/api/option/", {"key": "GitHubClientId", "value": "id"})
    root.call("PUT", "/api/option/", {"key": "GitHubOAuthEnabled", "value": "true"})
    assert site.anybody().call("GET", "/api/status")["github_oauth"] is True


def test_writes_leave_a_trail_and_bump_the_revision(site: Site) -> None:
    root, before = site.user(ROOT), site.revision("options")
    root.call("PUT", "/api/option/", {"key": "RetryTimes", "value": "5"})
    root.call("PUT", "/api/option/", {"key": "RetryTimes", "value": "5"})
    (trail,) = site.rows(Log, Log.user_id == root.id)
    assert (trail.type, "RetryTimes: 2 → 5" in trail.content) == (3, True)
    assert site.revision("options") == before + 1


def test_price_tables_show_what_is_built_in(site: Site) -> None:
    root = site.user(ROOT)
    assert json.loads(listed(site, root)["ModelRatio"])["gpt-4"] == 15
    assert len(json.loads(listed(site, root)["ModelRatio"])) > 500
    root.call("PUT", "/api/option/", {"key": "ModelRatio", "value": '{"mine": 2.5, "gpt-4": 7}'})
    root.call("PUT", "/api/option/", {"key": "CompletionRatio", "value": '{"mine": 3}'})
    table = json.loads(listed(site, root)["ModelRatio"])
    assert (table["mine"], table["gpt-4"], table["gpt-3.5-turbo"]) == (2.5, 7, 0.25)
    assert json.loads(listed(site, root)["CompletionRatio"]) == {"mine": 3}
    assert stored(site, "ModelRatio") == '{"mine": 2.5, "gpt-4": 7}'
