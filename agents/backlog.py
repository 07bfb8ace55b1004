"""Whether an agent keeps up: what waited a while ago is done by now.

In: how far it is and what waits, at each measurement. Out: why not, or None. Called by intake, whose records have whatever
timestamps their senders gave them, so that their age tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from faust.types import TP

from agents.health import LATE_SECONDS


class Backlog:
    """What was in the log when it was last looked at, and when that was."""

    def __init__(self) -> None:
        """Not looked at yet: nobody is taken to keep up before all that is there at the first look is done."""
        self._ends: dict[TP, int] = {}
        self._since = 0.0
        self._has_been_done = False

    def why_not(self, done: Mapping[TP, int], behind: Mapping[TP, int], now: float) -> str | None:
        """done: the next offset of each partition. behind: records between there and the end of its log."""
        if not behind:  # a member without partitions
            return None
        if not self._ends:
            self._look(done, behind, now)
        # Behind the last record can be markers, which bring nothing to be done with.
        missing = sum(max(0, end - done.get(tp, 0)) for tp, end in self._ends.items() if behind.get(tp, 0))
        if not missing:
            self._has_been_done = True
            self._look(done, behind, now)
            return None
        if self._has_been_done and now - self._since <= LATE_SECONDS:
            return None
        return f"{missing} records wait that were there {now - self._since:.0f} s ago"

    def _look(self, done: Mapping[TP, int], behind: Mapping[TP, int], now: float) -> None:
        self._ends = {tp: done.get(tp, 0) + records for tp, records in behind.items()}
        self._since = now
