"""What an archive is checked against, and what is said of it where it is not as it has to be.

In: nothing. Out: `Trust`, `Finding`. Used by lampit/audit/checks.py, tree_checks.py and verify.py.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from stream.archive import Statement


@dataclass(frozen=True)
class Finding:
    """Something that is not as it has to be.

    kind: manifest, chain, signature, missing, extra, altered, rewritten, records, tree, head, ledger, succession.
    first, last: offsets, where it is about some; file: inside the archive.
    """

    kind: str
    message: str
    partition: int | None = None
    first: int | None = None
    last: int | None = None
    file: str | None = None

    @property
    def place(self) -> str:
        """Where, for people."""
        where = [] if self.partition is None else [f"partition {self.partition}"]
        if self.first is not None:
            where.append(f"offsets {self.first} to {self.last}" if self.last != self.first else f"offset {self.first}")
        return ", ".join([*where, *([self.file] if self.file else [])]) or "the archive"


@dataclass(frozen=True)
class Trust:
    """What the auditor has from elsewhere. keys: public keys in hex, None for "whichever the archive names, but one"."""

    keys: Collection[str] | None = None
    heads: Collection[Statement] = ()
