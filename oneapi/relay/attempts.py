"""Trying routes in turn until one answers.

Everything here is a generator that yields whenever the client of a stream has waited in silence for too long, so that
whoever drives it may send a comment; a call that is not streamed never yields. What is returned is an `Answer`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from oneapi.errors import GatewayError, InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import convert, ir, routing
from oneapi.relay.adaptor import (
    Codec,
    Credentials,
    Endpoint,
    Pause,
    Rendering,
    StreamRenderer,
    UpstreamRequest,
    WholeReply,
)
from oneapi.relay.convert import ClientRequest, Converted
from oneapi.relay.dialects import Dialect
from oneapi.relay.exchange import Attempt, Channel, Exchange, Ports, Route, UpstreamReply
from oneapi.relay.framing import FRAMINGS
from oneapi.relay.protocols.provider_error import parse_error
from oneapi.relay.stream import AnswerStream, RawBody, Replayed, Translated, Verbatim

SILENCE_S = 15.0  # without a byte for the client of a stream, a comment is sent
ATTEMPT_WINDOW_S = 60.0  # no new attempt later than this after the call came
KEYS_TRIED = 3  # of one channel, in one call
MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_ERROR_BYTES = 1024 * 1024
_FOREVER_S = 86_400.0  # the transport's own limits end a wait long before

# What a provider's answer may tell the client besides its body.
_RETURNED = (
    "content-disposition",
    "content-type",
    "openai-model",
    "openai-processing-ms",
    "openai-version",
    "x-request-id",
)
_JSON = (("content-type", "application/json"),)


@dataclass(slots=True)
class Silence:
    """How long the client has heard nothing. `is_heard` is False for one that hears nothing until the end anyway."""

    ports: Ports
    since_s: float
    is_heard: bool

    def left_s(self) -> float:
        if not self.is_heard:
            return _FOREVER_S
        return max(0.001, self.since_s + SILENCE_S - self.ports.monotonic())

    def is_over(self) -> bool:
        return self.is_heard and self.ports.monotonic() >= self.since_s + SILENCE_S

    def end(self) -> None:
        self.since_s = self.ports.monotonic()


@dataclass(slots=True, kw_only=True)
class Answer:
    """A route that answered: whole (`body`), or begun (`stream`; `pending` may go to the client at once)."""

    reply: UpstreamReply
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    stream: AnswerStream | None = None
    pending: bytes = b""


Waiting = Generator[None, None, None]
Work = Generator[None, None, Answer]


@dataclass(slots=True)
class Trial:
    """One call's search for an answer."""

    exchange: Exchange
    client: ClientRequest
    dialect: Dialect
    silence: Silence
    ports: Ports
    refreshed: set[tuple[int, str]] = field(default_factory=set)  # keys whose bought token was renewed for this call
    tried_keys: set[str] = field(default_factory=set)  # of channels with several

    def first_to_answer(self, routes: tuple[Route, ...]) -> Work:
        """The answer of the first route that gives one. Raises the error that tells the client most."""
        failures: list[GatewayError] = []
        todo = list(routes)
        while todo:
            planned = todo.pop(0)
            route = self._with_key(planned) if planned.channel.pool else planned
            try:
                return (yield from self._attempt(route))
            except GatewayError as error:
                failures.append(error)
                if self._has_stale_token(error, route):
                    self.ports.forget_token(route.channel)
                    self.refreshed.add((route.channel.id, route.channel.key_id))
                    todo.insert(0, route)
                elif self._has_another_key(error, planned):
                    todo.insert(0, planned)
                elif not routing.verdict(error).may_retry:
                    raise
                if self.ports.monotonic() - self.exchange.call.received_s > ATTEMPT_WINDOW_S:
                    break
        raise _most_telling(failures)

    def _attempt(self, route: Route) -> Work:
        exchange, ports = self.exchange, self.ports
        attempt = Attempt(
            channel_id=route.channel.id,
            channel_name=route.channel.name,
            model=route.model,
            started_s=ports.monotonic(),
            key_id=route.channel.key_id,
        )
        exchange.route = route
        exchange.attempts.append(attempt)
        try:
            answer = yield from self._try(route, attempt)
        except BaseException as error:
            attempt.error = error
            raise
        finally:
            attempt.elapsed_ms = round((ports.monotonic() - attempt.started_s) * 1000)
        exchange.first_content_s = ports.monotonic()
        return answer

    def _has_stale_token(self, error: GatewayError, route: Route) -> bool:
        """A bought access token may end before its time: the same channel gets one more try with a new one."""
        return (
            isinstance(error, UpstreamRejected)
            and error.is_credential
            and route.channel.adaptor.token_request is not None
            and (route.channel.id, route.channel.key_id) not in self.refreshed
        )

    def _with_key(self, route: Route) -> Route:
        chosen = routing.with_key(
            route, is_resting=self.ports.is_key_resting, tried=self.tried_keys, rng=self.ports.rng
        )
        self.tried_keys.add(chosen.channel.key_id)
        return chosen

    def _has_another_key(self, error: GatewayError, route: Route) -> bool:
        tried = [one for one in route.channel.pool if one.id in self.tried_keys]
        return 0 < len(tried) < min(KEYS_TRIED, len(route.channel.pool)) and routing.speaks_of_the_key(error)

    def _try(self, route: Route, attempt: Attempt) -> Work:
        converted = self._converted(route)
        reply = yield from self._sent(converted, route)
        try:
            while not reply.wait(self.silence.left_s()):
                yield from self._tick()
            attempt.status = reply.status
            self.exchange.upstream_id = reply.headers.get("x-request-id", "")
            if not 200 <= reply.status < 300:
                body = yield from self._read(reply, MAX_ERROR_BYTES)
                raise _rejection(converted.endpoint.codec, reply, body)
            if self.client.head.stream and not _is_whole(reply, converted.endpoint.codec):
                return (yield from self._begun(converted, route, reply))
            if _only_streams(converted):
                return self._told(route, reply, (yield from self._collected(converted.endpoint, reply)))
            body = yield from self._read(reply, MAX_ANSWER_BYTES)
            return self._whole(converted, route, reply, body)
        except BaseException:
            reply.close()
            raise

    def _converted(self, route: Route) -> Converted:
        exchange, client, ports, channel = self.exchange, self.client, self.ports, route.channel
        codec = channel.adaptor.endpoint(route.model, client.head.mode).codec
        if codec.name != client.codec.name and isinstance(client.parsed, ir.ChatRequest):
            client.fetched = {url: ports.fetch(url) for url in convert.needs_bytes(client.parsed, channel)}
        converted = convert.to_upstream(
            client,
            route,
            Credentials(channel.key, channel.fields, ports.credentials_token(channel)),
            ports.now(),
            must_ask_usage=ports.must_ask_usage,
        )
        if converted.dropped and exchange.call.headers.get("x-oneapi-strict", "").lower() == "true":
            raise InvalidRequest(
                f"{channel.adaptor.label} has no place for: {', '.join(converted.dropped)}.", param=converted.dropped[0]
            )
        exchange.dropped = converted.dropped
        exchange.system_prompt_reset = converted.system_prompt_reset
        return converted

    # ---- sending ----

    def _sent(self, converted: Converted, route: Route) -> Generator[None, None, UpstreamReply]:
        channel, is_stream = route.channel, self.client.head.stream
        if converted.endpoint.flow is None:
            return self.ports.send(converted.request, channel, is_stream)
        credentials = Credentials(channel.key, channel.fields, self.ports.credentials_token(channel))
        flow = converted.endpoint.flow(converted.request, credentials, self.ports.now())
        found: WholeReply | None = None
        while True:
            try:
                wanted = flow.send(found)
            except StopIteration as stop:
                last: UpstreamRequest | WholeReply = stop.value
                if isinstance(last, WholeReply):
                    return _Given(last)
                return self.ports.send(last, channel, is_stream)
            if isinstance(wanted, Pause):
                yield from self._sleep(wanted.seconds)
                found = None
            else:
                found = yield from self._exchanged(wanted, channel)

    def _exchanged(self, request: UpstreamRequest, channel: Channel) -> Generator[None, None, WholeReply]:
        reply = self.ports.send(request, channel, False)
        try:
            while not reply.wait(self.silence.left_s()):
                yield from self._tick()
            body = yield from self._read(reply, MAX_ANSWER_BYTES)
        finally:
            reply.close()
        return WholeReply(reply.status, reply.headers, body)

    def _sleep(self, seconds: float) -> Waiting:
        until_s = self.ports.monotonic() + seconds
        while (left := until_s - self.ports.monotonic()) > 0:
            self.ports.sleep(min(left, self.silence.left_s()))
            yield from self._tick()

    def _tick(self) -> Waiting:
        if self.silence.is_over():
            yield
            self.silence.end()

    # ---- reading ----

    def _read(self, reply: UpstreamReply, limit: int) -> Generator[None, None, bytes]:
        pieces: list[bytes] = []
        size = 0
        while (data := reply.read(self.silence.left_s())) != b"":
            if data is None:
                yield from self._tick()
                continue
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise UpstreamGarbled("The provider's answer is larger than this gateway takes.")
        return b"".join(pieces)

    def _collected(self, endpoint: Endpoint, reply: UpstreamReply) -> Generator[None, None, ir.ChatResponse]:
        """The whole answer of a provider that only streams, read until it has said its last word."""
        assert endpoint.codec.stream_parser is not None
        framing, parser = FRAMINGS[endpoint.framing](), endpoint.codec.stream_parser()
        events: list[ir.Event] = []
        size = 0
        while not parser.is_done and (data := reply.read(self.silence.left_s())) != b"":
            if data is None:
                yield from self._tick()
                continue
            size += len(data)
            if size > MAX_ANSWER_BYTES:
                raise UpstreamGarbled("The provider's answer is larger than this gateway takes.")
            for frame in framing.feed(data):
                events += parser.feed(frame)
        for frame in framing.finish() if not parser.is_done else ():
            events += parser.feed(frame)
        events += parser.finish()
        return ir.collect(events)

    def _begun(self, converted: Converted, route: Route, reply: UpstreamReply) -> Work:
        """Reads up to the first content: before it the next route may still be tried, after it no more."""
        stream = self._stream(converted, route, reply)
        pending: list[bytes] = []
        while not stream.has_begun:
            data = stream.pull(self.silence.left_s())
            if data:
                pending.append(data)
            yield from self._tick()
        self.exchange.has_begun = True
        self.exchange.count_output = stream.output_tokens
        if converted.fidelity == "translated":
            headers = self.dialect.stream_headers
        else:
            headers = _returned(reply, self.dialect.stream_headers)
        return Answer(reply=reply, headers=headers, stream=stream, pending=b"".join(pending))

    def _stream(self, converted: Converted, route: Route, reply: UpstreamReply) -> AnswerStream:
        endpoint, codec = converted.endpoint, converted.endpoint.codec
        framing = FRAMINGS[endpoint.framing]()
        count = self._counter(route)
        if converted.fidelity != "translated":
            if codec.watcher is None:
                return RawBody(reply)
            return Verbatim(
                reply,
                framing,
                codec.watcher(),
                hide_usage=converted.asked_usage,
                end=self.dialect.last,
                count=count,
            )
        if codec.stream_parser is None:
            raise InvalidRequest("This kind of request cannot be streamed.", param="stream")
        return Translated(reply, framing, codec.stream_parser(), self._renderer(route), count=count)

    def _whole(self, converted: Converted, route: Route, reply: UpstreamReply, body: bytes) -> Answer:
        exchange, client, codec = self.exchange, self.client, converted.endpoint.codec
        count = self._counter(route)
        # A provider may ignore `stream`; where nothing can tell the answer as one, the client gets it as it is.
        can_be_told = client.head.stream and client.codec.stream_renderer and codec.parse_response
        if converted.fidelity != "translated" and not can_be_told:
            if codec.read_usage is not None:
                exchange.usage = codec.read_usage(body, reply.headers)
            exchange.has_begun = True
            if exchange.usage is None and (read_text := codec.read_text) is not None:
                exchange.count_output = lambda: count(read_text(body, reply.headers))
            return Answer(reply=reply, headers=_returned(reply), body=body)
        return self._told(route, reply, _parsed(codec, reply, body))

    def _told(self, route: Route, reply: UpstreamReply, response: Any) -> Answer:
        """A whole answer in the records of its mode, as the client is to have it."""
        exchange, client, count = self.exchange, self.client, self._counter(route)
        exchange.usage, exchange.has_begun = response.usage, True
        if client.head.stream:
            stream = Replayed(ir.replay(response), self._renderer(route), count=count)
            exchange.count_output = stream.output_tokens
            return Answer(reply=reply, headers=self.dialect.stream_headers, stream=stream)
        if client.codec.render_response is None:
            raise InvalidRequest("This kind of request cannot be converted for this provider.")
        rendered = convert.dumps(client.codec.render_response(response, self._rendering(route)))
        render_text = client.codec.read_text
        if render_text is not None:
            exchange.count_output = lambda: count(render_text(rendered, {}))
        return Answer(reply=reply, headers=_JSON, body=rendered)

    def _counter(self, route: Route) -> Callable[[str], int]:
        return lambda text: self.ports.count_tokens(text, route.model)

    def _renderer(self, route: Route) -> StreamRenderer:
        if self.client.codec.stream_renderer is None:
            raise InvalidRequest("This kind of request cannot be streamed.", param="stream")
        return self.client.codec.stream_renderer(self._rendering(route))

    def _rendering(self, route: Route) -> Rendering:
        return Rendering(
            id=self.dialect.id_prefix + self.ports.new_id(),
            created_at=int(self.ports.now()),
            model=route.model,
            wants_usage=self.client.head.wants_usage,
            request=self.client.parsed,
        )


class _Given:
    """An answer that a flow already has whole, with the face of one on its way."""

    __slots__ = ("_body", "headers", "status")

    def __init__(self, whole: WholeReply) -> None:
        self.status = whole.status
        self.headers = whole.headers
        self._body = whole.body

    def wait(self, seconds: float) -> bool:
        return True

    def read(self, seconds: float) -> bytes:
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        pass


def _only_streams(converted: Converted) -> bool:
    codec = converted.endpoint.codec
    return converted.fidelity == "translated" and codec.parse_response is None and codec.stream_parser is not None


def _is_whole(reply: UpstreamReply, codec: Codec) -> bool:
    """A whole answer where a stream was asked for: an error inside a 200, or a provider that cannot stream."""
    cannot_stream = codec.stream_parser is None and codec.watcher is None and codec.parse_response is not None
    return cannot_stream or reply.headers.get("content-type", "").startswith("application/json")


def _parsed(codec: Codec, reply: UpstreamReply, body: bytes) -> Any:
    """The answer in the records of its mode. Raises UpstreamRejected for an error inside a 200."""
    if codec.parse_response is None:
        raise UpstreamGarbled("The provider's answer came in a form this gateway cannot convert.")
    try:
        parsed = json.loads(body)
    except ValueError as error:
        raise UpstreamGarbled("The provider's answer is not valid JSON.") from error
    if not isinstance(parsed, dict):
        raise UpstreamGarbled("The provider's answer is not a JSON object.")
    return codec.parse_response(parsed)


def _rejection(codec: Codec, reply: UpstreamReply, body: bytes) -> UpstreamRejected:
    return (codec.parse_error or parse_error)(reply.status, reply.headers, body)


def _returned(reply: UpstreamReply, more: tuple[tuple[str, str], ...] = ()) -> tuple[tuple[str, str], ...]:
    """Headers for the client: those of the provider's that concern it, completed by `more`."""
    kept = {name: value for name in _RETURNED if (value := reply.headers.get(name))}
    for name, value in reply.headers.items():
        if name.startswith("x-ratelimit-"):
            kept[name] = value
    return (*kept.items(), *((name, value) for name, value in more if name.lower() not in kept))


def _most_telling(failures: list[GatewayError]) -> GatewayError:
    """What the client should hear: the last failure, rather one that is not about our own key."""
    for error in reversed(failures):
        if not (isinstance(error, UpstreamRejected) and error.is_credential):
            return error
    return failures[-1]
