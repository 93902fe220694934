"""Signing in with third parties that are real servers on loopback: rules of management.md §6.6 (D-15)."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from oneapi.models import Log, User
from oneapi.services.oauth import Addresses, Providers
from oneapi.services.web import Web
from tests.api.site import ROOT, Caller, Site
from tests.identity_providers import OpenIDProvider, Social, openid_provider, social

HOME = "https://gate.example.org"
OCTOCAT = {"login": "octocat", "id": 583231, "name": "The Octocat", "email": "octocat@github.example"}
ALICE = {"sub": "248289761001", "name": "Alice Adams", "preferred_username": "alice", "email": "alice@id.example"}


@pytest.fixture
def third() -> Iterator[Social]:
    with social() as running:
        yield running


@pytest.fixture
def openid() -> Iterator[OpenIDProvider]:
    with openid_provider(claims={**ALICE, "email_verified": True}) as running:
        yield running


def offer(site: Site, third: Social, **options: str) -> Site:
    """The site with GitHub, Lark and WeChat switched on."""
    use(site, third)
    site.set_options(
        **{
            "ServerAddress": HOME,
            "GitHubOAuthEnabled": "true",
            "GitHubClientId": "app",
            "GitHubClientSecret": "app-secret",
            "LarkClientId": "app",
            "LarkClientSecret": "app-secret",
            "WeChatAuthEnabled": "true",
            "WeChatServerAddress": f"{third.url}/wechat",
            "WeChatServerToken": "wechat-token",
            **options,
        }
    )
    return site


def use(site: Site, third: Social, timeout_s: float = 5) -> None:
    addresses = Addresses(
        github_token=f"{third.url}/github/token",
        github_user=f"{third.url}/github/user",
        lark_token=f"{third.url}/lark/token",
        lark_user=f"{third.url}/lark/user",
    )
    web = Web(site.program.config, timeout_s=timeout_s)
    object.__setattr__(site.program, "providers", Providers(web, addresses))


def offer_openid(site: Site, openid: OpenIDProvider, **options: str) -> Site:
    object.__setattr__(site.program, "providers", Providers(site.program.web))
    site.set_options(
        **{
            "ServerAddress": HOME,
            "OidcEnabled": "true",
            "OidcClientId": "client",
            "OidcClientSecret": "client-secret-of-some-length",
            "OidcWellKnown": f"{openid.url}/.well-known/openid-configuration",
            **options,
        }
    )
    return site


def state(caller: Caller, query: str = "") -> str:
    return str(caller.call("GET", f"/api/oauth/state{query}"))


def come_back(caller: Caller, provider: str, code: str, **more: str) -> Any:
    """The whole answer to who comes back with this code."""
    given = more.get("state") or state(caller)
    return caller.ask("GET", f"/api/oauth/{provider}?code={code}&state={given}").get_json()


def sign_in(caller: Caller, provider: str, code: str) -> Any:
    answer = come_back(caller, provider, code)
    assert (answer["success"], answer["message"]) == (True, ""), answer
    return answer["data"]


# ---- the state ----


@pytest.mark.parametrize("provider", ["github", "oidc", "lark"])
def test_a_state_that_is_missing_or_somebody_elses_is_403(site: Site, third: Social, provider: str) -> None:
    offer(site, third, OidcEnabled="true")
    anybody, other = site.anybody(), site.anybody()
    theirs = state(other)
    for given in ("", "&state=", "&state=made-up", f"&state={theirs}"):
        state(anybody)
        response = anybody.ask("GET", f"/api/oauth/{provider}?code=1{given}")
        assert response.status_code == 403
        assert response.get_json().keys() == {"success", "message"} and response.get_json()["success"] is False
    assert not third.asked


def test_a_state_serves_once(site: Site, third: Social) -> None:
    offer(site, third)
    third.people["1"] = OCTOCAT
    anybody = site.anybody()
    given = state(anybody)
    assert len(given) > 12
    assert come_back(anybody, "github", "1", state=given)["success"] is True
    assert anybody.ask("GET", f"/api/oauth/github?code=1&state={given}").status_code == 403


# ---- signing up and logging in ----


def test_github_makes_an_account_and_logs_in(any_site: Site, third: Social) -> None:
    offer(any_site, third, QuotaForNewUser="70")
    third.people["1"] = OCTOCAT
    anybody = any_site.anybody()
    data = sign_in(anybody, "github", "1")
    row = any_site.row(User, data["id"])
    assert (row.github_id, row.github_numeric_id, row.email) == ("octocat", "583231", "octocat@github.example")
    assert (row.username, row.display_name, row.password, row.quota) == (f"github_{row.id}", "The Octocat", "", 70)
    filled = {key: value for key, value in data.items() if value}
    assert filled == {
        "id": row.id, "username": row.username, "display_name": "The Octocat", "role": 1, "status": 1
    }  # fmt: skip
    assert anybody.call("GET", "/api/user/self")["id"] == row.id
    method, path, body = third.asked[0]
    assert (method, path) == ("POST", "/github/token")
    assert body == {"client_id": "app", "client_secret": "app-secret", "code": "1"}


def test_the_second_time_it_is_the_same_account(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    third.people |= {"1": OCTOCAT, "2": OCTOCAT}
    assert sign_in(any_site.anybody(), "github", "1")["id"] == sign_in(any_site.anybody(), "github", "2")["id"]
    assert len(any_site.rows(User, User.github_id == "octocat")) == 1


def test_a_login_name_that_passed_to_a_stranger_does_not_let_him_in(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    third.people |= {"1": OCTOCAT, "2": {**OCTOCAT, "id": 999}, "3": {**OCTOCAT, "login": "renamed"}}
    owner = sign_in(any_site.anybody(), "github", "1")["id"]
    assert sign_in(any_site.anybody(), "github", "2")["id"] != owner
    assert sign_in(any_site.anybody(), "github", "3")["id"] == owner
    assert any_site.row(User, owner).github_id == "renamed"


def test_an_account_that_one_api_made_gets_its_number(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    user = any_site.user(github_id="OctoCat" if any_site.engine.dialect.name == "mysql" else "octocat")
    third.people["1"] = OCTOCAT
    assert sign_in(any_site.anybody(), "github", "1")["id"] == user.id
    assert any_site.row(User, user.id).github_numeric_id == "583231"


def test_lark_makes_an_account(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    third.people["1"] = {"open_id": "ou_1", "name": ""}
    row = any_site.row(User, sign_in(any_site.anybody(), "lark", "1")["id"])
    assert (row.lark_id, row.username, row.display_name) == ("ou_1", f"lark_{row.id}", "Lark User")
    assert third.asked[0][2] == {
        "client_id": "app",
        "client_secret": "app-secret",
        "code": "1",
        "grant_type": "authorization_code",
        "redirect_uri": f"{HOME}/oauth/lark",
    }


def test_wechat_needs_no_state(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    third.people["123456"] = {"id": "wx-1"}
    data = any_site.anybody().call("GET", "/api/oauth/wechat?code=123456")
    row = any_site.row(User, data["id"])
    assert (row.wechat_id, row.username, row.display_name) == ("wx-1", f"wechat_{row.id}", "WeChat User")
    assert "did not confirm" in any_site.anybody().refused("GET", "/api/oauth/wechat?code=123456")


def test_identities_that_differ_in_case_are_two_people(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    third.people |= {"1": {"open_id": "ou_a"}, "2": {"open_id": "ou_A"}}
    assert sign_in(any_site.anybody(), "lark", "1")["id"] != sign_in(any_site.anybody(), "lark", "2")["id"]


def test_who_invited_is_honoured(any_site: Site, third: Social) -> None:
    offer(any_site, third, QuotaForInvitee="20", QuotaForInviter="30")
    inviter = any_site.user(aff_code="pals")
    for number, query in enumerate(("?aff_code=pals", "?aff=pals")):
        third.people["1"] = {**OCTOCAT, "login": f"cat{number}", "id": number + 1}
        anybody = any_site.anybody()
        given = state(anybody, query)
        data = come_back(anybody, "github", "1", state=given)["data"]
        assert any_site.row(User, data["id"]).quota == 20
    third.people["2"] = {"id": "wx-1"}
    any_site.anybody().call("GET", "/api/oauth/wechat?code=2&aff_code=pals")
    assert any_site.row(User, inviter.id).quota == 90


def test_a_taken_address_is_not_copied(site: Site, third: Social) -> None:
    offer(site, third)
    site.user(email=OCTOCAT["email"])
    third.people["1"] = OCTOCAT
    assert site.row(User, sign_in(site.anybody(), "github", "1")["id"]).email == ""


def test_a_taken_user_name_gets_another_number(site: Site, third: Social) -> None:
    offer(site, third)
    site.user(username="github_3")
    third.people["1"] = OCTOCAT
    assert sign_in(site.anybody(), "github", "1")["username"] == "github_4"


@pytest.mark.parametrize("status", [2, 3])
def test_a_disabled_or_deleted_user_stays_out(site: Site, third: Social, status: int) -> None:
    offer(site, third)
    site.user(github_id="octocat", status=status)
    third.people["1"] = OCTOCAT
    assert "disabled" in come_back(site.anybody(), "github", "1")["message"]
    assert len(site.rows(User, User.github_id == "octocat")) == 1


def test_without_registration_only_those_who_have_an_account_come_in(site: Site, third: Social) -> None:
    offer(site, third, RegisterEnabled="false")
    third.people |= {"1": OCTOCAT, "2": OCTOCAT}
    assert "registration" in come_back(site.anybody(), "github", "1")["message"]
    user = site.user(github_id="octocat")
    assert sign_in(site.anybody(), "github", "2")["id"] == user.id


def test_a_way_that_is_switched_off_is_closed(site: Site, third: Social) -> None:
    offer(site, third, GitHubOAuthEnabled="false", LarkClientId="", WeChatAuthEnabled="false")
    for provider in ("github", "oidc", "lark"):
        assert "switched off" in come_back(site.anybody(), provider, "1")["message"]
    assert "switched off" in site.anybody().refused("GET", "/api/oauth/wechat?code=1")
    assert not third.asked


@pytest.mark.parametrize("person", [{}, {"login": ""}, {"login": None, "id": 5}, {"login": 7}, {"login": "x" * 200}])
def test_an_answer_without_a_name_lets_nobody_in(site: Site, third: Social, person: dict[str, Any]) -> None:
    offer(site, third)
    site.user()  # whose github_id is empty
    third.people["1"] = person
    assert "did not confirm" in come_back(site.anybody(), "github", "1")["message"]


@pytest.mark.parametrize("code", ["", "unknown"])
def test_a_code_that_the_provider_does_not_know(site: Site, third: Social, code: str) -> None:
    offer(site, third)
    for provider in ("github", "lark"):
        answer = come_back(site.anybody(), provider, code)
        assert (answer["success"], "did not confirm" in answer["message"]) == (False, True)


def test_a_provider_that_is_away_or_too_slow(site: Site, third: Social) -> None:
    offer(site, third)
    third.status = 502
    assert "cannot be reached" in come_back(site.anybody(), "github", "1")["message"]
    third.status, third.delay_s = 200, 0.5
    use(site, third, timeout_s=0.1)
    assert "cannot be reached" in come_back(site.anybody(), "github", "1")["message"]


def test_secrets_follow_no_redirect(site: Site, third: Social) -> None:
    offer(site, third)
    with social() as elsewhere:
        third.redirects_to = f"{elsewhere.url}/github/token"
        for provider in ("github", "lark"):
            assert come_back(site.anybody(), provider, "1")["success"] is False
        assert site.anybody().ask("GET", "/api/oauth/wechat?code=1").get_json()["success"] is False
        assert not elsewhere.asked


# ---- binding ----


@pytest.mark.parametrize(
    "provider, person, column, value",
    [("github", OCTOCAT, "github_id", "octocat"), ("lark", {"open_id": "ou_1"}, "lark_id", "ou_1")],
)
def test_who_is_logged_in_binds(
    any_site: Site, third: Social, provider: str, person: dict[str, Any], column: str, value: str
) -> None:
    offer(any_site, third)
    user = any_site.logged_in()
    third.people["1"] = person
    assert come_back(user, provider, "1") == {"success": True, "message": "bind"}
    assert getattr(any_site.row(User, user.id), column) == value
    (log,) = any_site.rows(Log, Log.user_id == user.id, Log.content.contains(column))
    assert f"{column}: – → {value}" in log.content


def test_wechat_is_bound_by_link_and_by_post(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    user = any_site.user()
    for method, path, body in (
        ("GET", "/api/oauth/wechat/bind?code=1", None),
        ("POST", "/api/oauth/wechat/bind/", {"code": "1"}),
    ):
        third.people["1"] = {"id": f"wx-{method}"}
        assert user.ask(method, path, body).get_json() == {"success": True, "message": "bind"}
        assert any_site.row(User, user.id).wechat_id == f"wx-{method}"
    assert any_site.anybody().ask("GET", "/api/oauth/wechat/bind?code=1").status_code == 401


def test_an_identity_of_another_account_is_not_bound(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    any_site.user(github_id="octocat")
    user = any_site.logged_in()
    third.people["1"] = OCTOCAT
    answer = come_back(user, "github", "1")
    assert answer["success"] is False and "another account" in answer["message"]
    assert not any_site.row(User, user.id).github_id


# ---- taking it away ----


def test_unbinding(any_site: Site, third: Social) -> None:
    offer(any_site, third)
    user = any_site.user(github_id="octocat", github_numeric_id="583231", lark_id="ou_1")
    user.call("DELETE", "/api/oauth/github")
    row = any_site.row(User, user.id)
    assert (row.github_id, row.github_numeric_id, row.lark_id) == ("", "", "ou_1")
    assert "no such way" in user.refused("DELETE", "/api/oauth/myspace")


def test_the_only_way_in_stays(site: Site) -> None:
    user = site.user(password="", github_id="octocat", lark_id="ou_1")
    user.call("DELETE", "/api/oauth/github")
    assert "set a password" in user.refused("DELETE", "/api/oauth/lark")


def test_root_may_unbind_anybody_and_no_one_else(site: Site) -> None:
    user, root, admin = site.user(password="", github_id="octocat"), site.user(ROOT), site.user(10)
    path = f"/api/user/{user.id}/oauth/github"
    for caller in (user, admin):
        caller.refused("DELETE", path)
    root.call("DELETE", path)
    assert site.row(User, user.id).github_id == ""


# ---- the way there ----


def address(caller: Caller, provider: str) -> tuple[str, str, dict[str, str]]:
    """State, address without its query, and the query."""
    answer = caller.ask("GET", f"/api/oauth/state?provider={provider}").get_json()
    parts = urlsplit(answer["address"])
    return answer["data"], answer["address"].partition("?")[0], {k: v[0] for k, v in parse_qs(parts.query).items()}


def test_the_address_is_the_one_that_one_apis_pages_make(site: Site, third: Social) -> None:
    offer(site, third)
    given, there, query = address(site.anybody(), "github")
    assert there == "https://github.com/login/oauth/authorize"
    assert query == {"client_id": "app", "state": given, "scope": "user:email"}
    given, there, query = address(site.anybody(), "lark")
    assert there == "https://open.feishu.cn/open-apis/authen/v1/index"
    assert query == {"app_id": "app", "redirect_uri": f"{HOME}/oauth/lark", "state": given}


def test_there_is_no_way_to_what_is_switched_off_or_unknown(site: Site) -> None:
    assert "switched off" in site.anybody().refused("GET", "/api/oauth/state?provider=github")
    assert "no such way" in site.anybody().refused("GET", "/api/oauth/state?provider=x")


# ---- OpenID Connect ----


def through(caller: Caller, openid: OpenIDProvider) -> Any:
    """The whole way there and back, with nonce and PKCE."""
    answer = caller.ask("GET", "/api/oauth/state?provider=oidc").get_json()
    code = openid.log_in(answer["address"])
    return caller.ask("GET", f"/api/oauth/oidc?code={code}&state={answer['data']}").get_json()


def test_openid_with_discovery_nonce_and_pkce(any_site: Site, openid: OpenIDProvider) -> None:
    offer_openid(any_site, openid)
    anybody = any_site.anybody()
    given, there, query = address(anybody, "oidc")
    assert there == f"{openid.url}/authorize"
    assert query.pop("nonce") and len(query.pop("code_challenge")) == 43
    assert query == {
        "tenant": "1",
        "client_id": "client",
        "redirect_uri": f"{HOME}/oauth/oidc",
        "response_type": "code",
        "scope": "openid profile email",
        "state": given,
        "code_challenge_method": "S256",
    }
    data = through(anybody, openid)["data"]
    row = any_site.row(User, data["id"])
    assert (row.oidc_id, row.username, row.display_name) == ("248289761001", "alice", "Alice Adams")
    assert row.email == "alice@id.example"
    assert through(any_site.anybody(), openid)["data"]["id"] == row.id


@pytest.mark.parametrize("takes", ["form", "basic", "json"])
def test_whatever_form_the_token_endpoint_takes(site: Site, openid: OpenIDProvider, takes: str) -> None:
    openid.takes = takes
    assert through(offer_openid(site, openid).anybody(), openid)["success"] is True


def test_one_apis_own_pages_know_neither_nonce_nor_pkce(site: Site, openid: OpenIDProvider) -> None:
    offer_openid(site, openid)
    anybody = site.anybody()
    given = state(anybody)
    there = f"{openid.url}/authorize?client_id=client&redirect_uri={HOME}/oauth/oidc&response_type=code&state={given}"
    answer = come_back(anybody, "oidc", openid.log_in(there), state=given)
    assert answer["success"] is True, answer


def test_three_endpoints_serve_without_discovery(site: Site, openid: OpenIDProvider) -> None:
    openid.gives_id_token = False
    offer_openid(
        site,
        openid,
        OidcWellKnown="",
        OidcAuthorizationEndpoint=f"{openid.url}/authorize",
        OidcTokenEndpoint=f"{openid.url}/token",
        OidcUserinfoEndpoint=f"{openid.url}/me",
    )
    assert through(site.anybody(), openid)["data"]["username"] == "alice"


def test_the_id_token_is_enough_where_there_is_no_userinfo(site: Site, openid: OpenIDProvider) -> None:
    openid.userinfo = None
    assert through(offer_openid(site, openid).anybody(), openid)["data"]["display_name"] == "Alice Adams"


def test_a_token_may_be_signed_with_the_clients_secret(site: Site, openid: OpenIDProvider) -> None:
    openid.algorithm = "HS256"
    assert through(offer_openid(site, openid).anybody(), openid)["success"] is True


@pytest.mark.parametrize("claim", [False, None, "no"])
def test_an_address_that_is_not_verified_is_not_kept(site: Site, openid: OpenIDProvider, claim: Any) -> None:
    openid.claims["email_verified"] = claim
    data = through(offer_openid(site, openid).anybody(), openid)["data"]
    assert site.row(User, data["id"]).email == ""


@pytest.mark.parametrize("wish", ["", "x" * 31, "taken"])
def test_a_name_that_cannot_be_had_is_replaced(site: Site, openid: OpenIDProvider, wish: str) -> None:
    site.user(username="taken")
    openid.claims["preferred_username"] = wish
    data = through(offer_openid(site, openid).anybody(), openid)["data"]
    assert data["username"] == f"oidc_{data['id']}"


Wrong = Callable[[OpenIDProvider], None]
WRONG: dict[str, Wrong] = {
    "another issuer": lambda openid: openid.token_claims.update(iss="https://evil.example"),
    "another audience": lambda openid: openid.token_claims.update(aud="somebody else"),
    "another authorised party": lambda openid: openid.token_claims.update(aud=["client", "x"], azp="x"),
    "another nonce": lambda openid: openid.token_claims.update(nonce="old"),
    "no nonce": lambda openid: openid.token_claims.update(nonce=None),
    "an end that is past": lambda openid: openid.token_claims.update(exp=1_600_000_000),
    "no end": lambda openid: openid.token_claims.update(exp=None),
    "another access token": lambda openid: openid.token_claims.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "no subject": lambda openid: openid.token_claims.update(sub=None),
    "a stranger's key": lambda openid: setattr(openid, "signs_with", RSAKey.generate_key(2048, {"kid": "one"})),
    "an unknown key": lambda openid: setattr(openid, "signs_with", RSAKey.generate_key(2048, {"kid": "two"})),
    "no ID token": lambda openid: setattr(openid, "gives_id_token", False),
    "somebody else's userinfo": lambda openid: openid.__setattr__("userinfo", {"sub": "other"}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_id_token_is_verified(site: Site, openid: OpenIDProvider, wrong: str) -> None:
    WRONG[wrong](openid)
    answer = through(offer_openid(site, openid).anybody(), openid)
    assert answer["success"] is False and "did not confirm" in answer["message"]
    assert not site.rows(User, User.oidc_id != "")


def test_a_provider_may_change_its_keys(site: Site, openid: OpenIDProvider) -> None:
    offer_openid(site, openid)
    assert through(site.anybody(), openid)["success"] is True
    openid.key = RSAKey.generate_key(2048, {"kid": "two"})
    assert through(site.anybody(), openid)["success"] is True


def test_what_was_discovered_is_remembered(site: Site, openid: OpenIDProvider) -> None:
    offer_openid(site, openid)
    for _ in range(3):
        through(site.anybody(), openid)
    assert openid.server is not None
    assert [path for _, path, _ in openid.server.asked].count("/.well-known/openid-configuration") == 1


def test_a_provider_that_cannot_be_discovered(site: Site, openid: OpenIDProvider) -> None:
    offer_openid(site, openid, OidcWellKnown="http://127.0.0.1:1/.well-known/openid-configuration")
    assert "cannot be reached" in site.anybody().refused("GET", "/api/oauth/state?provider=oidc")
    object.__setattr__(site.program, "providers", Providers(site.program.web))
