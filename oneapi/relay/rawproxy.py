"""`/v1/oneapi/proxy/{channel}/…`: a request that goes to a channel's provider as it is, and its answer likewise.

Source: spec relay.md §1.7 with the defects of §9.1 row 6 mended: administrators only, no cookies and no hop-by-hop
headers across, a log row for each call. It is never retried and costs nothing: the gateway does not know what it buys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from oneapi.errors import Forbidden, GatewayError
from oneapi.relay.adaptor import Credentials, UpstreamRequest
from oneapi.relay.exchange import Call, Exchange, LogEntry, Ports, Reply, Settlement, UpstreamReply
from oneapi.relay.paths import without_key

_ROLE_ADMIN = 10
_LOG_TYPE_CONSUME = 2
_FOREVER_S = 86_400.0
_PREFIX_PARTS = 5  # /v1/oneapi/proxy/<id>/rest
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
_NOT_SENT = _HOP_BY_HOP | {
    "accept-encoding",
    "api-key",
    "authorization",
    "content-length",
    "cookie",
    "host",
    "proxy-authorization",
    "x-api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-goog-api-key",
    "x-real-ip",
}
_NOT_RETURNED = _HOP_BY_HOP | {
    "content-encoding",
    "content-length",
    "date",
    "proxy-authenticate",
    "server",
    "set-cookie",
    "x-oneapi-request-id",
}


def relay(call: Call, read_body: Callable[[], bytes], ports: Ports) -> Reply:
    """Carries one request across. Raises Forbidden for others than administrators and for channels that are off."""
    caller = ports.authenticate(call)
    if caller.role < _ROLE_ADMIN:
        raise Forbidden("Only administrators may use the raw proxy.")
    channel = None if call.channel_id is None else ports.directory().channel(call.channel_id)
    if channel is None:
        raise Forbidden(f"Channel {call.channel_id} does not exist or is disabled.")
    target = "/" + call.path.split("/", _PREFIX_PARTS)[_PREFIX_PARTS] if call.path.count("/") >= _PREFIX_PARTS else ""
    query = without_key(call.query)
    request = UpstreamRequest(
        method=call.method,
        url=channel.base_url + target + (f"?{query}" if query else ""),
        headers={name: value for name, value in call.headers.items() if name not in _NOT_SENT},
        body=read_body(),
    )
    credentials = Credentials(channel.key, channel.fields, ports.credentials_token(channel))
    exchange = Exchange(call=call, caller=caller, model="", is_stream=True)
    exchange.hold = ports.reserve(caller, 0, call.request_id)
    reply: UpstreamReply | None = None

    def close() -> None:
        if exchange.hold is not None and not exchange.is_settled:
            exchange.is_settled = True
            entry = LogEntry(
                user_id=caller.user_id,
                created_at=int(call.received_at),
                type=_LOG_TYPE_CONSUME,
                content=f"{call.method} {target}",
                username=caller.username,
                token_name=caller.token_name,
                token_id=caller.token_id,
                channel_id=channel.id,
                request_id=call.request_id,
                elapsed_time=round((ports.monotonic() - call.received_s) * 1000),
            )
            ports.settle(exchange.hold, Settlement(quota=0, channel_id=channel.id, log=entry))
        if reply is not None:
            reply.close()

    try:
        reply = ports.send(channel.adaptor.sign(request, credentials, ports.now()), channel, True)
        reply.wait(_FOREVER_S)
    except BaseException:
        close()
        raise
    headers = tuple((name, value) for name, value in reply.headers.items() if _is_returned(name))
    return Reply(status=reply.status, headers=headers, body=_bytes(reply), close=close)


def _is_returned(name: str) -> bool:
    """Whether the client gets this header of the provider's; what this program says of itself it says alone."""
    return name not in _NOT_RETURNED and not name.startswith("access-control-")


def _bytes(reply: UpstreamReply) -> Iterator[bytes]:
    try:
        while data := reply.read(_FOREVER_S):
            yield data
    except GatewayError:
        return  # the status is gone; a cut body is all that can still tell
