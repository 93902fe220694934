"""The one way out for HTTP: a `requests` adapter, which hot paths call directly.

`open` is the direct call, and gives a reply that is read in slices. `send` is what a `requests.Session` calls. Both
raise the house's errors instead of those of requests; none of these holds a header, a body, a URL or a password.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import urlsplit

import requests
from gevent.ssl import SSLContext
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers, select_proxy

from oneapi.errors import UpstreamUnreachable
from oneapi.relay.adaptor import UpstreamRequest
from oneapi.relay.exchange import UpstreamReply
from oneapi.relay.transport import http1
from oneapi.relay.transport.connections import Limits, Origin, Pool, tls_context
from oneapi.relay.transport.direct import DirectReply
from oneapi.relay.transport.proxied import ProxyAdapter, through_proxy
from oneapi.relay.transport.pumped import PumpedReply
from oneapi.relay.transport.websockets import converse

_PORTS = {"http": 80, "https": 443}
_SLICE_S = 60.0


class Client(BaseAdapter):
    """Pools, TLS and limits of one worker. `make_tls` is for tests, which trust a certificate of their own."""

    def __init__(
        self,
        limits: Limits,
        *,
        make_tls: Callable[[], SSLContext] = tls_context,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._limits = limits
        self._monotonic = monotonic
        self._make_tls = make_tls
        self._tls = make_tls()
        self._pool = Pool(self._tls)
        # Requests of one channel differ in little but their bodies.
        self._destination = lru_cache(4096)(_destination)
        self._header_lines = lru_cache(1024)(_header_lines)

    def open(self, request: UpstreamRequest, *, proxy: str = "", address: str = "") -> UpstreamReply:
        """Sends the request. `address` is the IP address to connect to instead of asking for the host's.

        Raises UpstreamUnreachable; through a proxy and for WebSockets it is the reply's `wait` that does.
        """
        if request.url.startswith(("ws://", "wss://")):
            source = converse(
                request.url,
                request.headers,
                request.body,
                proxy=proxy,
                tls=self._tls,
                connect_s=self._limits.connect_s,
            )
            return PumpedReply(source, self._limits, self._monotonic)
        if proxy:
            prepared = prepare(request)
            source = through_proxy(self._proxy_adapter, prepared, proxy, self._limits.connect_s)
            return PumpedReply(source, self._limits, self._monotonic)
        origin, line = self._destination(request.method, request.url, address)
        payload = http1.payload(line, self._header_lines(tuple(request.headers.items())), request.body)
        return DirectReply(self._pool, origin, payload, request.method == "HEAD", self._limits, self._monotonic)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """For sessions. The client's own limits hold instead of `timeout`, and certificates are always verified."""
        body = request.body or b""
        reply = self.open(
            UpstreamRequest(
                method=request.method or "GET",
                url=request.url or "",
                headers=dict(request.headers),
                body=body.encode() if isinstance(body, str) else bytes(body),
            ),
            proxy=select_proxy(request.url or "", proxies) or "",
        )
        while not reply.wait(_SLICE_S):
            pass
        response = requests.Response()
        response.status_code = reply.status
        response.headers = CaseInsensitiveDict(reply.headers)
        response.encoding = get_encoding_from_headers(response.headers)
        response.raw = _Raw(reply)
        response.url = request.url or ""
        response.request = request
        if not stream:
            _ = response.content
        return response

    def close(self) -> None:
        """Closes the connections that are idle."""
        self._pool.close()
        if "_proxy_adapter" in self.__dict__:
            self._proxy_adapter.close()

    @cached_property
    def _proxy_adapter(self) -> ProxyAdapter:
        return ProxyAdapter(self._make_tls())


def prepare(request: UpstreamRequest) -> requests.PreparedRequest:
    """The request as requests has it. Raises UpstreamUnreachable for what HTTP cannot carry, without quoting it."""
    try:
        prepared = _located(request.method, request.url)
        headers = http1.complete_headers(request.headers)
        prepared.prepare_headers({**prepared.headers, **headers})
        if request.body or request.method in http1.METHODS_WITH_BODY:
            prepared.body = request.body
            prepared.headers["content-length"] = str(len(request.body))
    except (requests.RequestException, ValueError):
        raise _unfit() from None
    return prepared


def _located(method: str, url: str) -> requests.PreparedRequest:
    """A request without a body, and without headers but Authorization, for a user and a password in the URL."""
    prepared = requests.PreparedRequest()
    prepared.prepare_method(method)
    prepared.prepare_url(url, None)
    if urlsplit(str(prepared.url)).scheme not in _PORTS:
        raise ValueError("the scheme")
    prepared.prepare_headers(None)
    prepared.prepare_auth(None)
    prepared.headers.pop("Content-Length", None)
    return prepared


def _destination(method: str, url: str, address: str) -> tuple[Origin, http1.RequestLine]:
    try:
        prepared = _located(method, url)
        parts = urlsplit(str(prepared.url))
        origin = Origin(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme], address)
    except (requests.RequestException, ValueError):
        raise _unfit() from None
    authorization = prepared.headers.get("Authorization", "")
    return origin, http1.RequestLine(method, prepared.path_url, parts.netloc.rpartition("@")[2], str(authorization))


def _header_lines(headers: tuple[tuple[str, str], ...]) -> http1.HeaderLines:
    try:
        return http1.render_headers(http1.complete_headers(dict(headers)))
    except ValueError:
        raise _unfit() from None


def _unfit() -> UpstreamUnreachable:
    return UpstreamUnreachable(
        "The request cannot be sent: the channel's address, key or headers hold what HTTP does not allow."
    )


class _Raw:
    """A reply as `requests.Response` wants it."""

    def __init__(self, reply: UpstreamReply) -> None:
        self._reply = reply

    def stream(self, chunk_bytes: int, decode_content: bool = True) -> Iterator[bytes]:
        """The body as it comes; it is decoded already."""
        while (data := self._reply.read(_SLICE_S)) != b"":
            if data is not None:
                yield data

    def close(self) -> None:
        self._reply.close()
