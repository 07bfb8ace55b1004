"""Flows: one person's births, deaths, moves, recordings and 17th birthdays, each at a place, on a day, by sex.

In: a person's `Part`, so that nothing is folded twice. Out: postings. The readings are those of
docs/decisions/0006-flows-and-closings.md, called "reading" here. Called by `stream.contribution` and the report; the count of
stock figures never comes here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from stream.calendar import birthday_17, day_of
from stream.count import Context, Part
from stream.events import Birth, BySex, Death, Event, MoveIn, MoveOut, Placed, Recording, Register
from stream.flow_tally import (
    BIRTHS,
    DEATHS,
    MOVED_IN,
    MOVED_OUT,
    RECORDINGS,
    SERVED,
    STILLBIRTHS,
    TURNED_17,
    UNITS,
)
from stream.opening import Balance, Book
from stream.person import Era, Fold, is_flow_only
from stream.places import Places
from stream.regions import TRANSIT, lineage, parent

_END: Final = 1 << 60


class Flow(NamedTuple):
    """One flow: at a place, on the day it happened and the day it was reported, of a kind (index into FLOWS) and a sex."""

    place: str
    day: int
    reported: int
    kind: int
    sex: int


class Birthday(NamedTuple):
    """A 17th birthday: tallies by the place that counts them, on a day."""

    day: int
    postings: tuple[tuple[str, int], ...]


def report_day(event: Event) -> int:
    """The day of an event's `time`, in the zone of the office that took it (reading 9)."""
    if isinstance(event, Recording):
        return day_of(event.time, event.service_point or event.region)
    return day_of(event.time, event.region if isinstance(event, Placed) else None)


def flows(part: Part, places: Places) -> list[Flow]:
    """Every flow of a person but the 17th birthday, in no order that means anything."""
    found: list[Flow] = []
    for begins, ends, fold in _eras(part.timeline.eras()):
        if len(fold.stays) > 1 or (fold.stays and type(fold.stays[0][2]) is not Register):
            found += _moves(fold, begins, ends)
        if fold.recordings and fold.stays:  # who is held unplaced has no recordings
            found += _recordings(fold, begins, ends, places)
        for event in part.standing:
            if type(event) is Birth and begins <= event.occurred_on < ends:
                kind = _kind_of_birth(event, part.entry)
                if kind is not None:
                    place = places.at(event.region, event.occurred_on)
                    found.append(Flow(place, event.occurred_on, report_day(event), kind, fold.sex))
    return found


def _eras(eras: Sequence[Era]) -> Sequence[tuple[int, int, Fold]]:
    """(first day, first day after, fold); an era that ends on its first day is none."""
    ends = [*(begins for begins, _ in eras[1:]), _END]
    return [(begins, end, fold) for (begins, fold), end in zip(eras, ends, strict=True) if begins < end]


def _kind_of_birth(event: Birth, entry: Event | None) -> int | None:
    """Readings 2: stillborn; the one that stands or is of someone on the register; None when `already_born`."""
    if event.stillborn:
        return STILLBIRTHS
    return BIRTHS if event is entry or is_flow_only(event) else None


def _moves(fold: Fold, begins: int, ends: int) -> Iterator[Flow]:
    """Deaths and moves that changed where the person counts (readings 3 and 4)."""
    left = ""
    for day, place, fact in fold.stays:
        if fact is not None and begins <= day < ends:
            if isinstance(fact, Death):
                if left:
                    yield Flow(left, day, report_day(fact), DEATHS, fold.sex)
            elif isinstance(fact, MoveOut):
                yield Flow(left, day, report_day(fact), MOVED_OUT, fold.sex)
                if place == TRANSIT:
                    yield Flow(TRANSIT, day, report_day(fact), MOVED_IN, fold.sex)
            elif isinstance(fact, MoveIn):
                yield Flow(place, day, report_day(fact), MOVED_IN, fold.sex)
                if left == TRANSIT:
                    yield Flow(TRANSIT, day, report_day(fact), MOVED_OUT, fold.sex)
        left = place


def _recordings(fold: Fold, begins: int, ends: int, places: Places) -> Iterator[Flow]:
    for event in fold.recordings:
        if event.status == "captured" and begins <= event.occurred_on < ends:
            day, reported = event.occurred_on, report_day(event)
            yield Flow(places.at(event.region, day), day, reported, RECORDINGS, fold.sex)
            if event.service_point is not None:
                yield Flow(places.at(event.service_point, day), day, reported, SERVED, fold.sex)


def birthdays(part: Part, context: Context) -> list[Birthday]:
    """The person's 17th birthday, if they are counted anywhere at the end of it (reading 6).

    More than one only where the balances of two eras knew different birth dates. Balances that counted the birthday in their
    schedule take it out of their regions' sums again.
    """
    found: list[Birthday] = []
    for begins, ends, fold in _eras(part.timeline.eras()):
        if fold.born is None or not fold.stays:
            continue
        day = birthday_17(fold.born, context.rules.leap_birthday)
        place = fold.at(day)[1] if begins <= day < ends else ""
        if place:
            unit = UNITS[fold.sex][TURNED_17]
            postings = [(place, unit)]
            counted = 1
            for balance in _scheduled_above(context.book.places.code(place, day), day, context.book):
                known = int(balance.column not in part.inside)
                if known != counted:
                    postings.append((balance.region, (known - counted) * unit))
                counted = known
            found.append(Birthday(day, tuple(postings)))
    return found


def schedules(book: Book) -> list[Birthday]:
    """What the schedules of all balances post: to the region, and out of the sum of the next scheduled region above it."""
    found: list[Birthday] = []
    for balance in book:
        for line in balance.event.turning_17:
            if _counts_birthdays_of(balance, line.on):
                tally = (
                    line.count.male * UNITS[0][TURNED_17] + line.count.female * UNITS[1][TURNED_17]
                    if isinstance(line.count, BySex)
                    else line.count * UNITS[2][TURNED_17]
                )
                postings = [(balance.region, tally)]
                above = parent(book.places.code(balance.region, line.on))
                outer = next(iter(_scheduled_above(above, line.on, book)), None) if above else None
                if outer is not None:
                    postings.append((outer.region, -tally))
                found.append(Birthday(line.on, tuple(postings)))
    return found


def _scheduled_above(code: str, day: int, book: Book) -> Iterator[Balance]:
    """The balances with a schedule that count the birthdays of a day, at a code and above it on that day, inmost first."""
    if book:
        for region in lineage(code):
            for balance in book.at(region, day):
                if balance.event.turning_17 and _counts_birthdays_of(balance, day):
                    yield balance


def _counts_birthdays_of(balance: Balance, day: int) -> bool:
    """From the day after D0, which the balance holds whole, to the next D0, included."""
    return balance.day < day and (balance.until is None or day <= balance.until)
