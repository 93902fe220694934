"""For `gunicorn -c deploy/gunicorn.conf.py wsgi:app`: the settings that the command `oneapi` uses, from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # panels install what we need, but not us

from oneapi.gunicorn_conf import *  # noqa: F403
