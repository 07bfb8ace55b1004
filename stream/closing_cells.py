"""What one partition of the ledger adds to the closings: cells by period and column, set down whenever the day turns.

In: persons whose events changed, and day records. Out: new values of cells, and a `Barrier` for each day that turned, with
the cells that changed since they were last given out. Called by `stream.partition`; `stream.closer` adds the partitions up.

A cell is whole, not a difference, so that giving one out twice is harmless. Only cells of periods that are over are given
out: those of later ones wait, marked, until their period ends.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from stream.contribution import Change, PeriodCell, contribution
from stream.count import Context, Groups, Part
from stream.events import OpeningBalance
from stream.opening import Book
from stream.periods import Periods


class Reader(Protocol):
    """The store as the last written batch left it."""

    def changes(self, cells: Sequence[PeriodCell]) -> list[Change]:
        """What each cell holds."""

    def unbarred(self, through: int) -> Iterator[PeriodCell]:
        """The cells of periods up to an index that changed since they were last given out."""

    def unbarred_balances(self) -> list[OpeningBalance]:
        """The balances that came since the last barrier."""


class Barrier(NamedTuple):
    """What a day record closes: all that came before it.

    known_day: the last business day that was over, an ordinal. offset: the next one of the log behind the record. cells: those
    of ended periods that changed since they were last given out, whole. balances: those that came since; book: all of them.
    """

    known_day: int
    offset: int
    cells: Mapping[PeriodCell, Change]
    balances: Sequence[OpeningBalance]
    book: Book


class ClosingCells:
    """The changes of one batch, over a store that stays as it is until they are written.

    changes: new values. unbarred: the cells to be marked as changed, barred: those whose mark goes (before others come).
    """

    def __init__(self, reader: Reader, periods: Periods | None) -> None:
        """No changes yet. periods: None when no month is closed; then nothing is posted."""
        self._reader = reader
        self._periods = periods
        self._moved: dict[PeriodCell, list[int]] = {}
        self._barred_balances: list[OpeningBalance] = []
        self.changes: dict[PeriodCell, Change] = {}
        self.unbarred: set[PeriodCell] = set()
        self.barred: set[PeriodCell] = set()
        self.barriers: list[Barrier] = []

    @property
    def are_kept(self) -> bool:
        """Whether any month is closed."""
        return self._periods is not None

    def post(self, groups: Groups, context: Context, parts: Sequence[Part], sign: int) -> None:
        """Add what the persons among some events add to the closings, or take it away (sign -1); `settle` applies it.

        parts: what `count` gave for each of them.
        """
        if self._periods is None:
            return
        for cell, change in contribution(groups, context, self._periods, parts).items():
            tallies = self._moved.setdefault(cell, [0, 0, 0, 0])
            for which, tally in enumerate(change):
                tallies[which] += sign * tally

    def settle(self) -> None:
        """Apply what was posted, and mark the cells that changed by it."""
        moved = {cell: tallies for cell, tallies in self._moved.items() if any(tallies)}
        self._moved = {}
        unread = [cell for cell in moved if cell not in self.changes]
        self.changes.update(zip(unread, self._reader.changes(unread), strict=True))
        for cell, tallies in moved.items():
            self.changes[cell] = Change(*map(operator.add, self.changes[cell], tallies))
        self.unbarred.update(moved)

    def bar(self, known_day: int, offset: int, book: Book, arrived: Sequence[OpeningBalance]) -> None:
        """Set down, as of now, what changed in the periods that are over; later changes are for the next barrier.

        arrived: the balances of this batch.
        """
        ended = -1 if self._periods is None else self._periods.last_ended(known_day)
        if ended < 0:
            return
        cells = {cell for cell in self._reader.unbarred(ended) if cell not in self.barred}
        cells |= {cell for cell in self.unbarred if cell[0] <= ended}
        unread = [cell for cell in cells if cell not in self.changes]
        values = {**self.changes, **dict(zip(unread, self._reader.changes(unread), strict=True))}
        waiting = [*self._reader.unbarred_balances(), *arrived]
        balances = [event for event in waiting if event not in self._barred_balances]
        self._barred_balances += balances
        self.barred |= cells
        self.unbarred -= cells
        self.barriers.append(Barrier(known_day, offset, {cell: values[cell] for cell in cells}, balances, book))
