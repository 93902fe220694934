"""The path of a call: who is asked, what the client sees, what is charged, what the channel's health is told."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from oneapi.errors import (
    ClientGone,
    Draining,
    Forbidden,
    GatewayError,
    InsufficientQuota,
    InvalidRequest,
    NoChannel,
    RateLimited,
    UpstreamGarbled,
    UpstreamRejected,
    UpstreamUnreachable,
)
from oneapi.options import Options
from oneapi.relay import pipeline
from oneapi.relay.routing import verdict
from tests.relay.world import Wait, World, drained

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
COST = 350  # gpt-4o: (100 + 10 × 4) × 2.5


def body(**fields: Any) -> bytes:
    request = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello there"}], **fields}
    return json.dumps(request).encode()


def chunk(content: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    delta = {"role": "assistant"} if content is None and finish is None else {}
    if content is not None:
        delta["content"] = content
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "c1", "choices": choices, **fields}).encode() + b"\n\n"


ROLE, ONE, TWO, STOP = chunk(), chunk("one two"), chunk(" three"), chunk(finish="stop")
USAGE_CHUNK = b"data: " + json.dumps({"id": "c1", "choices": [], "usage": USAGE}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"
WHOLE = json.dumps({"id": "c1", "choices": [{"index": 0, "message": {"content": "one two"}}], "usage": USAGE}).encode()
GOOD_STREAM = (200, SSE, ROLE, ONE, TWO, STOP, USAGE_CHUNK, DONE)
GOOD = (200, JSON, WHOLE)


def rejected(status: int, kind: str = "server_error", **headers: str) -> tuple[Any, ...]:
    error = {"error": {"message": "no", "type": kind, "param": None, "code": kind}}
    return (status, {**JSON, **headers}, json.dumps(error).encode())


def ask(world: World, **fields: Any) -> bytes:
    reply = pipeline.relay(world.call(), lambda: body(**fields), world.ports())
    return drained(reply)


# ---- one answer ----


def test_a_whole_answer_passes_untouched_and_is_charged_by_its_usage() -> None:
    world = World({1: [GOOD]})
    assert ask(world) == WHOLE
    assert [s.quota for s in world.settled] == [COST]
    assert world.balance == 10**9 - COST
    assert world.sent[0].body == body()


def test_a_stream_passes_untouched_when_the_client_asked_for_usage() -> None:
    world = World({1: [GOOD_STREAM]})
    sent = ask(world, stream=True, stream_options={"include_usage": True})
    assert sent == ROLE + ONE + TWO + STOP + USAGE_CHUNK + DONE
    assert world.settled[0].quota == COST
    assert world.settled[0].is_answered


def test_the_usage_chunk_we_asked_for_is_kept_from_the_client() -> None:
    world = World({1: [GOOD_STREAM]})
    assert ask(world, stream=True) == ROLE + ONE + TWO + STOP + DONE
    assert json.loads(world.sent[0].body)["stream_options"] == {"include_usage": True}
    assert world.settled[0].quota == COST


def test_a_stream_without_usage_is_counted_from_what_was_sent() -> None:
    world = World({1: [(200, SSE, ROLE, ONE, TWO, STOP, DONE)]})
    ask(world, stream=True)
    receipt = world.settled[0].log
    assert receipt is not None
    assert receipt.completion_tokens == 3  # this world counts words


def test_the_last_event_waits_for_the_settlement() -> None:
    world = World({1: [GOOD_STREAM]})
    reply = pipeline.relay(world.call(), lambda: body(stream=True), world.ports())
    seen = []
    for piece in reply.body:
        seen.append((piece, len(world.settled)))
    reply.close()
    assert seen[-1] == (DONE, 1)
    assert all(settled == 0 for piece, settled in seen[:-1])


def test_done_is_said_for_a_provider_that_ends_without_it() -> None:
    world = World({1: [(200, SSE, ROLE, ONE, STOP, USAGE_CHUNK)]})
    assert ask(world, stream=True).endswith(STOP + DONE)
    assert world.settled[0].quota == COST


def test_events_cut_anywhere_come_out_whole() -> None:
    raw = ROLE + ONE + TWO + STOP + USAGE_CHUNK + DONE
    for cut in range(1, len(raw)):
        world = World({1: [(200, SSE, raw[:cut], raw[cut:])]})
        assert ask(world, stream=True, stream_options={"include_usage": True}) == raw
        assert world.settled[0].quota == COST


# ---- the matrix of failures ----

BEFORE = {
    "cannot connect": UpstreamUnreachable("no route"),
    "500": rejected(500),
    "408": rejected(408),
    "429": rejected(429, "rate_limit_exceeded"),
    "401": rejected(401, "invalid_api_key"),
    "402": rejected(402, "insufficient_balance"),
    "403": rejected(403, "moderation"),
    "404 of the model": (
        404,
        JSON,
        b'{"error":{"message":"The model is unknown","code":"model_not_found"}}',
    ),
    "cut head": (200, SSE, UpstreamGarbled("cut")),
    "error in a 200": (200, JSON, b'{"error":{"message":"overloaded","type":"server_error","code":"x"}}'),
    "empty": (200, SSE),
    "role only": (200, SSE, ROLE),
    "silence": (200, SSE, Wait(30.0), UpstreamUnreachable("silent", phase="idle")),
    "error event first": (200, SSE, ROLE, b'data: {"error":{"message":"boom","type":"server_error","code":"x"}}\n\n'),
}
BLAME = {
    "cannot connect": "count",
    "500": "count",
    "408": "count",
    "429": "cool",
    "401": "disable",
    "402": "disable",
    "403": "cool_model",
    "404 of the model": "cool_model",
    "cut head": "count",
    "error in a 200": "count",
    "empty": "count",
    "role only": "count",
    "silence": "count",
    "error event first": "count",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", BEFORE)
def test_a_failure_before_content_goes_to_the_next_channel(failure: str, stream: bool) -> None:
    if not stream and failure in ("role only", "error event first"):
        pytest.skip("a stream's own failure")
    world = World({1: [BEFORE[failure]], 2: [GOOD_STREAM if stream else GOOD]}, priorities={1: 9})
    answer = ask(world, stream=stream)
    assert world.asked == [1, 2]
    assert answer.endswith(DONE if stream else WHOLE)
    assert [s.quota for s in world.settled] == [COST]
    (exchange,) = world.observed
    assert verdict(exchange.attempts[0].error).blame == BLAME[failure]
    assert not world.holds


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 404, 413, 422, 418])
def test_the_clients_own_mistake_is_told_at_once_and_blames_nobody(status: int, stream: bool) -> None:
    world = World({1: [rejected(status, "invalid_request_error")], 2: [GOOD]}, priorities={1: 9})
    with pytest.raises(UpstreamRejected) as raised:
        ask(world, stream=stream)
    assert raised.value.client_status == status
    assert world.asked == [1]
    assert [s.quota for s in world.settled] == [0]
    assert verdict(raised.value).blame == "none"
    assert world.balance == 10**9


def test_when_all_fail_the_last_error_is_told_and_nothing_charged() -> None:
    world = World({1: [rejected(500)], 2: [rejected(503)], 3: [rejected(429, "rate_limit_exceeded")]})
    with pytest.raises(UpstreamRejected):
        ask(world)
    assert sorted(world.asked) == [1, 2, 3]
    assert world.balance == 10**9


def test_a_refused_key_of_ours_is_not_told_while_another_failure_can_be() -> None:
    world = World(
        {1: [rejected(429, "rate_limit_exceeded", **{"retry-after": "7"})], 2: [rejected(401, "invalid_api_key")]},
        priorities={1: 9},
    )
    with pytest.raises(UpstreamRejected) as raised:
        ask(world)
    assert (raised.value.client_status, raised.value.retry_after_s) == (429, 7)


def test_our_own_refused_key_is_a_502() -> None:
    world = World({1: [rejected(401, "invalid_api_key")]})
    with pytest.raises(UpstreamRejected) as raised:
        ask(world)
    assert raised.value.client_status == 502


AFTER = {
    "cut": UpstreamGarbled("cut"),
    "reset": UpstreamUnreachable("reset", phase="idle"),
    "error event": b'data: {"error":{"message":"boom","type":"server_error","code":"x"}}\n\n',
    "ends early": None,
}


@pytest.mark.parametrize("failure", AFTER)
def test_a_failure_after_content_is_an_error_event_and_charges_what_was_delivered(failure: str) -> None:
    script = [200, SSE, ROLE, ONE] + ([AFTER[failure]] if AFTER[failure] is not None else [])
    world = World({1: [tuple(script)], 2: [GOOD_STREAM]}, priorities={1: 9})
    answer = ask(world, stream=True, model="gpt-3.5-turbo")
    assert world.asked == [1]
    assert answer.startswith(ROLE + ONE)
    assert DONE not in answer
    (event,) = answer.removeprefix(ROLE + ONE).strip().split(b"\n\n")
    assert "request id: request-1" in json.loads(event.removeprefix(b"data: "))["error"]["message"]
    (settlement,) = world.settled
    assert settlement.log is not None and settlement.log.completion_tokens == 2
    assert settlement.quota > 0
    (exchange,) = world.observed
    assert verdict(exchange.error or exchange.attempts[-1].error, has_begun=True).blame == "count"


def test_a_fault_of_our_own_in_a_stream_is_told_logged_and_settled(caplog: pytest.LogCaptureFixture) -> None:
    world = World({1: [(200, SSE, ROLE, ONE, RuntimeError("a secret of ours"))]})
    answer = ask(world, stream=True, model="gpt-3.5-turbo")
    (event,) = answer.removeprefix(ROLE + ONE).strip().split(b"\n\n")
    assert "request id: request-1" in json.loads(event.removeprefix(b"data: "))["error"]["message"]
    assert b"secret" not in answer
    (record,) = caplog.records
    assert "request-1" in record.getMessage()
    assert record.exc_info is not None
    (settlement,) = world.settled
    assert settlement.log is not None and settlement.log.completion_tokens == 2
    assert '"error":"RuntimeError"' in (settlement.log.receipt or "")


def test_what_came_in_one_read_with_an_error_is_still_the_clients() -> None:
    script = (200, SSE, ROLE, ONE, TWO + b'data: {"error": {"message": "no", "type": "server_error"}}\n\n')
    world = World({1: [script]})
    answer = ask(world, stream=True, model="gpt-3.5-turbo")
    assert answer.startswith(ROLE + ONE + TWO)
    assert b'"message":"no (request id: request-1)"' in answer
    (settlement,) = world.settled
    assert settlement.log is not None and settlement.log.completion_tokens == 3


# ---- silence ----


def test_a_silent_stream_is_kept_alive_by_comments() -> None:
    world = World({1: [(200, SSE, ROLE, ONE, Wait(40.0), TWO, STOP, USAGE_CHUNK, DONE)]})
    answer = ask(world, stream=True)
    assert answer.count(b": keep-alive\n\n") == 2
    assert answer.replace(b": keep-alive\n\n", b"") == ROLE + ONE + TWO + STOP + DONE


def test_after_a_comment_the_next_channel_is_still_asked() -> None:
    world = World({1: [(200, SSE, ROLE, Wait(20.0), UpstreamGarbled("cut"))], 2: [GOOD_STREAM]}, priorities={1: 9})
    answer = ask(world, stream=True)
    assert answer == b": keep-alive\n\n" + ROLE + ONE + TWO + STOP + DONE
    assert world.asked == [1, 2]


def test_after_a_comment_the_failure_of_the_last_channel_is_an_event() -> None:
    world = World({1: [(200, SSE, Wait(20.0), UpstreamGarbled("cut"))]})
    answer = ask(world, stream=True)
    comment, _, event = answer.partition(b"\n\n")
    assert comment == b": keep-alive"
    assert b'"error"' in event and DONE not in event
    assert [s.quota for s in world.settled] == [0]


def test_comments_of_the_provider_pass_with_the_content() -> None:
    hint = b": PROCESSING\n\n"
    world = World({1: [(200, SSE, hint, hint, ROLE, ONE, STOP, USAGE_CHUNK, DONE)]})
    assert ask(world, stream=True) == hint + hint + ROLE + ONE + STOP + DONE


def test_no_new_attempt_begins_a_minute_after_the_call() -> None:
    world = World({1: [(200, SSE, Wait(70.0), UpstreamGarbled("cut"))], 2: [GOOD_STREAM]}, priorities={1: 9})
    answer = ask(world, stream=True)
    assert world.asked == [1]
    assert b'"error"' in answer


def test_a_call_that_does_not_stream_waits_without_comments() -> None:
    world = World({1: [(200, JSON, Wait(100.0), WHOLE)]})
    assert ask(world) == WHOLE


@pytest.mark.parametrize("silence_s", [0.0, 20.0])
def test_an_answer_that_came_whole_although_a_stream_was_asked_for(silence_s: float) -> None:
    """whisper-1 ignores `stream`, for one; after a comment the answer can only be an event."""
    request = json.dumps({"model": "gpt-3.5-turbo", "prompt": "hello there", "stream": True}).encode()
    world = World({1: [(200, JSON, *([Wait(silence_s)] if silence_s else []), WHOLE)]})
    reply = pipeline.relay(world.call("completions", "/v1/completions"), lambda: request, world.ports())
    said = drained(reply)
    if silence_s:
        assert said == b": keep-alive\n\n" + b"data: " + WHOLE + b"\n\n" + DONE
    else:
        assert (said, ("content-type", "application/json") in reply.headers) == (WHOLE, True)
    (settlement,) = world.settled
    assert settlement.log is not None
    assert (settlement.log.prompt_tokens, settlement.log.completion_tokens) == (100, 10)


# ---- clients that leave, workers that stop ----


def test_a_client_that_leaves_in_the_middle_pays_for_what_it_got() -> None:
    world = World({1: [GOOD_STREAM]})
    reply = pipeline.relay(world.call(), lambda: body(stream=True), world.ports())
    next(iter(reply.body))
    reply.close()
    (settlement,) = world.settled
    assert settlement.quota > 0
    assert world.replies[0].is_closed
    (exchange,) = world.observed
    assert verdict(exchange.error or ClientGone(), has_begun=True).blame == "none"


def test_draining_charges_the_providers_usage_although_the_client_left() -> None:
    world = World({1: [GOOD_STREAM]}, options=Options(ext_aborted_stream_policy="drain"))
    reply = pipeline.relay(world.call(), lambda: body(stream=True), world.ports())
    next(iter(reply.body))
    reply.close()
    assert [s.quota for s in world.settled] == [COST]


def test_a_client_that_leaves_before_anything_came_pays_nothing() -> None:
    world = World({1: [(200, SSE, ROLE, Wait(1.0), ClientGone())]})
    with pytest.raises(ClientGone):
        ask(world, stream=True)
    assert [s.quota for s in world.settled] == [0]
    assert world.replies[0].is_closed


def test_a_body_never_started_is_settled_by_close() -> None:
    world = World({1: [GOOD_STREAM]})
    reply = pipeline.relay(world.call(), lambda: body(stream=True), world.ports())
    reply.close()
    reply.close()
    assert len(world.settled) == 1
    assert not world.holds


@pytest.mark.parametrize("ended", [ClientGone(), Draining()])
def test_a_call_that_is_ended_while_its_tokens_are_counted_is_settled_all_the_same(ended: BaseException) -> None:
    world = World({1: [(200, SSE, ROLE, ONE, TWO)]})
    interruptions = [ended]

    def count(text: str, model: str) -> int:
        if interruptions:
            raise interruptions.pop()
        return len(text.split())

    reply = pipeline.relay(world.call(), lambda: body(stream=True), world.ports(count_tokens=count))
    next(iter(reply.body))
    reply.close()
    assert not interruptions
    assert [settlement.quota > 0 for settlement in world.settled] == [True]
    assert not world.holds


def test_a_worker_that_stops_while_it_drains_a_stream_charges_what_was_delivered() -> None:
    options = Options(ext_aborted_stream_policy="drain")
    world = World({1: [(200, SSE, ROLE, ONE, Draining())]}, options=options)
    reply = pipeline.relay(world.call(), lambda: body(stream=True), world.ports())
    next(iter(reply.body))
    reply.close()
    assert [settlement.quota > 0 for settlement in world.settled] == [True]
    assert not world.holds


def test_a_stopping_worker_tells_the_client_and_charges_what_was_delivered() -> None:
    world = World({1: [(200, SSE, ROLE, ONE, Draining())]})
    answer = ask(world, stream=True)
    assert b"restarting" in answer and DONE not in answer
    assert world.settled[0].quota > 0


def test_a_worker_killed_while_a_whole_answer_is_awaited_gives_the_hold_back() -> None:
    world = World({1: [(200, JSON, Draining())]})
    with pytest.raises(Draining):
        ask(world)
    assert world.balance == 10**9


# ---- before money moves ----


def test_a_balance_that_does_not_reach_is_refused_before_anybody_is_asked() -> None:
    world = World({1: [GOOD]}, balance=10)
    with pytest.raises(InsufficientQuota):
        ask(world)
    assert world.asked == []


def test_an_exact_count_decides_where_the_estimate_would_refuse() -> None:
    long = "word " * 400
    world = World({1: [GOOD]}, balance=10**9)
    request = body(messages=[{"role": "user", "content": long}])
    drained(pipeline.relay(world.call(), lambda: request, world.ports()))
    estimated = world.reserved[0]
    tight = World({1: [GOOD]}, balance=estimated - 1)
    drained(pipeline.relay(tight.call(), lambda: request, tight.ports()))
    assert tight.reserved[0] < estimated


def test_an_unknown_model_has_no_channel() -> None:
    world = World({1: [GOOD]})
    with pytest.raises(NoChannel):
        ask(world, model="nobody-serves-this")
    assert world.settled == []


def test_a_token_may_be_limited_to_models() -> None:
    from dataclasses import replace

    world = World({1: [GOOD]})
    world.caller = replace(world.caller, models=frozenset({"gpt-3.5-*"}))
    with pytest.raises(Forbidden):
        ask(world)
    world.scripts[1] = [GOOD]
    assert ask(world, model="gpt-3.5-turbo") == WHOLE


@pytest.mark.parametrize("bad", [b"", b"[]", b"{", b"null", b"\xff\xfe{}", b'{"model": 5}', b"x" * 100])
def test_a_bad_body_is_refused_without_a_hold(bad: bytes) -> None:
    world = World({1: [GOOD]})
    with pytest.raises(InvalidRequest):
        pipeline.relay(world.call(), lambda: bad, world.ports())
    assert world.reserved == []


# ---- what changes on the way ----


def test_a_mapped_model_is_sent_and_unknown_fields_survive() -> None:
    world = World({1: [GOOD]}, mappings={1: {"gpt-4o": "my-gpt"}})
    ask(world, future_field={"x": [1, None, 10**25]})
    sent = json.loads(world.sent[0].body)
    assert (sent["model"], sent["future_field"]) == ("my-gpt", {"x": [1, None, 10**25]})


def test_a_channels_prompt_does_not_leak_into_the_next_attempt() -> None:
    world = World({1: [rejected(500)], 2: [GOOD]}, priorities={1: 9}, prompts={1: "Be brief."})
    ask(world)
    first, second = (json.loads(request.body) for request in world.sent)
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert second["messages"][0]["role"] == "user"
    assert world.settled[0].log is not None and not world.settled[0].log.system_prompt_reset


def test_channels_that_cool_down_are_asked_last() -> None:
    world = World({1: [GOOD], 2: [GOOD]}, priorities={1: 9}, cooling={(1, "gpt-4o")})
    ask(world)
    assert world.asked == [2]


def test_each_attempt_stands_in_the_receipt() -> None:
    world = World({1: [rejected(500)], 2: [GOOD]}, priorities={1: 9})
    ask(world)
    log = world.settled[0].log
    assert log is not None and log.receipt is not None
    attempts = json.loads(log.receipt)["attempts"]
    assert [(attempt["channel"], attempt["status"]) for attempt in attempts] == [(1, 500), (2, 200)]
    assert log.channel_id == 2


def test_every_error_leaves_the_hold_given_back() -> None:
    for failure in BEFORE.values():
        world = World({1: [failure]}, options=Options(retry_times=0))
        with contextlib.suppress(GatewayError):
            ask(world, stream=True)
        assert (world.holds, world.balance) == ({}, 10**9)


# ---- limits ----


def test_a_caller_beyond_his_limits_costs_nothing_and_asks_nobody() -> None:
    world = World({1: [GOOD]})

    def refuse(caller: Any, head: Any) -> None:
        raise RateLimited("Too much.", retry_after_s=3)

    with pytest.raises(RateLimited):
        pipeline.relay(world.call(), body, world.ports(admit=refuse))
    assert (world.asked, world.reserved, world.balance) == ([], [], 10**9)


@pytest.mark.parametrize("balance", [10**9, 0])
@pytest.mark.parametrize("script", [GOOD, rejected(400)])
def test_a_call_that_was_counted_in_is_counted_out_once(balance: int, script: tuple[Any, ...]) -> None:
    world = World({1: [script]}, balance=balance)
    out: list[Any] = []
    with contextlib.suppress(GatewayError):
        drained(pipeline.relay(world.call(), body, world.ports(admit=lambda caller, head: out.append)))
    assert out == world.observed
    assert len(out) == 1


def test_a_stream_is_counted_out_when_it_ends() -> None:
    world = World({1: [GOOD_STREAM]})
    out: list[Any] = []
    reply = pipeline.relay(world.call(), lambda: body(stream=True), world.ports(admit=lambda caller, head: out.append))
    assert out == []
    drained(reply)
    assert len(out) == 1


# ---- what the provider has no place for ----

SAID = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "one two"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 100, "output_tokens": 10},
}


def test_what_the_provider_has_no_place_for_is_named_in_a_header() -> None:
    world = World({1: [(200, JSON, json.dumps(SAID).encode())]}, channel_type=14)
    reply = pipeline.relay(world.call(), lambda: body(logit_bias={"1": 2}), world.ports())
    assert ("X-OneAPI-Dropped", "logit_bias") in reply.headers
    assert b"one two" in drained(reply)


def test_whoever_asks_strictly_is_refused_instead() -> None:
    world = World({1: [(200, JSON, json.dumps(SAID).encode())]}, channel_type=14)
    with pytest.raises(InvalidRequest, match="logit_bias"):
        pipeline.relay(world.call(**{"x-oneapi-strict": "true"}), lambda: body(logit_bias={"1": 2}), world.ports())
    assert world.sent == [] and world.balance == 10**9
