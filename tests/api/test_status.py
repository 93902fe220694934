from tests.api.site import ADMIN, ROOT, Site

STATUS_KEYS = {
    "version", "start_time", "email_verification", "github_oauth", "wechat_login", "turnstile_check", "oidc",
    "display_in_currency", "github_client_id", "lark_client_id", "oidc_client_id", "oidc_well_known",
    "oidc_authorization_endpoint", "oidc_token_endpoint", "oidc_userinfo_endpoint", "system_name", "logo",
    "footer_html", "wechat_qrcode", "server_address", "turnstile_site_key", "top_up_link", "chat_link",
    "quota_per_unit",
}  # fmt: skip


def test_status_has_all_keys_and_is_plain_json(site: Site) -> None:
    response = site.anybody().ask("GET", "/api/status")
    assert b'"success":true' in response.data
    assert response.get_json()["data"].keys() == STATUS_KEYS


def test_status_tells_options(site: Site) -> None:
    site.set_options(SystemName="My gateway", QuotaPerUnit="1000", OidcEnabled="true")
    data = site.anybody().call("GET", "/api/status")
    assert (data["system_name"], data["quota_per_unit"], data["oidc"]) == ("My gateway", 1000, True)
    assert data["server_address"] == "http://localhost:3000"


def test_texts_of_the_site_are_raw(site: Site) -> None:
    site.set_options(Notice="# Hello", About="https://example.org", HomePageContent="<b>Home</b>")
    anybody = site.anybody()
    assert anybody.call("GET", "/api/notice") == "# Hello"
    assert anybody.call("GET", "/api/about") == "https://example.org"
    assert anybody.call("GET", "/api/home_page_content") == "<b>Home</b>"


def test_an_empty_text_is_an_empty_string(site: Site) -> None:
    assert site.anybody().call("GET", "/api/notice") == ""


def test_models_are_listed_by_channel_type(site: Site) -> None:
    data = site.user().call("GET", "/api/models")
    assert set(data) >= {"1", "50"}
    assert all(isinstance(models, list) for models in data.values())


def test_catalogue_is_no_envelope(site: Site) -> None:
    answer = site.user(ADMIN).ask("GET", "/api/channel/models").get_json()
    assert answer.keys() == {"object", "data"}
    assert answer["data"][0].keys() == {"id", "object", "created", "owned_by", "permission", "root", "parent"}


def test_groups_are_those_with_a_ratio(site: Site) -> None:
    site.set_options(GroupRatio='{"default": 1, "gold": 0.5}')
    assert sorted(site.user(ROOT).call("GET", "/api/group/")) == ["default", "gold"]
