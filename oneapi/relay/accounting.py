"""What a finished exchange costs, and the log row that says so. Pure: reads the exchange, gives a Settlement.

Source: docs/architecture.md §4 (ends of a stream); spec relay.md §4.8 (columns of the log).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from oneapi.errors import GatewayError
from oneapi.options import Options
from oneapi.relay import ir
from oneapi.relay.adaptor import Mode
from oneapi.relay.exchange import Attempt, Exchange, LogEntry, Settlement
from oneapi.relay.head import Head
from oneapi.relay.pricing import Bill, bill

LOG_CONSUMPTION = 2
LOG_FAILURE = 6

_RECEIPT_VERSION = 1
# What the other modes cost, the request itself says where the provider does not.
_COUNTED_MODES: frozenset[Mode] = frozenset(
    {"chat", "completions", "edits", "embeddings", "moderations", "rerank", "transcription", "translation"}
)


def settlement(exchange: Exchange, options: Options, now: float, elapsed_s: float) -> Settlement:
    """What becomes of the hold: nothing is charged for an answer that never began."""
    route, head = exchange.route, exchange.head
    channel_id = route.channel.id if route else 0
    if not exchange.has_begun or route is None or head is None:
        failure = _entry(exchange, now, elapsed_s, type=LOG_FAILURE, content=_said(exchange.error))
        return Settlement(
            quota=0, channel_id=channel_id, is_answered=False, log=failure if options.ext_log_failures else None
        )
    usage = _usage(exchange, head)
    cost = bill(head, usage, route.price, exchange.group_ratio)
    if not options.log_consume_enabled:
        return Settlement(quota=cost.quota, channel_id=channel_id)
    price = route.price
    entry = _entry(
        exchange,
        now,
        elapsed_s,
        type=LOG_CONSUMPTION,
        content=f"倍率：{price.input:.2f} × {exchange.group_ratio:.2f} × {price.completion:.2f}",
        quota=cost.quota,
        prompt_tokens=usage.input_tokens if usage else 0,
        completion_tokens=usage.output_tokens if usage else 0,
        bill=cost,
    )
    return Settlement(quota=cost.quota, channel_id=channel_id, log=entry)


def _usage(exchange: Exchange, head: Head) -> ir.Usage | None:
    """The provider's usage; where it gave none, or the answer was cut before it could, what was sent is counted."""
    usage = exchange.usage
    if usage is None:
        if head.mode not in _COUNTED_MODES:
            return None
        return ir.Usage(
            input_tokens=exchange.count_input(), output_tokens=exchange.count_output(), is_counted_here=True
        )
    if exchange.is_whole:
        return usage
    return replace(
        usage,
        input_tokens=usage.input_tokens or exchange.count_input(),
        output_tokens=max(usage.output_tokens, exchange.count_output()),
    )


def _entry(
    exchange: Exchange, now: float, elapsed_s: float, *, type: int, content: str, bill: Bill | None = None, **more: int
) -> LogEntry:
    call, caller, route = exchange.call, exchange.caller, exchange.route
    first = exchange.first_content_s
    return LogEntry(
        user_id=caller.user_id,
        created_at=int(now),
        type=type,
        content=content,
        username=caller.username,
        token_name=caller.token_name,
        token_id=caller.token_id,
        model_name=route.model if route else exchange.model,
        requested_model=exchange.model,
        channel_id=route.channel.id if route else 0,
        request_id=call.request_id,
        elapsed_time=round(elapsed_s * 1000),
        first_token_ms=None if first is None else round((first - call.received_s) * 1000),
        is_stream=exchange.is_stream,
        system_prompt_reset=exchange.system_prompt_reset,
        receipt=msgspec.json.encode(_receipt(exchange, bill)).decode(),
        **more,
    )


def _receipt(exchange: Exchange, bill: Bill | None) -> dict[str, Any]:
    """How the price came about: the bill (which pricing.recompute proves), what was held, and who was asked."""
    receipt: dict[str, Any] = {
        "version": _RECEIPT_VERSION,
        **(bill.receipt() if bill is not None else {}),
        "held": exchange.hold.user_quota if exchange.hold else 0,
        "result": _result(exchange),
        "attempts": [_attempt(attempt) for attempt in exchange.attempts],
    }
    if exchange.upstream_id:
        receipt["upstream_id"] = exchange.upstream_id
    if exchange.dropped:
        receipt["dropped"] = exchange.dropped
    if exchange.error is not None:
        receipt["error"] = _said(exchange.error)
    return receipt


def _result(exchange: Exchange) -> str:
    if exchange.is_whole:
        return "whole"
    return "aborted" if exchange.has_begun else "failed"


def _attempt(attempt: Attempt) -> dict[str, Any]:
    told: dict[str, Any] = {"channel": attempt.channel_id, "status": attempt.status, "ms": attempt.elapsed_ms}
    if attempt.error is not None:
        told["error"] = _said(attempt.error)
    return told


def _said(error: BaseException | None) -> str:
    """The error in a line, for operators. A fault of our own is named by its kind alone; the log file has the rest."""
    if error is None:
        return ""
    return f"{error.client_status}: {error.message}"[:500] if isinstance(error, GatewayError) else type(error).__name__
