"""Partial figures of all partitions, added up from villages to the country.

In: absolute partials, one per (partition, place). Out: the figures of every region whose value may have changed. Called
by the roll-up agent and by the counting engine behind `lampit count`, so both compose figures in one way.

A region's figure is what is known (the people counted in its subtree) plus an `Extra`: what opening balances add. Only
balance regions and their ancestors have one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stream.opening_figures import NOTHING, BalancePart, Extra, minus, plus
from stream.places import NO_CHANGES, Places
from stream.regions import COUNTRY, lineage, parent
from stream.tally import unpack


class Partial(NamedTuple):
    """One partition's absolute part of one place: people who live at it and not below, and its part of the balance."""

    own: int = 0
    held: int = 0
    balance: BalancePart | None = None


class Figure(NamedTuple):
    """A region's figures: per measure (M, F, unknown, total), None where a balance does not say."""

    counts: tuple[tuple[int | None, int | None, int | None, int | None], ...]
    opening: str
    stale_denominator: bool


class Rollup:
    """The sums of all regions as of one day, each place under the code it has that day (docs/decisions/0007)."""

    def __init__(self, stale_after_days: int = 90, places: Places = NO_CHANGES, codes_of: int | None = None) -> None:
        """An empty country. codes_of: the day whose codes and hierarchy to use; None: those of the day asked for."""
        self._stale_after_days = stale_after_days
        self._places = places
        self._codes_of = codes_of
        self._partials: dict[tuple[int, str], Partial] = {}
        # By place: what the partitions' parts add up to.
        self._own: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._balances: dict[str, BalancePart] = {}
        # By code of the era: made from the above when the era turns, kept up to date until then.
        self._era: int | None = None
        self._known: dict[str, int] = {}
        self._opened_at: dict[str, set[str]] = {}
        self._children: dict[str, set[str]] = {}
        self._extras: dict[str, Extra] = {}
        self._dirty: set[str] = set()
        self._opened: set[str] = set()
        self._ended_too = False

    def apply(self, partition: int, place: str, partial: Partial) -> None:
        """Replace one partition's part of a place; its region and everything above may have changed."""
        before = self._partials.get((partition, place), Partial())
        self._partials[partition, place] = partial
        self._own[place] = self._own.get(place, 0) + partial.own - before.own
        self._held[place] = self._held.get(place, 0) + partial.held - before.held
        if self._era is not None:
            self._add(self._places.code_in(place, self._era), partial.own - before.own)
        if partial.balance != before.balance:
            self._set_balance(place, partial.balance)

    def _add(self, code: str, tally: int) -> None:
        above = lineage(code)
        for region in above:
            self._known[region] = self._known.get(region, 0) + tally
        self._dirty.update(above)

    def _set_balance(self, place: str, balance: BalancePart | None) -> None:
        if balance is None:
            # The balance of another name of the place governs now; several partitions say so.
            if self._balances.pop(place, None) is not None:
                self._era = None
            return
        self._balances[place] = balance
        if self._era is not None:
            self._open(place, self._places.code_in(place, self._era))

    def _open(self, place: str, code: str) -> None:
        self._opened_at.setdefault(code, set()).add(place)
        for region in lineage(code):
            above = parent(region)
            if above is not None:
                self._children.setdefault(above, set()).add(region)
        self._opened.add(code)

    def _turn(self, day: int) -> None:
        """Bring every place under its code of the day: only where the day passed a change, or at first."""
        era = self._places.era(day if self._codes_of is None else self._codes_of)
        if era == self._era:
            return
        self._era = era
        # What has nobody any more is given out once more.
        self._dirty.update(self._known)
        self._known = {COUNTRY: 0}
        for sums in (self._opened_at, self._children, self._extras):
            sums.clear()
        for place, tally in self._own.items():
            self._add(self._places.code_in(place, era), tally)
        for place in self._balances:
            self._open(place, self._places.code_in(place, era))

    def has_ended(self, region: str) -> bool:
        """Whether no place with a column here has the code, or one below it, on the day of the last `take_changed`."""
        return region not in self._known

    def touch(self, region: str) -> None:
        """Give a region out again, whether or not its figures moved."""
        self._dirty.add(region)

    def all_dirty(self) -> None:
        """Mark every region as to be given out again: after a takeover, or when the day turns.

        With those that ended: a predecessor may have given them out with people in them.
        """
        self._dirty.update(self._known)
        self._ended_too = True

    def take_changed(self, day: int) -> list[tuple[str, Figure]]:
        """The regions that may have changed since the last call and their figures on `day`, deepest first."""
        return list(self.each_changed(day))

    def each_changed(self, day: int) -> Iterator[tuple[str, Figure]]:
        """The same one by one: a whole country takes seconds. Nothing is to be applied until all are taken."""
        self._turn(day)
        if self._ended_too:
            self._ended_too = False
            earlier = (code for place in self._own for code in self._places.codes_before(place, self._era or 0))
            self._dirty.update(region for code in earlier for region in lineage(code))
        if self._opened:
            # Those below a new balance are now below one ("parent"), whether or not their figures moved.
            self._dirty.update(code for code in self._known if not self._opened.isdisjoint(lineage(code)))
            self._opened.clear()
        changed = sorted(self._dirty, key=lambda code: (-len(lineage(code)), code))
        self._dirty.clear()
        for code in changed:
            if code in self._opened_at or code in self._children:
                self._extras[code] = self._extra(code)
            yield code, self.figure(code, day)

    def _governing(self, code: str) -> list[str]:
        """The places at a code whose balances govern: several after a merge."""
        return [place for place in self._opened_at.get(code, ()) if self._balances[place].governs]

    def _extra(self, code: str) -> Extra:
        governing = self._governing(code)
        total = NOTHING
        for place in governing:
            total = plus(total, minus(self._balances[place].extra(), self._held.get(place, 0)))
        if not governing:
            for child in self._children.get(code, ()):
                total = plus(total, self._contribution(child))
        return total

    def _contribution(self, child: str) -> Extra:
        """What a child adds to its parent besides the people known in it; before its first D0 it is left out."""
        if child in self._opened_at and not self._governing(child):
            return minus(NOTHING, self._known.get(child, 0))
        return self._extras.get(child, NOTHING)

    def opening(self, code: str) -> str:
        """balance | none | partial | parent | register, in this precedence (contract.md section 2)."""
        if code in self._opened_at:
            return "balance" if self._governing(code) else "none"
        if code in self._children:
            return "partial"
        return "parent" if any(above in self._opened_at for above in lineage(code)) else "register"

    def figure(self, code: str, day: int) -> Figure:
        """The figures of one region; on the day of the last `take_changed`."""
        opening = self.opening(code)
        if opening == "none":
            return Figure(((None,) * 4,) * 6, opening, False)
        lanes = unpack(self._known.get(code, 0))
        extra = self._extras.get(code)
        rows = (extra or NOTHING).rows(lanes)
        governing = [self._balances[place] for place in self._governing(code)]
        stale = any(not one.has_schedule and day >= one.day + self._stale_after_days for one in governing)
        return Figure(rows, opening, stale)
