"""Tampering with an archive, and whether `lampit audit verify` finds it: `python -m tests.tamper --trials 10000`.

In: a seed. Out: for each way of tampering how often it was tried, found, and found at its place. The tamperer can write every
file, knows the format, and has a key, but not the one that is trusted. What nobody can find from the archive alone: that
its end was cut off behind the last head that was published.
"""

from __future__ import annotations

import hashlib
import io
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from agents import segments
from agents.signing import signed
from stream.archive import Entry, Header, file_name, statement, write_manifest
from tests.tamper_case import PARTITIONS, THIEF, Case, Place, Tampering, any_segment
from tests.tamper_trees import TREE_WAYS


def flip_a_byte(case: Case, chance: random.Random) -> Place:
    partition, entry = any_segment(case, chance)
    content = bytearray(case.path(partition, entry.file).read_bytes())
    content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    case.put(partition, entry.file, bytes(content))
    return Place(partition, entry.first, entry.last)


def _drop(table: Any, at: int, chance: random.Random) -> Any:
    return pa.concat_tables([table.slice(0, at), table.slice(at + 1)])


def _repeat(table: Any, at: int, chance: random.Random) -> Any:
    return pa.concat_tables([table.slice(0, at + 1), table.slice(at)])


def _reorder(table: Any, at: int, chance: random.Random) -> Any:
    other = chance.choice([place for place in range(len(table)) if place != at])
    order = list(range(len(table)))
    order[at], order[other] = order[other], order[at]
    moved = table.take(order)
    # Half of the time the offsets stay in order, and only what is under them changes places.
    return moved if chance.random() < 0.5 else moved.set_column(0, "offset", table.column("offset"))


def _insert(table: Any, at: int, chance: random.Random) -> Any:
    new = table.slice(at, 1).set_column(0, table.schema.field("offset"), [[chance.randrange(10_000)]])
    return pa.concat_tables([table.slice(0, at), new, table.slice(at)])


def _change(table: Any, at: int, chance: random.Random) -> Any:
    rows = table.to_pylist()
    name = chance.choice(["key", "value", "timestamp_ms"])
    if name == "timestamp_ms":
        rows[at][name] += chance.choice([-1, 1])
    else:
        text = bytearray(rows[at][name])
        text[chance.randrange(len(text))] ^= 1
        rows[at][name] = bytes(text)
    return pa.Table.from_pylist(rows, schema=table.schema)


def of_records(change: Callable[[Any, int, random.Random], Any], knows: int) -> Tampering:
    """Change the records of a segment. knows: 0 writes the segment only, 1 also its digests in the manifest, 2 also the chain,
    3 also signatures, with a key of their own.
    """

    def tamper(case: Case, chance: random.Random) -> Place:
        partition, entry = any_segment(case, chance)
        before = case.table(partition, entry)
        changed = change(before, chance.randrange(entry.records), chance)
        table = pa.table(changed.columns, schema=before.schema).combine_chunks()
        content = segments.encode(table)
        case.put(partition, entry.file, content)
        if knows:
            entries = list(case.entries[partition])
            entries[entry.number] = msgspec.structs.replace(
                entry,
                records=len(table),
                content_sha256=segments.content_digest(table),
                bytes=len(content),
                file_sha256=hashlib.sha256(content).hexdigest(),
            )
            _write(case, partition, entries, knows)
        # A chain that was made anew is wrong from here on.
        return Place(partition, entry.first, entry.last if knows < 2 else sys.maxsize)

    return tamper


def _write(case: Case, partition: int, entries: list[Entry], knows: int) -> None:
    """A manifest, with the chain or the signatures made anew."""
    header = case.headers[partition]
    if knows > 1:
        previous = header.digest
        for number, entry in enumerate(entries):
            chained = msgspec.structs.replace(entry, number=number, previous=previous)
            chained = msgspec.structs.replace(chained, head=chained.digest())
            if knows > 2 and chained != entry:
                head = signed(statement(header, chained), THIEF)
                chained = msgspec.structs.replace(chained, key=head.key, signature=head.signature)
            entries[number], previous = chained, chained.head
    case.put(partition, "manifest.jsonl", write_manifest(header, entries))


def change_a_searched_column(case: Case, chance: random.Random) -> Place:
    """The same records, with another word beside one of them that is kept whole; file and manifest agree."""
    partition, entry = any_segment(case, chance)
    content = case.path(partition, entry.file).read_bytes()
    rows, records = segments.columns_of(content).to_pylist(), case.table(partition, entry).to_pylist()
    at = chance.randrange(entry.records)
    rows[at] |= {"raw_key": records[at]["key"], "raw_value": records[at]["value"], "subject": None, "rest": None}
    rows[at] |= {chance.choice(["type", "source", "id", "region"]): "another", "receivedat": None}
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=segments.SCHEMA), sink, store_schema=False)
    case.put(partition, entry.file, sink.getvalue())
    entries = list(case.entries[partition])
    entries[entry.number] = msgspec.structs.replace(
        entry, bytes=len(sink.getvalue()), file_sha256=hashlib.sha256(sink.getvalue()).hexdigest()
    )
    _write(case, partition, entries, 1)
    return Place(partition, entry.first, entry.last)


def swap_segments(case: Case, chance: random.Random) -> Place:
    partition, entry = any_segment(case, chance)
    other = chance.choice([one for one in case.entries[partition] if one != entry])
    contents = [case.path(partition, one.file).read_bytes() for one in (entry, other)]
    case.put(partition, entry.file, contents[1])
    case.put(partition, other.file, contents[0])
    return Place(partition, min(entry.first, other.first), max(entry.last, other.last))


def remove_a_segment(case: Case, chance: random.Random) -> Place:
    partition, entry = any_segment(case, chance)
    case.put(partition, entry.file, None)
    return Place(partition, entry.first, entry.last)


def remove_a_segment_and_its_line(case: Case, chance: random.Random) -> Place:
    """Not the very last one: an archive that ends before it is one that was not written any further."""
    partition, entry = any_segment(case, chance)
    while entry.number > case.last_day(partition):
        partition, entry = any_segment(case, chance)
    case.put(partition, entry.file, None)
    left = [one for one in case.entries[partition] if one != entry]
    _write(case, partition, left, chance.randrange(4))
    return Place(partition, entry.first, sys.maxsize)


def cut_the_end_off(case: Case, chance: random.Random) -> Place:
    """Manifest and segments as they were some time ago: only the published heads tell."""
    partition = chance.choice(sorted(case.entries))
    entries = case.entries[partition]
    left = chance.randint(0, case.last_day(partition))
    for entry in entries[left:]:
        case.put(partition, entry.file, None)
    case.put(partition, "manifest.jsonl", write_manifest(case.headers[partition], entries[:left]))
    return Place(partition, entries[left].first, sys.maxsize)


def put_a_file_in(case: Case, chance: random.Random) -> Place:
    partition, entry = any_segment(case, chance)
    case.put(partition, file_name(entry.first, entry.last + 1), case.path(partition, entry.file).read_bytes())
    return Place(partition, entry.first, entry.last)


def flip_a_byte_of_the_manifest(case: Case, chance: random.Random) -> Place:
    partition = chance.choice(sorted(case.entries))
    content = bytearray(case.path(partition, "manifest.jsonl").read_bytes())
    content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    case.put(partition, "manifest.jsonl", bytes(content))
    return Place(partition, 0, sys.maxsize)


def edit_a_line_of_the_manifest(case: Case, chance: random.Random) -> Place:
    partition, entry = any_segment(case, chance)
    name = chance.choice([name for name in Entry.__struct_fields__ if name not in ("head", "key", "signature")])
    old = getattr(entry, name)
    new: Any = old + chance.choice([-1, 1]) if isinstance(old, int) else "2019-03-21" if old is None else old[::-1]
    if old == new or (name == "day" and old is not None):
        new = None if name == "day" else new + "x"
    entries = list(case.entries[partition])
    entries[entry.number] = msgspec.structs.replace(entry, **{name: new})
    knows = chance.randrange(1, 4)
    _write(case, partition, entries, 1 if name in ("number", "previous") else knows)
    return Place(partition, min(entry.first, getattr(entries[entry.number], "first")), sys.maxsize)  # noqa: B009


def swap_lines_of_the_manifest(case: Case, chance: random.Random) -> Place:
    partition, entry = any_segment(case, chance)
    entries = list(case.entries[partition])
    other = chance.choice([number for number in range(len(entries)) if number != entry.number])
    entries[entry.number], entries[other] = entries[other], entries[entry.number]
    _write(case, partition, entries, chance.randrange(1, 4))
    return Place(partition, min(entry.first, entries[entry.number].first), sys.maxsize)


def exchange_the_manifests(case: Case, chance: random.Random) -> Place:
    """Each partition under the other's manifest."""
    contents = [case.path(number, "manifest.jsonl").read_bytes() for number in range(PARTITIONS)]
    for number in range(PARTITIONS):
        case.put(number, "manifest.jsonl", contents[1 - number])
    return Place(0, 0, sys.maxsize)


def change_the_ledger(case: Case, chance: random.Random) -> Place:
    partition = chance.choice(sorted(case.entries))
    case.headers, before = dict(case.headers), case.headers
    case.headers[partition] = Header("another ledger", case.archive.topic, partition)
    _write(case, partition, list(case.entries[partition]), chance.randrange(4))
    case.headers = before
    return Place(partition, 0, sys.maxsize)


_CHANGES: Final = {"drop": _drop, "repeat": _repeat, "reorder": _reorder, "insert": _insert, "change": _change}
_KNOWS: Final = ("", ", digests too", ", chain too", ", signed with another key")

WAYS: Final[dict[str, Tampering]] = {
    "flip one byte of a segment": flip_a_byte,
    **{
        f"{name} one record{said}": of_records(change, knows)
        for name, change in _CHANGES.items()
        for knows, said in enumerate(_KNOWS)
    },
    "change a column that is searched by": change_a_searched_column,
    "swap two segments": swap_segments,
    "remove a segment": remove_a_segment,
    "remove a segment and its line": remove_a_segment_and_its_line,
    "cut the end off": cut_the_end_off,
    "put a file in": put_a_file_in,
    "flip one byte of a manifest": flip_a_byte_of_the_manifest,
    "edit a line of a manifest": edit_a_line_of_the_manifest,
    "swap two lines of a manifest": swap_lines_of_the_manifest,
    "exchange two manifests": exchange_the_manifests,
    "put another ledger's name": change_the_ledger,
    **TREE_WAYS,
}


@dataclass
class Result:
    """How often each way was tried, found, found at its place; and the trials that were not."""

    tried: Counter[str]
    found: Counter[str]
    placed: Counter[str]
    missed: list[str]


def run(folder: Path, trials: int, seed: int, tell: Callable[[int], None] = lambda number: None) -> Result:
    """The trials; trial n of a seed is the same whatever their number."""
    case = Case(folder)
    assert case.first_finding() is None
    result = Result(Counter(), Counter(), Counter(), [])
    names = list(WAYS)
    for number in range(trials):
        name = names[number % len(names)]
        with case.restored():
            place = WAYS[name](case, random.Random(f"{seed} {number}"))
            finding = case.first_finding()
        result.tried[name] += 1
        result.found[name] += finding is not None
        if finding is not None and place.is_named_by(finding):
            result.placed[name] += 1
        else:
            result.missed.append(f"trial {number}, {name}: {place}, {finding}")
        tell(number)
    assert case.first_finding() is None, "a trial left something behind"
    return result


@click.command()
@click.option("--trials", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(trials: int, seed: int) -> None:
    """Tamper, verify, and show what was tried and found."""
    began = time.monotonic()

    def tell(number: int) -> None:
        if number % 500 == 499:
            click.echo(f"{number + 1:,} of {trials:,}, {time.monotonic() - began:,.0f} s", err=True)

    with tempfile.TemporaryDirectory(prefix="lampit-tamper-") as folder:
        result = run(Path(folder), trials, seed, tell)
    click.echo(f"| tampering (seed {seed}) | tried | found | first finding leads there |\n| --- | ---: | ---: | ---: |")
    for name in WAYS:
        click.echo(f"| {name} | {result.tried[name]:,} | {result.found[name]:,} | {result.placed[name]:,} |")
    total = [counts.total() for counts in (result.tried, result.found, result.placed)]
    click.echo(f"| all | {total[0]:,} | {total[1]:,} | {total[2]:,} |")
    for missed in result.missed:
        click.echo(missed, err=True)
    sys.exit(1 if result.missed else 0)


if __name__ == "__main__":
    main()
