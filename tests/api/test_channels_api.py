"""/api/channel: write semantics of management.md §1.9, rules of §4.6, object of §4.13."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from oneapi.models import Ability, Channel, Log
from oneapi.services import bootstrap, channels
from oneapi.services.ability_repair import rebuild_abilities_command
from tests.api.site import ADMIN, Caller, Site
from tests.servers import sqlite_database

KEYS = {
    "id", "type", "key", "status", "name", "weight", "created_time", "test_time", "response_time", "base_url", "other",
    "balance", "balance_updated_time", "models", "group", "used_quota", "model_mapping", "priority", "config",
    "system_prompt",
}  # fmt: skip
NEW = {"type": 1, "key": "sk-1", "name": "openai", "models": "gpt-4o,gpt-4o-mini", "group": "default"}


def create(admin: Caller, **fields: Any) -> dict[str, Any]:
    """A new channel as the API shows it."""
    assert admin.call("POST", "/api/channel/", {**NEW, **fields}) is None
    newest: dict[str, Any] = admin.call("GET", "/api/channel/")[0]
    return newest


def abilities(site: Site, channel_id: int) -> set[tuple[str, str, bool, int]]:
    with site.engine.connect() as connection:
        rows = connection.execute(select(Ability).where(Ability.channel_id == channel_id)).all()
    return {(row.group, row.model, bool(row.enabled), row.priority) for row in rows}


def test_a_new_channel_has_exactly_the_keys_of_the_reference(any_site: Site) -> None:
    created = create(any_site.user(ADMIN))
    assert created.keys() == KEYS
    shown = {name: created[name] for name in KEYS - {"id", "created_time"}}
    assert shown == {
        "type": 1, "key": "", "status": 1, "name": "openai", "weight": 0, "test_time": 0, "response_time": 0,
        "base_url": "", "other": None, "balance": 0, "balance_updated_time": 0, "models": "gpt-4o,gpt-4o-mini",
        "group": "default", "used_quota": 0, "model_mapping": "", "priority": 0, "config": "", "system_prompt": None,
    }  # fmt: skip


@pytest.mark.parametrize("fields", [{"status": 0, "group": ""}, {"status": None, "group": None}])
def test_status_and_group_have_defaults(site: Site, fields: dict[str, Any]) -> None:
    created = create(site.user(ADMIN), **fields)
    assert (created["status"], created["group"]) == (1, "default")


def test_each_line_of_the_key_makes_a_channel(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    admin.call("POST", "/api/channel/", {**NEW, "key": "one\r\ntwo \r\n\r\nthree", "priority": 5})
    rows = any_site.rows(Channel)
    assert [row.key for row in rows] == ["one", "two", "three"]
    for row in rows:
        assert abilities(any_site, row.id) == {("default", "gpt-4o", True, 5), ("default", "gpt-4o-mini", True, 5)}


def test_ability_rows_that_another_program_left_are_taken_over(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    next_id = create(admin)["id"] + 1
    with any_site.engine.begin() as connection:
        values = {"group": "default", "model": "gpt-4o", "channel_id": next_id, "enabled": False, "priority": 9}
        connection.execute(insert(Ability).values(**values))
    assert create(admin, models="gpt-4o")["id"] == next_id
    assert abilities(any_site, next_id) == {("default", "gpt-4o", True, 0)}


def test_many_keys_are_saved_all_or_none(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    keys = "good\n" + "k" * 70_000
    response = admin.ask("POST", "/api/channel/", {**NEW, "key": keys}).get_json()
    is_good = any_site.engine.dialect.name != "mysql"  # whose `text` holds 65535 bytes
    assert response["success"] is is_good
    assert len(any_site.rows(Channel)) == (2 if is_good else 0)
    assert len(any_site.rows(Ability)) == (4 if is_good else 0)


def test_abilities_are_models_times_groups(site: Site) -> None:
    created = create(site.user(ADMIN), models=" a, b ,a,,", group="default, vip", priority=3)
    assert (created["models"], created["group"]) == ("a,b", "default,vip")
    expected = {(group, model, True, 3) for group in ("default", "vip") for model in ("a", "b")}
    assert abilities(site, created["id"]) == expected


def test_a_whole_object_may_be_put_back(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    fields = {"base_url": "https://x.example", "model_mapping": '{"a": "b"}', "weight": 3, "system_prompt": "Be kind."}
    created = create(admin, **fields)
    before, abilities_before = any_site.row(Channel, created["id"]), abilities(any_site, created["id"])
    revision = any_site.revision("channels")
    assert admin.call("PUT", "/api/channel/", created) == created
    assert any_site.row(Channel, created["id"]) == before
    assert abilities(any_site, created["id"]) == abilities_before
    assert any_site.revision("channels") == revision


@pytest.mark.parametrize(
    "body",
    [
        {"type": 0, "key": "", "status": 0, "name": "", "models": "", "group": "", "config": ""},
        {},
        dict.fromkeys(["weight", "base_url", "other", "model_mapping", "priority", "system_prompt", "name", "key"]),
    ],
    ids=["empty plain fields", "absent fields", "null fields"],
)
def test_what_an_update_leaves_as_it_is(site: Site, body: dict[str, Any]) -> None:
    admin = site.user(ADMIN)
    created = create(
        admin, weight=2, base_url="https://x.example", other="v1", model_mapping='{"a":"b"}', priority=4,
        system_prompt="p", config='{"region":"eu"}', status=2,
    )  # fmt: skip
    assert admin.call("PUT", "/api/channel/", {"id": created["id"], **body}) == created
    assert site.row(Channel, created["id"]).key == "sk-1"


def test_nullable_fields_are_written_when_present_even_when_empty(site: Site) -> None:
    admin = site.user(ADMIN)
    created = create(
        admin, weight=2, base_url="https://x.example", other="v1", model_mapping='{"a":"b"}', priority=4,
        system_prompt="p",
    )  # fmt: skip
    empty = {"weight": 0, "base_url": "", "other": "", "model_mapping": "", "priority": 0, "system_prompt": ""}
    assert admin.call("PUT", "/api/channel/", {"id": created["id"], **empty}) == {**created, **empty}


def test_small_edits_leave_the_rest(site: Site) -> None:
    admin = site.user(ADMIN)
    created = create(admin)
    for edit in ({"status": 2}, {"priority": 9}, {"weight": 4}, {"status": 1}):
        created = {**created, **edit}
        assert admin.call("PUT", "/api/channel/", {"id": created["id"], **edit}) == created


def test_abilities_follow_the_channel(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    channel_id = create(admin)["id"]

    def put(**fields: Any) -> set[tuple[str, str, bool, int]]:
        admin.call("PUT", "/api/channel/", {"id": channel_id, **fields})
        return abilities(any_site, channel_id)

    assert {row[2] for row in put(status=2)} == {False}
    assert {row[2] for row in put(status=1)} == {True}
    assert {row[3] for row in put(priority=-7)} == {-7}
    assert put(models="gpt-4o,o1") == {("default", "gpt-4o", True, -7), ("default", "o1", True, -7)}
    assert put(group="vip") == {("vip", "gpt-4o", True, -7), ("vip", "o1", True, -7)}


def test_models_that_differ_in_case_alone_are_saved(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    created = create(admin, models="GPT-4,gpt-4")
    assert created["models"] == "GPT-4,gpt-4"
    changed = admin.call("PUT", "/api/channel/", {"id": created["id"], "models": "gpt-4"})
    assert changed["models"] == "gpt-4"
    assert {row[1] for row in abilities(any_site, created["id"])} == {"gpt-4"}


def test_a_key_is_replaced_and_never_shown(site: Site) -> None:
    admin = site.user(ADMIN)
    created = create(admin)
    answers = [
        admin.ask("PUT", "/api/channel/", {"id": created["id"], "key": "sk-new-secret"}),
        admin.ask("GET", f"/api/channel/{created['id']}"),
        admin.ask("GET", "/api/channel/"),
        admin.ask("GET", "/api/channel/search?keyword=openai"),
        admin.ask("GET", "/api/log/"),
    ]
    assert site.row(Channel, created["id"]).key == "sk-new-secret"
    assert all("sk-new-secret" not in answer.text for answer in answers)


def test_counters_and_times_are_the_programs_own(site: Site) -> None:
    admin = site.user(ADMIN)
    own = {
        "id": 77, "created_time": 1, "test_time": 2, "response_time": 3, "balance": 4.5, "balance_updated_time": 5,
        "used_quota": 6,
    }  # fmt: skip
    created = create(admin, **own)
    assert created["id"] != 77
    changed = admin.call("PUT", "/api/channel/", {**own, "id": created["id"]})
    for shown in (created, changed):
        assert [shown[name] for name in ("test_time", "response_time", "balance", "used_quota")] == [0, 0, 0, 0]
        assert shown["created_time"] > 1


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"key": ""}, "needs a key"),
        ({"key": " \r\n \n"}, "needs a key"),
        ({"type": 0}, "no channel type 0"),
        ({"type": 999}, "no channel type 999"),
        ({"models": " , "}, "at least one model"),
        ({"status": 7}, "status"),
        ({"weight": -1}, "weight"),
        ({"model_mapping": "{"}, "model mapping"),
        ({"model_mapping": '{"a": 1}'}, "model mapping"),
        ({"model_mapping": '["a"]'}, "model mapping"),
        ({"config": "nothing"}, "config must be a JSON object"),
        ({"settings": "[]"}, "settings must be a JSON object"),
        ({"group": "g" * 33}, "at most 32"),
        ({"models": "m" * 192}, "at most 191"),
    ],
)
def test_what_a_channel_cannot_be(site: Site, fields: dict[str, Any], reason: str) -> None:
    message = site.user(ADMIN).refused("POST", "/api/channel/", {**NEW, **fields})
    assert reason in message
    assert site.rows(Channel) == []


def test_a_proxy_channel_needs_no_models(site: Site) -> None:
    created = create(site.user(ADMIN), type=43, models="")
    assert abilities(site, created["id"]) == {("default", "", True, 0)}


def test_stored_values_are_not_judged_again(site: Site) -> None:
    admin = site.user(ADMIN)
    created = create(admin)
    site.change(Channel, created["id"], type=999, model_mapping="not JSON", config="nor this")
    stored = admin.call("GET", f"/api/channel/{created['id']}")
    assert admin.call("PUT", "/api/channel/", {**stored, "name": "renamed"}) == {**stored, "name": "renamed"}


def test_a_text_too_long_for_the_database_is_told_so(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    body = {**NEW, "base_url": "https://x.example/" + "a" * 200, "group": ",".join(f"group{n}" for n in range(60))}
    response = admin.ask("POST", "/api/channel/", body).get_json()
    if any_site.engine.dialect.name == "sqlite":
        assert response["success"] is True
    else:
        assert "has at most" in response["message"]


@pytest.mark.parametrize("channel_id", [0, 999999])
def test_updating_what_is_not_there_is_refused(site: Site, channel_id: int) -> None:
    admin = site.user(ADMIN)
    assert admin.refused("PUT", "/api/channel/", {"id": channel_id, "name": "x"}) == "There is no such channel"
    assert admin.refused("PUT", "/api/channel/", {"name": "x"}) == "There is no such channel"


def test_deleting_takes_the_abilities_along_and_knows_no_unknown_ids(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    channel_id = create(admin)["id"]
    admin.call("DELETE", f"/api/channel/{channel_id}/")
    assert (any_site.rows(Channel), abilities(any_site, channel_id)) == ([], set())
    assert admin.call("DELETE", f"/api/channel/{channel_id}") is None


def test_deleting_disabled_channels_takes_both_kinds_and_their_abilities(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    ids = [create(admin, status=status)["id"] for status in (1, 2, 3)]
    assert admin.call("DELETE", "/api/channel/disabled") == 2
    assert [row.id for row in any_site.rows(Channel)] == ids[:1]
    assert all(abilities(any_site, channel_id) == set() for channel_id in ids[1:])


def test_search_is_by_id_or_the_beginning_of_the_name(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    first, second = create(admin, name="alpha")["id"], create(admin, name="beta 100%")["id"]

    def found(keyword: str) -> list[int]:
        return [channel["id"] for channel in admin.call("GET", f"/api/channel/search?keyword={keyword}")]

    assert found(str(first)) == [first]
    assert found("bet") == [second]
    assert found("beta%20100%25") == [second]
    assert found("nothing") == []
    assert found("1" * 30) == []


def test_writes_leave_a_trail_and_bump_the_revision(site: Site) -> None:
    admin = site.user(ADMIN)
    channel_id = create(admin)["id"]
    before = site.revision("channels")
    admin.call("PUT", "/api/channel/", {"id": channel_id, "status": 2, "key": "sk-other"})
    admin.call("DELETE", f"/api/channel/{channel_id}")
    told = [row.content for row in site.rows(Log, Log.type == 3, Log.user_id == admin.id)]
    assert f"created channel {channel_id} (openai)" in told[0]
    assert "status: 1 → 2" in told[1] and "key: *** → ***" in told[1] and "sk-other" not in told[1]
    assert f"deleted channel {channel_id}" in told[2]
    assert site.revision("channels") == before + 2


# ---- what the program itself does to channels ----


def test_only_an_enabled_channel_is_disabled_automatically(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    channel_id = create(admin)["id"]
    assert channels.auto_disable(any_site.engine, channel_id, "HTTP 401", now=1000) is True
    assert channels.auto_disable(any_site.engine, channel_id, "HTTP 401", now=1000) is False
    row = any_site.row(Channel, channel_id)
    assert (row.status, row.status_reason, row.status_time) == (3, "HTTP 401", 1000)
    assert {ability[2] for ability in abilities(any_site, channel_id)} == {False}
    assert channels.auto_enable(any_site.engine, channel_id, now=2000) is True
    assert {ability[2] for ability in abilities(any_site, channel_id)} == {True}


def test_what_an_operator_disabled_stays_disabled(site: Site) -> None:
    admin = site.user(ADMIN)
    channel_id = create(admin, status=2)["id"]
    assert channels.auto_enable(site.engine, channel_id, now=1) is False
    assert channels.auto_disable(site.engine, channel_id, "x", now=1) is False
    assert site.row(Channel, channel_id).status == 2


def test_abilities_are_repaired(any_site: Site) -> None:
    channel_id = create(any_site.user(ADMIN))["id"]
    expected = abilities(any_site, channel_id)
    with any_site.engine.begin() as connection:
        connection.execute(Ability.__table__.delete().where(Ability.model == "gpt-4o"))
        values = {"model": "gone", "enabled": True, "priority": 0}
        rows = [{"group": "default", "channel_id": number, **values} for number in (channel_id, 12345)]
        connection.execute(insert(Ability), rows)
    assert channels.rebuild_abilities(any_site.engine) == 1
    assert abilities(any_site, channel_id) == expected
    assert abilities(any_site, 12345) == set()


def test_settings_of_our_own_are_kept_through_a_round_trip(site: Site) -> None:
    admin = site.user(ADMIN)
    settings = json.dumps({"proxy": "http://10.0.0.1:3128", "test_model": "gpt-4o-mini"})
    created = create(admin, settings=settings, tag="eu")
    admin.call("PUT", "/api/channel/", created)
    row = site.row(Channel, created["id"])
    assert (row.settings, row.tag) == (settings, "eu")


# ---- settings, copies, batches ----


def test_settings_are_changed_one_by_one_and_shown_without_secrets(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    path = f"/api/channel/{create(admin)['id']}/settings"
    nothing = {"proxy": "", "test_model": "", "overrides": {}, "header_overrides": {}, "keys": 0}
    assert admin.call("GET", path) == nothing
    proxy = "socks5://me:hidden@127.0.0.1:1080"
    keys = ["sk-two", {"key": "sk-three", "weight": 2}]
    shown = admin.call("PUT", path, {"proxy": proxy, "keys": keys, "overrides": {"top_p": 1, "user": None}})
    expected = {"proxy": "socks5://me:***@127.0.0.1:1080", "keys": 2, "overrides": {"top_p": 1, "user": None}}
    assert shown == {**nothing, **expected}
    admin.call("PUT", path, {"proxy": shown["proxy"], "test_model": "gpt-4o"})
    stored = json.loads(any_site.rows(Channel)[0].settings)
    assert (stored["proxy"], stored["keys"], stored["test_model"]) == (proxy, keys, "gpt-4o")
    assert admin.call("PUT", path, {"proxy": "", "keys": [], "test_model": "", "overrides": {}}) == nothing
    logged = "".join(row.content for row in any_site.rows(Log))
    assert "hidden" not in logged
    assert "sk-two" not in logged


@pytest.mark.parametrize(
    "settings",
    [{"overrides": {"api_key": "x"}}, {"header_overrides": {"Cookie": "x"}}, {"keys": "one"}, {"overrides": 1}],
)
def test_settings_with_secrets_or_of_a_wrong_kind_are_refused(site: Site, settings: Any) -> None:
    admin = site.user(ADMIN)
    channel_id = create(admin)["id"]
    admin.refused("PUT", f"/api/channel/{channel_id}/settings", settings)
    assert site.row(Channel, channel_id).settings is None


def test_a_copy_has_all_of_the_channel_and_is_off(site: Site) -> None:
    admin = site.user(ADMIN)
    original = create(admin, priority=4, tag="a")
    copied = admin.call("POST", f"/api/channel/{original['id']}/copy", {})
    expected = {**original, "id": copied["id"], "name": "openai (copy)", "status": 2}
    assert copied == {**expected, "created_time": copied["created_time"]}
    assert site.row(Channel, copied["id"]).key == "sk-1"
    assert admin.call("POST", f"/api/channel/{original['id']}/copy", {"name": "b"})["name"] == "b"
    admin.refused("POST", "/api/channel/999/copy", {})


def test_a_batch_acts_on_all_with_the_ids_or_the_tag(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    admin.call("POST", "/api/channel/", {**NEW, "key": "1\n2\n3", "tag": "t"})
    one, two, three = (row.id for row in any_site.rows(Channel))

    def column(name: str) -> list[Any]:
        return [getattr(row, name) for row in any_site.rows(Channel)]

    assert admin.call("POST", "/api/channel/batch", {"action": "disable", "ids": [one, three, 999]}) == 2
    assert column("status") == [2, 1, 2]
    assert admin.call("POST", "/api/channel/batch", {"action": "enable", "tag": "t"}) == 3
    assert column("status") == [1, 1, 1]
    fields = {"priority": 7, "models": "o1, o3", "weight": 2, "tag": "u"}
    assert admin.call("POST", "/api/channel/batch", {"action": "edit", "ids": [one, two], "fields": fields}) == 2
    assert (column("priority"), column("models"), column("tag")) == (
        [7, 7, 0],
        ["o1,o3", "o1,o3", "gpt-4o,gpt-4o-mini"],
        ["u", "u", "t"],
    )
    assert abilities(any_site, two) == {("default", "o1", True, 7), ("default", "o3", True, 7)}
    assert admin.call("POST", "/api/channel/batch", {"action": "delete", "tag": "u"}) == 2
    assert column("id") == [three]
    assert abilities(any_site, one) == set()


@pytest.mark.parametrize(
    "body",
    [
        {"action": "delete"},
        {"action": "delete", "ids": [1], "tag": "t"},
        {"action": "burn", "ids": [1]},
        {"action": "edit", "ids": [1], "fields": {"weight": -1}},
        {"ids": [1]},
    ],
)
def test_a_batch_that_is_not_clear_does_nothing(site: Site, body: dict[str, Any]) -> None:
    admin = site.user(ADMIN)
    create(admin)
    before = site.rows(Channel)
    admin.refused("POST", "/api/channel/batch", body)
    assert site.rows(Channel) == before


def test_secrets_of_a_config_are_blank_and_stay_when_they_come_back_so(any_site: Site) -> None:
    admin = any_site.user(ADMIN)
    stored = '{"region": "eu", "ak": "AKIA", "sk": "geheim", "note": "ü"}'
    created = create(admin, type=33, config=stored)
    assert json.loads(created["config"]) == {"region": "eu", "ak": "", "sk": "", "note": "ü"}

    def config() -> Any:
        return any_site.row(Channel, created["id"]).config

    assert admin.call("PUT", "/api/channel/", created) == created
    assert config() == stored
    changed = admin.call(
        "PUT", "/api/channel/", {"id": created["id"], "config": '{"region": "us", "ak": "", "sk": "neu"}'}
    )
    assert json.loads(changed["config"]) == {"region": "us", "ak": "", "sk": ""}
    assert json.loads(config()) == {"region": "us", "ak": "AKIA", "sk": "neu"}
    admin.call("PUT", "/api/channel/", {"id": created["id"], "config": '{"region": "us"}'})
    assert json.loads(config()) == {"region": "us"}


def test_abilities_are_repaired_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = sqlite_database(tmp_path).config()
    assert rebuild_abilities_command(config, ()) == 2
    bootstrap.prepare(config)
    site = Site(config)
    created = create(site.user(ADMIN))
    with site.engine.begin() as connection:
        connection.execute(delete(Ability))
    assert rebuild_abilities_command(config, ()) == 0
    assert "1 channels" in capsys.readouterr().out
    assert abilities(site, created["id"]) == {("default", "gpt-4o", True, 0), ("default", "gpt-4o-mini", True, 0)}
    site.close()
