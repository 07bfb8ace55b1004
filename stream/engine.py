"""Count a set of accepted events at once: the figures of every region on one day, all anomalies, and monthly closings.

In: (subject, event) pairs in any order, with repeats. Out: coverage records and anomalies. Called by `lampit count`; the
live agents reach the same figures through `stream.partition`, batch by batch.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Any, NamedTuple

from stream import coverage
from stream.closing import Dating, close, figures
from stream.contribution import Change, PeriodCell, contribution, scheduled
from stream.count import Context, Part, count
from stream.coverage import Names
from stream.events import Event, NikChange, OpeningBalance, Placed
from stream.excess import Excess, excess
from stream.flows import Flow, flows
from stream.identity import families, persons, split
from stream.opening import Book
from stream.opening_figures import part as balance_part
from stream.periods import Period, Periods
from stream.reference import Reference
from stream.regions import TRANSIT
from stream.rollup import Figure, Partial, Rollup
from stream.rules import Rules


class Anomaly(NamedTuple):
    """An event without the effect its sender expected; subject is None for an opening balance."""

    subject: str | None
    source: str
    id: str
    kind: str


class Counted(NamedTuple):
    """Coverage records sorted by region code, and anomalies sorted by (subject, source, id, kind)."""

    regions: list[dict[str, Any]]
    anomalies: list[Anomaly]


class Engine:
    """Collects accepted events, then counts them."""

    def __init__(self, rules: Rules, reference: Reference) -> None:
        """Nothing collected yet."""
        self._rules = rules
        self._reference = reference
        self._events: defaultdict[str, list[Event]] = defaultdict(list)
        self._changed: set[str] = set()
        self._balances: list[OpeningBalance] = []

    def add(self, subject: str | None, event: Event | OpeningBalance) -> None:
        """Take one accepted event; order and repetition do not matter."""
        if subject is None:
            if isinstance(event, OpeningBalance):
                self._balances.append(event)
        elif isinstance(event, Event):
            self._events[subject].append(event)
            if type(event) is NikChange:
                self._changed.add(subject)

    def count(self, as_of: date, hierarchy_of: date | None = None) -> Counted:
        """The figures at the end of a day, under its own codes and hierarchy or those of another day."""
        day = as_of.toordinal()
        codes_of = None if hierarchy_of is None else hierarchy_of.toordinal()
        places = self._reference.places
        book = Book(self._balances, places)
        context = Context(self._rules, self._reference, book)
        columns: defaultdict[str, int] = defaultdict(int)
        named: set[str] = {TRANSIT}
        anomalies: list[Anomaly] = []
        for subject, counted in self._parts(context):
            _, place, tally = counted.timeline.at(day)
            if place:
                columns[place] += tally
            for column, on, held in counted.held:
                if on <= day:
                    columns[column] += held
            for event in counted.standing:
                if isinstance(event, Placed):
                    named.add(places.at(event.region, event.occurred_on))
            if counted.anomalies:
                anomalies += [Anomaly(subject, event.source, event.id, kind) for event, kind in counted.anomalies]
        named.update(place for place in columns if "@" not in place)
        for balance, kind in book.all_anomalies(self._reference):
            anomalies.append(Anomaly(None, balance.source, balance.id, kind))
        rollup = Rollup(self._rules.stale_after_days, places, codes_of)
        for place in named | book.by_region.keys():
            rollup.apply(0, place, partial(place, day, columns, book, excess(book, day, codes_of)))
        names = Names(self._reference, day, codes_of)
        records = [coverage.record(code, figure, names) for code, figure in rollup.take_changed(day)]
        return Counted(sorted(records, key=lambda one: str(one["region"])), sorted(anomalies, key=_by_name))

    def flows(self) -> Iterator[Flow]:
        """Every flow but the 17th birthdays, in no order that means anything."""
        places = self._reference.places
        for _, part in self._parts(Context(self._rules, self._reference, Book(self._balances, places))):
            yield from flows(part, places)

    def closings(self, periods: Periods, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """The closing records of some periods, by name, each sorted by region code; IdentityError if they do not add up.

        Periods before the first of `periods` have no flows and are refused.
        """
        wanted = sorted({periods.index_of(name) for name in names})
        if wanted and wanted[0] < 0:
            raise ValueError("a period before the first")
        book = Book(self._balances, self._reference.places)
        context = Context(self._rules, self._reference, book)
        cells: dict[PeriodCell, Change] = {}
        regions: set[str] = set()
        for family in families(self._events, self._changed):
            parts = [count(person, context) for person in split(family)]
            _add(cells, contribution(family, context, periods, parts))
            regions.update(
                self._reference.places.at(event.region, event.occurred_on)
                for part in parts
                for event in part.standing
                if isinstance(event, Placed)
            )
        _add(cells, scheduled(book, periods))
        regions.update(column for _, column in cells if "@" not in column)
        return {periods.period(index).name: self._close(periods, index, cells, book, regions) for index in wanted}

    def _close(
        self, periods: Periods, index: int, cells: Mapping[PeriodCell, Change], book: Book, regions: set[str]
    ) -> list[dict[str, Any]]:
        sums = []
        for stock, flow in (("stock_by_event", "flows_by_event"), ("stock_by_report", "flows_by_report")):
            opening: defaultdict[str, int] = defaultdict(int)
            closing: defaultdict[str, int] = defaultdict(int)
            moved: dict[str, int] = {}
            for (number, column), change in cells.items():
                if number < index:
                    opening[column] += getattr(change, stock)
                if number <= index:
                    closing[column] += getattr(change, stock)
                if number == index and getattr(change, flow):
                    moved[column] = getattr(change, flow)
            sums.append(Sums(opening, closing, moved))
        context = Context(self._rules, self._reference, book)
        month = close_month(periods.period(index), sums[0], sums[1], context, regions)
        return [record for record in month if record is not None]

    def _parts(self, context: Context) -> Iterable[tuple[str, Part]]:
        merged = persons(self._events, self._changed)
        others = {subject for subjects in merged.values() for subject in subjects}
        for subject, events in self._events.items():
            if subject not in others:
                yield subject, count({subject: events}, context)
        for survivor, subjects in merged.items():
            yield survivor, count({subject: self._events[subject] for subject in subjects}, context)


class Sums(NamedTuple):
    """One dating of a period, by column: the stocks at its two cut-offs, and each place's own flows between them."""

    opening: Mapping[str, int]
    closing: Mapping[str, int]
    flows: Mapping[str, int]


def close_month(
    period: Period,
    by_event: Sums,
    by_report: Sums,
    context: Context,
    places: AbstractSet[str],
    known_day: int | None = None,
    only: AbstractSet[str] | None = None,
) -> Iterator[dict[str, Any] | None]:
    """The closing records of a period: of the regions of some places and all above, or of those among `only`; IdentityError.

    None for a step without a record.
    """
    datings = []
    for sums in (by_event, by_report):
        opening = yield from _figures(sums.opening, period.opened_on, period, context, places)
        closing = yield from _figures(sums.closing, period.closed_on, period, context, places)
        datings.append(Dating(opening, closing, sums.flows))
    named = None if only is None else only & datings[0].closing.keys()
    yield from close(period, datings[0], datings[1], context.reference, known_day, named)


def _figures(
    columns: Mapping[str, int], day: int, period: Period, context: Context, regions: AbstractSet[str]
) -> Generator[None, None, dict[str, Figure]]:
    book, codes_of = context.book, period.closed_on
    beyond = excess(book, day, codes_of)
    parts = ((0, place, partial(place, day, columns, book, beyond)) for place in regions | book.by_region.keys())
    return figures(parts, day, context.rules.stale_after_days, context.reference.places, codes_of)


def _add(cells: dict[PeriodCell, Change], more: Mapping[PeriodCell, Change]) -> None:
    for cell, change in more.items():
        before = cells.get(cell)
        cells[cell] = change if before is None else Change(*map(operator.add, before, change))


def partial(place: str, day: int, columns: Mapping[str, int], book: Book, beyond: Excess) -> Partial:
    """One place's part on a day: its own column and, under a balance, what is stated and held of known people."""
    own = columns.get(place, 0)
    of_region = book.by_region.get(place)
    if not of_region:
        return Partial(own)
    governing = book.governing(place, day)
    if governing is not None:
        return Partial(own, *beyond.part(governing, day, columns))
    if book.is_to_come(place, day):
        return Partial(own, 0, balance_part(of_region[0].event, day, governs=False))
    return Partial(own)


def _by_name(anomaly: Anomaly) -> tuple[str, str, str, str]:
    return (anomaly.subject or "", anomaly.source, anomaly.id, anomaly.kind)
