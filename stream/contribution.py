"""What one person adds to the closings: stocks and flows by period and column, by event date and by report date.

In: the person's events, the context, the periods. Out: `Change` by (period, column); a column's stock at a cut-off is the
sum of its changes up to that period, its flows are those of the period alone. Pure: the ledger worker takes away what the
events held before added, and adds what those held now do. Called by it and by the counting engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from stream.calendar import birthday_17
from stream.count import Context, Groups, Part, count
from stream.events import Birth, Correction, Event
from stream.flow_tally import UNITS
from stream.flows import birthdays, flows, report_day, schedules
from stream.identity import split
from stream.opening import Book
from stream.periods import BEFORE, Periods
from stream.rules import Rules


class Change(NamedTuple):
    """Of one column in one period: changes of the stock (`stream.tally`), and flows (`stream.flow_tally`), in either dating."""

    stock_by_event: int = 0
    stock_by_report: int = 0
    flows_by_event: int = 0
    flows_by_report: int = 0


PeriodCell = tuple[int, str]
"""(index of the period, column). Columns are those of `stream.count`: places, and the balances' own, which have no flows."""

_FLOWS_BY_EVENT, _FLOWS_BY_REPORT = 2, 3

Report = tuple[int, str, Event]
"""(report day, pseudonym, event)."""


def contribution(
    groups: Groups, context: Context, periods: Periods, parts: Sequence[Part] | None = None
) -> dict[PeriodCell, Change]:
    """What a person adds, cells that are all zero left out; BEFORE has stocks only.

    groups: a person's events, or those of all pseudonyms that any change of NIK joins, one that lost a conflict too: by what
    had been reported earlier they can be other persons than by everything. parts: what `count` gave for each person among
    them, if asked.
    """
    reports = [(report_day(event), subject, event) for subject, events in groups.items() for event in events]
    if not reports:
        return {}
    if parts is None:
        parts = [count(person, context) for person in split(groups)]
    index = periods.index
    whole = _stocks(parts, index)
    by_report = _stocks_by_report(reports, whole, context, index)
    added: dict[PeriodCell, list[int]] = {cell: [tally, by_report.get(cell, 0), 0, 0] for cell, tally in whole.items()}
    if by_report is not whole:
        for cell, tally in by_report.items():
            if cell not in added:
                added[cell] = [0, tally, 0, 0]
    for part in parts:
        for place, day, reported, kind, sex in flows(part, context.reference.places):
            _add(added, (index(day), place), _FLOWS_BY_EVENT, UNITS[sex][kind])
            _add(added, (index(reported), place), _FLOWS_BY_REPORT, UNITS[sex][kind])
    possible = _possible_birthdays(reports, context.rules, periods.begins)
    if possible:
        _add_birthdays(added, reports, possible, parts, context, index)
    return _changes(added)


def scheduled(book: Book, periods: Periods) -> dict[PeriodCell, Change]:
    """What the schedules of balances add to the 17th birthdays, of nobody known (reading 6)."""
    added: dict[PeriodCell, list[int]] = {}
    for day, postings in schedules(book):
        for place, tally in postings:
            for which in (_FLOWS_BY_EVENT, _FLOWS_BY_REPORT):
                _add(added, (periods.index(day), place), which, tally)
    return _changes(added)


def _add(added: dict[PeriodCell, list[int]], cell: PeriodCell, which: int, tally: int) -> None:
    tallies = added.get(cell)
    if tallies is None:
        tallies = added[cell] = [0, 0, 0, 0]
    tallies[which] += tally


def _changes(added: Mapping[PeriodCell, Sequence[int]]) -> dict[PeriodCell, Change]:
    changes: dict[PeriodCell, Change] = {}
    for cell, (by_event, by_report, flows_by_event, flows_by_report) in added.items():
        if cell[0] == BEFORE:
            if by_event or by_report:
                changes[cell] = Change(by_event, by_report, 0, 0)
        elif by_event or by_report or flows_by_event or flows_by_report:
            changes[cell] = Change(by_event, by_report, flows_by_event, flows_by_report)
    return changes


def _stocks(parts: Iterable[Part], index: Callable[[int], int]) -> dict[PeriodCell, int]:
    """The postings by period: `stream.count.post`, with the days of a period in one cell."""
    stocks: dict[PeriodCell, int] = {}
    get = stocks.get
    for part in parts:
        place, tally = "", 0
        for day, there, now in part.timeline.spans():
            period = index(day)
            if place:
                stocks[period, place] = get((period, place), 0) - tally
            if there:
                stocks[period, there] = get((period, there), 0) + now
            place, tally = there, now
        for column, day, held in part.held:
            cell = (index(day), column)
            stocks[cell] = get(cell, 0) + held
    return stocks


def _stocks_by_report(
    reports: Sequence[Report], whole: dict[PeriodCell, int], context: Context, index: Callable[[int], int]
) -> dict[PeriodCell, int]:
    """At each cut-off the figures are those of what had been reported by it, folded by itself (reading 11).

    From the period of one report to that before the next the figures move by what that fold says of each period. In the period
    of a report they go from where the fold before had brought them to where the new one has them: a report can move the past.
    """
    begins = sorted({index(day) for day, _, _ in reports})
    if begins == [BEFORE]:
        return whole
    stocks: dict[PeriodCell, int] = {}
    get = stocks.get
    before: Mapping[PeriodCell, int] = {}
    for begin, end in zip(begins, [*begins[1:], None], strict=True):
        now = whole if end is None else _stocks(_known(reports, context, lambda day: index(day) <= begin), index)  # noqa: B023
        for (period, column), tally in before.items():
            if period < begin:
                stocks[begin, column] = get((begin, column), 0) - tally
        for (period, column), tally in now.items():
            if end is None or period < end:
                cell = (max(period, begin), column)
                stocks[cell] = get(cell, 0) + tally
        before = now
    return stocks


def _known(reports: Iterable[Report], context: Context, is_known: Callable[[int], bool]) -> list[Part]:
    """The parts of the persons as known by some day; before a change of NIK is reported its NIKs are persons of their own."""
    groups: dict[str, list[Event]] = {}
    for day, subject, event in reports:
        if is_known(day):
            groups.setdefault(subject, []).append(event)
    return [count(person, context) for person in split(groups)] if groups else []


def _possible_birthdays(reports: Iterable[Report], rules: Rules, first_day: int) -> set[int]:
    """The 17th birthday by every birth date that any event says, of those from a day on."""
    born: set[int] = set()
    for _, _, event in reports:
        if event.person is not None and event.person.birth_date is not None:
            born.add(event.person.birth_date)
        if isinstance(event, Birth):
            born.add(event.occurred_on)
        elif isinstance(event, Correction) and event.birth_date is not None:
            born.add(event.birth_date)
    days = {birthday_17(day, rules.leap_birthday) for day in born}
    return {day for day in days if day >= first_day}


def _add_birthdays(
    added: dict[PeriodCell, list[int]],
    reports: Sequence[Report],
    possible: Iterable[int],
    parts: Sequence[Part],
    context: Context,
    index: Callable[[int], int],
) -> None:
    """The 17th birthdays: of those counted that day by all that is known, and by what had been reported by it (reading 9)."""
    turned = [birthday for part in parts for birthday in birthdays(part, context)]
    for day, postings in turned:
        for place, tally in postings:
            _add(added, (index(day), place), _FLOWS_BY_EVENT, tally)
    last_report = max(reports, key=_first)[0]
    for day in possible:
        known = turned
        if day < last_report:
            known_parts = _known(reports, context, lambda reported: reported <= day)  # noqa: B023
            known = [birthday for part in known_parts for birthday in birthdays(part, context)]
        for on, postings in known:
            if on == day:
                for place, tally in postings:
                    _add(added, (index(day), place), _FLOWS_BY_REPORT, tally)


_first = itemgetter(0)
