"""Raw pass-through (type 43): any request to one host, with the channel's key as it stands. Source: spec relay.md §1.7.

It offers no mode but `proxy`, which has no protocol: what goes through is not read.
"""

from __future__ import annotations

from oneapi.relay.adaptor import Adaptor, Codec, Endpoint, Target, header_key
from oneapi.relay.protocols.provider_error import parse_error

CODEC = Codec(name="raw", parse_error=parse_error)


def url(target: Target) -> str:
    """The channel's host, with what stands behind the channel's number in the client's path."""
    rest = "/" + target.client_path.removeprefix("/v1/oneapi/proxy/").partition("/")[2]
    return target.base_url + rest + (f"?{target.client_query}" if target.client_query else "")


ADAPTORS = (
    Adaptor(
        type=43,
        name="proxy",
        label="Proxy (raw pass-through)",
        endpoints={"proxy": Endpoint(path="", codec=CODEC, framing="raw")},
        url=url,
        sign=header_key("Authorization"),
        has_stream_options=False,
        key_hint="the Authorization header as it is sent, for instance: Bearer sk-…",
        owner="proxy",
    ),
)
