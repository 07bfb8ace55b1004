"""One partition of the ledger: a batch of records in, the changes of its store out.

In: accepted events and control records in log order, and a `Reader` of the store as it stands. Out: a `Draft` with all
that has to be written, in one atomic batch, and what has to be published. Called by the ledger worker, live and in
catch-up alike. Nothing here knows where the store or the log is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from stream import closing_cells
from stream.closing_cells import ClosingCells
from stream.count import Context, Nowhere, Part, count, post
from stream.engine import partial
from stream.events import Event, MoveOut, OpeningBalance
from stream.excess import excess
from stream.merging import Copy, Forward, Hold, to_send
from stream.opening import Book
from stream.presumed import places_named
from stream.reference import Reference
from stream.regions import TRANSIT
from stream.rollup import Partial
from stream.rules import Rules
from stream.standing import Anomaly

Cell = tuple[int, str]
"""(day, column): where postings of one day add up; a column is a place's code or a balance's own column."""

CELLS_OF_A_STEP: Final = 8


class Reader(closing_cells.Reader, Protocol):
    """The store as the last written batch left it."""

    def persons(self, subjects: Sequence[str]) -> list[list[Event] | None]:
        """The events held of each subject, None for those unknown."""

    def copies(self, subject: str) -> list[Copy]:
        """The copies held under a subject of several NIKs."""

    def every_person(self) -> Iterator[tuple[str, list[Event]]]:
        """All persons."""

    def cells(self, cells: Sequence[Cell]) -> list[int]:
        """The tally of each cell, 0 where nothing was posted."""

    def days(self, after: int, through: int) -> Iterator[tuple[Cell, int]]:
        """The cells of the days in (after, through] that hold something."""

    def totals(self, columns: Sequence[str]) -> list[int]:
        """Each column's sum up to the store's day."""


class Draft:
    """The changes of one batch, over a store that stays as it is until they are written.

    persons, copies, cells, totals: new values. columns: those whose figure may have changed. anomalies: the present list of
    each person for whom it changed; None where `lists` tells it: of several NIKs, and where a balance changed it. balances:
    those that arrived. outbox: copies to be sent. closings: what is posted to closings, and the days that turned. day: the
    business day reached, None before the first.
    """

    def __init__(
        self,
        reader: Reader,
        rules: Rules,
        reference: Reference,
        book: Book,
        day: int | None,
        linked: AbstractSet[str] = frozenset(),
    ) -> None:
        """No changes yet. linked: the subjects for which the store holds copies, or that a change of NIK names."""
        self._reader = reader
        self._rules = rules
        self._reference = reference
        self.book = book
        self.day = day
        self.persons: dict[str, list[Event]] = {}
        self.copies: dict[str, list[Copy]] = {}
        self.outbox: list[Forward] = []
        self._linked = linked
        self.closings = ClosingCells(reader, rules.periods)
        self.cells: dict[Cell, int] = {}
        self.totals: dict[str, int] = {}
        self.columns: set[str] = set()
        self.anomalies: dict[str, Sequence[Anomaly] | None] = {}
        self.balances: list[OpeningBalance] = []
        self._named: set[str] = set()

    def add_events(self, arrivals: Iterable[tuple[str, Event]]) -> None:
        """Add events to their persons' sets; post what each set now counts as, less what it counted as before."""
        by_person: dict[str, list[Event]] = {}
        for subject, event in arrivals:
            by_person.setdefault(subject, []).append(event)
        linked = [subject for subject in by_person if self._is_linked(subject)]
        if linked:
            self.add_linked((one, one, event) for one in linked for event in by_person.pop(one))
        context = Context(self._rules, self._reference, self.book)
        moved: dict[Cell, int] = {}
        for subject, held in self._load(by_person):
            new = _news(by_person[subject], held)
            if not new:
                continue
            events = [*held, *new]
            # Of one event more, what counted in between is what counted before.
            self._name(new if len(new) == 1 and not self.balances else events)
            before = count({subject: held}, context) if held else NO_PART
            after = count({subject: events}, context)
            self.persons[subject] = events
            self._replace(subject, moved, before, after)
            self.closings.post({subject: held}, context, [before], -1)
            self.closings.post({subject: events}, context, [after], 1)
        self._move(moved)
        self.closings.settle()

    def add_linked(self, arrivals: Iterable[tuple[str, str, Event]]) -> None:
        """Add events to be held under a subject of several NIKs: (holder, subject it was sent under, event)."""
        by_holder: dict[str, list[tuple[str, Event]]] = {}
        for holder, sent_under, event in arrivals:
            by_holder.setdefault(holder, []).append((sent_under, event))
        context = Context(self._rules, self._reference, self.book)
        moved: dict[Cell, int] = {}
        for holder, arrived in by_holder.items():
            before = self._hold(holder)
            after = before.with_more(arrived)
            # Also when all of it was held before: whoever sent it has stopped giving out the lists of the family. Also when
            # another gives them out from now on: the list of this person alone that may be due is not to come after those.
            self.anomalies[holder] = None
            if self._is_linked(holder) and len(after.own) + len(after.copies) == len(before.own) + len(before.copies):
                continue
            self._name(_all_of(after))
            self.outbox += to_send(before, after)
            if after.own:
                self.persons[holder] = list(after.own)
            self.copies[holder] = list(after.copies)
            self._replace_hold(moved, (before, context), (after, context))
        self._move(moved)
        self.closings.settle()

    def lists(self, subject: str) -> Mapping[str, Sequence[Anomaly]]:
        """The present lists of anomalies that are given out for a subject: of all its NIKs, or of none if another does."""
        return self._hold(subject).anomalies(Context(self._rules, self._reference, self.book))

    def doubt(self, given_out: AbstractSet[str]) -> None:
        """Give the lists of these subjects out again, as far as this batch may have changed them, even where it did not.

        Another store, that has since been further than this one, may have given out what it knew between two of the events.
        """
        touched = given_out if self.balances else given_out & self.persons.keys()
        for subject in touched:
            self.anomalies.setdefault(subject, None)

    def add_balances(self, events: Iterable[OpeningBalance]) -> Iterator[None]:
        """Take balances into the book and fold everybody again, once for all of them: a book is opened with thousands.

        Stops after every person, of whom there can be millions, so that the caller may do something else in between.
        """
        arrived = self.book.news(events)
        if not arrived:
            return
        self.balances += arrived
        old = Context(self._rules, self._reference, self.book)
        self.book = Book((*self.book.events, *arrived), self._reference.places)
        new = Context(self._rules, self._reference, self.book)
        moved: dict[Cell, int] = {}
        for subject, held in self._everybody():
            before, after = count({subject: held}, old), count({subject: held}, new)
            self._replace(subject, moved, before, after)
            if subject in self.anomalies:
                self.anomalies[subject] = None  # kept, those of everybody would be all events of everybody in memory
            self.closings.post({subject: held}, old, [before], -1)
            self.closings.post({subject: held}, new, [after], 1)
            yield
        for subject in self._linked | self.copies.keys():
            hold = self._hold(subject)
            self._replace_hold(moved, (hold, old), (hold, new))
            self.anomalies[subject] = None
        self._move(moved)
        self.closings.settle()
        # The next of its place may end another's, and what is nested in it may have changed its code. One whose place another
        # of its id has taken may have been given out by an earlier store.
        self.columns.update(self.book.by_region, old.book.by_region)
        self.columns.update(self._reference.places.at(event.region, event.occurred_on) for event in arrived)

    def _everybody(self) -> Iterator[tuple[str, Sequence[Event]]]:
        """All persons of one NIK, with the events held now."""
        seen: set[str] = set()
        for subject, stored in self._reader.every_person():
            if subject in self.persons:
                seen.add(subject)
            if not self._is_linked(subject):
                yield subject, self.persons.get(subject, stored)
        for subject, held in self.persons.items():
            if subject not in seen and not self._is_linked(subject):
                yield subject, held

    def advance(self, day: int, offset: int = 0) -> None:
        """Turn the business day forward: what was posted for the days passed comes into the totals.

        offset: the next one behind the day record; all before it is in the closings known on the day that is over.
        """
        if self.day is not None and day <= self.day:
            return
        self.closings.bar(day - 1, offset, self.book, self.balances)
        after = -1 if self.day is None else self.day
        passed = dict(self._reader.days(after, day))
        passed.update({cell: tally for cell, tally in self.cells.items() if after < cell[0] <= day})
        sums: dict[str, int] = {}
        for (_, column), tally in passed.items():
            sums[column] = sums.get(column, 0) + tally
        self.day = day
        self._add_totals(sums)
        # A balance that begins, or a schedule that goes on, changes its region's part without any posting.
        self.columns.update(self.book.by_region)

    def _is_linked(self, subject: str) -> bool:
        return subject in self._linked or subject in self.copies

    def _hold(self, subject: str) -> Hold:
        """What is held under a subject now."""
        own = self.persons.get(subject) or self._reader.persons([subject])[0] or ()
        if not self._is_linked(subject):
            return Hold(subject, own)
        copies = self.copies.get(subject)
        return Hold(subject, own, self._reader.copies(subject) if copies is None else copies)

    def _load(self, by_person: Mapping[str, object]) -> Iterator[tuple[str, Sequence[Event]]]:
        unread = [subject for subject in by_person if subject not in self.persons]
        stored = dict(zip(unread, self._reader.persons(unread), strict=True))
        for subject in by_person:
            yield subject, self.persons.get(subject) or stored.get(subject) or ()

    def _replace(self, subject: str, moved: dict[Cell, int], before: Part, after: Part) -> None:
        """Post what a person's part changed by, and note their anomalies."""
        if before is not NO_PART:
            post(moved, before, -1)
        post(moved, after, 1)
        if before.anomalies != after.anomalies:
            self.anomalies[subject] = after.anomalies

    def _replace_hold(self, moved: dict[Cell, int], before: tuple[Hold, Context], after: tuple[Hold, Context]) -> None:
        """The same of the persons that are counted under a subject of several NIKs, without their anomalies."""
        for (hold, context), sign in ((before, -1), (after, 1)):
            parts = [part for _, part in hold.parts(context)]
            for part in parts:
                post(moved, part, sign)
            if parts:
                self.closings.post(hold.groups(), context, parts, sign)

    def _name(self, events: Sequence[Event]) -> None:
        """Every place where events may have put somebody is given out, even if nothing moves by all that is known now.

        Another store may have given out what it knew between two of them: then what was held long before may have counted
        otherwise, in a place of its own or in what a balance holds.
        """
        named = places_named(events, self._reference.places)
        self._named |= named
        if any(isinstance(event, MoveOut) for event in events):
            self._named.add(TRANSIT)
        if self.book.by_region:
            self._named.update(one.column for place in named for one in self.book.touching(place))

    def _move(self, moved: Mapping[Cell, int]) -> None:
        """Add tallies to cells; those of days reached go into the totals too."""
        unread = [cell for cell, tally in moved.items() if tally and cell not in self.cells]
        self.cells.update(zip(unread, self._reader.cells(unread), strict=True))
        sums: dict[str, int] = {}
        for cell, tally in moved.items():
            day, column = cell
            if tally:
                self.cells[cell] += tally
            if self.day is not None and day <= self.day:
                sums[column] = sums.get(column, 0) + tally
        self._add_totals(sums)
        self.columns |= self._named
        self._named.clear()

    def _add_totals(self, sums: Mapping[str, int]) -> None:
        unread = [column for column in sums if column not in self.totals]
        self.totals.update(zip(unread, self._reader.totals(unread), strict=True))
        for column, tally in sums.items():
            self.totals[column] += tally
        self.columns.update(sums)

    def partials(self, columns: Iterable[str]) -> dict[str, Partial]:
        """The absolute parts, on the day reached, of the regions whose columns are named."""
        if self.day is None:
            return {}
        columns = set(columns)
        beyond = excess(self.book, self.day)
        regions = sorted({column.partition("@")[0] for column in columns} | beyond.regions_of(columns))
        wanted = set(regions)
        for region in regions:
            governing = self.book.governing(region, self.day)
            if governing is not None:
                wanted.update(beyond.columns(governing))
        unread = sorted(column for column in wanted if column not in self.totals)
        totals = {**self.totals, **dict(zip(unread, self._reader.totals(unread), strict=True))}
        return {region: partial(region, self.day, totals, self.book, beyond) for region in regions}


def on_day(
    day: int, reached: int, totals: Iterable[tuple[str, int]], between: Iterable[tuple[Cell, int]], book: Book
) -> Generator[None, None, dict[str, Partial]]:
    """The absolute parts of every region on another day than the one reached.

    totals: of the day reached. between: the cells of the days that lie between the two, of which there can be millions: stops
    as often as `Draft.add_balances`, after some 10 µs.
    """
    sums: dict[str, int] = {}
    sign = 1 if day > reached else -1
    for number, (column, tally) in enumerate(totals):
        sums[column] = tally
        if number % CELLS_OF_A_STEP == 0:
            yield
    for number, ((_, column), tally) in enumerate(between):
        sums[column] = sums.get(column, 0) + sign * tally
        if number % CELLS_OF_A_STEP == 0:
            yield
    regions = {column.partition("@")[0] for column in sums} | book.by_region.keys()
    beyond = excess(book, day)
    parts: dict[str, Partial] = {}
    for region in sorted(regions):
        parts[region] = partial(region, day, sums, book, beyond)
        yield
    return parts


NO_PART = Part(Nowhere(), (), [], ())


def _all_of(hold: Hold) -> list[Event]:
    """Everything held under a subject."""
    return [*hold.own, *(copy.event for copy in hold.copies)]


def _news(arrived: list[Event], held: Sequence[Event]) -> list[Event]:
    """What is not held, without repeats, in order."""
    if len(arrived) == 1:
        return [] if arrived[0] in held else arrived
    known = set(held)  # to look each of many up in a list would take hours
    return [event for event in dict.fromkeys(arrived) if event not in known]
