"""One partition on its way into the archive: collects fetches, and says which segments they complete.

In: fetches of the partition, in order. Out: complete segments, to be written by `agents.archive_books`. Called by the archive
agent. Where segments end is a function of the log and of LAMPIT_ARCHIVE_SEGMENT_RECORDS, not of the fetches.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final, NamedTuple

from agents import segments
from agents.archive_books import Books
from agents.driver import Fetch
from stream.archive import SEAL_KEYS, Entry, boundary

TABLES_MAX: Final = 256
"""A quiet log brings fetches of one record; as tables of one row they take many times the memory of their records."""


class Complete(NamedTuple):
    """A segment to be written: its records, in tables, and its last offset."""

    tables: list[Any]
    last: int


class PartitionWriter:
    """A partition being archived: its books, and the records that wait for the end of their segment."""

    def __init__(self, books: Books, segment_records: int) -> None:
        """Goes on where the archive stands."""
        self.books = books
        self.next_offset = books.next_offset
        self.last_timestamp_ms = 0
        self._segment_records = segment_records
        self._first = books.next_offset
        self._waiting: list[Any] = []

    def take(self, fetch: Fetch) -> list[Complete]:
        """Take a fetch in; a segment is complete once the log is known up to its last offset."""
        records = fetch.records
        offsets = [record.offset for record in records]
        complete = []
        taken = 0
        for last in self._ends(fetch):
            upto = bisect_left(offsets, last + 1)
            complete.append(Complete([*self._waiting, segments.records_table(records[taken:upto])], last))
            self._waiting, taken = [], upto
        if taken < len(records):
            self._waiting.append(segments.records_table(records[taken:]))
        if len(self._waiting) >= TABLES_MAX:
            self._waiting = [segments.concatenated(self._waiting)]
        self.next_offset = fetch.next_offset
        self.last_timestamp_ms = records[-1].timestamp if records else self.last_timestamp_ms
        return complete

    def _ends(self, fetch: Fetch) -> list[int]:
        """The last offsets of the segments that this fetch completes."""
        seals = [record.offset for record in fetch.records if record.key in SEAL_KEYS]
        ends: list[int] = []
        while True:
            end = boundary(self._first, self._segment_records) - 1
            if seals and seals[0] <= end:
                end = seals.pop(0)
            if end >= fetch.next_offset:
                return ends
            ends.append(end)
            self._first = end + 1

    def write(self, complete: Complete) -> Entry:
        """Write a segment and name it in the manifest. Blocks."""
        return self.books.write(segments.concatenated(complete.tables), complete.last)

    def add(self, fetch: Fetch) -> list[Entry]:
        """Take a fetch in and write what it completes. Blocks."""
        return [self.write(complete) for complete in self.take(fetch)]
