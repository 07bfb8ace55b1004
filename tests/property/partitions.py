"""Several partitions of the ledger without Kafka: logs, stores, and what was published, driven step by step.

In: accepted events in the order in which intake writes them. Out: coverage records and lists of anomalies as subscribers
see them. A step can be cut short as a kill would: between the store's batch, the sending of copies, and its note.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from agents.store import FORMAT, BarrierRecord, Meta
from agents.turns import at_once
from lampit import reference
from stream import closing_parts, coverage
from stream.admission import Admitted
from stream.contribution import Change, PeriodCell
from stream.events import Event, OpeningBalance
from stream.merging import Copy, Forward, holders, partition_of
from stream.opening import Book
from stream.partition import Cell, Draft
from stream.regions import TRANSIT
from stream.rollup import Partial, Rollup
from stream.rules import Rules

Arrival = tuple[str, str, Event] | OpeningBalance | date
"""What a record of the log says to its partition: (holder, sent under, event), a balance, or a day."""

NO_LIMIT = 2**31

Lists = dict[str, set[tuple[str, str, str]]]


class MemoryStore:
    """What `agents.store.Store` is, in memory: a thousand of them are made and lost in a moment."""

    def __init__(self, path: Path) -> None:
        """Empty; the path is nobody's."""
        self.path = path
        self.meta: Meta | None = None
        self._persons: dict[str, list[Event]] = {}
        self._copies: dict[str, list[Copy]] = {}
        self._cells: dict[Cell, int] = {}
        self._totals: dict[str, int] = {}
        self._balances: list[OpeningBalance] = []
        self._due_columns: dict[int, set[str]] = {}
        self._due_subjects: set[str] = set()
        self._outbox: dict[Forward, None] = {}
        self._changes: dict[PeriodCell, Change] = {}
        self._unbarred: set[PeriodCell] = set()
        self._unbarred_balances: list[OpeningBalance] = []
        self._barriers: dict[bytes, tuple[bytes, bytes]] = {}

    def close(self) -> None:
        """Nothing to give back."""

    def persons(self, subjects: Sequence[str]) -> list[list[Event] | None]:
        return [self._persons.get(subject) for subject in subjects]

    def copies(self, subject: str) -> list[Copy]:
        return self._copies.get(subject, [])

    def linked(self) -> set[str]:
        return set(self._copies)

    def every_person(self) -> Iterator[tuple[str, list[Event]]]:
        yield from self._persons.items()

    def cells(self, cells: Sequence[Cell]) -> list[int]:
        return [self._cells.get(cell, 0) for cell in cells]

    def totals(self, columns: Sequence[str]) -> list[int]:
        return [self._totals.get(column, 0) for column in columns]

    def days(self, after: int, through: int) -> Iterator[tuple[Cell, int]]:
        yield from ((cell, tally) for cell, tally in self._cells.items() if after < cell[0] <= through)

    def changes(self, cells: Sequence[PeriodCell]) -> list[Change]:
        return [self._changes.get(cell, Change()) for cell in cells]

    def unbarred(self, through: int) -> Iterator[PeriodCell]:
        yield from [cell for cell in self._unbarred if cell[0] <= through]

    def unbarred_balances(self) -> list[OpeningBalance]:
        return list(self._unbarred_balances)

    def barrier_records(self, count_max: int) -> list[BarrierRecord]:
        return [(order, *pair) for order, pair in sorted(self._barriers.items())][:count_max]

    def barriers_published(self, records: Iterable[BarrierRecord]) -> None:
        for order, _, _ in records:
            del self._barriers[order]

    def balances(self) -> list[OpeningBalance]:
        return list(self._balances)

    def due_columns(self) -> set[str]:
        return set().union(*self._due_columns.values())

    def due_subjects(self, count_max: int) -> list[str]:
        return sorted(self._due_subjects)[:count_max]

    def mark_due(self, subjects: Iterable[str]) -> None:
        self._due_subjects.update(subjects)

    def outbox(self) -> list[Forward]:
        return list(self._outbox)

    def sent(self, forwards: Iterable[Forward]) -> None:
        for forward in forwards:
            self._outbox.pop(forward, None)

    def published(self, subjects: Iterable[str], through: int) -> None:
        self._due_columns = {offset: columns for offset, columns in self._due_columns.items() if offset > through}
        self._due_subjects.difference_update(subjects)
        assert self.meta is not None
        self.meta = msgspec.structs.replace(self.meta, published_through=through)

    def write(
        self, draft: Draft, meta: Meta, due_columns: Collection[str], barrier_records: Iterable[BarrierRecord] = ()
    ) -> None:
        closings = draft.closings
        self._changes |= closings.changes
        self._unbarred = (self._unbarred - closings.barred) | closings.unbarred
        told = [balance for barrier in closings.barriers for balance in barrier.balances]
        waiting = [*self._unbarred_balances, *(draft.balances if closings.are_kept else ())]
        self._unbarred_balances = [balance for balance in waiting if balance not in told]
        self._barriers |= {order: (key, value) for order, key, value in barrier_records}
        self._persons |= draft.persons
        self._copies |= draft.copies
        self._cells |= draft.cells
        self._totals |= draft.totals
        self._balances += draft.balances
        self._outbox |= dict.fromkeys(draft.outbox)
        self._due_columns[meta.next_offset] = set(due_columns)
        self._due_subjects.update(draft.anomalies)
        self.meta = meta


@dataclass
class Cluster:
    """The logs, and what has been published from them. make_store: agents.store.Store, or the one in memory."""

    partitions: int
    folder: Path
    make_store: Callable[[Path], Any] = MemoryStore
    rules: Rules = field(default_factory=Rules)
    logs: list[list[Arrival]] = field(init=False)
    desks: list[Desk] = field(init=False)
    partials: dict[tuple[int, str], Partial] = field(default_factory=dict)
    lists: Lists = field(default_factory=dict)
    closing_parts: list[tuple[bytes, bytes | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing sent."""
        self.logs = [[] for _ in range(self.partitions)]
        self.desks = [Desk(self, number) for number in range(self.partitions)]

    def accept(self, admitted: Admitted) -> None:
        """Intake: to the person's partition, a change of NIK to both, a balance to all."""
        event = admitted.event
        if isinstance(event, OpeningBalance):
            for log in self.logs:
                log.append(event)
            return
        subject = admitted.subject or ""
        for holder in holders(subject, event):
            self.logs[partition_of(holder, self.partitions)].append((holder, subject, event))

    def turn(self, day: date) -> None:
        """The day record."""
        for log in self.logs:
            log.append(day)

    def compact(self) -> None:
        """What Kafka may do at any time: of each key of the closing parts the last one is left, and no tombstone."""
        newest = {key: number for number, (key, _) in enumerate(self.closing_parts)}
        kept = [(key, value) for number, (key, value) in enumerate(self.closing_parts) if newest[key] == number]
        self.closing_parts[:] = [pair for pair in kept if pair[1] is not None]

    def close(self) -> None:
        """Give the folders back."""
        for desk in self.desks:
            desk.close()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to apply, send or publish."""
        return not any(desk.is_busy for desk in self.desks)

    def settle(self) -> None:
        """Until nothing is left to do."""
        steps = 0
        while not self.is_quiet:
            for desk in self.desks:
                desk.apply(100)
                desk.publish()
            steps += 1
            assert steps < 1_000, "copies are sent for ever"

    def records(self, day: date) -> dict[str, dict[str, Any]]:
        """The coverage records of everything published."""
        names = coverage.Names(reference.load(), day.toordinal())
        rollup = Rollup(places=names.reference.places)
        rollup.apply(0, TRANSIT, Partial())
        for (number, region), part in self.partials.items():
            rollup.apply(number, region, part)
        figures = rollup.take_changed(day.toordinal())
        return {code: coverage.record(code, figure, names) for code, figure in figures}


class Desk:
    """What `agents.desk` does in one partition, without Kafka."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        """An empty store."""
        self.cluster = cluster
        self.number = number
        self.caught_up_at = 0
        self._other: Any = None
        self._take_over(self._new_store())

    def _new_store(self) -> Any:
        return self.cluster.make_store(Path(tempfile.mkdtemp(dir=self.cluster.folder)))

    def _open(self, store: Any) -> None:
        self.store = store
        meta = self.store.meta
        self.next, self.day = (meta.next_offset, meta.day) if meta else (0, None)
        self.book = Book(self.store.balances(), reference.load().places)
        self.linked = self.store.linked()
        self.columns, self.subjects = self.store.due_columns(), dict.fromkeys(self.store.due_subjects(NO_LIMIT))

    def restart(self) -> None:
        """A kill: all that is not in the store is lost."""
        self._take_over(self.store)

    def lose_store(self) -> None:
        """A kill, and the store is gone."""
        self.store.close()
        self._take_over(self._new_store())

    def change_worker(self) -> None:
        """Another worker takes the partition over, with the store it had before; the next change brings this one back."""
        other = self._other or self._new_store()
        self._other = self.store
        self._take_over(other)

    def other_thaws(self, count: int) -> None:
        """The worker that had the partition before applies that many records in one batch, not knowing that it is another's
        now; the fence keeps it from publishing."""
        mine, caught_up_at = self.store, self.caught_up_at
        self._open(self._other)
        self.caught_up_at = 0
        self.apply(count)
        self._open(mine)
        self.caught_up_at = caught_up_at

    def close(self) -> None:
        """Give the folders back."""
        for store in (self.store, self._other):
            if store is not None:
                store.close()

    def _take_over(self, store: Any) -> None:
        """As a ledger worker opens a store."""
        self.caught_up_at = len(self.cluster.logs[self.number])
        lists = self.cluster.lists
        mine = [one for one in lists if partition_of(one, self.cluster.partitions) == self.number]
        self.given_out = frozenset(mine)
        is_doubtful = store.meta is not None and store.meta.is_doubtful
        if store.meta is None or is_doubtful:
            store.mark_due(one for one in mine if lists[one] or is_doubtful)
        self._open(store)

    @property
    def is_busy(self) -> bool:
        """Whether anything is left to apply, send or publish."""
        waiting = self.next < len(self.cluster.logs[self.number])
        return (
            waiting
            or bool(self.store.outbox())
            or bool(self.columns)
            or bool(self.subjects)
            or bool(self.store.barrier_records(1))
        )

    def _draft(self) -> Draft:
        return Draft(self.store, self.cluster.rules, reference.load(), self.book, self.day, self.linked)

    def apply(self, count: int) -> None:
        """Apply that many records of the log in one batch."""
        batch = self.cluster.logs[self.number][self.next : self.next + count]
        if not batch:
            return
        draft = self._draft()
        balances: list[OpeningBalance] = []
        run: list[tuple[str, Event]] = []
        for offset, arrival in enumerate(batch, self.next + 1):
            if isinstance(arrival, OpeningBalance):
                balances.append(arrival)
            elif isinstance(arrival, date):
                at_once(draft.add_balances(balances))
                draft.add_events(run)
                run, balances = [], []
                draft.advance(arrival.toordinal(), offset)
            elif arrival[0] == arrival[1] and not hasattr(arrival[2], "new_subject"):
                run.append((arrival[1], arrival[2]))
            else:
                draft.add_linked([arrival])
        at_once(draft.add_balances(balances))
        draft.add_events(run)
        if self.next < self.caught_up_at:
            draft.doubt(self.given_out)
        self.next += len(batch)
        meta = self.store.meta or Meta(FORMAT, "ledger", self.number, "settings")
        meta = msgspec.structs.replace(meta, day=draft.day, next_offset=self.next)
        self.store.write(draft, meta, draft.columns - self.columns, self._barrier_records(draft))
        self.book, self.day = draft.book, draft.day
        self.columns |= draft.columns
        self.subjects |= dict.fromkeys(draft.anomalies)
        self.linked |= draft.copies.keys()

    def _barrier_records(self, draft: Draft) -> list[BarrierRecord]:
        found: list[BarrierRecord] = []
        for barrier in draft.closings.barriers:
            periods = self.cluster.rules.periods
            assert periods is not None
            for number, part in enumerate(closing_parts.records(barrier, periods, self.number, 1, "settings")):
                order = barrier.known_day.to_bytes(4) + number.to_bytes(4)
                found.append((order, part.key, closing_parts.encode(part)))
        return found

    def publish(self, *, killed: bool = False) -> None:
        """Figures, lists and copies at once; killed: before the store notes it."""
        if self.next < self.caught_up_at:
            return
        outbox = self.store.outbox()
        for forward in outbox:
            log = self.cluster.logs[partition_of(forward.to, self.cluster.partitions)]
            log.append((forward.to, forward.copy.sent_under, forward.copy.event))
        draft = self._draft()
        for region, part in draft.partials(self.columns).items():
            self.cluster.partials[self.number, region] = part
        if self.day is not None:
            for subject in self.subjects:
                self._give_out(draft.lists(subject))
        barriers = self.store.barrier_records(20)
        self.cluster.closing_parts += [(key, value) for _, key, value in barriers]
        if killed:
            self.restart()
            return
        self.store.barriers_published(barriers)
        self.store.sent(outbox)
        if self.day is not None:
            self.store.published(self.subjects, self.next)
            self.columns, self.subjects = set(), {}

    def _give_out(self, lists: Mapping[str, Any]) -> None:
        for name, found in lists.items():
            self.cluster.lists[name] = {(event.source, event.id, kind) for event, kind in found}
