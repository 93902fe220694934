"""The records that are handed on while one call is answered.

All are frozen save `Exchange`, which its pipeline owns: it is what settlement, log and health read at the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from oneapi.relay import ir
from oneapi.relay.adaptor import Adaptor, Mode, UpstreamRequest
from oneapi.relay.head import Head
from oneapi.relay.records import record

if TYPE_CHECKING:
    from oneapi.options import Options
    from oneapi.relay.pricing import Price, PriceList


@record(kw_only=True)
class Call:
    """What a client sent, but for its body: one request on a relay path."""

    request_id: str
    dialect: str
    mode: Mode
    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # names in lower case
    client_ip: str
    received_at: float  # Unix seconds
    received_s: float  # on the monotonic clock
    path_model: str = ""  # /v1/engines/{model}/embeddings
    channel_id: int | None = None  # a channel test, or the raw proxy's path


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: a token and its user, as of the last look. Balances here only inform; the ledger decides."""

    user_id: int
    username: str
    group: str
    role: int
    user_quota: int
    token_id: int
    token_name: str
    token_quota: int
    is_unlimited: bool
    models: frozenset[str] = frozenset()  # empty: all; items may be globs
    subnets: tuple[str, ...] = ()
    channel_id: int | None = None  # pinned by the key's suffix
    token_expires_at: int = -1
    limits: Mapping[str, Any] = field(default_factory=dict)  # "token", "user": what each has of oneapi.limits.Limits

    def may_use(self, model: str) -> bool:
        return not self.models or model in self.models or any(fnmatchcase(model, item) for item in self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One configured account at a provider, as the directory knows it."""

    id: int
    type: int
    name: str
    adaptor: Adaptor
    base_url: str  # the channel's own, or the adaptor's; without a trailing slash
    key: str = field(repr=False)
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)  # `config`, completed by `other`
    priority: int = 0
    weight: int = 0
    model_mapping: Mapping[str, str] = field(default_factory=dict)
    system_prompt: str = ""
    models: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    proxy: str | None = None  # None: as the deployment says
    overrides: Mapping[str, Any] = field(default_factory=dict)  # merged into the JSON that goes upstream
    header_overrides: Mapping[str, str] = field(default_factory=dict)
    pool: tuple[PooledKey, ...] = ()  # where the channel has several keys
    key_id: str = ""  # which of them this is: a mark that may be logged
    test_model: str = ""  # what it is to be tested with


@record()
class PooledKey:
    """One key of a channel that has several; `channel` is the channel with this key as its only one."""

    id: str
    weight: int
    channel: Channel


@record()
class Route:
    """A channel that is ready to be tried for one call: `model` is the actual model, after the channel's mapping."""

    channel: Channel
    model: str
    price: Price


@record()
class Hold:
    """Quota taken from a user, and from a limited token, until the call is settled. A row of table `holds`."""

    request_id: str
    user_id: int
    token_id: int
    user_quota: int
    token_quota: int  # 0 where the token is unlimited


@record(kw_only=True)
class LogEntry:
    """One row of table `logs` (spec management.md §1.5), with our own nullable columns last."""

    user_id: int
    created_at: int
    type: int
    content: str = ""
    username: str = ""
    token_name: str = ""
    model_name: str = ""
    quota: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    channel_id: int = 0
    request_id: str = ""
    elapsed_time: int = 0  # ms
    is_stream: bool = False
    system_prompt_reset: bool = False
    token_id: int | None = None
    first_token_ms: int | None = None
    requested_model: str | None = None
    receipt: str | None = None  # JSON: how the price came about


@record(kw_only=True)
class Settlement:
    """What becomes of a hold: `quota` is the whole cost; 0 gives all of it back.

    `is_answered` counts the request in `users.request_count`; a failure is not counted.
    """

    quota: int
    channel_id: int = 0
    is_answered: bool = True
    log: LogEntry | None = None


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One try of one route, and how it ended."""

    channel_id: int
    channel_name: str
    model: str
    started_s: float
    key_id: str = ""  # of a channel with several keys
    status: int = 0  # upstream's HTTP status, 0 where none came
    error: BaseException | None = None
    elapsed_ms: int = 0


class UpstreamReply(Protocol):
    """An answer on its way. Each wait takes a slice of time, so that the caller may do something in between.

    Both raise UpstreamUnreachable when a limit of silence is passed or the connection breaks before the head,
    and UpstreamGarbled when the body is cut.
    """

    status: int
    headers: Mapping[str, str]  # names in lower case; there once `wait` said True

    def wait(self, seconds: float) -> bool:
        """True once status and headers are there; False when `seconds` have passed without."""

    def read(self, seconds: float) -> bytes | None:
        """Body bytes as they came; None when `seconds` have passed without any; b"" at the end of the body."""

    def close(self) -> None:
        """Gives the connection back where the body was read to its end, breaks it otherwise. May be called twice."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """All of one call, filled in as it goes."""

    call: Call
    caller: Caller
    head: Head | None = None
    model: str = ""  # as requested
    is_stream: bool = False
    hold: Hold | None = None
    attempts: list[Attempt] = field(default_factory=list)
    route: Route | None = None  # the one that answered, or the last that was tried
    usage: ir.Usage | None = None
    has_begun: bool = False  # content was delivered, or a whole answer is there
    is_whole: bool = False
    error: BaseException | None = None
    first_content_s: float | None = None
    system_prompt_reset: bool = False
    group_ratio: Decimal = Decimal(1)
    dropped: tuple[str, ...] = ()  # what the conversion could not carry
    upstream_id: str = ""  # the provider's own request id
    # for when the provider reports no usage: tokens of the request, and of what was delivered so far
    count_input: Callable[[], int] = field(default=lambda: 0)
    count_output: Callable[[], int] = field(default=lambda: 0)
    is_settled: bool = False
    release: Callable[[Exchange], None] | None = None  # counts the call out of its caller's limits


@record(kw_only=True)
class Reply:
    """What the door answers with. `close` must be called once the body is done with, however it ended."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Iterable[bytes]
    close: Callable[[], None]


class Directory(Protocol):
    """The channels as of one moment."""

    prices: PriceList

    def tiers(self, group: str, model: str) -> tuple[tuple[Channel, ...], ...]:
        """Enabled channels that serve the model for the group, highest priority first, equal priorities together."""

    def channel(self, channel_id: int) -> Channel | None:
        """An enabled channel by its id."""

    def models(self, group: str) -> Mapping[str, str]:
        """Models that enabled channels serve for the group, each with the owner its channel type names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything the pipeline needs from the world, as functions. Tests give plain ones."""

    authenticate: Callable[[Call], Caller]
    directory: Callable[[], Directory]
    options: Callable[[], Options]
    reserve: Callable[[Caller, int, str], Hold]  # (caller, quota, request id)
    settle: Callable[[Hold, Settlement], None]
    send: Callable[[UpstreamRequest, Channel, bool], UpstreamReply]  # (request, channel, is_stream); may raise
    credentials_token: Callable[[Channel], str]  # a bought access token, "" where none is needed
    forget_token: Callable[[Channel], None]  # the provider refused it
    fetch: Callable[[str], ir.Image]  # an image's or file's bytes, guarded
    count_tokens: Callable[[str, str], int]  # (text, model)
    is_cooling: Callable[[int, str], bool]  # (channel id, model): the breaker is open
    sleep: Callable[[float], None]
    observe: Callable[[Exchange], None]  # channel health
    now: Callable[[], float]
    monotonic: Callable[[], float]
    new_id: Callable[[], str]
    rng: random.Random
    must_ask_usage: bool = False  # ENFORCE_INCLUDE_USAGE
    is_key_resting: Callable[[int, str], bool] = lambda channel_id, key_id: False
    # counts the call into its caller's limits, and gives what counts it out; None where he has none; may raise
    admit: Callable[[Caller, Head], Callable[[Exchange], None] | None] = lambda caller, head: None
