"""Whose address a request comes from, when proxies stand in between.

Forwarding headers are believed only from trusted peers (TRUSTED_PROXIES), and then only as far as trust goes: from the
right, the first address that is not a trusted proxy's is the client's. What a client itself wrote further left never
counts. Spec management.md D-10, docs/architecture.md §9.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse(text: str) -> Address | None:
    """An address as it stands in a header: perhaps with a port or in brackets; IPv4 inside IPv6 comes out as IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class ClientAddress:
    """`client_address(peer, x_forwarded_for)` gives the client's address as text."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)
        self.trusts = lru_cache(maxsize=4096)(self._trusts)

    def __call__(self, peer: str, forwarded_for: str) -> str:
        if not forwarded_for or not self.trusts(peer):
            return peer
        client = peer
        for hop in reversed(forwarded_for.split(",")):
            address = parse(hop)
            if address is None:
                break
            client = str(address)
            if not self.trusts(client):
                break
        return client

    def _trusts(self, text: str) -> bool:
        address = parse(text)
        if address is None:
            return not text  # a unix socket has no address; whoever may open it is trusted
        return any(address in network for network in self._trusted)


class Forwarded:
    """WSGI middleware: what trusted proxies say of the client's address, scheme and host becomes the request's own.

    The address of whoever is at the other end of the connection stays as `oneapi.peer`.
    """

    def __init__(self, app: Callable[..., Any], client_address: ClientAddress) -> None:
        self.app = app
        self.client_address = client_address

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        peer = environ["oneapi.peer"] = environ.get("REMOTE_ADDR", "")
        if self.client_address.trusts(peer):
            environ["REMOTE_ADDR"] = self.client_address(peer, environ.get("HTTP_X_FORWARDED_FOR", ""))
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")[-1].strip()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
            host = environ.get("HTTP_X_FORWARDED_HOST", "").split(",")[-1].strip()
            if host and all(character.isalnum() or character in ".-:[]_" for character in host):
                environ["HTTP_HOST"] = host
        return self.app(environ, start_response)
