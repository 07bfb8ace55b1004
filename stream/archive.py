"""The archive's books: where segments begin and end, their names, the hash chain over them, and what is signed.

In: keys of records, digests of segments. Out: boundaries, `Entry` (one line of a partition's manifest) and `Statement`
(a signed head). All of it is a function of the log: whoever writes the same log into an archive gets the same heads.
Called by the archive agent, which writes, and by the audit, which checks. No Parquet, no files, no keys of signatures.

The chain. `head` of an entry is the SHA-256 of its canonical JSON without file, bytes, file_sha256, head, key and
signature; it names the head before it (`previous`), the first one the digest of the manifest's first line. What a head
proves is content: a segment that is encoded anew (another version of Parquet) keeps its head and gets another file_sha256.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

FORMAT: Final = 1

SEAL_KEY: Final = b"control|day"
"""A segment of the ledger ends with such a record: the heads of a day then cover all before the barrier, and no more."""

LEDGER: Final = "lampit.ledger"

SUCCESSION: Final = "succession.json"
"""Beside the folders of an archive that was rewritten from another one; written last."""

_OFFSET_DIGITS: Final = 20
_NAME: Final = re.compile(rf"([0-9]{{{_OFFSET_DIGITS}}})-([0-9]{{{_OFFSET_DIGITS}}})\.parquet", re.ASCII)

AnyLine = TypeVar("AnyLine", bound=msgspec.Struct)

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Keyed(Protocol):
    """What of a record decides where a segment ends."""

    @property
    def offset(self) -> int:
        """In the log."""
        ...

    @property
    def key(self) -> bytes | None:
        """As the log has it."""
        ...

    @property
    def value(self) -> bytes | None:
        """As the log has it."""
        ...


class Header(msgspec.Struct, frozen=True):
    """The first line of a manifest: what it is of."""

    ledger_id: str
    topic: str
    partition: int
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """What the first entry follows on."""
        return hashlib.sha256(_encode(self)).hexdigest()


class Entry(msgspec.Struct, frozen=True):
    """One segment, a line of a manifest.

    The segment holds all committed records with offsets from `first` to `last`, both included; `records` of them: the
    other offsets are markers of transactions or were never readable. `content_sha256`: agents.segments.content_digest.
    `day`: the business day (YYYY-MM-DD) reached, where a record of a day ends the segment, else None. `key`: public key, hex.
    """

    number: int
    first: int
    last: int
    records: int
    day: str | None
    content_sha256: str
    previous: str
    file: str
    bytes: int
    file_sha256: str
    head: str = ""
    key: str = ""
    signature: str = ""

    def digest(self) -> str:
        """What `head` has to be."""
        return hashlib.sha256(
            _encode(
                {
                    "number": self.number,
                    "first": self.first,
                    "last": self.last,
                    "records": self.records,
                    "day": self.day,
                    "content_sha256": self.content_sha256,
                    "previous": self.previous,
                }
            )
        ).hexdigest()


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature is put under, and what `lampit.heads` holds for a day, with `key` and `signature` filled in.

    next_offset: everything before it is in the archive. segments: how many. head: of the last one. root: of the Merkle tree
    over the records before next_offset, hex; empty in the lines of a manifest, which are signed before the tree has grown.
    """

    ledger_id: str
    topic: str
    partition: int
    next_offset: int
    segments: int
    day: str | None
    head: str
    root: str = ""
    format: int = FORMAT
    key: str = ""
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """The bytes under the signature: the statement's JSON without key and signature, and without a root that it has not."""
        stated = msgspec.structs.asdict(self) | {"key": "", "signature": ""}
        if not self.root:
            del stated["root"]
        return b"lampit archive head\n" + _encode(stated)


def statement(header: Header, entry: Entry) -> Statement:
    """The head of the chain behind an entry, with its signature."""
    return Statement(
        ledger_id=header.ledger_id,
        topic=header.topic,
        partition=header.partition,
        next_offset=entry.last + 1,
        segments=entry.number + 1,
        day=entry.day,
        head=entry.head,
        key=entry.key,
        signature=entry.signature,
    )


class Succession(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says of the one that it was rewritten from under a newer pseudonym key (`succession.json`), signed.

    ledger_id, key_fingerprint: of the new ledger. succeeds: the last head of every partition of the old one, with its
    signature. heads: the heads of the new one that hold the same events. persons, events: how many of them.
    """

    ledger_id: str
    key_fingerprint: str
    succeeds: tuple[Statement, ...]
    heads: tuple[Statement, ...]
    persons: int
    events: int
    format: int = FORMAT
    key: str = ""
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """The bytes under the signature."""
        return b"lampit archive succession\n" + _encode(msgspec.structs.replace(self, key="", signature=""))


def read_succession(raw: bytes) -> Succession:
    """The statement of a file; ValueError for what is none, or is spelt in another way than it was written."""
    try:
        found = _succession.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError("it is no statement of succession") from error
    if encode_line(found) != raw:
        raise ValueError("it is not as it was written")
    return found


SEGMENT_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of values. A column of a segment cannot hold 2 GiB; and all of it is in memory, several times over, while it is written."""


class Cutter:
    """Where the segments of one partition end: a function of its records and their offsets, however they come in.

    At multiples of `segment_records` always, and before a record with which the values would be more than `segment_bytes`.
    In the ledger behind every record that turns the business day. In the closings before those of another known day, so that
    those of one day are in segments of their own.
    """

    def __init__(self, topic: str, segment_records: int, first: int, segment_bytes: int = SEGMENT_BYTES_MAX) -> None:
        """`first`: where the open segment begins."""
        self._segment_records = segment_records
        self._segment_bytes = segment_bytes
        self._bytes = 0
        self._first = first
        self._is_ledger = topic == LEDGER
        self._known_day: bytes | None = None

    def ends(self, records: Sequence[Keyed], next_offset: int) -> list[int]:
        """The last offsets of the segments that are complete once everything before `next_offset` is known."""
        ends: list[int] = []
        for record in records:
            self._full(record.offset, ends)
            size = len(record.value or b"")
            known_day = None if self._is_ledger else (record.key or b"").rpartition(b"|")[2]
            is_another_day = self._known_day is not None and self._known_day != known_day
            if is_another_day or (self._bytes and self._bytes + size > self._segment_bytes):
                self._end(record.offset - 1, ends)
            self._bytes += size
            self._known_day = known_day
            if self._is_ledger and record.key == SEAL_KEY:
                self._end(record.offset, ends)
        self._full(next_offset, ends)
        return ends

    def _full(self, offset: int, ends: list[int]) -> None:
        """End every segment that is full before an offset."""
        while (end := boundary(self._first, self._segment_records) - 1) < offset:
            self._end(end, ends)

    def _end(self, last: int, ends: list[int]) -> None:
        ends.append(last)
        self._first, self._known_day, self._bytes = last + 1, None, 0


def boundary(offset: int, segment_records: int) -> int:
    """The first offset behind `offset` at which a segment begins whatever its records are."""
    return (offset // segment_records + 1) * segment_records


def file_name(first: int, last: int) -> str:
    """The name of a segment."""
    return f"{first:0{_OFFSET_DIGITS}}-{last:0{_OFFSET_DIGITS}}.parquet"


def range_of(name: str) -> tuple[int, int] | None:
    """The offsets that a file name stands for; None where it is none of a segment."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def encode_line(line: msgspec.Struct) -> bytes:
    """One line of a manifest or a tree file, the value of a record of `lampit.heads`, a succession; without line end."""
    return msgspec.json.encode(line)


def write_manifest(header: Header, entries: list[Entry]) -> bytes:
    """The manifest's bytes."""
    return b"".join(line + b"\n" for line in (encode_line(header), *map(encode_line, entries)))


def read_manifest(raw: bytes) -> tuple[Header, list[Entry]]:
    """The manifest's lines; ValueError names the line that is not one. Nothing is checked but the form."""
    return read_lines(raw, _entry.decode)


def read_lines(raw: bytes, decode: Callable[[bytes], AnyLine]) -> tuple[Header, list[AnyLine]]:
    """A header and the lines below it; ValueError names the line that is not one."""
    texts = raw.split(b"\n")
    if texts.pop() != b"":
        raise ValueError(f"line {len(texts) + 1} is cut off")
    header: Header | None = None
    lines: list[AnyLine] = []
    for number, text in enumerate(texts, 1):
        try:
            if header is None:
                header = _header.decode(text)
            else:
                lines.append(decode(text))
            # Nothing that the chain does not see: no other spelling, no other fields.
            if encode_line(lines[-1] if lines else header) != text:
                raise ValueError(f"line {number} is not as it was written")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"line {number} is not a line of this file") from error
    if header is None:
        raise ValueError("it is empty")
    return header, lines


_header: Final = msgspec.json.Decoder(Header)
_entry: Final = msgspec.json.Decoder(Entry)
_succession: Final = msgspec.json.Decoder(Succession)
