"""Every route, by every kind of caller, for his own, somebody else's and a missing object: what may happen follows from
one table of rules, and no answer and no log line holds a secret that is not its reader's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import insert

from oneapi.api import NOUNS
from oneapi.api.routing import Route
from oneapi.models import Channel, Option, Redemption, Token, User
from oneapi.services import roles
from tests.api.conftest import Content, SiteOn
from tests.api.site import ADMIN, COMMON, PASSWORD, ROOT, Caller, Site

ROUTES = [route for noun in NOUNS for route in noun.ROUTES]
MISSING = 999_999
NOWHERE = "http://127.0.0.1:9"

# ---- the world ----

# What nobody may be told, wherever it stands.
CHANNEL_SECRETS = ("sk-channel-secret", "sk-pool-secret", "proxy-secret", "cloud-secret")
OPTION_SECRETS = {
    "SMTPToken": "smtp-secret",
    "GitHubClientSecret": "github-secret",
    "LarkClientSecret": "lark-secret",
    "OidcClientSecret": "oidc-secret",
    "WeChatServerToken": "wechat-secret",
    "MessagePusherToken": "pusher-secret",
    "TurnstileSecretKey": "turnstile-secret",
    "SomethingNewSecret": "unknown-secret",
}
CODE = "c0de" * 8


@dataclass
class Person:
    """Somebody with a token of his own. His secrets are his access token, his password, and the token's key."""

    name: str
    caller: Caller
    role: int
    token_id: int = 0
    key: str = ""
    secrets: set[str] = field(default_factory=set)


class World:
    """A site with people, channels, a code, and secrets in every place that may hold some. `restore` makes it new."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.people: dict[str, Person] = {}
        for name, role in (("user", COMMON), ("other", COMMON), ("admin", ADMIN), ("peer", ADMIN), ("root", ROOT)):
            self._add(name, role, site.user(role, access_token=_access_token(name)))
        for name in ("by cookie", "banned", "expired"):
            self._add(name, COMMON, site.logged_in(COMMON, access_token=_access_token(name)))
        self._add("banned by token", COMMON, site.user(COMMON, status=2))
        site.change(User, self.people["banned"].caller.id, status=2)
        site.change(User, self.people["expired"].caller.id, session_version=9)
        self.people["nobody"] = Person("nobody", site.anybody(), 0)
        with site.engine.begin() as connection:
            connection.execute(insert(Option), [{"key": key, "value": value} for key, value in OPTION_SECRETS.items()])
            shared = {"group": "default", "models": "m", "base_url": NOWHERE, "created_time": 1, "name": "shop"}
            pool = json.dumps({"keys": ["sk-pool-secret"], "proxy": "http://u:proxy-secret@127.0.0.1:9"})
            cloud = json.dumps({"region": "eu", "ak": "cloud-secret-id", "sk": "cloud-secret"})
            rows = [
                {**shared, "type": 1, "key": "sk-channel-secret", "settings": pool, "config": ""},
                {**shared, "type": 33, "key": "-", "settings": "", "config": cloud, "status": 2},
            ]
            self.channels = [connection.execute(insert(Channel).values(**row)).inserted_primary_key[0] for row in rows]
            code = insert(Redemption).values(user_id=1, key=CODE, name="code", quota=5, created_time=1, status=1)
            self.code = int(connection.execute(code).inserted_primary_key[0])
        self._content = Content(site.engine)
        self._cookies = {
            name: cookie.value
            for name, person in self.people.items()
            if (cookie := person.caller.client.get_cookie("session")) is not None
        }
        site.forget()

    def restore(self) -> None:
        self._content.put_back()
        self.site.forget()
        for name, person in self.people.items():
            person.caller.client.delete_cookie("session")
            if name in self._cookies:
                person.caller.client.set_cookie("session", self._cookies[name])

    def _add(self, name: str, role: int, caller: Caller) -> None:
        row = self.site.row(User, caller.id)
        person = Person(name, caller, role, key=f"key-of-{name}".replace(" ", "-").ljust(48, "x"))
        with self.site.engine.begin() as connection:
            token = insert(Token).values(user_id=caller.id, key=person.key, name="t", expired_time=-1, status=1)
            person.token_id = int(connection.execute(token).inserted_primary_key[0])
        person.secrets = {row.access_token, row.password, PASSWORD}
        self.people[name] = person

    def secrets_for(self, reader: Person) -> set[str]:
        """What must not be in an answer to him: nobody's secrets, others' keys, and codes, where he is no admin."""
        found = {*CHANNEL_SECRETS, *OPTION_SECRETS.values(), str(self.site.app.secret_key)}
        for person in self.people.values():
            found |= person.secrets | ({person.key} if person is not reader and person.key else set())
        return found if reader.role >= ADMIN else found | {CODE}


def _access_token(name: str) -> str:
    return f"access-token-of-{name}".ljust(32, "x")[:32]


# ---- the rules ----

UNAUTHENTICATED, REFUSED, DONE, OPEN = "401", "refused", "done", "whatever the rest of the request makes of it"


def outcome(world: World, route: Route, asker: Person, target: Any) -> str:
    """What is to happen when he asks that of the target."""
    if route.role is None:
        return OPEN
    if asker.name in ("nobody", "expired"):
        return UNAUTHENTICATED
    if asker.name.startswith("banned") or asker.role < route.role:
        return REFUSED
    if rule := RULES.get((route.method, route.path)):
        return DONE if rule.may(world, asker, target) else REFUSED
    return OPEN


def _owns_token(world: World, asker: Person, target: Any) -> bool:
    return bool(target == asker.token_id)


def _is_there(world: World, asker: Person, target: Any) -> bool:
    return bool(target != MISSING)


def _always(world: World, asker: Person, target: Any) -> bool:
    return True


def _is_above(world: World, asker: Person, target: Any) -> bool:
    found = next((one for one in world.people.values() if one.caller.id == target), None)
    return found is not None and roles.may_act_on(asker.role, found.role)


def _sees(world: World, asker: Person, target: Any) -> bool:
    return bool(target == asker.caller.id) or _is_above(world, asker, target)


def _removes(world: World, asker: Person, target: Any) -> bool:
    return _is_above(world, asker, target) and target != world.people["root"].caller.id


@dataclass(frozen=True)
class Rule:
    """`targets` gives the ids that are tried, `body` the request's for one of them."""

    may: Callable[[World, Person, Any], bool]
    targets: Callable[[World, Person], list[int]]
    body: Callable[[World, int], object] = lambda world, target: None


def _tokens(world: World, asker: Person) -> list[int]:
    return [asker.token_id, world.people["other"].token_id, world.people["root"].token_id, MISSING]


def _users(world: World, asker: Person) -> list[int]:
    return [asker.caller.id, *(world.people[name].caller.id for name in ("other", "peer", "root")), MISSING]


def _channels(world: World, asker: Person) -> list[int]:
    return [*world.channels, MISSING]


def _codes(world: World, asker: Person) -> list[int]:
    return [world.code, MISSING]


def _name_of(world: World, user_id: int) -> str:
    return str(world.site.row(User, user_id).username) if user_id not in (0, MISSING) else "somebody who is not there"


RULES = {
    ("GET", "/api/token/<id>"): Rule(_owns_token, _tokens),
    ("PUT", "/api/token/"): Rule(_owns_token, _tokens, lambda world, id: {"id": id, "name": "n"}),
    ("DELETE", "/api/token/<id>"): Rule(_owns_token, _tokens),
    ("GET", "/api/user/<id>"): Rule(_sees, _users),
    ("PUT", "/api/user/"): Rule(_is_above, _users, lambda world, id: {"id": id, "display_name": "n"}),
    ("DELETE", "/api/user/<id>"): Rule(_removes, _users),
    ("POST", "/api/user/manage"): Rule(
        _removes, _users, lambda world, id: {"username": _name_of(world, id), "action": "disable"}
    ),
    ("POST", "/api/topup"): Rule(_is_there, _users, lambda world, id: {"user_id": id, "quota": 1}),
    ("GET", "/api/channel/<id>"): Rule(_is_there, _channels),
    ("PUT", "/api/channel/"): Rule(_is_there, _channels, lambda world, id: {"id": id, "priority": 3}),
    ("DELETE", "/api/channel/<id>"): Rule(_always, _channels),
    ("POST", "/api/channel/<id>/copy"): Rule(_is_there, _channels, lambda world, id: {"name": "copy"}),
    ("GET", "/api/redemption/<id>"): Rule(_is_there, _codes),
    ("PUT", "/api/redemption/"): Rule(_is_there, _codes, lambda world, id: {"id": id, "name": "n", "quota": 1}),
    ("DELETE", "/api/redemption/<id>"): Rule(_is_there, _codes),
}
BODIES = {("POST", "/api/channel/fetch_models"): {"base_url": NOWHERE, "key": "k"}}
# They go on by themselves after their answer; tests/api/test_rounds_api.py tries them.
ROUNDS = ("/api/channel/test", "/api/channel/update_balance")


def cells(world: World, route: Route, asker: Person) -> Iterator[tuple[Any, str, object]]:
    """The targets that one caller tries: id, path and body."""
    rule = RULES.get((route.method, route.path))
    targets = rule.targets(world, asker) if rule else _targets_of(world, asker, route)
    for target in targets:
        path = route.path.replace("<id>", str(target)).replace("<provider>", "github")
        yield target, path, rule.body(world, target) if rule else BODIES.get((route.method, route.path), {})


def _targets_of(world: World, asker: Person, route: Route) -> list[int]:
    if "<id>" not in route.path:
        return [0]
    return _users(world, asker) if route.path.startswith("/api/user") else _channels(world, asker)


def _changes(route: Route) -> bool:
    """Whether what it does must be undone before the next caller."""
    return route.method != "GET" or route.path in ("/api/user/token", "/api/user/aff", "/api/user/logout")


@pytest.fixture(scope="module")
def world(site_on: SiteOn) -> World:
    return World(site_on("sqlite"))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_rules_hold(route: Route, world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.restore()
    for name, asker in world.people.items():
        for target, path, body in cells(world, route, asker):
            expected = outcome(world, route, asker, target)
            if expected == OPEN and route.path in ROUNDS:
                continue
            response = asker.caller.ask(route.method, path, None if route.method == "GET" else body)
            where = (route.method, path, name, expected, response.status_code, response.text[:300])
            assert response.status_code != 500, where
            if expected == UNAUTHENTICATED:
                assert response.status_code == 401, where
            elif expected != OPEN:
                assert (response.status_code, response.get_json()["success"]) == (200, expected == DONE), where
            assert not {secret for secret in world.secrets_for(asker) if secret in response.text}, where
            if name == "banned" or (_changes(route) and expected in (DONE, OPEN)):  # the banned one's cookie is gone
                world.restore()
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert not {secret for secret in world.secrets_for(world.people["nobody"]) if secret in logged}
