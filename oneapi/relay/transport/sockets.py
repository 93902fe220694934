"""A socket that never blocks, and the two waits for it, which are made for millions.

They use the event loop's own watchers, made once a socket. The timer of a wait is not stopped when the wait ends but
left running for the next one, which mostly ends before it: a gevent `Timeout`, or a timer of each wait's own, costs as
much again as the read it is for.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

from gevent import get_hub, getcurrent
from gevent.ssl import SSLSocket

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_monotonic = time.monotonic


class Socket:
    """Belongs to one greenlet at a time, and is closed once, by whoever holds it. `sock` is gevent's, plain or TLS."""

    __slots__ = ("_hub", "_receive", "_send", "_switch", "_timer", "_timer_ends", "_until", "_writes", "reads", "sock")

    def __init__(self, sock: Any) -> None:
        sock.settimeout(0.0)
        self.sock = sock
        # Below gevent's own methods, which would wait; over TLS, send() hides what is waited for, and write() says it.
        below = getattr(sock, "_sock", sock)
        is_secure = isinstance(sock, SSLSocket)
        self._receive: Callable[[int], bytes] = sock.recv if is_secure else below.recv
        self._send: Callable[[Any], int] = sock.write if is_secure else below.send
        self._hub = get_hub()
        self.reads: Any = self._hub.loop.io(sock.fileno(), 1)  # the watcher; another may use it while nobody waits
        self._writes: Any = None
        self._switch: Callable[[bool], object] | None = None  # of the greenlet that waits
        self._until = 0.0
        self._timer: Any = None
        self._timer_ends = 0.0

    def wait_readable(self, seconds: float) -> bool:
        """False when `seconds` have passed without a byte, or the end, to read."""
        return self._wait(self.reads, seconds)

    def wait_writable(self, seconds: float) -> bool:
        """False when `seconds` have passed and the other side has taken nothing."""
        if self._writes is None:
            self._writes = self._hub.loop.io(self.sock.fileno(), 2)
        return self._wait(self._writes, seconds)

    def receive(self, size: int) -> bytes | None:
        """What is there to read, b"" at the end, None when nothing is there yet. Raises OSError."""
        try:
            return self._receive(size)
        except WOULD_BLOCK:
            return None

    def send(self, data: bytes, seconds: float) -> None:
        """All of `data`. Raises OSError; TimeoutError when the other side takes nothing for `seconds`."""
        rest: bytes | memoryview = data
        while True:
            wait = self.wait_writable
            try:
                sent = self._send(rest)
                if sent == len(rest):
                    return
                rest = memoryview(rest)[sent:]
                continue
            except ssl.SSLWantReadError:
                wait = self.wait_readable
            except (BlockingIOError, ssl.SSLWantWriteError):
                pass
            if not wait(seconds):
                raise TimeoutError

    def close(self) -> None:
        self.reads.close()
        if self._writes is not None:
            self._writes.close()
        self._end_timer()
        self.sock.close()

    # ---- waiting ----

    def _wait(self, watcher: Any, seconds: float) -> bool:
        if seconds <= 0:
            return True  # the attempt that follows tells
        until = self._until = _monotonic() + seconds
        if self._timer is None or until < self._timer_ends:
            self._start_timer(until, seconds)
        self._switch = switch = getcurrent().switch
        watcher.start(switch, True)
        try:
            return self._hub.switch() is True
        finally:
            self._switch = None
            watcher.stop()

    def _start_timer(self, ends: float, seconds: float) -> None:
        self._end_timer()
        self._timer_ends = ends
        self._timer = self._hub.loop.timer(seconds)
        self._timer.start(self._on_time)

    def _end_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.close()

    def _on_time(self) -> None:
        self._end_timer()
        if self._switch is None:
            return  # the wait that it was for has ended
        left_s = self._until - _monotonic()
        if left_s > 0:
            self._start_timer(self._until, left_s)
        else:
            self._switch(False)
