"""What a region's figure is made of: the people in it, the totals that balances state, what balances hold of people.

In: a region, the book of balances, the places of region codes. Out: `Scope`: one person's contribution to the figure of a day,
and what balances state. The sum of both over all persons is the figure that `stream.rollup` composes. Called by
`stream.explain`.

A figure is a sum of columns, each taken a whole number of times: mostly once or not at all, less what a balance holds. How
often is asked of the roll-up itself, with one person in the column, so that nothing of its rules is said here a second time.
It changes only on the D0 of a balance and on days on which codes of regions change.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from stream.count import Part
from stream.engine import partial
from stream.excess import excess
from stream.opening import Balance, Book
from stream.opening_figures import NOTHING, Extra, Row
from stream.opening_figures import part as balance_part
from stream.regions import within
from stream.rollup import Partial, Rollup
from stream.tally import UNITS

_ONE: Final = UNITS[0][-1]
"""One person who counts as everything."""


class Structure:
    """How often each column counts in a region's figure, between two days on which that changes."""

    def __init__(self, region: str, book: Book, day: int) -> None:
        """As on a day."""
        self._region, self._book, self._day = region, book, day
        self._excess = excess(book, day)
        self._rollup = Rollup(places=book.places)
        self._weights: dict[str, int] = {}
        for place in book.by_region:
            self._rollup.apply(0, place, self._partial(place, {}))
        self.stated = self._rows()

    def _partial(self, place: str, columns: dict[str, int]) -> Partial:
        return partial(place, self._day, columns, self._book, self._excess)

    def _rows(self) -> tuple[Row, ...]:
        """The region's figure with nobody but who was put into a column."""
        self._rollup.touch(self._region)
        self._rollup.take_changed(self._day)
        return self._rollup.figure(self._region, self._day).counts

    def weight(self, column: str) -> int:
        """How often the column counts; a measure that is not stated counts as nothing."""
        found = self._weights.get(column)
        if found is None:
            found = self._weights[column] = self._asked(column)
        return found

    def _asked(self, column: str) -> int:
        is_balance = "@" in column
        if not is_balance:
            is_inside = within(self._book.places.code(column, self._day), self._region)
            if not is_inside or not self._book:
                return int(is_inside)
        touched = self._book.by_region if is_balance else (column,)
        for place in touched:
            self._rollup.apply(0, place, self._partial(place, {column: _ONE}))
        rows = self._rows()
        for place in touched:
            self._rollup.apply(0, place, self._partial(place, {}))
        *_, totals = zip(*self.stated, strict=True)
        *_, with_one = zip(*rows, strict=True)
        found = (one - none for one, none in zip(with_one, totals, strict=True) if one is not None and none is not None)
        return next(found, 0)


class Scope:
    """One region under one book of balances."""

    def __init__(self, region: str, book: Book) -> None:
        """Find the days on which the figure is composed anew."""
        self.region = region
        self.book = book
        self.changes = frozenset(book.places.days)
        self.turns = sorted({balance.day for balance in book} | self.changes)
        self._structures: dict[int, Structure] = {}

    def _at(self, day: int) -> Structure:
        number = bisect_right(self.turns, day)
        if number not in self._structures:
            self._structures[number] = Structure(self.region, self.book, day)
        return self._structures[number]

    def weight(self, column: str, day: int) -> int:
        """How often a column (a place, or what a balance holds) counts in the figure of a day."""
        return self._at(day).weight(column)

    def contribution(self, part: Part, day: int) -> int:
        """A person's part of the region's figure, as a tally: where they are, less what balances already hold of them."""
        structure = self._at(day)
        _, place, there = part.timeline.at(day)
        tally = structure.weight(place) * there if place else 0
        return tally + sum(structure.weight(column) * held for column, on, held in part.held if on <= day)

    def contributions(self, parts: Iterable[Part], day: int) -> int:
        """Those of several persons."""
        return sum(self.contribution(part, day) for part in parts)

    def stated(self, day: int) -> Extra:
        """What the balances in force state of a day, schedules included; null where the region has none yet."""
        return Extra(Structure(self.region, self.book, day).stated) if self.book else NOTHING

    def beginning(self, day: int) -> list[Balance]:
        """The balances that begin on a day to play a part in the figure."""
        return [balance for balance in self.book if balance.day == day and self.weight(balance.column, day)]

    def begins(self, place: str, day: int) -> Balance | None:
        """The one of them that a place lies in."""
        if not self.book:
            return None
        inside = self.book.places.inside
        return next((one for one in self.beginning(day) if place and inside(place, one.region, day)), None)


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


def times(figures: Extra, sign: int) -> Extra:
    """The same so many times, 0 for what is not stated."""
    return Extra(tuple(tuple(sign * (value or 0) for value in row) for row in figures.counts))  # type: ignore[misc]


def scheduled_on(balance: Balance, day: int) -> Extra:
    """What a balance's schedule adds on a day."""
    before, after = (or_zero(balance_part(balance.event, on, governs=True).extra()) for on in (day - 1, day))
    return less(after, before)
