"""A reply read from a pooled socket: the hot path of every request that goes through no proxy.

No greenlet and no timeout object per request. Limits are measured from the moment at which nothing is there to read, so
that a slow reader is not taken for a silent provider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from oneapi.errors import UpstreamGarbled, UpstreamUnreachable
from oneapi.relay.transport.connections import Connection, Limits, Origin, Pool, reason
from oneapi.relay.transport.http1 import Inflater, decoding

# A pooled connection that breaks this soon had been closed by the other side before it saw the request. Later, the
# request may have been worked on, and sending it again would cost twice.
_STALE_WITHIN_S = 5.0


class DirectReply:
    """`exchange.UpstreamReply` over a socket. Making one sends the request."""

    __slots__ = (
        "_connection",
        "_inflater",
        "_is_head",
        "_is_pooled",
        "_is_whole",
        "_limits",
        "_monotonic",
        "_origin",
        "_payload",
        "_pool",
        "_quiet_since",
        "_sent_at",
        "headers",
        "status",
    )

    def __init__(
        self,
        pool: Pool,
        origin: Origin,
        payload: tuple[bytes, ...],
        is_head: bool,
        limits: Limits,
        monotonic: Callable[[], float],
    ) -> None:
        """`payload` is the whole request; `is_head` says that its method is HEAD.

        Raises UpstreamUnreachable where no connection can be had, or it takes no request."""
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._pool = pool
        self._origin = origin
        self._payload = payload
        self._is_head = is_head
        self._limits = limits
        self._monotonic = monotonic
        self._inflater: Inflater | None = None
        self._is_whole = False
        self._sent_at = monotonic()
        self._quiet_since: float | None = self._sent_at  # None while bytes come
        connection = pool.take(origin)
        self._is_pooled = connection is not None
        self._connection: Connection | None = connection
        try:
            if connection is None:
                connection = self._connection = pool.connect(origin, limits.connect_s)
            self._send(connection)
        except BaseException:
            self._break()
            raise

    def wait(self, seconds: float) -> bool:
        if self.status:
            return True
        connection = self._live()
        now = self._monotonic()
        deadline = now + seconds
        try:
            while self._advance(connection, now, deadline, self._limits.first_byte_s):
                connection = self._live()  # another one, where it had gone stale
                parser = connection.parser
                if parser.has_head:
                    self._payload = ()
                    self._quiet_since = None
                    self.headers, self._inflater = decoding(parser.headers)
                    self.status = parser.status
                    return True
                now = self._monotonic()
        except BaseException:
            self._break()
            raise
        return False

    def read(self, seconds: float) -> bytes | None:
        if self._is_whole:
            return b""
        connection = self._live()
        try:
            data = self._take(connection)
            if data or self._is_whole:
                return data
            now = self._monotonic()
            deadline = now + seconds
            while self._advance(connection, now, deadline, self._limits.silence_s):
                data = self._take(connection)
                if data or self._is_whole:
                    return data
                now = self._monotonic()
        except BaseException:
            self._break()
            raise
        return None

    def close(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if self.status:
            # The last chunk of a stream says nothing to its reader, but is usually there by now.
            try:
                data = connection.receive()
                if data:
                    connection.parser.feed(data)
            except (OSError, UpstreamGarbled):
                pass
            if connection.parser.is_complete:
                self._release(connection)
                return
        self._break()

    def _live(self) -> Connection:
        if self._connection is None:
            raise UpstreamGarbled("The connection to the provider was closed before its answer was read.")
        return self._connection

    def _take(self, connection: Connection) -> bytes:
        """What has come of the body; at its end, the connection is given back."""
        parser = connection.parser
        pieces = parser.pieces
        if len(pieces) == 1:  # nearly always
            data = pieces.pop()
        else:
            data = b"".join(pieces)
            pieces.clear()
        if self._inflater is not None:
            data = self._inflater.take(data)
            if data:
                return data  # and perhaps more is held back
            if parser.is_complete:
                self._inflater.finish()
        if parser.is_complete:
            self._release(connection)
        return data

    def _advance(self, connection: Connection, now: float, deadline: float, limit_s: float) -> bool:
        """Takes in what comes next; False when the deadline passed without."""
        quiet_since = self._quiet_since
        if quiet_since is None:
            quiet_since = self._quiet_since = now
        until = min(deadline, quiet_since + limit_s)
        if connection.may_have_more or connection.wait_readable(until - now):
            try:
                data = connection.receive()
            except OSError as error:
                self._ended(connection, error)
                return True
            if data:
                if self.status:
                    self._quiet_since = None
                connection.parser.feed(data)
                return True
            if data is not None:
                self._ended(connection, None)
                return True
            if self._monotonic() < until:
                return True  # half a TLS record, say
        if self._monotonic() - quiet_since < limit_s:
            return False
        if self.status:
            raise UpstreamUnreachable(f"The provider fell silent for {limit_s:g} seconds.", phase="idle")
        raise UpstreamUnreachable(f"The provider did not answer within {limit_s:g} seconds.", phase="first_byte")

    def _ended(self, connection: Connection, error: OSError | None) -> None:
        """The other side has closed or reset the connection."""
        parser = connection.parser
        if parser.has_head:
            if error is not None:
                raise UpstreamGarbled(f"The provider's answer was cut short: {reason(error)}.") from error
            parser.finish()
            return
        if self._is_pooled and parser.is_untouched and self._monotonic() - self._sent_at < _STALE_WITHIN_S:
            self._send_afresh(connection)
            return
        raise UpstreamUnreachable(
            "The provider closed the connection without an answer.", phase="first_byte"
        ) from error

    def _send(self, connection: Connection) -> None:
        connection.parser.expect(is_head=self._is_head)
        try:
            for piece in self._payload:
                connection.send(piece, self._limits.first_byte_s)
        except TimeoutError:
            raise UpstreamUnreachable("The provider does not take the request.", phase="first_byte") from None
        except OSError:
            if self._is_pooled:
                self._send_afresh(connection)
            # Otherwise the provider has perhaps refused the request before its end; what it said is still to be read.

    def _send_afresh(self, stale: Connection) -> None:
        self._is_pooled = False
        stale.close()
        self._connection = None
        self._connection = self._pool.connect(self._origin, self._limits.connect_s)
        self._send(self._connection)

    def _release(self, connection: Connection) -> None:
        self._is_whole = True
        self._connection = None
        if connection.parser.may_reuse:
            self._pool.give(connection)
        else:
            connection.close()

    def _break(self) -> None:
        connection = self._connection
        if connection is not None:
            self._connection = None
            connection.close()
