"""What a region's figure is made of: the people in it, the totals that balances state, what balances hold of people.

In: a region and the book of balances. Out: `Scope`: one person's contribution to the figure of a day, and what balances
state. The sum of both over all persons is the figure that `stream.rollup` composes. Called by `stream.explain`.

A region is divided once for all days: the topmost regions in it that have a balance, of whatever day, and the rest. Before
its first D0 such a region counts for nothing in what is above it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from stream.count import Part
from stream.opening import Balance, Book
from stream.opening_figures import NOTHING, Extra, plus
from stream.opening_figures import part as balance_part
from stream.regions import lineage, within

UNKNOWN: Final = Extra(((None, None, None, None),) * len(NOTHING.counts))
"""No measure stated."""

OUTSIDE: Final = ""
"""Inside the region, in none of those that have a balance."""


class Scope:
    """One region under one book of balances."""

    def __init__(self, region: str, book: Book) -> None:
        """Find the regions in it that have a balance and lie in no other such region of it."""
        self.region = region
        self.book = book
        balanced = [code for code in book.by_region if within(code, region)]
        self.tops = tuple(
            sorted(code for code in balanced if not any(other != code and within(code, other) for other in balanced))
        )
        self._area = lru_cache(maxsize=100_000)(self._area_of)

    def area(self, place: str) -> str | None:
        """Which division of the region a place lies in: a region with a balance, or OUTSIDE; None: not in the region."""
        return self._area(place)

    def _area_of(self, place: str) -> str | None:
        if not place or not within(place, self.region):
            return None
        return next((code for code in lineage(place) if code in self.tops), OUTSIDE)

    def governing(self, area: str, day: int) -> Balance | None:
        """The balance in force on a day in a region that has one; None before its first D0."""
        return self.book.governing(area, day)

    def columns(self, day: int) -> dict[str, str]:
        """Column of each balance in force on a day → its region."""
        found = ((top, self.governing(top, day)) for top in self.tops)
        return {balance.column: top for top, balance in found if balance is not None}

    def counts(self, place: str, day: int) -> bool:
        """Whether people at a place are part of the region's figure of a day."""
        area = self.area(place)
        return area is not None and (area == OUTSIDE or self.governing(area, day) is not None)

    def contribution(self, part: Part, day: int) -> int:
        """A person's part of the region's figure, as a tally: where they are, less what balances already hold of them."""
        span = part.timeline.at(day)
        tally = span.tally if self.counts(span.place, day) else 0
        if self.tops and part.held:
            columns = self.columns(day)
            tally -= sum(held for column, on, held in part.held if on <= day and column in columns)
        return tally

    def contribution_in(self, top: str, part: Part, day: int) -> int:
        """The same of one region that has a balance."""
        balance = self.governing(top, day)
        if balance is None:
            return 0
        span = part.timeline.at(day)
        tally = span.tally if self.area(span.place) == top else 0
        return tally - sum(held for column, on, held in part.held if on <= day and column == balance.column)

    def contributions(self, parts: Iterable[Part], day: int) -> int:
        """Those of several persons."""
        return sum(self.contribution(part, day) for part in parts)

    def stated(self, day: int) -> Extra:
        """What the balances in force state of a day, schedules included; null where the region has none yet."""
        if self.tops == (self.region,) and self.governing(self.region, day) is None:
            return UNKNOWN
        total = NOTHING
        for top in self.tops:
            total = plus(total, self.stated_in(top, day))
        return total

    def stated_in(self, top: str, day: int) -> Extra:
        """What one region's balance states of a day; nothing before its first D0."""
        balance = self.governing(top, day)
        return NOTHING if balance is None else balance_part(balance.event, day, governs=True).extra()


def less(first: Extra, second: Extra) -> Extra:
    """The difference; null where either is."""
    return Extra(
        tuple(
            tuple(None if a is None or b is None else a - b for a, b in zip(row, other, strict=True))  # type: ignore[misc]
            for row, other in zip(first.counts, second.counts, strict=True)
        )
    )


def or_zero(figures: Extra) -> Extra:
    """The same with 0 for what is not stated: between two figures that say it, it may be silent for a while."""
    return Extra(tuple(tuple(value or 0 for value in row) for row in figures.counts))  # type: ignore[misc]
