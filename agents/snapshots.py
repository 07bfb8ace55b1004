"""Snapshots of stores in a directory or object store: written, looked through, fetched.

In: LAMPIT_SNAPSHOT_URL, the folder of a checkpoint. Out: whole snapshots (`stream.snapshot` says what that is), or a store's
folder whose every file has been checked. All of it blocks and belongs in a thread (`agents.threads`); all of it may raise
OSError where the place does not answer, and `Stopped`. Called by `agents.saving`, which writes, `agents.stores`, which
fetches, and `lampit doctor`.

<ledger id>/partition=00003/00000000000000081234-2-5f0c….json    the manifest, written last
<ledger id>/partition=00003/00000000000000081234-2-5f0c…/…       the store's files
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from stream.snapshot import MANIFEST, Snapshot, SnapshotFile, UnfitSnapshot, require_fit, to_remove, whole

_PIECE_BYTES: Final = 4 * 2**20


class Stopped(Exception):
    """The one who asked does not want it any more."""


class Until:
    """How long something may go on: until it is stopped, or until a moment of the monotonic clock.

    turn: held by the one that fetches, of all that have to be done by the same moment: time for some is better than too
    little for all. looks: how often it was looked at.
    """

    def __init__(self, deadline: float = float("inf")) -> None:
        """Not stopped."""
        self._stopped = threading.Event()
        self._deadline = deadline
        self.looks = 0
        self.turn = asyncio.Lock()

    def stop(self) -> None:
        """From any thread."""
        self._stopped.set()

    @property
    def seconds_left(self) -> float | None:
        """Until the moment; None where there is none."""
        return None if self._deadline == float("inf") else max(0.0, self._deadline - time.monotonic())

    def check(self) -> None:
        """Raises Stopped. That it is asked says that the work gets on."""
        self.looks += 1
        if self._stopped.is_set():
            raise Stopped
        if time.monotonic() > self._deadline:
            raise Stopped("it took too long")


class Snapshots:
    """All snapshots of one ledger."""

    def __init__(self, url: str, ledger_id: str) -> None:
        """Nothing is made or read yet. Raises ConfigurationError for a URL that is none."""
        from agents.archive_files import Files  # pyarrow is large, and most workers have no need of it

        self.files = Files(url, "LAMPIT_SNAPSHOT_URL")
        self.ledger_id = ledger_id
        self._unfinished: set[str] = set()
        """Folders of this process that could not be removed yet."""

    def _folder(self, partition: int) -> str:
        return f"{self.ledger_id}/partition={partition:05}"

    def names(self, partition: int) -> list[str]:
        """The whole ones of a partition, newest first."""
        return whole(self.files.names(self._folder(partition)))

    def manifest(self, partition: int, name: str) -> Snapshot:
        """What a snapshot says of itself. Raises UnfitSnapshot."""
        raw = self.files.get(f"{self._folder(partition)}/{name}{MANIFEST}")
        if raw is None:
            raise UnfitSnapshot("its manifest is gone")
        return Snapshot.decode(raw, name)

    def newest(self, partition: int, format: int, settings_digest: str) -> Snapshot | None:
        """The newest whole one that a worker of this format and these settings would take."""
        for name in self.names(partition):
            try:
                return self.fitting(partition, name, format, settings_digest)
            except UnfitSnapshot:
                continue
        return None

    def write(
        self, checkpoint: Path, described: Callable[[tuple[SnapshotFile, ...]], Snapshot], until: Until
    ) -> Snapshot:
        """Copy a checkpoint's files, then the manifest; then remove what is older than the last two.

        described: the manifest of these files. An attempt that fails takes its own files away with it: with one a minute they
        would fill a place that is nearly full. Folders of other workers are left, they may be about to be finished.
        """
        self._remove_unfinished()
        listed = tuple(_described(path, until) for path in sorted(checkpoint.iterdir()))
        snapshot = described(listed)
        folder = self._folder(snapshot.partition)
        try:
            for file in snapshot.files:
                name = f"{folder}/{snapshot.name}/{file.name}"
                self.files.copy_in(name, checkpoint / file.name, lambda _: until.check())
            until.check()
            self.files.put(f"{folder}/{snapshot.name}{MANIFEST}", snapshot.encode())
        except Exception:
            self._unfinished.add(f"{folder}/{snapshot.name}")
            self._remove_unfinished()
            raise
        for old in to_remove(self.files.names(folder), snapshot.name):
            self._remove(f"{folder}/{old}")
        return snapshot

    def _remove(self, name: str) -> None:
        """The manifest first: what is left of it after a kill does not count. One may lie there though writing it failed."""
        self.files.remove(f"{name}{MANIFEST}")
        self.files.remove(name)

    def _remove_unfinished(self) -> None:
        """As far as the place lets us; what is left is tried again before the next attempt."""
        for name in sorted(self._unfinished):
            with suppress(OSError):
                self._remove(name)
                self._unfinished.discard(name)

    def fetch(self, snapshot: Snapshot, target: Path, until: Until) -> None:
        """Copy a snapshot's files into a folder, every byte checked. Raises UnfitSnapshot.

        What an earlier attempt has left there and is right is not copied again; what is not of the snapshot is removed.
        """
        target.mkdir(parents=True, exist_ok=True)
        names = {file.name for file in snapshot.files}
        for left in target.iterdir():
            if left.name not in names:
                left.unlink()
        for file in snapshot.files:
            path = target / file.name
            if path.exists() and path.stat().st_size == file.size_bytes and _described(path, until) == file:
                continue
            digest = hashlib.sha256()

            def seen(piece: bytes, digest: hashlib._Hash = digest) -> None:
                until.check()
                digest.update(piece)

            try:
                self.files.copy_out(f"{self._folder(snapshot.partition)}/{snapshot.name}/{file.name}", path, seen)
            except FileNotFoundError:
                raise UnfitSnapshot(f"its file {file.name} is missing") from None
            if SnapshotFile(file.name, path.stat().st_size, digest.hexdigest()) != file:
                path.unlink()
                raise UnfitSnapshot(f"its file {file.name} is not what was written")

    def fitting(self, partition: int, name: str, format: int, settings_digest: str) -> Snapshot:
        """The manifest of one that is of this ledger and partition, of this format and settings. Raises UnfitSnapshot."""
        snapshot = self.manifest(partition, name)
        require_fit(
            snapshot, ledger_id=self.ledger_id, partition=partition, format=format, settings_digest=settings_digest
        )
        return snapshot


def remove_folder(path: Path) -> None:
    """Remove a folder of this machine, where there is one."""
    if path.exists():
        shutil.rmtree(path)


def _described(path: Path, until: Until) -> SnapshotFile:
    """Size and digest of a file of this machine."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            until.check()
            digest.update(piece)
            size += len(piece)
    return SnapshotFile(path.name, size, digest.hexdigest())
