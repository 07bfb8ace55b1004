"""What of an archive is to be rotated to a newer pseudonym key, and whether it can be.

In: an archive, the new key. Out: `Plan`; LampitError, in one sentence, for an archive that is not at rest behind a turn of
the business day, or whose figures the new key would change. Called by `lampit rotate`; nothing is written.

The days by which events were known decide about closings, so that each event stays between the days it was between. They are
the days to which all partitions turned: closings are made at no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agents.barrier import is_ahead
from agents.errors import ConfigurationError, LampitError
from agents.settings import Settings
from agents.topics import LEDGER
from lampit.audit import log
from lampit.audit.archive import Archive, ArchiveDamaged, on_disk
from lampit.audit.database import in_memory
from stream.archive import Statement, statement
from stream.calendar import iso_day
from stream.events import NikChange
from stream.ledger import (
    Control,
    ControlRecord,
    Day,
    Epoch,
    Genesis,
    LedgerRecord,
    Predecessor,
    decode_record,
)
from stream.merging import partition_of
from stream.pseudonym import Pseudonymiser
from stream.rotation import is_copy, new_ledger_id, turned_round

_TYPES: Final = "('lampit.genesis.v1', 'lampit.epoch.v1', 'lampit.day.v1')"
_COUNT_SQL: Final = """
SELECT count(*), count(DISTINCT person), count(*) FILTER (WHERE "offset" > last_turn)
FROM (SELECT *, coalesce(subject, json_extract_string(record, '$.subject')) AS person FROM ({records})
      WHERE receivedat IS NOT NULL AND NOT contains(record, '"forwardedfrom":"'))
JOIN (VALUES {turns}) AS turn (number, last_turn) ON number = partition
WHERE type <> 'lampit.nik_change.v1' OR CAST('0x' || person[:8] AS BIGINT) % {partitions} = partition
"""


@dataclass(frozen=True)
class Turn:
    """A control record where it lies in the old ledger."""

    offset: int
    timestamp_ms: int
    value: bytes
    control: Control
    time: int


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    genesis: of each partition; turns: of each, the records by which it turned to `days`, ordinals; changes: every change of
    NIK with its subject; heads: the last of each partition; persons: ids with an event, events: without copies, balances
    once for each partition.
    """

    archive: Archive
    fingerprint: str
    genesis: Sequence[Turn]
    turns: Sequence[Sequence[Turn]]
    days: Sequence[int]
    last_epoch: Epoch
    changes: Sequence[tuple[str, NikChange]]
    heads: Sequence[Statement]
    persons: int
    events: int

    @property
    def partitions(self) -> int:
        """As many in the new ledger as in the old one."""
        return len(self.genesis)

    @property
    def records(self) -> int:
        """In the old archive."""
        return sum(entry.records for number in range(self.partitions) for entry in self.archive.segments(number))

    @property
    def new_ledger_id(self) -> str:
        """The id of the new ledger: the same rotation always makes the same."""
        return new_ledger_id(self.heads, self.fingerprint)

    @property
    def time(self) -> int:
        """When the last day turned: what is said anew is said then."""
        return self.turns[0][-1].time

    @property
    def epoch(self) -> Epoch:
        """Figures of the new ledger are newer than all of the old one, at whatever offset."""
        return msgspec.structs.replace(self.last_epoch, epoch=self.last_epoch.epoch + 1)

    def genesis_of(self, partition: int) -> Genesis:
        """The first record of a partition of the new ledger."""
        old = self.genesis[partition].control
        assert isinstance(old, Genesis)
        succeeds = Predecessor(old.ledger_id, old.key_fingerprint, old.keys, self.heads[partition])
        return Genesis(self.new_ledger_id, old.partitions, partition, self.fingerprint, succeeds=succeeds)


def plan(archive: Archive, rename: Pseudonymiser) -> Plan:
    """Look through the archive, which has been verified."""
    with on_disk(archive) as readable, in_memory() as connection:
        records = readable.records_sql()
        controls = _controls(connection, records, archive.partitions())
        genesis = [_genesis(archive, number, of_partition) for number, of_partition in controls.items()]
        days, turns = _turns(controls)
        changes = _changes(connection, records)
        limits = ", ".join(f"({number}, {of_partition[-1].offset})" for number, of_partition in enumerate(turns))
        sql = _COUNT_SQL.format(records=records, turns=limits, partitions=len(genesis))
        ((events, persons, late),) = connection.execute(sql).fetchall()
    first = genesis[0].control
    assert isinstance(first, Genesis)
    if late:
        raise LampitError(
            f"The archive holds {late:,} events behind its last business day, {iso_day(days[-1])}: stop intake, wait until the "
            "day has turned and the archive worker has written that, and rotate then."
        )
    _require_another_key(first, rename)
    _require_same_order(changes, rename)
    heads = [statement(archive.header(number), archive.segments(number)[-1]) for number in archive.partitions()]
    epochs = [
        one.control for of_partition in controls.values() for one in of_partition if isinstance(one.control, Epoch)
    ]
    return Plan(
        archive,
        # As the ids: nested over the one that the old ledger shows.
        rename(first.key_fingerprint),
        genesis,
        turns,
        days,
        max(epochs, key=lambda one: one.epoch),
        changes,
        heads,
        persons,
        events,
    )


def _controls(connection: Any, records: str, partitions: Sequence[int]) -> dict[int, list[Turn]]:
    """The control records of each partition, in order."""
    found: dict[int, list[Turn]] = {number: [] for number in partitions}
    rows = connection.execute(
        f'SELECT partition, "offset", timestamp_ms, record FROM ({records}) WHERE type IN {_TYPES} ORDER BY 1, 2'
    ).fetchall()
    for partition, offset, timestamp_ms, text in rows:
        decoded = decode_record(text.encode())
        assert isinstance(decoded, ControlRecord)
        found[partition].append(Turn(offset, timestamp_ms, text.encode(), decoded.control, decoded.time))
    return found


def _genesis(archive: Archive, partition: int, controls: Sequence[Turn]) -> Turn:
    if not controls or not isinstance(controls[0].control, Genesis):
        raise ArchiveDamaged(f"Partition {partition} of the archive does not begin with a genesis record.")
    return controls[0]


def _turns(controls: Mapping[int, Sequence[Turn]]) -> tuple[list[int], list[list[Turn]]]:
    """The days to which all partitions turned, and the records by which each did."""
    reached: list[dict[int, Turn]] = []
    for of_partition in controls.values():
        turned: dict[int, Turn] = {}
        for one in of_partition:
            # What the ledger worker refuses, or has reached, turns nothing.
            if isinstance(one.control, Day):
                is_refused = is_ahead(one.control.day, one.timestamp_ms)
                if not is_refused and one.control.day > max(turned, default=0):
                    turned[one.control.day] = one
        reached.append(turned)
    last = {max(turned, default=0) for turned in reached}
    if len(last) > 1 or last == {0}:
        raise LampitError(
            "The archive does not end with the same business day in every partition: stop intake, wait until the day has "
            "turned and the archive worker has written that, and rotate then."
        )
    days = sorted(set.intersection(*map(set, reached)))
    return days, [[turned[day] for day in days] for turned in reached]


def _changes(connection: Any, records: str) -> list[tuple[str, NikChange]]:
    """Every change of NIK, with its subject."""
    rows = connection.execute(f"SELECT record FROM ({records}) WHERE type = 'lampit.nik_change.v1'").fetchall()
    found = [decode_record(text.encode()) for (text,) in rows]
    events = [(one.subject, one.event) for one in found if isinstance(one, LedgerRecord) and not one.forwarded_from]
    return [(subject, event) for subject, event in events if subject and isinstance(event, NikChange)]


def _require_another_key(first: Genesis, rename: Pseudonymiser) -> None:
    """The newest of a ledger's keys can be told, and the first of two: who lost one of them gains nothing by it."""
    has, makes = {first.key_fingerprint}, {rename.fingerprint}
    if isinstance(first.succeeds, Predecessor):
        has.add(first.succeeds.key_fingerprint)
        makes.add(rename(first.succeeds.key_fingerprint))
    if has & makes:
        raise ConfigurationError(
            "The key named in --new-key is one that this ledger has: make another (`openssl rand -hex 32 > FILE`)."
        )


def _require_same_order(changes: Sequence[tuple[str, NikChange]], rename: Pseudonymiser) -> None:
    turned = turned_round(changes, rename)
    if turned:
        source, name = turned[0]
        raise LampitError(
            f"{len(turned)} changes of NIK of which only the order of the ids says which one stands (the first: {source} "
            f"{name}) would be decided the other way under this key: make another key and rotate to that one."
        )


def events_behind(archive: Archive, settings: Settings) -> int:
    """How many events the broker's ledger holds that the archive does not; copies and control records are made anew."""
    partitions = len(archive.partitions())
    first = [decode_record(record.value or b"") for _, record in log.read(settings, LEDGER, {0: 0}, {0: 1})]
    ids = [
        one.control.ledger_id for one in first if isinstance(one, ControlRecord) and isinstance(one.control, Genesis)
    ]
    if ids != [archive.header(0).ledger_id]:
        raise ConfigurationError(
            f"lampit.ledger at {settings.bootstrap_servers} is not the ledger that was archived: name its "
            "brokers in --bootstrap."
        )

    async def counted() -> int:
        stretch = log.stretch(settings, LEDGER, archive.next_offsets())
        return sum(
            [
                sum(_is_left_behind(record.value or b"", partition, partitions) for record in records)
                async for partition, records in stretch
            ]
        )

    return asyncio.run(counted())


def _is_left_behind(value: bytes, partition: int, partitions: int) -> bool:
    """Whether a record is an event, and not one that is kept for another partition's sake."""
    if is_copy(value):
        return False
    decoded = decode_record(value)
    if not isinstance(decoded, LedgerRecord):
        return False
    return not isinstance(decoded.event, NikChange) or partition_of(decoded.subject or "", partitions) == partition
