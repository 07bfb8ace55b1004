"""The sums that the peers make, by plain Python, and what a reader of a peer's totals knows of them.

In: events as JSON lines; records of a topic of totals, each "VILLAGE TYPE TOTAL". Out: how many of the events the totals hold,
and in how many villages they are wrong. Called by bench/beside_peers.py and, for the name of a village, by the peers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

NOWHERE: Final = "none"
"""The village of events that name none: marriages."""


def village_of(event: Mapping[str, Any]) -> str:
    """Where an event is counted."""
    region: str = event["data"].get("region", NOWHERE)
    return region


def sums_of(lines: Iterable[bytes]) -> Counter[str]:
    """Events by "VILLAGE TYPE", each source and id once."""
    sums: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for line in lines:
        event = json.loads(line)
        name = (event["source"], event["id"])
        if name not in seen:
            seen.add(name)
            sums[f"{village_of(event)} {event['type']}"] += 1
    return sums


class Totals:
    """The last total read of each village and type."""

    def __init__(self) -> None:
        """Nothing read."""
        self._last: dict[str, int] = {}
        self.events = 0

    def read(self, value: bytes) -> None:
        """Take a record in the place of what was known."""
        name, _, total = value.decode().rpartition(" ")
        self.events += int(total) - self._last.get(name, 0)
        self._last[name] = int(total)

    def wrong_villages(self, wanted: Mapping[str, int]) -> int:
        """In how many villages one type or more has another total than wanted, missing ones included."""
        names = self._last.keys() | wanted.keys()
        return len({name.partition(" ")[0] for name in names if self._last.get(name, 0) != wanted.get(name, 0)})
