"""One API's classes of rate limits, counted per client address (spec management.md §7).

GA covers all of /api and billing, GW pages, CT the calls that guess at secrets; each class is one allowance for all its
routes. With Redis all workers count together; in memory each worker counts its share. Passwords and codes are guarded
in the database besides (throttle.py), whatever becomes of these counters.
"""

from __future__ import annotations

from flask import Flask, current_app

from oneapi.config import Config
from oneapi.extensions import limiter
from oneapi.services.cache import limits_storage

_CONFIG = "ONEAPI_RATES"


def init_app(app: Flask, config: Config) -> None:
    """Binds the limiter to the application."""
    uri, options = limits_storage(config)
    share = max(1, config.web_concurrency) if uri == "memory://" else 1
    app.config[_CONFIG] = {
        "GA": _rate(config.global_api_rate_limit, 180, share),
        "GW": _rate(config.global_web_rate_limit, 180, share),
        "CT": _rate(config.critical_rate_limit, 1200, share),
    }
    app.config.update(
        RATELIMIT_STORAGE_URI=uri,
        RATELIMIT_STORAGE_OPTIONS=options,
        RATELIMIT_STRATEGY="moving-window",
        RATELIMIT_HEADERS_ENABLED=True,
        RATELIMIT_KEY_PREFIX="oneapi",
        RATELIMIT_IN_MEMORY_FALLBACK_ENABLED=True,
    )
    limiter.init_app(app)


def _rate(count: int, seconds: int, share: int) -> str:
    """A limit in the limiter's words. One API reads 0 as "off", for which the limiter has the empty text."""
    return f"{max(1, count // share)} per {seconds} second" if count > 0 else ""


def _of(name: str) -> str:
    rate: str = current_app.config[_CONFIG][name]
    return rate


api_rate = limiter.shared_limit(lambda: _of("GA"), scope="GA")
web_rate = limiter.shared_limit(lambda: _of("GW"), scope="GW")
critical_rate = limiter.shared_limit(lambda: _of("CT"), scope="CT")
