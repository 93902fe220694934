"""Calls that a limit refused, in the log: the first of each token in a minute, so that a flood of them is one row.

Such a call has held nothing, so the ledger, which writes the rows of all others, never hears of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from oneapi.database import run_write
from oneapi.errors import RateLimited
from oneapi.options import Options
from oneapi.relay import accounting
from oneapi.relay.exchange import Exchange
from oneapi.services import logs

log = logging.getLogger(__name__)

_MINUTE_S = 60


class RefusedCalls:
    """One per worker."""

    def __init__(
        self,
        engine: Engine,
        options: Callable[[], Options],
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._options = options
        self._now = now
        self._monotonic = monotonic
        self._minute = 0
        self._told: set[int] = set()  # tokens, in this minute

    def observe(self, exchange: Exchange) -> None:
        if exchange.hold is not None or not isinstance(exchange.error, RateLimited):
            return
        now, token_id = self._now(), exchange.caller.token_id
        if (minute := int(now) // _MINUTE_S) != self._minute:
            self._minute, self._told = minute, set()
        if token_id in self._told:
            return
        self._told.add(token_id)
        elapsed_s = self._monotonic() - exchange.call.received_s
        entry = accounting.settlement(exchange, self._options(), now, elapsed_s).log
        if entry is None:
            return

        def write(connection: Connection) -> None:
            logs.record(connection, entry)

        try:
            run_write(self._engine, write)
        except SQLAlchemyError as error:  # the call has been answered: it must not fail for its row
            log.warning("That a call was refused could not be logged: %s", type(error).__name__)
