"""The session cookie: nobody's script reads it, no other site sends it, and over HTTPS it stays there (D-09)."""

import pytest

from oneapi.models import User
from tests.api.site import PASSWORD, Site


@pytest.mark.parametrize("headers, is_secure", [({}, False), ({"X-Forwarded-Proto": "https"}, True)])
def test_the_cookie_is_secure_where_people_come_by_https(site: Site, headers: dict[str, str], is_secure: bool) -> None:
    body = {"username": site.row(User, site.user().id).username, "password": PASSWORD}
    cookie = site.anybody().ask("POST", "/api/user/login", body, **headers).headers["Set-Cookie"]
    assert cookie.startswith("session=")
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} < {part.strip() for part in cookie.split(";")}
    assert ("Secure" in cookie) == is_secure


def test_another_sites_page_does_not_ask_in_somebodys_name(site: Site) -> None:
    user = site.logged_in()
    for sent, status in (("cross-site", 401), ("same-origin", 200), ("none", 200)):
        response = user.ask("GET", "/api/user/aff", **{"Sec-Fetch-Site": sent})
        assert response.status_code == status
    script = site.user()  # a token in a header is sent by nobody else
    assert script.ask("GET", "/api/user/aff", **{"Sec-Fetch-Site": "cross-site"}).status_code == 200
