"""People under opening balances: who is presumed inside, and what a balance already holds of each (V0).

In: a person's events and their two folds, from NEW and from the presumed home. Out: the fold that counts on each day,
and postings to the balances' own columns such that total(D) = B + known people inside(D) − column(D). Called by
`stream.count` for persons whose events name a region under a balance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from stream.events import Birth, Event, MoveIn, NikChange, Placed, Register
from stream.home import FOREVER
from stream.opening import Balance, Book
from stream.person import NOWHERE, Era, Fold, Parts, Span, at, attributes, fold, presumed_home, sort_out
from stream.places import Places
from stream.rules import Rules
from stream.standing import Anomaly, Standing, resolve, without_conflicts
from stream.tally import OBLIGED, UNITS


class View(NamedTuple):
    """A person as known now.

    spans, anomalies: of the fold that counts everywhere but inside a balance's own total; eras: which fold that is, by day.
    plain, presumed: the folds from NEW and from the presumed home (None: not presumed inside any balance).
    groups: the accepted events by pseudonym. entries: whether a register entry or birth is among them.
    """

    spans: Sequence[Span]
    anomalies: Sequence[Anomaly]
    plain: Fold
    presumed: Fold | None
    groups: Mapping[str, Sequence[Event]]
    entries: bool
    eras: Sequence[Era]

    def is_presumed(self, balance: Balance) -> bool:
        """Whether the person, of whatever NIKs, is presumed inside under this balance."""
        return self.presumed is not None and not self.is_entered(balance)

    def is_entered(self, balance: Balance) -> bool:
        """Whether a register entry or birth of the person stands in time for this balance."""
        return self.entries and _entered(balance, self.groups)

    def under(self, balance: Balance) -> Sequence[Span]:
        """V for the balance's own total."""
        if self.presumed is None or not self.is_presumed(balance):
            return self.plain.spans()
        return self.presumed.spans()


def places_named(events: Iterable[Event], places: Places) -> set[str]:
    """Every place that can have been somebody's home: the regions named, and where arrivals came from."""
    named: set[str] = set()
    for event in events:
        if isinstance(event, Placed):
            named.add(places.at(event.region, event.occurred_on))
        if isinstance(event, MoveIn) and event.origin is not None and event.origin[0].isdigit():
            named.add(places.at(event.origin, event.occurred_on))
    return named


def by_pseudonym(groups: Mapping[str, Sequence[Event]], accepted: Sequence[Event]) -> Mapping[str, Sequence[Event]]:
    """The events of each pseudonym once conflicts are decided: what lost one is in no balance either."""
    if len(groups) == 1:
        return dict.fromkeys(groups, accepted)
    return {subject: without_conflicts(events) for subject, events in groups.items()}


def view(
    plain: Fold, presumed: Fold | None, home: str | None, groups: Mapping[str, Sequence[Event]], book: Book
) -> View:
    """The fold that counts on each day: the presumed one while the balance of the presumed home has no entry in time."""
    entries = any(isinstance(event, Register | Birth) for events in groups.values() for event in events)
    if presumed is None or home is None:
        return View(plain.spans(), plain.anomalies, plain, None, groups, entries, plain.eras())
    now = View(presumed.spans(), presumed.anomalies, plain, presumed, groups, entries, presumed.eras())
    if not entries:
        return now
    governing = sorted(
        ((balance.day, len(balance.event.region), balance) for balance in book.above(home)), key=lambda era: era[:2]
    )
    if not any(now.is_presumed(balance) for of_region in book.by_region.values() for balance in of_region):
        return now._replace(spans=plain.spans(), anomalies=plain.anomalies, eras=plain.eras())
    eras = [(day, presumed if now.is_presumed(balance) else plain) for day, _, balance in governing]
    # The earliest balance also governs before its D0.
    eras[0] = (FOREVER, eras[0][1])
    spans: Sequence[Span] = eras[0][1].spans()
    for (_, before), (day, after) in pairwise(eras):
        if after is not before:
            spans = _switched(spans, day, after.spans())
    return now._replace(spans=spans, eras=eras)


def _entered(balance: Balance, groups: Mapping[str, Sequence[Event]]) -> bool:
    """Whether a register entry or birth stood among the events in time for the balance."""
    return any(_in_time(balance, without_conflicts(events))[1].entry is not None for events in _apart(groups, balance))


def _in_time(balance: Balance, accepted: Sequence[Event]) -> tuple[Standing, Parts]:
    """What stood among the events in time for the balance."""
    standing = resolve([event for event in accepted if balance.in_time(event)])
    return standing, sort_out(standing.events)


def _switched(before: Sequence[Span], day: int, after: Sequence[Span]) -> list[Span]:
    """The spans of `before` until `day` and those of `after` from then on."""
    current = at(after, day)
    spans = [span for span in before if span[0] < day]
    last = spans[-1] if spans else NOWHERE
    if current[1:] != last[1:]:
        spans.append((day, *current[1:]))
    return spans + [span for span in after if span[0] > day]


class Held(NamedTuple):
    """What the balances already hold of a person: postings (column, day, tally), and the columns whose V0 they are inside."""

    postings: list[tuple[str, int, int]]
    inside: frozenset[str]


def held(standing: Standing, now: View, rules: Rules, book: Book) -> Held:
    """What each balance concerned already holds of the person."""
    found: list[tuple[str, int, int]] = []
    columns: set[str] = set()
    places = book.places
    # Also by an event that lost a conflict when NIKs were found to be one: a balance from before knew them apart.
    named = places_named((event for events in now.groups.values() for event in events), places)
    concerned = {balance.column: balance for place in named for balance in book.touching(place)}
    for _, balance in sorted(concerned.items()):
        befores = [_before(events, standing, balance, rules, book, now) for events in _apart(now.groups, balance)]
        inside = [
            before for before in befores if before and _inside([before.at(balance.day)], balance.day, balance, places)
        ]
        found += _postings(balance, now.spans, now.under(balance), inside, places)
        if inside:
            columns.add(balance.column)
    return Held(found, frozenset(columns))


def _postings(
    balance: Balance, spans: Sequence[Span], own: Sequence[Span], inside: Sequence[Fold], places: Places
) -> list[tuple[str, int, int]]:
    """The changes, from D0 on, of what the balance's column holds of the person.

    On D0 itself the total is what the balance states, whatever is known of people. After it the column holds V0 and, where
    the fold by this balance differs from the one that counts elsewhere, the difference of the two. It goes on when another
    balance governs: regions that were above this one on a change day still count with it (`stream.excess`).
    """
    days = {balance.day, balance.day + 1}
    if balance.event.turning_17:
        days |= {day for before in inside for day, _ in before.obliged if day > balance.day}
    if own != spans:
        days |= {day for day in (*places.days, *(span[0] for span in (*spans, *own))) if day > balance.day}
    postings: list[tuple[str, int, int]] = []
    last = 0
    for day in sorted(days):
        if day == balance.day:
            held_now = _inside(spans, day, balance, places)
        else:
            held_now = sum(_v0(before, balance, day) for before in inside)
            held_now += _inside(spans, day, balance, places) - _inside(own, day, balance, places)
        if held_now != last:
            postings.append((balance.column, day, held_now - last))
            last = held_now
    return postings


def _apart(groups: Mapping[str, Sequence[Event]], balance: Balance) -> list[Sequence[Event]]:
    """The person's events as the balance saw them: NIKs merged later than D0 were people of their own."""
    if len(groups) == 1:
        return list(groups.values())
    joined: dict[str, set[str]] = {subject: {subject} for subject in groups}
    for subject, events in groups.items():
        for event in events:
            if isinstance(event, NikChange) and balance.in_time(event):
                # Two NIKs can be joined by a third of which nothing else was ever sent.
                together = joined[subject] | joined.get(event.new_subject, {event.new_subject})
                joined.update(dict.fromkeys(together, together))
    components = {frozenset(together & groups.keys()) for together in joined.values()}
    return [[event for subject in sorted(component) for event in groups[subject]] for component in components]


def _before(
    events: Sequence[Event], standing: Standing, balance: Balance, rules: Rules, book: Book, now: View
) -> Fold | None:
    """The fold of what was reported in time; person data are taken from all events that stand now or stood then.

    A NIK first heard of after D0 is nobody new to the balance when its person was entered in time under another NIK.
    """
    accepted = without_conflicts(events)
    in_time, parts = _in_time(balance, accepted)
    may_presume = parts.entry is None and (bool(in_time.accepted) or not now.is_entered(balance))
    home = presumed_home(accepted, book.is_governed, book.places) if may_presume else None
    if home is None and not in_time.events:
        return None
    # The present word comes first: of two contents with one name and time it is the one with the smaller digest.
    sources = [*(standing.accepted if home else standing.events), *in_time.events]
    entry = parts.entry or sort_out(standing.events).entry
    known = attributes(sources, entry, parts.corrections)
    mine = {(event.source, event.id): event for event in accepted}
    effective = (now.presumed or now.plain).recordings
    return fold(
        parts,
        known,
        rules,
        book.places,
        home,
        [event for event in effective if event == mine.get((event.source, event.id))],
    )


def _v0(before: Fold, balance: Balance, day: int) -> int:
    """What the balance holds of someone inside: the tally of D0; with a schedule, obliged or not as on `day`."""
    _, _, tally = before.at(balance.day)
    if balance.event.turning_17:
        tally += UNITS[before.sex][OBLIGED] * (_obliged(before, day) - _obliged(before, balance.day))
    return tally


def _obliged(before: Fold, day: int) -> bool:
    return next((value for begins, value in reversed(before.obliged) if begins <= day), False)


def _inside(spans: Sequence[Span], day: int, balance: Balance, places: Places) -> int:
    _, place, tally = at(spans, day)
    return tally if place and places.inside(place, balance.region, day) else 0
