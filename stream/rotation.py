"""A ledger under a newer pseudonym key: every person id in it becomes the keyed hash of itself.

In: records of the old ledger. Out: the same under the new ids, and the copies that merged persons need in the partitions
where they lie now. No NIK and no older key is needed. Pure; called by `lampit.rotation`, which reads and writes archives.

Ids stand in three places: the subject (and key) of a record, the new NIK's id in a change of NIK, and `forwardedfrom` of a
copy. Copies are not renamed but made anew: who keeps a family's events is the smallest of its ids, now another one.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from stream.archive import Statement
from stream.events import Event, NikChange
from stream.ledger import content_digest
from stream.merging import Forward, Hold, holders, to_send

Rename = Callable[[str], str]
"""The id under the new key of one under the old."""

_NEW_SUBJECT: Final = re.compile(rb'"new_subject":"([0-9a-f]{32})"')
_COPY: Final = b'"forwardedfrom":"'
_CHANGE: Final = b'"type":"lampit.nik_change.v1"'
_ID_VERSION: Final = 8
"""Of a UUID that is made of a digest (RFC 9562)."""


def is_copy(value: bytes) -> bool:
    """Whether a record is a copy of one under another id. A quotation mark inside a text would be escaped."""
    return _COPY in value


def is_change(value: bytes) -> bool:
    """Whether a record is a change of NIK."""
    return _CHANGE in value


def renamed(value: bytes, subject: str, new: str, rename: Rename) -> bytes:
    """A person's record under the new id, every other byte as it was; ValueError where it is not a record of the subject."""
    name = b'"subject":"%b"' % subject.encode()
    if value.count(name) != 1:
        raise ValueError("a record of a person whose key is not its subject")
    value = value.replace(name, b'"subject":"%b"' % new.encode())
    if not is_change(value):
        return value
    return _NEW_SUBJECT.sub(lambda found: b'"new_subject":"%b"' % rename(found[1].decode()).encode(), value)


class Families:
    """What is held under ids of several NIKs, as if every copy were sent at once."""

    def __init__(self) -> None:
        """Nothing held."""
        self._holds: dict[str, Hold] = {}

    def arrive(self, subject: str, event: Event) -> list[Forward]:
        """The copies that an event, under its new id, brings about."""
        sent: list[Forward] = []
        waiting = deque((holder, subject, event) for holder in holders(subject, event))
        while waiting:
            holder, sent_under, one = waiting.popleft()
            before = self._holds.get(holder) or Hold(holder, ())
            after = before.with_more([(sent_under, one)])
            if len(after.own) + len(after.copies) > len(before.own) + len(before.copies):
                self._holds[holder] = after
                copies = to_send(before, after)
                sent += copies
                waiting.extend((copy.to, copy.copy.sent_under, copy.copy.event) for copy in copies)
        return sent


def turned_round(changes: Iterable[tuple[str, NikChange]], rename: Rename) -> list[tuple[str, str]]:
    """(source, id) of changes of NIK of which another one would stand under the new ids (reading 30).

    changes: all of the ledger, each with its subject, under the old ids. Two that differ in the new NIK alone are told apart
    by nothing but the order of its ids, which a new key keeps half of the time.
    """
    family: dict[str, set[str]] = {}
    known = list(changes)
    for subject, change in known:
        together = family.get(subject, {subject}) | family.get(change.new_subject, {change.new_subject})
        family.update(dict.fromkeys(together, together))
    rivals: dict[tuple[str, str, str, int, bytes], set[str]] = {}
    for subject, change in known:
        name = (min(family[subject]), change.source, change.id, change.time, content_digest(change))
        rivals.setdefault(name, set()).add(change.new_subject)
    return sorted(
        (name[1], name[2])
        for name, subjects in rivals.items()
        if len(subjects) > 1 and [rename(one) for one in sorted(subjects)] != sorted(map(rename, subjects))
    )


def new_ledger_id(heads: Sequence[Statement], fingerprint: str) -> str:
    """The id of the ledger into which one with these heads is rewritten: the same rotation always makes the same ledger."""
    digest = hashlib.sha256(msgspec.json.encode([fingerprint, *heads], order="sorted")).digest()
    number = int.from_bytes(digest[:16]) & ~(0xF << 76) & ~(0x3 << 62)
    return str(uuid.UUID(int=number | _ID_VERSION << 76 | 0x2 << 62))
