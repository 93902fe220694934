"""What services that speak OpenAI's protocol say in words of their own, as recorded and documented."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi.relay import adaptors
from oneapi.relay.adaptor import Mode
from tests.relay.native import exchange, meaning

BY_NAME = {adaptor.name: adaptor for adaptor in adaptors.load().values()}
LONG = (400, "context_length_exceeded", False, "none")
NO_MODEL = (404, "model_not_found", True, "cool_model")


def read(row: str, status: int, body: bytes, headers: Any = None, mode: Mode = "chat") -> Any:
    parse_error = BY_NAME[row].endpoints[mode].codec.parse_error
    assert parse_error is not None
    return parse_error(status, headers or {}, body)


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        ("deepseek", "documented/deepseek/error-402", (402, "invalid_request_error", True, "disable")),
        ("deepseek", "documented/deepseek/error-422", (422, "invalid_request_error", False, "none")),
        ("deepseek", "documented/deepseek/error-503", (503, "invalid_request_error", True, "count")),
        ("deepseek", "deepseek/error-401", (401, "invalid_request_error", True, "disable")),
        ("doubao", "documented/doubao/error-400-content", (400, "content_filter", False, "none")),
        ("doubao", "documented/doubao/error-400-length", LONG),
        ("doubao", "documented/doubao/error-401", (401, "AuthenticationError", True, "disable")),
        ("doubao", "documented/doubao/error-404", (404, "InvalidEndpointOrModel.NotFound", True, "cool_model")),
        ("doubao", "documented/doubao/error-429", (429, "RateLimitExceeded.EndpointRPMExceeded", True, "cool")),
        ("groq", "documented/groq/error-413", (413, "rate_limit_exceeded", False, "none")),
        ("groq", "documented/groq/error-429", (429, "rate_limit_exceeded", True, "cool")),
        ("groq", "groq/error-401", (401, "invalid_api_key", True, "disable")),
        ("groq", "groq/error-404", NO_MODEL),
        ("mistral", "documented/mistral/error-422", (422, "bad_response_status_code", False, "none")),
        ("mistral", "documented/mistral/error-429", (429, "bad_response_status_code", True, "cool")),
        ("mistral", "mistral/error-400", NO_MODEL),
        ("mistral", "mistral/error-401", (401, "bad_response_status_code", True, "disable")),
        ("moonshot", "documented/moonshot/error-400-content", (400, None, False, "none")),
        ("moonshot", "documented/moonshot/error-400-length", LONG),
        ("moonshot", "documented/moonshot/error-401", (401, None, True, "disable")),
        ("moonshot", "documented/moonshot/error-404", (404, None, True, "cool_model")),
        ("moonshot", "documented/moonshot/error-429-overloaded", (429, None, True, "cool")),
        ("moonshot", "documented/moonshot/error-429-quota", (429, None, True, "disable")),
        ("moonshot", "documented/moonshot/error-429-rate", (429, None, True, "cool")),
        ("openrouter", "documented/openrouter/error-402", (402, 402, True, "disable")),
        ("openrouter", "openrouter/error-400", NO_MODEL),
        ("openrouter", "openrouter/error-401", (401, 401, True, "disable")),
        ("openrouter", "openrouter/error-429", (429, 429, True, "cool")),
        ("openrouter", "openrouter/error-context-length", LONG),
        ("together", "together/completions-error-400", (400, None, False, "none")),
        ("xai", "documented/xai/error-429", (402, "Some resource has been exhausted", True, "disable")),
        ("xai", "xai/error-400", (401, "Client specified an invalid argument", True, "disable")),
    ],
)
def test_refusals(row: str, name: str, expected: tuple[Any, ...]) -> None:
    found = exchange(name)
    assert meaning(read(row, found.status, found.body, found.headers)) == expected


def openai(message: str, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "t", "code": code, "param": "p"}}


@pytest.mark.parametrize(
    ("row", "status", "body", "expected"),
    [
        ("deepseek", 400, openai("This model's maximum context length is 65536 tokens."), LONG),
        ("doubao", 403, openai("m", "AccountOverdueError"), (402, "AccountOverdueError", True, "disable")),
        ("doubao", 429, openai("m", "QuotaExceeded"), (403, "QuotaExceeded", True, "cool_model")),
        ("doubao", 404, openai("m", "ModelNotOpen"), NO_MODEL),
        ("doubao", 400, openai("m", "InputTextSensitiveContentDetected"), (400, "content_filter", False, "none")),
        ("doubao", 400, openai("m", "OutputTextRiskDetection"), (400, "content_filter", False, "none")),
        ("together", 403, openai("Input token count + max_tokens parameter must be less than 8192"), LONG),
        ("siliconflow", 403, {"code": 30001, "message": "m", "data": None}, (402, 30001, True, "disable")),
        ("siliconflow", 400, {"code": 20012, "message": "Model does not exist.", "data": None}, NO_MODEL),
        ("siliconflow", 400, {"code": 20015, "message": "m", "data": None}, (400, 20015, False, "none")),
        ("novita", 403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "m"}, (402, 403, True, "disable")),
        ("novita", 403, {"code": 403, "reason": "FAILED_TO_AUTH", "message": "m"}, (401, 403, True, "disable")),
        ("novita", 404, {"code": 404, "reason": "MODEL_NOT_FOUND", "message": "m"}, NO_MODEL),
        ("novita", 403, openai("m", "model_access_denied"), NO_MODEL),
        ("novita", 403, {"code": 403, "reason": "MODEL_ACCESS_DENIED", "message": "m"}, NO_MODEL),
        ("novita", 400, {"code": 400, "reason": "INVALID_REQUEST_BODY", "message": "m"}, (400, 400, False, "none")),
        ("xai", 400, {"code": "c", "error": "Model not found: grok-9"}, NO_MODEL),
        ("xai", 400, {"code": "c", "error": "Each message must have a content"}, (400, "c", False, "none")),
    ],
)
def test_documented_words(row: str, status: int, body: Any, expected: tuple[Any, ...]) -> None:
    error = read(row, status, json.dumps(body).encode())
    assert meaning(error) == expected
    assert error.message


def test_a_rule_keeps_the_providers_own_words() -> None:
    error = read("doubao", 403, json.dumps(openai("m", "AccountOverdueError")).encode(), {"x-request-id": "1"})
    assert (error.message, error.provider_type, error.param) == ("m", "t", "p")
    assert error.headers == {"x-request-id": "1"}


def test_words_that_a_client_said_count_for_nothing() -> None:
    quoted = openai("Invalid value: 'Incorrect API key provided' and 'Your team has either used all available credits'")
    assert meaning(read("xai", 400, json.dumps(quoted).encode()))[2:] == (False, "none")


@pytest.mark.parametrize("row", ["novita", "xai", "doubao"])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"reason":[]}', b"[" * 5000])
def test_any_bytes_can_be_read(row: str, body: bytes) -> None:
    assert read(row, 502, body).message


def test_the_errors_of_all_modes_are_read_so() -> None:
    found = exchange("mistral/embed-error-400")
    assert meaning(read("mistral", found.status, found.body, found.headers, "embeddings")) == NO_MODEL
