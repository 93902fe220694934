"""The panel: Flask-Admin under /admin/, and the public pages, in one look. view.py says how a page is made.

assets      files for the browser          security   policy, headers, tokens of forms
view        the gate, what views share      errors     failures as pages and as JSON
display     money, moments, icons           public     home, about, login…, and One API's old paths
<noun>      one file per noun: its list, its form, its actions
"""

from __future__ import annotations

from flask import Flask
from flask_admin import Admin
from flask_admin.theme import BootstrapTheme

from oneapi.admin import (
    account,
    assets,
    channels,
    chat,
    dashboard,
    display,
    errors,
    groups,
    logs,
    models,
    playground,
    prices,
    public,
    redemptions,
    security,
    settings,
    system,
    tokens,
    topup,
    users,
)
from oneapi.config import Config
from oneapi.i18n import panel

# In the order of the menu; the first is the page at /admin/.
NOUNS = (
    dashboard,
    playground,
    chat,
    tokens,
    models,
    prices,
    logs,
    topup,
    channels,
    users,
    groups,
    redemptions,
    settings,
    system,
    account,
)


def init_app(app: Flask, config: Config) -> None:
    """Registers all pages; after the API, whose blueprints ask for no token."""
    panel.init_app(app)
    assets.init_app(app)
    unguarded = [name for name in app.blueprints if name.startswith("api_") or name in ("billing", "doctor")]
    security.init_app(app, unguarded)
    display.init_app(app)
    errors.init_app(app)
    public.init_app(app, config)
    index, *views = [made() for noun in NOUNS for made in noun.VIEWS]
    theme = BootstrapTheme(folder="tabler", base_template="admin/base.html", fluid=True)
    made = Admin(app, name="One API", url="/admin", endpoint="admin", index_view=index, theme=theme)
    made.add_views(*views)
