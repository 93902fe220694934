"""An answer on its way to the client: the only code that handles stream bytes.

Each kind of stream has the same face. `pull(seconds)` reads upstream once and returns what may go to the client now:
bytes (possibly none of them, when all was held back), or None when nothing came within `seconds`. What came before an
error in one read is returned first, once the answer has begun, and the error raised by the next pull. `has_begun` turns
true with the first content, which is the commit point; `is_whole` when the answer is complete. What tells a client
that it is complete (`[DONE]`, message_stop…) is never in what `pull` returns: it waits in `last` for the money.

    Verbatim     upstream's bytes, watched frame by frame
    Translated   upstream's events, rendered in the client's dialect
    Replayed     a whole answer, told as a stream
    RawBody      bytes without boundaries (speech)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from oneapi.errors import GatewayError, UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, USAGE_ONLY, StreamParser, StreamRenderer, Watcher
from oneapi.relay.exchange import UpstreamReply
from oneapi.relay.framing import Frame, Framing

# Text kept for counting before it is counted and let go: long answers must not grow a stream's memory.
_COUNT_ABOVE_CHARACTERS = 32_768
_LOOK_EVERY_FRAMES = 32


class Meter:
    """What the client was given, for when the provider reports no usage. `count` gives the tokens of a text."""

    __slots__ = ("_characters", "_count", "_pieces", "_tokens")

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._pieces: list[str] = []
        self._characters = 0
        self._tokens = 0

    def add(self, text: str) -> None:
        self._pieces.append(text)
        self._characters += len(text)
        if self._characters > _COUNT_ABOVE_CHARACTERS:
            self.output_tokens()

    def output_tokens(self) -> int:
        """Tokens of all text so far; the text is let go."""
        if self._pieces:
            tokens = self._count("".join(self._pieces))  # may wait, and be killed there: let go of the text after it
            self._pieces.clear()
            self._characters = 0
            self._tokens += tokens
        return self._tokens


class AnswerStream(Protocol):
    has_begun: bool
    is_whole: bool
    last: bytes

    @property
    def usage(self) -> ir.Usage | None: ...
    def output_tokens(self) -> int: ...
    def pull(self, seconds: float) -> bytes | None: ...


class Verbatim:
    """Upstream's own frames; `hide_usage` when the usage chunk was our wish and not the client's."""

    __slots__ = (
        "_end",
        "_failure",
        "_frames",
        "_framing",
        "_hide_usage",
        "_meter",
        "_reply",
        "_watcher",
        "has_begun",
        "is_whole",
        "last",
    )

    def __init__(
        self,
        reply: UpstreamReply,
        framing: Framing,
        watcher: Watcher,
        *,
        hide_usage: bool,
        end: bytes,
        count: Callable[[str], int],
    ) -> None:
        self._reply = reply
        self._framing = framing
        self._watcher = watcher
        self._hide_usage = hide_usage
        self._end = end  # said in the provider's place when it ends without its own last event
        self._meter = Meter(count)
        self._frames = 0
        self._failure: GatewayError | None = None
        self.has_begun = False
        self.is_whole = False
        self.last = b""

    @property
    def usage(self) -> ir.Usage | None:
        return self._watcher.usage

    def output_tokens(self) -> int:
        self._meter.add(self._watcher.take_text())
        return self._meter.output_tokens()

    def pull(self, seconds: float) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        data = self._reply.read(seconds)
        if data is None:
            return None
        frames = self._framing.feed(data) if data else self._framing.finish()
        if data and len(frames) == 1:  # nearly every read
            return self._pass(frames[0])
        had_begun = self.has_begun
        out: list[bytes] = []
        try:
            for frame in frames:
                out.append(self._pass(frame))
            if not data:
                self._end_of_body()
        except GatewayError as error:
            if not (had_begun and any(out)):
                raise
            self._failure = error
        return b"".join(out)

    def _end_of_body(self) -> None:
        if self.is_whole:
            return
        if not self._watcher.has_finished:
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        self.is_whole = self.has_begun = True
        self.last = self._end

    def _pass(self, frame: Frame) -> bytes:
        if self.is_whole:
            return b""  # nothing follows the last event
        sight = self._watcher.feed(frame)
        if sight == CONTENT:
            self.has_begun = True
            self._frames += 1
            if self._frames % _LOOK_EVERY_FRAMES == 0:
                self._meter.add(self._watcher.take_text())
        elif sight == LAST:
            self.is_whole = self.has_begun = True
            self.last = frame.raw
            return b""
        elif sight == USAGE_ONLY and self._hide_usage:
            return b""
        return frame.raw


class Translated:
    """Upstream's frames as events, and the events as the client's dialect has them."""

    __slots__ = (
        "_failure",
        "_framing",
        "_meter",
        "_parser",
        "_renderer",
        "_reply",
        "has_begun",
        "is_whole",
        "last",
        "usage",
    )

    def __init__(
        self,
        reply: UpstreamReply,
        framing: Framing,
        parser: StreamParser,
        renderer: StreamRenderer,
        *,
        count: Callable[[str], int],
    ) -> None:
        self._reply = reply
        self._framing = framing
        self._parser = parser
        self._renderer = renderer
        self._meter = Meter(count)
        self._failure: GatewayError | None = None
        self.usage: ir.Usage | None = None
        self.has_begun = False
        self.is_whole = False
        self.last = b""

    def output_tokens(self) -> int:
        return self._meter.output_tokens()

    def pull(self, seconds: float) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        data = self._reply.read(seconds)
        if data is None:
            return None
        had_begun = self.has_begun
        out: list[bytes] = []
        try:
            for frame in self._framing.feed(data) if data else self._framing.finish():
                self._render(self._parser.feed(frame), out)
            if not data or self._parser.is_done:
                self._end_of_body(out)
        except GatewayError as error:
            if not (had_begun and any(out)):
                raise
            self._failure = error
        return b"".join(out)

    def _end_of_body(self, out: list[bytes]) -> None:
        self._render(self._parser.finish(), out)
        if not self.has_begun and not self.usage:
            raise UpstreamGarbled("The provider's answer holds nothing.")
        self.is_whole = self.has_begun = True
        self.last = self._renderer.finish()

    def _render(self, events: Iterable[ir.Event], out: list[bytes]) -> None:
        for event in events:
            match event:
                case ir.Delta():  # nearly every event
                    self.has_begun = True
                    self._meter.add(event.text)
                case ir.Usage():
                    self.usage = event
                case ir.Open():
                    self.has_begun = True
                    self._meter.add(_spoken(event.part))
                case ir.Finish():
                    self.has_begun = True
            out.extend(self._renderer.feed(event))


class Replayed:
    """A whole answer told as a stream, for a client who asked for one."""

    __slots__ = ("_events", "_meter", "_renderer", "has_begun", "is_whole", "last", "usage")

    def __init__(self, events: Iterable[ir.Event], renderer: StreamRenderer, *, count: Callable[[str], int]) -> None:
        self._events = events
        self._renderer = renderer
        self._meter = Meter(count)
        self.usage: ir.Usage | None = None
        self.has_begun = True
        self.is_whole = False
        self.last = b""

    def output_tokens(self) -> int:
        return self._meter.output_tokens()

    def pull(self, seconds: float) -> bytes | None:
        out: list[bytes] = []
        for event in self._events:
            match event:
                case ir.Usage():
                    self.usage = event
                case ir.Delta():
                    self._meter.add(event.text)
                case ir.Open():
                    self._meter.add(_spoken(event.part))
            out.extend(self._renderer.feed(event))
        self.is_whole = True
        self.last = self._renderer.finish()
        return b"".join(out)


def _spoken(part: ir.Part) -> str:
    """What of a part's opening the model produced as text; pictures and sound are not text."""
    match part:
        case ir.ToolCall():
            return part.name + part.arguments
        case ir.Text() | ir.Reasoning() | ir.Refusal():
            return part.text
    return ""


class RawBody:
    """Bytes as they come; whole at the end of the body."""

    __slots__ = ("_reply", "has_begun", "is_whole", "last")

    usage: ir.Usage | None = None

    def __init__(self, reply: UpstreamReply) -> None:
        self._reply = reply
        self.has_begun = False
        self.is_whole = False
        self.last = b""

    def output_tokens(self) -> int:
        return 0

    def pull(self, seconds: float) -> bytes | None:
        data = self._reply.read(seconds)
        if data:
            self.has_begun = True
            return data
        if data is None:
            return None
        self.is_whole = self.has_begun = True
        return b""
