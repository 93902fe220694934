"""The application for servers and panels that look for it in a checkout: `wsgi:app`."""

from oneapi.wsgi import app

__all__ = ["app"]
