"""What an adaptor declares: how one provider is reached and which wire formats it speaks.

An adaptor is a value. It declares; door, pipeline and forms read the declaration, and none of them names a provider.
It does no I/O, reads no clock and invents nothing: the time, new ids and bought tokens are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from oneapi.errors import GatewayError, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.framing import Frame
from oneapi.relay.records import record

Mode = Literal[
    "chat",
    "completions",
    "edits",
    "embeddings",
    "moderations",
    "images",
    "image_edits",
    "image_variations",
    "speech",
    "transcription",
    "translation",
    "rerank",
    "proxy",
]
FramingName = Literal["sse", "ndjson", "json_array", "aws", "raw"]
Json = dict[str, Any]
Headers = Mapping[str, str]  # names in lower case


# ---- requests and replies of the upstream side ----


@record(kw_only=True)
class UpstreamRequest:
    """One HTTP request to a provider, ready to go but for transport settings.

    `url` may be http(s), or ws(s): then `body` is the first text frame, and each text frame that comes is one line.
    """

    method: str = "POST"
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def with_headers(self, **more: str) -> UpstreamRequest:
        """The same request with headers added; underscores in names become hyphens."""
        return replace(self, headers={**self.headers, **{k.replace("_", "-"): v for k, v in more.items()}})


@record()
class WholeReply:
    """A provider's answer read to its end."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """A flow's wish to wait before it goes on."""

    seconds: float


# Several calls to one provider: the pipeline sends what is yielded and sends back its whole reply (None after a
# Pause). Returned is the request whose reply is the answer, or an answer already whole.
Flow = Generator[UpstreamRequest | Pause, WholeReply | None, UpstreamRequest | WholeReply]


@record()
class Credentials:
    """A channel's key, its config fields, and, where the adaptor buys one, the access token of the moment."""

    key: str
    fields: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


@dataclass(frozen=True, slots=True)
class BoughtToken:
    """An access token and the Unix time at which it ends."""

    value: str
    expires_at: float


@record(kw_only=True)
class Target:
    """All that an upstream URL may depend on."""

    base_url: str  # without a trailing slash
    path: str  # the endpoint's template
    model: str
    mode: Mode
    stream: bool
    fields: Mapping[str, str]
    client_path: str  # as the client sent it: /v1/…
    client_query: str = ""


# ---- codecs ----


class Watcher(Protocol):
    """Reads over a verbatim stream's shoulder just what the meter needs, as cheaply as it can.

    `feed` returns one of the sights below, and raises UpstreamRejected where the frame is the provider's error.
    """

    usage: ir.Usage | None
    has_finished: bool  # a finish reason was seen

    def feed(self, frame: Frame) -> int: ...
    def take_text(self) -> str:
        """Text of all kinds of output since the last call, for counting where the provider reports no usage."""


NOTHING, CONTENT, USAGE_ONLY, LAST = range(4)
# NOTHING: no content yet (a role chunk, a comment). CONTENT: output, or its end. USAGE_ONLY: a usage chunk that a
# client who did not ask for it need not see. LAST: the event that tells a client that the answer is whole.


class StreamParser(Protocol):
    """Events of a provider's stream; the first is Begin. Raises UpstreamRejected for an error inside the stream,
    and UpstreamGarbled for what cannot be read."""

    is_done: bool  # the provider has said its last word: the end of the body need not be waited for

    def feed(self, frame: Frame) -> Iterable[ir.Event]: ...
    def finish(self) -> Iterable[ir.Event]:
        """At the end of the body. Raises UpstreamGarbled when the answer is not whole."""


class StreamRenderer(Protocol):
    """Bytes for the client, event by event; `finish` gives what must wait for settlement (`[DONE]`, message_stop…)."""

    def feed(self, event: ir.Event) -> Iterable[bytes]: ...
    def finish(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What a renderer must be told because it may not invent it."""

    id: str
    created_at: int
    model: str
    wants_usage: bool = True
    request: Any = None  # the client's, in the records of its mode: an answer's form may depend on what was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A wire format of one mode, in up to two directions; a missing half is None.

    In mode chat the request and response are `ir.ChatRequest` and `ir.ChatResponse`; other modes have their own
    records in `ir`. A codec that only ever goes verbatim (speech, say) has neither half, just its watcher. With a
    `stream_parser` and no `parse_response` the provider only streams, and a whole answer is its stream collected.
    """

    name: str
    # the upstream half
    render_request: Callable[[Any], Json] | None = None
    parse_response: Callable[[Json], Any] | None = None
    stream_parser: Callable[[], StreamParser] | None = None
    parse_error: Callable[[int, Headers, bytes], UpstreamRejected] | None = None
    watcher: Callable[[], Watcher] | None = None
    # of a whole answer that passes as it came: its usage (raises UpstreamRejected for an error inside a 200), and the
    # text of all it says, for counting where it reports no usage
    read_usage: Callable[[bytes, Headers], ir.Usage | None] | None = None
    read_text: Callable[[bytes, Headers], str] | None = None
    # the client half
    parse_request: Callable[[Json], Any] | None = None
    render_response: Callable[[Any, Rendering], Json] | None = None
    stream_renderer: Callable[[Rendering], StreamRenderer] | None = None
    render_error: Callable[[GatewayError], Json] | None = None
    # what a body already in this protocol can be patched with: a usage chunk asked for, the model's name in the body
    has_stream_options: bool = False
    has_model: bool = True
    # fields of the IR that this protocol has no place for, by name ("n", "logprobs", "audio"…); see `convert`
    cannot_carry: frozenset[str] = frozenset()
    # more of them, where that depends on the request: on its model, or on what else it says
    drops: Callable[[Any], frozenset[str]] | None = None


# ---- adaptors ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where and how one mode is served. `path` may hold {model} and any config field in braces."""

    path: str
    codec: Codec
    framing: FramingName = "sse"
    stream_path: str = ""  # where streaming has a path of its own
    flow: Callable[[UpstreamRequest, Credentials, float], Flow] | None = None  # (first request, credentials, now)
    headers: Mapping[str, str] = field(default_factory=dict)  # of this mode, beyond the adaptor's
    stream_headers: Mapping[str, str] = field(default_factory=dict)  # where the answer is to be streamed


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One entry of `channels.config` that the admin form asks for."""

    name: str
    label: str = ""
    hint: str = ""
    default: str = ""
    is_secret: bool = False
    is_required: bool = False
    setting: str = ""  # the deployment's setting (a name in Config) that is the default in place of `default`


Sign = Callable[[UpstreamRequest, Credentials, float], UpstreamRequest]
Edit = Callable[[Json], Json]
Edits = Callable[[str, Mode], tuple[Edit, ...]]  # (actual model, mode)


def no_edits(model: str, mode: Mode) -> tuple[Edit, ...]:
    return ()


def bearer(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """`Authorization: Bearer <key>`, or the bought token where there is one."""
    return _with_header(request, "Authorization", f"Bearer {credentials.token or credentials.key}")


def header_key(name: str, prefix: str = "") -> Sign:
    """The key in a header of its own."""

    def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
        return _with_header(request, name, prefix + credentials.key)

    return sign


def _with_header(request: UpstreamRequest, name: str, value: str) -> UpstreamRequest:
    # Every request comes here; dataclasses.replace would cost ten times as much.
    return UpstreamRequest(
        method=request.method, url=request.url, headers={**request.headers, name: value}, body=request.body
    )


def join(target: Target) -> str:
    """Base URL and the endpoint's path with its braces filled."""
    return target.base_url + target.path.format_map({**target.fields, "model": target.model})


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptor:
    """One channel type. `type` is One API's number, so that its databases are understood unchanged."""

    type: int
    name: str  # short and unique, for logs and metrics
    label: str  # as people write it
    base_url: str = ""  # "" means the operator must give one
    endpoints: Mapping[Mode, Endpoint] = field(default_factory=dict)
    url: Callable[[Target], str] = join
    sign: Sign = bearer
    # where a mode's endpoint depends on the actual model, too (Claude beside Gemini); `endpoints` then names the modes
    endpoint_of: Callable[[str, Mode], Endpoint] | None = None
    edits: Edits = no_edits  # on the JSON that goes upstream; none for a model means that bytes may pass verbatim
    # edits that depend on the channel's fields, after the others
    field_edits: Callable[[Mapping[str, str], str, Mode], tuple[Edit, ...]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    accepts: frozenset[str] = frozenset({"image_urls"})  # image_urls, images, audio, files…: see `convert`
    # where it takes bytes: the URLs that only the provider can read, and so are left to it (its own store of files)
    reads_url: Callable[[str], bool] | None = None
    has_stream_options: bool = True  # whether a usage chunk may be asked for
    may_ask_usage: Callable[[Mapping[str, str]], bool] | None = (
        None  # where it depends on the channel's fields
    )
    fields: tuple[Field, ...] = ()
    legacy_field: str = ""  # the config field that the deprecated column `other` fills
    key_hint: str = ""
    owner: str = ""  # `owned_by` in model lists
    models: tuple[str, ...] = ()
    is_listed: bool = True  # whether its models stand in One API's static catalogue
    retired: str = ""  # why the provider no longer answers; such a channel is refused with these words
    note: str = ""
    # bought credentials: the request that buys, None where the key serves as it is, and how its reply is read
    token_request: Callable[[Credentials, float], UpstreamRequest | None] | None = None
    parse_token: Callable[[WholeReply, float], BoughtToken] | None = None
    # an account's balance: requests in turn, and their replies' sum in the provider's currency
    balance_requests: Callable[[str, Credentials, float], tuple[UpstreamRequest, ...]] | None = None
    parse_balance: Callable[[tuple[WholeReply, ...]], float] | None = None
    balance_unit: str = ""
    # the models that an account may use: requests in turn, and the ids in their replies
    models_requests: Callable[[str, Credentials, float], tuple[UpstreamRequest, ...]] | None = None
    parse_models: Callable[[tuple[WholeReply, ...]], tuple[str, ...]] | None = None

    def endpoint(self, model: str, mode: Mode) -> Endpoint:
        """Where this mode of the actual model is served. Raises InvalidRequest where the model has no such mode."""
        return self.endpoints[mode] if self.endpoint_of is None else self.endpoint_of(model, mode)

    def edits_for(self, fields: Mapping[str, str], model: str, mode: Mode) -> tuple[Edit, ...]:
        """All edits on a body for this model, on a channel with these fields."""
        changes = self.edits(model, mode)
        return changes if self.field_edits is None else (*changes, *self.field_edits(fields, model, mode))
