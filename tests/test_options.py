from dataclasses import fields
from decimal import Decimal

import pytest

from oneapi.options import OPTIONS, InvalidOption, Options, is_secret, public_rows, validate

OURS = {key for key in OPTIONS if key.startswith("Ext")}


def test_an_empty_table_gives_the_documented_defaults():
    options = Options.from_rows({})
    assert options == Options()
    assert (options.pre_consumed_quota, options.quota_per_unit, options.retry_times) == (500, 500000, 2)
    assert options.group_ratio == {"default": 1, "vip": 1, "svip": 1}
    assert options.email_domain_whitelist[:2] == ("gmail.com", "163.com")
    assert options.server_address == "http://localhost:3000"
    assert options.model_ratio == {}
    assert options.ext_default_model_ratio == 30


def test_there_are_one_apis_59_keys_of_which_51_are_always_listed():
    assert len(OPTIONS) - len(OURS) == 59
    assert sum(option.is_listed for option in OPTIONS.values()) - len(OURS) == 51


def test_every_option_has_a_help_text_and_an_attribute():
    names = {field.name for field in fields(Options)} - {"warnings"}
    assert {option.attribute for option in OPTIONS.values()} == names
    for key, option in OPTIONS.items():
        assert len(option.help) > 10 and option.help.endswith("."), key


def test_rows_override_defaults():
    options = Options.from_rows(
        {"RetryTimes": "0", "RegisterEnabled": "false", "EmailDomainWhitelist": "a.com, b.com", "SystemName": "Mine"}
    )
    assert (options.retry_times, options.register_enabled, options.system_name) == (0, False, "Mine")
    assert options.email_domain_whitelist == ("a.com", "b.com")
    assert options.warnings == ()


def test_ratios_keep_the_digits_that_were_saved():
    options = Options.from_rows({"ModelRatio": '{"a": 0.1, "b": 1e-6, "c": 15}'})
    assert options.model_ratio == {"a": Decimal("0.1"), "b": Decimal("0.000001"), "c": Decimal(15)}


def test_only_the_text_true_is_true():
    assert not Options.from_rows({"RegisterEnabled": "True"}).register_enabled
    assert not Options.from_rows({"RegisterEnabled": ""}).register_enabled


@pytest.mark.parametrize("key", sorted(set(OPTIONS) - {"RegisterEnabled"}))
def test_no_stored_value_stops_the_program(key):
    for text in ("", "ÿ", "-1", "1e400", "[1]", "{", '{"a": NaN}', "[" * 100_000, "9" * 10_000):
        Options.from_rows({key: text})


@pytest.mark.parametrize("key", ["RetryTimes", "QuotaPerUnit", "ModelRatio", "ChannelDisableThreshold"])
def test_a_stored_value_that_is_unusable_leaves_the_default_and_a_warning(key):
    options = Options.from_rows({key: "ten"})
    assert options == Options()
    assert len(options.warnings) == 1 and key in options.warnings[0]


@pytest.mark.parametrize("key", ["RetryTimes", "QuotaPerUnit", "ModelRatio", "Theme", "ServerAddress"])
def test_an_emptied_setting_has_its_default_again(key):
    options = Options.from_rows({key: ""})
    assert options == Options()
    assert options.warnings == ()


def test_one_bad_entry_leaves_the_rest_of_a_stored_price_table():
    options = Options.from_rows({"ModelRatio": '{"good": 2, "bad": -1, "worse": "3", "worst": null}'})
    assert options.model_ratio == {"good": 2}
    assert len(options.warnings) == 3


def test_an_emptied_default_price_refuses_models_without_one():
    assert Options.from_rows({"ExtDefaultModelRatio": ""}).ext_default_model_ratio is None


def test_no_repr_and_no_warning_shows_a_secret():
    rows = {key: "hunter2" for key, option in OPTIONS.items() if option.is_secret}
    options = Options.from_rows(rows)
    assert options.smtp_token == "hunter2"
    assert "hunter2" not in repr(options)


@pytest.mark.parametrize(
    ("key", "text", "complaint"),
    [
        ("ModelRatio", '{"a": 1', "not valid JSON"),
        ("ModelRatio", "[1]", "JSON object"),
        ("ModelRatio", '{"a": "1"}', "a value for a that must be a number"),
        ("ModelRatio", '{"a": true}', "must be a number"),
        ("ModelRatio", '{"a": NaN}', "must be a number"),
        ("ModelRatio", '{"a": -1}', "must not be negative"),
        ("ModelRatio", '{"a": 1e99}', "out of all proportion"),
        ("ModelRatio", '{"a": 1, "a": 2}', "names a twice"),
        ("GroupRatio", "x", "not valid JSON"),
        ("QuotaPerUnit", "0", "greater than 0"),
        ("QuotaPerUnit", "Infinity", "must be a number"),
        ("RetryTimes", "many", "whole number"),
        ("RetryTimes", "1_0", "whole number"),
        ("RetryTimes", " 1", "whole number"),
        ("RetryTimes", "-1", "at least 0"),
        ("QuotaForNewUser", "9" * 30, "at most"),
        ("SMTPPort", "0", "at least 1"),
        ("RegisterEnabled", "yes", "true or false"),
        ("RegisterEnabled", "", "true or false"),
        ("Theme", "dark", "one of default, berry, air"),
        ("ServerAddress", "api.example.com", "http://"),
        ("ExtAbortedStreamPolicy", "never", "one of delivered, drain"),
        ("", "x", "name of an option"),
        ("k" * 192, "x", "name of an option"),
    ],
)
def test_a_bad_value_is_refused_before_it_is_saved(key, text, complaint):
    with pytest.raises(InvalidOption, match=complaint):
        validate(key, text, Options())


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ModelRatio", '{"gpt-4": 15, "free": 0, "cheap": 0.0375}'),
        ("ModelRatio", ""),
        ("RetryTimes", "3"),
        ("QuotaPerUnit", "500000.000000"),
        ("ExtDefaultModelRatio", ""),
        ("Notice", "**hello**"),
        ("SomethingOfALaterVersion", "anything"),
    ],
)
def test_a_good_value_may_be_saved(key, text):
    validate(key, text, Options())


@pytest.mark.parametrize(
    ("key", "needed", "text"),
    [
        ("GitHubOAuthEnabled", "GitHubClientId", "id"),
        ("WeChatAuthEnabled", "WeChatServerAddress", "https://wechat.example"),
        ("TurnstileCheckEnabled", "TurnstileSiteKey", "site"),
        ("EmailDomainRestrictionEnabled", "EmailDomainWhitelist", "a.com"),
    ],
)
def test_a_switch_waits_for_what_it_needs(key, needed, text):
    lacking = Options.from_rows({needed: ""})
    with pytest.raises(InvalidOption, match=needed):
        validate(key, "true", lacking)
    validate(key, "false", lacking)
    validate(key, "true", Options.from_rows({needed: text}))


def test_the_list_of_domains_cannot_be_emptied_while_it_restricts():
    with pytest.raises(InvalidOption):
        validate("EmailDomainWhitelist", ",", Options.from_rows({"EmailDomainRestrictionEnabled": "true"}))


def test_no_list_holds_a_secret():
    rows = {key: "hunter2" for key in OPTIONS} | {"FutureToken": "hunter2", "ExtSessionSecret": "hunter2"}
    listed = public_rows(rows)
    assert not {key for key in listed if key.endswith(("Token", "Secret", "SecretKey"))}
    assert is_secret("TurnstileSecretKey")
    assert "TurnstileSiteKey" in listed


def test_the_list_holds_what_one_apis_pages_expect():
    listed = public_rows({"LaterVersion": "x", "RetryTimes": "7"})
    assert listed["LaterVersion"] == "x"
    assert listed["RetryTimes"] == "7"
    assert listed["QuotaPerUnit"] == "500000"
    assert listed["ServerAddress"] == ""
    assert "OidcClientId" not in listed
    assert "OidcClientId" in public_rows({"OidcClientId": "x"})


def test_price_tables_are_shown_completed():
    assert public_rows({"ModelRatio": '{"a":1}'}, {"ModelRatio": '{"a":1,"b":2}'})["ModelRatio"] == '{"a":1,"b":2}'
