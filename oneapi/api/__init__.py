"""/api/*: One API's management API, for its front ends and for scripts, and the billing endpoints of OpenAI's old kind.

One file per noun lists its routes; routing.py makes blueprints of them. Nothing here decides: rules are in services/.
"""

from __future__ import annotations

from flask import Flask
from flask_compress import Compress

from oneapi.api import (
    billing,
    channels,
    codes,
    frontend,
    groups,
    logs,
    models,
    oauth,
    openapi,
    options,
    redemptions,
    rounds,
    statistics,
    status,
    tokens,
    users,
)
from oneapi.api.routing import blueprint, fallback
from oneapi.config import Config
from oneapi.services import rates, sessions

NOUNS = (
    status,
    models,
    codes,
    oauth,
    users,
    options,
    channels,
    rounds,
    tokens,
    redemptions,
    logs,
    statistics,
    groups,
    openapi,
)


def init_app(app: Flask, config: Config) -> None:
    """Registers all routes. The program must be in `app.extensions["oneapi"]` before the first request."""
    sessions.init_app(app)
    rates.init_app(app, config)
    app.config.update(COMPRESS_ALGORITHM=["gzip"], COMPRESS_STREAMS=False)
    Compress(app)
    for noun in NOUNS:
        app.register_blueprint(blueprint(noun.__name__.rpartition(".")[2], noun.ROUTES))
    app.register_blueprint(billing.blueprint)
    app.register_blueprint(frontend.redirects(config.frontend_base_url) if config.frontend_base_url else fallback())
