"""Opening the store of a partition: the one that is there, else the newest snapshot that fits, else an empty one.

In: a partition. Out: a `Store` that goes on with this log. Called by the ledger worker for the partitions it is assigned
(`agents.ledger`) and for those it keeps copies of (`agents.standby`); one at a time for a partition.

A store is of use when it is of this ledger, partition, format, settings and topics, and the log still has the last record that
it has applied. Snapshots are held to the same, and before that every byte of them to the manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from agents import metrics
from agents.barrier import LedgerIdentity
from agents.damage import is_damage, is_damaged, set_aside
from agents.desk import record_digest, store_path
from agents.epochs import is_to_come, not_the_epochs
from agents.errors import StoreFailed
from agents.reading import record_at
from agents.settings import Settings
from agents.snapshots import Snapshots, Stopped, Until, remove_folder
from agents.store import FORMAT, Meta, Store
from agents.threads import in_thread
from agents.topics import LEDGER
from stream.snapshot import Snapshot, UnfitSnapshot, offset_of

logger = logging.getLogger("lampit.ledger")

Result = TypeVar("Result")


class Stores:
    """The stores of one process."""

    def __init__(self, settings: Settings, identity: LedgerIdentity) -> None:
        """Nothing is opened yet. Raises ConfigurationError for a LAMPIT_SNAPSHOT_URL that is none."""
        self._settings = settings
        self._identity = identity
        url = settings.snapshot_url
        self.snapshots = None if url is None else Snapshots(url, identity.ledger_id)

    def path(self, partition: int) -> Path:
        """The folder of a partition's store."""
        return store_path(self._settings.data_dir, partition)

    async def open(self, partition: int, until: Until) -> Store:
        """The partition's store; until: when to stop fetching a snapshot, and begin with what the log has."""
        path = self.path(partition)
        why: str | None = "a file of the store cannot be read"
        if not is_damaged(path) and (store := self._opened(path)) is not None:
            why = await self._held(store, self._misfit(store, partition))
            if why is None and (store.meta is not None or self.snapshots is None):
                return store
            store.close()
        if why is not None:
            logger.warning("partition %d: %s; the store is set aside and rebuilt from the log", partition, why)
            set_aside(path)
        if self.snapshots is not None:
            async with until.turn:
                found = await self._from_snapshots(partition, until)
            if found is not None:
                return found
        return Store(path)

    def _opened(self, path: Path) -> Store | None:
        """The store in a folder, made where there is none; None where it is damaged."""
        try:
            return Store(path)
        except Exception as error:
            if is_damage(error):
                return None
            raise StoreFailed(
                f"the store in {path} cannot be opened: give each worker a LAMPIT_DATA_DIR of its own, "
                f"on a disk that can be written and is not full ({error})"
            ) from error

    async def _held(self, store: Store, asked: Awaitable[Result]) -> Result:
        """The answer to a question about a store, which is closed when the question fails or is not wanted any more."""
        try:
            return await asked
        except BaseException:
            store.close()
            raise

    async def _misfit(self, store: Store, partition: int) -> str | None:
        """Why a store cannot go on with this log, or None.

        Raises ConfigurationError where nothing but our settings is wrong: the store is right for the ledger's epoch, and a slip
        in a setting is to cost no count of everything.
        """
        meta = store.meta
        if meta is None:
            return None
        if (why := self._of_others(meta, partition)) is not None:
            return why
        if meta.settings_digest != self._identity.settings_digest:
            is_wrong = meta.epoch_differs  # for the ledger's epoch too
            if not is_wrong and not await is_to_come(self._settings, self._identity, {partition: meta.next_offset}):
                raise not_the_epochs()
            return "the store is of other settings than the ledger's epoch"
        if meta.last_offset < 0:
            return None
        record = await record_at(self._settings, LEDGER, partition, meta.last_offset)
        if record is None or record_digest(record.value) != meta.last_digest:
            return "the log is not the one the store was made from"
        return None

    def _of_others(self, meta: Meta, partition: int) -> str | None:
        """Why a store is not of this partition of these topics, or None."""
        if (meta.format, meta.ledger_id, meta.partition) != (FORMAT, self._identity.ledger_id, partition):
            return "the store is of another ledger or another format"
        topics = self._identity.topics_digest
        if meta.topics and topics and meta.topics != topics:
            # Its last record may be in the ledger all the same: it read the new one on. What it gave out is not where it was.
            return "the ledger, or a topic that its figures are given out on, was made anew since"
        return None

    async def _asked(self, call: Callable[[], Result], until: Until) -> Result:
        """What the place of the snapshots answers. Raises Stopped where it hangs, and it is not asked again then."""

        def give_up(_: object) -> None:
            self.snapshots = None

        return await in_thread(call, until, give_up)

    async def _from_snapshots(self, partition: int, until: Until) -> Store | None:
        """The store of the newest snapshot that fits; None where there is none. It takes the place of an empty store."""
        snapshots = self.snapshots
        if snapshots is None:  # its place has turned out to hang
            return None
        try:
            names = await self._asked(lambda: snapshots.names(partition), until)
            for name in names:
                try:
                    return await self._from_snapshot(snapshots, partition, name, until)
                except UnfitSnapshot as error:
                    metrics.snapshot("refused")
                    # Its text is ours; as an exception it would be logged without.
                    at, why = offset_of(name), str(error)
                    logger.warning("partition %d: the snapshot at offset %d is refused: %s", partition, at, why)
            logger.info("partition %d: no snapshot fits; it is built from the log", partition)
        except (OSError, ValueError, Stopped) as error:
            why = str(error) if isinstance(error, Stopped) else type(error).__name__
            logger.warning("partition %d: no snapshot is used (%s); it is built from the log", partition, why)
        remove_folder(self._fetched(partition))
        return None

    async def _from_snapshot(self, snapshots: Snapshots, partition: int, name: str, until: Until) -> Store:
        """The store of one. Raises UnfitSnapshot."""
        digest = self._identity.settings_digest
        snapshot = await self._asked(lambda: snapshots.fitting(partition, name, FORMAT, digest), until)
        logger.info(
            "partition %d: fetching the snapshot at offset %d, %.1f MB",
            partition,
            snapshot.next_offset,
            snapshot.size_bytes / 1e6,
        )
        fetched, path = self._fetched(partition), self.path(partition)
        await self._asked(lambda: snapshots.fetch(snapshot, fetched, until), until)
        remove_folder(path)
        fetched.rename(path)
        try:
            store = await self._checked(path, partition, snapshot)
        except Exception:  # nothing unproven is to be left where the partition's store is looked for
            remove_folder(path)
            raise
        metrics.snapshot("used")
        return store

    async def _checked(self, path: Path, partition: int, snapshot: Snapshot) -> Store:
        """The store that was fetched, if it is what the manifest says and of this log. Raises UnfitSnapshot."""
        store = self._opened(path)
        if store is None:
            raise UnfitSnapshot("it is no store")
        why: str | None = "it does not stand where its manifest says"
        said = (snapshot.next_offset, snapshot.settings_digest)
        if store.meta is not None and (store.meta.next_offset, store.meta.settings_digest) == said:
            why = await self._held(store, self._misfit(store, partition))
        if why is not None:
            store.close()
            raise UnfitSnapshot(why)
        return store

    def _fetched(self, partition: int) -> Path:
        """Where the files of a snapshot wait until all of them are there and right."""
        path = self.path(partition)
        return path.with_name(f"{path.name}.fetched")
