"""Opening balances: register totals of regions without a person register, and what they already hold of each person.

In: the accepted opening_balance events. Out: the book of balances: which one governs which region when, and which places
each holds (contract.md section 2, "Opening balances"). Called by `stream.count`, the engine and the ledger worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stream.calendar import end_of_day
from stream.events import Event, OpeningBalance, Register
from stream.ledger import content_digest
from stream.places import FOREVER, NO_CHANGES, Places
from stream.reference import Reference
from stream.regions import lineage


class Balance(NamedTuple):
    """A standing balance: governs `region` from the end of `day` (D0) until `until`, the D0 of the next, or for ever.

    region: the column of the place. column: the name of its own column of postings. in_time_until: the first instant
    that is no longer in time.
    """

    region: str
    day: int
    until: int | None
    column: str
    in_time_until: int
    event: OpeningBalance

    def in_time(self, event: Event) -> bool:
        """Whether the balance already knew of the event: reported by the end of D0, or entered for the opening."""
        return event.time < self.in_time_until or (isinstance(event, Register) and event.in_opening)

    def governs(self, day: int) -> bool:
        """Whether this is the region's balance on that day."""
        return self.day <= day and (self.until is None or day < self.until)


class Book:
    """All balances that stand, by the column of their region; made anew from the set of opening_balance events.

    events: all of them, each once. accepted: without those that lost a conflict.
    """

    def __init__(self, events: Iterable[OpeningBalance] = (), places: Places = NO_CHANGES) -> None:
        """Decide conflicts and replacements: of one region and D0 the latest (time, source, id) stands."""
        self._by_id = _by_id(events)
        self.events = tuple(event for alike in self._by_id.values() for event in alike)
        self.accepted = tuple(
            alike[0] if len(alike) == 1 else min(alike, key=lambda one: (one.time, content_digest(one)))
            for alike in self._by_id.values()
        )
        self.anomalies = [
            (event, "conflicting_duplicate")
            for event, alike in zip(self.accepted, self._by_id.values(), strict=True)
            if len(alike) > 1
        ]
        self.places = places
        self.by_region: dict[str, tuple[Balance, ...]] = {}
        for balance in sorted(_standing(self.accepted, places), key=lambda one: one.day):
            self.by_region[balance.region] = (*self.by_region.get(balance.region, ()), balance)
        # Where a balance's region lay on each of its days, to find those of a place by the place's codes.
        self._on_code: dict[tuple[int, str], list[Balance]] = {}
        self._days = sorted({balance.day for balance in self})
        for balance in self:
            self._on_code.setdefault((balance.day, places.code(balance.region, balance.day)), []).append(balance)
        self._above: dict[str, tuple[Balance, ...]] = {}
        self._at_code: dict[int, dict[str, tuple[Balance, ...]]] = {}
        self._touching: dict[str, tuple[Balance, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.by_region)

    def __iter__(self) -> Iterator[Balance]:
        for balances in self.by_region.values():
            yield from balances

    def news(self, events: Iterable[OpeningBalance]) -> list[OpeningBalance]:
        """Those of the events that the book does not have, each once."""
        return [
            event
            for named, alike in _by_id(events).items()
            for event in alike
            if event not in self._by_id.get(named, ())
        ]

    def all_anomalies(self, reference: Reference) -> list[tuple[OpeningBalance, str]]:
        """The anomalies of the balances themselves."""
        unknown = [event for event in self.accepted if not reference.known(event.region, event.occurred_on)]
        return [*self.anomalies, *((event, "unknown_region") for event in unknown)]

    def governing(self, region: str, day: int) -> Balance | None:
        """The balance that governs a region's column on a day; None before its first D0 and where it has none."""
        for balance in reversed(self.by_region.get(region, ())):
            if balance.day <= day:
                return balance if balance.governs(day) else None
        return None

    def is_to_come(self, region: str, day: int) -> bool:
        """Whether a region's column has balances, all of them of later days."""
        return region in self.by_region and day < self.by_region[region][0].day

    def above(self, place: str) -> tuple[Balance, ...]:
        """Every balance, of whatever day, in whose region the place lay on its D0: those that can hold its people."""
        found = self._above.get(place)
        if found is None:
            found = self._above[place] = tuple(
                balance
                for day in self._days
                for code in lineage(self.places.code(place, day))
                for balance in self._on_code.get((day, code), ())
            )
        return found

    def touching(self, place: str) -> tuple[Balance, ...]:
        """Those above, and every balance in whose region the place came to lie after D0."""
        found = self._touching.get(place)
        if found is None:
            last_days = (*(day - 1 for day in self.places.days), FOREVER)
            balances = (
                balance
                for day in last_days
                for code in lineage(self.places.code(place, day))
                for balance in self.at(code, day)
                if balance.day <= day
            )
            found = self._touching[place] = tuple({balance.column: balance for balance in balances}.values())
        return found

    def at(self, code: str, day: int) -> tuple[Balance, ...]:
        """Every balance, of whatever day, whose region has the code on that day."""
        era = self.places.era(day)
        if era not in self._at_code:
            at_code: dict[str, list[Balance]] = {}
            for balance in self:
                at_code.setdefault(self.places.code_in(balance.region, era), []).append(balance)
            self._at_code[era] = {code: tuple(balances) for code, balances in at_code.items()}
        return self._at_code[era].get(code, ())

    def is_governed(self, place: str) -> bool:
        """Whether the place lies in a region with any accepted balance."""
        return bool(self.above(place))


def _by_id(events: Iterable[OpeningBalance]) -> dict[tuple[str, str], list[OpeningBalance]]:
    """Each once, under its source and id; more than one there are in conflict."""
    found: dict[tuple[str, str], list[OpeningBalance]] = {}
    for event in events:
        alike = found.setdefault((event.source, event.id), [])
        if event not in alike:
            alike.append(event)
    return found


def _standing(events: Iterable[OpeningBalance], places: Places) -> Iterator[Balance]:
    """The balances that stand, each until the next of the same place."""
    of_place: dict[str, list[tuple[str, OpeningBalance]]] = {}
    for event in sorted(events, key=lambda one: (one.time, one.source, one.id)):
        region, day = places.at(event.region, event.occurred_on), event.occurred_on
        others = of_place.setdefault(places.last(region), [])
        others[:] = [
            (other, earlier)
            for other, earlier in others
            if earlier.occurred_on != day or not places.same(other, region, day)
        ]
        others.append((region, event))
    for balances in of_place.values():
        for region, event in balances:
            day = event.occurred_on
            later = [
                other.occurred_on
                for other_region, other in balances
                if other.occurred_on > day and places.same(region, other_region, other.occurred_on)
            ]
            # The day ends by the zone of the code as sent.
            ends = end_of_day(day, event.region)
            yield Balance(region, day, min(later, default=None), column(region, day), ends, event)


def column(region: str, day: int) -> str:
    """The name of the column of what the balance of `region` at the end of `day` holds of known people."""
    return f"{region}@{day}"
