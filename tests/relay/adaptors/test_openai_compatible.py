"""The table of channel types that speak OpenAI's protocol, against the specification's data and by its rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay import adaptors
from oneapi.relay.adaptor import Adaptor, Credentials, Mode, Target, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import openai_compatible
from tests.needs import lacking
from tests.relay.native import driven
from tests.relay.protocols.recordings import FOLDER

TABLE = {adaptor.type: adaptor for adaptor in openai_compatible.ADAPTORS}
_AUDIO = {"speech", "transcription", "translation"}


def spec() -> dict[str, Any]:
    path = FOLDER.parent / "spec" / "data" / "channel_types.json"
    if not path.is_file():
        lacking(f"no {path}: the specification's data is not here")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def rows() -> list[dict[str, Any]]:
    return [row for row in spec()["channels"] if row["protocol"] == "openai" and row["id"]]


def test_the_table_has_the_channel_types_of_this_protocol() -> None:
    assert sorted(TABLE) == sorted(row["id"] for row in rows())
    assert len(TABLE) == 33


def test_numbers_labels_addresses_and_owners_are_one_apis() -> None:
    for row in rows():
        adaptor = TABLE[row["id"]]
        assert adaptor.label == row["name"]
        assert adaptor.base_url == row["base_url"]
        assert adaptor.owner == row["owned_by"]
        assert adaptor.is_listed == row["in_static_model_list"]
        assert [field.name for field in adaptor.fields] == row["config_fields"]
        assert adaptor.legacy_field == (row["legacy_other_field"] or "")


def test_no_mode_of_one_api_is_missing() -> None:
    for row in rows():
        modes = {mode for name in row["modes"] for mode in (_AUDIO if name == "audio" else {name})}
        assert modes <= set(TABLE[row["id"]].endpoints)


def test_model_lists_begin_with_one_apis_own() -> None:
    lists = {row["id"]: row["default_models"] for row in spec()["channels"]}
    for number, models in lists.items():
        expected = lists[1] if isinstance(models, str) else models
        if number:
            assert list(adaptors.default_models(number)[: len(expected)]) == expected
            assert len(set(adaptors.default_models(number))) == len(adaptors.default_models(number))


def test_what_balances_are_asked_for_is_one_apis() -> None:
    told = {1, 4, 5, 8, 10, 12, 13, 20, 36, 44}
    assert {number for number, adaptor in TABLE.items() if adaptor.balance_requests} == told
    assert {row["id"] for row in rows() if row["balance_query"]} == told


# ---- the whole folder ----


def test_a_number_declared_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = (*openai_compatible.ADAPTORS, Adaptor(type=1, name="another", label="Another"))
    monkeypatch.setattr(openai_compatible, "ADAPTORS", twice)
    with pytest.raises(ValueError, match="declared twice"):
        adaptors.load.__wrapped__()


def test_a_name_declared_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = (*openai_compatible.ADAPTORS, Adaptor(type=999, name="openai", label="Another"))
    monkeypatch.setattr(openai_compatible, "ADAPTORS", twice)
    with pytest.raises(ValueError, match="declared twice"):
        adaptors.load.__wrapped__()


def test_types_stand_in_order_and_cannot_be_changed() -> None:
    found = adaptors.load()
    assert list(found) == sorted(found)
    with pytest.raises(TypeError):
        found[1] = found[3]  # type: ignore[index]


def test_the_catalogue_names_each_model_once_and_its_first_owner() -> None:
    owners = adaptors.catalogue()
    assert owners["gpt-4o"] == "openai"
    assert owners["deepseek-chat"] == "deepseek"
    assert owners["deepseek-r1"] == "ali"  # Baidu offers it as well, and comes later
    assert "google/gemini-2.0-flash-001" not in owners  # OpenRouter is not listed
    assert next(iter(owners)) == "gpt-3.5-turbo"


# ---- addresses ----


def url(number: int, mode: Mode = "chat", **fields: Any) -> str:
    adaptor = TABLE[number]
    given = {
        "base_url": adaptor.base_url.rstrip("/"),
        "path": adaptor.endpoints[mode].path,
        "model": "m",
        "mode": mode,
        "stream": False,
        "fields": {},
        "client_path": "/v1" + openai_compatible._MODES[mode][0],
        **fields,
    }
    return adaptor.url(Target(**given))


AZURE = "https://NAME.openai.azure.com"
GATEWAY = "https://gateway.ai.cloudflare.com/v1/ACCOUNT/GATEWAY"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lambda: url(1), "https://api.openai.com/v1/chat/completions"),
        (lambda: url(1, client_query="a=b&c"), "https://api.openai.com/v1/chat/completions?a=b&c"),
        (
            lambda: url(1, client_path="/v1/messages", client_query="beta=true"),
            "https://api.openai.com/v1/chat/completions",
        ),
        (lambda: url(1, base_url=f"{GATEWAY}/openai"), f"{GATEWAY}/openai/chat/completions"),
        (lambda: url(8, base_url="https://h/prefix"), "https://h/prefix/v1/chat/completions"),
        (lambda: url(50, base_url="https://h/api/v4"), "https://h/api/v4/chat/completions"),
        (lambda: url(50, "rerank", base_url="https://h/v1", client_query="x=1"), "https://h/v1/rerank?x=1"),
        (lambda: url(51), "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"),
        (lambda: url(20), "https://openrouter.ai/api/v1/chat/completions"),
        (lambda: url(27, client_query="GroupId=1"), "https://api.minimax.chat/v1/text/chatcompletion_v2"),
        (lambda: url(36, "completions"), "https://api.deepseek.com/beta/completions"),
        (lambda: url(40), "https://ark.cn-beijing.volces.com/api/v3/chat/completions"),
        (lambda: url(41), "https://api.novita.ai/v3/openai/chat/completions"),
        (lambda: url(47), "https://qianfan.baidubce.com/v2/chat/completions"),
        (lambda: url(49), "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"),
        (
            lambda: url(3, base_url=AZURE, model="gpt-3.5-turbo", fields={"api_version": "v"}),
            f"{AZURE}/openai/deployments/gpt-35-turbo/chat/completions?api-version=v",
        ),
        (
            lambda: url(3, "transcription", base_url=AZURE, model="whisper.1", fields={"api_version": "v"}),
            f"{AZURE}/openai/deployments/whisper.1/audio/transcriptions?api-version=v",
        ),
        (
            lambda: url(3, "translation", base_url=AZURE, model="whisper", fields={"api_version": "v"}),
            f"{AZURE}/openai/deployments/whisper/audio/translations?api-version=v",
        ),
        (
            lambda: url(3, "images", base_url=AZURE, model="dall-e.3", fields={"api_version": "v"}),
            f"{AZURE}/openai/deployments/dall-e.3/images/generations?api-version=v",
        ),
        (
            lambda: url(3, base_url=AZURE, fields={"api_version": "v"}, client_query="x=1&api-version=asked"),
            f"{AZURE}/openai/deployments/m/chat/completions?api-version=asked",
        ),
        (lambda: url(3, base_url=AZURE), f"{AZURE}/openai/deployments/m/chat/completions?api-version=2024-10-21"),
        (
            lambda: url(3, base_url=AZURE, model="a/b ?", fields={"api_version": "v"}),
            f"{AZURE}/openai/deployments/a%2Fb%20%3F/chat/completions?api-version=v",
        ),
        (
            lambda: url(3, base_url=f"{GATEWAY}/azure-openai/NAME", fields={"api_version": "v"}),
            f"{GATEWAY}/azure-openai/NAME/m/chat/completions?api-version=v",
        ),
        (lambda: url(3, base_url=f"{AZURE}/openai/v1"), f"{AZURE}/openai/v1/chat/completions"),
    ],
)
def test_addresses(found: Any, expected: str) -> None:
    assert found() == expected


# ---- edits ----


def edited(number: int, model: str, body: dict[str, Any], mode: Mode = "chat") -> dict[str, Any]:
    for edit in TABLE[number].edits(model, mode):
        body = edit(body)
    return body


@pytest.mark.parametrize("model", ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.2-chat-latest", "codex-mini"])
def test_reasoning_models_get_their_limit_by_its_new_name(model: str) -> None:
    for number in (1, 3, 4):
        assert edited(number, model, {"max_tokens": 5}) == {"max_completion_tokens": 5}
        both = {"max_tokens": 5, "max_completion_tokens": 7}
        assert edited(number, model, both) == {"max_completion_tokens": 7}
    assert TABLE[50].edits(model, "chat") == ()


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1", "gpt-3.5-turbo", "omni-moderation-latest", "chatgpt-4o-latest"])
def test_other_models_pass_verbatim(model: str) -> None:
    for number in TABLE:
        body: dict[str, Any] = {"model": model, "messages": [], "max_tokens": 5}
        assert edited(number, model, body) is body


@pytest.mark.parametrize(
    ("version", "may"),
    [
        ("2023-05-15", False),
        ("2024-03-01-preview", False),
        ("2024-08-01-preview", False),
        ("2024-09-01-preview", True),
        ("2024-10-21", True),
        ("2025-04-01-preview", True),
        ("", True),
    ],
)
def test_azure_is_asked_for_usage_since_it_knows_how(version: str, may: bool) -> None:
    assert openai_compatible.azure_may_ask_usage({"api_version": version}) is may


# ---- DeepSeek ----


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, "v1"),
        ({"messages": [{"role": "user", "content": 'say "prefix" and "strict"'}]}, "v1"),
        ({"messages": [{"role": "assistant", "content": "```", "prefix": True}]}, "beta"),
        ({"messages": [], "tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, "beta"),
        ({"messages": [], "tools": [{"type": "function", "function": {"name": "f", "strict": False}}]}, "v1"),
        ({"messages": "strict", "tools": ["prefix"], "prefix": 1}, "v1"),
    ],
)
def test_deepseek_serves_its_beta_elsewhere(body: dict[str, Any], path: str) -> None:
    flow = TABLE[36].endpoints["chat"].flow
    assert flow is not None
    request = UpstreamRequest(url="https://api.deepseek.com/v1/chat/completions", body=json.dumps(body).encode())
    requests, last = driven(flow(request, Credentials("k"), 0))
    assert requests == [] and last.body == request.body
    assert last.url == f"https://api.deepseek.com/{path}/chat/completions"


def test_minimax_takes_schemas_as_text_by_its_older_models() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    body = {"tools": [tool]}
    assert edited(27, "MiniMax-M2", body) is body
    (sent,) = edited(27, "MiniMax-Text-01", body)["tools"]
    assert sent["function"] == {"name": "f", "parameters": '{"type": "object"}'}


# ---- balances ----

NOW = 1_700_000_000.0  # 2023-11-14


def asked(number: int, base_url: str = "https://base") -> list[tuple[str, dict[str, str]]]:
    requests = TABLE[number].balance_requests
    assert requests is not None
    made = requests(base_url, Credentials("k&y"), NOW)
    assert {request.method for request in made} == {"GET"}
    return [(request.url, dict(request.headers)) for request in made]


def balance(number: int, *bodies: Any, status: int = 200) -> float:
    parse = TABLE[number].parse_balance
    assert parse is not None
    return parse(tuple(WholeReply(status, {}, json.dumps(body).encode()) for body in bodies))


USD, CNY = {"currency": "USD", "total_balance": "1"}, {"currency": "CNY", "total_balance": "2.5"}
BEARER = {"Authorization": "Bearer k&y"}


@pytest.mark.parametrize(
    ("number", "requests"),
    [
        (4, [("https://base/dashboard/billing/credit_grants", BEARER)]),
        (5, [("https://api.openai-sb.com/sb-api/user/status?api_key=k%26y", BEARER)]),
        (10, [("https://aiproxy.io/api/report/getUserOverview", {"Api-Key": "k&y"})]),
        (12, [("https://api.api2gpt.com/dashboard/billing/credit_grants", BEARER)]),
        (13, [("https://api.aigc2d.com/dashboard/billing/credit_grants", BEARER)]),
        (20, [("https://openrouter.ai/api/v1/credits", BEARER)]),
        (36, [("https://api.deepseek.com/user/balance", BEARER)]),
        (44, [("https://api.siliconflow.cn/v1/user/info", BEARER)]),
        (
            1,
            [
                ("https://base/v1/dashboard/billing/subscription", BEARER),
                ("https://base/v1/dashboard/billing/usage?start_date=2023-11-01&end_date=2023-11-14", BEARER),
                ("https://base/v1/dashboard/billing/usage?start_date=2023-08-06&end_date=2023-11-14", BEARER),
            ],
        ),
    ],
)
def test_balances_are_asked_where_they_are_told(number: int, requests: Any) -> None:
    assert asked(number) == requests


@pytest.mark.parametrize(
    ("number", "bodies", "amount"),
    [
        (1, [{"hard_limit_usd": 120, "has_payment_method": True}, {"total_usage": 250}, {"total_usage": 9}], 117.5),
        (8, [{"hard_limit_usd": 120, "has_payment_method": False}, {"total_usage": 250}, {"total_usage": 1000}], 110.0),
        (4, [{"total_available": 3.5}], 3.5),
        (5, [{"data": {"credit": "12345"}}], 12345.0),
        (10, [{"success": True, "data": {"totalPoints": 7}}], 7.0),
        (12, [{"total_remaining": 1}], 1.0),
        (13, [{"total_available": 2}], 2.0),
        (20, [{"data": {"total_credits": 10, "total_usage": 4.25}}], 5.75),
        (36, [{"balance_infos": [USD, CNY]}], 2.5),
        (36, [{"balance_infos": [USD]}], 1.0),
        (44, [{"code": 20000, "data": {"totalBalance": "88.00"}}], 88.0),
    ],
)
def test_balances_are_read(number: int, bodies: Any, amount: float) -> None:
    assert balance(number, *bodies) == amount


@pytest.mark.parametrize(
    ("number", "body"),
    [
        (4, {"error": "no"}),
        (4, []),
        (5, {"msg": "wrong key"}),
        (10, {"success": False, "message": "no"}),
        (10, []),
        (44, "text"),
        (36, {"balance_infos": [{"currency": "EUR", "total_balance": "1"}]}),
        (36, {"balance_infos": None}),
        (44, {"code": 40000, "message": "no", "data": {"totalBalance": "88"}}),
    ],
)
def test_a_balance_that_is_none_is_garbled(number: int, body: Any) -> None:
    with pytest.raises(UpstreamGarbled):
        balance(number, body)


def test_a_refused_balance_is_a_refusal() -> None:
    with pytest.raises(UpstreamRejected) as caught:
        balance(36, {"error": {"message": "Authentication Fails"}}, status=401)
    assert caught.value.is_credential


# ---- Hyperbolic's images ----


def hyperbolic_images(url: str, body: dict[str, Any], *replies: WholeReply) -> tuple[list[UpstreamRequest], Any]:
    flow = TABLE[50].endpoints["images"].flow
    assert flow is not None
    request = UpstreamRequest(method="POST", url=url, body=json.dumps(body).encode())
    return driven(flow(request, Credentials("k"), 5.0), *replies)


def test_hyperbolics_pictures_are_asked_for_and_told_in_its_own_words() -> None:
    url = "https://api.hyperbolic.xyz/v1/images/generations"
    asked = {"model": "SD2", "prompt": "a tortoise", "n": 2, "size": "128x64", "response_format": "url", "steps": 30}
    reply = WholeReply(200, {}, b'{"images": [{"index": 0, "image": "aGk="}], "inference_time": 1.5}')
    requests, answer = hyperbolic_images(url, asked, reply, reply)
    wanted = {"model_name": "SD2", "width": 128, "height": 64, "prompt": "a tortoise", "steps": 30}
    assert [json.loads(request.body) for request in requests] == [wanted, wanted]
    assert json.loads(answer.body) == {"created": 5, "data": [{"b64_json": "aGk="}, {"b64_json": "aGk="}]}
    assert TABLE[50].endpoints["images"].codec.read_usage(answer.body, {}).units == {"images": 2}


def test_hyperbolics_refusals_and_empty_answers_are_told() -> None:
    url, asked = "https://api.hyperbolic.xyz/v1/images/generations", {"model": "SD2", "prompt": "a tortoise"}
    refusal = WholeReply(422, {}, b'{"detail": []}')
    assert hyperbolic_images(url, asked, refusal)[1] is refusal
    with pytest.raises(UpstreamGarbled):
        hyperbolic_images(url, asked, WholeReply(200, {}, b'{"images": [{"index": 0}]}'))


def test_pictures_of_other_hosts_are_asked_for_as_they_are() -> None:
    requests, final = hyperbolic_images("https://host.example/v1/images/generations", {"model": "m", "prompt": "p"})
    assert (requests, json.loads(final.body)) == ([], {"model": "m", "prompt": "p"})
