"""The ledger that `lampit replay` fills: what it holds already, and writing behind that.

In: settings of the other cluster; tables of records. Out: records acknowledged by all in-sync replicas. Each partition always
holds a beginning of the replay: that is how the next run knows where to go on. A ledger that holds anything else is refused.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from agents import segments
from agents.errors import ConfigurationError
from agents.producer import Producer, Record
from agents.settings import Settings
from agents.topics import LEDGER, ensure_topics
from lampit.audit import log
from lampit.audit.archive import Archive, Filter

Content = tuple[int, bytes | None, bytes | None]
"""Time, key and value: what is the same there and here."""


class Destination:
    """A cluster's ledger, open for writing. Not for several tasks at once."""

    def __init__(self, settings: Settings) -> None:
        """Makes the topics that are missing."""
        ensure_topics(settings)
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._producer = Producer(settings, name="lampit-replay")
        self.held = dict.fromkeys(range(settings.partitions), 0)
        self._edges: dict[int, tuple[Content, Content]] = {}
        self._passed: dict[int, int] = dict(self.held)

    def __enter__(self) -> Self:
        """Look at what is there, connect."""
        self._loop.run_until_complete(self._look())
        self._loop.run_until_complete(self._producer.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._loop.run_until_complete(self._producer.stop())
        self._loop.close()

    async def _look(self) -> None:
        """Count what each partition holds; keep its first and last record."""
        async for partition, records in log.stretch(self._settings, LEDGER, self.held):
            contents = [(record.timestamp, record.key, record.value) for record in (records[0], records[-1])]
            first = self._edges[partition][0] if partition in self._edges else contents[0]
            self._edges[partition] = (first, contents[1])
            self.held[partition] += len(records)

    def require_beginning_of(self, archive: Archive, wanted: Filter) -> None:
        """Refuse a ledger that holds anything but a beginning of the replay."""
        for partition, count in self.held.items():
            if count and not self._is_beginning(archive, wanted, partition, count):
                raise ConfigurationError(
                    f"{LEDGER} at {self._settings.bootstrap_servers} holds other records than the beginning of this replay "
                    f"(partition {partition}): use a fresh cluster."
                )

    def _is_beginning(self, archive: Archive, wanted: Filter, partition: int, count: int) -> bool:
        if not wanted.wants(partition):
            return False
        only = Filter({partition}, wanted.received_from, wanted.received_before, wanted.region)
        first, passed = None, 0
        for _, table in archive.tables(only):
            first = first or _content(table, 0)
            if passed + len(table) >= count:
                return self._edges[partition] == (first, _content(table, count - passed - 1))
            passed += len(table)
        return False

    def missing_of(self, partition: int, table: Any) -> Any:
        """The records of a partition's next table that are not there yet."""
        there = min(len(table), max(0, self.held[partition] - self._passed[partition]))
        self._passed[partition] += len(table)
        return table.slice(there)

    def write(self, partition: int, table: Any) -> None:
        """Return when all of them are acknowledged."""
        rows = [
            Record(LEDGER, partition, record.key, record.value, timestamp_ms=record.timestamp_ms)
            for record in segments.records(table)
        ]
        self._loop.run_until_complete(self._producer.send_all(rows))


def _content(table: Any, place: int) -> Content:
    record = next(segments.records(table.slice(place, 1)))
    return record.timestamp_ms, record.key, record.value
