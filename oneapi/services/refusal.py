"""What a service raises when a rule forbids what was asked.

A refusal is told to whoever asked, in his language, so it carries a key of `i18n.messages` and values instead of a
sentence. One API answers these with HTTP 200 and `success: false`, and scripts rely on that (spec management.md §4.1);
`status` differs only where its contract does.
"""

from __future__ import annotations

from collections.abc import Mapping

from oneapi.i18n import messages


class Refusal(Exception):
    """A rule said no. `retry_after_s` says when asking again may help."""

    def __init__(self, key: str, *, status: int = 200, retry_after_s: int | None = None, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.status = status
        self.retry_after_s = retry_after_s
        self.values = values

    def text(self, language: messages.Language) -> str:
        """The message in that language. A value that is itself a refusal is told in the same language."""
        values = {
            name: value.text(language) if isinstance(value, Refusal) else value for name, value in self.values.items()
        }
        return messages.text(self.key, language, **values)

    def __str__(self) -> str:
        return self.text("en")


def invalid_input(key: str, **values: str | int) -> Refusal:
    """A refusal of what was typed in: "Invalid input: <reason>"."""
    return Refusal("invalid_input", reason=_reason(key, values))


def invalid_parameter(key: str, **values: str | int) -> Refusal:
    """A refusal of how something was asked: "Invalid parameter: <reason>"."""
    return Refusal("invalid_parameter", reason=_reason(key, values))


def _reason(key: str, values: Mapping[str, object]) -> Refusal:
    reason = Refusal(key)
    reason.values = dict(values)
    return reason
