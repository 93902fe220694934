"""How values are written on pages: money, moments, icons, and texts of an operator's own."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import nh3
from flask import Flask
from flask_wtf.csrf import generate_csrf
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

import oneapi
from oneapi.admin import security
from oneapi.admin.assets import address
from oneapi.admin.view import current, options
from oneapi.i18n import panel

_MARKDOWN = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"])
_TAGS = nh3.ALLOWED_TAGS | {"section", "figure", "figcaption", "details", "summary", "center", "font", "main", "video"}
_ATTRIBUTES = {
    **{name: set(values) for name, values in nh3.ALLOWED_ATTRIBUTES.items()},
    "*": {"class", "id", "title", "align", "style"},
    "a": {"href", "target", "title"},
    "details": {"open"},
    "font": {"color", "size"},
}
_MILLIONS = 10**7  # dollars from here on are told in millions
_EXACT_BELOW = 10**4
_LETTERS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))
_STYLES = {
    *("color", "background", "background-color", "border", "border-radius", "border-color", "box-shadow", "opacity"),
    *("margin", "margin-top", "margin-bottom", "margin-left", "margin-right", "padding", "padding-top"),
    *("padding-bottom", "padding-left", "padding-right", "width", "max-width", "min-width", "height", "max-height"),
    *("min-height", "display", "flex", "flex-direction", "flex-wrap", "justify-content", "align-items", "gap", "grid"),
    *("grid-template-columns", "text-align", "text-decoration", "font", "font-size", "font-weight", "font-style"),
    *("font-family", "line-height", "letter-spacing", "white-space", "overflow", "vertical-align", "list-style"),
}


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(money=money, when=when, count=count)
    app.jinja_env.globals.update(icon=icon, lang_tag=lang_tag, csrf_token=generate_csrf)
    app.context_processor(_shared)


def _shared() -> dict[str, Any]:
    """What every template may use. The pictures that options name may come from where they are."""
    settings = options()
    security.allow("img-src", security.origin(settings.logo), security.origin(settings.wechat_account_qrcode_image_url))
    footer = own_text(settings.footer)
    security.allow("img-src", *map(security.origin, image_addresses(footer)))
    return {
        "site": settings,
        "account": current(),
        "language": panel.language(),
        "script_texts": panel.script_texts,
        "version": oneapi.__version__,
        "footer": footer,
    }


def icon(name: str, css: str = "") -> Markup:
    """A decoration; what it means must stand beside it as text, or as the label of its button."""
    href = escape(f"{address('vendor/icons.svg')}#{name}")
    return Markup('<svg class="icon {}" aria-hidden="true"><use href="{}"/></svg>').format(css, href)


def lang_tag() -> str:
    return "zh-CN" if panel.language() == "zh" else "en"


def money(quota: int | None, places: int = 2) -> str:
    """Quota as people read it: dollars where the option says so, else a number with K, M or B."""
    amount = quota or 0
    settings = options()
    if not settings.display_in_currency_enabled:
        return count(amount)
    dollars = Decimal(amount) / settings.quota_per_unit
    sign = "-" if dollars < 0 else ""
    if abs(dollars) >= _MILLIONS:
        return f"{sign}${count(int(abs(dollars)))}"
    return f"{sign}${abs(dollars):,.{places}f}"


def count(number: int | None) -> str:
    """A number with K, M or B from ten thousand on, to a tenth."""
    amount = number or 0
    if abs(amount) < _EXACT_BELOW:
        return f"{amount:,}"
    # What rounds to a thousand of one letter is one of the next.
    size, letter = next(((size, letter) for size, letter in _LETTERS if abs(amount) >= size * 0.99995), _LETTERS[-1])
    return f"{amount / size:,.1f}".removesuffix(".0") + letter


def when(unix_s: int | None, style: str = "time") -> Markup | str:
    """A moment; the page's script writes it in the reader's time zone, in a style that FORMATS of js/app.js names."""
    if not unix_s or unix_s < 0:
        return "–"
    moment = datetime.fromtimestamp(unix_s, UTC)
    return Markup('<time datetime="{}" data-when="{}">{}</time>').format(
        moment.isoformat(), style, moment.strftime("%Y-%m-%d %H:%M UTC")
    )


@lru_cache(maxsize=16)
def own_text(text: str) -> Markup:
    """Markdown or HTML of an operator, without whatever could run or reach out of its place."""
    is_html = re.match(r"\s*<(?!https?:)", text) is not None
    html = text if is_html else _MARKDOWN.render(text)
    return Markup(nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, filter_style_properties=_STYLES))


def image_addresses(html: str) -> list[str]:
    """Of images in a text that `own_text` has made."""
    return re.findall(r'<img[^>]*\ssrc="(https?://[^"]+)"', html)
