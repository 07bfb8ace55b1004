"""Where the audit takes its events from: an archive, ledger records one a line, or event files as producers send them.

In: the SOURCE words of a command. Out: a `Source`: the accepted events, all of them or those that one question needs, and the
same as ledger records for the SQL count. Called by `lampit audit coverage` and `explain`. A question put to an index is
answered sooner than everything for the other sources could be imported: each is, when it is named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from agents.errors import ConfigurationError
from lampit import tables
from stream.explanation import Heard, Question
from stream.rules import Rules

Records = Path | list[Path] | Iterable[tuple[str | None, bytes]]
"""What `sql_count` takes: (person id, ledger record) pairs, or Parquet files of the records."""

Share = tuple[int, int]
"""(which, of how many): part of the people; who changed NIK is in one of them with all that was sent under either."""

EVERYBODY: Final[Share] = (0, 1)


class Source(Protocol):
    """Accepted events."""

    rejected: int
    """Lines that are no events."""

    def rules(self, transit_expiry_days: int | None, leap_birthday: Any) -> Rules:
        """What is given, else what the source says it was counted by, else the settings."""
        ...

    def heard(
        self, question: Question | None = None, person: str | None = None, rules: Rules | None = None
    ) -> list[Heard]:
        """Every event that can play a part in the answer; everything where nothing is asked."""
        ...

    def records(self, known_at: int | None, region: str | None) -> Records:
        """Ledger records accepted by an instant: of everybody whom an event places in the region, and all balances."""
        ...


@contextmanager
def open_source(words: tuple[str, ...], *, need_instants: str | None, share: Share = EVERYBODY) -> Iterator[Source]:
    """The source that the words name; need_instants: the option that asks what was known when.

    share: whom the `heard` of an index tells of; no other source is shared out.
    """
    indexes = [word for word in words if is_index(word)]
    archives = [word for word in words if "://" in word or os.path.isdir(word)]  # opening a file says why it may not
    if not archives and not indexes:
        from lampit.audit.file_source import FileSource
        from lampit.files import open_all

        yield FileSource(open_all(words), need_instants)
        return
    if len(words) > 1:
        raise ConfigurationError("An archive or an index is counted by itself: name one of them, or files.")
    if indexes:
        from lampit.audit.index_source import IndexSource

        with IndexSource(words[0], share) as source:
            yield source
    else:
        from lampit.audit.archive_source import ArchiveSource

        with ArchiveSource(words[0]) as source:
            yield source


def is_index(word: str) -> bool:
    """Whether it is a DuckDB file, by its first bytes."""
    try:
        with Path(word).open("rb") as file:
            return file.read(12)[8:] == b"DUCK"
    except OSError:
        return False


def notice_rejected(source: Source) -> None:
    """One line on standard error for lines that are no events."""
    if source.rejected:
        tables.notice(f"Rejected lines: {source.rejected:,} (`lampit count` says which and why).")
