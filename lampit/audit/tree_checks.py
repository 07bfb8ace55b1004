"""Whether the Merkle tree of a partition is that of its records, and the published roots are those of the tree.

In: the tree file, the records of each segment in order, keys and heads that are trusted. Out: findings. Called by
lampit/audit/checks.py, which reads the segments. The tree grows behind the segments, so a tree file that ends before the
manifest is in order, unless a root was published that lies behind its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from agents.archive_tree import blocks_of, tree_path
from agents.signing import is_signed
from lampit.audit.archive import Archive, ArchiveDamaged
from lampit.audit.finding import Finding, Trust
from stream.archive import Entry, Header, Statement, statement
from stream.archive_tree import Line, head
from stream.merkle import Tree

TreeFile = tuple[Header, list[Line]] | ArchiveDamaged
"""The lines of a tree file, or what is wrong with it. Read before the manifest, so that the manifest is never behind it."""


class TreeCheck:
    """The tree of one partition, made from its records segment by segment."""

    def __init__(
        self, archive: Archive, partition: int, entries: Sequence[Entry], trust: Trust, file: TreeFile
    ) -> None:
        """Nothing is checked yet."""
        self._file = file
        self._archive, self._partition, self._entries, self._trust = archive, partition, entries, trust
        self._lines: dict[int, Line] = {}
        self._heads: dict[int, list[Statement]] = {}
        self._tree: Tree | None = Tree()
        self._next_offset = 0

    def file(self) -> Iterator[Finding]:
        """The tree file is one of this partition, and has a line for each of the first segments."""
        header = self._archive.header(self._partition)
        for one in self._trust.heads:
            if one.root and (one.ledger_id, one.topic, one.partition) == (
                header.ledger_id, self._archive.topic, self._partition,
            ):  # fmt: skip
                self._heads.setdefault(one.next_offset, []).append(one)
        place = Finding("tree", "", self._partition, file=tree_path(self._archive.topic, self._partition))
        if isinstance(self._file, ArchiveDamaged):
            yield replace(place, message=str(self._file))
            return
        found, lines = self._file
        if lines and found != header:
            yield replace(place, message="The first line of the tree file is of another ledger, topic or partition.")
        ends = [entry.last + 1 for entry in self._entries[: len(lines)]]
        if [line.next_offset for line in lines] != ends:
            yield replace(place, message="The lines of the tree file are not those of the segments.")
        self._lines = {line.next_offset: line for line in lines}
        behind = [size for size in self._heads if size > (lines[-1].next_offset if lines else 0)]
        if behind and min(behind) <= (self._entries[-1].last + 1 if self._entries else 0):
            yield replace(place, message=f"It ends before the root that was published of {min(behind)} offsets.")

    def segment(self, entry: Entry, table: Any) -> Iterator[Finding]:
        """A segment's line of the file and the published roots of its end are those of the records; None: they are damaged."""
        line = self._lines.get(entry.last + 1)
        place = Finding(
            "tree", "", self._partition, entry.first, entry.last, tree_path(self._archive.topic, self._partition)
        )
        if line is not None:
            yield from self._signature(entry, line, place)
        if table is None or self._tree is None or not self._follows(entry):
            self._tree = None  # that the records are not those of the log has been said
            return
        self._next_offset = entry.last + 1
        known = blocks_of(entry, table)
        self._tree.add(known)
        root = self._tree.root(entry.last + 1).hex()
        if line is not None and line.blocks != [one.hash.hex() for one in known]:
            yield replace(place, message="The hashes of the tree file are not those of the records.")
        elif line is not None and line.root != root:
            yield replace(place, message="The root in the tree file is not that of the records.")
        for one in self._heads.get(entry.last + 1, ()):
            if one.root != root:
                message = f"The root that was published for {one.day} is not that of the records."
                yield replace(place, kind="head", message=message, first=entry.last, last=entry.last, file=None)

    def _follows(self, entry: Entry) -> bool:
        """Whether the tree can grow by the segment: its offsets are signed for, and follow on those before."""
        stated = statement(self._archive.header(self._partition), entry)
        is_trusted = stated.key in (self._trust.keys or ()) and is_signed(stated)
        return is_trusted and entry.head == entry.digest() and entry.first == self._next_offset

    def _signature(self, entry: Entry, line: Line, place: Finding) -> Iterator[Finding]:
        stated = head(self._archive.header(self._partition), entry, line)
        if stated.key not in (self._trust.keys or ()):
            yield replace(place, message="The root is signed with another key than the one that is trusted.")
        elif not is_signed(stated):
            yield replace(place, message="The signature is not that of this root.")
