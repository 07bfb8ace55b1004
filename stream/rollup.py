"""Partial figures of all partitions, added up from villages to the country.

In: absolute partials, one per (partition, region). Out: the figures of every region whose value may have changed. Called
by the roll-up agent and by the counting engine behind `lampit count`, so both compose figures in one way.

A region's figure is what is known (the people counted in its subtree) plus an `Extra`: what opening balances add. Only
balance regions and their ancestors have one.
"""

from __future__ import annotations

from typing import NamedTuple

from stream.opening_figures import NOTHING, BalancePart, Extra, minus, plus
from stream.regions import COUNTRY, lineage, parent
from stream.tally import unpack


class Partial(NamedTuple):
    """One partition's absolute part of one region: people placed at this very code, and its part of the balance."""

    own: int = 0
    held: int = 0
    balance: BalancePart | None = None


class Figure(NamedTuple):
    """A region's figures: per measure (M, F, unknown, total), None where a balance does not say."""

    counts: tuple[tuple[int | None, int | None, int | None, int | None], ...]
    opening: str
    stale_denominator: bool


class Rollup:
    """The sums of all regions as of one day."""

    def __init__(self, stale_after_days: int = 90) -> None:
        """An empty country."""
        self._stale_after_days = stale_after_days
        self._partials: dict[tuple[int, str], Partial] = {}
        self._known: dict[str, int] = {COUNTRY: 0}
        self._held: dict[str, int] = {}
        self._balances: dict[str, BalancePart] = {}
        self._extras: dict[str, Extra] = {}
        self._children: dict[str, set[str]] = {}
        self._dirty: set[str] = set()
        self._opened: set[str] = set()

    def apply(self, partition: int, region: str, partial: Partial) -> None:
        """Replace one partition's part of a region; the region and everything above may have changed."""
        before = self._partials.get((partition, region), Partial())
        self._partials[partition, region] = partial
        above = lineage(region)
        difference = partial.own - before.own
        for code in above:
            self._known[code] = self._known.get(code, 0) + difference
        self._dirty.update(above)
        self._held[region] = self._held.get(region, 0) + partial.held - before.held
        if partial.balance != before.balance:
            self._set_balance(region, partial.balance)

    def _set_balance(self, region: str, balance: BalancePart | None) -> None:
        if balance is not None:
            self._balances[region] = balance
            self._open(region)
        elif self._balances.pop(region, None) is not None:
            # It lost a conflict to a balance of another region; several partitions say so.
            self._children.clear()
            self._extras.clear()
            for other in self._balances:
                self._open(other)
            self._dirty.update(self._known)

    def _open(self, region: str) -> None:
        for code in lineage(region):
            above = parent(code)
            if above is not None:
                self._children.setdefault(above, set()).add(code)
        self._opened.add(region)

    def touch(self, region: str) -> None:
        """Give a region out again, whether or not its figures moved."""
        self._dirty.add(region)

    def all_dirty(self) -> None:
        """Mark every region as to be given out again: after a takeover, or when the day turns."""
        self._dirty.update(self._known)

    def take_changed(self, day: int) -> list[tuple[str, Figure]]:
        """The regions that may have changed since the last call and their figures on `day`, deepest first."""
        if self._opened:
            # Those below a new balance are now below one ("parent"), whether or not their figures moved.
            self._dirty.update(code for code in self._known if not self._opened.isdisjoint(lineage(code)))
            self._opened.clear()
        changed = sorted(self._dirty, key=lambda code: (-len(lineage(code)), code))
        self._dirty.clear()
        figures: list[tuple[str, Figure]] = []
        for code in changed:
            if code in self._balances or code in self._children:
                self._extras[code] = self._extra(code, day)
            figures.append((code, self.figure(code, day)))
        return figures

    def _extra(self, code: str, day: int) -> Extra:
        balance = self._balances.get(code)
        if balance is not None and balance.governs:
            return minus(balance.extra(), self._held.get(code, 0))
        total = NOTHING
        for child in self._children.get(code, ()):
            total = plus(total, self._contribution(child))
        return total

    def _contribution(self, child: str) -> Extra:
        """What a child adds to its parent besides the people known in it; before its first D0 it is left out."""
        balance = self._balances.get(child)
        if balance is not None and not balance.governs:
            return minus(NOTHING, self._known.get(child, 0))
        return self._extras.get(child, NOTHING)

    def opening(self, code: str) -> str:
        """balance | none | partial | parent | register, in this precedence (contract.md section 2)."""
        balance = self._balances.get(code)
        if balance is not None:
            return "balance" if balance.governs else "none"
        if code in self._children:
            return "partial"
        return "parent" if any(above in self._balances for above in lineage(code)) else "register"

    def figure(self, code: str, day: int) -> Figure:
        """The figures of one region; on the day of the last `take_changed`."""
        opening = self.opening(code)
        if opening == "none":
            return Figure(((None,) * 4,) * 6, opening, False)
        lanes = unpack(self._known.get(code, 0))
        extra = self._extras.get(code)
        rows = (extra or NOTHING).rows(lanes)
        balance = self._balances.get(code)
        stale = balance is not None and balance.governs and not balance.has_schedule
        return Figure(rows, opening, stale and balance is not None and day >= balance.day + self._stale_after_days)
