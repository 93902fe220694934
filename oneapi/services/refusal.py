"""What a service raises when a rule forbids what was asked.

A refusal is told to whoever asked, in his language, so it carries a key of `i18n.messages` and values instead of a
sentence. One API answers these with HTTP 200 and `success: false`, and scripts rely on that (spec management.md §4.1);
`status` differs only where its contract does. A form shows it beside the `field` that it speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping

from oneapi.i18n import messages

# Key of a refusal -> the field of what was sent that it speaks of always.
_FIELDS = {
    "username_required": "username",
    "username_too_long": "username",
    "username_taken": "username",
    "display_name_too_long": "display_name",
    "email_too_long": "email",
    "email_and_code_required": "email",
    "group_too_long": "group",
    "password_length": "password",
    "current_password_wrong": "current_password",
    "credentials_wrong": "password",
    "code_wrong": "verification_code",
    "quota_negative": "quota",
    "quota_too_large": "quota",
    "group_name_invalid": "name",
    "group_ratio_invalid": "ratio",
    "token_name_too_long": "name",
    "subnet_invalid": "subnet",
    "subnet_too_long": "subnet",
    "channel_key_required": "key",
    "channel_type_unknown": "type",
    "channel_models_required": "models",
    "channel_weight_negative": "weight",
    "model_mapping_invalid": "model_mapping",
    "redemption_name_length": "name",
    "redemption_count": "count",
    "redemption_quota": "quota",
    "code_required": "key",
    "code_unknown": "key",
    "code_used": "key",
    "code_expired": "key",
}


class Refusal(Exception):
    """A rule said no. `retry_after_s` says when asking again may help."""

    def __init__(self, key: str, *, status: int = 200, retry_after_s: int | None = None, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.status = status
        self.retry_after_s = retry_after_s
        self.values = values

    @property
    def innermost(self) -> Refusal:
        """Of "Invalid input: a reason" the reason."""
        reason = self.values.get("reason")
        return reason if isinstance(reason, Refusal) else self

    @property
    def field(self) -> str | None:
        """The field of what was sent that this speaks of: the one it names itself, or the one it is about always."""
        told = self.innermost
        named = told.values.get("field")
        return str(named) if named else _FIELDS.get(told.key)

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
