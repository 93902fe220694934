"""Secrets at rest: what a sealed text looks like, and that it opens with its key, whole, and in its own place alone."""

import base64

import pytest
from sqlalchemy import create_engine

from oneapi.keyring import CHANNEL_COLUMNS, Keyring, Unreadable, channel_place, is_sealed, keyring_of
from oneapi.models import Channel

OLD, NEW, OTHER = "an old phrase of somebody", "a new phrase of somebody", "a phrase of somebody else"
PLACE = channel_place(7, "key")
SECRET = "sk-ünlesbar-" + "x" * 40


def test_what_is_sealed_opens_again_and_shows_nothing():
    keyring = Keyring((NEW,))
    sealed = keyring.seal(SECRET, PLACE)
    assert sealed.startswith("enc:v1:") and is_sealed(sealed)
    assert "unlesbar" not in sealed and "xxx" not in sealed and base64.b64encode(b"xxxxxx").decode() not in sealed
    assert keyring.open(sealed, PLACE) == SECRET
    assert Keyring((NEW,)).open(sealed, PLACE) == SECRET, "the same phrase is the same key on every node"


def test_the_same_text_is_sealed_differently_each_time():
    keyring = Keyring((NEW,))
    assert len({keyring.seal(SECRET, PLACE) for _ in range(50)}) == 50


def test_without_a_phrase_texts_stay_plain():
    keyring = Keyring()
    assert not keyring.can_seal
    assert keyring.seal(SECRET, PLACE) == keyring.open(SECRET, PLACE) == SECRET


def test_plain_and_empty_texts_are_read_with_phrases_too():
    keyring = Keyring((NEW,))
    assert (keyring.open(SECRET, PLACE), keyring.open("", PLACE), keyring.seal("", PLACE)) == (SECRET, "", "")
    assert not is_sealed(None) and not is_sealed("") and not is_sealed("enc:")


@pytest.mark.parametrize("place", [channel_place(8, "key"), channel_place(7, "config"), channel_place(77, "key")])
def test_a_text_does_not_open_in_another_place(place):
    keyring = Keyring((NEW,))
    with pytest.raises(Unreadable, match="another place") as caught:
        keyring.open(keyring.seal(SECRET, PLACE), place)
    assert caught.value.key_name == ""


def test_no_changed_bit_and_no_missing_byte_goes_unnoticed():
    keyring = Keyring((NEW,))
    head, _, box = keyring.seal("sk-1", PLACE).rpartition(":")
    whole = base64.urlsafe_b64decode(box)

    def opened(changed: bytes) -> str:
        return keyring.open(f"{head}:{base64.urlsafe_b64encode(changed).decode()}", PLACE)

    assert opened(whole) == "sk-1"
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unreadable):
            opened(bytes(changed))
    for length in range(len(whole)):
        with pytest.raises(Unreadable):
            opened(whole[:length])


@pytest.mark.parametrize("box", ["", "=", "ü", "not base64!"])
def test_what_is_no_sealed_text_at_all_is_unreadable(box):
    keyring = Keyring((NEW,))
    head, _, _ = keyring.seal("sk-1", PLACE).rpartition(":")
    with pytest.raises(Unreadable, match="damaged"):
        keyring.open(f"{head}:{box}", PLACE)


def test_a_missing_key_is_named_by_a_mark_that_tells_nothing_of_it():
    sealed = Keyring((OTHER,)).seal(SECRET, PLACE)
    for keyring in (Keyring((NEW, OLD)), Keyring()):
        with pytest.raises(Unreadable, match="KEY_ENCRYPTION_KEY does not have") as caught:
            keyring.open(sealed, PLACE)
        assert caught.value.key_name == sealed.split(":")[2]
        assert len(caught.value.key_name) == 8 and OTHER not in str(caught.value)


def test_the_first_phrase_seals_and_all_open():
    before, both, after = Keyring((OLD,)), Keyring((NEW, OLD)), Keyring((NEW,))
    old = before.seal(SECRET, PLACE)
    assert both.open(old, PLACE) == SECRET
    assert not both.is_current(old)
    new = both.seal(both.open(old, PLACE), PLACE)
    assert both.is_current(new)
    assert after.open(new, PLACE) == SECRET


def test_columns_that_are_sealed_are_columns_of_channels():
    assert set(CHANNEL_COLUMNS) <= set(Channel.__table__.columns.keys())


def test_a_database_that_was_opened_without_keys_keeps_texts_plain():
    engine = create_engine("sqlite://")
    assert not keyring_of(engine).can_seal
