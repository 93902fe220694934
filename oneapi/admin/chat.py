"""The chat page that an operator has named, framed; without one the menu does not speak of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import abort
from flask_babel import lazy_gettext

from oneapi.admin import security
from oneapi.admin.view import SECTION_USE, PanelView, expose, options


class ChatView(PanelView):
    icon, section = "message-circle", SECTION_USE

    def is_visible(self) -> bool:
        return bool(security.origin(options().chat_link))

    @expose("/")
    def index(self) -> Any:
        link = options().chat_link
        if not (origin := security.origin(link)):
            abort(404)
        security.allow("frame-src", origin)
        return self.render("panel/chat.html", link=link)


VIEWS = (partial(ChatView, name=lazy_gettext("Chat"), endpoint="chat"),)
