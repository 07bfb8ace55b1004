"""One person's part in every figure.

In: the events of one person (by the pseudonyms they came under), the rules, the balances and the region reference.
Out: `Part`: spans at places, postings to the columns of balances, anomalies. Called by the counting engine
(`lampit count`), the ledger worker (`stream.partition`) and the audit; the only way from events to figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from stream.events import Event, Placed
from stream.opening import Book
from stream.person import NOWHERE, Era, Fold, Parts, Span, at, attributes, fold, presumed_home, sort_out
from stream.places import Places
from stream.presumed import by_pseudonym, held, places_named, view
from stream.reference import Reference
from stream.rules import Rules
from stream.standing import Anomaly, resolve
from stream.value import Value

Groups = Mapping[str, Sequence[Event]]
"""A person's events by the pseudonym they were sent under; more than one only for merged NIKs."""

Posting = tuple[str, int, int]
"""(column, day, tally): a column's figure on D is the sum of its tallies of days up to D."""


class Timeline(Protocol):
    """Where and as what a person counts."""

    def spans(self) -> Sequence[Span]:
        """The changes of place and tally, ascending by day."""

    def at(self, day: int) -> Span:
        """The span in force on a day."""

    def eras(self) -> Sequence[Era]:
        """Which fold counts from which day on, ascending; the last of one day holds."""


class Spliced(NamedTuple):
    """A timeline put together from two folds."""

    changes: Sequence[Span]
    folds: Sequence[Era]

    def spans(self) -> Sequence[Span]:
        """The changes."""
        return self.changes

    def at(self, day: int) -> Span:
        """The span in force on a day."""
        return at(self.changes, day)

    def eras(self) -> Sequence[Era]:
        """The folds."""
        return self.folds


class Nowhere(NamedTuple):
    """The timeline of somebody without any event."""

    def spans(self) -> Sequence[Span]:
        """None."""
        return ()

    def at(self, day: int) -> Span:
        """Counted nowhere."""
        return NOWHERE

    def eras(self) -> Sequence[Era]:
        """None."""
        return ()


class Part(Value, frozen=True):
    """A person's part: their timeline, what balances already hold of them, what was odd about the events.

    standing: the events that stand, for those who ask which regions are concerned. entry: the register entry or birth among
    them that counts. inside: the columns of the balances in whose V0 the person is.
    """

    timeline: Timeline
    held: Sequence[Posting]
    anomalies: Sequence[Anomaly]
    standing: Sequence[Event]
    entry: Event | None = None
    inside: frozenset[str] = frozenset()


class Context(NamedTuple):
    """What every person's count depends on besides their events."""

    rules: Rules
    reference: Reference
    book: Book


def count(groups: Groups, context: Context) -> Part:
    """Fold one person's events to their part in every figure; a pure function of the set."""
    events: Sequence[Event]
    if len(groups) == 1:
        (events,) = groups.values()
    else:
        events = [event for group in groups.values() for event in group]
    standing = resolve(events)
    parts = sort_out(standing.events)
    anomalies = standing.anomalies + _unknown_regions(standing.events, context.reference)
    places = context.reference.places
    plain = fold(parts, attributes(standing.events, parts.entry, parts.corrections), context.rules, places)
    named = by_pseudonym(groups, standing.accepted) if context.book else {}
    if not any(_concerns(context.book, of_one, places) for of_one in named.values()):
        return Part(plain, (), anomalies + plain.anomalies, standing.events, parts.entry)
    presumed_at = presumed_home(standing.accepted, context.book.is_governed, places)
    presumed = _presumed(standing.accepted, parts, presumed_at, context)
    now = view(plain, presumed, presumed_at, named, context.book)
    postings, inside = held(standing, now, context.rules, context.book)
    timeline = Spliced(now.spans, now.eras)
    return Part(timeline, postings, [*anomalies, *now.anomalies], standing.events, parts.entry, inside)


def _presumed(accepted: Sequence[Event], parts: Parts, home: str | None, context: Context) -> Fold | None:
    if home is None:
        return None
    person = attributes(accepted, parts.entry, parts.corrections)
    return fold(parts, person, context.rules, context.reference.places, home)


def _concerns(book: Book, events: Iterable[Event], places: Places) -> bool:
    return any(book.touching(place) for place in places_named(events, places))


def _unknown_regions(events: Iterable[Event], reference: Reference) -> list[Anomaly]:
    always = reference.always
    return [
        (event, "unknown_region")
        for event in events
        if isinstance(event, Placed)
        and event.region not in always
        and not reference.known(event.region, event.occurred_on)
    ]


def post(moved: dict[tuple[int, str], int], part: Part, sign: int) -> None:
    """Add a person's part to cells (day, column), or take it away (sign -1); a column's figure on D sums days up to D."""
    place, tally = "", 0
    for day, there, now in part.timeline.spans():
        if there == place:
            cell = (day, place)
            moved[cell] = moved.get(cell, 0) + sign * (now - tally)
        else:
            if place:
                cell = (day, place)
                moved[cell] = moved.get(cell, 0) - sign * tally
            if there:
                cell = (day, there)
                moved[cell] = moved.get(cell, 0) + sign * now
        place, tally = there, now
    for column, day, held_tally in part.held:
        moved[day, column] = moved.get((day, column), 0) + sign * held_tally
