"""RocksDB's part of a store, in memory: what `agents.store` uses of rocksdict, with the moments a process can end at.

In: whole batches. Out: what was written, by key, or in the order of keys. Put in the place of `Rdict` and `WriteBatch`, so that
the Store of the agents runs as it is. A batch is there whole or not at all, as RocksDB promises; after a power cut the store
comes back at an earlier batch, since the agents do without fsync.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

MARK: Final = "disk"
"""A file in the folder of a store: which disk it is. It moves with the folder, as RocksDB's own files do."""

Batch = list[tuple[bytes, bytes | None]]


class Disk:
    """What one store has written. Survives the process that wrote it."""

    def __init__(self) -> None:
        """Empty."""
        self.data: dict[bytes, bytes] = {}
        self.batches: list[Batch] = []
        self.opened_by: Any = None

    def write(self, batch: Batch) -> None:
        """One batch, whole."""
        self.batches.append(batch)
        self._apply(batch)

    def lose(self, batches: int) -> None:
        """The last ones were not on the disk yet when the power went."""
        kept = self.batches[: max(0, len(self.batches) - batches)]
        self.data, self.batches = {}, kept
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

    def of(self, path: Path) -> Disk:
        """The disk in a folder, made where there is none."""
        mark = path / MARK
        if not mark.exists():
            mark.write_text(str(len(self._disks)), encoding="ascii")
            self._disks.append(Disk())
        return self._disks[int(mark.read_text(encoding="ascii"))]

    def under(self, folder: Path) -> list[Disk]:
        """All disks below a folder."""
        return [self.of(mark.parent) for mark in sorted(folder.rglob(MARK))]

    def open(self, path: str, options: Any = None, access_type: Any = None) -> Database:
        """As `Rdict(path, options)`. Open already, in this process or in another that lives: refused, as RocksDB does."""
        disk = self.of(Path(path))
        if disk.opened_by is not None and disk.opened_by.alive:
            raise RuntimeError("IO error: lock held by another process")
        disk.opened_by = self._opener()
        return Database(disk, self._come)


class Database:
    """One opening of a disk."""

    def __init__(self, disk: Disk, come: Callable[[], None]) -> None:
        """By the process that runs."""
        self._disk = disk
        self._come = come

    def get(self, key: Any) -> Any:
        """The value of a key, or those of a list of keys; None where there is none."""
        self._require_open()
        if isinstance(key, list):
            return [self._disk.data.get(one) for one in key]
        return self._disk.data.get(key)

    def write(self, batch: WriteBatch) -> None:
        """All of a batch."""
        self._require_open()
        self._come()
        self._disk.write(batch.changes)
        self._come()

    def iter(self) -> Iterator:
        """Over all keys, as of now."""
        self._require_open()
        return Iterator(self._disk.data)

    def close(self) -> None:
        """Give the folder back."""
        self._disk.opened_by = None
        self._closed = True

    _closed = False

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")


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
