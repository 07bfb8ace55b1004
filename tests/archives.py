"""Made-up logs and archives of them, for tests: what a broker would have held, and what the agent writes of it.

In: a seed. Out: records as aiokafka hands them over (offsets with holes, control records, days), and an archive that the
agent's own code wrote from them. The same seed gives the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.archive_books import Books
from agents.archive_files import Files
from agents.archive_tree import TreeBooks
from agents.archive_writer import PartitionWriter
from agents.driver import Fetch
from agents.signing import Signer
from agents.topics import LEDGER
from bench.people import events
from stream.admission import Admitted, admit
from stream.archive import Header, Statement
from stream.ledger import Day, Epoch, EpochSettings, Genesis, control_key, encode_control, encode_record, record_key
from tests.wire import PSEUDONYMISE

LEDGER_ID: Final = "5d3c7f3e-7d5c-4aaa-9e0e-3f6f0c6f1c11"
SIGNER: Final = Signer(Ed25519PrivateKey.from_private_bytes(b"a signing key only for the tests"))
FIRST_DAY: Final = date(2019, 3, 20)
RECEIVED_AT: Final = 1_553_040_000_000_000
DAY_MICROSECONDS: Final = 86_400_000_000


@dataclass(frozen=True)
class LogRecord:
    """A record as aiokafka's consumer hands it over, as far as the archive reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def ledger(count: int, partitions: int, days: int, seed: int = 1) -> dict[int, list[LogRecord]]:
    """The log of a ledger by partition: genesis, epoch, then on each of `days` days a part of `count` events.

    Every seventh day record or so is followed by a hole, as a transaction's marker leaves one.
    """
    chance = random.Random(seed)
    logs: dict[int, list[LogRecord]] = {number: [] for number in range(partitions)}
    nexts = dict.fromkeys(logs, 0)

    def append(partition: int, key: bytes, value: bytes, at: int) -> None:
        logs[partition].append(LogRecord(nexts[partition], at // 1000, key, value))
        nexts[partition] += 1 + (chance.random() < 0.05)

    for number in logs:
        for control in (
            Genesis(LEDGER_ID, partitions, number, "fingerprint"),
            Epoch(1, "1", EpochSettings(), "digest"),
        ):
            append(number, control_key(control), encode_control(control, RECEIVED_AT), RECEIVED_AT)
    lines = list(events(count, seed))
    chance.shuffle(lines)
    for day in range(days):
        at = RECEIVED_AT + day * DAY_MICROSECONDS
        turned = Day((FIRST_DAY + timedelta(days=day)).toordinal())
        for number in logs:
            append(number, control_key(turned), encode_control(turned, at), at)
        for place, line in enumerate(lines[day * count // days : (day + 1) * count // days]):
            admitted = admit(line, PSEUDONYMISE)
            assert isinstance(admitted, Admitted)
            assert admitted.subject is not None
            value = encode_record(admitted.subject, admitted.event, at + place // 50 * 1_234_567)
            partition = int(admitted.subject[:8], 16) % partitions
            append(partition, record_key(admitted.subject, admitted.event), value, at + place)
    return logs


def in_fetches(
    topic: str, partition: int, log: Sequence[LogRecord], chance: random.Random, size_max: int, begin: int = 0
) -> Iterator[Fetch]:
    """The log from an offset on, in fetches of random sizes."""
    rows = [record for record in log if record.offset >= begin]
    while rows:
        some, rows = rows[: (size := chance.randint(1, size_max))], rows[size:]
        # A fetch may know of a marker behind its last record, or not.
        after = some[-1].offset + 1
        if rows and chance.random() < 0.5:
            after = rows[0].offset
        yield Fetch(topic, partition, begin, after, tuple(some), 0)  # type: ignore[arg-type]
        begin = after


def write(
    folder: Path,
    logs: dict[int, list[LogRecord]],
    segment_records: int,
    *,
    topic: str = LEDGER,
    seed: int = 1,
    size_max: int = 500,
) -> None:
    """Archive logs by the agent's own code, beginning where the archive stands, and let the trees grow."""
    chance = random.Random(seed)
    for partition, log in logs.items():
        books = Books(Files(str(folder)), Header(LEDGER_ID, topic, partition), SIGNER)
        writer = PartitionWriter(books, segment_records)
        for fetch in in_fetches(topic, partition, log, chance, size_max, books.next_offset):
            writer.add(fetch)
        grow(TreeBooks(books.files, books.header, SIGNER, books.entries), books)


def grow(tree: TreeBooks, books: Books, most: int = 7) -> list[Statement]:
    """Let a tree grow up to the end of its archive; the heads of its days."""
    heads = []
    while len(tree.lines) < len(books.entries):
        heads += tree.grow(books.entries, most)
    return heads


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
