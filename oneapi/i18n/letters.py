"""What the program writes to people, in English and Chinese: letters, for mail and for Message Pusher alike.

A letter is a subject and blocks; how it looks in HTML and as plain text follows from them. Whatever comes from outside,
a channel's name or a provider's words, is text and is escaped (D-56).
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from oneapi.i18n.messages import Language


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Something to be typed elsewhere, written large."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A button, and the same address to be copied."""

    label: str
    url: str


Block = Paragraph | Code | Link


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    blocks: tuple[Block, ...]
    language: Language

    def as_text(self, system_name: str) -> str:
        """For programs that show no HTML, and as Markdown, which these lines are as well."""
        parts = [self.subject, *map(_as_text, self.blocks), "-- ", _footer(system_name, self.language)]
        return "\n\n".join(parts) + "\n"

    def as_html(self, system_name: str) -> str:
        """A frame with title, content and footer, its styles in line, for mail programs know no others."""
        content = "\n".join(map(_as_html, self.blocks))
        footer = escape(_footer(system_name, self.language))
        language = "zh-CN" if self.language == "zh" else "en"
        return (
            f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8"></head>'
            '<body style="margin:0;padding:24px;background:#f4f5f7;font-family:sans-serif;color:#1f2933">\n'
            '<div style="max-width:560px;margin:0 auto;padding:24px;background:#ffffff;border-radius:8px">\n'
            f'<h2 style="margin-top:0">{escape(self.subject)}</h2>\n{content}\n'
            f'<p style="margin-top:32px;font-size:12px;color:#616e7c">{footer}</p>\n'
            "</div></body></html>\n"
        )


def _as_text(block: Block) -> str:
    match block:
        case Link(label, url):
            return f"{label}: {url}"
        case Paragraph(text) | Code(text):
            return text


def _as_html(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Code(text):
            style = "font-size:28px;font-weight:bold;letter-spacing:4px;text-align:center"
            return f'<p style="{style}">{escape(text)}</p>'
        case Link(label, url):
            style = "display:inline-block;padding:10px 20px;background:#1d4ed8;color:#ffffff;border-radius:6px"
            address = escape(url)
            return (
                f'<p><a href="{address}" style="{style};text-decoration:none">{escape(label)}</a></p>\n'
                f'<p style="font-size:12px;word-break:break-all">{address}</p>'
            )


def _footer(system_name: str, language: Language) -> str:
    if language == "zh":
        return f"此邮件由 {system_name} 自动发送，请勿直接回复。"
    return f"This message was sent by {system_name}. Please do not reply to it."


def _letter(language: Language, subject: tuple[str, str], *blocks: tuple[str, str] | Block) -> Letter:
    """A letter from pairs of (English, Chinese)."""
    at = 1 if language == "zh" else 0
    made = tuple(Paragraph(block[at]) if isinstance(block, tuple) else block for block in blocks)
    return Letter(subject[at], made, language)


# ---- to people ----


def verification(language: Language, *, system_name: str, code: str, minutes: int) -> Letter:
    return _letter(
        language,
        (f"{system_name}: verify your e-mail address", f"{system_name} 邮箱验证"),
        (
            f"Hello! Somebody wants to use this address at {system_name}. The verification code is:",
            f"您好！有人正在 {system_name} 使用此邮箱地址，验证码为：",
        ),
        Code(code),
        (
            f"It is valid for {minutes} minutes. If it was not you, there is nothing to do.",
            f"验证码 {minutes} 分钟内有效。如果不是您本人操作，请忽略此邮件。",
        ),
    )


def address_in_use(language: Language, *, system_name: str, login_url: str) -> Letter:
    """Instead of a code, where the address has an account: whoever asked is told no more than anybody else."""
    return _letter(
        language,
        (f"{system_name}: this address has an account", f"{system_name}：此邮箱已有账户"),
        (
            f"Hello! Somebody asked for a verification code for this address at {system_name}, "
            "but an account uses it already. If it was you, log in, or reset your password there.",
            f"您好！有人在 {system_name} 请求向此邮箱发送验证码，但该邮箱已被账户使用。"
            "如果是您本人，请直接登录，或在登录页重置密码。",
        ),
        Link("登录" if language == "zh" else "Log in", login_url),
    )


def password_reset(language: Language, *, system_name: str, link: str, minutes: int) -> Letter:
    return _letter(
        language,
        (f"{system_name}: reset your password", f"{system_name} 密码重置"),
        (
            f"Hello! Somebody asked for a new password for your account at {system_name}. "
            "To get one, follow this link:",
            f"您好！有人正在 {system_name} 重置您的账户密码。请点击下面的链接完成重置：",
        ),
        Link("重置密码" if language == "zh" else "Reset password", link),
        (
            f"It is valid for {minutes} minutes. If it was not you, there is nothing to do.",
            f"链接 {minutes} 分钟内有效。如果不是您本人操作，请忽略此邮件。",
        ),
    )


def password_changed(language: Language, *, system_name: str, address: str) -> Letter:
    return _letter(
        language,
        (f"{system_name}: your password was changed", f"{system_name}：您的密码已被更改"),
        (
            f"The password of your account at {system_name} was changed from the address {address}, and all other "
            "sessions were ended. If it was not you, reset your password at once.",
            f"您在 {system_name} 的账户密码已被更改（来自地址 {address}），其他登录会话均已失效。"
            "如果不是您本人操作，请立即重置密码。",
        ),
    )


def quota_low(language: Language, *, system_name: str, quota: int, is_used_up: bool, top_up_url: str) -> Letter:
    subject = (
        ("your quota is used up", "您的额度已用尽") if is_used_up else ("your quota is running low", "您的额度即将用尽")
    )
    return _letter(
        language,
        (f"{system_name}: {subject[0]}", f"{system_name}：{subject[1]}"),
        (
            f"Hello! The remaining quota of your account is {quota}. Top it up so that your requests are not refused.",
            f"您好！您的账户剩余额度为 {quota}。为了不影响使用，请及时充值。",
        ),
        Link("充值" if language == "zh" else "Top up", top_up_url),
    )


# ---- to root ----


def channel_disabled(language: Language, *, name: str, channel_id: int, reason: str) -> Letter:
    return _letter(
        language,
        (f"Channel {name} (#{channel_id}) was disabled", f"渠道「{name}」（#{channel_id}）已被禁用"),
        (f"Reason: {reason}", f"禁用原因：{reason}"),
    )


def channel_disabled_by_rate(
    language: Language, *, name: str, channel_id: int, window: int, rate: float, threshold: float
) -> Letter:
    return _letter(
        language,
        (f"Channel {name} (#{channel_id}) was disabled", f"渠道「{name}」（#{channel_id}）已被禁用"),
        (
            f"Of its last {window} requests {rate:.0%} succeeded, which is below the threshold of {threshold:.0%}.",
            f"该渠道最近 {window} 次请求的成功率为 {rate:.0%}，低于阈值 {threshold:.0%}。",
        ),
    )


def channel_enabled(language: Language, *, name: str, channel_id: int) -> Letter:
    return _letter(
        language,
        (f"Channel {name} (#{channel_id}) was enabled again", f"渠道「{name}」（#{channel_id}）已被启用"),
        ("Its last test succeeded.", "该渠道最近一次测试成功。"),
    )


def channel_slow(language: Language, *, name: str, channel_id: int, seconds: float, limit: float) -> Letter:
    return _letter(
        language,
        (f"Channel {name} (#{channel_id}) is slow", f"渠道「{name}」（#{channel_id}）响应过慢"),
        (
            f"Its test took {seconds:.2f} s, more than the limit of {limit:g} s.",
            f"测试用时 {seconds:.2f} 秒，超过阈值 {limit:g} 秒。",
        ),
    )


def tests_finished(language: Language, *, tested: int, failed: int, disabled: int, enabled: int) -> Letter:
    return _letter(
        language,
        ("The test of the channels has finished", "渠道测试完成"),
        (
            f"{tested} channels were tested: {failed} failed, {disabled} were disabled, {enabled} were enabled again.",
            f"共测试 {tested} 个渠道：{failed} 个失败，{disabled} 个被禁用，{enabled} 个被重新启用。",
        ),
    )
