"""What a snapshot of a partition's store says of itself, and which of several is to be used.

In: the manifest's bytes and name, names in a folder. Out: values; a reason in words where a manifest cannot be trusted or is
not for this partition. Not in here: files and object stores (`agents.snapshots`, the caller).

A snapshot is a folder of files, and beside it a manifest of the folder's name with `.json`, written last: a folder without one
does not count. The name begins with the next offset, so that names sort by it, and ends with a digest of the manifest, so that
a name stands for one content and two writers never share a folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final, Self

import msgspec

VERSION: Final = 1
KEPT: Final = 2
"""Of each partition: one that turns out to be damaged leaves another."""

MANIFEST: Final = ".json"
_DIGITS: Final = 16
_NAME: Final = re.compile(r"[0-9]{20}-[0-9]{1,6}-[0-9a-f]{16}")
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class UnfitSnapshot(ValueError):
    """A snapshot that is not to be used; the message says why, as the end of a sentence."""


class SnapshotFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the store. sha256: 64 hex digits."""

    name: str
    size_bytes: int
    sha256: str


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest. format, settings_digest, epoch, next_offset: as the store's own `Meta`. made_at: seconds since 1970."""

    version: int
    ledger_id: str
    partition: int
    format: int
    settings_digest: str
    epoch: int
    next_offset: int
    made_at: int
    files: tuple[SnapshotFile, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)

    def encode(self) -> bytes:
        """The manifest's bytes; the same for the same content."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def name(self) -> str:
        """Of the folder."""
        digest = hashlib.sha256(self.encode()).hexdigest()[:_DIGITS]
        return f"{self.next_offset:020}-{self.format}-{digest}"

    @classmethod
    def decode(cls, raw: bytes, name: str) -> Self:
        """The manifest of a snapshot of that name. Raises UnfitSnapshot where it is not what was written."""
        try:
            found = _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise UnfitSnapshot("its manifest cannot be read") from None
        if found.version != VERSION:
            raise UnfitSnapshot(f"its manifest has version {found.version}, known is {VERSION}")
        if found.encode() != raw or found.name != name:
            raise UnfitSnapshot("its manifest is not the one that was written")
        names = [file.name for file in found.files]
        # The names become paths on this machine.
        if len(set(names)) != len(names) or not all(map(_is_file, found.files)):
            raise UnfitSnapshot("its manifest names files that no store has")
        return found  # type: ignore[return-value]


_decoder = msgspec.json.Decoder(Snapshot)


def _is_file(file: SnapshotFile) -> bool:
    return bool(_FILE.fullmatch(file.name)) and bool(_SHA256.fullmatch(file.sha256)) and file.size_bytes >= 0


def require_fit(snapshot: Snapshot, *, ledger_id: str, partition: int, format: int, settings_digest: str) -> None:
    """Raises UnfitSnapshot where the snapshot is of another ledger or partition, or made in another way."""
    if snapshot.ledger_id != ledger_id:
        raise UnfitSnapshot("it is of another ledger")
    if snapshot.partition != partition:
        raise UnfitSnapshot("it is of another partition")
    if snapshot.format != format:
        raise UnfitSnapshot(f"it has format {snapshot.format}, this version's is {format}")
    if snapshot.settings_digest != settings_digest:
        raise UnfitSnapshot("it was made with other rules, settings or region reference")


def offset_of(name: str) -> int:
    """The next offset that a snapshot's name states."""
    return int(name[:20])


def whole(listed: Iterable[str]) -> list[str]:
    """The names of the snapshots in a partition's folder that have a manifest, newest first."""
    stems = (one.removesuffix(MANIFEST) for one in listed if one.endswith(MANIFEST))
    return sorted((stem for stem in stems if _NAME.fullmatch(stem)), reverse=True)


def to_remove(listed: Iterable[str], written: str) -> list[str]:
    """What goes once the snapshot `written` is there: those before the newest KEPT, and what was begun and never finished.

    `written` itself stays, wherever it sorts: those behind it can be of a log that was longer before it was restored.

    A folder without a manifest that sorts behind `written` may be one that another worker is about to finish.
    """
    names = list(listed)
    there = whole(names)
    kept = {*there[:KEPT], written}
    folders = {one for one in names if _NAME.fullmatch(one)}
    unfinished = {one for one in folders - set(there) if one < written}
    return sorted((set(there) - kept) | unfinished)
