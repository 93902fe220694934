"""Streams of providers whose answers can be written as OpenAI's chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from oneapi.relay import ir
from oneapi.relay.adaptor import Json
from oneapi.relay.protocols.openai_chat_answer import StreamParser
from oneapi.relay.protocols.openai_usage import parse_usage


class ShapedParser:
    """Half of a StreamParser: whoever extends it makes a chunk of each frame. Usage, which these providers tell in
    every piece, is read once, at the end: reading it costs as much as all else."""

    __slots__ = ("_inner", "_usage", "is_done")

    def __init__(self) -> None:
        self._inner = StreamParser()
        self._usage: Any = None
        self.is_done = False

    def feed_chunk(self, chunk: Json) -> Iterable[ir.Event]:
        """Events of one piece, which is changed."""
        self._usage = chunk.pop("usage", None) or self._usage
        return self._inner.feed_chunk(chunk)

    def more_of(self, chunk: Json) -> Iterable[ir.Event]:
        """The event of a piece that merely goes on with what was said last; none for any other, which is to be fed."""
        delta = self._inner.more_of(chunk)
        return () if delta is None else (delta,)

    def finish(self) -> Iterator[ir.Event]:
        """Raises UpstreamGarbled for a stream that ended before it was finished."""
        yield from self._inner.finish()
        if (usage := parse_usage(self._usage)) is not None:
            yield usage
