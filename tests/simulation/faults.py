"""What a seed does to the processes: which kinds of fault, and how often.

In: a source of chance. Out: `Faults`, read by `tests.simulation.world`. Every seed has some kinds only, so that one
kind does not hide what another finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from tests.simulation.loop import NEVER

STEPS_MAX: Final = 5_000
"""A life has some thousands of callbacks before it is at rest; a crash falls before, between and after any of them."""


@dataclass(frozen=True)
class Faults:
    """Shares are of 1 and per life of a process, or per write of a store; seconds are virtual."""

    crash_share: float
    write_crash_share: float
    freeze_share: float
    freeze_seconds_max: float
    stop_share: float
    power_share: float
    delete_share: float
    rebalances: int
    outages: int
    outage_seconds_max: float
    slow_share: float
    slow_seconds_max: float
    compactions: int

    @classmethod
    def chosen(cls, chance: Random) -> Faults:
        """Those of a seed."""

        def some(value: float) -> float:
            return value * chance.random() if chance.random() < 0.5 else 0.0

        return cls(
            crash_share=some(1.0),
            write_crash_share=some(0.08),
            freeze_share=some(0.8),
            freeze_seconds_max=chance.choice((2.0, 10.0, 40.0)),
            stop_share=some(0.4),
            power_share=some(0.6),
            delete_share=some(0.3),
            rebalances=int(some(6)),
            outages=int(some(3)),
            outage_seconds_max=chance.choice((1.0, 10.0, 80.0)),
            slow_share=some(0.1),
            slow_seconds_max=chance.choice((0.2, 3.0, 70.0)),
            compactions=int(some(20)),
        )

    @classmethod
    def none(cls) -> Faults:
        """Fair weather."""
        return cls(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def steps(chance: Random, share: float) -> int:
    """After how many callbacks of a life something happens to it; early ones as often as late ones, by magnitude."""
    return int(STEPS_MAX ** chance.random()) if chance.random() < share else NEVER
