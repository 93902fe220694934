"""Runtime settings: what root changes on the settings pages, kept as text in table `options`, one row a key.

One field of `Options` is one key; its key, kind, default, help and page stand in that one place, and forms, checks and
docs come from `OPTIONS`. `Options` is an immutable snapshot, which code receives; it never looks a setting up.

Keys, defaults and readings are One API's (spec management.md §3); keys that One API does not know begin with `Ext`, so
that a later version of it cannot collide. Unknown keys are kept, as rows, for the same reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from oneapi.columns import Columns, in_proportion, parse_price_table
from oneapi.limits import Limits, parse_group_limits

Page = Literal["operation", "system", "other"]
Kind = Literal["bool", "int", "decimal", "str", "text", "url", "csv", "ratios", "choice"]
Ratios = Mapping[str, Decimal]

_MAX_KEY_CHARACTERS = 191  # of column options.key


class InvalidOption(ValueError):
    """The value cannot be saved; the message says why, to the person who tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What is known of one key. `default` is the text that stands for "never saved".

    `is_listed`: One API's front ends expect the key in the list although it was never saved. `is_secret`: no list ever
    holds its value.
    """

    key: str
    kind: Kind
    parse: Callable[[str], Any]
    default: str
    help: str
    page: Page
    is_listed: bool = True
    is_secret: bool = False
    attribute: str = ""  # of Options; filled in below
    choices: tuple[str, ...] = ()


# ---- how a text becomes a value; each raises ValueError, whose text completes "Key ..." ----
# What is accepted here must also be readable by the Go program, which takes a number it cannot read for 0.

_WHOLE = re.compile(r"-?\d+", re.ASCII)
_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST = 2**63 - 1


def _plain(text: str) -> str:
    return text


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _url(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.netloc):
        raise ValueError("must be a URL that begins with http:// or https://")
    return text.rstrip("/")


def _own_address(text: str) -> str:
    return _url(text) or "http://localhost:3000"


def _csv(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _whole(low: int, high: int = _LARGEST) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise ValueError("must be a whole number")
        number = int(text[:40])
        if not low <= number <= high:
            raise ValueError(f"must be at least {low}" if number < low else f"must be at most {high}")
        return number

    return parse


def _positive(text: str) -> Decimal:
    number = _not_negative(text)
    if number == 0:
        raise ValueError("must be greater than 0")
    return number


def _not_negative(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError("must be a number")
    return _not_below_zero(Decimal(text))


def _not_negative_or_none(text: str) -> Decimal | None:
    return _not_negative(text) if text else None


def _not_below_zero(number: object) -> Decimal:
    if not isinstance(number, Decimal) or not number.is_finite():
        raise ValueError("must be a number")
    if number < 0:
        raise ValueError("must not be negative")
    return in_proportion(number)


def _ratios(text: str) -> Ratios:
    table, faults = _read_ratios(text)
    if faults:
        raise ValueError("; ".join(faults))
    return table


def _read_ratios(text: str) -> tuple[Ratios, tuple[str, ...]]:
    """The entries of a price table that are usable, and what is wrong with the others.

    Numbers become Decimals from the digits that stand there: money is not made from floats. Raises ValueError when
    there is no table at all.
    """
    faults: list[str] = []

    def noting_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(name for name, _ in pairs)
        faults.extend(f"names {name} twice" for name, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        table = json.loads(
            text, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal, object_pairs_hook=noting_repeats
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"is not valid JSON: {error}") from None
    if not isinstance(table, dict):
        raise ValueError("must be a JSON object of names and numbers")
    ratios = {}
    for name, value in table.items():
        try:
            ratios[name] = _not_below_zero(value)
        except ValueError as error:
            faults.append(f"has a value for {name} that {error}")
    return MappingProxyType(ratios), tuple(faults)


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return parse


_METADATA = "option"


def _option(kind: Kind, parse: Callable[[str], Any], key: str, default: str, page: Page, help: str, **more: Any) -> Any:
    option = Option(key=key, kind=kind, parse=parse, default=default, help=help, page=page, **more)
    value = parse(default)
    return field(default_factory=lambda: value, repr=not option.is_secret, metadata={_METADATA: option})


def _bool(key: str, default: bool, page: Page, help: str) -> Any:
    return _option("bool", _boolean, key, "true" if default else "false", page, help)


def _str(key: str, page: Page, help: str, *, default: str = "", **more: Any) -> Any:
    return _option("str", _plain, key, default, page, help, **more)


def _secret(key: str, page: Page, help: str, **more: Any) -> Any:
    return _option("str", _plain, key, "", page, help, is_secret=True, **more)


def _text(key: str, page: Page, help: str) -> Any:
    return _option("text", _plain, key, "", page, help)


def _address(key: str, page: Page, help: str, **more: Any) -> Any:
    return _option("url", _url, key, "", page, help, **more)


def _int(key: str, default: int, page: Page, help: str, *, low: int = 0, high: int = _LARGEST) -> Any:
    return _option("int", _whole(low, high), key, str(default), page, help)


def _choice(key: str, choices: tuple[str, ...], page: Page, help: str) -> Any:
    return _option("choice", _one_of(*choices), key, choices[0], page, help, choices=choices)


_DOMAINS = "gmail.com,163.com,126.com,qq.com,outlook.com,hotmail.com,icloud.com,yahoo.com,foxmail.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All settings at one moment. `Options()` is what an empty table gives."""

    # ---- system: who may sign in and how ----
    password_login_enabled: bool = _bool("PasswordLoginEnabled", True, "system", "People may log in by password.")
    password_register_enabled: bool = _bool(
        "PasswordRegisterEnabled", True, "system", "People may register by name and password."
    )
    register_enabled: bool = _bool(
        "RegisterEnabled", True, "system", "New accounts may be made at all, by any way of signing in."
    )
    email_verification_enabled: bool = _bool(
        "EmailVerificationEnabled", False, "system", "Registration needs an e-mail address and the code sent to it."
    )
    email_domain_restriction_enabled: bool = _bool(
        "EmailDomainRestrictionEnabled", False, "system", "Only addresses of the domains listed may register."
    )
    email_domain_whitelist: tuple[str, ...] = _option(
        "csv", _csv, "EmailDomainWhitelist", _DOMAINS, "system", "Domains that may register, separated by commas."
    )
    github_oauth_enabled: bool = _bool("GitHubOAuthEnabled", False, "system", "People may sign in with GitHub.")
    github_client_id: str = _str("GitHubClientId", "system", "Client id of the GitHub OAuth app.")
    github_client_secret: str = _secret("GitHubClientSecret", "system", "Client secret of the GitHub OAuth app.")
    lark_client_id: str = _str(
        "LarkClientId", "system", "App id at Lark (Feishu); when set, people may sign in with it.", is_listed=False
    )
    lark_client_secret: str = _secret("LarkClientSecret", "system", "App secret at Lark (Feishu).", is_listed=False)
    oidc_enabled: bool = _bool("OidcEnabled", False, "system", "People may sign in with an OpenID Connect provider.")
    oidc_client_id: str = _str("OidcClientId", "system", "Client id at the OpenID provider.", is_listed=False)
    oidc_client_secret: str = _secret(
        "OidcClientSecret", "system", "Client secret at the OpenID provider.", is_listed=False
    )
    oidc_well_known: str = _address(
        "OidcWellKnown",
        "system",
        "Address of the provider's /.well-known/openid-configuration; the three endpoints come from it.",
        is_listed=False,
    )
    oidc_authorization_endpoint: str = _address(
        "OidcAuthorizationEndpoint", "system", "Where the OpenID provider lets people log in.", is_listed=False
    )
    oidc_token_endpoint: str = _address(
        "OidcTokenEndpoint", "system", "Where the OpenID provider exchanges a code for a token.", is_listed=False
    )
    oidc_userinfo_endpoint: str = _address(
        "OidcUserinfoEndpoint", "system", "Where the OpenID provider says who it is.", is_listed=False
    )
    wechat_auth_enabled: bool = _bool("WeChatAuthEnabled", False, "system", "People may sign in with WeChat.")
    wechat_server_address: str = _address("WeChatServerAddress", "system", "Address of the WeChat server program.")
    wechat_server_token: str = _secret("WeChatServerToken", "system", "Access token of the WeChat server program.")
    wechat_account_qrcode_image_url: str = _str(
        "WeChatAccountQRCodeImageURL", "system", "Picture of the QR code of the WeChat account to follow."
    )
    turnstile_check_enabled: bool = _bool(
        "TurnstileCheckEnabled", False, "system", "Cloudflare Turnstile keeps robots from registering and logging in."
    )
    turnstile_site_key: str = _str("TurnstileSiteKey", "system", "Site key of Turnstile; it is public.")
    turnstile_secret_key: str = _secret("TurnstileSecretKey", "system", "Secret key of Turnstile.")

    # ---- system: mail and messages ----
    server_address: str = _option(
        "url",
        _own_address,
        "ServerAddress",
        "",
        "system",
        "Address at which people reach this site, for links in mails and for signing in elsewhere; "
        "empty: http://localhost:3000.",
    )
    smtp_server: str = _str("SMTPServer", "system", "Host of the mail server.")
    smtp_port: int = _int(
        "SMTPPort", 587, "system", "Port of the mail server; 465 is TLS from the start.", low=1, high=65535
    )
    smtp_account: str = _str("SMTPAccount", "system", "User name at the mail server.")
    smtp_from: str = _str("SMTPFrom", "system", "Sender of mails; empty: the user name.")
    smtp_token: str = _secret("SMTPToken", "system", "Password or token at the mail server.")
    message_pusher_address: str = _address(
        "MessagePusherAddress", "system", "Message Pusher that root is told through; empty: by mail."
    )
    message_pusher_token: str = _secret("MessagePusherToken", "system", "Token of Message Pusher.")

    # ---- operation: money ----
    quota_for_new_user: int = _int("QuotaForNewUser", 0, "operation", "Quota a new account starts with.")
    quota_for_inviter: int = _int("QuotaForInviter", 0, "operation", "Quota for inviting somebody.")
    quota_for_invitee: int = _int("QuotaForInvitee", 0, "operation", "Quota for having been invited.")
    pre_consumed_quota: int = _int(
        "PreConsumedQuota", 500, "operation", "Language tokens added to every estimate of what a request may cost."
    )
    quota_remind_threshold: int = _int(
        "QuotaRemindThreshold", 1000, "operation", "A mail reminds people when their balance falls below this quota."
    )
    model_ratio: Ratios = _option(
        "ratios",
        _ratios,
        "ModelRatio",
        "{}",
        "operation",
        "Price of a model's input, as JSON {model: ratio}; 1 is $0.002 per 1000 tokens. "
        "Models not listed have the built-in price.",
    )
    completion_ratio: Ratios = _option(
        "ratios",
        _ratios,
        "CompletionRatio",
        "{}",
        "operation",
        "How many times its input a model's output costs, as JSON {model: ratio}.",
    )
    ext_model_price: Mapping[str, Columns] = _option(
        "text",
        parse_price_table,
        "ExtModelPrice",
        "{}",
        "operation",
        "Further prices of a model, as JSON {model: {input, output, cached, cache_write, cache_write_1h, reasoning, "
        "audio_input, audio_output, image_input, image_output, per_unit, above}}, in dollars per million tokens. "
        "Where ModelRatio or CompletionRatio names the model, too, they go before and the others follow in proportion.",
    )
    group_ratio: Ratios = _option(
        "ratios",
        _ratios,
        "GroupRatio",
        '{"default":1,"svip":1,"vip":1}',
        "operation",
        "Factor on all prices by group of users, as JSON {group: ratio}; these are the groups there are.",
    )
    ext_group_limits: Mapping[str, Limits] = _option(
        "text",
        parse_group_limits,
        "ExtGroupLimits",
        "{}",
        "operation",
        "What each user of a group may do at most, as JSON {group: {requests_per_minute, tokens_per_minute, "
        "concurrency}}; a user's own limits go before.",
    )
    quota_per_unit: Decimal = _option(
        "decimal", _positive, "QuotaPerUnit", "500000", "operation", "Quota that is shown as one dollar."
    )
    ext_default_model_ratio: Decimal | None = _option(
        "decimal",
        _not_negative_or_none,
        "ExtDefaultModelRatio",
        "30",
        "operation",
        "Price of models that have none; empty: such models are refused.",
    )
    ext_aborted_stream_policy: str = _choice(
        "ExtAbortedStreamPolicy",
        ("delivered", "drain"),
        "operation",
        "A client that leaves a running stream pays for what was delivered, "
        "or (drain) for the whole answer, which is read on for up to 30 seconds.",
    )
    top_up_link: str = _str("TopUpLink", "operation", "Address at which redemption codes are sold.")
    chat_link: str = _str("ChatLink", "operation", "Address of a chat page; when set, the menu has an entry for it.")
    display_in_currency_enabled: bool = _bool(
        "DisplayInCurrencyEnabled", True, "operation", "Quota is shown in dollars."
    )
    display_token_stat_enabled: bool = _bool(
        "DisplayTokenStatEnabled", True, "operation", "The billing API tells of the token asked with, not of its user."
    )
    approximate_token_enabled: bool = _bool(
        "ApproximateTokenEnabled", False, "operation", "Tokens are estimated from the length of a text, not counted."
    )

    # ---- operation: logs and channels ----
    log_consume_enabled: bool = _bool(
        "LogConsumeEnabled",
        True,
        "operation",
        "Requests are logged; off, there are no statistics and no proof of bills.",
    )
    ext_log_failures: bool = _bool("ExtLogFailures", True, "operation", "Failed requests are logged, too, at no cost.")
    ext_log_retention_days: int = _int(
        "ExtLogRetentionDays", 0, "operation", "Days after which log rows are deleted; 0: never.", high=36500
    )
    retry_times: int = _int(
        "RetryTimes", 2, "operation", "Further channels tried when one fails (One API's default is 0).", high=100
    )
    channel_disable_threshold: Decimal = _option(
        "decimal",
        _not_negative,
        "ChannelDisableThreshold",
        "5",
        "operation",
        "Seconds above which a channel test counts as failed; 0: no limit.",
    )
    automatic_disable_channel_enabled: bool = _bool(
        "AutomaticDisableChannelEnabled", False, "operation", "Channels whose key or account fails are disabled."
    )
    automatic_enable_channel_enabled: bool = _bool(
        "AutomaticEnableChannelEnabled",
        False,
        "operation",
        "Channels that were disabled automatically are enabled when a test succeeds.",
    )
    ext_failure_threshold: int = _int(
        "ExtFailureThreshold",
        5,
        "operation",
        "Failures in a row after which a model of a channel rests for a while.",
        low=1,
        high=1000,
    )

    # ---- other: what people see ----
    system_name: str = _str("SystemName", "other", "Name of the site.", default="One API")
    logo: str = _str("Logo", "other", "Address of the site's logo.")
    footer: str = _text("Footer", "other", "Footer of every page, in HTML; empty: the program's own.")
    notice: str = _text("Notice", "other", "Notice shown to everybody once, in Markdown or HTML.")
    about: str = _text(
        "About", "other", "The about page, in Markdown or HTML, or the https address of a page to frame."
    )
    home_page_content: str = _text(
        "HomePageContent", "other", "The home page, in Markdown or HTML, or the https address of a page to frame."
    )
    theme: str = _choice(
        "Theme",
        ("default", "berry", "air"),
        "other",
        "Theme of One API's own interface; kept, and without effect here.",
    )

    # What stored values could not be used, a line each; not a setting.
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_rows(cls, rows: Mapping[str, str]) -> Options:
        """The snapshot that the rows make. A value that cannot be used leaves its default, and a line in `warnings`.

        Give {"Theme": config.theme, **rows}: that default is the environment's.
        """
        values: dict[str, Any] = {}
        warnings: list[str] = []
        for key, text in rows.items():
            if key not in OPTIONS:
                continue
            option = OPTIONS[key]
            try:
                if option.kind == "ratios" and text:
                    values[option.attribute], faults = _read_ratios(text)
                    warnings.extend(f"Option {key} {fault}." for fault in faults)
                elif option.kind == "bool":
                    values[option.attribute] = text == "true"
                else:
                    values[option.attribute] = option.parse(text)
            except ValueError as error:
                if text:  # an emptied setting is one that was taken back
                    warnings.append(f"Option {key} {error}; its default is used.")
        return cls(**values, warnings=tuple(warnings))


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        option.key: option
        for option in (
            replace(item.metadata[_METADATA], attribute=item.name)
            for item in fields(Options)
            if _METADATA in item.metadata
        )
    }
)


def is_secret(key: str) -> bool:
    """Whether the key's value may never be shown, known or unknown to us: One API's rule, and those it forgot."""
    return key.endswith(("Token", "Secret")) or (key in OPTIONS and OPTIONS[key].is_secret)


def is_sealed_at_rest(key: str) -> bool:
    """Whether the key's value is encrypted where there is a key for that; unknown keys are left alone."""
    return key in OPTIONS and OPTIONS[key].is_secret


def public_rows(rows: Mapping[str, str], shown: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Key and text of everything that may be listed, as One API's settings pages expect it.

    Listed are its keys, saved or not, and whatever else was saved; never a secret. `shown` replaces texts: the price
    tables completed with their built-in entries.
    """
    texts = {key: option.default for key, option in OPTIONS.items() if option.is_listed}
    return {key: text for key, text in sorted({**texts, **rows, **shown}.items()) if not is_secret(key)}


# What may be switched on only once something else is filled in: key of the switch -> (attribute, its key).
_NEEDS = {
    "EmailDomainRestrictionEnabled": ("email_domain_whitelist", "EmailDomainWhitelist"),
    "GitHubOAuthEnabled": ("github_client_id", "GitHubClientId"),
    "TurnstileCheckEnabled": ("turnstile_site_key", "TurnstileSiteKey"),
    "WeChatAuthEnabled": ("wechat_server_address", "WeChatServerAddress"),
}


def validate(key: str, text: str, options: Options) -> None:
    """Whether the text may be saved under the key, given the settings in force. An empty text takes a setting back.

    Raises InvalidOption.
    """
    if not key or len(key) > _MAX_KEY_CHARACTERS:
        raise InvalidOption(f"The name of an option has 1 to {_MAX_KEY_CHARACTERS} characters.")
    option = OPTIONS.get(key)
    if option is None:
        return
    if text or option.kind == "bool":
        try:
            option.parse(text)
        except ValueError as error:
            raise InvalidOption(f"{key} {error}.") from None
    if text == "true" and key in _NEEDS:
        attribute, needed = _NEEDS[key]
        if not getattr(options, attribute):
            raise InvalidOption(f"{key} can be switched on once {needed} is filled in.")
    if key == "EmailDomainWhitelist" and options.email_domain_restriction_enabled and not _csv(text):
        raise InvalidOption("EmailDomainWhitelist cannot be emptied while EmailDomainRestrictionEnabled is on.")
