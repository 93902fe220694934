"""The billing endpoints of OpenAI's old kind, asked with an API key.

Source: spec management.md §5. Mended: a user's limit is what he was granted, spent or not (D-19). Beyond it:
`?scope=user` asks for the user's figures whatever the options say, which an unlimited token's holder has a use for.
"""

from __future__ import annotations

import time

import msgspec
from flask import Blueprint, Response, request
from flask_limiter.errors import RateLimitExceeded

from oneapi.api.asked import program
from oneapi.api.routing import told_to_wait
from oneapi.database import told_when_away
from oneapi.errors import GatewayError, RateLimited, Unauthenticated
from oneapi.journal import REQUEST_ID
from oneapi.relay.dialects import error_json
from oneapi.services import tokens
from oneapi.services.rates import api_rate
from oneapi.services.tokens import TokenAndUser

blueprint = Blueprint("billing", __name__)

UNLIMITED = 100_000_000
_CENTS = 100


def subscription() -> Response:
    found = _found()
    until = 0
    if _wants_user():
        limit = _units(found.caller.user_quota + found.user_used_quota)
    else:
        limit = float(UNLIMITED) if found.is_unlimited else _units(found.remain_quota + found.used_quota)
        until = max(0, found.expired_time)
    return _json(
        {
            "object": "billing_subscription",
            "has_payment_method": True,
            "soft_limit_usd": limit,
            "hard_limit_usd": limit,
            "system_hard_limit_usd": limit,
            "access_until": until,
        }
    )


def usage() -> Response:
    found = _found()
    used = found.user_used_quota if _wants_user() else found.used_quota
    return _json({"object": "list", "total_usage": _units(used) * _CENTS})


for _prefix in ("", "/v1"):
    for _view in (subscription, usage):
        blueprint.add_url_rule(
            f"{_prefix}/dashboard/billing/{_view.__name__}",
            f"{_prefix}{_view.__name__}",
            _view,
            methods=["GET"],
            strict_slashes=False,
            provide_automatic_options=False,
        )
api_rate(blueprint)


def _found() -> TokenAndUser:
    """The token that asks, with its figures of this moment. Raises GatewayError as on the relay."""
    credential = request.headers.get("Authorization", "")
    engine = program().databases.main
    tokens.authenticate_key(
        program().token_cache, credential, client_ip=request.remote_addr or "", now=time.time(), engine=engine
    )
    with told_when_away():
        found = tokens.find_by_key(engine, tokens.parse_credential(credential)[0])
    if found is None:
        raise Unauthenticated("The API key is invalid")
    return found


def _wants_user() -> bool:
    return request.args.get("scope") == "user" or not program().snapshots.options.display_token_stat_enabled


def _units(quota: int) -> float:
    """Dollars, or bare quota where the site does not show dollars."""
    options = program().snapshots.options
    return float(quota / options.quota_per_unit) if options.display_in_currency_enabled else float(quota)


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status=status, mimetype="application/json")


@blueprint.errorhandler(GatewayError)
def _refused(error: GatewayError) -> Response:
    answer = _json(error_json("openai", error, REQUEST_ID.get()), error.client_status)
    return told_to_wait(answer, error.retry_after_s)


@blueprint.errorhandler(RateLimitExceeded)
def _too_many(error: RateLimitExceeded) -> Response:
    return _refused(RateLimited("Too many requests. Please try again later."))
