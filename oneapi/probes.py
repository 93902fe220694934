"""`/healthz` and `/readyz`: whether this process lives, and whether it should be sent requests.

Alive means that the event loop answers. Ready means that the database answers too and the worker is not stopping.
"""

from __future__ import annotations

from flask import Flask
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from oneapi.relay.door import is_draining


def init_app(app: Flask, engine: Engine) -> None:
    @app.get("/healthz")
    def healthz() -> tuple[str, int]:
        return "ok\n", 200

    @app.get("/readyz")
    def readyz() -> tuple[str, int]:
        if is_draining():
            return "stopping\n", 503
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return "the database does not answer\n", 503
        return "ready\n", 200
