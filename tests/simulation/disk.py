"""RocksDB's part of a store, in memory: what `agents.store` uses of rocksdict, with the moments a process can end at.

In: whole batches. Out: what was written, by key, or in the order of keys. Put in the place of `Rdict`, `WriteBatch` and
`Checkpoint`, so that the Store of the agents runs as it is. A batch is there whole or not at all, as RocksDB promises; after a
power cut the store comes back at an earlier batch, since the agents do without fsync. A checkpoint is a folder with one file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

MARK: Final = "disk"
"""A file in the folder of a store: which disk it is. It moves with the folder, as RocksDB's own files do."""

CHECKPOINT: Final = "checkpoint "
"""What such a file says where the folder is a checkpoint. It may be copied; each copy that is opened is a disk of its own."""

Batch = list[tuple[bytes, bytes | None]]


class Disk:
    """What one store has written. Survives the process that wrote it."""

    def __init__(self, copied: Mapping[bytes, bytes] = MappingProxyType({})) -> None:
        """Empty, or with what was copied from a checkpoint, which no power cut takes away."""
        self._copied = copied
        self.data = dict(copied)
        self.batches: list[Batch] = []
        self.opened_by: Any = None

    def write(self, batch: Batch) -> None:
        """One batch, whole."""
        self.batches.append(batch)
        self._apply(batch)

    def lose(self, batches: int) -> None:
        """The last ones were not on the disk yet when the power went."""
        kept = self.batches[: max(0, len(self.batches) - batches)]
        self.data, self.batches = dict(self._copied), kept
        for batch in kept:
            self._apply(batch)

    def _apply(self, batch: Batch) -> None:
        for key, value in batch:
            if value is None:
                self.data.pop(key, None)
            else:
                self.data[key] = value


class Disks:
    """All disks of a run; around each write a process may end."""

    def __init__(self, before_and_after: Callable[[], None], opener: Callable[[], Any]) -> None:
        """before_and_after: called around each write. opener: the process that runs."""
        self._come = before_and_after
        self._opener = opener
        self._disks: list[Disk] = []
        self._checkpoints: list[dict[bytes, bytes]] = []

    def _of(self, mark: Path) -> Disk:
        """The disk in a folder; a new one where there is none, and where there is a checkpoint."""
        said = mark.read_text(encoding="ascii") if mark.exists() else ""
        if said.isdecimal():
            return self._disks[int(said)]
        self._disks.append(Disk(self._checkpoint(said)) if said else Disk())
        mark.write_text(str(len(self._disks) - 1), encoding="ascii")
        return self._disks[-1]

    def _checkpoint(self, said: str) -> dict[bytes, bytes]:
        return self._checkpoints[int(said.removeprefix(CHECKPOINT))]

    def under(self, folder: Path) -> list[Disk]:
        """All disks below a folder; checkpoints are none."""
        marks = [mark for mark in sorted(folder.rglob(MARK)) if mark.read_text(encoding="ascii").isdecimal()]
        return [self._of(mark) for mark in marks]

    def open(self, path: str, options: Any = None, column_families: Any = None, access_type: Any = None) -> Database:
        """As `Rdict(path, options, ...)`. Open already, in this process or in another that lives: refused, as by RocksDB.

        access_type: to read only, what is asked of checkpoints.
        """
        mark = Path(path) / MARK
        if access_type is not None:
            return Database(Disk(self._checkpoint(mark.read_text(encoding="ascii"))), self)
        disk = self._of(mark)
        if disk.opened_by is not None and disk.opened_by.alive:
            raise RuntimeError("IO error: lock held by another process")
        disk.opened_by = self._opener()
        return Database(disk, self)

    def come(self) -> None:
        """Before and after a write."""
        self._come()

    def keep(self, data: Mapping[bytes, bytes], path: Path) -> None:
        """A copy as of now, in a new folder, in one file that can be copied on."""
        path.mkdir()
        (path / MARK).write_text(f"{CHECKPOINT}{len(self._checkpoints)}", encoding="ascii")
        self._checkpoints.append(dict(data))


class Database:
    """One opening of a disk."""

    def __init__(self, disk: Disk, disks: Disks) -> None:
        """By the process that runs."""
        self._disk = disk
        self._disks = disks

    def get(self, key: Any) -> Any:
        """The value of a key, or those of a list of keys; None where there is none."""
        self._require_open()
        if isinstance(key, list):
            return [self._disk.data.get(one) for one in key]
        return self._disk.data.get(key)

    def write(self, batch: WriteBatch) -> None:
        """All of a batch."""
        self._require_open()
        self._disks.come()
        self._disk.write(batch.changes)
        self._disks.come()

    def put(self, key: bytes, value: bytes) -> None:
        """A batch of one."""
        batch = WriteBatch(raw_mode=True)
        batch.put(key, value)
        self.write(batch)

    def iter(self) -> Iterator:
        """Over all keys, as of now."""
        self._require_open()
        return Iterator(self._disk.data)

    def flush(self, wait: bool) -> None:
        """What is written is there."""
        self._require_open()

    def checkpoint(self, path: Path) -> None:
        """A copy as of now."""
        self._require_open()
        self._disks.keep(self._disk.data, path)

    def close(self) -> None:
        """Give the folder back."""
        self._disk.opened_by = None
        self._closed = True

    _closed = False

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")


class Checkpoint:
    """As rocksdict's."""

    def __init__(self, database: Database) -> None:
        """Of one opening."""
        self._database = database

    def create_checkpoint(self, path: str) -> None:
        """In a folder that is not there yet."""
        self._database.checkpoint(Path(path))


class WriteBatch:
    """As rocksdict's."""

    def __init__(self, raw_mode: bool = False) -> None:
        """Empty."""
        self.changes: Batch = []

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""
        self.changes.append((key, value))

    def delete(self, key: bytes) -> None:
        """Take a key away."""
        self.changes.append((key, None))


class Iterator:
    """As rocksdict's: over a snapshot, in the order of keys."""

    def __init__(self, data: dict[bytes, bytes]) -> None:
        """At the first key."""
        self._data = dict(data)
        self._keys = sorted(data)
        self._at = 0

    def seek(self, key: bytes) -> None:
        """To a key, or the next one."""
        self._at = bisect_left(self._keys, key)

    def valid(self) -> bool:
        """Whether there is a key here."""
        return self._at < len(self._keys)

    def key(self) -> bytes:
        """It."""
        return self._keys[self._at]

    def value(self) -> bytes:
        """Its value."""
        return self._data[self._keys[self._at]]

    def next(self) -> None:
        """Go on."""
        self._at += 1

    def status(self) -> None:
        """This disk can always be read."""
