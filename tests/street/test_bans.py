"""Whoever loses his rights loses them on every worker at once: by cookie, by access token, and by API key."""

from __future__ import annotations

import pytest
import requests

from tests.street.console import User
from tests.street.shop import Shop, wait_until

TRIES = 12  # connections, each of which may be another worker's


class Rights:
    """What somebody may do, tried on connections of their own."""

    def __init__(self, shop: Shop, user: User) -> None:
        self._shop, self._user = shop, user
        self._token = shop.call("GET", "/api/user/token", session=user.session)
        self._key = shop.token(user)
        self._cookies = user.session.cookies.get_dict()

    def by_cookie(self, path: str) -> set[bool]:
        return {self._is_answered(path, cookies=self._cookies) for _ in range(TRIES)}

    def by_access_token(self, path: str) -> set[bool]:
        return {self._is_answered(path, headers={"Authorization": self._token}) for _ in range(TRIES)}

    def by_key(self) -> set[int]:
        headers = {"Authorization": f"Bearer {self._key}"}
        return {
            requests.get(f"{self._shop.url}/v1/models", headers=headers, timeout=30).status_code for _ in range(TRIES)
        }

    def _is_answered(self, path: str, **who: dict[str, str]) -> bool:
        return bool(requests.get(self._shop.url + path, timeout=30, **who).json()["success"])  # type: ignore[arg-type]


@pytest.mark.parametrize(("action", "statuses"), [("disable", {403}), ("delete", {401, 403})])
def test_who_is_disabled_or_deleted_is_out(shop: Shop, action: str, statuses: set[int]) -> None:
    user = shop.user()
    rights = Rights(shop, user)
    assert rights.by_cookie("/api/user/self") == rights.by_access_token("/api/user/self") == {True}
    assert rights.by_key() == {200}
    shop.manage(user.username, action)
    assert rights.by_cookie("/api/user/self") == rights.by_access_token("/api/user/self") == {False}
    wait_until(lambda: 200 not in rights.by_key())
    assert rights.by_key() <= statuses


def test_who_is_demoted_is_an_administrator_no_more(shop: Shop) -> None:
    user = shop.user(role="admin")
    rights = Rights(shop, user)
    assert rights.by_cookie("/api/user/") == rights.by_access_token("/api/user/") == {True}
    shop.manage(user.username, "demote")
    assert rights.by_cookie("/api/user/") == rights.by_access_token("/api/user/") == {False}
    assert rights.by_access_token("/api/user/self") == {True}
