"""What an archive has to be, as small checks: complete, unaltered, signed.

In: the files of an archive, public keys that are trusted, heads that were published. Out: findings, in the order of partitions
and offsets; none means that nothing was found. Every check says which sentence it holds the archive to. Called by `lampit audit
verify` and by the tests that tamper. Not in here: the Merkle trees (tree_checks.py), and
whether the figures agree (agreement.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import msgspec
import pyarrow as pa

from agents import segments
from agents.archive_books import MANIFEST, day_at_end, day_named_at_end, folder, number_of, topic_folder
from agents.archive_tree import TREE
from agents.signing import is_signed
from agents.topics import LEDGER
from lampit import tables
from lampit.audit.archive import Archive, ArchiveDamaged
from lampit.audit.finding import Finding, Trust
from lampit.audit.tree_checks import TreeCheck, TreeFile
from stream.archive import FORMAT, Entry, Header, file_name, statement
from stream.ledger import ControlRecord, Genesis, Predecessor, decode_record

UNREADABLE: Final = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError)


NOTHING: Final = Trust()


def check(
    archive: Archive, trust: Trust = NOTHING, seen: Callable[[int, int], None] | None = None
) -> Iterator[Finding]:
    """Everything that is wrong; `seen(bytes, records)` is called after every segment."""
    partitions = archive.partitions()
    headers: list[Header] = []
    yield from _strangers(archive)
    for partition in partitions:
        # In this order: the archive worker goes on meanwhile, and what it has listed or hashed by now, the manifest names.
        listed = archive.files.names(folder(archive.topic, partition))
        hashed = _tree(archive, partition)
        archive.forget(partition)
        try:
            header, entries = archive.header(partition), list(archive.segments(partition))
        except ArchiveDamaged as error:
            yield Finding("manifest", str(error), partition, file=f"{folder(archive.topic, partition)}/{MANIFEST}")
            continue
        headers.append(header)
        if trust.keys is None and entries:
            trust = replace(trust, keys={entries[0].key})
        yield from _header(archive, partition, header, headers[0])
        yield from _chain(archive, partition, header, entries)
        yield from _signatures(archive, partition, header, entries, trust)
        yield from _heads(archive, partition, header, entries, trust)
        yield from _listing(archive, partition, entries, listed)
        tree = TreeCheck(archive, partition, entries, trust, hashed)
        yield from tree.file()
        day = None
        for entry in entries:
            table = yield from _segment(archive, partition, entry, day)
            day = entry.day or day
            yield from tree.segment(entry, table)
            if seen is not None:
                seen(entry.bytes, entry.records)
    yield from _partitions(archive, partitions, headers)
    yield from _unknown_heads(archive, partitions, headers, trust)


def check_shown(archive: Archive, trust: Trust) -> Generator[Finding]:
    """The same, with a progress bar."""
    size = 0
    for partition in archive.partitions():
        with suppress(ArchiveDamaged):  # a finding
            size += sum(entry.bytes for entry in archive.segments(partition))
    read = records = 0

    def tell(more_bytes: int, more_records: int) -> None:
        nonlocal read, records
        read, records = read + more_bytes, records + more_records
        progress(read, records)

    with tables.progress("Verifying", size, "records") as progress:
        yield from check(archive, trust, tell)


def _manifest(archive: Archive, partition: int) -> str:
    return f"{folder(archive.topic, partition)}/{MANIFEST}"


def _header(archive: Archive, partition: int, header: Header, first: Header) -> Iterator[Finding]:
    """A manifest says of which ledger, topic and partition it is; that is where it lies, and one ledger for all."""
    expected = Header(first.ledger_id, archive.topic, partition, FORMAT)
    if header != expected:
        message = "The manifest's first line is of another ledger, topic or partition."
        yield Finding("manifest", message, partition, file=_manifest(archive, partition))


def _chain(archive: Archive, partition: int, header: Header, entries: list[Entry]) -> Iterator[Finding]:
    """Every offset once, from 0 on; each head follows on the one before."""
    next_offset, previous = 0, header.digest
    for number, entry in enumerate(entries):
        place: dict[str, Any] = {
            "partition": partition,
            "first": entry.first,
            "last": entry.last,
            "file": _manifest(archive, partition),
        }
        if entry.first != next_offset:
            gap = "missing" if entry.first > next_offset else "there twice"
            low, high = sorted((entry.first, next_offset))
            yield Finding("chain", f"Offsets {low} to {high - 1} are {gap}.", **place)
        if entry.number != number or entry.last < entry.first or not 0 <= entry.records <= entry.last - entry.first + 1:
            yield Finding("chain", f"Line {number + 2} of the manifest cannot be: number, offsets or records.", **place)
        if entry.file != file_name(entry.first, entry.last):
            yield Finding("chain", f"Line {number + 2} of the manifest names another file than its offsets.", **place)
        if entry.previous != previous:
            yield Finding(
                "chain", "It does not follow on the head before it: a segment was taken out, put in or moved.", **place
            )
        if entry.head != entry.digest():
            yield Finding(
                "chain", f"Line {number + 2} of the manifest was changed: its head is not its digest.", **place
            )
        next_offset, previous = entry.last + 1, entry.head


def _signatures(
    archive: Archive, partition: int, header: Header, entries: list[Entry], trust: Trust
) -> Iterator[Finding]:
    """Every head is signed, by a key that is trusted."""
    for entry in entries:
        place: dict[str, Any] = {
            "partition": partition,
            "first": entry.first,
            "last": entry.last,
            "file": _manifest(archive, partition),
        }
        if entry.key not in (trust.keys or ()):
            yield Finding("signature", "It is signed with another key than the one that is trusted.", **place)
        elif not is_signed(statement(header, entry)):
            yield Finding("signature", "The signature is not that of this head.", **place)


def _heads(archive: Archive, partition: int, header: Header, entries: list[Entry], trust: Trust) -> Iterator[Finding]:
    """Every head that was published is in the archive."""
    known = {entry.last + 1: statement(header, entry) for entry in entries}
    for head in trust.heads:
        if (head.topic, head.partition, head.ledger_id) != (archive.topic, partition, header.ledger_id):
            continue
        place: dict[str, Any] = {"partition": partition, "first": head.next_offset - 1, "last": head.next_offset - 1}
        if (trust.keys is not None and head.key not in trust.keys) or not is_signed(head):
            yield Finding("head", f"The published head of {head.day} is not signed by a key that is trusted.", **place)
            continue
        ours = known.get(head.next_offset)
        if ours is None or (ours.head, ours.segments, ours.day) != (head.head, head.segments, head.day):
            held = entries[-1].last + 1 if entries else 0
            what = "ends before it" if held < head.next_offset else "has another"
            yield Finding("head", f"The published head of {head.day} is not in the archive, which {what}.", **place)


def _tree(archive: Archive, partition: int) -> TreeFile:
    """The tree file, or what is wrong with it."""
    try:
        return archive.tree(partition)
    except ArchiveDamaged as error:
        return error


def _strangers(archive: Archive) -> Iterator[Finding]:
    """Beside the folders of partitions, nothing that a reader of all Parquet files below would take for records."""
    where = topic_folder(archive.topic)
    for name in archive.files.names(where):
        if name and number_of(name) is None:
            yield Finding("extra", "It is no folder of a partition.", file=f"{where}/{name}")


def _listing(archive: Archive, partition: int, entries: list[Entry], listed: list[str]) -> Iterator[Finding]:
    """No file but those that the manifest names. One that follows on its end may be about to be named."""
    where = folder(archive.topic, partition)
    named = {entry.file for entry in entries} | {MANIFEST, TREE}
    upcoming = f"{file_name(entries[-1].last + 1 if entries else 0, 0)[:20]}-"
    for name in listed:
        if name not in named and not name.startswith(upcoming):
            yield Finding("extra", "No line of the manifest names this file.", partition, file=f"{where}/{name}")


def _segment(archive: Archive, partition: int, entry: Entry, day: str | None) -> Generator[Finding, None, Any]:
    """A segment is the file that was written, and holds the records that were archived; these, where it does.

    day: the business day reached before it.
    """
    path = archive.path(partition, entry)

    def found(kind: str, message: str, first: int = entry.first, last: int = entry.last) -> Finding:
        return Finding(kind, message, partition, first, last, path)

    content = archive.files.get(path)
    if content is None:
        yield found("missing", "The segment is missing.")
        return None
    same_file = len(content) == entry.bytes and hashlib.sha256(content).hexdigest() == entry.file_sha256
    try:
        columns = segments.columns_of(content)
        table = segments.rebuilt(columns)
    except UNREADABLE:
        yield found("altered", "The file was changed: it can no longer be read.")
        return None
    if segments.content_digest(table) != entry.content_sha256 or len(table) != entry.records:
        yield _difference(table, entry, found)
        return None
    if not same_file:
        yield found("rewritten", "The file is not the one that was written; the records in it are.")
    elif not columns.equals(segments.taken_apart(table)):
        # No digest of the file is signed, and what stands beside a record that is kept whole is not in that of the content.
        yield found("altered", "Columns that are searched by were changed: they do not say what the records say.")
    elif entry.day not in (day_at_end(table, day), day_named_at_end(table)):
        yield found("records", "The manifest names another day than the segment ends with.")
    return table


def _difference(table: Any, entry: Entry, found: Callable[..., Finding]) -> Finding:
    """The first thing about the records that shows, down to the offset where one can be named."""
    expected = entry.first
    for offset in table.column("offset").to_pylist():
        if not entry.first <= offset <= entry.last:
            return found("records", f"A record of offset {offset} does not belong here.")
        if offset < expected:
            what = "is there twice" if offset == expected - 1 else "is out of order"
            return found("records", f"The record of offset {offset} {what}.", offset, offset)
        expected = offset + 1
    if len(table) != entry.records:
        few = "missing" if len(table) < entry.records else "too many"
        return found("records", f"{abs(len(table) - entry.records)} of {entry.records} records are {few}.")
    return found("records", "Records were changed: their digest is not the one that was archived.")


def _partitions(archive: Archive, partitions: list[int], headers: list[Header]) -> Iterator[Finding]:
    """The genesis record of a ledger says how many partitions there are, and which this is."""
    if archive.topic != LEDGER:
        return
    counts = set()
    for partition in partitions:
        genesis = genesis_of(archive, partition)
        if genesis is None:
            continue  # a finding of its own, or nothing archived yet
        counts.add(genesis.partitions)
        if genesis.partition != partition or any(header.ledger_id != genesis.ledger_id for header in headers):
            yield Finding("ledger", "The genesis record is of another ledger or partition.", partition, 0, 0)
    for count in sorted(counts):
        for partition in sorted(set(range(count)) - set(partitions)):
            yield Finding("missing", f"The ledger has {count} partitions; this one is not in the archive.", partition)
        for partition in sorted(set(partitions) - set(range(count))):
            yield Finding("extra", f"The ledger has {count} partitions; this is none of them.", partition)


def genesis_of(archive: Archive, partition: int) -> Genesis | None:
    """The genesis record of a partition; None where it cannot be read."""
    try:
        entries = archive.segments(partition)
        content = archive.files.get(archive.path(partition, entries[0])) if entries else None
        first = next(segments.records(segments.decode(content).slice(0, 1))) if content else None
        decoded = decode_record(first.value or b"") if first else None
    except (ArchiveDamaged, StopIteration, msgspec.MsgspecError, *UNREADABLE):
        return None
    return decoded.control if isinstance(decoded, ControlRecord) and isinstance(decoded.control, Genesis) else None


def _unknown_heads(archive: Archive, partitions: list[int], headers: list[Header], trust: Trust) -> Iterator[Finding]:
    """A partition for which heads were published is in the archive, and a ledger for which they were is this one."""
    ledgers = {header.ledger_id for header in headers}
    heads = [head for head in trust.heads if head.topic == archive.topic]
    for partition in sorted({head.partition for head in heads if head.ledger_id in ledgers} - set(partitions)):
        yield Finding("missing", "Heads of this partition were published; it is not in the archive.", partition)
    published = {head.ledger_id for head in heads}
    if archive.topic == LEDGER and published and ledgers and not published & (ledgers | _predecessors(archive)):
        # Whoever has the true key could else change anything, under another name of the ledger.
        yield Finding("head", "Every head that was published is of another ledger.")


def _predecessors(archive: Archive) -> set[str]:
    """The ledger that this one was rewritten from: its heads stay published, and until a day turns there are no others."""
    found = [genesis_of(archive, partition) for partition in archive.partitions()]
    return {one.succeeds.ledger_id for one in found if one is not None and isinstance(one.succeeds, Predecessor)}
