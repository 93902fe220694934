"""A reply read by a greenlet of its own, for sources that block and cannot be left in the middle of a read.

A source is a generator: first the status and the headers, then the bytes of the body. It raises GatewayError, and gives
its connection back, or breaks it, when it is closed. It runs at most one piece ahead of its reader.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping

import gevent
from gevent.queue import Empty, Queue

from oneapi.errors import UpstreamGarbled, UpstreamUnreachable
from oneapi.relay.transport.connections import Limits
from oneapi.relay.transport.http1 import Inflater, decoding

Start = tuple[int, Mapping[str, str]]  # status, and headers with names in lower case
Source = Generator[Start | bytes, None, None]


class PumpedReply:
    """`exchange.UpstreamReply` over a source."""

    def __init__(self, source: Source, limits: Limits, monotonic: Callable[[], float]) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._limits = limits
        self._monotonic = monotonic
        self._inflater: Inflater | None = None
        self._is_whole = False
        self._is_closed = False
        self._quiet_since: float | None = monotonic()
        self._queue: Queue[Start | bytes | Exception] = Queue(maxsize=1)
        self._greenlet = gevent.spawn(_pump, source, self._queue)

    def wait(self, seconds: float) -> bool:
        if self.status:
            return True
        try:
            item = self._next(seconds, self._limits.first_byte_s)
            if item is None:
                return False
            assert isinstance(item, tuple)  # a source starts with it
            self.headers, self._inflater = decoding(item[1])
            self.status = item[0]
            return True
        except BaseException:
            self.close()
            raise

    def read(self, seconds: float) -> bytes | None:
        if self._is_whole:
            return b""
        try:
            deadline = self._monotonic() + seconds
            while True:
                if self._inflater is not None and (data := self._inflater.take(b"")):
                    return data
                item = self._next(deadline - self._monotonic(), self._limits.silence_s)
                if item is None:
                    return None
                assert isinstance(item, bytes)
                if not item:
                    if self._inflater is not None:
                        self._inflater.finish()
                    self._is_whole = True
                    return b""
                data = item if self._inflater is None else self._inflater.take(item)
                if data:
                    return data
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._is_closed = True
        self._greenlet.kill(block=False)

    def _next(self, seconds: float, limit_s: float) -> Start | bytes | None:
        """The source's next item; None when `seconds` passed without."""
        if self._is_closed:
            raise UpstreamGarbled("The connection to the provider was closed before its answer was read.")
        if self._quiet_since is None:
            self._quiet_since = self._monotonic()
        left_s = self._quiet_since + limit_s - self._monotonic()
        try:
            item = self._queue.get(timeout=max(0.0, min(seconds, left_s)))
        except Empty:
            if self._monotonic() - self._quiet_since < limit_s:
                return None
            if self.status:
                raise UpstreamUnreachable(f"The provider fell silent for {limit_s:g} seconds.", phase="idle") from None
            raise UpstreamUnreachable(
                f"The provider did not answer within {limit_s:g} seconds.", phase="first_byte"
            ) from None
        self._quiet_since = None
        if isinstance(item, Exception):
            raise item
        return item


def _pump(source: Source, queue: Queue[Start | bytes | Exception]) -> None:
    try:
        for item in source:
            if item:
                queue.put(item)
        queue.put(b"")
    except Exception as error:  # it is for the reader, whatever it is
        queue.put(error)
    finally:
        source.close()
