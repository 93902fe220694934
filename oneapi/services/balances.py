"""What is left at a provider, asked by the requests that its adaptor declares. Source: spec management.md §9.2."""

from __future__ import annotations

from sqlalchemy import Engine

from oneapi.errors import GatewayError
from oneapi.relay.adaptor import Credentials
from oneapi.relay.exchange import Channel
from oneapi.relay.upstream import Upstream
from oneapi.services import channels
from oneapi.services.refusal import Refusal


def refresh(engine: Engine, upstream: Upstream, channel: Channel, *, now: int) -> float:
    """The balance in the provider's own currency, stored. Raises Refusal where it cannot be had."""
    adaptor = channel.adaptor
    if adaptor.balance_requests is None or adaptor.parse_balance is None:
        raise Refusal("balance_not_offered", type=adaptor.label)
    credentials = Credentials(channel.key, channel.fields)
    try:
        asked = adaptor.balance_requests(channel.base_url, credentials, now)
        replies = tuple(upstream.send_whole(request, channel) for request in asked)
        balance = adaptor.parse_balance(replies)
    except GatewayError as error:
        raise Refusal("balance_unknown", reason=error.message) from error
    channels.record_balance(engine, channel.id, balance, now=now)
    return balance
