"""Codes and links sent by mail: rules of management.md §6.3 to §6.5 and §6.7, through a real mail server."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from gevent.pool import Pool

from oneapi.models import Log, OneTimeCode, User
from oneapi.services import codes, turnstile
from oneapi.services.turnstile import Turnstile
from tests.api.site import PASSWORD, ROOT, Caller, Site
from tests.postoffice import JsonServer, PostOffice, json_server, post_office

NEW = "a different horse"
EMAIL = "new@example.org"


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as running:
        yield running


MailSite = Callable[..., Site]


@pytest.fixture
def mailing(office: PostOffice) -> Callable[[Site], Site]:
    def with_mail(site: Site, **options: str) -> Site:
        site.set_options(**office.options(ServerAddress="https://gate.example.org", **options))
        return site

    return with_mail


def code_in(office: PostOffice, count: int = 1) -> str:
    """The code in the last of so many letters."""
    return office.wait_for(count)[-1].text.split("\n\n")[2].strip()


def ask_code(site: Site, email: str = EMAIL, caller: Caller | None = None) -> None:
    (caller or site.anybody()).call("GET", f"/api/verification?email={email}")


# ---- verification ----


def test_a_code_of_six_characters_comes_by_mail(any_site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(any_site)
    ask_code(any_site)
    (received,) = office.received
    assert received.receivers == [EMAIL]
    code = code_in(office)
    assert re.fullmatch("[0-9a-z]{6}", code)
    assert code in received.html and "10" in received.text
    stored = any_site.rows(OneTimeCode, OneTimeCode.purpose == "verify-email")
    assert len(stored) == 1 and code not in stored[0].code


def test_the_letter_is_in_the_language_of_who_asks(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site)
    site.anybody().ask("GET", f"/api/verification?email={EMAIL}", **{"Accept-Language": "zh-CN"})
    site.anybody().ask("GET", "/api/verification?email=b@example.org", **{"Accept-Language": "fr"})
    assert ["验证" in one.message["Subject"] for one in office.wait_for(2)] == [True, False]


def test_registration_needs_the_code_where_the_option_says_so(
    any_site: Site, mailing: MailSite, office: PostOffice
) -> None:
    mailing(any_site, EmailVerificationEnabled="true")
    body = {"username": "alice", "password": PASSWORD}
    anybody = any_site.anybody()
    assert "required" in anybody.refused("POST", "/api/user/register", body)
    ask_code(any_site)
    code = code_in(office)
    wrong = {**body, "email": EMAIL, "verification_code": "wrong1"}
    assert "code" in anybody.refused("POST", "/api/user/register", wrong)
    other = {**body, "email": "other@example.org", "verification_code": code}
    assert "code" in anybody.refused("POST", "/api/user/register", other)
    anybody.call("POST", "/api/user/register", {**body, "email": EMAIL, "verification_code": code.upper()})
    (row,) = any_site.rows(User, User.username == "alice")
    assert row.email == EMAIL
    again = {"username": "bob", "password": PASSWORD, "email": EMAIL, "verification_code": code}
    assert "code" in anybody.refused("POST", "/api/user/register", again)


def test_a_registration_that_fails_does_not_cost_the_code(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site, EmailVerificationEnabled="true")
    taken = site.row(User, site.user().id).username
    ask_code(site)
    body = {"password": PASSWORD, "email": EMAIL, "verification_code": code_in(office)}
    for _ in range(codes.MOST_GUESSES + 1):
        assert "taken" in site.anybody().refused("POST", "/api/user/register", {**body, "username": taken})
    site.anybody().call("POST", "/api/user/register", {**body, "username": "alice"})


def test_guesses_are_counted_however_many_ask_at_once(any_site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(any_site)
    user = any_site.user()
    ask_code(any_site)
    code = code_in(office)
    Pool(10).map(lambda n: user.refused("POST", "/api/oauth/email/bind", {"email": EMAIL, "code": f"x{n}"}), range(10))
    assert "code" in user.refused("POST", "/api/oauth/email/bind", {"email": EMAIL, "code": code})


def test_one_code_is_used_once_however_many_ask_at_once(any_site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(any_site)
    users = [any_site.user() for _ in range(6)]
    ask_code(any_site)
    body = {"email": EMAIL, "code": code_in(office)}
    answers = Pool(6).map(lambda user: user.ask("POST", "/api/oauth/email/bind", body).get_json()["success"], users)
    assert sorted(answers) == [False] * 5 + [True]
    assert len(any_site.rows(User, User.email == EMAIL)) == 1


def test_a_code_is_valid_for_ten_minutes(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site)
    user = site.user()
    ask_code(site)
    (row,) = site.rows(OneTimeCode, OneTimeCode.purpose == "verify-email")
    assert row.expires_at - codes.LIFETIME_S == pytest.approx(user.site.program.ports.now(), abs=5)
    site.change(OneTimeCode, row.id, expires_at=row.expires_at - codes.LIFETIME_S)
    assert "code" in user.refused("POST", "/api/oauth/email/bind", {"email": EMAIL, "code": code_in(office)})


def test_a_second_code_within_a_minute_is_refused(any_site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(any_site)
    ask_code(any_site)
    response = any_site.anybody().ask("GET", f"/api/verification?email={EMAIL.upper()}")
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert len(office.received) == 1


def test_a_newer_code_replaces_the_older(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site)
    user = site.user()
    ask_code(site)
    first = code_in(office)
    for row in site.rows(OneTimeCode, OneTimeCode.purpose == "throttle:mail"):
        site.change(OneTimeCode, row.id, expires_at=1)
    ask_code(site)
    second = code_in(office, 2)
    assert "code" in user.refused("POST", "/api/oauth/email/bind", {"email": EMAIL, "code": first})
    user.call("POST", "/api/oauth/email/bind", {"email": EMAIL, "code": second})


@pytest.mark.parametrize("status", [1, 2, 3])
def test_an_address_in_use_gets_a_letter_that_says_so_and_the_same_answer(
    any_site: Site, mailing: MailSite, office: PostOffice, status: int
) -> None:
    mailing(any_site)
    any_site.user(email=EMAIL, status=status)
    free = any_site.anybody().ask("GET", "/api/verification?email=free@example.org")
    taken = any_site.anybody().ask("GET", f"/api/verification?email={EMAIL}")
    assert (free.status_code, free.data) == (taken.status_code, taken.data)
    assert "has an account" in office.wait_for(2)[1].message["Subject"]


@pytest.mark.parametrize("email", ["", "nobody", "a@b@c", "a@b.de%0d%0aBcc:x@y.z", "a@b.de,c@d.de"])
@pytest.mark.parametrize("path", ["verification", "reset_password"])
def test_what_is_no_address_is_refused(
    site: Site, mailing: MailSite, office: PostOffice, path: str, email: str
) -> None:
    mailing(site)
    assert site.anybody().refused("GET", f"/api/{path}?email={email}").startswith("Invalid input")
    assert not office.received


def test_an_address_that_does_not_fit_its_column_gets_no_code(site: Site, mailing: MailSite) -> None:
    mailing(site)
    assert "50 characters" in site.anybody().refused("GET", f"/api/verification?email={'a' * 45}@b.com")


def test_domains_can_be_restricted(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site, EmailDomainRestrictionEnabled="true", EmailDomainWhitelist="good.org, Other.com")
    assert "domain" in site.anybody().refused("GET", "/api/verification?email=a@bad.org")
    assert "domain" in site.anybody().refused("GET", "/api/verification?email=a@notgood.org")
    ask_code(site, "a@good.org")
    ask_code(site, "a@OTHER.com")
    assert len(office.wait_for(2)) == 2


def test_a_mail_server_that_refuses_is_told_of_and_may_be_asked_again(site: Site) -> None:
    with post_office(failures=1) as office:
        site.set_options(**office.options())
        assert "could not be sent" in site.anybody().refused("GET", f"/api/verification?email={EMAIL}")
        ask_code(site)
    assert len(office.received) == 1


def test_without_a_mail_server_nothing_is_promised(site: Site) -> None:
    for path in ("verification", "reset_password"):
        assert "No mail server" in site.anybody().refused("GET", f"/api/{path}?email={EMAIL}")


# ---- binding ----


def test_binding_an_address_by_link_and_by_post(any_site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(any_site)
    user, other = any_site.user(), any_site.user()
    ask_code(any_site)
    user.call("GET", f"/api/oauth/email/bind?email={EMAIL}&code={code_in(office)}")
    assert any_site.row(User, user.id).email == EMAIL
    ask_code(any_site, "b@example.org")
    other.call("POST", "/api/oauth/email/bind/", {"email": "b@example.org", "code": code_in(office, 2)})
    assert any_site.row(User, other.id).email == "b@example.org"
    (log,) = any_site.rows(Log, Log.user_id == other.id, Log.type == 3)
    assert "email: – → b@example.org" in log.content


def test_binding_needs_a_user(site: Site) -> None:
    assert site.anybody().ask("GET", "/api/oauth/email/bind?email=a@b.de&code=1").status_code == 401


def test_an_address_that_was_taken_meanwhile_is_not_bound(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site)
    user = site.user()
    ask_code(site)
    site.user(email=EMAIL)
    assert "uses this" in user.refused("POST", "/api/oauth/email/bind", {"email": EMAIL, "code": code_in(office)})


# ---- resetting a password ----


def reset_link(site: Site, office: PostOffice, email: str, count: int = 1) -> dict[str, str]:
    site.anybody().call("GET", f"/api/reset_password?email={email}")
    link = re.search(r"https://gate\.example\.org/user/reset\?\S+", office.wait_for(count)[-1].text)
    assert link
    return {name: values[0] for name, values in parse_qs(urlsplit(link[0]).query).items()}


def test_a_link_sets_a_password_that_is_made_and_returned(
    any_site: Site, mailing: MailSite, office: PostOffice
) -> None:
    mailing(any_site)
    user = any_site.logged_in(email="a+b@example.org")
    asked = reset_link(any_site, office, "a%2Bb@example.org")
    assert asked["email"] == "a+b@example.org" and re.fullmatch("[0-9a-f]{32}", asked["token"])
    password = any_site.anybody().call("POST", "/api/user/reset", asked)
    assert re.fullmatch("[0-9a-z]{12}", password)
    assert user.ask("GET", "/api/user/self").status_code == 401  # his sessions are over
    name = any_site.row(User, user.id).username
    any_site.anybody().call("POST", "/api/user/login", {"username": name, "password": password})
    assert any_site.anybody().refused("POST", "/api/user/reset", asked)


def test_a_password_may_be_chosen_and_is_then_not_returned(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site)
    user = site.user(email=EMAIL)
    asked = reset_link(site, office, EMAIL)
    assert "8 to 20" in site.anybody().refused("POST", "/api/user/reset", {**asked, "password": "short"})
    assert site.anybody().call("POST", "/api/user/reset", {**asked, "password": NEW}) is None
    name = site.row(User, user.id).username
    site.anybody().call("POST", "/api/user/login", {"username": name, "password": NEW})


def test_whether_an_address_has_an_account_is_not_told(any_site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(any_site)
    any_site.user(email="known@example.org")
    any_site.user(email="banned@example.org", status=2)
    answers = [
        any_site.anybody().ask("GET", f"/api/reset_password?email={name}@example.org")
        for name in ("known", "unknown", "banned")
    ]
    assert len({(answer.status_code, answer.data) for answer in answers}) == 1
    assert [one.receivers for one in office.wait_for(1)] == [["known@example.org"]]
    again = any_site.anybody().ask("GET", "/api/reset_password?email=unknown@example.org")
    assert again.status_code == 429


def test_every_active_account_of_the_address_gets_the_password(
    any_site: Site, mailing: MailSite, office: PostOffice
) -> None:
    mailing(any_site)
    users = [any_site.user(email=EMAIL), any_site.user(email=EMAIL), any_site.user(email=EMAIL, status=2)]
    before = [any_site.row(User, user.id).password for user in users]
    any_site.anybody().call("POST", "/api/user/reset", reset_link(any_site, office, EMAIL))
    changed = [any_site.row(User, user.id).password != old for user, old in zip(users, before, strict=True)]
    assert changed == [True, True, False]
    (log,) = any_site.rows(Log, Log.user_id == users[0].id, Log.type == 3)
    assert "reset the password by mail" in log.content


def test_a_code_for_one_purpose_serves_no_other(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site)
    site.user(email="known@example.org")
    ask_code(site, "free@example.org")
    site.user(email="free@example.org")
    body = {"email": "free@example.org", "token": code_in(office)}
    assert "link" in site.anybody().refused("POST", "/api/user/reset", body)


def test_root_can_be_reset_too(site: Site, mailing: MailSite, office: PostOffice) -> None:
    mailing(site)
    root = site.user(ROOT, email=EMAIL)
    site.anybody().call("POST", "/api/user/reset", reset_link(site, office, EMAIL))
    assert site.row(User, root.id).role == ROOT


# ---- Turnstile ----


class Cloudflare:
    """Takes each of its good tokens once."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def __call__(self, environ: dict[str, Any], body: str) -> tuple[int, Any]:
        form = {name: values[0] for name, values in parse_qs(body).items()}
        token = form["response"]
        is_good = form["secret"] == "site-secret" and token.startswith("good") and token not in self.used
        self.used.add(token)
        return 200, {"success": is_good, "error-codes": [] if is_good else ["timeout-or-duplicate"]}


@pytest.fixture
def cloudflare(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    with ExitStack() as stack:
        running = stack.enter_context(json_server(Cloudflare()))
        made = Turnstile(site.engine, site.program.web, f"{running.url}/turnstile/v0/siteverify")
        object.__setattr__(site.program, "turnstile", made)
        yield running
        object.__setattr__(site.program, "turnstile", Turnstile(site.engine, site.program.web))


TURNSTILE = {"TurnstileCheckEnabled": "true", "TurnstileSiteKey": "public", "TurnstileSecretKey": "site-secret"}


def test_turnstile_guards_three_routes(
    site: Site, cloudflare: JsonServer, mailing: MailSite, office: PostOffice
) -> None:
    mailing(site, **TURNSTILE)
    asked = {
        f"/api/verification?email={EMAIL}": ("GET", None),
        f"/api/reset_password?email={EMAIL}": ("GET", None),
        "/api/user/register?a=1": ("POST", {"username": "alice", "password": PASSWORD}),
    }
    for number, (path, (method, body)) in enumerate(asked.items()):
        assert "human" in site.anybody().refused(method, path, body)
        assert "human" in site.anybody().refused(method, f"{path}&turnstile=bad", body)
        site.anybody().call(method, f"{path}&turnstile=good{number}", body)
    assert cloudflare.asked[0][:2] == ("POST", "/turnstile/v0/siteverify")
    assert parse_qs(cloudflare.asked[1][2]) == {
        "secret": ["site-secret"], "response": ["good0"], "remoteip": ["127.0.0.1"]
    }  # fmt: skip


def test_one_token_serves_the_code_and_the_registration_it_is_for_and_nothing_else(
    site: Site, cloudflare: JsonServer, mailing: MailSite, office: PostOffice
) -> None:
    mailing(site, EmailVerificationEnabled="true", **TURNSTILE)
    anybody = site.anybody()
    anybody.call("GET", f"/api/verification?email={EMAIL}&turnstile=good")
    assert "human" in anybody.refused("GET", "/api/reset_password?email=b@c.de&turnstile=good")
    assert "human" in anybody.refused("GET", "/api/verification?email=b@c.de&turnstile=good")
    body = {"username": "alice", "password": PASSWORD, "email": EMAIL, "verification_code": code_in(office)}
    anybody.call("POST", "/api/user/register?turnstile=good", body)
    assert "human" in anybody.refused("POST", "/api/user/register?turnstile=good", {**body, "username": "bob"})


def test_a_turnstile_that_is_away_lets_nobody_through(
    site: Site, mailing: MailSite, office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailing(site, **TURNSTILE)
    made = Turnstile(site.engine, site.program.web, "http://127.0.0.1:1/")
    monkeypatch.setattr(turnstile, "SITEVERIFY", made._url)
    before = site.program.turnstile
    object.__setattr__(site.program, "turnstile", made)
    try:
        assert "cannot be reached" in site.anybody().refused("GET", f"/api/verification?email={EMAIL}&turnstile=good")
    finally:
        object.__setattr__(site.program, "turnstile", before)
    assert not office.received
