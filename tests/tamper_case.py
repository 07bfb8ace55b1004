"""An archive to be tampered with, restored after each trial; what a tamperer did, and whether a finding leads there.

In: a folder. Out: `Case`, `Place`. Used by tests/tamper.py and tests/tamper_trees.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents import segments
from agents.signing import Signer
from lampit.audit.archive import Archive
from lampit.audit.checks import check
from lampit.audit.finding import Finding, Trust
from stream.archive import Entry
from stream.archive_tree import head
from tests.archives import SIGNER, ledger, write

THIEF: Final = Signer(Ed25519PrivateKey.from_private_bytes(b"a key that nobody has ever known"))
SEGMENT_RECORDS: Final = 50
EVENTS: Final = 1_500
PARTITIONS: Final = 2
DAYS: Final = 6


@dataclass(frozen=True)
class Place:
    """What was tampered with."""

    partition: int
    first: int
    last: int

    def is_named_by(self, finding: Finding) -> bool:
        """Whether a finding leads there: the partition, and the offsets or the manifest."""
        if finding.partition != self.partition:
            return False
        if finding.first is None or finding.last is None:
            return finding.file is not None
        return finding.first <= self.last and self.first <= finding.last


class Case:
    """An archive, the state it was in, and one trial's tampering with it."""

    def __init__(self, folder: Path) -> None:
        """Write an archive of many segments."""
        self.folder = folder
        write(folder, ledger(EVENTS, PARTITIONS, DAYS), SEGMENT_RECORDS)
        self.archive = Archive.open(str(folder))
        self.entries = {number: list(self.archive.segments(number)) for number in self.archive.partitions()}
        self.headers = {number: self.archive.header(number) for number in self.entries}
        self.lines = {number: self.archive.tree(number)[1] for number in self.entries}
        self.heads = [
            head(self.headers[number], entry, line)
            for number, entries in self.entries.items()
            for entry, line in zip(entries, self.lines[number], strict=True)
            if entry.day
        ]
        self.trust = Trust({SIGNER.public}, self.heads)
        self._before: dict[Path, bytes | None] = {}

    def path(self, partition: int, name: str) -> Path:
        return self.folder / "ledger" / f"partition={partition:05}" / name

    def put(self, partition: int, name: str, content: bytes | None) -> None:
        """Write or remove a file, and remember what it was."""
        path = self.path(partition, name)
        self._before.setdefault(path, path.read_bytes() if path.exists() else None)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Everything as it was, afterwards."""
        self._before = {}
        try:
            yield
        finally:
            for path, content in self._before.items():
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(content)

    def last_day(self, partition: int) -> int:
        """Number of the last segment whose head was published."""
        return max(entry.number for entry in self.entries[partition] if entry.day)

    def table(self, partition: int, entry: Entry) -> Any:
        return segments.decode(self.path(partition, entry.file).read_bytes())

    def first_finding(self) -> Finding | None:
        """By a reader that knows nothing of before."""
        return next(check(Archive.open(str(self.folder)), self.trust), None)


Tampering = Callable[[Case, random.Random], Place]


def any_segment(case: Case, chance: random.Random) -> tuple[int, Entry]:
    """A partition and one of its segments that holds some records."""
    partition = chance.choice(sorted(case.entries))
    return partition, chance.choice([entry for entry in case.entries[partition] if entry.records > 2])
