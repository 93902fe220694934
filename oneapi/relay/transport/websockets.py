"""A WebSocket conversation of one question: a source for a pumped reply.

The body is sent as the first text frame. Each frame that comes is a line of the reply, so that the NDJSON framing reads
it; a line break inside one, which in JSON is only layout, becomes a blank. The reply ends when the server closes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import websocket
from gevent.ssl import SSLContext
from websocket._handshake import CookieJar

from oneapi.errors import UpstreamGarbled, UpstreamUnreachable
from oneapi.relay.transport.connections import open_socket, reason, secure
from oneapi.relay.transport.pumped import Source

_PORTS = {"ws": 80, "wss": 443}


def converse(
    url: str, headers: Mapping[str, str], body: bytes, *, proxy: str, tls: SSLContext, connect_s: float
) -> Source:
    """Sends `body` and yields what is said until the server closes. A refused handshake is a reply with its status.

    Raises UpstreamUnreachable and UpstreamGarbled.
    """
    try:
        connection = _connect(url, headers, proxy, tls, connect_s)
    except websocket.WebSocketBadStatusException as refusal:
        yield refusal.status_code, dict(refusal.resp_headers or {})
        yield refusal.resp_body or b""
        return
    except (websocket.WebSocketException, OSError, ValueError) as error:
        words = "the handshake failed" if isinstance(error, websocket.WebSocketException) else reason(error)
        raise UpstreamUnreachable(f"No connection to the provider: {words}.") from None
    try:
        connection.settimeout(None)  # the reader keeps the limits
        connection.send(body.decode("utf-8"))
        yield 200, connection.getheaders() or {}
        while True:
            opcode, data = connection.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            yield data.replace(b"\n", b" ") + b"\n"
    except (websocket.WebSocketException, OSError) as error:
        raise UpstreamGarbled("The provider's answer was cut short.") from error
    finally:
        connection.shutdown()


def _connect(url: str, headers: Mapping[str, str], proxy: str, tls: SSLContext, connect_s: float) -> Any:
    parts = urlsplit(url)
    options: dict[str, Any]
    if proxy:
        via = urlsplit(proxy)
        if via.scheme != "http":
            raise UpstreamUnreachable("A WebSocket provider is reached through an http:// proxy only.")
        options = {
            "http_proxy_host": via.hostname,
            "http_proxy_port": via.port or 80,
            "http_proxy_auth": (unquote(via.username), unquote(via.password or "")) if via.username else None,
            "http_no_proxy": ["-"],  # an empty list would have the environment asked
            "sslopt": {"context": tls},
        }
    else:
        host = parts.hostname or ""
        sock: Any = open_socket(host, parts.port or _PORTS[parts.scheme], connect_s)
        options = {"socket": secure(sock, host, tls) if parts.scheme == "wss" else sock}
    try:
        return websocket.create_connection(
            url,
            timeout=connect_s,
            header=dict(headers),
            suppress_origin=True,
            redirect_limit=0,
            enable_multithread=False,
            **options,
        )
    except BaseException:
        if "socket" in options:
            options["socket"].close()
        raise
    finally:
        CookieJar.jar.clear()  # the library's own, shared by all; one account's cookie must not meet another's key
