"""requests through a proxy, by requests' stock adapter: a source for a pumped reply."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

import requests
import urllib3
from gevent.ssl import SSLContext
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from oneapi.errors import UpstreamGarbled, UpstreamUnreachable
from oneapi.relay.transport.connections import READ_BYTES, reason
from oneapi.relay.transport.pumped import Source


class ProxyAdapter(HTTPAdapter):
    """The stock adapter with one TLS context for all, instead of certificates read again for each connection.

    The context is its own: urllib3 adjusts it.
    """

    def __init__(self, tls: SSLContext) -> None:
        self._tls = tls
        super().__init__(pool_connections=200, pool_maxsize=1000)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._tls, **more)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        if proxy.lower().startswith("https:"):
            more["proxy_ssl_context"] = self._tls
        return super().proxy_manager_for(proxy, ssl_context=self._tls, **more)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing to prepare: the context verifies."""


def through_proxy(adapter: ProxyAdapter, request: requests.PreparedRequest, proxy: str, connect_s: float) -> Source:
    """Sends the request and yields its reply as it comes. Raises UpstreamUnreachable and UpstreamGarbled."""
    try:
        response = adapter.send(
            request, stream=True, timeout=(connect_s, None), proxies={"http": proxy, "https": proxy}
        )
    except requests.RequestException as error:
        raise _understood(error) from None
    raw: urllib3.HTTPResponse = response.raw
    is_whole = False
    try:
        if response.status_code < 200:
            # http.client knows no early hints, and would take the answer that follows for the next request's.
            raise UpstreamGarbled(f"The provider's answer through the proxy begins with status {response.status_code}.")
        headers = {name.lower(): raw.headers[name].rstrip(" \t") for name in raw.headers}  # repeated ones joined
        yield response.status_code, headers
        while data := raw.read1(READ_BYTES, decode_content=False):
            yield data
        is_whole = True
    except (HTTPError, OSError) as error:
        raise UpstreamGarbled("The provider's answer was cut short.") from error
    finally:
        if not is_whole:
            raw.close()
        raw.release_conn()


def _understood(error: requests.RequestException) -> UpstreamUnreachable | UpstreamGarbled:
    """The house's error for one of requests', whose own words may hold addresses and passwords."""
    for cause in _causes(error):
        if isinstance(cause, (ConnectionResetError, BrokenPipeError)):  # http.client's RemoteDisconnected is one
            return UpstreamUnreachable("The provider closed the connection without an answer.", phase="first_byte")
        if isinstance(cause, HTTPException):
            return UpstreamGarbled("The provider's answer is not HTTP.")
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            words = str(cause)
            if words.startswith("Tunnel connection failed: "):
                return UpstreamUnreachable(f"No connection to the provider: the proxy answered {words.split()[3]}.")
            return UpstreamUnreachable(f"No connection to the provider through the proxy: {reason(cause)}.")
    return UpstreamUnreachable("No connection to the provider through the proxy: its address cannot be used.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what lies below it, by way of chaining or, as urllib3 does for TLS, of its arguments."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        inner = next((argument for argument in cause.args if isinstance(argument, BaseException)), None)
        cause = cause.__cause__ or cause.__context__ or inner
