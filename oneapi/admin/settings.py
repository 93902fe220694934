"""Settings: every option of oneapi/options.py, grouped as people look for them, each judged beside its own field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from flask import Response, abort, redirect
from flask_babel import gettext, lazy_gettext

from oneapi.admin.view import ROOT, SECTION_SITE, PanelView, actor, body, done, engine, expose, now, options, program
from oneapi.data import load_prices, price_option_texts
from oneapi.options import OPTIONS, InvalidOption, Option, Options, validate
from oneapi.relay.pricelist import as_option
from oneapi.services import settings

# page -> (title, beginnings of the keys that stand under it); what no beginning fits stands in the page's last group.
PAGES: Mapping[str, tuple[tuple[object, tuple[str, ...]], ...]] = {
    "operation": (
        (lazy_gettext("Quota"), ("QuotaForNewUser", "QuotaForInv", "PreConsumedQuota", "QuotaRemindThreshold")),
        (
            lazy_gettext("Prices"),
            ("ModelRatio", "CompletionRatio", "GroupRatio", "ExtDefaultModelRatio", "ExtModelPrice"),
        ),
        (lazy_gettext("Logs"), ("LogConsume", "ExtLog")),
        (
            lazy_gettext("Channels"),
            ("RetryTimes", "ChannelDisable", "AutomaticDisable", "AutomaticEnable", "ExtFailure", "ExtAborted"),
        ),
        (lazy_gettext("General"), ("",)),
    ),
    "system": (
        (lazy_gettext("Address"), ("ServerAddress",)),
        (lazy_gettext("Login and registration"), ("Password", "Register", "Email")),
        (lazy_gettext("Mail"), ("SMTP",)),
        (lazy_gettext("GitHub"), ("GitHub",)),
        (lazy_gettext("Lark"), ("Lark",)),
        (lazy_gettext("OpenID Connect"), ("Oidc",)),
        (lazy_gettext("WeChat"), ("WeChat",)),
        (lazy_gettext("Turnstile"), ("Turnstile",)),
        (lazy_gettext("Message Pusher"), ("MessagePusher",)),
        (lazy_gettext("General"), ("",)),
    ),
    "other": (
        (lazy_gettext("Name and looks"), ("SystemName", "Logo", "Theme", "Footer")),
        (lazy_gettext("Texts"), ("",)),
    ),
}
_NAMES = frozenset({"GitHub", "WeChat", "OAuth", "Lark", "Turnstile"})
_WORDS = re.compile(r"GitHub|WeChat|OAuth|QRCode|[A-Z]+(?![a-z])|[A-Z][a-z]*")
TITLES: Mapping[str, object] = {
    "operation": lazy_gettext("Operation"),
    "system": lazy_gettext("System"),
    "other": lazy_gettext("Appearance"),
}


def grouped(page: str) -> list[tuple[object, list[Option]]]:
    """The options of a page under their titles, in the order of their declaration."""
    groups: list[tuple[object, list[Option]]] = [(title, []) for title, _ in PAGES[page]]
    for option in OPTIONS.values():
        if option.page == page:
            at = next(at for at, (_, begins) in enumerate(PAGES[page]) if option.key.startswith(begins))
            groups[at][1].append(option)
    return [(title, options) for title, options in groups if options]


class SettingView(PanelView):
    role = ROOT
    icon, section = "settings", SECTION_SITE

    @expose("/")
    def index(self) -> Any:
        return redirect(self.get_url(".page", page="operation"))

    @expose("/<page>")
    def page(self, page: str) -> Any:
        if page not in PAGES:
            abort(404)
        return self.render(
            "panel/setting.html",
            pages=TITLES,
            page=page,
            groups=grouped(page),
            names={option.key: gettext(title_of(option.key)) for option in OPTIONS.values()},
            values=_texts(),
            filled=_filled_secrets(),
        )

    @expose("/save", methods=["POST"])
    def save(self) -> Response:
        """Saves what was changed, all of it or nothing; `errors` says what is wrong with which key."""
        stored = _texts()
        changed = {
            key: text
            for key, value in body(dict[str, Any]).items()
            if key in OPTIONS and (text := _typed(OPTIONS[key], value)) is not None and text != stored.get(key)
        }
        future = Options.from_rows({**stored, **changed})
        errors = {key: error for key, text in changed.items() if (error := _fault(key, text, future))}
        if errors:
            content = {
                "success": False,
                "message": gettext("Nothing was saved: see the fields marked."),
                "errors": errors,
            }
            return Response(msgspec.json.encode(content), mimetype="application/json")
        if changed:
            settings.save(engine(), actor(), changed, now=now())
            program().snapshots.refresh()
        return done(gettext("Saved.") if changed else gettext("Nothing was changed."))


def title_of(key: str) -> str:
    """An option's key as words: "EmailDomainWhitelist" is "Email domain whitelist"."""
    words = [word for word in _WORDS.findall(key.removeprefix("Ext")) if word]
    return " ".join([words[0], *(word if word in _NAMES or word.isupper() else word.lower() for word in words[1:])])


def _fault(key: str, text: str, future: Options) -> str:
    try:
        validate(key, text, future)
    except InvalidOption as error:
        return str(error)
    return ""


def _texts() -> dict[str, str]:
    """Every option's text as people edit it, secrets left out."""
    defaults = {key: option.default for key, option in OPTIONS.items() if not option.is_secret}
    return {**defaults, **settings.listing(engine(), _price_tables())}


def _price_tables() -> dict[str, str]:
    """Price tables completed with what is built in, as One API's settings pages show them."""
    shown = price_option_texts()
    if options().model_ratio:
        shown["ModelRatio"] = as_option({**load_prices().model_ratios, **options().model_ratio})
    if options().completion_ratio:
        del shown["CompletionRatio"]
    return shown


def _filled_secrets() -> set[str]:
    """Which secrets have a value; the values themselves stay where they are."""
    return {key for key, one in OPTIONS.items() if one.is_secret and getattr(options(), one.attribute)}


def _typed(option: Option, value: Any) -> str | None:
    """What the page's script sent, as the option's text; None for a secret that was left blank. The script sends no
    field that was not touched, so a table completed with built-in prices is not saved for having been looked at."""
    if option.kind == "bool":
        return "true" if value in (True, "true") else "false"
    if value is None:
        return "" if option.is_secret else None  # a secret that is to be forgotten
    text = str(value).replace("\r\n", "\n").replace("\0", "")
    if option.is_secret:
        return text.strip() or None
    return text if option.kind == "text" else text.strip()


VIEWS = (partial(SettingView, name=lazy_gettext("Settings"), endpoint="setting"),)
