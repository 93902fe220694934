"""From the client's request to the provider's, in the best of three fidelities.

Verbatim: the client speaks the provider's protocol and there is nothing to change; its bytes go up. Patched: the same
protocol, but the model is mapped, a system prompt forced, usage asked for, or the adaptor or channel has edits: changes
on the JSON object, unknown fields kept. Translated: another protocol, through the intermediate representation; what it
has no place for is named in `Converted.dropped`.

Conversion never fetches: `needs_bytes` says which images the pipeline must fetch first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from oneapi.errors import GatewayError, InvalidRequest
from oneapi.relay import edits, ir
from oneapi.relay.adaptor import Codec, Credentials, Edit, Endpoint, Json, Target, UpstreamRequest
from oneapi.relay.exchange import Call, Channel, Route
from oneapi.relay.head import Head
from oneapi.relay.paths import without_key
from oneapi.relay.protocols import multipart
from oneapi.relay.records import record

Fidelity = Literal["verbatim", "patched", "translated"]

# What a client may tell the provider besides the body. Nothing that carries the client's own credentials or address.
_FORWARDED = (
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "idempotency-key",
    "openai-beta",
    "traceparent",
    "tracestate",
    "user-agent",
)


@dataclass
class ClientRequest:
    """The client's request as parsed so far; each deeper reading is made once, when first asked for."""

    call: Call
    body: bytes  # without its Content-Encoding
    codec: Codec  # the dialect's
    head: Head
    fetched: Mapping[str, ir.Image] = field(default_factory=dict)

    @property
    def is_multipart(self) -> bool:
        return self.call.headers.get("content-type", "").lower().startswith("multipart/")

    @cached_property
    def json(self) -> Json:
        """The body as an object. Whoever edits it copies it first."""
        try:
            parsed = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest("The request body is not valid JSON.") from error
        if not isinstance(parsed, dict):
            raise InvalidRequest("The request body must be a JSON object.")
        return parsed

    @cached_property
    def parsed(self) -> Any:
        """The body in the intermediate representation of its mode."""
        if self.codec.parse_request is None:
            raise InvalidRequest(f"Requests of kind {self.head.mode} cannot be converted for this provider.")
        return self.codec.parse_request(self.json)


@record(kw_only=True)
class Converted:
    """The request as it goes to one route, and how its answer must come back."""

    request: UpstreamRequest
    endpoint: Endpoint
    fidelity: Fidelity
    asked_usage: bool = False  # the usage chunk was our wish, not the client's
    dropped: tuple[str, ...] = ()
    system_prompt_reset: bool = False


def to_upstream(
    client: ClientRequest, route: Route, credentials: Credentials, now: float, *, must_ask_usage: bool = False
) -> Converted:
    """What to send for this call on this route. Raises InvalidRequest where the protocol cannot carry it at all."""
    head = client.head
    channel = route.channel
    adaptor = channel.adaptor
    endpoint = adaptor.endpoint(route.model, head.mode)
    takes_stream_options = (
        adaptor.has_stream_options if adaptor.may_ask_usage is None else adaptor.may_ask_usage(channel.fields)
    )
    ask_usage = (
        head.stream
        and not head.wants_usage
        and endpoint.codec.has_stream_options
        and (takes_stream_options or must_ask_usage)
    )
    url = adaptor.url(
        Target(
            base_url=channel.base_url,
            path=(endpoint.stream_path or endpoint.path) if head.stream else endpoint.path,
            model=route.model,
            mode=head.mode,
            stream=head.stream,
            fields=channel.fields,
            client_path=client.call.path,
            client_query=without_key(client.call.query),
        )
    )
    fidelity: Fidelity
    dropped: tuple[str, ...] = ()
    system_prompt_reset = False
    content_type = "application/json"
    if endpoint.codec.name != client.codec.name:
        fidelity, body, dropped, system_prompt_reset = _translated(client, route, endpoint, ask_usage)
    else:
        changes = _changes(client, route, ask_usage)
        system_prompt_reset = head.mode == "chat" and bool(channel.system_prompt)
        content_type = client.call.headers.get("content-type") or content_type
        fidelity, body = "verbatim", client.body
        if client.is_multipart:
            if route.model != head.model or not head.names_model:
                fidelity, body = "patched", multipart.with_model(body, content_type, route.model)
        elif changes:
            patched = client.json
            for change in changes:
                patched = change(patched)
            if patched is not client.json:  # an edit that finds nothing to do returns what it was given
                fidelity, body, content_type = "patched", dumps(patched), "application/json"
    headers = {name: value for name in _FORWARDED if (value := client.call.headers.get(name))}
    if head.stream and head.mode != "speech" and "accept" not in headers:
        headers["accept"] = "text/event-stream"
    request = UpstreamRequest(
        url=url,
        headers={
            **headers,
            "content-type": content_type,
            **adaptor.headers,
            **endpoint.headers,
            **(endpoint.stream_headers if head.stream else {}),
            **channel.header_overrides,
        },
        body=body,
    )
    return Converted(
        request=adaptor.sign(request, credentials, now),
        endpoint=endpoint,
        fidelity=fidelity,
        asked_usage=ask_usage and endpoint.codec.name == client.codec.name,
        dropped=dropped,
        system_prompt_reset=system_prompt_reset,
    )


def _changes(client: ClientRequest, route: Route, ask_usage: bool) -> tuple[Edit, ...]:
    """The edits this route needs on a body already in its protocol; none means that the bytes may pass."""
    channel = route.channel
    changes: list[Edit] = []
    if client.is_multipart:
        return ()
    if client.codec.has_model and (route.model != client.head.model or not client.head.names_model):
        changes.append(edits.set_model(route.model))
    if channel.system_prompt and client.head.mode == "chat":
        changes.append(edits.force_system_prompt(channel.system_prompt, client.codec.name))
    if ask_usage:
        changes.append(edits.ask_usage)
    changes += channel.adaptor.edits_for(channel.fields, route.model, client.head.mode)
    if channel.overrides:
        changes.append(edits.merge(channel.overrides))
    return tuple(changes)


def _translated(
    client: ClientRequest, route: Route, endpoint: Endpoint, ask_usage: bool
) -> tuple[Fidelity, bytes, tuple[str, ...], bool]:
    codec = endpoint.codec
    if codec.render_request is None:
        raise InvalidRequest(f"The provider cannot be asked for {client.head.mode} in this form.")
    channel = route.channel
    request = replace(client.parsed, model=route.model)
    is_reset = False
    if isinstance(request, ir.ChatRequest):
        if ask_usage:
            request = replace(request, wants_usage=True)
        if channel.system_prompt:
            request, is_reset = with_system_prompt(request, channel.system_prompt), True
        if client.fetched:
            request = with_fetched(request, client.fetched)
        lost = codec.cannot_carry if codec.drops is None else codec.cannot_carry | codec.drops(request)
        dropped = tuple(sorted(used_fields(request) & lost))
    else:
        dropped = ()
    body = codec.render_request(request)
    for change in channel.adaptor.edits_for(channel.fields, route.model, client.head.mode):
        body = change(body)
    if channel.overrides:
        body = edits.merge(channel.overrides)(body)
    return "translated", dumps(body), dropped, is_reset


def dumps(value: Json) -> bytes:
    """JSON as short as it gets; lone surrogates, which some clients send, stay escapes."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


# ---- on the intermediate representation ----

_PART_FIELDS: tuple[tuple[type, str], ...] = (
    (ir.Image, "images"),
    (ir.Audio, "audio"),
    (ir.File, "files"),
    (ir.ToolCall, "tools"),
    (ir.ToolResult, "tools"),
)
_PLAIN_FIELDS = (
    "tool_choice",
    "may_call_in_parallel",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
    "thinking",
    "user",
    "metadata",
)


def used_fields(request: ir.ChatRequest) -> frozenset[str]:
    """Names of what this request says beyond plain text, as `Codec.cannot_carry` names it."""
    used = {name for name in _PLAIN_FIELDS if getattr(request, name) not in (None, "", ())}
    if request.tools:
        used.add("tools")
    if request.n not in (None, 1):
        used.add("n")
    if "audio" in request.modalities:
        used.add("audio_output")
    for message in request.messages:
        if message.name:
            used.add("name")
        for part in message.parts:
            used.update(name for kind, name in _PART_FIELDS if isinstance(part, kind))
            if isinstance(part, ir.ToolResult):
                used.update(name for piece in part.parts for kind, name in _PART_FIELDS if isinstance(piece, kind))
    return frozenset(used)


def with_system_prompt(request: ir.ChatRequest, prompt: str) -> ir.ChatRequest:
    """The channel's prompt in place of the client's first system message, or before all (spec relay.md §6.2)."""
    forced = ir.Message("system", (ir.Text(prompt),))
    rest = request.messages
    if rest and rest[0].role == "system":
        rest = rest[1:]
    return replace(request, messages=(forced, *rest))


def needs_bytes(request: ir.ChatRequest, channel: Channel) -> tuple[str, ...]:
    """URLs of images and files that must be fetched because this provider takes bytes only."""
    if "image_urls" in channel.adaptor.accepts:
        return ()
    is_read_there = channel.adaptor.reads_url or (lambda url: False)
    urls = []
    for message in request.messages:
        for part in message.parts:
            pieces = part.parts if isinstance(part, ir.ToolResult) else (part,)
            urls += [piece.url for piece in pieces if isinstance(piece, ir.Image | ir.File) and _is_remote(piece.url)]
    return tuple(url for url in dict.fromkeys(urls) if not is_read_there(url))


def with_fetched(request: ir.ChatRequest, fetched: Mapping[str, ir.Image]) -> ir.ChatRequest:
    """The request with the bytes in place of the URLs that were fetched."""

    def swap(part: Any) -> Any:
        match part:
            case ir.Image() if part.url in fetched:
                found = fetched[part.url]
                return replace(part, url="", data=found.data, media_type=found.media_type)
            case ir.File() if part.url in fetched:
                found = fetched[part.url]
                return replace(part, url="", data=found.data, media_type=found.media_type)
            case ir.ToolResult():
                return replace(part, parts=tuple(swap(piece) for piece in part.parts))
        return part

    messages = tuple(replace(m, parts=tuple(swap(part) for part in m.parts)) for m in request.messages)
    return replace(request, messages=messages)


def _is_remote(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def error_body(codec: Codec, error: GatewayError) -> Json:
    """The error in the dialect's envelope."""
    if codec.render_error is None:
        return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    return codec.render_error(error)
