"""The archive worker: writes the ledger, record by record, into signed Parquet segments.

In: `lampit.ledger` with its control records, and `lampit.closings`. Out: the archive (LAMPIT_ARCHIVE_URL), `lampit.heads`.
Started by `lampit run archive`, as often as there are partitions.

Where segments end is a function of the log alone: at multiples of LAMPIT_ARCHIVE_SEGMENT_RECORDS, and behind every record
that turns the business day. Where to go on is read from the archive itself: what waits in memory for the end of its
segment is read again after a restart, and the same segments come out, byte for byte. The Merkle tree over the records grows
behind the segments, while the log has nothing that waits; the head of a day is published with the root of its tree, before
the tree grows on: so a restart knows which heads may be missing, without reading them (that needs a right of its own).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from faust.types import TP

from agents import metrics
from agents.app import App, create_app
from agents.archive_books import Books
from agents.archive_files import Files
from agents.archive_tree import TreeBooks
from agents.archive_writer import Complete, PartitionWriter
from agents.barrier import LedgerIdentity
from agents.courier import Courier
from agents.driver import Positions, commit, fetches, lag
from agents.errors import ConfigurationError
from agents.producer import Producer, Record
from agents.reading import record_at
from agents.settings import Settings
from agents.signing import Signer, load_signer
from agents.topics import CLOSINGS, HEADS, LEDGER, topics_of
from stream.archive import Header, Statement, encode_line

logger = logging.getLogger("lampit.archive")

MEASURE_SECONDS: Final = 1.0
TREE_SEGMENTS: Final = 8
"""Hashed before it is looked whether records wait again, a quarter of a second each.

After a restart the heads of days among as many are published again: let an older process not have hashed more at once.
"""

ARCHIVED: Final = (LEDGER, CLOSINGS)


def place_of(settings: Settings) -> tuple[Files, Signer]:
    """Where the archive is written, and what signs it; ConfigurationError where one is not set or cannot be used."""
    if settings.archive_url is None:
        raise ConfigurationError(
            "LAMPIT_ARCHIVE_URL is not set: name the directory or s3://BUCKET/PREFIX the archive is written to."
        )
    if settings.archive_key_file is None:
        raise ConfigurationError(
            "LAMPIT_ARCHIVE_KEY_FILE is not set: name the private key that signs the archive "
            "(`lampit audit keygen FILE` makes one)."
        )
    files, signer = Files(settings.archive_url), load_signer(settings.archive_key_file)
    # Or it would be told by the first complete segment, which may be tomorrow's.
    files.require_writable("LAMPIT_ARCHIVE_URL")
    return files, signer


class ArchiveAgent:
    """The partitions that this process writes."""

    def __init__(self, settings: Settings, identity: LedgerIdentity, place: tuple[Files, Signer]) -> None:
        """Not started; `app` is run by the caller. place: what `place_of` gives."""
        self.settings = settings
        self.identity = identity
        self.files, self.signer = place
        self.writers: dict[TP, PartitionWriter] = {}
        self.trees: dict[TP, TreeBooks] = {}
        self._heads: list[Statement] = []
        self._is_behind = True
        self._producer = Producer(settings, name="lampit-archive")
        self._started = False
        names = {topic.name for topic in topics_of(settings)}
        self.app: App = create_app(
            "archive", settings, begin=self.begin, revoked=self.revoked, topic_ids=identity.topic_ids
        )
        self.app.health.require("caught_up", measured=True)
        metrics.build_info()
        self.app.batch_agent(*(topic for topic in ARCHIVED if topic in names))(self.work)
        self._courier = Courier(self.app, self._deliver, MEASURE_SECONDS)
        self._gardener = Courier(self.app, self._grow, MEASURE_SECONDS)

    async def begin(self, partitions: frozenset[TP]) -> Positions:
        """Read how far the archive is; publish the last heads of days again, in case that was cut short."""
        for tp in set(self.writers) - partitions:
            del self.writers[tp], self.trees[tp]
        for tp in sorted(partitions - self.writers.keys()):
            books, tree = await asyncio.to_thread(self._books, tp)
            await self._require_its_log(tp, books)
            self.writers[tp] = PartitionWriter(books, self.settings.archive_segment_records)
            self.trees[tp] = tree
            metrics.archive_position(tp.topic, tp.partition, books.next_offset)
            metrics.archive_tree(tp.topic, tp.partition, tree.next_offset)
            logger.info("%s-%d: the archive goes on at %d", tp.topic, tp.partition, books.next_offset)
            # Those before were acknowledged before the tree grew by these: `_grow` waits for it. Twice is the same: by key.
            self._heads += tree.last_days(books.entries, TREE_SEGMENTS)
        return {tp: self.writers[tp].next_offset for tp in partitions}

    async def _require_its_log(self, tp: TP, books: Books) -> None:
        """Raise ConfigurationError where the archive ends with another record than the ledger has there.

        As of one that was replayed into another cluster: it has other offsets where there were markers, and what came between
        would be in no archive. `lampit.closings` is compacted; the embedded broker does not tell the end.
        """
        if tp.topic != LEDGER or not self.settings.transactions:
            return
        last = await asyncio.to_thread(books.last_record)
        if last is None:
            return
        found = await record_at(self.settings, tp.topic, tp.partition, last.offset)
        if found is None or (found.key, found.value) != (last.key, last.value):
            raise ConfigurationError(
                f"{tp.topic}-{tp.partition} does not have the last record of the archive at its offset {last.offset}: "
                "it is not the ledger that was archived there. Name another LAMPIT_ARCHIVE_URL, which all of it is written to."
            )

    def _books(self, tp: TP) -> tuple[Books, TreeBooks]:
        header = Header(self.identity.ledger_id, tp.topic, tp.partition)
        books = Books(self.files, header, self.signer)
        return books, TreeBooks(self.files, header, self.signer, books.entries)

    async def revoked(self, partitions: frozenset[TP]) -> None:
        """What waits in memory is read again by whoever goes on."""
        for tp in partitions & self.writers.keys():
            del self.writers[tp], self.trees[tp]
            metrics.forget_archive(tp.topic, tp.partition)

    async def work(self, stream: Any) -> None:
        """The agent: collect records, write every segment that is complete."""
        async for fetch in fetches(stream):
            fetch.require_decodable()
            writer = self.writers[fetch.tp]
            for complete in writer.take(fetch):
                await self._write(writer, complete)

    async def _write(self, writer: PartitionWriter, complete: Complete) -> None:
        began = time.perf_counter()
        # In a thread: Parquet is written without holding up heartbeats and pages.
        entry = await asyncio.to_thread(writer.write, complete)
        metrics.batch("archive", time.perf_counter() - began)
        metrics.archived(writer.books.header.topic, writer.books.header.partition, entry)
        self._gardener.wake()

    async def _grow(self) -> None:
        """Let the trees grow up to the last segments, unless records wait: writing them comes first; and so do heads."""
        for tp, tree in list(self.trees.items()):
            while not self._is_behind and not self._heads and self.trees.get(tp) is tree:
                entries = list(self.writers[tp].books.entries)
                if len(tree.lines) == len(entries):
                    break
                # In a thread: hashing a segment holds up neither heartbeats nor pages.
                heads = await asyncio.to_thread(tree.grow, entries, TREE_SEGMENTS)
                if self.trees.get(tp) is tree:
                    metrics.archive_tree(tp.topic, tp.partition, tree.next_offset)
                if heads:
                    self._heads += heads
                    self._courier.wake()

    async def _deliver(self) -> None:
        """Publish the heads that wait, commit and measure."""
        heads = list(self._heads)
        if heads:
            if not self._started:
                await self._producer.start()
                self._started = True
            await self._producer.send_all(_head_record(head) for head in heads)
            del self._heads[: len(heads)]  # only now: until then no tree grows on
            self._gardener.wake()
        await commit(self.app, {tp: one.books.next_offset for tp, one in self.writers.items()})
        behind = await lag(self.app)
        for tp, one in self.writers.items():
            metrics.position(tp.topic, tp.partition, one.next_offset, behind.get(tp, 0), one.last_timestamp_ms)
        late = {
            f"{tp.topic}-{tp.partition}" for tp in self.writers if behind.get(tp, 0) > self.settings.max_poll_records
        }
        self._is_behind = bool(late)
        self.app.health.set("caught_up", not late, f"{sorted(late)} are behind the log" if late else "")


def _head_record(head: Statement) -> Record:
    key = f"{head.ledger_id}|{head.topic}|{head.partition}|{head.next_offset}"
    return Record(HEADS, 0, key.encode(), encode_line(head))


def build(settings: Settings, identity: LedgerIdentity, place: tuple[Files, Signer]) -> App:
    """The app of an archive worker."""
    return ArchiveAgent(settings, identity, place).app
