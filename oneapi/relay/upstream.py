"""Requests to providers: which proxy, which limits, and access tokens that are bought and kept.

What happens on the wire is in `transport`; this is what the rest of the program calls.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import gevent
import requests
from gevent.event import AsyncResult
from gevent.ssl import SSLContext

from oneapi.config import Config
from oneapi.errors import UpstreamGarbled, UpstreamUnreachable
from oneapi.relay.adaptor import Credentials, UpstreamRequest, WholeReply
from oneapi.relay.exchange import Channel, UpstreamReply
from oneapi.relay.transport.client import Client, prepare
from oneapi.relay.transport.connections import Limits, tls_context

_MAX_WHOLE_BYTES = 64 * 1024 * 1024
# A token is replaced this long before its end, or a tenth of its life before where that is shorter.
_TOKEN_MARGIN_S = 120.0
_TOKEN_PURCHASE_S = 15.0
# What a redirect to another host may take along: nothing that an adaptor may have put a key into.
_SAFE_HEADERS = frozenset({"accept", "accept-encoding", "user-agent"})


class Upstream:
    """One per worker. `make_tls` is for tests, which trust a certificate of their own."""

    def __init__(
        self,
        config: Config,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        make_tls: Callable[[], SSLContext] = tls_context,
    ) -> None:
        self._config = config
        self._now = now
        self._client = Client(limits(config), make_tls=make_tls, monotonic=monotonic)
        self._session = _Session()
        self._session.mount("http://", self._client)
        self._session.mount("https://", self._client)
        self._proxy = lru_cache(4096)(self._choose_proxy)
        self._tokens: dict[bytes, _Kept] = {}
        self._purchases: dict[bytes, AsyncResult[str]] = {}

    def send(self, request: UpstreamRequest, channel: Channel, is_stream: bool) -> UpstreamReply:
        """Sends the request and returns at once; the reply is waited for, read, and closed by the caller.

        Raises UpstreamUnreachable where there is no connection; through a proxy and for WebSockets, the reply's `wait`
        does. A redirect is a reply like any other. `is_stream` changes nothing: whole answers are read in slices too.
        """
        return self._client.open(request, proxy=self._proxy(request.url, channel.proxy))

    def send_whole(self, request: UpstreamRequest, channel: Channel, timeout_s: float = 60.0) -> WholeReply:
        """The whole reply, whatever its status, within `timeout_s`. A GET follows redirects.

        Raises UpstreamUnreachable and UpstreamGarbled.
        """
        prepared = prepare(request)
        prepared.prepare_cookies({})
        proxy = self._proxy(request.url, channel.proxy)
        timeout = gevent.Timeout.start_new(timeout_s)
        try:
            with self._session.send(
                prepared,
                stream=True,
                allow_redirects=request.method == "GET",
                proxies={"http": proxy, "https": proxy} if proxy else {},
            ) as response:
                pieces: list[bytes] = []
                length = 0
                for piece in response.iter_content(None):
                    pieces.append(piece)
                    length += len(piece)
                    if length > _MAX_WHOLE_BYTES:
                        raise UpstreamGarbled("The provider's answer is larger than 64 MiB.")
                return WholeReply(response.status_code, dict(response.headers), b"".join(pieces))
        except gevent.Timeout as passed:
            if passed is not timeout:
                raise
            raise UpstreamUnreachable(
                f"The provider did not answer within {timeout_s:g} seconds.", phase="first_byte"
            ) from None
        except requests.RequestException:
            raise UpstreamGarbled("The provider's answer is a redirect that leads nowhere.") from None
        finally:
            timeout.close()

    def token(self, channel: Channel) -> str:
        """The access token that goes with the channel's key, bought where none is kept; "" where none is needed.

        Calls that meet while it is being bought share it, or the failure. Raises what `send_whole` and the adaptor's
        `parse_token` raise.
        """
        if channel.adaptor.token_request is None or channel.adaptor.parse_token is None:
            return ""
        name = _credential(channel)
        while True:
            kept = self._tokens.get(name)
            if kept is not None and self._now() < kept.until:
                return kept.value
            purchase = self._purchases.get(name)
            if purchase is None:
                return self._buy(name, channel)
            if value := purchase.get():
                return value  # otherwise the buyer was killed, and nobody knows

    def forget_token(self, channel: Channel) -> None:
        """The provider refused the token that is kept: the next call buys another."""
        self._tokens.pop(_credential(channel), None)

    def close(self) -> None:
        """Closes the connections that are idle."""
        self._session.close()

    def _buy(self, name: bytes, channel: Channel) -> str:
        adaptor = channel.adaptor
        assert adaptor.token_request is not None and adaptor.parse_token is not None
        purchase = self._purchases[name] = AsyncResult()
        try:
            now = self._now()
            request = adaptor.token_request(Credentials(channel.key, channel.fields), now)
            if request is None:
                return ""
            bought = adaptor.parse_token(self.send_whole(request, channel, _TOKEN_PURCHASE_S), now)
            margin_s = min(_TOKEN_MARGIN_S, (bought.expires_at - now) / 10)
            self._tokens[name] = _Kept(bought.value, bought.expires_at - margin_s)
            purchase.set(bought.value)
            return bought.value
        except Exception as error:
            purchase.set_exception(error)
            raise
        finally:
            del self._purchases[name]
            if not purchase.ready():
                purchase.set("")

    def _choose_proxy(self, url: str, own: str | None) -> str:
        return proxy_of_deployment(self._config, url) if own is None else own


def limits(config: Config) -> Limits:
    """How long a provider is waited for: RELAY_TIMEOUT bounds silence, never the length of a stream."""
    if config.relay_timeout:
        return Limits(first_byte_s=config.relay_timeout, silence_s=config.relay_timeout)
    return Limits()


def proxy_of_deployment(config: Config, url: str) -> str:
    """The proxy for a URL by RELAY_PROXY, or else HTTP_PROXY, HTTPS_PROXY and NO_PROXY; "" for none."""
    if config.relay_proxy:
        return config.relay_proxy
    parts = urlsplit(url)
    proxy = config.https_proxy if parts.scheme in ("https", "wss") else config.http_proxy
    if not proxy or _is_excepted(parts.hostname or "", parts.port, config.no_proxy):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_excepted(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host. As Go reads it: `*`; a domain, with or without a leading dot, stands for all
    below it as well; addresses and networks; each perhaps with a port. Loopback is never proxied."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and address.is_loopback:
        return True
    for entry in no_proxy.lower().replace(",", " ").split():
        if entry == "*":
            return True
        name, colon, its_port = entry.rpartition(":")
        if colon and its_port.isdigit() and (":" not in name or name.endswith("]")):
            if port is not None and its_port != str(port):
                continue
            entry = name.strip("[]")
        if address is not None:
            try:
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
        elif f".{host}".endswith("." + entry.lstrip("*").lstrip(".")):
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Kept:
    value: str
    until: float  # Unix time


def _credential(channel: Channel) -> bytes:
    """What stands for the key and fields that a token was bought with, so that none of them is a key of a dict."""
    parts = (channel.adaptor.name, channel.key, *(f"{name}={value}" for name, value in sorted(channel.fields.items())))
    return hashlib.sha256("\0".join(parts).encode()).digest()


class _Session(requests.Session):
    """For calls that follow redirects: no environment, no cookies, and no key that reaches another host."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        strips: bool = self.should_strip_auth(str(response.request.url), str(prepared_request.url))  # type: ignore[no-untyped-call]
        if strips:
            for name in [name for name in prepared_request.headers if name.lower() not in _SAFE_HEADERS]:
                del prepared_request.headers[name]
