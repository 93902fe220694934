"""Carrying one client's call to a provider and the answer back.

    Call ─▶ Caller ─▶ ChatRequest ─▶ routes ─▶ Hold ─┐
              ┌──────────────────────────────────────┘
              └─▶ UpstreamRequest ─▶ UpstreamReply ─▶ peek ─▶ bytes to client ─▶ close ─▶ settle ─▶ record ─▶ observe
              └── next route ◀── failed before the commit point ┘

`door` packs what the client sent into a `Call`; `pipeline.relay` has it authenticated, parsed, planned and reserved
for; then, route by route, it is converted, sent and peeked at until one answers; that answer is streamed back while a
meter watches; and when it ends, it is settled, recorded and observed. docs/style.md §3–5 and docs/architecture.md §4.
"""
