"""The closings as they become known: the parts of all partitions, added up whenever all have crossed the same barrier.

In: the records of `stream.closing_parts`, of all partitions, in any order between them; and what has been published. Out:
the closing records that are new at a known day. Pure; called by the roll-up (`agents.closings`), which publishes them. All
that takes as long as there are cells, of which a country has a million a month, goes in steps: the roll-up does other work
between two of them.

What a partition says is kept apart by known day until all have said it: one may be days ahead. Partitions that were away
may have skipped a day; closings are made at those days that all have.
"""

from __future__ import annotations

import operator
import sys
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Any, NamedTuple, Protocol

from stream.closing import revised
from stream.closing_parts import BalanceRecord, BarrierRecord, ChangeRecord, ClosedRecord, ClosingPart, change_key
from stream.closing_sums import Told
from stream.contribution import Change, PeriodCell, scheduled
from stream.count import Context
from stream.engine import close_month
from stream.events import OpeningBalance
from stream.excess import excess
from stream.opening import Book
from stream.packed import pack, unpack
from stream.periods import BEFORE, Period, Periods
from stream.reference import Reference
from stream.regions import lineage
from stream.rules import Rules

Json = dict[str, Any]

NO_DAY = date.min.toordinal()
"""Stands for the last closed day where none is: no period is over by then."""

_DAY_BYTES = 4


class Published(Protocol):
    """The closings that were published."""

    @property
    def regions(self) -> AbstractSet[str]:
        """The regions that were closed in any period."""

    def latest(self, region: str, period: str) -> Mapping[str, Any] | None:
        """The latest revision of a region's period."""


class Work(NamedTuple):
    """What is to be closed at a known day.

    dirty: per column whose cells changed, the first period they changed in. first, last: the periods to go through; those from
    `all_from` on are made for every region.
    """

    known_day: int
    dirty: Mapping[str, int]
    first: int
    last: int
    all_from: int


class Beginning(NamedTuple):
    """Where a takeover begins: the day that is closed, whether under other settings, and whether these have all to say anew."""

    closed_day: int | None
    are_others: bool
    all_is_new: bool


class Cell:
    """A cell of all partitions, as there is one for each place and month.

    said: of each partition the last word, its known day and the change, packed, since these are most of the memory; empty:
    none yet. sum: of all changes.
    """

    __slots__ = ("said", "sum")

    def __init__(self, partitions: int) -> None:
        """Nothing said."""
        self.said = [b""] * partitions
        self.sum = Change()


class Closer:
    """What is known of all partitions, as of the last day that was closed, and what waits for the next."""

    def __init__(self, rules: Rules, periods: Periods, reference: Reference, partitions: int, settings: str) -> None:
        """Nothing known. settings: those the parts have to be made with."""
        self._rules = rules
        self._periods = periods
        self._reference = reference
        self._partitions = partitions
        self._settings = settings
        self._cells: dict[PeriodCell, Cell] = {}
        self._waiting: defaultdict[int, list[ChangeRecord | BalanceRecord]] = defaultdict(list)
        self._barriers: defaultdict[int, dict[int, BarrierRecord]] = defaultdict(dict)
        self._closed: ClosedRecord | None = None
        self._book = Book((), reference.places)
        self._stated: set[str] = set()
        self._dirty: dict[str, int] = {}
        self._all_is_new = False
        self._beginning: Beginning | None = None
        self._first_day = 0
        self.closed_day: int | None = None
        self.superseded: list[bytes] = []
        self._others: defaultdict[int, list[bytes]] = defaultdict(list)

    def add(self, part: ClosingPart) -> None:
        """Take one record; what other settings made is not for this roll-up."""
        if isinstance(part, ClosedRecord):
            self._closed = part
        elif part.settings != self._settings:
            # Balances are of partition 0.
            self._others[0 if isinstance(part, BalanceRecord) else part.partition].append(part.key)
        elif isinstance(part, BarrierRecord):
            self._barriers[part.known_day.toordinal()][part.partition] = part
        else:
            self._waiting[part.known_day.toordinal()].append(part)

    def head(self, partition: int, settings: str | None) -> None:
        """A partition is counted under some settings, from here on: what it said under others before is of no use any more.

        Only then: the settings of a newer epoch, which this roll-up has not come to yet, are others too.
        """
        if settings in (None, self._settings):
            self.superseded += self._others.pop(partition, ())

    def take_over(self, published_through: int | None) -> Generator[None, None, list[ClosedRecord]]:
        """Begin where an earlier roll-up ended, once all it knew has been added; in a step for each cell.

        published_through: the greatest known day of any published closing. Those before it are closed, also where the record
        that says so is not seen yet: behind a transaction of somebody else that is still open. Under other settings nothing
        is closed again that was: their difference shows at the next day. What is returned, one record or none, has to be
        published before anything is closed: by it the next roll-up tells a day that was cut short under these settings from
        those.
        """
        if self._beginning is None:  # of one that was given up cells may be taken in: it begins where it did
            self._first_day = published_through or 0
            self._beginning = self._begins(published_through)
        self.closed_day, are_others, all_is_new = self._beginning
        if self.closed_day is None:
            return []
        yield from self._apply(self.closed_day)
        self._dirty, self._all_is_new = {}, all_is_new
        return [ClosedRecord(date.fromordinal(self.closed_day), self._settings, all_is_new=True)] if are_others else []

    def _begins(self, published_through: int | None) -> Beginning:
        closed = self._closed
        # Where no day was ever closed to its end, nothing is superseded yet but what other settings made.
        of_others = bool(self.superseded or self._others)
        are_others = of_others if closed is None else closed.settings != self._settings
        if closed is None and not are_others:
            return Beginning(None, are_others=False, all_is_new=False)
        closed_day = NO_DAY if closed is None else closed.known_day.toordinal()
        if are_others:
            closed_day = max(closed_day, published_through or NO_DAY)
        return Beginning(closed_day, are_others, are_others or (closed is not None and closed.all_is_new))

    def next_day(self) -> int | None:
        """The next known day that all partitions have reached with the same balances, an ordinal."""
        for day in sorted(self._barriers):
            barriers = self._barriers[day].values()
            is_new = day >= self._first_day and (self.closed_day is None or day > self.closed_day)
            if is_new and len(barriers) == self._partitions and len({one.balances for one in barriers}) == 1:
                return day
        return None

    def begin(self, known_day: int) -> Generator[None, None, Work]:
        """Take in what was known at the end of a day, in a step for each cell; what has to be closed by it."""
        yield from self._apply(known_day)
        ended = BEFORE if self.closed_day is None else self._periods.last_ended(self.closed_day)
        all_from = 0 if self._all_is_new else ended + 1
        first = max(0, min([all_from, *self._dirty.values()]))
        return Work(known_day, self._dirty, first, self._periods.last_ended(known_day), all_from)

    def _apply(self, through: int) -> Generator[None, None, None]:
        """Whoever gives up between two steps can do it again: what a day said is kept until all of it is taken in."""
        for day in sorted(day for day in self._waiting if day <= through):
            balances: list[OpeningBalance] = []
            for part in self._waiting[day]:
                yield
                if isinstance(part, BalanceRecord):
                    balances.append(part.balance())
                    continue
                index, column = part.cell(self._periods)
                if self._replace(part, (index, column)):
                    self._dirty[column] = min(index, self._dirty.get(column, index))
            self._add_balances(balances)
            del self._waiting[day]

    def _add_balances(self, balances: list[OpeningBalance]) -> None:
        places = self._reference.places
        self._stated.update(places.at(one.region, one.occurred_on) for one in balances)
        news = self._book.news(balances)
        if news:
            self._book = Book((*self._book.events, *news), places)
            self._all_is_new = True

    def _replace(self, part: ChangeRecord, cell: PeriodCell) -> bool:
        """Take a partition's newer word on a cell; whether it says something else."""
        # Also a cell of which nothing but zeros is read is known: what was closed of its place goes on.
        held = self._cells.get(cell)
        if held is None:
            held = self._cells[cell[0], sys.intern(cell[1])] = Cell(self._partitions)
        known_day, change = part.known_day.toordinal(), part.change()
        before = held.said[part.partition]
        before_day = int.from_bytes(before[:_DAY_BYTES]) if before else known_day
        if before_day > known_day:
            self.superseded.append(part.key)
            return False
        if before_day < known_day:
            older = date.fromordinal(before_day)
            self.superseded.append(change_key(part.column, part.period, part.partition, older, self._settings))
        held.said[part.partition] = known_day.to_bytes(_DAY_BYTES) + pack(change)
        old = unpack(before[_DAY_BYTES:]) if before else Change()
        if change == old:
            return False
        held.sum = Change(*map(operator.sub, map(operator.add, held.sum, change), old))
        return True

    def closings(self, work: Work, published: Published) -> Iterator[Json | None]:
        """Period by period the closings that are new, in order; IdentityError when one does not add up.

        None for a step without one: a whole country takes minutes.
        """
        context = Context(self._rules, self._reference, self._book)
        stamp = self._stamp(work.known_day)
        told = yield from self._told(work)
        # Whoever publishes may do so later than this goes on.
        made: set[str] = set()
        for index in range(work.first, work.last + 1):
            period = self._periods.period(index)
            by_event, by_report = yield from told.sums(index)
            places = yield from self._places(told, period, published, published.regions | made)
            only = None if index >= work.all_from else self._changed(work.dirty, period)
            for record in close_month(period, by_event, by_report, context, places, work.known_day, only):
                new = None if record is None else revised(record, published.latest(record["region"], period.name))
                if new is None:
                    yield None
                else:
                    made.add(new["region"])
                    yield {**new, **stamp}

    def _told(self, work: Work) -> Generator[None, None, Told]:
        """What all partitions have said, in a step for each cell."""
        told = Told(self._stated)
        for (index, column), cell in self._cells.items():
            told.add(index, column, cell.sum, is_before=index < work.first)
            yield
        for (index, column), change in scheduled(self._book, self._periods).items():
            told.of_period[index].append((column, change))
        return told

    def _places(
        self, told: Told, period: Period, published: Published, closed: AbstractSet[str]
    ) -> Generator[None, None, set[str]]:
        """The places that are closed in a period, in a step for each of them. closed: the regions that were, in any."""
        code, at = self._reference.places.code, self._reference.places.at
        places: set[str] = set()
        covered: set[str] = set()
        for place in told.places:
            # What was closed goes on, with nobody in it.
            if place in told.lived_in or code(place, period.closed_on) in closed:
                places.add(place)
                covered.update(lineage(code(place, period.closed_on)))
            yield
        # Also where nothing that lies in it was: a day that was cut short told of the region and not yet of those below.
        for region in closed - covered:
            if published.latest(region, period.name) is not None:
                places.add(at(region, period.closed_on))
            yield
        return places

    def _changed(self, dirty: Mapping[str, int], period: Period) -> set[str]:
        """The regions whose closing may have changed in a period or before it, by its codes, and all that they lie in."""
        columns = {column for column, first in dirty.items() if first <= period.index}
        places = {column.partition("@")[0] for column in columns}
        for day in (period.opened_on, period.closed_on):
            places |= excess(self._book, day, period.closed_on).regions_of(columns)
        codes = {self._reference.places.code(place, period.closed_on) for place in places}
        return {region for code in codes for region in lineage(code)}

    def _stamp(self, known_day: int) -> Json:
        barriers = sorted(self._barriers[known_day].items())
        return {
            "epoch": max(barrier.epoch for _, barrier in barriers),
            "position": {str(partition): barrier.offset for partition, barrier in barriers},
        }

    def finish(self, work: Work) -> tuple[ClosedRecord, list[bytes]]:
        """All closings of the day are published: the record that says so, and the keys that nobody needs any more."""
        self.closed_day = work.known_day
        self._dirty = {}
        self._all_is_new = False
        closed = ClosedRecord(date.fromordinal(work.known_day), self._settings)
        for day in sorted(day for day in self._barriers if day < work.known_day):
            self.superseded += [barrier.key for barrier in self._barriers.pop(day).values()]
        superseded, self.superseded = self.superseded, []
        return closed, superseded
