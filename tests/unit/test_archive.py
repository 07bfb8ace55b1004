"""The archive: the same log gives the same files whatever happens on the way; what was archived is read back."""

from __future__ import annotations

import os
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import msgspec
import pytest

from agents.archive_books import Books
from agents.archive_files import Files
from agents.archive_tree import SegmentChanged, TreeBooks
from agents.archive_writer import PartitionWriter
from agents.errors import ConfigurationError, Fenced
from agents.signing import is_signed
from agents.topics import CLOSINGS, LEDGER
from lampit.audit.archive import Archive, Filter
from stream.archive import Cutter, Header, boundary, file_name, range_of, statement
from stream.archive_tree import NO_RECORD, head, leaves, read_tree, record_leaf, write_tree
from stream.ledger import LedgerRecord as AcceptedRecord
from stream.ledger import decode_record
from stream.merkle import Block, Tree, leaf_hash
from tests.archives import (
    FIRST_DAY,
    LEDGER_ID,
    RECEIVED_AT,
    SIGNER,
    LogRecord,
    contents,
    grow,
    in_fetches,
    ledger,
    write,
)

LOGS = ledger(3_000, 2, 5)
SEGMENT = 250


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of LOGS."""
    path = tmp_path_factory.mktemp("archive")
    write(path, LOGS, SEGMENT)
    return path


def writer_of(folder: Path, partition: int = 0) -> PartitionWriter:
    return PartitionWriter(Books(Files(str(folder)), Header(LEDGER_ID, LEDGER, partition), SIGNER), SEGMENT)


def archived(archive: Archive, wanted: Filter | None = None) -> list[tuple[int, LogRecord]]:
    records = archive.records(wanted) if wanted else archive.records()
    return [(record.partition, LogRecord(*record[1:])) for record in records]


@pytest.mark.parametrize("seed", range(4))
def test_the_fetches_change_no_byte(folder: Path, tmp_path: Path, seed: int) -> None:
    write(tmp_path, LOGS, SEGMENT, seed=seed + 10, size_max=(1, 7, 300, 5_000)[seed])
    assert contents(tmp_path) == contents(folder)


@pytest.mark.parametrize("seed", range(6))
def test_restarts_anywhere_change_no_byte(folder: Path, tmp_path: Path, seed: int) -> None:
    """The writer is dropped with all it holds, at random fetches, and at writes of segments and of manifests."""
    chance = random.Random(seed)

    class Killed(Exception):
        pass

    class MortalFiles(Files):
        def put(self, name: str, content: bytes) -> None:
            fate = chance.random()
            if fate < 0.1:
                raise Killed
            if fate < 0.2:  # half of a file under a temporary name, as a kill in the middle of writing leaves it
                left = Path(self.path(name)).with_name(".half.1.tmp")
                left.parent.mkdir(parents=True, exist_ok=True)
                left.write_bytes(content[: len(content) // 2])
                os.utime(left, (0, 0))  # an hour is waited with it, which another one could take to write
                raise Killed
            super().put(name, content)

    deaths = 0
    for partition, log in LOGS.items():
        done = False
        while not done:
            try:
                books = Books(MortalFiles(str(tmp_path)), Header(LEDGER_ID, LEDGER, partition), SIGNER)
                writer = PartitionWriter(books, SEGMENT)
                tree = TreeBooks(books.files, books.header, SIGNER, books.entries)
                for fetch in in_fetches(LEDGER, partition, log, chance, 400, books.next_offset):
                    if chance.random() < 0.1:
                        raise Killed
                    writer.add(fetch)
                    tree.grow(books.entries, chance.randrange(4))
                grow(tree, books)
                done = True
            except Killed:
                deaths += 1
    Books(Files(str(tmp_path)), Header(LEDGER_ID, LEDGER, 0), SIGNER)  # tidies up what the last death left
    Books(Files(str(tmp_path)), Header(LEDGER_ID, LEDGER, 1), SIGNER)
    assert deaths > 3
    assert contents(tmp_path) == contents(folder)


def test_segments_tile_the_log_and_end_at_days(folder: Path) -> None:
    archive = Archive.open(str(folder))
    assert archive.partitions() == [0, 1]
    for partition in archive.partitions():
        entries = archive.segments(partition)
        assert [entry.first for entry in entries] == [0, *(entry.last + 1 for entry in entries[:-1])]
        assert [entry.number for entry in entries] == list(range(len(entries)))
        assert [entry.day for entry in entries if entry.day] == [
            (FIRST_DAY + timedelta(days=day)).isoformat() for day in range(5)
        ]
        for entry in entries:
            assert entry.day or entry.last + 1 == boundary(entry.first, SEGMENT)
            assert entry.records == sum(entry.first <= record.offset <= entry.last for record in LOGS[partition])
            assert range_of(entry.file) == (entry.first, entry.last)
            assert is_signed(statement(archive.header(partition), entry))


def test_the_records_are_those_of_the_log(folder: Path) -> None:
    archive = Archive.open(str(folder))
    ends = archive.next_offsets()
    expected = [(number, record) for number, log in LOGS.items() for record in log if record.offset < ends[number]]
    assert len(expected) > 2_500
    assert archived(archive) == expected
    assert archived(archive, Filter(partitions={1})) == [row for row in expected if row[0] == 1]
    upto = {0: 300, 1: 777}
    assert archived(archive, Filter(upto=upto)) == [row for row in expected if row[1].offset < upto[row[0]]]


def test_filters_by_time_and_region(folder: Path) -> None:
    archive = Archive.open(str(folder))
    begin = datetime.fromtimestamp(RECEIVED_AT / 1_000_000 + 86_400, UTC)
    end = begin + timedelta(days=1, seconds=20)
    village = next(region for region in _regions(archived(archive)) if region)
    for wanted in (Filter(received_from=begin, received_before=end), Filter(region=village[:8]), Filter(region="ID")):
        expected = []
        for row in archived(archive):
            record = decode_record(row[1].value or b"")
            if not isinstance(record, AcceptedRecord):
                continue
            region = getattr(record.event, "region", None)
            in_time = wanted.received_from is None or (
                begin.timestamp() * 1e6 <= record.received_at < end.timestamp() * 1e6
            )
            if in_time and (wanted.region in (None, "ID") or f"{region}.".startswith(f"{wanted.region}.")):
                expected.append(row)
        assert 0 < len(expected) < 3_000
        assert archived(archive, wanted) == expected


def _regions(rows: list[tuple[int, LogRecord]]) -> list[str | None]:
    decoded = [decode_record(record.value or b"") for _, record in rows]
    return [getattr(one.event, "region", None) for one in decoded if isinstance(one, AcceptedRecord)]


def test_the_records_in_sql_are_the_records(folder: Path) -> None:
    archive = Archive.open(str(folder))
    barrier = archive.barrier()
    assert barrier is not None
    assert barrier.day == FIRST_DAY + timedelta(days=4)
    rows = duckdb.sql(
        f'SELECT partition, "offset", timestamp_ms, record FROM ({archive.records_sql(barrier.next_offsets)}) ORDER BY ALL'
    ).fetchall()
    expected = archived(archive, Filter(upto=barrier.next_offsets))
    assert [(number, at, stamp, text.encode()) for number, at, stamp, text in rows] == [
        (number, record.offset, record.timestamp, record.value) for number, record in expected
    ]


def test_the_barrier_ends_with_the_day_record_of_every_partition(folder: Path) -> None:
    barrier = Archive.open(str(folder)).barrier()
    assert barrier is not None
    for partition, end in barrier.next_offsets.items():
        last = next(record for record in LOGS[partition] if record.offset == end - 1)
        assert last.key == b"control|day"
        assert date.fromisoformat("2019-03-24").isoformat().encode() in (last.value or b"")


def test_a_partition_that_is_begun_meanwhile_is_of_the_next_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive.open(str(folder))
    first, *others = archive.partitions()
    listed = [[first], [first, *others]]
    monkeypatch.setattr(Archive, "partitions", lambda self: listed.pop(0))
    barrier = archive.barrier()
    assert barrier is not None
    assert list(barrier.next_offsets) == [first]


def books_of(folder: Path, partition: int = 0) -> Books:
    return Books(Files(str(folder)), Header(LEDGER_ID, LEDGER, partition), SIGNER)


def test_every_root_is_that_of_the_log_and_signed(folder: Path) -> None:
    """Leaf by leaf, by the definition of a leaf written out, with empty leaves where the log has no record."""
    archive = Archive.open(str(folder))
    holes = 0
    for partition, log in LOGS.items():
        records = {record.offset: record for record in log}
        header, lines = archive.tree(partition)
        assert header == archive.header(partition)
        assert len(lines) == len(archive.segments(partition))
        tree = Tree()
        for offset in range(lines[-1].next_offset):
            data = b""
            if offset in records:
                key, value = records[offset].key or b"", records[offset].value or b""
                numbers = [n.to_bytes(8, "little") for n in (offset, records[offset].timestamp, len(key), len(value))]
                data = b"".join([*numbers[:3], key, numbers[3], value])
            holes += not data
            tree.add([Block(offset, 1, leaf_hash(data))])
        for entry, line in zip(archive.segments(partition), lines, strict=True):
            assert line.next_offset == entry.last + 1
            assert line.root == tree.root(line.next_offset).hex()
            stated = head(header, entry, line)
            assert is_signed(stated)
            assert not is_signed(msgspec.structs.replace(stated, root="0" * 64))
            assert not is_signed(msgspec.structs.replace(stated, root=""))
    assert holes > 50


def test_a_record_without_key_or_value_is_a_leaf_of_its_own() -> None:
    rows = [(3, 1, None, b"v"), (4, 1, b"", b"v"), (5, 1, b"v", None), (7, 1, None, None)]
    found = leaves(3, 7, rows)
    assert found == [*(record_leaf(*row) for row in rows[:3]), NO_RECORD, record_leaf(*rows[3])]
    assert len({record_leaf(1, 1, *row[2:]) for row in rows}) == 4


def test_a_changed_segment_is_not_hashed(tmp_path: Path) -> None:
    write(tmp_path, LOGS, SEGMENT)
    before = contents(tmp_path)
    books = books_of(tmp_path)
    path = tmp_path / "ledger/partition=00000"
    (path / "tree.jsonl").unlink()
    content = (path / books.entries[3].file).read_bytes()
    (path / books.entries[3].file).write_bytes((path / books.entries[2].file).read_bytes())
    with pytest.raises(SegmentChanged, match=books.entries[3].file):
        grow(TreeBooks(books.files, books.header, SIGNER, books.entries), books, 2)
    (path / books.entries[3].file).write_bytes(content)
    tree = TreeBooks(books.files, books.header, SIGNER, books.entries)
    assert len(tree.lines) == 2
    grow(tree, books)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("change", ["signature", "blocks", "root", "line", "spelling"])
def test_a_tree_that_this_key_did_not_sign_is_made_again(tmp_path: Path, change: str) -> None:
    write(tmp_path, LOGS, SEGMENT)
    before = contents(tmp_path)
    books = books_of(tmp_path)
    path = tmp_path / "ledger/partition=00000/tree.jsonl"
    header, lines = read_tree(path.read_bytes())
    if change == "signature":
        lines[-1] = msgspec.structs.replace(lines[-1], signature="0" * 128)
    elif change == "blocks":
        lines[4] = msgspec.structs.replace(lines[4], blocks=["0" * 64, *lines[4].blocks[1:]])
    elif change == "root":
        lines[-1] = msgspec.structs.replace(lines[-1], root="0" * 64)
    elif change == "line":
        del lines[3]
    raw = write_tree(header, lines)
    path.write_bytes(raw.replace(b":", b": ") if change == "spelling" else raw)
    tree = TreeBooks(books.files, books.header, SIGNER, books.entries)
    assert tree.lines == [] and tree.last_days(books.entries, 1_000) == []
    grow(tree, books)
    assert contents(tmp_path) == before
    grown = TreeBooks(books.files, books.header, SIGNER, books.entries)
    days = grown.last_days(books.entries, len(books.entries))
    assert [one.day for one in days] == [f"2019-03-{day}" for day in range(20, 25)] and all(one.root for one in days)
    assert grown.last_days(books.entries, len(books.entries) - days[-2].segments) == days[-1:]
    assert grown.last_days(books.entries, len(books.entries) - days[-2].segments + 1) == days[-2:]


def test_an_archive_of_another_ledger_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="another ledger"):
        Books(Files(str(folder)), Header("another", LEDGER, 0), SIGNER)


def test_a_writer_that_was_overtaken_ends(tmp_path: Path) -> None:
    slow, quick = writer_of(tmp_path), writer_of(tmp_path)
    fetches = list(in_fetches(LEDGER, 0, LOGS[0], random.Random(1), 400))
    for fetch in fetches:
        quick.add(fetch)
    before = contents(tmp_path)
    with pytest.raises(Fenced):
        for fetch in fetches:
            slow.add(fetch)
    assert contents(tmp_path) == before


def test_two_who_write_a_file_at_once_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One was overtaken and does not know yet; in containers both processes have the same number."""
    files = Files(str(tmp_path))
    sync, rivals = os.fsync, [b"of the one who overtook"]

    def meanwhile(descriptor: int) -> None:
        if rivals:
            files.put("manifest", rivals.pop())
            assert files.get("manifest") == b"of the one who overtook"
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    files.put("manifest", b"of the one who was overtaken, and longer")
    assert files.get("manifest") == b"of the one who was overtaken, and longer"


def test_names_sort_as_their_offsets() -> None:
    assert file_name(0, 4999) == "00000000000000000000-00000000000000004999.parquet"
    assert range_of("00000000000000000000-00000000000000004999.parquet") == (0, 4999)
    assert range_of("manifest.jsonl") is None


def test_no_archive_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no archive of lampit\.ledger"):
        Archive.open(str(tmp_path))


def closings(days: int, regions: int) -> list[LogRecord]:
    """Closings of some known days, each day's in a transaction that leaves a marker behind it."""
    log = []
    offset = 0
    for day in range(days):
        for region in range(regions + day):
            key = f"16.05.{region:02}|2019-03|2019-04-{day + 1:02}".encode()
            log.append(LogRecord(offset, 1_554_000_000_000 + day, key, b'{"region":"16.05"}'))
            offset += 1
        offset += 1
    return log


@pytest.mark.parametrize("seed", range(4))
def test_closings_of_one_day_are_in_segments_of_their_own_however_they_come(tmp_path: Path, seed: int) -> None:
    """Regions and segments are chosen so that days end before, at and behind a full segment."""
    log = closings(9, 17)
    topic = "lampit.closings"
    write(tmp_path / "one", {0: log}, 20, topic=topic, seed=seed, size_max=(1, 5, 40, 500)[seed])
    write(tmp_path / "whole", {0: log}, 20, topic=topic, size_max=10_000)
    assert contents(tmp_path / "one") == contents(tmp_path / "whole")
    archive = Archive.open(str(tmp_path / "one"), topic)
    for entry in archive.segments(0):
        held = [record for record in archive.records() if entry.first <= record.offset <= entry.last]
        assert len({(record.key or b"").rpartition(b"|")[2] for record in held}) <= 1
    end = archive.next_offsets()[0]
    assert archived(archive) == [(0, record) for record in log if record.offset < end]
    assert end > log[-40].offset


@pytest.mark.parametrize("topic", [LEDGER, CLOSINGS])
@pytest.mark.parametrize("fetch", [1, 3, 100])
def test_a_segment_ends_before_it_has_too_many_bytes(topic: str, fetch: int) -> None:
    """A column of Arrow ends at 2 GiB. One record is taken whatever its size, and fetches make no difference."""
    sizes = [4, 4, 4, 11, 1, 9, 0, 1]
    records = [LogRecord(2 * number, 0, b"16|2019-03|2019-03-28", b"x" * size) for number, size in enumerate(sizes)]
    cutter = Cutter(topic, 100, 0, segment_bytes=10)
    ends: list[int] = []
    for begin in range(0, len(records), fetch):
        some = records[begin : begin + fetch]
        ends += cutter.ends(some, some[-1].offset + 1)
    assert ends == [3, 5, 7, 13]
    assert cutter.ends([], 100) == [99]
