"""Why a region's figure changed: every cause between two states of it, whose postings add up to the difference exactly.

In: events with the instants at which they were accepted, and a question: a region, two days, two states of knowledge. Out:
an `Explanation`. Called by `lampit audit explain`.

The way from one state to the other is walked so that the sum is exact by construction. First what became known between the
two instants, at the first day: each balance, then, person by person, each event in the order in which it came; what it moves
is the difference it makes. Then the days, as known at the second instant: on each day the steps of the persons' timelines
(`stream.causes`), and what balances hold of them. A balance replaces the figure on its D0: what that moves is the balance's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from stream.causes import BALANCES, REGION_CODES, TURNED_17, Origin, learned, steps
from stream.count import Context, Part, count
from stream.events import Event, NikChange, OpeningBalance
from stream.explanation import Cause, Explanation, Heard, Question, shown_order
from stream.identity import families, persons
from stream.opening import Balance, Book
from stream.opening_figures import NOTHING, Extra, plus
from stream.reference import Reference
from stream.rules import Rules
from stream.scope import Scope, less, or_zero, scheduled_on, times
from stream.tally import unpack

Events = dict[str, list[Event]]
"""Events by the pseudonym they came under."""


def explain(heard: Iterable[Heard], question: Question, rules: Rules, reference: Reference) -> Explanation:
    """All causes of the change that the question asks about."""
    old, new = _split(heard, question)
    walk = _Walk(question, rules, reference, old, new)
    begun = walk.figure(question.begin)
    walk.learn_balances()
    walk.learn_events()
    walk.pass_days()
    return Explanation(walk.causes(), less(walk.figure(question.end), begun).counts)


def _split(heard: Iterable[Heard], question: Question) -> tuple[list[Heard], list[Heard]]:
    """What was known at the first instant, and what became known by the second, in the order in which it came."""
    old: list[Heard] = []
    new: list[Heard] = []
    for one in heard:
        if question.known_from is None or one.received_at <= question.known_from:
            old.append(one)
        elif question.known_to is None or one.received_at <= question.known_to:
            new.append(one)
    return old, sorted(new, key=_arrival)


def _arrival(one: Heard) -> tuple[int, int, str, str, str]:
    return (one.received_at, one.event.time, one.event.source, one.event.id, one.subject or "")


class _Walk:
    """From one state of a region's figure to another, collecting causes."""

    def __init__(
        self, question: Question, rules: Rules, reference: Reference, old: list[Heard], new: list[Heard]
    ) -> None:
        """Begin at the first state."""
        self.question = question
        self.rules = rules
        self.reference = reference
        self.new = new
        self.known: Events = defaultdict(list)
        self.balances: list[OpeningBalance] = []
        self._subjects: dict[int, str] = {}
        for one in old:
            self._take(one)
        self.scope = self._scope()
        self._parts: dict[str, list[Part]] = {}
        self._persons: list[Events] | None = None
        self._moved: defaultdict[tuple[str, int, str | None, int], int] = defaultdict(int)
        self._stated: dict[tuple[str, int, str | None, int], Extra] = {}
        self._events: dict[int, Event | OpeningBalance] = {}

    def _take(self, one: Heard) -> None:
        if isinstance(one.event, OpeningBalance):
            self.balances.append(one.event)
        elif one.subject is not None:
            self.known[one.subject].append(one.event)
            self._subjects[id(one.event)] = one.subject

    def _scope(self) -> Scope:
        return Scope(self.question.region, Book(self.balances, self.reference.places))

    def figure(self, day: int) -> Extra:
        """The region's figure as known now, straight from all persons."""
        tally = sum(self.scope.contributions(self._counted(one), day) for one in self._components())
        return Extra(self._stated_by(self.scope, day).rows(unpack(tally)))

    def _stated_by(self, scope: Scope, day: int) -> Extra:
        return NOTHING if self.question.people_only else scope.stated(day)

    def _components(self) -> list[Events]:
        """The persons as known now; found once, because they are gone through at both ends and on the way."""
        if self._persons is None:
            self._persons = list(_components(self.known))
        return self._persons

    def _counted(self, component: Events) -> list[Part]:
        """A person as known now; kept, because it is asked for at both ends and on the way."""
        subject = min(component)
        found = self._parts.get(subject)
        if found is None:
            found = self._parts[subject] = self.parts(component, self.scope)
        return found

    def parts(self, events: Events, scope: Scope) -> list[Part]:
        """The parts of the persons that these events are of."""
        context = Context(self.rules, self.reference, scope.book)
        if len(events) == 1:
            return [count(events, context)] if all(events.values()) else []
        return [count(component, context) for component in _components(events)]

    def add(self, origin: Origin, day: int, subject: str | None, moved: int, stated: Extra = NOTHING) -> None:
        """Count what a cause moved."""
        event = origin.event
        key = (origin.kind, day, subject if event is None else self._subjects.get(id(event), subject), id(event))
        self._moved[key] += moved
        if stated is not NOTHING:
            self._stated[key] = plus(self._stated.get(key, NOTHING), stated)
        if event is not None:
            self._events[id(event)] = event

    def causes(self) -> list[Cause]:
        """Those that moved anything."""
        found = [
            Cause(kind, day, subject, self._events.get(number), moved, self._stated.get(key, NOTHING))
            for key, moved in self._moved.items()
            for kind, day, subject, number in (key,)
        ]
        return sorted((one for one in found if one.moves()), key=shown_order)

    def learn_balances(self) -> None:
        """What each balance that became known makes of the figure of the first day."""
        day = self.question.begin
        for one in self.new:
            if isinstance(one.event, OpeningBalance):
                before = self.scope
                self._take(one)
                self._parts.clear()
                self.scope = self._scope()
                moved = 0
                for component in _components(self.known):
                    moved += self.scope.contributions(self.parts(component, self.scope), day)
                    moved -= before.contributions(self.parts(component, before), day)
                stated = less(or_zero(self._stated_by(self.scope, day)), or_zero(self._stated_by(before, day)))
                self.add(Origin(BALANCES, one.event), day, None, moved, stated)

    def learn_events(self) -> None:
        """What each event that became known makes of the figure of the first day, family by family."""
        new: defaultdict[str, list[Heard]] = defaultdict(list)
        known: Events = {subject: list(events) for subject, events in self.known.items()}
        for one in self.new:
            if one.subject is not None:
                new[one.subject].append(one)
                self._take(one)
        # Who is whom may be told by a new event too: nobody's parts outlast one.
        if new:
            self._parts.clear()
            self._persons = None
        # Not persons: a change of NIK that loses a conflict to what became known later parts again whom it joined.
        for family in families(self.known, _changed(self.known)) if new else ():
            arrived = sorted((one for subject in family for one in new[subject]), key=_arrival)
            if arrived:
                self._learn({subject: known.get(subject, []) for subject in family}, arrived)

    def _learn(self, known: Events, arrived: list[Heard]) -> None:
        day = self.question.begin
        before = self.parts(known, self.scope)
        for one in arrived:
            if one.subject is None or not isinstance(one.event, Event):
                continue
            known[one.subject].append(one.event)
            after = self.parts(known, self.scope)
            moved = self.scope.contributions(after, day) - self.scope.contributions(before, day)
            if moved:
                self.add(learned(one.event), self._since(before, after, moved), one.subject, moved)
            before = after

    def _since(self, before: list[Part], after: list[Part], moved: int) -> int:
        """The first day from which on, up to the first day asked for, the figures differ as on that one."""
        day = self.question.begin
        turns = {day for part in (*before, *after) for day, _, _ in part.timeline.spans()}
        turns |= {on for part in (*before, *after) for _, on, _ in part.held}
        for turn in sorted((turn for turn in turns if 0 < turn < day), reverse=True):
            if self.scope.contributions(after, turn) - self.scope.contributions(before, turn) != moved:
                break
            day = turn
        return day

    def pass_days(self) -> None:
        """What every day after the first one moved, as known at the second instant."""
        turns = frozenset(self._days(self.scope.turns))
        for component in self._components():
            for part in self._counted(component):
                self._pass(part, component, turns)
        if not self.question.people_only:
            self._pass_stated()

    def _days(self, days: Iterable[int]) -> list[int]:
        return sorted({day for day in days if self.question.begin < day <= self.question.end})

    def _pass(self, part: Part, component: Events, turns: frozenset[int]) -> None:
        subject = min(component)
        for day in self._days([*(on for on, _, _ in part.timeline.spans()), *(on for _, on, _ in part.held), *turns]):
            origins: list[Origin] = []
            told = 0
            for before, after in pairwise(steps(part, day, self.rules)):
                if after.origin is not None:
                    moved = self._within(after.place, after.tally, day) - self._within(before.place, before.tally, day)
                    self.add(after.origin, day, subject, moved)
                    told += moved
                    origins.append(after.origin)
            told += self._pass_held(part, component, day, origins)
            if day in turns:
                moved = self.scope.contribution(part, day) - self.scope.contribution(part, day - 1) - told
                if moved:
                    self.add(self._turned(part, day), day, None, moved)

    def _turned(self, part: Part, day: int) -> Origin:
        """What composes the figure anew on a day, for whoever is there."""
        places = (part.timeline.at(day)[1], part.timeline.at(day - 1)[1])
        begun = next((one for place in places if (one := self.scope.begins(place, day))), None)
        begun = begun or next(iter(self.scope.beginning(day)), None)
        if begun is not None and day not in self.scope.changes:
            return Origin(BALANCES, begun.event)
        return Origin(REGION_CODES if day in self.scope.changes else BALANCES)

    def _within(self, place: str, tally: int, day: int) -> int:
        """What someone counts for in the region, but where a balance begins that day: there it is the balance that moves."""
        if not tally or self.scope.begins(place, day) is not None:
            return 0
        return self.scope.weight(place, day) * tally

    def _pass_held(self, part: Part, component: Events, day: int, origins: Sequence[Origin]) -> int:
        """What balances begin or cease to hold of someone on a day; but for those that begin that day."""
        told = 0
        for column in dict.fromkeys(column for column, on, _ in part.held if on == day):
            balance = self._balance(column)
            weight = self.scope.weight(column, day)
            if not weight or balance.day == day:
                continue
            moved = weight * _held_on(part, column, day)
            told += moved
            if day == balance.day + 1:
                moved -= self._report_late(component, balance, weight)
                self.add(Origin(BALANCES, balance.event), day, min(component), moved)
            else:
                self.add(_obliging(origins), day, min(component), moved)
        return told

    def _balance(self, column: str) -> Balance:
        return next(balance for balance in self.scope.book if balance.column == column)

    def _report_late(self, component: Events, balance: Balance, weight: int) -> int:
        """What a balance did not know in time moves its figure on the day after D0: each event, in the order reported."""
        day = balance.day + 1
        known = {subject: [one for one in events if balance.in_time(one)] for subject, events in component.items()}
        late = [(one, subject) for subject, events in component.items() for one in events if not balance.in_time(one)]
        before = first = self._held(known, balance.column, day)
        for event, subject in sorted(late, key=lambda one: (one[0].time, one[0].source, one[0].id, one[1])):
            known[subject].append(event)
            after = self._held(known, balance.column, day)
            if after != before:
                self.add(learned(event), day, subject, weight * (after - before))
            before = after
        return weight * (before - first)

    def _held(self, events: Events, column: str, day: int) -> int:
        return sum(_held_on(part, column, day) for part in self.parts(events, self.scope))

    def _pass_stated(self) -> None:
        """What balances state: their schedules, day by day; each on its D0 against the one before; and what decrees move."""
        lines = {line.on for balance in self.scope.book for line in balance.event.turning_17}
        for day in self._days([*self.scope.turns, *lines]):
            rest = less(or_zero(self.scope.stated(day)), or_zero(self.scope.stated(day - 1)))
            for balance in self.scope.book:
                # A balance counts as it stands, its column by what it holds: with the other sign.
                if balance.day < day and any(line.on == day for line in balance.event.turning_17):
                    turned = times(scheduled_on(balance, day), -self.scope.weight(balance.column, day))
                    self.add(Origin(TURNED_17, balance.event), day, None, 0, turned)
                    rest = less(rest, turned)
            if any(map(any, rest.counts)):
                begun = self.scope.beginning(day)
                origin = Origin(BALANCES, begun[0].event if len(begun) == 1 else None)
                self.add(Origin(REGION_CODES) if day in self.scope.changes else origin, day, None, 0, rest)


def _components(events: Events) -> Iterator[Events]:
    """The events of one person after another; whoever has none is nobody."""
    changed = _changed(events)
    merged = persons(events, changed) if changed else {}
    others = {subject for subjects in merged.values() for subject in subjects}
    for subject, of_subject in events.items():
        if of_subject and subject not in others:
            yield {subject: of_subject}
    for subjects in merged.values():
        yield {subject: events[subject] for subject in subjects if events[subject]}


def _changed(events: Events) -> list[str]:
    """The pseudonyms under which a change of NIK was sent."""
    return [subject for subject, of_subject in events.items() if any(type(one) is NikChange for one in of_subject)]


def _obliging(origins: Sequence[Origin]) -> Origin:
    """What a balance's schedule counts on a day: the obligation that begins that day, else somebody's 17th birthday."""
    if len(origins) == 1:
        return origins[0]
    return next((one for one in origins if one.kind == TURNED_17), Origin(TURNED_17))


def _held_on(part: Part, column: str, day: int) -> int:
    return sum(tally for name, on, tally in part.held if name == column and on == day)
