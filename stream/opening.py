"""Opening balances: register totals of regions without a person register, and what they already hold of each person.

In: the accepted opening_balance events. Out: the book of balances, and per person and balance the tally V0 that the
balance holds of them (contract.md section 2, "Opening balances"). Called by `stream.count`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stream.calendar import end_of_day
from stream.events import Event, OpeningBalance, Register
from stream.ledger import content_digest
from stream.regions import Reference, lineage


class Balance(NamedTuple):
    """A standing balance: governs `region` from the end of `day` (D0) until `until`, the D0 of the next, or for ever.

    column: the name of its own column of postings. in_time_until: the first instant that is no longer in time.
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
    """All balances that stand, by region; made anew from the set of opening_balance events."""

    def __init__(self, events: Iterable[OpeningBalance] = ()) -> None:
        """Decide conflicts and replacements: of one region and D0 the latest (time, source, id) stands."""
        accepted: dict[tuple[str, str], OpeningBalance] = {}
        self.anomalies: list[tuple[OpeningBalance, str]] = []
        for event in events:
            other = accepted.setdefault((event.source, event.id), event)
            if other != event:
                first, second = sorted((other, event), key=lambda one: (one.time, content_digest(one)))
                accepted[event.source, event.id] = first
                self.anomalies = [
                    pair for pair in self.anomalies if (pair[0].source, pair[0].id) != (second.source, second.id)
                ]
                self.anomalies.append((second, "conflicting_duplicate"))
        self.events = tuple(accepted.values())
        latest: dict[str, dict[int, OpeningBalance]] = {}
        for event in sorted(self.events, key=lambda one: (one.time, one.source, one.id)):
            latest.setdefault(event.region, {})[event.occurred_on] = event
        self.by_region = {region: _periods(region, of_region) for region, of_region in latest.items()}
        self._above: dict[str, tuple[Balance, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.by_region)

    def all_anomalies(self, reference: Reference) -> list[tuple[OpeningBalance, str]]:
        """The anomalies of the balances themselves."""
        unknown = [event for event in self.events if not reference.known(event.region, event.occurred_on)]
        return [*self.anomalies, *((event, "unknown_region") for event in unknown)]

    def governing(self, region: str, day: int) -> Balance | None:
        """The region's own balance on a day; None before its first D0 and where it has none."""
        for balance in reversed(self.by_region.get(region, ())):
            if balance.day <= day:
                return balance
        return None

    def above(self, place: str) -> tuple[Balance, ...]:
        """Every balance, of whatever day, of the place or of a region it lies in."""
        found = self._above.get(place)
        if found is None:
            found = tuple(balance for code in lineage(place) for balance in self.by_region.get(code, ()))
            self._above[place] = found
        return found

    def is_governed(self, place: str) -> bool:
        """Whether the place lies in a region with any accepted balance."""
        return bool(self.above(place))


def _periods(region: str, by_day: dict[int, OpeningBalance]) -> tuple[Balance, ...]:
    days = sorted(by_day)
    ends: Sequence[int | None] = [*days[1:], None]
    return tuple(
        Balance(region, day, until, column(region, day), end_of_day(day, region), by_day[day])
        for day, until in zip(days, ends, strict=True)
    )


def column(region: str, day: int) -> str:
    """The name of the column of what the balance of `region` at the end of `day` holds of known people."""
    return f"{region}@{day}"
