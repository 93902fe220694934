import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneapi.relay.exchange import Hold
from oneapi.services import spool
from oneapi.services.spool import Entry, Spool
from tests.services.books import cost

ENTRIES = [Entry(Hold(f"r{n}", 1, 2, 10, 0), cost(n, f"r{n}", content="倍率 \n \x85 \u2028")) for n in range(3)]


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Spool]:
    mine = Spool(tmp_path / "spool", "node:1")
    yield mine
    mine.close()


def claimed(someone: Spool) -> list[list[Entry]]:
    with someone.claim() as files:
        return [file.entries for file in files]


def test_what_is_appended_is_read_back(mine: Spool) -> None:
    mine.append(ENTRIES[:2])
    mine.append(ENTRIES[2:])
    assert claimed(mine) == [ENTRIES]


def test_a_file_whose_process_lives_is_left_alone(mine: Spool, tmp_path: Path) -> None:
    mine.append(ENTRIES)
    assert claimed(Spool(tmp_path / "spool", "node:2")) == []


def test_a_file_that_was_left_behind_is_claimed_once(mine: Spool, tmp_path: Path) -> None:
    mine.append(ENTRIES)
    mine.close()
    first, second = Spool(tmp_path / "spool", "node:2"), Spool(tmp_path / "spool", "node:3")
    with first.claim() as files:
        assert claimed(second) == []
        first.finish(files[0])
    assert claimed(second) == []
    assert spool.find(tmp_path / "spool") == []


def test_a_finished_file_of_ones_own_is_gone_and_made_anew(mine: Spool, tmp_path: Path) -> None:
    mine.append(ENTRIES[:1])
    with mine.claim() as files:
        mine.finish(files[0])
    assert spool.find(tmp_path / "spool") == []
    mine.append(ENTRIES[1:])
    assert claimed(mine) == [ENTRIES[1:]]


def test_what_is_appended_during_a_replay_is_kept(mine: Spool) -> None:
    mine.append(ENTRIES[:1])
    with mine.claim() as files:
        mine.append(ENTRIES[1:])
        mine.finish(files[0])
    assert claimed(mine) == [ENTRIES]


def test_a_line_torn_by_a_crash_is_left_out(mine: Spool, tmp_path: Path) -> None:
    mine.append(ENTRIES)
    mine.close()
    (path,) = spool.find(tmp_path / "spool")
    path.write_bytes(path.read_bytes()[:-5])
    assert claimed(mine) == [ENTRIES[:2]]
    assert not spool.rejected(tmp_path / "spool").exists()


def test_a_line_that_cannot_be_read_is_put_aside_and_the_others_are_replayed(mine: Spool, tmp_path: Path) -> None:
    mine.append(ENTRIES[:1])
    mine.close()
    (path,) = spool.find(tmp_path / "spool")
    path.write_bytes(b'{"hold": 7}\n' + path.read_bytes())
    assert claimed(mine) == [ENTRIES[:1]]
    assert spool.rejected(tmp_path / "spool").read_bytes() == b'{"hold": 7}\n'


def test_an_append_that_fails_leaves_no_half_line(mine: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine.append(ENTRIES[:1])

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        mine.append(ENTRIES[1:])
    monkeypatch.undo()
    assert claimed(mine) == [ENTRIES[:1]]


def test_the_file_appears_locked(mine: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(handle: int, how: int) -> None:
        seen.append(spool.find(tmp_path / "spool"))
        flock(handle, how)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", look)
    mine.append(ENTRIES)
    assert seen == [[]]


def test_other_processes_cannot_read_it(mine: Spool, tmp_path: Path) -> None:
    mine.append(ENTRIES)
    assert [path.stat().st_mode & 0o077 for path in spool.find(tmp_path / "spool")] == [0]
