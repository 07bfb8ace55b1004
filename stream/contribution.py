"""What one person adds to the closings: stocks and flows by period and column, by event date and by report date.

In: the person's events, the context, the periods. Out: `Change` by (period, column); a column's stock at a cut-off is the
sum of its changes up to that period, its flows are those of the period alone. Pure: the ledger worker takes away what the
events held before added, and adds what those held now do. Called by it and by the counting engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from stream.calendar import birthday_17
from stream.count import Context, Groups, Part, count, post
from stream.events import Birth, Correction, Event
from stream.flow_tally import UNITS
from stream.flows import birthdays, flows, report_day, schedules
from stream.identity import split
from stream.opening import Book
from stream.periods import BEFORE, Periods


class Change(NamedTuple):
    """Of one column in one period: changes of the stock (`stream.tally`), and flows (`stream.flow_tally`), in either dating."""

    stock_by_event: int = 0
    stock_by_report: int = 0
    flows_by_event: int = 0
    flows_by_report: int = 0


NO_CHANGE = Change()

PeriodCell = tuple[int, str]
"""(index of the period, column). Columns are those of `stream.count`: places, and the balances' own, which have no flows."""

_STOCK_BY_EVENT, _STOCK_BY_REPORT, _FLOWS_BY_EVENT, _FLOWS_BY_REPORT = range(4)

Add = Callable[[int, str, int, int], None]


def contribution(
    groups: Groups, context: Context, periods: Periods, parts: Sequence[Part] | None = None
) -> dict[PeriodCell, Change]:
    """What a person adds, cells that are all zero left out; BEFORE has stocks only.

    groups: a person's events, or those of all pseudonyms that any change of NIK joins, one that lost a conflict too: by what
    had been reported earlier they can be other persons than by everything. parts: what `count` gave for each person among
    them, if asked.
    """
    if not any(groups.values()):
        return {}
    if parts is None:
        parts = [count(person, context) for person in split(groups)]
    added: dict[PeriodCell, list[int]] = {}

    def add(period: int, column: str, which: int, tally: int) -> None:
        cell = added.get((period, column))
        if cell is None:
            cell = added[period, column] = [0, 0, 0, 0]
        cell[which] += tally

    whole = _stocks(parts, periods)
    for (period, column), tally in whole.items():
        add(period, column, _STOCK_BY_EVENT, tally)
    _add_stocks_by_report(_by_report(groups, periods.index), whole, context, periods, add)
    for one in parts:
        for place, day, reported, kind, sex in flows(one):
            add(periods.index(day), place, _FLOWS_BY_EVENT, UNITS[sex][kind])
            add(periods.index(reported), place, _FLOWS_BY_REPORT, UNITS[sex][kind])
        for day, postings in birthdays(one, context):
            for place, tally in postings:
                add(periods.index(day), place, _FLOWS_BY_EVENT, tally)
    _add_birthdays_by_report(groups, parts, context, periods, add)
    return _changes(added)


def scheduled(book: Book, periods: Periods) -> dict[PeriodCell, Change]:
    """What the schedules of balances add to the 17th birthdays, of nobody known (reading 6)."""
    added: dict[PeriodCell, list[int]] = {}
    for day, postings in schedules(book):
        for place, tally in postings:
            cell = added.setdefault((periods.index(day), place), [0, 0, 0, 0])
            cell[_FLOWS_BY_EVENT] += tally
            cell[_FLOWS_BY_REPORT] += tally
    return _changes(added)


def _changes(added: Mapping[PeriodCell, Sequence[int]]) -> dict[PeriodCell, Change]:
    changes: dict[PeriodCell, Change] = {}
    for cell, tallies in added.items():
        change = Change(tallies[0], tallies[1]) if cell[0] == BEFORE else Change(*tallies)
        if change != NO_CHANGE:
            changes[cell] = change
    return changes


def _stocks(parts: Sequence[Part], periods: Periods) -> dict[PeriodCell, int]:
    """The postings by period."""
    moved: dict[tuple[int, str], int] = {}
    for part in parts:
        post(moved, part, 1)
    stocks: dict[PeriodCell, int] = {}
    for (day, column), tally in moved.items():
        cell = (periods.index(day), column)
        stocks[cell] = stocks.get(cell, 0) + tally
    return stocks


def _by_report(groups: Groups, index: Callable[[int], int]) -> list[tuple[int, Groups]]:
    """For each period in which something was reported: what had been by its end (reading 11). The last holds everything."""
    stamped = [(index(report_day(event)), subject, event) for subject, events in groups.items() for event in events]
    reported = sorted({period for period, _, _ in stamped})
    if len(reported) == 1:
        return [(reported[0], groups)]
    found: list[tuple[int, Groups]] = []
    for last in reported[:-1]:
        known: dict[str, list[Event]] = {}
        for period, subject, event in stamped:
            if period <= last:
                known.setdefault(subject, []).append(event)
        found.append((last, known))
    return [*found, (reported[-1], groups)]


def _add_stocks_by_report(
    known: Sequence[tuple[int, Groups]],
    whole: Mapping[PeriodCell, int],
    context: Context,
    periods: Periods,
    add: Add,
) -> None:
    """At each cut-off the figures are those of what had been reported by then, as one fold, so a report can move the past.

    From the period of one report to that before the next the figures move by what that fold says of each period. In the period
    of a report they go from where the fold before had brought them to where the new one has them. Before a change of NIK is
    reported its NIKs are persons of their own.
    """
    before: Mapping[PeriodCell, int] = {}
    for number, (begins, groups) in enumerate(known):
        is_last = number + 1 == len(known)
        ends = None if is_last else known[number + 1][0]
        now = whole if is_last else _stocks([count(person, context) for person in split(groups)], periods)
        for (period, column), tally in before.items():
            if period < begins:
                add(begins, column, _STOCK_BY_REPORT, -tally)
        for (period, column), tally in now.items():
            if period <= begins:
                add(begins, column, _STOCK_BY_REPORT, tally)
            elif ends is None or period < ends:
                add(period, column, _STOCK_BY_REPORT, tally)
        before = now


def _add_birthdays_by_report(
    groups: Groups, whole: Sequence[Part], context: Context, periods: Periods, add: Add
) -> None:
    """The 17th birthdays of those who were counted on the day by what had been reported by then (reading 9)."""
    first_day = periods.period(0).opened_on + 1
    for day in sorted(_possible_birthdays(groups, context)):
        if day < first_day:
            continue
        known = _reported_by(groups, day)
        if not known:
            continue
        if sum(map(len, known.values())) == sum(map(len, groups.values())):
            parts = whole
        else:
            parts = [count(person, context) for person in split(known)]
        for one in parts:
            for on, postings in birthdays(one, context):
                if on == day:
                    for place, tally in postings:
                        add(periods.index(day), place, _FLOWS_BY_REPORT, tally)


def _reported_by(groups: Groups, day: int) -> dict[str, list[Event]]:
    known = {subject: [event for event in events if report_day(event) <= day] for subject, events in groups.items()}
    return {subject: events for subject, events in known.items() if events}


def _possible_birthdays(groups: Groups, context: Context) -> set[int]:
    """The 17th birthday by every birth date that any event says."""
    born: set[int] = set()
    for events in groups.values():
        for event in events:
            if event.person is not None and event.person.birth_date is not None:
                born.add(event.person.birth_date)
            if isinstance(event, Birth):
                born.add(event.occurred_on)
            elif isinstance(event, Correction) and event.birth_date is not None:
                born.add(event.birth_date)
    return {birthday_17(day, context.rules.leap_birthday) for day in born}
