"""Flask's extensions: made here, bound to an application in app.py.

`db` knows two databases: the main one, and "logs", where the models with `__bind_key__ = "logs"` live. Without
LOG_SQL_DSN both are the same engine object, so that a log row and the balance it explains share one transaction
(database.py's `init_app`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase


class _Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=_Base)

if TYPE_CHECKING:

    class Model(DeclarativeBase):
        """What all models inherit; spelt out because type checkers cannot follow `db.Model`."""

        __bind_key__: ClassVar[str]

else:
    Model = db.Model

login = LoginManager()
# Whose address it is has been settled before Flask: a trusted proxy's headers are already applied to REMOTE_ADDR.
limiter = Limiter(key_func=get_remote_address)
