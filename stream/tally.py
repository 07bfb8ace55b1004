"""Eighteen counters in one integer: six measures for each of M, F and unknown.

In: a person's place in the count (`unit`). Out: sums of them (`unpack`), for columns, partials and coverage records.
Called by every part of the core that adds figures up.

A lane is 64 bits, signed: the value of a tally is Σ counter << 64·lane, so tallies add and subtract as plain integers and
a move of a whole village is one addition. A negative lane borrows from its neighbour and `unpack` gives the loan back.
"""

from __future__ import annotations

import struct
from typing import Final

MEASURES: Final = ("population", "obliged", "recorded", "recorded_early", "print_ready", "issued")
SEXES: Final = ("M", "F", "unknown")

LANES: Final = len(MEASURES) * len(SEXES)
LANE_BITS: Final = 64
_BIAS: Final = sum(1 << (LANE_BITS * lane + LANE_BITS - 1) for lane in range(LANES))
_WIDTH_BYTES: Final = LANES * LANE_BITS // 8
_FORMAT: Final = struct.Struct(f"<{LANES}q")

POPULATION: Final = 1
OBLIGED: Final = 2
RECORDED: Final = 4
RECORDED_EARLY: Final = 8
PRINT_READY: Final = 16
ISSUED: Final = 32
"""What one person counts as, one bit a measure, in the order of MEASURES."""


def lane(sex: int, measure: int) -> int:
    """The lane of a measure (index into MEASURES) for a sex (index into SEXES)."""
    return sex * len(MEASURES) + measure


def pack(counters: tuple[int, ...] | list[int]) -> int:
    """The tally of LANES counters, in lane order."""
    return sum(counter << (LANE_BITS * index) for index, counter in enumerate(counters) if counter)


def unpack(tally: int) -> tuple[int, ...]:
    """The LANES counters of a tally, in lane order: M's measures, F's, unknown's."""
    return _FORMAT.unpack(((tally + _BIAS) ^ _BIAS).to_bytes(_WIDTH_BYTES, "little"))


def to_bytes(tally: int) -> bytes:
    """The shortest little-endian two's complement form, as the store keeps it."""
    return tally.to_bytes((tally.bit_length() + 8) // 8, "little", signed=True)


def from_bytes(raw: bytes) -> int:
    """The inverse of `to_bytes`."""
    return int.from_bytes(raw, "little", signed=True)


def _unit(sex: int, mask: int) -> int:
    return pack([mask >> measure & 1 if lane_sex == sex else 0 for lane_sex in range(3) for measure in range(6)])


UNITS: Final = tuple(tuple(_unit(sex, mask) for mask in range(64)) for sex in range(len(SEXES)))
"""UNITS[sex][mask]: one person of that sex who counts as that mask."""

OBLIGED_LANES: Final = tuple(UNITS[sex][OBLIGED] for sex in range(len(SEXES)))
"""One obliged person and nothing else, by sex: what a turning-17 schedule adds."""
