"""The path of one call, given its ports. Pure but for them: no Flask, no clock, no network of its own.

`relay` authenticates, parses, plans, reserves, and has the routes tried in turn (attempts.py) until one answers. A
whole answer is settled before it is returned; a stream is handed back as an iterator, whose last event waits for the
settlement. docs/style.md §3–4, docs/architecture.md §3–4.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from oneapi.errors import (
    CallEnded,
    ClientGone,
    Draining,
    Forbidden,
    GatewayError,
    InsufficientQuota,
    InvalidRequest,
    NoChannel,
)
from oneapi.relay import accounting, pricing, routing, tokencount
from oneapi.relay.attempts import Answer, Silence, Trial, Work
from oneapi.relay.convert import ClientRequest
from oneapi.relay.dialects import Dialect, dialect_of
from oneapi.relay.exchange import Call, Exchange, Ports, Reply, Route, Settlement

log = logging.getLogger(__name__)

DRAIN_S = 30.0  # how long a stream is read on for its usage after its client left (option ExtAbortedStreamPolicy)
_ROLE_ADMIN = 10
DROPPED_HEADER = "X-OneAPI-Dropped"


def relay(call: Call, read_body: Callable[[], bytes], ports: Ports) -> Reply:
    """Answer one client call. Whatever is raised, quota held has been given back first.

    The body is read once the caller is known: nobody else makes this program take in megabytes.
    """
    exchange = Exchange(call=call, caller=ports.authenticate(call))
    try:
        dialect = dialect_of(call)
        body = read_body()
        client = ClientRequest(call, body, dialect.codec, dialect.head(call, body))
        exchange.head, exchange.model, exchange.is_stream = client.head, client.head.model, client.head.stream
        routes = _plan(exchange, client, ports)
        exchange.release = ports.admit(exchange.caller, client.head)
        _reserve(exchange, client, routes, ports)
        silence = Silence(ports, call.received_s, is_heard=client.head.stream and not dialect.may_be_silent)
        work = Trial(exchange, client, dialect, silence, ports).first_to_answer(routes)
        answer = _next(work)
        if answer is not None and answer.stream is None:
            exchange.is_whole = True
            finish(exchange, ports)
            answer.reply.close()
            return Reply(status=200, headers=_told(exchange, answer.headers), body=(answer.body,), close=_nothing)
    except BaseException as error:  # also a killed greenlet must not keep the user's quota
        exchange.error = error
        finish(exchange, ports)
        raise
    stream = _StreamBack(exchange, dialect, work, answer, silence, ports)
    headers = dialect.stream_headers if answer is None else answer.headers
    return Reply(status=200, headers=_told(exchange, headers), body=stream, close=stream.close)


def _told(exchange: Exchange, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The headers, with the names of what the provider has no place for."""
    return (*headers, (DROPPED_HEADER, ", ".join(exchange.dropped))) if exchange.dropped else headers


def finish(exchange: Exchange, ports: Ports) -> None:
    """Settles, records and observes the exchange; may be called twice and acts once."""
    if exchange.is_settled:
        return
    outcome = None if exchange.hold is None else _settlement(exchange, ports)
    # From here on the ledger finishes what it was given, whoever waits for it.
    exchange.is_settled = True
    try:
        if exchange.hold is not None and outcome is not None:
            ports.settle(exchange.hold, outcome)
        # They hold the exchange in turn: without this only the garbage collector would free a finished call.
        exchange.count_input = exchange.count_output = _no_tokens
    finally:
        if exchange.release is not None:
            exchange.release(exchange)
        ports.observe(exchange)


def _settlement(exchange: Exchange, ports: Ports) -> Settlement:
    """What becomes of the hold. Counting tokens may wait; a call that is ended there, perhaps while it is ending
    already, counts again: nobody else would settle it."""
    elapsed_s = ports.monotonic() - exchange.call.received_s
    while True:
        try:
            return accounting.settlement(exchange, ports.options(), ports.now(), elapsed_s)
        except CallEnded:
            continue


def _no_tokens() -> int:
    return 0


def _nothing() -> None:
    pass


def _next(work: Work) -> Answer | None:
    """The answer, or None when the client must hear something first."""
    try:
        next(work)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    return None


def _plan(exchange: Exchange, client: ClientRequest, ports: Ports) -> tuple[Route, ...]:
    caller, call, model = exchange.caller, exchange.call, client.head.model
    if not caller.may_use(model):
        raise Forbidden(f"This token may not use the model {model}.")
    directory = ports.directory()
    exchange.group_ratio = directory.prices.group_ratio(caller.group)
    pinned = caller.channel_id if call.channel_id is None else call.channel_id
    if pinned is None:
        return routing.plan(
            directory,
            group=caller.group,
            model=model,
            mode=client.head.mode,
            attempts=1 + max(0, ports.options().retry_times),
            is_cooling=ports.is_cooling,
            rng=ports.rng,
        )
    if call.channel_id is None and caller.role < _ROLE_ADMIN:
        raise Forbidden("Only administrators may choose a channel by the suffix of their token.")
    channel = directory.channel(pinned)
    if channel is None:
        raise Forbidden(f"Channel {pinned} does not exist or is disabled.")
    if client.head.mode not in channel.adaptor.endpoints:
        raise InvalidRequest(f"Channel {pinned} ({channel.adaptor.label}) does not offer this kind of request.")
    route = routing.routed(directory, channel, model)
    if route is None:
        raise NoChannel(f"The model {model} has no price.")
    return (route,)


def _reserve(exchange: Exchange, client: ClientRequest, routes: tuple[Route, ...], ports: Ports) -> None:
    """Holds what the dearest route may cost: by a cheap estimate, exactly only where that would refuse someone."""
    head, pre_consumed = client.head, ports.options().pre_consumed_quota

    prices = {id(route.price): route.price for route in routes}.values()  # mostly one: a model's price is one object

    def dearest(input_tokens: int) -> int:
        return max(pricing.estimate(head, input_tokens, price, exchange.group_ratio, pre_consumed) for price in prices)

    def count_input() -> int:
        model = exchange.route.model if exchange.route else head.model
        return tokencount.count_input(head, lambda: client.json, lambda text: ports.count_tokens(text, model), model)

    exchange.route = routes[0]
    exchange.count_input = count_input
    estimated = dearest(tokencount.estimate_tokens(head.input_bytes))
    try:
        exchange.hold = ports.reserve(exchange.caller, estimated, exchange.call.request_id)
    except InsufficientQuota:
        exact = dearest(count_input())
        if exact >= estimated:
            raise
        exchange.hold = ports.reserve(exchange.caller, exact, exchange.call.request_id)


@dataclass(slots=True)
class _StreamBack:
    """The body of a streamed reply. `answer` is None while routes are still being tried: then the 15 s of silence are
    over, status 200 is gone, and even the failure of the last route is an error event."""

    exchange: Exchange
    dialect: Dialect
    work: Work
    answer: Answer | None
    silence: Silence
    ports: Ports

    def __iter__(self) -> Iterator[bytes]:
        exchange, ports, silence = self.exchange, self.ports, self.silence
        try:
            while self.answer is None:
                silence.end()
                yield self.dialect.comment
                self.answer = _next(self.work)
            stream = self.answer.stream
            if stream is None:  # the provider ignored `stream`, and the status is gone
                exchange.is_whole = True
                finish(exchange, ports)
                yield self.dialect.event(self.answer.body) + self.dialect.last
                return
            if self.answer.pending:
                silence.end()
                yield self.answer.pending
            while not stream.is_whole:
                data = stream.pull(silence.left_s())
                if data:
                    silence.end()
                    yield data
                elif silence.is_over():
                    silence.end()
                    yield self.dialect.comment
            exchange.usage = stream.usage
            exchange.is_whole = True
            finish(exchange, ports)
            if stream.last:
                yield stream.last
        except (Exception, Draining) as error:
            if event := self._failed(error):
                yield event
            else:
                raise  # all that can tell a listener is a broken connection

    def _failed(self, error: Exception | Draining) -> bytes:
        """The error event that ends the stream, its money settled; no success marker follows it."""
        request_id = self.exchange.call.request_id
        self.exchange.error = error
        self._take_usage()
        finish(self.exchange, self.ports)
        if isinstance(error, Draining):
            error = GatewayError("This server is restarting; the answer could not be finished. Please send it again.")
        elif not isinstance(error, GatewayError):
            log.error("request %s failed in its stream", request_id, exc_info=error)
            error = GatewayError("The gateway failed at this request; its log says why.")
        return self.dialect.error_event(error, request_id)

    def close(self) -> None:
        """The end, however it came: the body sent, the client gone before or in the middle, the greenlet killed."""
        try:
            if not self.exchange.is_settled:
                self.exchange.error = self.exchange.error or ClientGone()
                if self.answer is not None and self.ports.options().ext_aborted_stream_policy == "drain":
                    self._drain(self.answer)
                self._take_usage()
                finish(self.exchange, self.ports)
        finally:
            self.work.close()
            if self.answer is not None:
                self.answer.reply.close()

    def _drain(self, answer: Answer) -> None:
        """Reads a stream on that nobody listens to, for the provider's usage."""
        stream, ports = answer.stream, self.ports
        until_s = ports.monotonic() + DRAIN_S
        try:
            while stream is not None and not stream.is_whole and (left := until_s - ports.monotonic()) > 0:
                stream.pull(left)
        except (GatewayError, CallEnded):
            pass  # what was delivered is charged, as for any aborted stream

    def _take_usage(self) -> None:
        if self.answer is not None and self.answer.stream is not None:
            self.exchange.usage = self.answer.stream.usage
