"""One partition of an archive as its writer has it: the manifest, and the next segment.

In: files, a signer, tables of records. Out: segments and manifests in the archive, each whole or not at all. Called by the
archive agent; blocks, so the agent calls it from a thread. A crash between segment and manifest leaves a segment that no
manifest names: written again, from the same log, it is the same.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any, Final

import msgspec

from agents import segments
from agents.archive_files import Files
from agents.barrier import is_ahead
from agents.errors import ConfigurationError, Fenced
from agents.signing import Signer, signed
from stream.archive import Entry, Header, file_name, read_manifest, statement, write_manifest
from stream.calendar import iso_day
from stream.ledger import ControlRecord, Day, decode_record

MANIFEST: Final = "manifest.jsonl"
_FOLDER: Final = re.compile(r"partition=([0-9]{5,})", re.ASCII)

logger = logging.getLogger("lampit.archive")


def topic_folder(topic: str) -> str:
    """Where the folders of a topic's partitions are: `ledger` for lampit.ledger."""
    return topic.removeprefix("lampit.")


def folder(topic: str, partition: int) -> str:
    """Where a partition's files are: `ledger/partition=00003` for lampit.ledger."""
    return f"{topic_folder(topic)}/partition={partition:05}"


def number_of(name: str) -> int | None:
    """The partition whose folder has the name; None where it is not spelt as that of any."""
    match = _FOLDER.fullmatch(name)
    return int(match[1]) if match and name == f"partition={int(match[1]):05}" else None


def manifest_path(topic: str, partition: int) -> str:
    """The manifest of a partition."""
    return f"{folder(topic, partition)}/{MANIFEST}"


class Books:
    """The manifest of one partition, open for writing."""

    def __init__(self, files: Files, header: Header, signer: Signer) -> None:
        """Reads what is there; an archive of another ledger is refused."""
        self.files, self.header, self._signer = files, header, signer
        self.entries: list[Entry] = []
        raw = files.get(self._manifest)
        if raw is not None:
            self.entries = self._read(raw)
        files.remove_temporary(self._folder)

    @property
    def _folder(self) -> str:
        return folder(self.header.topic, self.header.partition)

    @property
    def _manifest(self) -> str:
        return manifest_path(self.header.topic, self.header.partition)

    def _read(self, raw: bytes) -> list[Entry]:
        try:
            header, entries = read_manifest(raw)
        except ValueError as error:
            raise ConfigurationError(
                f"{self._manifest} in the archive is damaged ({error}): see `lampit audit verify`; "
                "restore the file, or name another LAMPIT_ARCHIVE_URL."
            ) from None
        if header != self.header:
            raise ConfigurationError(
                f"{self._manifest} in the archive is of another ledger: name another LAMPIT_ARCHIVE_URL."
            )
        return entries

    @property
    def next_offset(self) -> int:
        """Everything before it is in the archive."""
        return self.entries[-1].last + 1 if self.entries else 0

    @property
    def _day(self) -> str | None:
        """The business day reached."""
        return next((entry.day for entry in reversed(self.entries) if entry.day), None)

    def last_record(self) -> segments.LogRecord | None:
        """The last record archived; None without one, or where its segment is not what was written, which `verify` tells."""
        entry = next((one for one in reversed(self.entries) if one.records), None)
        content = None if entry is None else self.files.get(f"{self._folder}/{entry.file}")
        if entry is None or content is None or hashlib.sha256(content).hexdigest() != entry.file_sha256:
            return None
        columns = segments.columns_of(content)
        return next(segments.records(segments.rebuilt(columns.slice(len(columns) - 1))))

    def write(self, table: Any, last: int) -> Entry:
        """Write the segment that goes up to the offset `last`, and the manifest that names it."""
        content = segments.encode(table)
        entry = self._entry(table, last, content)
        path = f"{self._folder}/{entry.file}"
        there = self.files.get(path)
        if there is None or hashlib.sha256(there).hexdigest() != entry.file_sha256:
            self.files.put(path, content)
        self._name(entry)
        return entry

    def _entry(self, table: Any, last: int, content: bytes) -> Entry:
        unsigned = Entry(
            number=len(self.entries),
            first=self.next_offset,
            last=last,
            records=len(table),
            day=day_at_end(table, self._day),
            content_sha256=segments.content_digest(table),
            previous=self.entries[-1].head if self.entries else self.header.digest,
            file=file_name(self.next_offset, last),
            bytes=len(content),
            file_sha256=hashlib.sha256(content).hexdigest(),
        )
        chained = msgspec.structs.replace(unsigned, head=unsigned.digest())
        head = signed(statement(self.header, chained), self._signer)
        return msgspec.structs.replace(chained, key=head.key, signature=head.signature)

    def _name(self, entry: Entry) -> None:
        """Put the entry into the manifest, unless another process has gone on with it."""
        raw = self.files.get(self._manifest)
        written = self._read(raw) if raw is not None else []
        if [one.head for one in written] != [one.head for one in self.entries]:
            raise Fenced(f"{self._manifest}: another process writes this partition of the archive")
        self.entries.append(entry)
        self.files.put(self._manifest, write_manifest(self.header, self.entries))


def day_at_end(table: Any, before: str | None) -> str | None:
    """The business day reached with the last record of a table, or None where that turns none; before: the one until then.

    As the ledger workers see it: a day turns forward only, and one ahead of the broker's clock is refused.
    """
    turn = _turn_at_end(table)
    if turn is None:
        return None
    control, timestamp_ms = turn
    day = iso_day(control.day)
    is_behind = before is not None and day < before
    return before if is_behind or is_ahead(control.day, timestamp_ms) else day


def day_named_at_end(table: Any) -> str | None:
    """The day that the last record of a table names: what earlier versions archived as the one reached."""
    turn = _turn_at_end(table)
    return turn and iso_day(turn[0].day)


def _turn_at_end(table: Any) -> tuple[Day, int] | None:
    """The control record of a day with which a table ends, and its timestamp."""
    if not len(table):
        return None
    last = next(segments.records(table.slice(len(table) - 1)))
    try:
        decoded = decode_record(last.value or b"")
    except (msgspec.MsgspecError, ValueError):
        return None
    if isinstance(decoded, ControlRecord) and isinstance(decoded.control, Day):
        return decoded.control, last.timestamp_ms
    return None
