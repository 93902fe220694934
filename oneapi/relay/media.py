"""Images and documents that users refer to by URL, fetched without letting them reach what only this machine can.

http and https only; the host is resolved once, every address it has must be a public one, and the connection goes to an
address that was checked. Redirects are followed by the same rules. Size and time are bounded. The type is told from the
bytes, since providers compare; the server's word counts only where the bytes say nothing.

Through USER_CONTENT_REQUEST_PROXY names are the proxy's to resolve; only addresses in the URL itself are checked here.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import gevent
from gevent import socket
from gevent.ssl import SSLContext

from oneapi.config import Config
from oneapi.errors import InvalidRequest, UpstreamError
from oneapi.relay import ir
from oneapi.relay.adaptor import UpstreamRequest
from oneapi.relay.exchange import UpstreamReply
from oneapi.relay.transport.client import Client
from oneapi.relay.transport.connections import Limits, tls_context

MAX_BYTES = 20 * 1024 * 1024
_MAX_REDIRECTS = 5
_SLICE_S = 60.0
_HEADERS = {"accept": "image/*,*/*;q=0.8", "user-agent": "Mozilla/5.0 (compatible; oneapi)"}
_SHOWN_CHARACTERS = 120

# Not public, whatever Python's tables say: special ranges that they learnt late, and addresses at which clouds serve
# a machine its own secrets.
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF assignments (RFC 6890); Oracle Cloud's metadata
        "192.88.99.0/24",  # the deprecated way to 6to4 relays (RFC 7526)
        "168.63.129.16/32",  # Azure's host
        "fec0::/10",  # the deprecated site-local addresses (RFC 3879)
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address

_DATA_URL = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_MAX_DATA_URL_CHARACTERS = MAX_BYTES * 3 // 2  # base64 makes four of three; some leave for line breaks

# What files begin with; dots stand for any byte.
_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), media_type)
    for pattern, media_type in (
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBP", "image/webp"),
        (rb"BM....\0\0\0\0", "image/bmp"),
        (rb"II\*\0|MM\0\*", "image/tiff"),
        (rb"....ftyp(?:avif|avis)", "image/avif"),
        (rb"....ftyp(?:heic|heix|hevc|hevx)", "image/heic"),
        (rb"....ftyp(?:mif1|msf1)", "image/heif"),
        (rb"%PDF-", "application/pdf"),
        (rb"RIFF....WAVE", "audio/wav"),
        (rb"ID3|\xff[\xfb\xf3\xf2]", "audio/mpeg"),
        (rb"fLaC", "audio/flac"),
        (rb"OggS", "audio/ogg"),
        (rb"....ftypM4A", "audio/mp4"),
        (rb"....ftypqt", "video/quicktime"),
        (rb"....ftyp", "video/mp4"),
        (rb"\x1a\x45\xdf\xa3", "video/webm"),
    )
)


class Fetcher:
    """One per worker. `make_tls` is for tests, which trust a certificate of their own."""

    def __init__(self, config: Config, *, make_tls: Callable[[], SSLContext] = tls_context) -> None:
        self._timeout_s = float(config.user_content_request_timeout)
        self._proxy = config.user_content_request_proxy
        self._may_be_private = config.allow_private_fetch
        self._client = Client(Limits(), make_tls=make_tls)

    def fetch(self, url: str) -> ir.Image:
        """The bytes behind a URL, as base64 `data` with their `media_type` (which may be a document's as well).

        `data:` URLs are taken apart without any network. Raises InvalidRequest, naming the URL.
        """
        if url[:5].lower() == "data:":
            return _parse_data_url(url)
        timeout = gevent.Timeout.start_new(self._timeout_s)
        try:
            claimed_type, data = self._follow(url)
        except gevent.Timeout as passed:
            if passed is not timeout:
                raise
            raise _failure(url, f"it did not arrive within {self._timeout_s:g} seconds") from None
        except UpstreamError as error:
            raise _failure(url, "its server cannot be reached or breaks off") from error
        finally:
            timeout.close()
        media_type = sniff(data) or claimed_type
        if not data or media_type in ("", "text/html", "application/octet-stream"):
            raise _failure(url, f"it is no image or document (Content-Type: {claimed_type or 'none'})")
        return ir.Image(data=base64.b64encode(data).decode("ascii"), media_type=media_type)

    def _follow(self, url: str) -> tuple[str, bytes]:
        """The media type that the server states, and the body, behind at most five redirects."""
        here = url
        for _ in range(_MAX_REDIRECTS + 1):
            reply = self._open(here, url)
            try:
                while not reply.wait(_SLICE_S):
                    pass
                location = reply.headers.get("location")
                if reply.status not in (301, 302, 303, 307, 308) or not location:
                    return _read(reply, url)
                here = urljoin(here, location)
            finally:
                reply.close()
        raise _failure(url, f"it redirects more than {_MAX_REDIRECTS} times")

    def _open(self, url: str, named: str) -> UpstreamReply:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise _failure(named, "it is not a valid URL") from None
        if parts.scheme not in ("http", "https") or not host:
            raise _failure(named, "only http, https and data URLs are fetched")
        # A user and a password in it would be sent along; nobody asks for that.
        request = UpstreamRequest(
            method="GET", url=parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), headers=_HEADERS
        )
        if self._proxy:
            if not self._may_be_private and (_is_refused(host) or host == "localhost"):
                raise _failure(named, "its address is not a public one")
            return self._client.open(request, proxy=self._proxy)
        failure: UpstreamError | None = None
        for address in self._addresses(host, port or (443 if parts.scheme == "https" else 80), named):
            try:
                return self._client.open(request, address=address)
            except UpstreamError as error:
                failure = error
        assert failure is not None  # there is at least one address
        raise failure

    def _addresses(self, host: str, port: int, named: str) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _failure(named, "its host name is not known") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._may_be_private and any(_is_refused(address) for address in addresses):
            raise _failure(named, "its address is not a public one")
        return addresses


def sniff(data: bytes) -> str:
    """The media type that the first bytes tell; "" where they tell none."""
    for signature, media_type in _SIGNATURES:
        if signature.match(data):
            return media_type
    return ""


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the internet at large: not private, loopback, link-local, reserved, multicast, or a
    cloud's metadata, and not one of these in IPv6 clothes."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(inner):
            return False
        if inner is not None and address.ipv4_mapped:
            return True  # Python calls all mapped addresses reserved
    return address.is_global and not address.is_multicast and not any(address in network for network in _REFUSED)


def _is_refused(host: str) -> bool:
    """Whether `host` is an address, and not a public one."""
    try:
        return not is_public(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False


def _read(reply: UpstreamReply, url: str) -> tuple[str, bytes]:
    if reply.status != 200:
        raise _failure(url, f"its server answers {reply.status}")
    length_stated = reply.headers.get("content-length", "")
    if length_stated.isdecimal() and int(length_stated) > MAX_BYTES:
        raise _failure(url, "it is larger than 20 MiB")
    pieces: list[bytes] = []
    length = 0
    while (piece := reply.read(_SLICE_S)) != b"":
        if piece is None:
            continue
        pieces.append(piece)
        length += len(piece)
        if length > MAX_BYTES:
            raise _failure(url, "it is larger than 20 MiB")
    media_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type, b"".join(pieces)


def _parse_data_url(url: str) -> ir.Image:
    """Source: RFC 2397."""
    match = _DATA_URL.match(url)
    if match is None:
        raise _failure(url, "it is not a valid data URL")
    text = url[match.end() :]
    if len(text) > _MAX_DATA_URL_CHARACTERS:
        raise _failure(url, "it is larger than 20 MiB")
    if ";base64" in match[2].lower():
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            data = _lenient_base64(text)
            text = ""  # to be written properly
    else:
        data = unquote_to_bytes(text)
        text = ""
    if not data:
        raise _failure(url, "its data is empty, or not base64")
    if len(data) > MAX_BYTES:
        raise _failure(url, "it is larger than 20 MiB")
    return ir.Image(
        data=text or base64.b64encode(data).decode("ascii"),
        media_type=sniff(data) or match[1].strip().lower() or "text/plain",
    )


def _lenient_base64(text: str) -> bytes:
    """Base64 as it is found in the wild: percent-encoded, with line breaks, URL-safe, without padding. b"" if none."""
    plain = "".join(unquote_to_bytes(text).decode("latin-1").split()).rstrip("=")
    plain = plain.replace("-", "+").replace("_", "/")
    try:
        return binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except ValueError:
        return b""


def _failure(url: str, why: str) -> InvalidRequest:
    """Names the URL as far as it helps: without a user, a password, a query, or the data of a data URL."""
    if url[:5].lower() == "data:":
        shown = url[:40]
    else:
        scheme, _, rest = url.partition("://")
        netloc, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
        shown = f"{scheme}://{netloc.rpartition('@')[2]}{slash}{path}" if rest else scheme
    shown = shown[:_SHOWN_CHARACTERS] + ("…" if len(shown) > _SHOWN_CHARACTERS else "")
    return InvalidRequest(f"The content at {shown} cannot be used: {why}.")
