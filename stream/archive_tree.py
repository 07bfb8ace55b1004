"""The Merkle tree over the records of a partition: what a leaf is, and the file that tells of the tree.

In: records, entries of segments, signed roots. Out: hashes of leaves, `Line` (one line of a partition's tree file). As
everything in the archive it is a function of the log. Called by the archive agent and the audit. The trees: stream/merkle.py.

Leaf number n is the record of offset n: its offset, its timestamp, the length of its key (−1: none), the key, the length of
its value (−1: none), the value; integers as 8 bytes little-endian, signed. Where there is no record, as at the marker of a
transaction, the leaf is empty. So the size of a tree is a next offset, and a proof says of which offset it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise
from typing import Final

import msgspec

from stream.archive import Entry, Header, Statement, encode_line, read_lines, statement
from stream.merkle import Block, Tree, leaf_hash, stretch

NO_RECORD: Final = leaf_hash(b"")
"""The leaf of an offset at which there is no record."""

_numbers: Final = struct.Struct("<3q").pack
_length: Final = struct.Struct("<q").pack
_NONE: Final = -1


class Line(msgspec.Struct, frozen=True):
    """What one segment adds to the tree.

    next_offset: behind the segment, the size of the tree with it. blocks: hashes of the perfect subtrees over its offsets, in
    order, hex. root: of the tree with it. key, signature: of the head that states the root (`head`).
    """

    next_offset: int
    blocks: list[str]
    root: str
    key: str = ""
    signature: str = ""

    def known(self, first: int) -> list[Block]:
        """The blocks, the segment beginning at offset `first`; ValueError where they cannot be those."""
        places = stretch(first, self.next_offset)
        hashes = [bytes.fromhex(text) for text in self.blocks]
        return [Block(*place, one) for place, one in zip(places, hashes, strict=True)]


def record_leaf(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> bytes:
    """The hash of a record's leaf."""
    return leaf_hash(
        _numbers(offset, timestamp_ms, _NONE if key is None else len(key))
        + (key or b"")
        + _length(_NONE if value is None else len(value))
        + (value or b"")
    )


def leaves(first: int, last: int, records: Iterable[tuple[int, int, bytes | None, bytes | None]]) -> list[bytes]:
    """The hashes of all leaves of a segment, whose records are (offset, timestamp_ms, key, value) of offsets inside it."""
    found = [NO_RECORD] * (last - first + 1)
    for offset, timestamp_ms, key, value in records:
        if key is None or value is None:
            found[offset - first] = record_leaf(offset, timestamp_ms, key, value)
        else:
            # `record_leaf`, written out: this is done for every event of the ledger.
            numbers = _numbers(offset, timestamp_ms, len(key))
            found[offset - first] = sha256(b"\0" + numbers + key + _length(len(value)) + value).digest()
    return found


def head(header: Header, entry: Entry, line: Line) -> Statement:
    """The signed statement of a line: the head of the chain behind its segment, with the root."""
    return msgspec.structs.replace(statement(header, entry), root=line.root, key=line.key, signature=line.signature)


def tree_of(lines: Iterable[Line]) -> Tree:
    """The tree of a file's lines; ValueError where blocks cannot be those of their offsets."""
    tree = Tree()
    first = 0
    for line in lines:
        tree.add(line.known(first))
        first = line.next_offset
    return tree


def write_tree(header: Header, lines: list[Line]) -> bytes:
    """The tree file's bytes."""
    return b"".join(line + b"\n" for line in (encode_line(header), *map(encode_line, lines)))


def read_tree(raw: bytes) -> tuple[Header, list[Line]]:
    """The tree file's lines; ValueError names the line that is not one. Hashes and signatures are not checked."""
    header, lines = read_lines(raw, _line.decode)
    for number, (before, after) in enumerate(pairwise([0, *(line.next_offset for line in lines)]), 2):
        if after <= before:
            raise ValueError(f"line {number} does not follow on the line before it")
    return header, lines


_line: Final = msgspec.json.Decoder(Line)
