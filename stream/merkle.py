"""Merkle trees of RFC 9162, section 2.1: root, inclusion proof, consistency proof, and how each is checked.

In: hashes of leaves; proofs and roots from elsewhere. Out: hashes, proofs, whether one holds. Hashes are SHA-256, as bytes;
a leaf is hashed behind a byte 0, an inner node behind a byte 1. Called by stream/archive_tree.py and the tests. No files,
no signatures, nothing of what a leaf is.

A tree of millions of leaves is never held: `blocks` turns the leaves of a stretch into its perfect subtrees, a few dozen
hashes, and the rest is made of those (`Tree`). Only what lies inside a block cannot be proved from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

EMPTY_ROOT: Final = sha256().digest()


class Block(NamedTuple):
    """The hash of a perfect subtree: `size` leaves (a power of two) from `start` (a multiple of it) on."""

    start: int
    size: int
    hash: bytes


class Missing(LookupError):
    """A hash was asked for that the known blocks do not give."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


def blocks(leaves: Sequence[bytes], start: int = 0) -> list[Block]:
    """The largest perfect subtrees that together are the leaves with these hashes, the first of them being number `start`."""
    found: list[Block] = []
    level, at, size = list(leaves), start, 1
    while level:
        if at % 2:
            found.append(Block(at * size, size, level.pop(0)))
            at += 1
        if len(level) % 2:
            found.append(Block((at + len(level) - 1) * size, size, level.pop()))
        pairs = iter(level)
        # Written out, as is everything that is done for each leaf: a call more costs as much as the hash.
        level = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
        at, size = at // 2, size * 2
    return sorted(found)


def stretch(start: int, end: int) -> list[tuple[int, int]]:
    """(start, size) of the blocks that `blocks` finds for the leaves from `start` up to, not including, `end`."""
    found = []
    while start < end:
        size = 1 << ((end - start).bit_length() - 1)
        if start:
            size = min(size, start & -start)
        found.append((start, size))
        start += size
    return found


class Tree:
    """A tree as far as its blocks tell."""

    def __init__(self, known: Iterable[Block] = ()) -> None:
        """known: blocks that cover it; they may overlap."""
        self._known: dict[tuple[int, int], bytes] = {}
        self.add(known)

    def add(self, known: Iterable[Block]) -> None:
        """More blocks."""
        self._known.update({(one.start, one.start + one.size): one.hash for one in known})

    def hash_of(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]); Missing where the blocks do not give it."""
        found = self._known.get((start, end))
        if found is not None:
            return found
        if end - start <= 1:
            if start == end:
                return EMPTY_ROOT
            raise Missing(f"nothing is known of leaf {start}")
        middle = start + _split(end - start)
        found = node_hash(self.hash_of(start, middle), self.hash_of(middle, end))
        if end - start & (end - start - 1) == 0:
            self._known[start, end] = found
        return found

    def root(self, size: int) -> bytes:
        """The root of the tree of the first `size` leaves."""
        return self.hash_of(0, size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """PATH(index, D[size]): the proof that leaf `index` is in the tree of `size` leaves, from the leaf up."""
        if not 0 <= index < size:
            raise ValueError(f"there is no leaf {index} in a tree of {size}")
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self.hash_of(middle, end))
                end = middle
            else:
                path.append(self.hash_of(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, first: int, second: int) -> list[bytes]:
        """PROOF(first, D[second]): the proof that the tree of `first` leaves is how that of `second` leaves begins."""
        if not 0 < first <= second:
            raise ValueError(f"a tree of {first} leaves is not the beginning of one of {second}")
        path: list[bytes] = []
        start, end = 0, second
        while first != end:
            middle = start + _split(end - start)
            if first <= middle:
                path.append(self.hash_of(middle, end))
                end = middle
            else:
                path.append(self.hash_of(start, middle))
                start = middle
        if start:
            path.append(self.hash_of(start, end))
        return path[::-1]


def _split(size: int) -> int:
    """The largest power of two smaller than a size of two or more."""
    return 1 << ((size - 1).bit_length() - 1)


def includes(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path proves that the leaf of this hash is number `index` of the tree; RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for one in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = node_hash(one, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, one)
        number, last = number >> 1, last >> 1
    return last == 0 and found == root


def extends(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    """Whether the path proves that the tree of `first` leaves is how that of `second` begins; RFC 9162, 2.1.4.2."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    hashes = list(path)
    if first & (first - 1) == 0:
        hashes.insert(0, first_root)
    if not hashes:
        return False
    number, last = first - 1, second - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = hashes[0]
    for one in hashes[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, one)
        number, last = number >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
