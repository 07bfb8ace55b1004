"""What a balance says beyond the people known, when the codes of regions under balances change.

In: the book of balances and a day. Out: for each balance that governs, the balances whose statements add up to its region's
excess, with their signs. Called by the counting engine and the ledger worker (`stream.engine.partial`).

On a change day the own column of a region stays with it and what lies inside goes along with its codes
(docs/decisions/0007, reading 17). So Papua loses, when Merauke goes to another province, what Merauke states. Only
where balances are nested and one of them changes its code is this ever more than a balance by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from stream.opening import Balance, Book
from stream.opening_figures import BalancePart, part
from stream.regions import lineage

Signs = Mapping[str, int]
"""Column of a balance → how often its excess counts."""


class Below(NamedTuple):
    """The regions with a balance as they lie on one day: each one's code, and what is outermost below each."""

    codes: Mapping[str, str]
    outermost: Mapping[str, Sequence[Balance]]


@lru_cache(maxsize=16)
def excess(book: Book, day: int, codes_of: int | None = None) -> Excess:
    """Those of a book on a day, kept: the worker asks with every publication."""
    return Excess(book, day, codes_of)


class Excess:
    """The sums of one day: of which balances the excess of each region is made."""

    def __init__(self, book: Book, day: int, codes_of: int | None = None) -> None:
        """As on `day`, under its own codes or those of another day."""
        self._balances = {balance.column: balance for balance in book}
        self._signs: dict[str, Signs] = {}
        places = book.places
        for change in places.days:
            if change <= day:
                self._turn(book, [one for one in book if one.governs(change - 1)], change - 1, change)
        if codes_of is not None and places.era(codes_of) != places.era(day):
            self._turn(book, [one for one in book if one.governs(day)], day, codes_of)

    def _turn(self, book: Book, governing: Sequence[Balance], day: int, codes_of: int) -> None:
        places = book.places
        if all(places.code(one.region, day) == places.code(one.region, codes_of) for one in governing):
            return
        before, after = _below(book, governing, day), _below(book, governing, codes_of)
        now = {one.column: dict(self._signs.get(one.column, {one.column: 1})) for one in governing}
        own = {column: dict(signs) for column, signs in now.items()}
        for column, below in before.outermost.items():
            for one in below:
                _add(own[column], now[one.column], -1)
        # The deepest first: what lies below a region is complete before it is added.
        for one in sorted(governing, key=lambda one: -len(lineage(after.codes[one.column]))):
            for other in after.outermost.get(one.column, ()):
                _add(own[one.column], own[other.column], 1)
        self._signs.update(
            {column: {name: sign for name, sign in signs.items() if sign} for column, signs in own.items()}
        )

    def columns(self, balance: Balance) -> Signs:
        """The columns whose balances make up the excess of a governing balance's region."""
        return self._signs.get(balance.column, {balance.column: 1})

    def regions_of(self, columns: Iterable[str]) -> set[str]:
        """The regions in whose excess one of the columns counts, besides the balance's own."""
        wanted = set(columns)
        return {column.partition("@")[0] for column, signs in self._signs.items() if not wanted.isdisjoint(signs)}

    def part(self, balance: Balance, day: int, columns: Mapping[str, int]) -> tuple[int, BalancePart]:
        """What is already held of known people, and what is stated, on a day; `columns`: tallies by column."""
        signs = self.columns(balance)
        stated = part(balance.event, day, governs=True)
        held = 0
        for column, sign in signs.items():
            held += sign * columns.get(column, 0)
            if column != balance.column:
                stated = stated.with_other(part(self._balances[column].event, day, governs=True), sign)
        return held, stated


def _below(book: Book, governing: Sequence[Balance], day: int) -> Below:
    """Of several regions at one code the one in force on the day has what lies below it."""
    places = book.places
    codes = {one.column: places.code(one.region, day) for one in governing}
    at_code: dict[str, Balance] = {}
    for one in sorted(governing, key=lambda one: (not places.is_in_force(one.region, day), one.column)):
        at_code.setdefault(codes[one.column], one)
    outermost: dict[str, list[Balance]] = {}
    for one in governing:
        for code in lineage(codes[one.column])[1:]:
            if code in at_code:
                outermost.setdefault(at_code[code].column, []).append(one)
                break
    return Below(codes, outermost)


def _add(signs: dict[str, int], others: Mapping[str, int], sign: int) -> None:
    for column, times in others.items():
        signs[column] = signs.get(column, 0) + sign * times
