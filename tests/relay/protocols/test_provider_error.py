"""Providers' refusals, whatever their shape, and how a client hears of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import (
    Forbidden,
    GatewayError,
    InsufficientQuota,
    InvalidRequest,
    NoChannel,
    NotFound,
    NotImplementedHere,
    RateLimited,
    Unauthenticated,
    UpstreamGarbled,
    UpstreamRejected,
    UpstreamUnreachable,
)
from oneapi.relay.protocols.openai_error import CREDENTIAL_CODE, render_error
from oneapi.relay.protocols.provider_error import MAX_MESSAGE, error_in, parse_error, retry_after_s


def parsed(body: Any, status: int = 400, **headers: str) -> UpstreamRejected:
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return parse_error(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


OPENAI = {"error": {"message": "No.", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}


def test_openais_shape_is_kept_word_for_word() -> None:
    error = parsed(OPENAI, 404)
    assert (error.message, error.provider_type, error.param) == ("No.", "invalid_request_error", "model")
    assert (error.provider_code, error.upstream_status, error.client_status) == ("model_not_found", 404, 404)
    assert render_error(error) == OPENAI


def test_what_openais_shape_leaves_out_is_empty_and_the_code_null() -> None:
    told = render_error(parsed({"error": {"message": "No."}}))["error"]
    assert told == {"message": "No.", "type": "", "param": "", "code": None}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "model not found"}, "model not found"),
        ({"error": ["a", "b"]}, "a"),
        ({"error": {"Message": "upper"}}, "upper"),
        ({"Error": {"message": "upper"}}, "upper"),
        ({"error": {"message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}}}, "Extra inputs"),
        ({"error": {"code": 7}}, '{"code": 7}'),
        ({"message": "plain"}, "plain"),
        ({"msg": "plain"}, "plain"),
        ({"err": "plain"}, "plain"),
        ({"error_msg": "plain", "error_code": 110}, "plain"),
        ({"header": {"code": 10013, "message": "illegal"}}, "illegal"),
        ({"response": {"error": {"message": "deep"}}}, "deep"),
        ({"Response": {"Error": {"Code": "AuthFailure", "Message": "Tencent"}}}, "Tencent"),
        ({"detail": "gone"}, "gone"),
        ({"detail": [{"loc": ["body", "model"], "msg": "Field required", "type": "missing"}]}, "Field required"),
        ({"success": False, "errors": [{"code": 10000, "message": "no"}], "result": None}, "no"),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"error": "invalid_client", "error_description": "unknown client id"}, "invalid_client"),
        (b"upstream connect error", "upstream connect error"),
        (b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>", "502 Bad Gateway"),
        (b"<!DOCTYPE html><body><script>var a</script><p>Access  denied</p></body>", "Access denied"),
        (b'"a text"', "a text"),
        (b"", "The provider answered with status 400 and no explanation."),
        (b"{}", "The provider answered with status 400 and no explanation."),
        (b"[[[[", "[[[["),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_words_are_found_in_every_shape(body: Any, message: str) -> None:
    assert parsed(body).message == message


def test_long_words_are_cut() -> None:
    assert len(parsed(b"x" * 100_000).message) == MAX_MESSAGE + 1


def test_codes_beside_the_words_are_kept() -> None:
    assert parsed({"error_msg": "plain", "error_code": 110}).provider_code == 110
    assert parsed({"error": "no", "code": "E1", "type": "bad"}).provider_code == "E1"
    assert parsed({"Response": {"Error": {"Code": "AuthFailure", "Message": "x"}}}).provider_code == "AuthFailure"
    assert parsed({"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}).param == "body.model"
    assert parsed({"error": {"message": "x", "param": 7}}).param == "7"


def test_another_shape_is_told_as_ours_with_the_status() -> None:
    assert render_error(parsed(b"overloaded", 503))["error"] == {
        "message": "overloaded",
        "type": "upstream_error",
        "param": "503",
        "code": "bad_response_status_code",
    }


@pytest.mark.parametrize(
    ("status", "error", "is_credential"),
    [
        (401, {"message": "Incorrect API key provided: sk-ab***"}, True),
        (402, {"message": "Insufficient Balance"}, True),
        (403, {"message": "Country, region, or territory not supported"}, True),
        (403, {"message": "Your input was flagged by moderation"}, False),
        (403, {"message": "x", "code": "content_policy_violation"}, False),
        (429, {"message": "x", "code": "insufficient_quota"}, True),
        (429, {"message": "x", "type": "exceeded_current_quota_error"}, True),
        (429, {"message": "Rate limit reached", "code": "rate_limit_exceeded"}, False),
        (400, {"message": "x", "code": "invalid_api_key"}, True),
        (400, {"message": "invalid_api_key is not a valid stop word"}, False),
        (500, {"message": "x"}, False),
    ],
)
def test_a_refused_key_is_known_by_status_type_and_code_never_by_words(
    status: int, error: dict[str, str], is_credential: bool
) -> None:
    found = parsed({"error": error}, status)
    assert found.is_credential is is_credential
    assert found.client_status == (502 if is_credential else status)


def test_a_refused_key_is_not_the_clients_and_its_words_stay_here() -> None:
    told = render_error(parsed({"error": {"message": "Incorrect API key provided: sk-ab***"}}, 401))["error"]
    assert "sk-ab" not in json.dumps(told)
    assert (told["code"], told["upstream_status"]) == (CREDENTIAL_CODE, 401)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "x", "code": 429}}, 429),
        ({"error": {"message": "x", "code": "400"}}, 400),
        ({"error": {"message": "x", "type": "overloaded_error"}}, 503),
        ({"error": {"message": "x", "type": "server_error"}}, 500),
        ({"error": {"message": "x", "code": "insufficient_quota"}}, 402),
        ({"error": {"message": "x", "code": "content_filter"}}, 400),
        ({"error": {"message": "x"}}, 200),
    ],
)
def test_an_error_inside_a_200_has_the_status_it_means(body: Any, status: int) -> None:
    error = error_in(body)
    assert error is not None
    assert error.upstream_status == status
    assert error.client_status == (502 if status in (200, 402) else status)


def test_no_error_is_none() -> None:
    assert error_in({"choices": []}) is None
    assert error_in({"id": "x"}) is None


_KEYS = st.sampled_from(["error", "message", "detail", "code", "type", "errors", "x"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(_VALUES)
def test_no_json_is_too_odd(value: Any) -> None:
    error = parsed(value)
    assert error.message
    json.dumps(render_error(error))


# ---- when to come back ----


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "20"}, 20.0),
        (503, {"retry-after": "1.5"}, 1.5),
        (429, {"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        (429, {"retry-after": "Wed, 25 Nov 2026 03:00:30 GMT", "date": "Wed, 25 Nov 2026 03:00:00 GMT"}, 30.0),
        (429, {"retry-after": "Wed, 25 Nov 2026 03:00:30 GMT"}, None),
        (429, {"retry-after": "-5"}, 0.0),
        (429, {"retry-after": "999999999"}, 86400.0),
        (429, {"retry-after": "nan"}, None),
        (429, {"retry-after": "soon"}, None),
        (429, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (429, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms"}, 0.12),
        (429, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        (429, {"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1s"}, None),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, None),
        (429, {}, None),
    ],
)
def test_the_wait_is_read_from_headers(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(status, headers) == (None if seconds is None else pytest.approx(seconds))
    assert parse_error(status, headers, b"x").retry_after_s == retry_after_s(status, headers)


# ---- our own errors ----


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (Unauthenticated("no token"), 401, {"message": "no token", "type": "one_api_error"}),
        (Forbidden("not yours"), 403, {"message": "not yours", "type": "one_api_error"}),
        (NoChannel("none"), 503, {"message": "none", "type": "one_api_error"}),
        (InsufficientQuota("empty"), 403, {"type": "one_api_error", "param": "", "code": "insufficient_user_quota"}),
        (
            InvalidRequest("wrong", param="n"),
            400,
            {"message": "wrong", "type": "one_api_error", "param": "n", "code": "invalid_text_request"},
        ),
        (NotImplementedHere("no"), 501, {"type": "one_api_error", "param": "", "code": "api_not_implemented"}),
        (RateLimited("slow"), 429, {"type": "one_api_error", "code": "rate_limit_exceeded"}),
        (NotFound("GET /v1/x"), 404, {"type": "invalid_request_error", "param": "", "code": ""}),
        (
            NotFound("no such model", code="model_not_found", param="model"),
            404,
            {"type": "invalid_request_error", "param": "model", "code": "model_not_found"},
        ),
        (UpstreamUnreachable("silent"), 504, {"type": "one_api_error", "code": "do_request_failed"}),
        (UpstreamGarbled("cut"), 502, {"type": "one_api_error", "code": "bad_response"}),
        (GatewayError("bug"), 500, {"type": "one_api_error", "code": "server_error"}),
    ],
)
def test_our_own_errors_have_one_apis_envelope(error: GatewayError, status: int, told: dict[str, Any]) -> None:
    envelope = render_error(error)["error"]
    assert {name: envelope[name] for name in told} == told
    assert error.client_status == status
    if error.is_bare:
        assert set(envelope) == {"message", "type"}
