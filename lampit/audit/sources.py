"""Where the audit takes its events from: an archive, ledger records one a line, or event files as producers send them.

In: the SOURCE words of a command. Out: a `Source`: the accepted events, all of them or those that one question needs, and the
same as ledger records for the SQL count. Called by `lampit audit coverage` and `explain`. Events without a time of acceptance
(event files) count, but cannot be asked what was known when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agents.errors import ConfigurationError, LampitError
from agents.settings import load_settings
from lampit import tables
from lampit.audit.options import shown_instant
from lampit.count import Rejected, pseudonymiser
from lampit.files import EventFile, bytes_of, open_all
from stream.admission import Admitted, admit
from stream.calendar import day_of, end_of_day, iso_day
from stream.explanation import Heard, Question
from stream.ledger import LedgerRecord, decode_record, encode_record
from stream.rules import Rules

Records = Path | Iterable[tuple[str | None, bytes]]
"""What `sql_count` takes: (person id, ledger record) pairs, or a Parquet file of the records."""


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
def open_source(words: tuple[str, ...], *, need_instants: str | None) -> Iterator[Source]:
    """The source that the words name; need_instants: the option that asks what was known when."""
    indexes = [word for word in words if _is_index(word)]
    archives = [word for word in words if "://" in word or Path(word).is_dir()]
    if not archives and not indexes:
        yield FileSource(open_all(words), need_instants)
        return
    if len(words) > 1:
        raise ConfigurationError("An archive or an index is counted by itself: name one of them, or files.")
    from lampit.audit.archive_source import ArchiveSource
    from lampit.audit.index import IndexSource

    with IndexSource(words[0]) if indexes else ArchiveSource(words[0]) as source:
        yield source


def _is_index(word: str) -> bool:
    """Whether it is a DuckDB file, by its first bytes."""
    try:
        with Path(word).open("rb") as file:
            return file.read(12)[8:] == b"DUCK"
    except OSError:
        return False


class FileSource:
    """Event files and files of ledger records, read whole."""

    def __init__(self, files: list[EventFile], need_instants: str | None) -> None:
        """Read them; ConfigurationError for the first event without receivedat where instants are needed."""
        self._heard: list[Heard] = []
        self._pseudonymise, self.is_keyed = pseudonymiser(load_settings())
        self._need_instants = need_instants
        self._rejected: list[Rejected] = []
        self._read(files)
        self.rejected = len(self._rejected)

    def _read(self, files: list[EventFile]) -> None:
        read = done = 0
        with tables.progress("Reading", bytes_of(files), "lines") as progress:
            for file in files:
                for first, lines in file.batches():
                    for number, line in enumerate(lines, first):
                        if line and not line.isspace():
                            self._take(line, file.path, number)
                    done += len(lines)
                    progress(read + file.bytes_read, done)
                read += file.bytes_read

    def _take(self, line: bytes, path: str, number: int) -> None:
        if (b'"receivedat"' in line and b'"nik"' not in line) or b'"source":"/lampit/ledger"' in line:
            self._take_record(line, path, number)
            return
        admitted = admit(line, self._pseudonymise)
        if not isinstance(admitted, Admitted):
            self._rejected.append(Rejected(path, number, admitted.reason.value, admitted.message))
        elif self._need_instants is not None:
            raise ConfigurationError(
                f"{path}, line {number} does not say when it was accepted (receivedat): {self._need_instants} needs an "
                "archive or ledger records."
            )
        else:
            self._heard.append(Heard(0, admitted.subject, admitted.event))

    def _take_record(self, line: bytes, path: str, number: int) -> None:
        try:
            record = decode_record(line)
        except (msgspec.MsgspecError, ValueError):
            raise LampitError(
                f"{path}, line {number} is neither an event nor a ledger record: restore the file."
            ) from None
        # A copy kept under the other id of a merged person: the event itself is in the ledger too.
        if isinstance(record, LedgerRecord) and record.forwarded_from is None:
            self._heard.append(Heard(record.received_at, record.subject, record.event))

    def rules(self, transit_expiry_days: int | None, leap_birthday: Any) -> Rules:
        """The given ones, else the settings."""
        settings = load_settings()
        return Rules(transit_expiry_days or settings.transit_expiry_days, leap_birthday or settings.leap_birthday)

    def heard(
        self, question: Question | None = None, person: str | None = None, rules: Rules | None = None
    ) -> list[Heard]:
        """Everything: a file has no index to choose by."""
        return self._heard

    def records(self, known_at: int | None, region: str | None) -> Records:
        """Everything that was known; the count leaves out other regions itself."""
        return [
            (one.subject, encode_record(one.subject, one.event, one.received_at))  # type: ignore[arg-type]
            for one in self._heard
            if known_at is None or one.received_at <= known_at
        ]


def notice_rejected(source: Source) -> None:
    """One line on standard error for lines that are no events."""
    if source.rejected:
        tables.notice(f"Rejected lines: {source.rejected:,} (`lampit count` says which and why).")


def known_text(instant: int | None) -> str:
    """`, as known at …`, or nothing; the end of a day (WIB) is shown as the day."""
    if instant is None:
        return ""
    day = day_of(instant, None)
    if instant == end_of_day(day, None) - 1:
        return f", as known at the end of {iso_day(day)}"
    return f", as known at {shown_instant(instant)}"
