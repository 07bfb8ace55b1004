"""Ways of tampering with the Merkle trees of an archive; part of tests/tamper.py.

In: a case, chance. Out: the place that was tampered with.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable
from typing import Final

import msgspec
import pyarrow as pa

from agents import segments
from agents.archive_books import MANIFEST
from agents.archive_tree import TREE, TreeBooks
from agents.signing import signed
from stream.archive import Entry, statement, write_manifest
from stream.archive_tree import Line, head, tree_of, write_tree
from tests.archives import SIGNER
from tests.tamper_case import PARTITIONS, THIEF, Case, Place, Tampering, any_segment


def of_tree(
    change: Callable[[list[Line], list[Entry], random.Random], tuple[int, int]], is_signed_anew: bool = False
) -> Tampering:
    """Change lines of a tree file, with the roots that follow as they are, or signed anew with a key of their own."""

    def tamper(case: Case, chance: random.Random) -> Place:
        partition = chance.choice(sorted(case.entries))
        entries, lines = case.entries[partition], list(case.lines[partition])
        first, last = change(lines, entries, chance)
        if is_signed_anew:
            for number, (entry, line) in enumerate(zip(entries, lines, strict=False)):
                if line != case.lines[partition][number]:
                    stated = signed(head(case.headers[partition], entry, line), THIEF)
                    lines[number] = msgspec.structs.replace(line, key=stated.key, signature=stated.signature)
        case.put(partition, TREE, write_tree(case.headers[partition], lines))
        return Place(partition, first, last)

    return tamper


def _other(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice([digit for digit in "0123456789abcdef" if digit != text[at]]) + text[at + 1 :]


def _change_a_hash(lines: list[Line], entries: list[Entry], chance: random.Random) -> tuple[int, int]:
    number = chance.randrange(len(lines))
    hashes = list(lines[number].blocks)
    at = chance.randrange(len(hashes))
    hashes[at] = _other(hashes[at], chance)
    lines[number] = msgspec.structs.replace(lines[number], blocks=hashes)
    return entries[number].first, entries[number].last


def _change_a_root(lines: list[Line], entries: list[Entry], chance: random.Random) -> tuple[int, int]:
    number = chance.randrange(len(lines))
    lines[number] = msgspec.structs.replace(lines[number], root=_other(lines[number].root, chance))
    return entries[number].first, entries[number].last


def _grow_another(lines: list[Line], entries: list[Entry], chance: random.Random) -> tuple[int, int]:
    """The tree that grows over one hash of another record: this root and every one behind it is true to it."""
    first, last = _change_a_hash(lines, entries, chance)
    for number, entry in enumerate(entries[: len(lines)]):
        if entry.last >= last:
            root = tree_of(lines[: number + 1]).root(entry.last + 1).hex()
            lines[number] = msgspec.structs.replace(lines[number], root=root)
    return first, last


def _remove_a_line(lines: list[Line], entries: list[Entry], chance: random.Random) -> tuple[int, int]:
    number = chance.randrange(len(lines) - 1)
    del lines[number]
    return entries[number].first, sys.maxsize


def rewrite_history(case: Case, chance: random.Random) -> Place:
    """Whoever has the true key changes one record and makes everything anew: only the published heads tell.

    Not behind the last of them: nobody outside has heard of that yet.
    """
    partition, entry = any_segment(case, chance)
    while entry.number > case.last_day(partition):
        partition, entry = any_segment(case, chance)
    rows = case.table(partition, entry).to_pylist()
    rows[chance.randrange(len(rows))]["timestamp_ms"] += chance.choice([-1, 1])
    table = pa.Table.from_pylist(rows, schema=case.table(partition, entry).schema)
    content = segments.encode(table)
    case.put(partition, entry.file, content)
    entries, previous = list(case.entries[partition]), case.headers[partition].digest
    entries[entry.number] = msgspec.structs.replace(
        entry,
        content_sha256=segments.content_digest(table),
        bytes=len(content),
        file_sha256=hashlib.sha256(content).hexdigest(),
    )
    for number, one in enumerate(entries):
        chained = msgspec.structs.replace(one, previous=previous)
        chained = msgspec.structs.replace(chained, head=chained.digest())
        stated = signed(statement(case.headers[partition], chained), SIGNER)
        entries[number] = msgspec.structs.replace(chained, key=stated.key, signature=stated.signature)
        previous = chained.head
    case.put(partition, MANIFEST, write_manifest(case.headers[partition], entries))
    case.put(partition, TREE, None)
    tree = TreeBooks(case.archive.files, case.headers[partition], SIGNER, entries)
    tree.grow(entries, len(entries))
    return Place(partition, entry.first, sys.maxsize)


def flip_a_byte_of_the_tree(case: Case, chance: random.Random) -> Place:
    partition = chance.choice(sorted(case.entries))
    content = bytearray(case.path(partition, TREE).read_bytes())
    content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    case.put(partition, TREE, bytes(content))
    return Place(partition, 0, sys.maxsize)


def cut_the_tree(case: Case, chance: random.Random) -> Place:
    """The tree file away, or as it was some time ago: only the published heads tell."""
    partition = chance.choice(sorted(case.entries))
    left = chance.randint(0, case.last_day(partition))
    lines = case.lines[partition][:left]
    case.put(partition, TREE, write_tree(case.headers[partition], lines) if left or chance.random() < 0.5 else None)
    return Place(partition, case.entries[partition][left].first, sys.maxsize)


def exchange_the_trees(case: Case, chance: random.Random) -> Place:
    """Each partition with the other's tree file."""
    contents = [case.path(number, TREE).read_bytes() for number in range(PARTITIONS)]
    for number in range(PARTITIONS):
        case.put(number, TREE, contents[1 - number])
    return Place(0, 0, sys.maxsize)


TREE_WAYS: Final[dict[str, Tampering]] = {
    "flip one byte of a tree": flip_a_byte_of_the_tree,
    "change a hash of a tree": of_tree(_change_a_hash),
    "change a hash of a tree, signed with another key": of_tree(_change_a_hash, True),
    "change a root": of_tree(_change_a_root),
    "change a root, signed with another key": of_tree(_change_a_root, True),
    "grow a tree over another record": of_tree(_grow_another),
    "grow a tree over another record, signed with another key": of_tree(_grow_another, True),
    "remove a line of a tree": of_tree(_remove_a_line),
    "cut a tree off, or remove it": cut_the_tree,
    "exchange two trees": exchange_the_trees,
    "change one record, all of it signed anew with the true key": rewrite_history,
}
