"""Tickets for the routes on which doctor tries the way through a proxy (probes.py).

Whoever can read the secret that signs sessions can make one, for five minutes: that is the installation itself, so an
accepted ticket also proves that both ends are of the same one.
"""

from __future__ import annotations

from itsdangerous import BadSignature, URLSafeTimedSerializer

PATH = "/v1/oneapi/doctor"  # beside the paths of models, so that a proxy treats it as it treats those
MOST_SILENCE_S = 600
_LIFE_S = 300


def issue(secret: str) -> str:
    return _serializer(secret).dumps("doctor")


def is_valid(secret: str, ticket: str) -> bool:
    try:
        _serializer(secret).loads(ticket, max_age=_LIFE_S)
    except BadSignature:
        return False
    return True


def _serializer(secret: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret, salt="oneapi.doctor")
