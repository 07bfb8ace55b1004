"""An operator's change of settings in the middle of a run: an epoch is begun, and processes started from then on have it.

In: a world and its seed. Out: `Change`, or none: few seeds have one. What runs on with the old settings may end by saying so.
Chance is its own here, so that the other seeds stay what they are.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from agents.barrier import LedgerIdentity, control, rules_of
from agents.errors import ConfigurationError
from agents.settings import Settings
from agents.topics import LEDGER
from lampit import reference
from tests.simulation.loop import Owner

SHARE: Final = 0.15
CHANGES: Final[tuple[dict[str, Any], ...]] = (
    {"closing_day": 20},
    {"leap_birthday": "feb28"},
    {"transit_expiry_days": 20},
    {"transit_expiry_days": 20, "closing_day": 1, "leap_birthday": "feb28"},
)
LEFT_SHARE: Final = 0.4
"""Of ledger workers and roll-ups: not stopped, though the operator was told to."""


class Change:
    """What is changed, and when."""

    def __init__(self, seed: int, seconds: float) -> None:
        """seconds: it comes in this time."""
        self._chance = Random(f"epoch {seed}")
        self.is_any = self._chance.random() < SHARE
        self.at = self._chance.uniform(0.0, seconds)
        self._update = self._chance.choice(CHANGES)
        self._begun_before: set[Owner] = set()

    def begin(self, world: Any) -> None:
        """Stop those that count, append the epoch, start them again; later where the ledger is not begun yet."""
        logs = [world.broker.log(LEDGER, partition) for partition in range(world.partitions)]
        if not all(any(True for _ in log.committed(0)) for log in logs):
            world.loop.at(0.5, lambda: self.begin(world))
            return
        settings: Settings = world.change(self._update)
        identity = LedgerIdentity("any", world.partitions, rules_of(settings), reference.load().digest)
        self._begun_before = set(world.running.values())
        for partition in range(world.partitions):
            world.append(partition, control(partition, identity.epoch(2)))
        for owner in sorted(self._begun_before, key=lambda one: one.name):
            if not owner.name.startswith("intake") and self._chance.random() >= LEFT_SHARE:
                world.end(owner)

    def explains(self, owner: Owner, error: BaseException) -> bool:
        """Whether a process may end so: its settings are those of before."""
        return isinstance(error, ConfigurationError) and owner in self._begun_before
