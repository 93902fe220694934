"""Tests of channels, one and all, and the rules of switching them: management.md §4.7, §9.1, §9.3, appendix B 29."""

import json
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from sqlalchemy import insert

from oneapi.models import Ability, Channel, Lease, Log, User
from oneapi.services import runs
from oneapi.services.runs import Run
from tests.api.site import ADMIN, ROOT, Caller, Site
from tests.postoffice import JsonServer, PostOffice, json_server, post_office

SLOW_S = 1.5  # longer than a busy machine takes for any other answer

ENABLED, DISABLED, AUTO_DISABLED = 1, 2, 3


def provider(environ: dict[str, Any], body: Any) -> tuple[int, Any]:
    """Knows the key "good"; the model says how it behaves."""
    if environ.get("HTTP_AUTHORIZATION") != "Bearer good":
        return 401, {
            "error": {"message": "Incorrect API key", "type": "invalid_request_error", "code": "invalid_api_key"}
        }
    match environ["PATH_INFO"].removeprefix("/v1"):
        case "/chat/completions":
            return _chat(body)
        case "/embeddings":
            return 200, {"object": "list", "data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 1}}
        case "/images/generations":
            return 200, {"created": 1, "data": [{"url": "https://example.org/dot.png"}]}
        case "/audio/speech":
            return 200, "sound"
        case "/audio/transcriptions":
            return 200, {"text": ""}
        case "/rerank":
            return 200, {"results": [{"index": 0, "relevance_score": 1}], "usage": {"total_tokens": 1}}
        case "/moderations":
            return 200, {"id": "m", "results": [{"flagged": False}]}
    return 404, {"error": {"message": "no such path"}}


def _chat(body: Any) -> tuple[int, Any]:
    model = body["model"]
    if model == "slow":
        time.sleep(SLOW_S + 0.1)
    if model == "busy":
        return 503, {"error": {"message": "overloaded"}}
    message: dict[str, Any] = {"role": "assistant", "content": "I am " + model}
    if model == "list-content":
        message["content"] = [{"type": "text", "text": "hello"}]
    if model == "thinker":
        message |= {"content": None, "reasoning_content": "Hmm"}
    if model == "mute":
        message["content"] = None
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    return 200, {"id": "c", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}


@pytest.fixture
def upstream() -> Iterator[JsonServer]:
    with json_server(provider) as running:
        yield running


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as running:
        yield running


def add(site: Site, upstream: JsonServer, models: str = "gpt-4o", *, key: str = "good", **columns: Any) -> int:
    values = {"type": 1, "name": "shop", "status": ENABLED, "group": "default", **columns}
    with site.engine.begin() as connection:
        inserted = connection.execute(
            insert(Channel).values(key=key, models=models, base_url=upstream.url, created_time=1, **values)
        )
        channel_id = int(inserted.inserted_primary_key[0])
        enabled = values["status"] == ENABLED
        rows = [
            {"group": "default", "model": model, "channel_id": channel_id, "enabled": enabled, "priority": 0}
            for model in models.split(",")
        ]
        connection.execute(insert(Ability), rows)
    return channel_id


def outcome(caller: Caller, channel_id: int, query: str = "") -> dict[str, Any]:
    answer = caller.ask("GET", f"/api/channel/test/{channel_id}{query}").get_json()
    assert answer.keys() == {"success", "message", "time", "modelName"}
    return dict(answer)


# ---- one ----


def test_a_test_says_what_the_model_said_and_what_it_took(any_site: Site, upstream: JsonServer) -> None:
    admin = any_site.user(ADMIN, quota=100)
    channel = add(any_site, upstream)
    answer = outcome(admin, channel, "?model=gpt-4o")
    assert (answer["success"], answer["message"], answer["modelName"]) == (True, "I am gpt-4o", "gpt-4o")
    assert 0 < answer["time"] < 5
    row = any_site.row(Channel, channel)
    assert abs(row.test_time - time.time()) < 10 and row.response_time == round(answer["time"] * 1000)
    (log,) = any_site.rows(Log, Log.type == 5)
    assert (log.user_id, log.username, log.channel_id, log.model_name, log.quota) == (0, "", channel, "gpt-4o", 0)
    assert "I am gpt-4o" in log.content
    assert not any_site.rows(Log, Log.type.in_((2, 6)))
    assert (row.used_quota, any_site.row(User, admin.id).quota) == (0, 100)
    ((_, path, body),) = upstream.asked
    assert path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": any_site.program.config.test_prompt}]
    assert 0 < body["max_tokens"] <= 64 and not body.get("stream")


@pytest.mark.parametrize(
    "key, models, message",
    [
        ("bad", "gpt-4o", "Incorrect API key"),
        ("good", "list-content", "not what it should be"),
        ("good", "mute", "not what it should be"),
        ("good", "busy", "overloaded"),
        ("good", "", "no model"),
    ],
)
def test_a_test_that_fails(site: Site, upstream: JsonServer, key: str, models: str, message: str) -> None:
    channel = add(site, upstream, models, key=key)
    site.change(Channel, channel, response_time=77)
    answer = outcome(site.user(ADMIN), channel)
    assert answer["success"] is False and message in answer["message"]
    assert (answer["time"], answer["modelName"]) == (0, "")
    row = site.row(Channel, channel)
    assert (row.response_time, row.status) == (0, ENABLED)
    assert message in site.rows(Log, Log.type == 5)[0].content


def test_a_model_that_only_thought_has_answered(site: Site, upstream: JsonServer) -> None:
    assert outcome(site.user(ADMIN), add(site, upstream, "thinker"))["message"] == "Hmm"


@pytest.mark.parametrize(
    "models, query, asked",
    [
        ("gpt-4o-mini,gpt-4o", "?model=gpt-4o", "gpt-4o"),
        ("gpt-4o-mini,gpt-4", "?model=gpt-4o", "gpt-4o-mini"),  # not by a part of the name (D-38)
        ("gpt-4o,gpt-3.5-turbo", "", "gpt-3.5-turbo"),
        ("text-embedding-3-small,gpt-4o", "", "gpt-4o"),
        ("dall-e-3,tts-1,gpt-4o", "?model=tts-1", "tts-1"),
    ],
)
def test_which_model_is_asked(site: Site, upstream: JsonServer, models: str, query: str, asked: str) -> None:
    assert outcome(site.user(ADMIN), add(site, upstream, models), query)["success"] is True
    assert upstream.asked[0][2]["model"] == asked


def test_a_channels_own_test_model_goes_before_the_usual_one(site: Site, upstream: JsonServer) -> None:
    settings = json.dumps({"test_model": "gpt-4o"})
    channel = add(site, upstream, "gpt-3.5-turbo,gpt-4o,gpt-4", settings=settings)
    outcome(site.user(ADMIN), channel)
    outcome(site.user(ADMIN), channel, "?model=gpt-4")
    assert [body["model"] for _, _, body in upstream.asked] == ["gpt-4o", "gpt-4"]


@pytest.mark.parametrize(
    "model, path, said",
    [
        ("text-embedding-3-small", "/v1/embeddings", "1 vector(s)"),
        ("bge-reranker-v2-m3", "/v1/rerank", "1 documents ranked"),
        ("dall-e-3", "/v1/images/generations", "1 image"),
        ("tts-1", "/v1/audio/speech", "5 bytes of sound"),
        ("whisper-1", "/v1/audio/transcriptions", ""),
        ("omni-moderation-latest", "/v1/moderations", "1 text judged"),
    ],
)
def test_models_that_do_not_talk_are_asked_for_what_they_do(
    site: Site, upstream: JsonServer, model: str, path: str, said: str
) -> None:
    answer = outcome(site.user(ADMIN), add(site, upstream, model, type=8))
    assert (answer["success"], answer["message"]) == (True, said)
    assert upstream.asked[0][1] == path


def test_a_model_whose_provider_only_talks_is_talked_to(site: Site, upstream: JsonServer) -> None:
    channel = add(site, upstream, "claude-image-reader", type=14)
    outcome(site.user(ADMIN), channel)
    assert upstream.asked[0][1] == "/v1/messages"


def test_mapping_disabled_channels_and_models_without_a_price(site: Site, upstream: JsonServer) -> None:
    site.set_options(ExtDefaultModelRatio="")
    channel = add(site, upstream, "alias", status=DISABLED, model_mapping='{"alias": "unheard-of"}')
    assert outcome(site.user(ADMIN), channel)["message"] == "I am unheard-of"
    assert site.row(Channel, channel).status == DISABLED


def test_who_may_test(site: Site, upstream: JsonServer) -> None:
    channel = add(site, upstream)
    for path in (f"test/{channel}", "test", "update_balance", "rounds"):
        site.user().refused("GET", f"/api/channel/{path}")
    assert "no such channel" in site.user(ADMIN).refused("GET", "/api/channel/test/999")
    assert not upstream.asked


# ---- all ----


def go_round(site: Site, query: str = "") -> None:
    """A manual round, to its end."""
    site.user(ADMIN).call("GET", f"/api/channel/test{query}")
    finish(site)


def finish(site: Site) -> None:
    with gevent.Timeout(10):
        while site.program.rounds._greenlets or site.program.notifier._carriers:
            gevent.sleep(0.01)


def telling_root(site: Site, office: PostOffice, **options: str) -> None:
    site.user(ROOT, username="boss", email="root@example.com", language="en")
    for row in site.rows(User, User.username == "root"):
        site.change(User, row.id, status=2)
    site.set_options(**office.options(**options))


def subjects(office: PostOffice) -> list[str]:
    return sorted(str(received.message["Subject"]) for received in office.received)


FINISHED = "The test of the channels has finished"


def test_the_rules_of_a_round(any_site: Site, upstream: JsonServer, office: PostOffice) -> None:
    site = any_site
    telling_root(
        site, office, AutomaticDisableChannelEnabled="true", AutomaticEnableChannelEnabled="true",
        ChannelDisableThreshold=str(SLOW_S),
    )  # fmt: skip
    names = {
        "good": add(site, upstream, name="good"),
        "bad key": add(site, upstream, name="bad key", key="bad"),
        "slow": add(site, upstream, "slow", name="slow"),
        "busy": add(site, upstream, "busy", name="busy"),
        "off by hand": add(site, upstream, name="off by hand", status=DISABLED),
        "off by itself": add(site, upstream, name="off by itself", status=AUTO_DISABLED),
        "off and slow": add(site, upstream, "slow", name="off and slow", status=AUTO_DISABLED),
        "off and bad": add(site, upstream, name="off and bad", key="bad", status=AUTO_DISABLED),
    }
    go_round(site)
    assert {name: site.row(Channel, channel).status for name, channel in names.items()} == {
        "good": ENABLED,
        "bad key": AUTO_DISABLED,
        "slow": AUTO_DISABLED,
        "busy": ENABLED,
        "off by hand": DISABLED,
        "off by itself": ENABLED,
        "off and slow": AUTO_DISABLED,
        "off and bad": AUTO_DISABLED,
    }
    rows = site.rows(Channel)
    assert all(row.test_time > 0 and row.response_time > 0 for row in rows)
    off = {row.channel_id for row in site.rows(Ability, Ability.enabled.is_(False))}
    assert off == {row.id for row in rows if row.status != ENABLED}
    assert subjects(office) == sorted(
        [
            f"Channel bad key (#{names['bad key']}) was disabled",
            f"Channel off by itself (#{names['off by itself']}) was enabled again",
            f"Channel slow (#{names['slow']}) was disabled",
            FINISHED,
        ]
    )
    finished = next(one for one in office.received if one.message["Subject"] == FINISHED)
    assert "8 channels were tested: 3 failed, 2 were disabled, 1 were enabled again" in finished.text
    assert len(site.rows(Log, Log.type == 5)) == 8


def test_without_the_options_root_is_told_of_slow_channels_and_nothing_is_switched(
    site: Site, upstream: JsonServer, office: PostOffice
) -> None:
    telling_root(site, office, ChannelDisableThreshold=str(SLOW_S))
    ids = [
        add(site, upstream, "slow"),
        add(site, upstream, key="bad"),
        add(site, upstream, status=AUTO_DISABLED),
    ]
    go_round(site)
    assert [site.row(Channel, channel).status for channel in ids] == [ENABLED, ENABLED, AUTO_DISABLED]
    assert subjects(office) == [f"Channel shop (#{ids[0]}) is slow", FINISHED]


@pytest.mark.parametrize("threshold, models", [("0", "slow"), ("0.0001", "dall-e-3")])
def test_a_threshold_of_zero_is_no_limit_and_pictures_may_take_their_time(
    site: Site, upstream: JsonServer, threshold: str, models: str
) -> None:
    site.set_options(ChannelDisableThreshold=threshold, AutomaticDisableChannelEnabled="true")
    channel = add(site, upstream, models, type=8)
    go_round(site)
    assert site.row(Channel, channel).status == ENABLED


def test_the_scope_disabled_leaves_the_others_alone(site: Site, upstream: JsonServer) -> None:
    ids = [add(site, upstream, status=status) for status in (ENABLED, DISABLED, AUTO_DISABLED)]
    go_round(site, "?scope=disabled")
    assert [site.row(Channel, channel).test_time > 0 for channel in ids] == [False, True, True]
    assert "scope" in site.user(ADMIN).refused("GET", "/api/channel/test?scope=some")


def test_a_periodic_round_spends_no_money_on_pictures_and_announces_nothing(
    site: Site, upstream: JsonServer, office: PostOffice
) -> None:
    telling_root(site, office)
    pictures, talk = add(site, upstream, "dall-e-3", type=8), add(site, upstream)
    site.program.rounds.run_tests()
    finish(site)
    assert [site.row(Channel, channel).test_time > 0 for channel in (pictures, talk)] == [False, True]
    assert not office.received


def test_one_round_at_a_time_in_the_whole_installation(any_site: Site, upstream: JsonServer) -> None:
    admin = any_site.user(ADMIN)
    for _ in range(3):
        add(any_site, upstream)
    elsewhere = Run(any_site.program.databases, "channel tests", "all", 7)
    elsewhere.advance(5)
    message = admin.refused("GET", "/api/channel/test")
    assert "5 of 7" in message
    assert admin.call("GET", "/api/channel/rounds") == {"channel_tests": {"scope": "all", "done": 5, "total": 7}}
    admin.call("POST", "/api/channel/update_balance")  # another kind
    finish(any_site)
    elsewhere.end()
    go_round(any_site)
    assert admin.call("GET", "/api/channel/rounds") == {}
    assert not any_site.rows(Lease)


def test_a_round_whose_worker_was_killed_is_over_when_its_lease_ends(
    site: Site, upstream: JsonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(site, upstream)
    monkeypatch.setattr(runs, "LEASE_S", -1)
    Run(site.program.databases, "channel tests", "all", 1)
    monkeypatch.undo()
    go_round(site)
    assert len(upstream.asked) == 1


def test_a_round_whose_lease_was_lost_goes_no_further(
    site: Site, upstream: JsonServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        add(site, upstream, "slow")
    site.user(ADMIN).call("GET", "/api/channel/test")
    gevent.sleep(0.1)
    with site.engine.begin() as connection:
        connection.execute(Lease.__table__.update().values(holder="somebody else"))
    finish(site)
    assert len(upstream.asked) == 1
    assert "given up" in caplog.text
    assert [row.holder for row in site.rows(Lease)] == ["somebody else"]


def test_a_stopping_worker_gives_its_round_up(site: Site, upstream: JsonServer) -> None:
    add(site, upstream, "slow")
    site.user(ADMIN).call("GET", "/api/channel/test")
    gevent.sleep(0.05)
    site.program.rounds.stop()
    assert not site.rows(Lease)
