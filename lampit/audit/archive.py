"""Reads an archive: its manifests, its records in order, its files for DuckDB.

In: LAMPIT_ARCHIVE_URL or a path. Out: `Archive`. Nothing is trusted and nothing checked here: `lampit audit verify` does
that. Used by verify, replay and every audit command that counts from an archive.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from agents import segments
from agents.archive_books import MANIFEST, folder, manifest_path, number_of, topic_folder
from agents.archive_files import Files
from agents.archive_tree import tree_path
from agents.errors import ConfigurationError, LampitError
from agents.settings import Settings
from agents.topics import LEDGER
from lampit.audit.place import Place, shown
from lampit.audit.record_sql import RECORDS_SQL
from stream.archive import Entry, Header, read_manifest, write_manifest
from stream.archive_tree import Line, read_tree

COUNTRY: Final = "ID"


class ArchiveDamaged(LampitError):
    """A manifest or a segment cannot be read; the message says which."""


class ArchivedRecord(NamedTuple):
    """A record as the log had it."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Barrier:
    """The last business day that every partition of the archive has seen the end of, or begin.

    day: the day that begins. next_offsets: by partition, everything before it was in the log when the day began.
    """

    day: date
    next_offsets: Mapping[int, int]


@dataclass(frozen=True)
class Filter:
    """Which records are wanted; nothing set means all.

    received_from, received_before: instants in UTC at which intake accepted an event, the second one not included. region:
    a code; events that name it or a place in it as theirs. upto: next offsets by partition, as of a barrier; partitions it does
    not name are left out. With a time or a region, records that are no events (control records) are left out, and balances
    of other regions.
    """

    partitions: Collection[int] | None = None
    received_from: datetime | None = None
    received_before: datetime | None = None
    region: str | None = None
    upto: Mapping[int, int] | None = None

    def wants(self, partition: int) -> bool:
        """Whether anything of the partition is wanted."""
        named = self.partitions is None or partition in self.partitions
        return named and (self.upto is None or self.upto.get(partition, 0) > 0)

    @property
    def of_columns(self) -> bool:
        """Whether rows are chosen by their columns."""
        return not (self.received_from is None and self.received_before is None and self.region is None)

    def mask(self, table: Any) -> Any:
        """Which rows of a segment are wanted; null for those that have no such column."""
        found: Any = None
        if self.received_from is not None:
            found = _both(found, pc.greater_equal(table["receivedat"], _instant(self.received_from)))
        if self.received_before is not None:
            found = _both(found, pc.less(table["receivedat"], _instant(self.received_before)))
        if self.region is not None and self.region != COUNTRY:
            region = table["region"]
            inside = pc.or_(pc.equal(region, self.region), pc.starts_with(region, self.region + "."))
            found = _both(found, inside)
        elif self.region is not None:
            found = _both(found, pc.is_valid(table["receivedat"]))
        return found


ALL: Final = Filter()


class NoArchive(ConfigurationError):
    """A place that can be read and holds nothing of an archive."""


class Archive:
    """One topic of an archive, for reading."""

    def __init__(self, files: Files, topic: str) -> None:
        """See `open`."""
        self.files, self.topic = files, topic
        self._manifests: dict[int, tuple[Header, list[Entry]]] = {}

    @classmethod
    def open(cls, url: str, topic: str = LEDGER, called: str | None = None) -> Self:
        """The archive at a directory or s3:// URL; NoArchive where there is none.

        called: what errors call the place; the place itself unless told.
        """
        called = called or shown(url)
        archive = cls(Place(url, called), topic)
        if not archive.partitions():
            raise NoArchive(
                f"{called} holds no archive of {topic}: give the directory or URL that the archive worker writes to."
            )
        return archive

    def partitions(self) -> list[int]:
        """The partitions that have a folder, in order."""
        numbers = (number_of(name) for name in self.files.names(topic_folder(self.topic)))
        return sorted(number for number in numbers if number is not None)

    def require_partitions(self, wanted: Iterable[int]) -> None:
        """ConfigurationError for one that the archive does not have."""
        there = self.partitions()
        for number in wanted:
            if number not in there:
                raise ConfigurationError(f"The archive has no partition {number}: it has {there}.")

    def header(self, partition: int) -> Header:
        """What the partition's manifest says it is of."""
        return self._manifest(partition)[0]

    def segments(self, partition: int) -> Sequence[Entry]:
        """The entries of the partition's manifest, in order."""
        return self._manifest(partition)[1]

    def forget(self, partition: int) -> None:
        """Read the partition's manifest anew when it is asked for: the archive worker may have gone on with it."""
        self._manifests.pop(partition, None)

    def tree(self, partition: int) -> tuple[Header, list[Line]]:
        """The partition's tree file; no lines where none was written yet."""
        path = tree_path(self.topic, partition)
        raw = self.files.get(path)
        if raw is None:
            return self.header(partition), []
        try:
            return read_tree(raw)
        except ValueError as error:
            raise ArchiveDamaged(f"{path}: {error}.") from None

    def next_offsets(self) -> dict[int, int]:
        """By partition, the first offset that is not in the archive."""
        return {
            number: self.segments(number)[-1].last + 1 if self.segments(number) else 0 for number in self.partitions()
        }

    def barrier(self) -> Barrier | None:
        """The last day that all partitions have turned to; None before the first."""
        reached: list[dict[str, int]] = []
        numbers = self.partitions()  # once: the archive worker may begin another one meanwhile
        for number in numbers:
            # A day can be turned to again; its last record counts.
            reached.append({entry.day: entry.last + 1 for entry in self.segments(number) if entry.day})
        common = set.intersection(*map(set, reached)) if reached else set()
        if not common:
            return None
        day = max(common)
        return Barrier(date.fromisoformat(day), dict(zip(numbers, (days[day] for days in reached), strict=True)))

    def records(self, wanted: Filter = ALL) -> Iterator[ArchivedRecord]:
        """The records, partition by partition, in the order of their offsets."""
        for partition, table in self.tables(wanted):
            for record in segments.records(table):
                yield ArchivedRecord(partition, *record)

    def tables(self, wanted: Filter = ALL) -> Iterator[tuple[int, Any]]:
        """The same as Arrow tables (offset, timestamp_ms, key, value), one for each segment that has some."""
        for partition in self.partitions():
            if not wanted.wants(partition):
                continue
            for entry in self.segments(partition):
                if wanted.upto is not None and entry.first >= wanted.upto[partition]:
                    break
                table = self._table(partition, entry, wanted)
                if len(table):
                    yield partition, table

    def parquet_files(self, partitions: Iterable[int] | None = None) -> list[str]:
        """Paths or URLs of all segments that the manifests name, by partition and offset."""
        chosen = self.partitions() if partitions is None else sorted(partitions)
        return [self.files.url_of(self.path(number, entry)) for number in chosen for entry in self.segments(number)]

    def before(self, upto: Mapping[int, int]) -> tuple[list[str], list[bytes]]:
        """What lies before the next offsets, by partition: paths of whole segments; values of those that the offsets cut."""
        whole: list[str] = []
        cut: list[bytes] = []
        for number in self.partitions():
            for entry in self.segments(number):
                if entry.last < upto.get(number, 0):
                    whole.append(self.files.url_of(self.path(number, entry)))
                elif entry.first < upto.get(number, 0):
                    records = segments.records(self._table(number, entry, Filter(upto=upto)))
                    cut += [record.value for record in records if record.value is not None]
        return whole, cut

    def records_sql(self, upto: Mapping[int, int] | None = None) -> str:
        """A SELECT for DuckDB: partition, "offset", timestamp_ms, subject, type, source, id, time, occurred_on, region,
        receivedat and `record`, the JSON text of the value. `upto`: next offsets by partition, as of a barrier.
        """
        files = ", ".join("'" + path.replace("'", "''") + "'" for path in self.parquet_files(upto))
        limits = " OR ".join(f'(partition = {number} AND "offset" < {end})' for number, end in (upto or {}).items())
        where = f" WHERE {limits}" if upto is not None else ""
        return RECORDS_SQL.format(files=files) + where

    def path(self, partition: int, entry: Entry) -> str:
        """The path of a segment inside the archive."""
        return f"{folder(self.topic, partition)}/{entry.file}"

    def _manifest(self, partition: int) -> tuple[Header, list[Entry]]:
        if partition not in self._manifests:
            path = manifest_path(self.topic, partition)
            raw = self.files.get(path)
            if raw is None:
                raise ArchiveDamaged(f"{path}: there is no manifest.")
            try:
                self._manifests[partition] = read_manifest(raw)
            except ValueError as error:
                raise ArchiveDamaged(f"{path}: {error}.") from None
        return self._manifests[partition]

    def _table(self, partition: int, entry: Entry, wanted: Filter) -> Any:
        path = self.path(partition, entry)
        content = self.files.get(path)
        if content is None:
            raise ArchiveDamaged(f"{path}: the segment is missing.")
        try:
            columns = segments.columns_of(content)
            if wanted.of_columns:
                columns = columns.filter(wanted.mask(columns))
            if wanted.upto is not None and entry.last >= wanted.upto[partition]:
                columns = columns.filter(pc.less(columns["offset"], wanted.upto[partition]))
            return segments.rebuilt(columns)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise ArchiveDamaged(f"{path}: the segment cannot be read ({type(error).__name__}).") from None


def named_archive(named: str | None, settings: Settings, topic: str = LEDGER) -> Archive:
    """The archive that a command means: the one named in --archive, else that of the settings."""
    if named:
        return Archive.open(named, topic, f"--archive {shown(named)}")
    if settings.archive_url is None:
        raise ConfigurationError("Which archive? Give --archive, or set LAMPIT_ARCHIVE_URL.")
    return Archive.open(settings.archive_url, topic, "LAMPIT_ARCHIVE_URL")


@contextmanager
def on_disk(archive: Archive) -> Iterator[Archive]:
    """The archive where DuckDB reads it without an extension: itself, or for this block a copy of a remote one."""
    if archive.files.is_local:
        yield archive
        return
    with tempfile.TemporaryDirectory(prefix="lampit-archive-") as there:
        yield copied(archive, there)


def copied(archive: Archive, there: str) -> Archive:
    """A copy of manifests and segments in a directory, as the archive was when its manifests were read."""
    copy = Files(there)
    for number in archive.partitions():
        for entry in archive.segments(number):
            path = archive.path(number, entry)
            content = archive.files.get(path)
            if content is None:
                raise ArchiveDamaged(f"{path}: the segment is missing.")
            copy.put(path, content)
        # Not as it lies there by now: the archive worker may have gone on with it.
        manifest = write_manifest(archive.header(number), list(archive.segments(number)))
        copy.put(manifest_path(archive.topic, number), manifest)
    return Archive.open(there, archive.topic)


def _both(one: Any, other: Any) -> Any:
    return other if one is None else pc.and_(one, other)


def _instant(moment: datetime) -> Any:
    """A moment with a zone, as the columns have it."""
    return pa.scalar(moment, pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))


__all__ = ["ALL", "MANIFEST", "Archive", "ArchiveDamaged", "ArchivedRecord", "Barrier", "Filter"]
