"""One seed from start to verdict. In: a seed. Out: `Outcome`. Called by the command and by the tests."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation import judge
from tests.simulation.faults import Faults
from tests.simulation.world import FAULT_SECONDS, NAMES, REST_SECONDS_MAX, World

QUIET_SECONDS = 3.0
"""What is at rest has to be so for that long: a copy for another partition may be on its way."""


@dataclass
class Outcome:
    """What became of a seed. trace: digest of everything that happened; lines: that in words, if asked for."""

    seed: int
    findings: list[str]
    trace: str
    virtual_seconds: float
    lives: int
    events: int
    lines: list[str] = field(default_factory=list)

    @property
    def repeat(self) -> str:
        """The command that does it again."""
        return f"python -m tests.simulation --first-seed {self.seed} --seeds 1"

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "seed": self.seed,
            "findings": self.findings,
            "trace": self.trace,
            "virtual_seconds": round(self.virtual_seconds, 3),
            "lives": self.lives,
            "events": self.events,
            "repeat": self.repeat,
        }


def run_seed(seed: int, *, faults: Faults | None = None, keep_trace: bool = False) -> Outcome:
    """Start every process, let the faults happen, wait for rest, judge."""
    with tempfile.TemporaryDirectory(prefix="lampit-simulation-") as folder:
        world = World(seed, Path(folder), faults=faults, keep_trace=keep_trace)
        with world.installed():
            world.schedule()
            apart = world.chance.choice((0.0, 2.0))
            for name in NAMES:
                world.loop.at(world.chance.uniform(0.0, apart), lambda name=name: world.start(name))
            world.run_until(FAULT_SECONDS)
            world.calm_down()
            found, missing = [], _rest(world, -2)
            if missing is None:
                # Before the last day turns: then every region is given out again, and what was wrong until then is not seen.
                found += judge.figures(world, -2)
                # What is on its way between partitions as a day turns is in the closings of the next (docs/decisions/0009).
                world.turn_last_day()
                missing = _rest(world, -1)
        if missing is None:
            found += judge.figures(world, -1) + judge.findings(world)
        else:
            found += [f"not at rest after {REST_SECONDS_MAX:.0f} s: {missing}", *world.defects]
    return Outcome(
        seed, found, world.trace.digest, world.loop.now, sum(world.lives.values()), len(world.sent),
        world.trace.lines or [],
    )  # fmt: skip


def _rest(world: World, day: int) -> str | None:
    """Wait until everything is counted on one of the days; what is missing in the end."""
    deadline = world.loop.now + REST_SECONDS_MAX
    missing: str | None = "not looked at yet"
    since: float | None = None
    while world.loop.now < deadline:
        world.run_until(world.loop.now + 0.5)
        missing = judge.at_rest(world, day)
        if missing is not None:
            since = None
        elif since is None:
            since = world.loop.now
        elif world.loop.now - since >= QUIET_SECONDS:
            return None
    return missing
