"""How bytes get to a server and back. Whoever uses it sees one thing, `exchange.UpstreamReply`; behind it are

    connections.py   sockets: connect, TLS, waiting in slices, the pool of idle ones
    http1.py         HTTP/1.1 as bytes: the head of a request, the parser of a response (no I/O)
    direct.py        a reply read from a pooled socket: the hot path
    pumped.py        a reply read by a greenlet of its own: what blocks, and cannot be read in slices
    proxied.py       requests' stock adapter, for what goes through a proxy, as a source of such a reply
    websockets.py    a WebSocket conversation, as another
    client.py        a `requests` adapter that chooses among them

It knows nothing of channels, and follows no redirects.
"""
