"""Snapshots of the stores that a ledger worker has open, taken beside its work.

In: the desks, where snapshots go, how often, the settings they are made with. Out: whole snapshots, metrics. Nothing else
depends on it: what fails is logged and tried again. Called by `agents.ledger`.

A partition is saved once it has caught up: before that, disk and processor are needed for the log. The event loop is not held
up: flush, digests and upload are done in a thread, on a checkpoint that no longer changes.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agents import metrics
from agents.app import App
from agents.desk import Desk
from agents.snapshots import Snapshots, Stopped, Until, remove_folder
from agents.store import FORMAT, read_meta
from agents.threads import in_thread
from stream.snapshot import VERSION, Snapshot, SnapshotFile

logger = logging.getLogger("lampit.ledger")

LOOK_SECONDS: Final = 1.0
RETRY_SECONDS_MAX: Final = 60.0
HANG_SECONDS_MAX: Final = 300.0
"""Of what is written: an object store takes a file's last pieces, tens of MB, while it is closed, and nothing is heard then."""


class Saver:
    """Saves each partition every `interval_seconds`."""

    def __init__(
        self,
        app: App,
        snapshots: Snapshots,
        interval_seconds: float,
        desks: dict[int, Desk],
        lock: Callable[[int], asyncio.Lock],
        path: Callable[[int], Path],
        settings_digest: str,
    ) -> None:
        """Starts and ends with the app. lock: held while a desk may not be closed; settings_digest: as the stores' own."""
        self._app = app
        self._snapshots = snapshots
        self._interval = interval_seconds
        self._desks = desks
        self._lock = lock
        self._path = path
        self._settings_digest = settings_digest
        self._due: dict[int, float] = {}
        self._position: dict[int, int] = {}
        self._left: asyncio.Future[Any] | None = None
        app.task(self._run)

    async def _run(self) -> None:
        while not self._app.should_stop:
            for gone in self._due.keys() - self._desks.keys():
                del self._due[gone]
            for partition, desk in list(self._desks.items()):
                if desk.caught_up and time.monotonic() >= self._due.get(partition, 0.0):
                    await self._turn(partition)
            await asyncio.sleep(LOOK_SECONDS)

    async def _turn(self, partition: int) -> None:
        """Save a partition, or, new here, see when it was saved last."""
        try:
            if self._left is not None and not self._left.done():  # each of them would take another thread
                raise Stopped("their place still does not answer")
            if partition not in self._due:
                await self._look(partition)
            else:
                await self._save(partition)
        except Exception as error:  # whatever an object store or RocksDB says
            metrics.snapshot("failed")
            logger.warning("partition %d: no snapshot is written: %s", partition, error)
            self._due[partition] = time.monotonic() + min(self._interval, RETRY_SECONDS_MAX)
            if partition not in self._position and partition in self._desks:
                metrics.newest_snapshot(partition, 0, 0)  # as old as can be, for the alert

    async def _look(self, partition: int) -> None:
        # One of another version or of other settings, as after an upgrade, is of no use to any start: it counts as none.
        newest = await in_thread(
            lambda: self._snapshots.newest(partition, FORMAT, self._settings_digest), Until(), self._leave
        )
        self._due[partition] = 0.0
        self._position.pop(partition, None)
        if newest is not None:
            self._saved(partition, newest.made_at, newest.next_offset)

    async def _save(self, partition: int) -> None:
        now = time.time()
        path = self._path(partition)
        checkpoint = path.with_name(f"{path.name}.checkpoint")
        until = Until()
        try:
            async with self._lock(partition):
                desk = self._desks.get(partition)
                if desk is None or desk.epoch_differs:
                    return
                if desk.meta.next_offset == self._position.get(partition):
                    self._saved(partition, now, desk.meta.next_offset)
                    return
                await in_thread(lambda: _checkpoint(desk, checkpoint))
            snapshot = await in_thread(
                lambda: self._write(checkpoint, int(now), until), until, self._leave, HANG_SECONDS_MAX
            )
        finally:
            with suppress(OSError):
                remove_folder(checkpoint)
        metrics.snapshot("written")
        logger.info(
            "partition %d: snapshot at offset %d, %.1f MB", partition, snapshot.next_offset, snapshot.size_bytes / 1e6
        )
        self._saved(partition, now, snapshot.next_offset)

    def _leave(self, thread: asyncio.Future[Any]) -> None:
        self._left = thread

    def _write(self, checkpoint: Path, made_at: int, until: Until) -> Snapshot:
        """Where the checkpoint stands is read from itself: the desk has gone on."""

        def described(files: tuple[SnapshotFile, ...]) -> Snapshot:
            with tempfile.TemporaryDirectory(prefix="lampit-snapshot-") as notes:
                meta = read_meta(checkpoint, Path(notes))
            assert meta is not None
            return Snapshot(
                VERSION,
                meta.ledger_id,
                meta.partition,
                meta.format,
                meta.settings_digest,
                meta.epoch,
                meta.next_offset,
                made_at,
                files,
            )

        return self._snapshots.write(checkpoint, described, until)

    def _saved(self, partition: int, at: float, position: int) -> None:
        """At a moment that a clock told which was set back since, or another machine's: then it counts as made now."""
        now = time.time()
        at = min(at, now)
        self._due[partition] = time.monotonic() + self._interval - (now - at)
        self._position[partition] = position
        if partition in self._desks:
            metrics.newest_snapshot(partition, at, position)


def _checkpoint(desk: Desk, path: Path) -> None:
    remove_folder(path)  # left by a process that was killed
    desk.store.checkpoint(path)
