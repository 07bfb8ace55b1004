"""Event files and files of ledger records as a source of the audit, read whole.

In: files as `lampit count` takes them. Out: a `Source`. Called by `lampit.audit.sources`. Events without a time of acceptance
(event files) count, but cannot be asked what was known when.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from agents.errors import ConfigurationError, LampitError
from agents.settings import load_settings
from lampit import tables
from lampit.audit.sources import Records
from lampit.count import Rejected, pseudonymiser
from lampit.files import EventFile, bytes_of
from stream.admission import Admitted, admit
from stream.explanation import Heard, Question
from stream.ledger import LedgerRecord, decode_record, encode_record
from stream.rules import Rules

# The name of a field: an id may be any word, but inside a text no quotation mark stands by itself.
_RECEIVED: Final = re.compile(rb'"receivedat"\s*:').search
_NIK: Final = re.compile(rb'"nik"\s*:').search


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
        if (_RECEIVED(line) and not _NIK(line)) or b'"source":"/lampit/ledger"' in line:
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
