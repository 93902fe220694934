"""Rows as One API's JSON objects, with exactly its keys (spec management.md §4.13).

No value is null but where One API's own is: what a row of an older version lacks is 0, "" or false. Secrets that are
not the asker's to see are blank.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oneapi.services import channels
from oneapi.services.accounts import Account
from oneapi.services.rows import AnyRow

Json = dict[str, Any]

_TEXTS = ("username", "display_name", "email", "github_id", "wechat_id", "lark_id", "oidc_id", "group", "aff_code")
_NUMBERS = ("id", "role", "status", "quota", "used_quota", "request_count", "inviter_id")


def user(row: AnyRow) -> Json:
    """A user without password and access token, which are never shown (D-04)."""
    return sparse_user(
        **{name: getattr(row, name) or "" for name in _TEXTS},
        **{name: getattr(row, name) or 0 for name in _NUMBERS},
        **_limits(row),
    )


def sparse_user(**known: object) -> Json:
    """A user object in which all but a few fields are empty, as login and manage answer."""
    return {
        "id": 0,
        "username": "",
        "password": "",
        "display_name": "",
        "role": 0,
        "status": 0,
        "email": "",
        "github_id": "",
        "wechat_id": "",
        "lark_id": "",
        "oidc_id": "",
        "verification_code": "",
        "access_token": "",
        "quota": 0,
        "used_quota": 0,
        "request_count": 0,
        "group": "",
        "aff_code": "",
        "inviter_id": 0,
        **known,
    }


def logged_in(account: Account) -> Json:
    """What every way of logging in answers with."""
    return sparse_user(
        id=account.id,
        username=account.username,
        display_name=account.display_name,
        role=account.role,
        status=account.status,
    )


def token(row: AnyRow) -> Json:
    return {
        "id": row.id,
        "user_id": row.user_id or 0,
        "key": row.key or "",
        "status": row.status or 0,
        "name": row.name or "",
        "created_time": row.created_time or 0,
        "accessed_time": row.accessed_time or 0,
        "expired_time": row.expired_time or 0,
        "remain_quota": row.remain_quota or 0,
        "unlimited_quota": bool(row.unlimited_quota),
        "used_quota": row.used_quota or 0,
        "models": row.models,
        "subnet": row.subnet,
        **_limits(row),
    }


def _limits(row: AnyRow) -> Json:
    """Ours, and only where there are any: key sets are One API's otherwise."""
    return {"limits": msgspec.Raw(row.limits.encode())} if row.limits else {}


def channel(row: AnyRow) -> Json:
    """A channel without its key (D-12), and without the secrets of its config, which some types have instead."""
    return {
        "id": row.id,
        "type": row.type or 0,
        "key": "",
        "status": row.status or 0,
        "name": row.name or "",
        "weight": row.weight,
        "created_time": row.created_time or 0,
        "test_time": row.test_time or 0,
        "response_time": row.response_time or 0,
        "base_url": row.base_url,
        "other": row.other,
        "balance": float(row.balance or 0),
        "balance_updated_time": row.balance_updated_time or 0,
        "models": row.models or "",
        "group": row.group or "",
        "used_quota": row.used_quota or 0,
        "model_mapping": row.model_mapping,
        "priority": row.priority,
        "config": channels.shown_config(row),
        "system_prompt": row.system_prompt,
        **{name: value for name in ("tag", "status_reason") if (value := getattr(row, name))},  # ours
    }


def redemption(row: AnyRow) -> Json:
    return {
        "id": row.id,
        "user_id": row.user_id or 0,
        "key": row.key or "",
        "status": row.status or 0,
        "name": row.name or "",
        "quota": row.quota or 0,
        "created_time": row.created_time or 0,
        "redeemed_time": row.redeemed_time or 0,
        "count": 0,
    }


def log(row: AnyRow) -> Json:
    return {
        "id": row.id,
        "user_id": row.user_id or 0,
        "created_at": row.created_at or 0,
        "type": row.type or 0,
        "content": row.content or "",
        "username": row.username or "",
        "token_name": row.token_name or "",
        "model_name": row.model_name or "",
        "quota": row.quota or 0,
        "prompt_tokens": row.prompt_tokens or 0,
        "completion_tokens": row.completion_tokens or 0,
        "channel": row.channel_id or 0,
        "request_id": row.request_id or "",
        "elapsed_time": row.elapsed_time or 0,
        "is_stream": bool(row.is_stream),
        "system_prompt_reset": bool(row.system_prompt_reset),
    }


def own_log(row: AnyRow) -> Json:
    """The same for whose log it is: row numbers would tell how busy the site is."""
    return {**log(row), "id": 0}
