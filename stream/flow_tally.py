"""Twenty-four counters in one integer: eight flows for each of M, F and unknown.

In: one person's flow (`unit`). Out: sums of them (`rows`), for periods and closing records. Lanes are those of `stream.tally`:
64 bits, signed, so that flow tallies add and subtract as plain integers; `to_bytes` and `from_bytes` there hold for them too.
"""

from __future__ import annotations

import struct
from typing import Final

from stream.tally import LANE_BITS, SEXES, pack

FLOWS: Final = (
    "births",
    "stillbirths",
    "deaths",
    "moved_out",
    "moved_in",
    "recordings",
    "served",
    "turned_17",
)
BIRTHS, STILLBIRTHS, DEATHS, MOVED_OUT, MOVED_IN, RECORDINGS, SERVED, TURNED_17 = range(len(FLOWS))

LANES: Final = len(FLOWS) * len(SEXES)
_BIAS: Final = sum(1 << (LANE_BITS * lane + LANE_BITS - 1) for lane in range(LANES))
_FORMAT: Final = struct.Struct(f"<{LANES}q")

UNITS: Final = tuple(
    tuple(pack([int(lane == sex * len(FLOWS) + kind) for lane in range(LANES)]) for kind in range(len(FLOWS)))
    for sex in range(len(SEXES))
)
"""UNITS[sex][kind]: one person's flow of that kind (index into FLOWS)."""


def unpack(tally: int) -> tuple[int, ...]:
    """The LANES counters of a tally: M's flows, F's, unknown's."""
    return _FORMAT.unpack(((tally + _BIAS) ^ _BIAS).to_bytes(_FORMAT.size, "little"))


def rows(tally: int) -> tuple[tuple[int, int, int, int], ...]:
    """Per flow, in the order of FLOWS: (M, F, unknown, total)."""
    lanes = unpack(tally)
    width = len(FLOWS)
    found = []
    for kind in range(width):
        male, female, unknown = lanes[kind], lanes[width + kind], lanes[2 * width + kind]
        found.append((male, female, unknown, male + female + unknown))
    return tuple(found)
