"""The Merkle tree of one archived partition, as its writer has it: it grows behind the segments.

In: the manifest's entries and the segments themselves. Out: `tree.jsonl` beside the manifest, and the signed heads that state
its roots. Called by the archive agent, from a thread, when nothing waits in the log: hashing an event takes longer than the
archive has for it while it catches up (docs/decisions/0013). The file is a function of the log, so it is made again wherever
it is not what this key signed; a segment that is no longer what its entry says is not hashed, and no root of it is signed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa

from agents import segments
from agents.archive_books import folder
from agents.archive_files import Files
from agents.errors import LampitError
from agents.signing import Signer, is_signed, signed
from stream.archive import Entry, Header, Statement
from stream.archive_tree import Line, head, leaves, read_tree, tree_of, write_tree
from stream.merkle import Block, Tree, blocks

TREE: Final = "tree.jsonl"

logger = logging.getLogger("lampit.archive")


class SegmentChanged(LampitError):
    """A segment of the archive is not what was written; the message says which."""


def tree_path(topic: str, partition: int) -> str:
    """The tree file of a partition."""
    return f"{folder(topic, partition)}/{TREE}"


def blocks_of(entry: Entry, table: Any) -> list[Block]:
    """The perfect subtrees over the records of a segment; IndexError for an offset that does not belong there."""
    return blocks(leaves(entry.first, entry.last, segments.records(table)), entry.first)


class TreeBooks:
    """The tree file of one partition, open for writing."""

    def __init__(self, files: Files, header: Header, signer: Signer, entries: Sequence[Entry]) -> None:
        """Reads what is there; `entries`: the manifest's."""
        self.files, self.header, self._signer = files, header, signer
        self.lines: list[Line] = []
        self._tree = Tree()
        raw = files.get(self._path)
        if raw is not None:
            try:
                self._go_on(raw, entries)
            except ValueError as error:
                logger.warning("%s is made again: %s", self._path, error)

    @property
    def next_offset(self) -> int:
        """The offset from which on nothing is in the tree."""
        return self.lines[-1].next_offset if self.lines else 0

    @property
    def _path(self) -> str:
        return tree_path(self.header.topic, self.header.partition)

    def _go_on(self, raw: bytes, entries: Sequence[Entry]) -> None:
        """Take over the lines that are there, where the last one, which covers them all, is of this key."""
        header, lines = read_tree(raw)
        ends = [entry.last + 1 for entry in entries[: len(lines)]]
        if header != self.header or [line.next_offset for line in lines] != ends:
            raise ValueError("it is of other segments")
        tree = tree_of(lines)
        if lines:
            last = head(header, entries[len(lines) - 1], lines[-1])
            if last.key != self._signer.public or not is_signed(last):
                raise ValueError("this key has not signed it")
            if tree.root(last.next_offset).hex() != last.root:
                raise ValueError("its hashes do not give its root")
        self.lines, self._tree = lines, tree

    def last_days(self, entries: Sequence[Entry], most: int) -> list[Statement]:
        """The heads of days among the last segments hashed, `most` of them."""
        done = len(self.lines)
        told = list(zip(entries[:done], self.lines, strict=True))[-most:]
        return [head(self.header, entry, line) for entry, line in told if entry.day]

    def grow(self, entries: Sequence[Entry], most: int) -> list[Statement]:
        """Hash the next segments of the manifest, `most` of them at most, and write the file; the heads of days among them."""
        done = len(self.lines)
        new = entries[done : done + most]
        heads = [self._add(entry) for entry in new]
        if new:
            self.files.put(self._path, write_tree(self.header, self.lines))
        return [one for one in heads if one.day]

    def _add(self, entry: Entry) -> Statement:
        known = blocks_of(entry, self._table(entry))
        self._tree.add(known)
        unsigned = Line(entry.last + 1, [one.hash.hex() for one in known], self._tree.root(entry.last + 1).hex())
        stated = signed(head(self.header, entry, unsigned), self._signer)
        self.lines.append(msgspec.structs.replace(unsigned, key=stated.key, signature=stated.signature))
        return stated

    def _table(self, entry: Entry) -> Any:
        path = f"{folder(self.header.topic, self.header.partition)}/{entry.file}"
        try:
            table = segments.decode(self.files.get(path) or b"")
            if segments.content_digest(table) == entry.content_sha256:
                return table
        except (pa.ArrowException, OSError, ValueError, KeyError):
            pass
        raise SegmentChanged(f"{path} in the archive is missing or damaged: see `lampit audit verify`, and restore it.")
