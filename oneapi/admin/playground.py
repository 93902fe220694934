"""The playground: a chat with any model as any of one's own tokens, over the same door that programs use.

The browser asks /v1 itself with the token's key, which it fetches when it is needed; the page never holds keys.
"""

from __future__ import annotations

from functools import partial

from flask_babel import lazy_gettext
from sqlalchemy import select

from oneapi.admin.view import SECTION_USE, PanelView, engine, expose, me
from oneapi.models import Token
from oneapi.services import groups, tokens

MOST_TOKENS = 200


class PlaygroundView(PanelView):
    icon, section = "message-chatbot", SECTION_USE

    @expose("/")
    def index(self) -> str:
        query = (
            select(Token.id, Token.name)
            .where(Token.user_id == me().id, Token.status == tokens.ENABLED)
            .order_by(Token.id.desc())
            .limit(MOST_TOKENS)
        )
        with engine().connect() as connection:
            own = [(str(row.id), row.name or f"#{row.id}") for row in connection.execute(query)]
        return self.render("panel/playground.html", tokens=own, models=groups.available_models(engine(), me().group))


VIEWS = (partial(PlaygroundView, name=lazy_gettext("Playground"), endpoint="playground"),)
