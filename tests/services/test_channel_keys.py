"""Channel keys at rest: sealed in the table, in clear for those who need them, and converted both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, insert, select, update

from oneapi.data import load_prices
from oneapi.database import open_databases
from oneapi.extensions import db
from oneapi.keyring import CHANNEL_COLUMNS, is_sealed, keyring_of
from oneapi.models import Ability, Channel, Log, Option, Revision
from oneapi.options import Options
from oneapi.relay import adaptors, directory
from oneapi.relay.directory import ChannelDirectory
from oneapi.relay.pricing import PriceList
from oneapi.services import channels, settings
from oneapi.services.audit import Actor
from oneapi.services.channel_keys import convert, convert_options
from oneapi.services.channels import ChannelFields
from oneapi.services.refusal import Refusal
from tests.servers import FreshDatabase

OLD, NEW, OTHER = "an old phrase of somebody", "a new phrase of somebody", "a phrase of somebody else"
ROOT = Actor(user_id=1, username="root", role=100)
NOW = 1_750_000_000
SETTINGS = '{"proxy": "http://u:proxypassword@127.0.0.1:1", "keys": ["sk-second", {"key": "sk-third", "weight": 3}]}'
BEDROCK = '{"region": "eu-central-1", "ak": "AKIASECRET", "sk": "secretsecret"}'
SECRETS = ("sk-first", "sk-second", "sk-third", "proxypassword", "AKIASECRET", "secretsecret")


class Table:
    """The table of channels on one database, opened with this phrase or that."""

    def __init__(self, database: FreshDatabase) -> None:
        self.database = database
        self._opened: dict[tuple[str, ...], Any] = {}
        db.metadatas[None].create_all(self.engine())
        db.metadatas["logs"].create_all(self.engine())

    def engine(self, *phrases: str) -> Engine:
        """Of a program whose KEY_ENCRYPTION_KEY has these phrases."""
        if phrases not in self._opened:
            self._opened[phrases] = open_databases(self.database.config(key_encryption_key=phrases))
        main: Engine = self._opened[phrases].main
        return main

    def clear(self) -> None:
        with self.engine().begin() as connection:
            for model in (Channel, Ability, Log, Option, Revision):
                connection.execute(delete(model))
            connection.execute(insert(Revision).values(name="channels", number=1))

    def close(self) -> None:
        for databases in self._opened.values():
            databases.dispose()

    def stored(self) -> dict[int, dict[str, Any]]:
        """Credentials as they stand in the table, by the channels' ids."""
        columns = [getattr(Channel, column) for column in CHANNEL_COLUMNS]
        with self.engine().connect() as connection:
            rows = connection.execute(select(Channel.id, *columns).order_by(Channel.id)).mappings()
            return {row["id"]: {column: row[column] for column in CHANNEL_COLUMNS} for row in rows}

    def texts(self) -> list[str]:
        return [text for columns in self.stored().values() for text in columns.values() if text]

    def audited(self) -> list[str]:
        with self.engine().connect() as connection:
            return list(connection.scalars(select(Log.content).order_by(Log.id)))

    def revision(self) -> int:
        with self.engine().connect() as connection:
            return int(connection.execute(select(Revision.number).where(Revision.name == "channels")).scalar_one())

    def directory(self, *phrases: str) -> ChannelDirectory:
        engine = self.engine(*phrases)
        with engine.connect() as connection:
            prices = PriceList.of(load_prices(), Options())
            return directory.read(connection, adaptors.load(), prices, keyring_of(engine))


@pytest.fixture(scope="module")
def kept_table(kept_database: FreshDatabase) -> Iterator[Table]:
    table = Table(kept_database)
    yield table
    table.close()


@pytest.fixture
def table(kept_table: Table) -> Table:
    kept_table.clear()
    return kept_table


def create(engine: Engine, **fields: Any) -> int:
    values = {"type": 1, "key": "sk-first", "name": "one", "models": "m", "group": "default", **fields}
    [channel_id] = channels.create_many(engine, ROOT, ChannelFields(**values), now=NOW)
    return channel_id


def three(engine: Engine) -> list[int]:
    """A channel with a pool of keys, one whose credentials are in its config, and an ordinary one."""
    return [
        create(engine, settings=SETTINGS),
        create(engine, type=33, key="-", config=BEDROCK),
        create(engine, key="sk-first-of-another"),
    ]


def test_what_is_written_is_sealed_and_what_is_read_is_in_clear(table: Table) -> None:
    engine = table.engine(NEW)
    pool, bedrock, _ = three(engine)
    stored = table.stored()
    assert all(is_sealed(text) for text in table.texts())
    assert not any(secret in json.dumps(stored) for secret in SECRETS)
    assert channels.get(engine, bedrock).config == BEDROCK
    assert channels.reveal_key(engine, ROOT, pool, now=NOW) == "sk-first"
    assert channels.shown_settings(engine, pool)["keys"] == 2
    found = table.directory(NEW)
    known = found.channel(pool)
    assert known is not None
    assert [one.channel.key for one in known.pool] == ["sk-first", "sk-second", "sk-third"]
    assert known.proxy == "http://u:proxypassword@127.0.0.1:1"
    known = found.channel(bedrock)
    assert known is not None and known.fields["sk"] == "secretsecret"


def test_whole_rows_go_back_as_they_came_and_nothing_is_written(table: Table) -> None:
    engine = table.engine(NEW)
    bedrock = three(engine)[1]
    before, revision = table.stored(), table.revision()
    row = channels.get(engine, bedrock)
    channels.update_one(engine, ROOT, ChannelFields(id=bedrock, key=row.key, config=row.config), now=NOW)
    assert (table.stored(), table.revision()) == (before, revision)


def test_changes_and_copies_are_sealed_for_their_own_rows(table: Table) -> None:
    engine = table.engine(NEW)
    pool = create(engine, settings=SETTINGS)
    channels.update_one(engine, ROOT, ChannelFields(id=pool, key="sk-changed"), now=NOW)
    channels.change_settings(engine, ROOT, pool, {"keys": ["sk-fourth"]}, now=NOW)
    copy = channels.copy_one(engine, ROOT, pool, "copy", now=NOW)
    stored = table.stored()
    assert all(is_sealed(text) for text in table.texts())
    assert stored[pool]["key"] != stored[copy]["key"]
    assert channels.get(engine, copy).key == "sk-changed"
    assert json.loads(channels.get(engine, copy).settings)["keys"] == ["sk-fourth"]


@pytest.mark.parametrize("phrases", [(), (OTHER,)], ids=["no key", "another key"])
def test_without_its_key_a_channel_is_left_out_and_others_work(table: Table, phrases: tuple[str, ...]) -> None:
    pool, bedrock, _ = three(table.engine(NEW))
    plain = create(table.engine(), key="sk-plain")
    stranger = table.engine(*phrases)
    found = table.directory(*phrases)
    assert [channel.id for channel in found.channels()] == [plain]
    assert found.unreadable.keys() == {pool, bedrock, pool + 2}
    name = table.stored()[pool]["key"].split(":")[2]
    for refused in (
        lambda: channels.reveal_key(stranger, ROOT, pool, now=NOW),
        lambda: channels.copy_one(stranger, ROOT, pool, "copy", now=NOW),
        lambda: channels.shown_settings(stranger, pool),
        lambda: channels.change_settings(stranger, ROOT, pool, {"test_model": "m"}, now=NOW),
        lambda: channels.relayed(stranger, channels.get(stranger, pool)),
    ):
        with pytest.raises(Refusal, match=f"encrypted with key {name}, which KEY_ENCRYPTION_KEY does not have"):
            refused()
    # It can be read as a row, put back, switched off, and given another key.
    before = table.stored()
    row = channels.get(stranger, bedrock)
    channels.update_one(stranger, ROOT, ChannelFields(id=bedrock, config=row.config, status=2), now=NOW)
    assert table.stored() == before
    channels.update_one(stranger, ROOT, ChannelFields(id=bedrock, key="new", config='{"ak": "new"}'), now=NOW)
    assert channels.get(stranger, bedrock).config == '{"ak": "new"}'


def test_a_key_that_was_moved_to_another_channel_does_not_open(table: Table) -> None:
    engine = table.engine(NEW)
    cheap, dear = create(engine, key="sk-cheap"), create(engine, key="sk-dear")
    with table.engine().begin() as connection:
        moved = {"key": table.stored()[dear]["key"]}
        connection.execute(update(Channel).where(Channel.id == cheap).values(moved))
    found = table.directory(NEW)
    assert [channel.id for channel in found.channels()] == [dear]
    with pytest.raises(Refusal, match="was written for another channel"):
        channels.reveal_key(engine, ROOT, cheap, now=NOW)


def test_nobody_can_enter_a_sealed_text(table: Table) -> None:
    engine = table.engine(NEW)
    channel_id = create(engine)
    sealed = table.stored()[channel_id]["key"]
    for target in (engine, table.engine()):
        with pytest.raises(Refusal, match="must not be an encrypted text"):
            create(target, key=sealed)
        with pytest.raises(Refusal, match="must not be an encrypted text"):
            channels.update_one(target, ROOT, ChannelFields(id=channel_id, key=sealed + "="), now=NOW)


def test_tables_are_converted_there_and_back_to_the_last_byte(table: Table) -> None:
    three(table.engine())
    create(table.engine(), key="  sk-with-blanks  ", config='{"région": "ü"}')
    plain = table.stored()
    logged, revision = len(table.audited()), table.revision()

    dry = convert(table.engine(NEW), "encrypt", is_dry_run=True, now=NOW)
    assert (dry.rows, dry.changed, dry.left) == (4, 4, {})
    assert (table.stored(), len(table.audited()), table.revision()) == (plain, logged, revision)

    assert convert(table.engine(NEW), "encrypt", now=NOW, batch=3).changed == 4
    assert all(is_sealed(text) for text in table.texts())
    assert len(table.audited()) == logged + 2, "one line for each batch"
    assert table.audited()[-1] == f"the program encrypted the keys of 1 channels, from {max(plain)} to {max(plain)}"
    assert table.revision() == revision + 2
    sealed = table.stored()
    assert convert(table.engine(NEW), "encrypt", now=NOW).changed == 0
    assert table.stored() == sealed, "what is done is passed over"

    assert convert(table.engine(NEW), "decrypt", now=NOW, batch=3).changed == 4
    assert table.stored() == plain
    assert not any(secret in line for line in table.audited() for secret in SECRETS)


def test_a_new_key_takes_the_place_of_an_old_one(table: Table) -> None:
    three(table.engine(OLD))
    create(table.engine(), key="sk-plain")
    done = convert(table.engine(NEW, OLD), "rotate", now=NOW)
    assert (done.rows, done.changed) == (4, 3), "what is plain stays so"
    assert convert(table.engine(NEW, OLD), "rotate", now=NOW).changed == 0
    found = table.directory(NEW)
    assert len(list(found.channels())) == 4 and not found.unreadable


def test_what_cannot_be_read_is_left_as_it_is_and_named(table: Table) -> None:
    foreign = create(table.engine(OTHER))
    mine = create(table.engine(NEW))
    before = table.stored()
    for engine, conversion in ((table.engine(NEW), "decrypt"), (table.engine(OLD, NEW), "rotate")):
        done = convert(engine, conversion, now=NOW)  # type: ignore[arg-type]
        assert (done.rows, done.changed, list(done.left)) == (2, 1, [foreign])
        assert table.stored()[foreign] == before[foreign]
        channels.update_one(table.engine(NEW), ROOT, ChannelFields(id=mine, key="sk-again"), now=NOW)


def test_an_interrupted_conversion_is_taken_up_again(table: Table) -> None:
    for number in range(6):
        create(table.engine(), key=f"sk-{number}")
    plain, engine = table.stored(), table.engine(NEW)
    updates = 0

    def interrupt(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal updates
        updates += statement.startswith("UPDATE channels")
        if updates == 4:
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            convert(engine, "encrypt", now=NOW, batch=2)
    finally:
        event.remove(engine, "before_cursor_execute", interrupt)
    assert [is_sealed(columns["key"]) for columns in table.stored().values()] == [True, True] + [False] * 4
    assert len(list(table.directory(NEW).channels())) == 6, "every state between is one that works"
    assert convert(engine, "encrypt", now=NOW, batch=2).changed == 4
    assert convert(engine, "decrypt", now=NOW, batch=2).changed == 6
    assert table.stored() == plain


# ---- options that are secrets ----


def stored_options(table: Table) -> dict[str, str]:
    with table.engine().connect() as connection:
        return {row.key: row.value for row in connection.execute(select(Option))}


def options_of(table: Table, *phrases: str) -> Options:
    with table.engine(*phrases).connect() as connection:
        return Options.from_rows(settings.rows(connection))


def test_secret_options_are_sealed_and_others_stay_as_they_are(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    values = {"SMTPToken": "geheim", "TopUpLink": "https://pay.example.org", "OwnSecret": "unknown to us"}
    engine = table.engine(NEW)
    settings.save(engine, ROOT, {**values, "Notice": "enc:v1:is how it begins"}, now=NOW)
    stored = stored_options(table)
    assert is_sealed(stored["SMTPToken"]) and stored["Notice"] == "enc:v1:is how it begins"
    assert {name: stored[name] for name in ("TopUpLink", "OwnSecret")} == {
        name: values[name] for name in ("TopUpLink", "OwnSecret")
    }
    assert options_of(table, NEW).smtp_token == "geheim"
    logged = len(table.audited())
    settings.save(engine, ROOT, {"SMTPToken": "geheim"}, now=NOW)
    assert (stored_options(table), len(table.audited())) == (stored, logged), "the same again is no change"
    with pytest.raises(Refusal, match="must not be an encrypted text"):
        settings.save(engine, ROOT, {"SMTPToken": stored["SMTPToken"]}, now=NOW)
    # Without the key it counts as never saved, says so, and can be saved anew.
    assert options_of(table).smtp_token == ""
    assert "option SMTPToken is taken for empty" in caplog.text
    settings.save(table.engine(), ROOT, {"SMTPToken": "new"}, now=NOW)
    assert stored_options(table)["SMTPToken"] == options_of(table).smtp_token == "new"


def test_secret_options_are_converted_there_and_back(table: Table) -> None:
    values = {"SMTPToken": "geheim", "OidcClientSecret": "streng geheim", "Footer": "offen", "SessionSecret": "plain"}
    with table.engine().begin() as connection:
        connection.execute(insert(Option), [{"key": key, "value": value} for key, value in values.items()])
    for phrases, conversion, changed in (
        ((OLD,), "encrypt", 2), ((OLD,), "encrypt", 0), ((NEW, OLD), "rotate", 2), ((NEW,), "rotate", 0),
    ):  # fmt: skip
        done = convert_options(table.engine(*phrases), conversion, now=NOW)  # type: ignore[arg-type]
        assert (done.rows, done.changed, done.left) == (2, changed, {})
    stored = stored_options(table)
    assert {key for key in stored if is_sealed(stored[key])} == {"SMTPToken", "OidcClientSecret"}
    assert convert_options(table.engine(OLD), "decrypt", now=NOW).left.keys() == {"SMTPToken", "OidcClientSecret"}
    dry = convert_options(table.engine(NEW), "decrypt", is_dry_run=True, now=NOW)
    assert dry.changed == 2 and stored_options(table) == stored
    assert convert_options(table.engine(NEW), "decrypt", now=NOW).changed == 2
    assert stored_options(table) == values
    assert table.audited()[-1] == "the program decrypted 2 secret options"
