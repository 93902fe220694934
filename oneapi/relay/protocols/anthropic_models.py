"""What each Claude model takes of Anthropic's protocol, told from its name.

Source: https://platform.claude.com/docs, the pages models/overview, build-with-claude/thinking, /effort,
/structured-outputs and the migration guides up to Claude 5.5 (read 2026-11-25), and the refusals of recorded calls.
Names may carry a vendor's dress: `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-opus-4-1@20250805`. A name
without a version, and a model of somebody else who speaks this protocol, is taken for an early Claude 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# claude-3-5-sonnet, claude-2.1, claude-v2:1 | claude-sonnet-4-5-20250929, claude-instant-1.2, claude-opus-5
_VERSION_FIRST = re.compile(r"claude-v?(\d{1,2})(?:[-.:](\d{1,2}))?(?!\d)(?:-([a-z]+))?")
_FAMILY_FIRST = re.compile(r"claude-([a-z]{3,})-v?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
_UNVERSIONED = {"claude-mythos-preview": ("mythos", (5, 0))}

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_WORDS = {"minimal": "low"}  # OpenAI's words that are none of Anthropic's


@dataclass(frozen=True, slots=True)
class Claude:
    """One model; `family` is "" where its name does not tell."""

    family: str
    version: tuple[int, int]

    @property
    def max_output_tokens(self) -> int:
        """The most it may be asked to write, without a beta header."""
        if not self.family:
            return 8192
        if self.version >= (4, 7) or (self.family == "opus" and self.version == (4, 6)):
            return 128_000
        if self.family == "opus" and (4, 0) <= self.version < (4, 5):
            return 32_000
        if self.version >= (3, 7):
            return 64_000
        return 8192 if self.version >= (3, 5) else 4096

    @property
    def takes_sampling(self) -> bool:
        """Later models refuse temperature, top_p and top_k."""
        return self.version < (4, 7)

    @property
    def takes_one_sampling(self) -> bool:
        """Whether temperature and top_p exclude each other."""
        return self.version >= (4, 1)

    @property
    def can_think(self) -> bool:
        return self.version >= (3, 7)

    @property
    def takes_budget(self) -> bool:
        return (3, 7) <= self.version <= (4, 6)

    @property
    def thinks_adaptively(self) -> bool:
        return self.version >= (4, 6)

    @property
    def thinks_unasked(self) -> bool:
        return self.version >= (5, 0)

    @property
    def always_thinks(self) -> bool:
        return self.family in ("fable", "mythos") or (self.family == "opus" and self.version >= (5, 5))

    @property
    def hides_thoughts(self) -> bool:
        """Whether the text of thoughts is left out unless it is asked for."""
        return self.version >= (4, 7)

    def not_thinking(self) -> dict[str, Any] | None:
        """What asks it not to think: {} where saying nothing does; None where it cannot be stopped."""
        if self.always_thinks:
            return None
        if not self.thinks_unasked:
            return {}
        return {"type": "between_tools" if self.family == "sonnet" and self.version >= (5, 5) else "disabled"}

    @property
    def may_be_forced(self) -> bool:
        """Whether a tool call may be demanded."""
        if self.family in ("fable", "mythos"):
            return self.version < (5, 1)
        return self.version < (5, 5) or self.family == "haiku"

    @property
    def takes_schema(self) -> bool:
        """Whether answers and tool calls can be held to a JSON schema."""
        return self.version >= (4, 5)

    def effort(self, word: str) -> str:
        """The level nearest to the word, and not above it; "" where the model has no levels."""
        if not (self.version >= (4, 6) or (self.family == "opus" and self.version == (4, 5))):
            return ""
        word = _WORDS.get(word, word)
        if word not in _EFFORTS:
            return ""
        if self.version == (4, 5) and word in ("xhigh", "max"):
            return "high"
        return "high" if self.version == (4, 6) and word == "xhigh" else word


@lru_cache(maxsize=1024)
def claude(model: str) -> Claude:
    """The model of this name."""
    for name, (family, version) in _UNVERSIONED.items():
        if name in model:
            return Claude(family, version)
    if found := _VERSION_FIRST.search(model):
        return Claude(found[3] or "claude", (int(found[1]), int(found[2] or 0)))
    if found := _FAMILY_FIRST.search(model):
        return Claude(found[1], (int(found[2]), int(found[3] or 0)))
    return Claude("", (4, 0))
