"""Proofs about single records and heads of an archive, short enough to be mailed: RFC 9162 inclusion and consistency.

In: an archive, where something is. Out: proofs as JSON objects. Called by `lampit audit prove`. Who has such a proof, the
public key and the heads that were published needs nothing else, and nothing of ours: docs/examples/check_proof.py is 50 lines.
Nothing is handed out that would not hold against the signed root that the archive itself has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agents import segments
from agents.archive_tree import tree_path
from agents.errors import ConfigurationError
from lampit.audit.archive import Archive, ArchiveDamaged
from lampit.audit.checks import UNREADABLE
from stream.archive import Entry, Statement
from stream.archive_tree import NO_RECORD, head, leaves, record_leaf, tree_of
from stream.merkle import Missing, blocks, extends, includes

Json = dict[str, Any]

_NAMES: Final = ["offset", "subject", "source", "id"]


def heads(archive: Archive) -> Iterator[Statement]:
    """Every signed head with a root that the archive has, by partition and offset."""
    for partition in archive.partitions():
        header, lines = archive.tree(partition)
        for entry, line in zip(archive.segments(partition), lines, strict=False):
            yield head(header, entry, line)


def places(archive: Archive, source: str, identity: str) -> list[tuple[int, int]]:
    """(partition, offset) of every record with this source and id."""
    found = []
    for partition in archive.partitions():
        for entry in archive.segments(partition):
            content = _content(archive, partition, entry)
            try:
                table = pq.ParquetFile(pa.BufferReader(content)).read(_NAMES, use_threads=False).select(_NAMES)
            except UNREADABLE:
                raise _unreadable(archive, partition, entry) from None
            mask = pc.and_(_says(table, "source", source), _says(table, "id", identity))
            found += [(partition, offset) for offset in table.filter(mask)["offset"].to_pylist()]
    return found


def _says(table: Any, name: str, text: str) -> Any:
    """Which rows have the text in a column: of a record taken apart as JSON writes it, of one kept whole as it is."""
    written = msgspec.json.encode(text).decode()[1:-1]
    return pc.equal(table[name], pc.if_else(pc.is_valid(table["subject"]), written, text))


class Prover:
    """Proofs of one partition."""

    def __init__(self, archive: Archive, partition: int) -> None:
        """Reads the tree file."""
        archive.require_partitions([partition])
        self._archive, self._partition = archive, partition
        self._header, self._lines = archive.tree(partition)
        self._entries = archive.segments(partition)
        if not self._lines:
            raise ConfigurationError(
                f"Partition {partition} has no tree yet: the archive agent lets it grow once it has caught up with the log."
            )
        try:
            self._tree = tree_of(self._lines)
        except ValueError:
            raise self._damaged() from None

    def size(self, wanted: str | None) -> int:
        """The size of a tree that there is a head of: of a day's (YYYY-MM-DD), of this next offset, of the newest day's."""
        told = list(zip(self._entries, self._lines, strict=False))
        days = [(entry.day, line.next_offset) for entry, line in told if entry.day]
        if wanted is None:
            return days[-1][1] if days else self._lines[-1].next_offset
        sizes = [line.next_offset for entry, line in told if wanted in (entry.day, str(line.next_offset))]
        if not sizes:
            has = f"those of days are {days[0][0]} to {days[-1][0]}" if days else "no day has ended in it"
            raise ConfigurationError(
                f"Partition {self._partition} has no head {wanted!r}: {has} (`lampit audit heads`)."
            )
        return sizes[-1]

    def inclusion(self, offset: int, size: int, *, with_record: bool) -> Json:
        """The proof that a record, or none, stands at an offset of the tree of `size` offsets."""
        if not 0 <= offset < size:
            raise ConfigurationError(
                f"Offset {offset} is not under that head, which has {size:,} offsets: name a later one with --head."
            )
        record, leaf = self._leaf(offset)
        try:
            path = self._tree.inclusion(offset, size)
        except Missing:
            raise self._damaged() from None
        if not includes(leaf, offset, size, path, self._root(size)):
            raise self._damaged()
        shown = {"record": record} if with_record and record != {} else {"leaf_hash": leaf.hex()}
        return self._proof("inclusion", leaf_index=offset, tree_size=size, path=path, **shown)

    def consistency(self, first: int, second: int) -> Json:
        """The proof that the tree of `first` offsets is how that of `second` begins."""
        if first > second:
            raise ConfigurationError(
                f"The head of {first:,} offsets is later than that of {second:,}: name them in order."
            )
        try:
            path = self._tree.consistency(first, second)
        except Missing:
            raise self._damaged() from None
        if not extends(first, second, path, self._root(first), self._root(second)):
            raise self._damaged()
        return self._proof("consistency", first_size=first, tree_size=second, path=path)

    def _proof(self, kind: str, *, path: list[bytes], **told: Any) -> Json:
        of = {"ledger_id": self._header.ledger_id, "topic": self._header.topic, "partition": self._partition}
        return {"proof": kind, **of, **told, "path": [one.hex() for one in path]}

    def _root(self, size: int) -> bytes:
        """The root that is signed."""
        return bytes.fromhex(next(line.root for line in self._lines if line.next_offset == size))

    def _leaf(self, offset: int) -> tuple[Json | None, bytes]:
        """The record of an offset and its leaf; the tree knows the leaves of its segment then.

        The record is None where there is none, and empty where its key or value is not text.
        """
        entry = next(one for one in self._entries if one.last >= offset)
        try:
            rows = list(segments.records(segments.decode(_content(self._archive, self._partition, entry))))
            hashes = leaves(entry.first, entry.last, rows)
        except (*UNREADABLE, IndexError):
            raise _unreadable(self._archive, self._partition, entry) from None
        for number, one in enumerate(hashes, entry.first):
            self._tree.add(blocks([one], number))
        row = next((row for row in rows if row.offset == offset), None)
        return (None, NO_RECORD) if row is None else (_shown(row), record_leaf(*row))

    def _damaged(self) -> ArchiveDamaged:
        path = tree_path(self._archive.topic, self._partition)
        return ArchiveDamaged(
            f"{path}: nothing can be proved by this tree; `lampit audit verify` says where it is damaged."
        )


def _content(archive: Archive, partition: int, entry: Entry) -> bytes:
    path = archive.path(partition, entry)
    content = archive.files.get(path)
    if content is None:
        raise ArchiveDamaged(f"{path}: the segment is missing.")
    return content


def _unreadable(archive: Archive, partition: int, entry: Entry) -> ArchiveDamaged:
    return ArchiveDamaged(f"{archive.path(partition, entry)}: it cannot be read (`lampit audit verify`).")


def _shown(row: segments.LogRecord) -> Json:
    try:
        key, value = (None if raw is None else raw.decode() for raw in (row.key, row.value))
    except UnicodeDecodeError:
        return {}
    return {"timestamp_ms": row.timestamp_ms, "key": key, "value": value}
