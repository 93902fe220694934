"""`oneapi import-prices` and `oneapi import-models`: what they print, change and refuse; on SQLite."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from oneapi.config import Config
from oneapi.database import open_databases
from oneapi.extensions import db
from oneapi.models import Channel, Log, Option, Revision
from oneapi.services import channels, settings
from oneapi.services.audit import SYSTEM
from oneapi.services.channels import ChannelFields
from oneapi.services.imports import import_models_command, import_prices_command
from oneapi.services.offers import difference
from tests.relay.wire import channel, says, serving, whole
from tests.servers import sqlite_database


def entry(**prices: float) -> dict[str, Any]:
    """As LiteLLM's list has it."""
    return {"litellm_provider": "house", "mode": "chat", **prices}


LIST = {
    "gpt-4o": entry(input_cost_per_token=3e-06, output_cost_per_token=9e-06),
    "house/new": entry(
        input_cost_per_token=3e-07,
        output_cost_per_token=7e-07,
        cache_read_input_token_cost=1e-08,
        input_cost_per_image=0.001,
    ),
    "gift": entry(input_cost_per_token=0, output_cost_per_token=0),
    "nobodys": entry(input_cost_per_token=1e-06, output_cost_per_token=1e-06),
    "broken": entry(input_cost_per_pixel=1e-06),
}


class Installation:
    def __init__(self, engine: Engine, config: Config, folder: Path) -> None:
        self.engine = engine
        self.config = config
        self.file = folder / "prices.json"
        self.file.write_text(json.dumps(LIST))

    def stored(self) -> dict[str, Any]:
        """The price tables as they are saved."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(Option.key, Option.value))
            return {key: json.loads(value) for key, value in rows}

    def told(self) -> list[str]:
        with self.engine.connect() as connection:
            return [row.content for row in connection.execute(select(Log.content).order_by(Log.id))]

    def models(self) -> str:
        """Those of the channel."""
        with self.engine.connect() as connection:
            return str(connection.execute(select(Channel.models).where(Channel.id == 1)).scalar_one())

    def revision(self, name: str) -> int:
        with self.engine.connect() as connection:
            return connection.execute(select(Revision.number).where(Revision.name == name)).scalar() or 0


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    config = sqlite_database(tmp_path).config()
    databases = open_databases(config)
    db.metadatas[None].create_all(databases.main)
    db.metadatas["logs"].create_all(databases.main)
    mapping = json.dumps({"alias": "house/new"})
    fields = ChannelFields(type=1, name="c", key="k", models="gpt-4o,alias,gift,broken,unlisted", model_mapping=mapping)
    spark = ChannelFields(type=48, name="s", key="k", models="lite")  # which has a price at this type alone
    for one in (fields, spark):
        channels.create_many(databases.main, SYSTEM, one, now=1)
    yield Installation(databases.main, config, tmp_path)
    databases.dispose()


Import = Callable[..., SimpleNamespace]


@pytest.fixture
def import_prices(installed: Installation, capsys: pytest.CaptureFixture[str]) -> Import:
    def run(*flags: str, source: str = "") -> SimpleNamespace:
        status = import_prices_command(installed.config, [source or str(installed.file), *flags])
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, lines=out.splitlines(), out=out, err=err)

    return run


def test_the_difference_is_shown_and_nothing_written(installed: Installation, import_prices: Import) -> None:
    shown = import_prices()
    assert shown.status == 0
    assert shown.lines == [
        "The list (litellm) has prices of 4 models; of 3 that your channels have they were compared, and 3 differ.",
        "MODEL      PRICE            NOW     LIST",
        "gift       ModelRatio         –        0  has no price yet ! ModelRatio is 0",
        "           CompletionRatio    –        1",
        "gpt-4o     ModelRatio       2.5      1.5",
        "           CompletionRatio    4        3",
        "           cached           2.5      1.5",
        "house/new  ModelRatio         –     0.15  has no price yet",
        "           CompletionRatio    –  2.33333",
        "           cached             –     0.01",
        "Not in the list: lite, unlisted.",
        "Without any price: broken, unlisted.",
        "Not usable: broken (has no price for anything that is counted here).",
        "Prices of theirs that are not taken over: input_cost_per_image.",
        "Nothing was changed yet; --apply does it: prices of 2 models saved.",
        "1 of the differences look like mistakes and are left out; --force takes them, too.",
    ]
    assert installed.stored() == {}


def test_applied_they_are_saved_with_all_digits_and_told_of(installed: Installation, import_prices: Import) -> None:
    settings.save(installed.engine, SYSTEM, {"ModelRatio": '{"mine": 0.30, "gpt-4o": 7}'}, now=1)
    before = installed.revision("options")
    shown = import_prices("--apply")
    assert shown.lines[-2:] == [
        "Done: prices of 2 models saved.",
        "1 of the differences look like mistakes and are left out; --force takes them, too.",
    ]
    stored = installed.stored()
    assert stored["ModelRatio"] == {"mine": 0.3, "gpt-4o": 1.5, "house/new": 0.15}
    assert stored["CompletionRatio"] == {"gpt-4o": 3, "house/new": 7 / 3}
    assert stored["ExtModelPrice"]["house/new"] == {"input": 0.3, "output": 0.7, "cached": 0.01}
    assert installed.revision("options") == before + 1
    assert installed.told()[-1].startswith("oneapi import-prices changed options: CompletionRatio: {} → ")
    assert 'ModelRatio: {"gpt-4o": 7} → {"gpt-4o": 1.5, "house/new": 0.15}' in installed.told()[-1]
    assert import_prices("--apply").lines[-2] == "There is nothing to change."
    assert installed.revision("options") == before + 1


def test_force_takes_what_looks_like_a_mistake(installed: Installation, import_prices: Import) -> None:
    assert import_prices("--apply", "--force").lines[-1] == "Done: prices of 3 models saved."
    assert installed.stored()["ModelRatio"]["gift"] == 0


def test_only_all_and_provider_choose_models(installed: Installation, import_prices: Import) -> None:
    def models(*flags: str) -> list[str]:
        return [row["model"] for row in json.loads(import_prices("--json", *flags).out)["differences"]]

    assert models("--only", "gpt-*", "--only", "gif?") == ["gift", "gpt-4o"]
    assert models("--all") == ["gift", "gpt-4o", "house/new", "nobodys"]
    assert models("--all", "--provider", "house") == ["gift", "gpt-4o", "new", "nobodys"]


def test_json_says_the_same(installed: Installation, import_prices: Import) -> None:
    shown = json.loads(import_prices("--json", "--apply", "--only", "house/*").out)
    assert shown == {
        "format": "litellm",
        "differences": [
            {
                "model": "house/new",
                "is_new": True,
                "doubts": [],
                "prices": {
                    "ModelRatio": {"old": None, "new": 0.15},
                    "CompletionRatio": {"old": None, "new": 7 / 3},
                    "cached": {"old": None, "new": 0.01},
                },
            }
        ],
        "applied": ["house/new"],
        "unlisted": [],
        "unpriced": [],
        "unusable": {},
        "not_taken": ["input_cost_per_image"],
    }


def test_what_cannot_be_read_is_told_in_a_line(installed: Installation, import_prices: Import, tmp_path: Path) -> None:
    missing = import_prices(source=str(tmp_path / "missing.json"))
    assert (missing.status, missing.out) == (1, "")
    assert missing.err == f"{tmp_path / 'missing.json'} cannot be read: No such file or directory.\n"
    installed.file.write_text("[]")
    assert import_prices().err == "This is no price list: it must be a JSON object.\n"
    unreachable = import_prices(source="http://127.0.0.1:1/prices.json")
    assert unreachable.status == 1
    assert unreachable.err.startswith("http://127.0.0.1:1/prices.json cannot be fetched: ")


def test_no_database_is_made_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(Config(), sqlite_path=str(tmp_path / "none.db"))
    assert import_prices_command(config, ["prices.json"]) == 1
    assert capsys.readouterr().err == f"There is no database {tmp_path / 'none.db'}.\n"
    assert list(tmp_path.iterdir()) == []


MODELS = b'{"object": "list", "data": [{"id": "gpt-4o"}, {"id": "gpt-5"}, {"id": "whisper-1"}]}'


@pytest.fixture
def import_models(installed: Installation, capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Runs the command while the provider answers so."""

    def run(*flags: str, answer: bytes = whole(MODELS), channel_id: int = 1) -> SimpleNamespace:
        with serving(says(answer)) as server:
            with installed.engine.begin() as connection:
                connection.execute(update(Channel).values(base_url=server.url("")))
            status = import_models_command(installed.config, [str(channel_id), *flags])
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return run


def test_models_are_taken_away_unless_told_otherwise(installed: Installation, import_models: Import) -> None:
    shown = json.loads(import_models("--json", "--only", "g*", "--only", "u*").out)
    assert shown == {
        "offered": ["gpt-4o", "gpt-5", "whisper-1"],
        "added": ["gpt-5"],
        "removed": ["gift", "unlisted"],
        "applied": False,
    }
    assert "Done: 2 models added, 0 taken away." in import_models("--add-only", "--apply").out
    assert installed.models() == "gpt-4o,alias,gift,broken,unlisted,gpt-5,whisper-1"
    import_models("--apply")
    assert installed.models() == "gpt-4o,gpt-5,whisper-1"
    assert "There is nothing to change." in import_models("--apply").out


def test_no_channel_is_left_without_a_model(installed: Installation, import_models: Import) -> None:
    refused = import_models("--apply", answer=whole(b'{"data": []}'))
    assert (refused.status, refused.err) == (1, "Nothing was changed: channel 1 would have no model left.\n")
    assert installed.models() == "gpt-4o,alias,gift,broken,unlisted"


def test_what_a_provider_or_the_database_refuses_is_told(installed: Installation, import_models: Import) -> None:
    no_key = whole(b'{"error": {"message": "Which key?"}}', status=b"401 Unauthorized")
    assert (refused := import_models(answer=no_key)).status == 1
    assert "Which key?" in refused.err
    assert import_models(channel_id=7).err == "There is no such channel\n"


def test_models_are_compared_by_the_names_the_provider_knows() -> None:
    own = channel(models=("a", "alias", "lost", "gone"), model_mapping={"alias": "b", "lost": "nowhere"})
    assert difference(own, ["a", "b", "c", "d-1"]) == (["c", "d-1"], ["gone", "lost"])
    assert difference(own, ["a", "b", "c", "d-1"], ["d*", "l*"]) == (["d-1"], ["lost"])
    assert difference(own, []) == ([], ["a", "alias", "gone", "lost"])
