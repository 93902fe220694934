"""Raw pass-through (type 43): any request to one host, with the channel's key as it stands. Source: spec relay.md §1.7.

It offers no mode but `proxy`, which has no protocol: what goes through is not read (relay/rawproxy.py).
"""

from __future__ import annotations

from oneapi.relay.adaptor import Adaptor, Codec, Endpoint, header_key

ADAPTORS = (
    Adaptor(
        type=43,
        name="proxy",
        label="Proxy (raw pass-through)",
        endpoints={"proxy": Endpoint(path="", codec=Codec(name="raw"), framing="raw")},
        sign=header_key("Authorization"),
        has_stream_options=False,
        key_hint="The Authorization header as it is sent, for instance: Bearer sk-…",
        owner="proxy",
    ),
)
