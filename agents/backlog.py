"""Whether an agent keeps up: all that was in its logs a while ago is done by now.

In: how far it is and where the logs end, at each measurement. Out: why not, or None. Called by intake, the ledger worker and
the roll-up. Ages of records tell less: intake's have whatever timestamps their senders gave them, and of a log that was quiet
the newest one is old when the next one has just come.

What is hidden behind an open transaction is in the log too. For moments that is always so; a worker that is frozen in one hides
what all others have written until the broker ends its transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from faust.types import TP

from agents.driver import Reached
from agents.health import LATE_SECONDS

NAMED_MAX: Final = 3


class Backlog:
    """Where the logs ended at the looks of the last LATE_SECONDS: with the oldest of them done nothing waits for longer."""

    def __init__(self) -> None:
        """Not looked at yet: nobody is taken to keep up before all that is there at the first look is done."""
        self._looks: dict[TP, deque[tuple[float, int]]] = {}

    def why_not(self, reached: Mapping[TP, Reached], asked: float, now: float) -> str | None:
        """asked: when the brokers were asked where the logs end; now: when they had answered."""
        if not reached:  # a member without partitions
            self._looks.clear()
            return None
        if now - asked > LATE_SECONDS:
            return f"the brokers took {now - asked:.0f} s to answer"
        self._looks = {tp: self._looks.get(tp, deque()) for tp in reached}
        waiting: dict[TP, int] = {}
        hidden: dict[TP, int] = {}
        since = now
        for tp, looks in self._looks.items():
            looks.append((asked, reached[tp].written))
            while now - looks[0][0] > LATE_SECONDS:
                looks.popleft()
            (looked, end), one = looks[0], reached[tp]
            if end > one.through:
                since = min(since, looked)
                if (visible := min(end, one.end) - one.through) > 0:
                    waiting[tp] = visible
                else:
                    hidden[tp] = end - one.through
        if waiting:
            return f"{sum(waiting.values())} records of {_named(waiting)} wait that were there {now - since:.0f} s ago"
        if hidden:
            return (
                f"{sum(hidden.values())} records of {_named(hidden)} that were there {now - since:.0f} s ago are hidden "
                "behind an open transaction"
            )
        return None


def _named(partitions: Iterable[TP]) -> str:
    names = sorted(f"{tp.topic}-{tp.partition}" for tp in partitions)
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
