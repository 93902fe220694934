"""Settlements that could not be committed: lines of JSON in a folder, synced, until the database is back.

Each process has a file of its own, under a lock that ends with the process; whoever gets the lock of a file that was
left behind replays it. A line is replayed as often as need be: the hold it names is settled once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from oneapi.config import Config
from oneapi.relay.exchange import Hold, Settlement

_log = logging.getLogger(__name__)
_REJECTED = "settlements-rejected.txt"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a spool file."""

    hold: Hold
    settlement: Settlement


@dataclass(slots=True)
class SpoolFile:
    """A file whose lock is held. `entries` is what it held when it was read."""

    path: Path
    handle: int
    is_own: bool
    entries: list[Entry]
    size: int


class Spool:
    """This process's file in the folder, and those that others left there."""

    def __init__(self, folder: Path, worker_id: str) -> None:
        self._folder = folder
        name = "".join(letter if letter.isalnum() else "-" for letter in worker_id)
        self._path = folder / f"settlements-{name}-{secrets.token_hex(4)}.jsonl"
        self._handle: int | None = None

    def append(self, entries: Sequence[Entry]) -> None:
        """Returns when the entries are on the disk."""
        if self._handle is None:
            self._handle = self._create()
        _write(self._handle, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))

    def reject(self, entry: Entry, reason: BaseException) -> None:
        """Keeps a settlement that no database takes, for a person to look at."""
        _log.error("A settlement cannot be written and was put into %s.", _REJECTED, exc_info=reason)
        self._reject(msgspec.json.encode(entry))

    @contextmanager
    def claim(self) -> Iterator[list[SpoolFile]]:
        """The files that nobody else is at, locked for as long as this lasts; this process's own among them."""
        files = [file for path in find(self._folder) if (file := self._open(path)) is not None]
        try:
            yield files
        finally:
            for file in files:
                if not file.is_own:
                    os.close(file.handle)

    def finish(self, file: SpoolFile) -> None:
        """Everything in the file is settled. What was appended meanwhile keeps all of it, to be replayed again."""
        if os.fstat(file.handle).st_size != file.size:
            return
        file.path.unlink(missing_ok=True)
        if file.is_own:
            self.close()

    def close(self) -> None:
        """Gives the file up. An empty one is not left behind."""
        handle, self._handle = self._handle, None
        if handle is not None:
            if os.fstat(handle).st_size == 0:
                self._path.unlink(missing_ok=True)
            os.close(handle)

    def _create(self) -> int:
        """The file appears under its name when it is locked, so that nobody takes it for an abandoned one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        hidden = self._path.with_suffix(".new")
        handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        hidden.rename(self._path)
        _sync_folder(self._folder)
        return handle

    def _open(self, path: Path) -> SpoolFile | None:
        if path == self._path and self._handle is not None:
            return self._read(path, self._handle, is_own=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return self._read(path, handle, is_own=False)

    def _read(self, path: Path, handle: int, *, is_own: bool) -> SpoolFile:
        content = os.pread(handle, os.fstat(handle).st_size, 0)
        file = SpoolFile(path, handle, is_own, [], len(content))
        *lines, torn = content.split(b"\n")
        if torn:
            # Never synced, so nobody was told that it was settled: its hold is the orphan job's.
            _log.warning("%s ends in the middle of a line, which is left out.", path)
        for line in lines:
            try:
                file.entries.append(_decode(line))
            except msgspec.DecodeError as error:
                _log.error("A line of %s cannot be read and was put into %s: %s", path, _REJECTED, error)
                self._reject(line)
        return file

    def _reject(self, line: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._folder / _REJECTED, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(handle, line + b"\n")
        finally:
            os.close(handle)


def folder_of(config: Config) -> Path:
    """Where this deployment keeps its spool files."""
    return Path(config.data_dir) / "spool"


def find(folder: Path) -> list[Path]:
    """The spool files in the folder, whoever they belong to."""
    return sorted(folder.glob("settlements-*.jsonl"))


def rejected(folder: Path) -> Path:
    """Where settlements are that no database takes; the file is there only if there are any."""
    return folder / _REJECTED


_decode = msgspec.json.Decoder(Entry).decode


def _write(handle: int, content: bytes) -> None:
    """All of it and on the disk, or nothing of it."""
    size = os.fstat(handle).st_size
    try:
        written = os.write(handle, content)
        if written != len(content):
            raise OSError(f"Only {written} of {len(content)} bytes could be written.")
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
