"""Stocks and flows of every column, period by period, out of what all partitions have said of their cells.

In: cells, in any order. Out: the sums of one period after the other, and the places that anything was said of. Pure; called by
`stream.closer`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from collections.abc import Set as AbstractSet

from stream.contribution import Change
from stream.engine import Sums


class Told:
    """What was said of all cells, by period; and the stocks up to the last period that was asked for.

    places: all that were said anything of. lived_in: those where anything else than zeros was.
    """

    def __init__(self, stated: AbstractSet[str]) -> None:
        """Nothing said. stated: the regions of the balances: also one that is closed by its balance alone is left, when another
        one under the balance's id takes its place."""
        self.places = set(stated)
        self.lived_in: set[str] = set()
        self.of_period: defaultdict[int, list[tuple[str, Change]]] = defaultdict(list)
        self._stocks: tuple[defaultdict[str, int], defaultdict[str, int]] = (defaultdict(int), defaultdict(int))

    def add(self, index: int, column: str, change: Change, *, is_before: bool) -> None:
        """Take a cell. is_before: it is of a period before the first that is asked for."""
        if "@" not in column:
            self.places.add(column)
            if any(change):
                self.lived_in.add(column)
        if is_before:
            self._move(column, change)
        else:
            self.of_period[index].append((column, change))

    def _move(self, column: str, change: Change) -> None:
        by_event, by_report = self._stocks
        if change.stock_by_event:
            by_event[column] += change.stock_by_event
        if change.stock_by_report:
            by_report[column] += change.stock_by_report

    def sums(self, index: int) -> Generator[None, None, tuple[Sums, Sums]]:
        """By event date and by report date; of the period after the one that was asked for before. A step for each cell."""
        opening = [dict(stock) for stock in self._stocks]
        by_event: defaultdict[str, int] = defaultdict(int)
        by_report: defaultdict[str, int] = defaultdict(int)
        for column, change in self.of_period[index]:
            self._move(column, change)
            if change.flows_by_event:
                by_event[column] += change.flows_by_event
            if change.flows_by_report:
                by_report[column] += change.flows_by_report
            yield
        return Sums(opening[0], self._stocks[0], by_event), Sums(opening[1], self._stocks[1], by_report)
