"""Partials apply when their head comes; an older epoch's are no more once the new one has published."""

from __future__ import annotations

from datetime import date

from stream.batches import Batches
from stream.partials import HeadRecord, PartialRecord, decode, encode, key
from stream.regions import COUNTRY
from stream.rollup import Partial, Rollup
from stream.tally import OBLIGED, POPULATION, UNITS

DAY = date(2025, 6, 1)
WOMAN = UNITS[1][POPULATION | OBLIGED]


def part(place: str, people: int, epoch: int, offset: int) -> PartialRecord:
    record = decode(key(place, 0), encode(place, Partial(people * WOMAN), 0, epoch, offset, DAY))
    assert isinstance(record, PartialRecord)
    return record


def population(rollup: Rollup) -> int | None:
    return dict(rollup.take_changed(DAY.toordinal())).get(COUNTRY, rollup.figure(COUNTRY, DAY.toordinal())).counts[0][3]


def test_nothing_counts_before_its_head() -> None:
    rollup = Rollup()
    batches = Batches(rollup)
    assert not batches.add(part("16.05.02.2001", 2, 1, 7))
    assert population(rollup) == 0
    assert batches.add(HeadRecord(0, 1, 7, DAY))
    assert population(rollup) == 2
    assert batches.heads[0].offset == 7


def test_a_new_epoch_that_reads_a_code_as_another_place_leaves_nothing_of_the_old() -> None:
    rollup = Rollup()
    batches = Batches(rollup)
    for record in (part("73.08.20.2007", 2, 1, 7), part("16.05.02.2001", 1, 1, 7), HeadRecord(0, 1, 7, DAY)):
        batches.add(record)
    assert population(rollup) == 3
    # The code's later place is told from the first: of the bare code the new epoch says nothing.
    for record in (part("73.08.20.2007~2022-11-09", 2, 2, 9), part("16.05.02.2001", 1, 2, 9), HeadRecord(0, 2, 9, DAY)):
        batches.add(record)
    assert population(rollup) == 3


def test_a_takeover_reads_old_partials_beside_the_new_ones() -> None:
    """The topic is compacted: the newest partial of each place, of whatever epoch, and the last head."""
    rollup = Rollup()
    batches = Batches(rollup)
    for record in (
        part("73.08.20.2007", 2, 1, 7),
        part("73.08.20.2007~2022-11-09", 2, 2, 9),
        HeadRecord(0, 2, 12, DAY),
    ):
        batches.add(record)
    assert population(rollup) == 2
