"""Counts language tokens with tiktoken's tables, which are shipped with the program: no network, from the first second.

Only two encodings are ever used. One API counts a few retired models (text-davinci-003, curie…) with p50k_base and
r50k_base; here they are counted with cl100k_base, since a table that is not on disk would be fetched over the network
under a lock that stops every other count. For the same reason a model's name is never handed to tiktoken.

Texts and tables are heavy: a table is loaded in gevent's thread pool at first need, long texts are encoded there, and
many short ones in a row let other greenlets run in between. What is longer than `EXACT_CHARACTERS` is sampled.

Source: https://github.com/openai/tiktoken (read 2026-11-25); spec relay.md §5.1.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from gevent.lock import RLock

# The file names are tiktoken's own cache keys, so that it finds the tables where it would have put its downloads.
TABLES = Path(__file__).parent.parent / "data" / "tiktoken"
_configured = os.environ.get("TIKTOKEN_CACHE_DIR")  # users of One API may have filled a directory of their own
if not _configured or not all((Path(_configured) / table.name).exists() for table in TABLES.iterdir()):
    os.environ["TIKTOKEN_CACHE_DIR"] = str(TABLES)

import tiktoken  # noqa: E402  (it must find the variable set)

if TYPE_CHECKING:
    from collections.abc import Callable

# About 4 ms of encoding: what one greenlet may keep the others waiting for.
_INLINE_CHARACTERS = 50_000
# gevent.sleep(0) only lets other callbacks run; sockets and timers have their turn when a timer is waited for.
_A_TURN_S = 1e-6
_PIECE_CHARACTERS = 20_000
# Encoding runs at 5 to 15 MB/s. Longer texts are sampled evenly, to a quarter of a second of one core.
EXACT_CHARACTERS = 2_000_000

_O200K_PREFIXES = (
    "gpt-4o",
    "gpt-4.1",
    "gpt-4.5",
    "gpt-5",
    "gpt-oss",
    "chatgpt-",
    "o1",
    "o3",
    "o4",
    "codex-",
    "computer-use-",
)

_loaded: dict[str, tiktoken.Encoding] = {}
_loading = RLock()
_inline_characters = 0  # encoded in this worker since other greenlets had their turn


def encoding_name(model: str) -> str:
    """cl100k_base or o200k_base; a vendor's prefix (openai/gpt-4o) and that of a fine-tune (ft:gpt-4o) do not count."""
    bare = model.rpartition("/")[2].removeprefix("ft:")
    return "o200k_base" if bare.startswith(_O200K_PREFIXES) else "cl100k_base"


def count(text: str, model: str) -> int:
    """Tokens of a text for a model. What looks like a special token is counted as the plain text it is."""
    global _inline_characters
    encode = _encoding(encoding_name(model)).encode_ordinary
    if len(text) > _INLINE_CHARACTERS:
        return int(gevent.get_hub().threadpool.apply(_count_long, (encode, text)))
    _inline_characters += len(text)
    if _inline_characters > _INLINE_CHARACTERS:
        _inline_characters = 0
        gevent.sleep(_A_TURN_S)
    return len(encode(text))


def _encoding(name: str) -> tiktoken.Encoding:
    encoding = _loaded.get(name)
    if encoding is None:
        with _loading:  # one greenlet loads; the others wait for it
            encoding = _loaded.get(name)
            if encoding is None:
                encoding = gevent.get_hub().threadpool.apply(tiktoken.get_encoding, (name,))
                _loaded[name] = encoding
    return encoding


def _count_long(encode: Callable[[str], list[int]], text: str) -> int:
    """Piece by piece, so that one endless word costs no more than any other text; a cut adds a token at the most."""
    pieces = -(-len(text) // _PIECE_CHARACTERS)
    step = max(1, -(-pieces * _PIECE_CHARACTERS // EXACT_CHARACTERS))
    tokens = characters = 0
    for number in range(0, pieces, step):
        piece = text[number * _PIECE_CHARACTERS : (number + 1) * _PIECE_CHARACTERS]
        tokens += len(encode(piece))
        characters += len(piece)
    return -(-tokens * len(text) // characters)
