"""Figures that may be silent: what an opening balance says, measure by measure and sex by sex.

In: the counts of an opening_balance event. Out: `Extra`, which adds up the tree and keeps a measure that somebody below
does not state null in every ancestor. Called by `stream.rollup`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from stream.events import BySex, OpeningBalance
from stream.tally import MEASURES, unpack

_SEXES: Final = 3
_TOTAL: Final = 3
_OBLIGED: Final = MEASURES.index("obliged")

Count = int | BySex
Row = tuple[int | None, int | None, int | None, int | None]


class Extra(NamedTuple):
    """Per measure (M, F, unknown, total), None where not stated."""

    counts: tuple[Row, ...]

    def rows(self, lanes: tuple[int, ...]) -> tuple[Row, ...]:
        """These figures plus the people known, given as the lanes of a tally."""
        return plus(self, _of_lanes(lanes)).counts


NOTHING: Final = Extra(((0, 0, 0, 0),) * len(MEASURES))


def _of_lanes(lanes: tuple[int, ...]) -> Extra:
    width = len(MEASURES)
    rows = []
    for measure in range(width):
        male, female, unknown = lanes[measure], lanes[width + measure], lanes[2 * width + measure]
        rows.append((male, female, unknown, male + female + unknown))
    return Extra(tuple(rows))


def plus(first: Extra, second: Extra) -> Extra:
    """The sum; null where either is."""
    return Extra(
        tuple(
            tuple(None if a is None or b is None else a + b for a, b in zip(row, other, strict=True))  # type: ignore[misc]
            for row, other in zip(first.counts, second.counts, strict=True)
        )
    )


def minus(first: Extra, tally: int) -> Extra:
    """Less the people of a tally."""
    return plus(first, _of_lanes(unpack(-tally)))


class BalancePart(NamedTuple):
    """What a region's balance says on a day: `day` is D0, counts with its schedule up to the day; none before D0.

    governs: False while the first D0 is still to come. scheduled: those of the schedule who turned 17 by the day.
    others: the same of other balances that add to this one (`stream.excess`).
    """

    day: int
    governs: bool
    counts: tuple[tuple[str, Count], ...] = ()
    scheduled: tuple[int, int, int] = (0, 0, 0)
    has_schedule: bool = False
    others: tuple[int, int, int] = (0, 0, 0)

    def with_other(self, other: BalancePart, sign: int) -> BalancePart:
        """This and, with its sign, what another balance states; where either is silent so is the sum."""
        counts, others = dict(self.counts), dict(other.counts)
        both = tuple(
            (measure, _sum(counts[measure], others[measure], sign))
            for measure in MEASURES
            if measure in counts and measure in others
        )
        male, female, unknown = (
            mine + sign * theirs for mine, theirs in zip(self.others, other.scheduled, strict=True)
        )
        return self._replace(counts=both, others=(male, female, unknown))

    def extra(self) -> Extra:
        """The balance's figures, its schedule added to obliged."""
        stated: Mapping[str, Count] = dict(self.counts)
        rows = [_row(stated.get(measure)) for measure in MEASURES]
        male, female, unknown = (
            own + other
            for own, other in zip(self.scheduled if self.has_schedule else (0, 0, 0), self.others, strict=True)
        )
        if male or female or unknown:
            added: Row = (male, female, unknown, male + female + unknown)
            rows[_OBLIGED] = tuple(  # type: ignore[assignment]
                None if a is None or b is None else a + b for a, b in zip(rows[_OBLIGED], added, strict=True)
            )
        return Extra(tuple(rows))


def _sum(first: Count, second: Count, sign: int) -> Count:
    """By sex where both are."""
    if isinstance(first, BySex) and isinstance(second, BySex):
        return BySex(first.male + sign * second.male, first.female + sign * second.female)
    return _total(first) + sign * _total(second)


def _total(count: Count) -> int:
    return count.male + count.female if isinstance(count, BySex) else count


def _row(count: Count | None) -> Row:
    if count is None:
        return (None, None, None, None)
    if isinstance(count, BySex):
        return (count.male, count.female, 0, count.male + count.female)
    return (None, None, None, count)


def part(event: OpeningBalance, day: int, *, governs: bool) -> BalancePart:
    """A balance as its region's partial carries it on a day."""
    if not governs:
        return BalancePart(event.occurred_on, False)
    male = female = unknown = 0
    for line in event.turning_17:
        if event.occurred_on < line.on <= day:
            if isinstance(line.count, BySex):
                male, female = male + line.count.male, female + line.count.female
            else:
                unknown += line.count
    counts = tuple((measure, event.counts[measure]) for measure in MEASURES if measure in event.counts)
    return BalancePart(event.occurred_on, True, counts, (male, female, unknown), bool(event.turning_17))
