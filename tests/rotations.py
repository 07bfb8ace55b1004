"""Made-up ledgers at rest, their archives, and those archives under a newer key, for the tests of rotation.

In: events as producers send them, chance. Out: logs as intake and the ledger workers write them (changes of NIK in the
partitions of both ids, balances in all, copies for merged persons), days that turn in between, an archive of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from agents.archive_files import Files
from agents.errors import LampitError
from lampit import reference
from lampit.audit.archive import Archive, Filter
from lampit.rotation import Rotation
from lampit.rotation_plan import plan
from stream.admission import Admitted
from stream.archive import Succession
from stream.events import Event, OpeningBalance
from stream.explanation import Heard
from stream.ledger import (
    ControlRecord,
    Day,
    Epoch,
    EpochSettings,
    Genesis,
    LedgerRecord,
    control_key,
    decode_record,
    encode_control,
    encode_record,
    record_key,
)
from stream.merging import holders, partition_of
from stream.pseudonym import Pseudonymiser
from stream.rotation import Families
from stream.rules import RULES_VERSION
from tests.archives import DAY_MICROSECONDS, FIRST_DAY, LEDGER_ID, RECEIVED_AT, SIGNER, LogRecord, write
from tests.counters import KEY, accept

NEW_KEY: Final = b"another key that only the tests use, 32 bytes or more"
OLD: Final = Pseudonymiser(KEY)
DAYS: Final = 4

Logs = dict[int, list[LogRecord]]
Json = dict[str, Any]


class Writer:
    """What intake and the ledger workers append."""

    def __init__(self, partitions: int, chance: Any, ledger_id: str = LEDGER_ID) -> None:
        """A ledger just begun."""
        self.logs: Logs = {number: [] for number in range(partitions)}
        self._chance, self._families = chance, Families()
        self.at = RECEIVED_AT
        self._day = 0
        self._again: list[tuple[int, Day]] = []
        for number in self.logs:
            for control in (
                Genesis(ledger_id, partitions, number, OLD.fingerprint),
                Epoch(1, RULES_VERSION, EpochSettings(), reference.load().digest),
            ):
                self._append(number, control_key(control), encode_control(control, self.at))
        self.turn()

    def turn(self) -> None:
        """The business day turns everywhere; in some partitions again a little later, as two workers may have it."""
        self.at = RECEIVED_AT + self._day * DAY_MICROSECONDS
        for number in self.logs:
            day = Day((FIRST_DAY + timedelta(days=self._day)).toordinal())
            self._append(number, control_key(day), encode_control(day, self.at))
            if self._chance.random() < 0.3:
                self._again.append((number, day))
        self._day += self._chance.choice((1, 1, 3))

    def turn_one(self) -> None:
        """A worker that did not sleep: one partition turns to a day that the others will skip."""
        day = Day((FIRST_DAY + timedelta(days=self._day)).toordinal())
        self.at = RECEIVED_AT + self._day * DAY_MICROSECONDS
        self._append(self._chance.choice(list(self.logs)), control_key(day), encode_control(day, self.at))
        self._day += 1

    def accept(self, admitted: Admitted) -> None:
        """Intake, then the copies that the workers send."""
        self.at += self._chance.choice((0, 1, 1_000_000))
        if self._again and self._chance.random() < 0.2:
            number, day = self._again.pop()
            self._append(number, control_key(day), encode_control(day, self.at))
        value = encode_record(admitted.subject, admitted.event, self.at)
        key = record_key(admitted.subject, admitted.event)
        if isinstance(admitted.event, OpeningBalance):
            for number in self.logs:
                self._append(number, key, value)
            return
        subject = admitted.subject or ""
        for number in {self._partition(one) for one in holders(subject, admitted.event)}:
            self._append(number, key, value)
        for forward in self._families.arrive(subject, admitted.event):
            copy = encode_record(forward.to, forward.copy.event, self.at, forward.copy.sent_under)
            self._append(self._partition(forward.to), forward.to.encode(), copy)

    def _partition(self, subject: str) -> int:
        return partition_of(subject, len(self.logs))

    def _append(self, partition: int, key: bytes, value: bytes) -> None:
        log = self.logs[partition]
        begin = log[-1].offset + 1 if log else 0
        log.append(LogRecord(begin + (begin > 0 and self._chance.random() < 0.1), self.at // 1000, key, value))


def made(events: Iterable[Json], partitions: int, chance: Any) -> Logs:
    """The logs of a ledger at rest that holds the events, in any order, some of them twice."""
    accepted, _ = accept(events)
    accepted += chance.sample(accepted, len(accepted) // 5)
    chance.shuffle(accepted)
    writer = Writer(partitions, chance)
    turns = {chance.randrange(len(accepted) + 1) for _ in range(DAYS - 2)}
    for number, admitted in enumerate(accepted):
        if number in turns:
            (writer.turn_one if chance.random() < 0.3 else writer.turn)()
        writer.accept(admitted)
    writer.turn()
    return writer.logs


def archived(folder: Path, logs: Logs, segment_records: int = 50) -> Archive:
    """The archive of some logs."""
    write(folder, logs, segment_records)
    return Archive.open(str(folder))


def rotate(archive: Archive, folder: Path, key: bytes, files: Files | None = None) -> Succession:
    """Under the newer key, in another folder."""
    rename = Pseudonymiser(key)
    found = plan(archive, rename)
    return Rotation(found, files or Files(str(folder)), rename, SIGNER, 40).run(lambda done: None)


def fitting_key(archive: Archive, number: int = 0) -> bytes:
    """The first of many keys to which the archive can be rotated: some would turn round who stands of two rivals."""
    key = NEW_KEY + b" %d" % number
    try:
        plan(archive, Pseudonymiser(key))
    except LampitError as refused:
        assert "make another key" in str(refused)
        return fitting_key(archive, number + 1)
    return key


@lru_cache(maxsize=4)
def records(archive: Archive) -> list[tuple[int, LedgerRecord]]:
    """The events of an archive that is not written any more, with the partition each lies in, copies too."""
    found = [(record.partition, decode_record(record.value or b"")) for record in archive.records()]
    return [(partition, one) for partition, one in found if isinstance(one, LedgerRecord)]


def heard(archive: Archive) -> list[Heard]:
    """What the audit counts by: every event, and when it was accepted."""
    found = [one for _, one in records(archive) if one.forwarded_from is None]
    return [Heard(one.received_at, one.subject, one.event) for one in found]


def subjects(archive: Archive) -> set[str]:
    """Every id that stands anywhere in an archive."""
    found: set[str] = set()
    for _, one in records(archive):
        if one.subject is not None:
            found |= {one.subject, *holders(one.subject, _event(one))}
        if one.forwarded_from is not None:
            found.add(one.forwarded_from)
    return found


def _event(record: LedgerRecord) -> Event:
    assert not isinstance(record.event, OpeningBalance)
    return record.event


def common_days(archive: Archive) -> list[int]:
    """The days for which every partition has a record, ordinals."""
    found: list[set[int]] = []
    for partition in archive.partitions():
        decoded = [decode_record(record.value or b"") for record in archive.records(Filter({partition}))]
        found.append(
            {one.control.day for one in decoded if isinstance(one, ControlRecord) and isinstance(one.control, Day)}
        )
    return sorted(set.intersection(*found))


def by_known_day(archive: Archive, days: Sequence[int], names: Pseudonymiser | None = None) -> list[list[str]]:
    """The events, without copies, that lie before the first record of each of the days, those behind the day before.

    names: what ids are turned into, so that two archives can be compared.
    """
    found: list[set[tuple[str, str]]] = [set() for _ in range(len(days) + 1)]
    for partition in archive.partitions():
        stage, turned = 0, set()
        for record in archive.records(Filter({partition})):
            decoded = decode_record(record.value or b"")
            if not isinstance(decoded, LedgerRecord):
                control = decoded.control
                if isinstance(control, Day) and control.day in days and control.day not in turned:
                    turned.add(control.day)
                    stage += 1
            elif decoded.forwarded_from is None:
                subject = decoded.subject
                shown = names(subject) if names is not None and subject is not None else subject
                event = decoded.event
                found[stage].add((str(shown), f"{event.source} {event.id} {event.time} {decoded.received_at}"))
    return [sorted(f"{subject} {event}" for subject, event in of_day) for of_day in found]
