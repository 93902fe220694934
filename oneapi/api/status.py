"""/api/status and the site's texts: what everybody may know.

Source: spec management.md §4.3.
"""

from __future__ import annotations

import time

from oneapi import __version__
from oneapi.api.asked import Asked
from oneapi.api.routing import Route

_STARTED_AT = int(time.time())


def status(asked: Asked) -> object:
    options = asked.options
    return {
        "version": f"v{__version__}",
        "start_time": _STARTED_AT,
        "email_verification": options.email_verification_enabled,
        "github_oauth": options.github_oauth_enabled,
        "github_client_id": options.github_client_id,
        "lark_client_id": options.lark_client_id,
        "system_name": options.system_name,
        "logo": options.logo,
        "footer_html": options.footer,
        "wechat_qrcode": options.wechat_account_qrcode_image_url,
        "wechat_login": options.wechat_auth_enabled,
        "server_address": options.server_address,
        "turnstile_check": options.turnstile_check_enabled,
        "turnstile_site_key": options.turnstile_site_key,
        "top_up_link": options.top_up_link,
        "chat_link": options.chat_link,
        "quota_per_unit": float(options.quota_per_unit),
        "display_in_currency": options.display_in_currency_enabled,
        "oidc": options.oidc_enabled,
        "oidc_client_id": options.oidc_client_id,
        "oidc_well_known": options.oidc_well_known,
        "oidc_authorization_endpoint": options.oidc_authorization_endpoint,
        "oidc_token_endpoint": options.oidc_token_endpoint,
        "oidc_userinfo_endpoint": options.oidc_userinfo_endpoint,
    }


def notice(asked: Asked) -> object:
    return asked.options.notice


def about(asked: Asked) -> object:
    return asked.options.about


def home_page_content(asked: Asked) -> object:
    return asked.options.home_page_content


ROUTES = (
    Route("GET", "/api/status", None, status),
    Route("GET", "/api/notice", None, notice),
    Route("GET", "/api/about", None, about),
    Route("GET", "/api/home_page_content", None, home_page_content),
)
