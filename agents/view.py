"""What the roll-up last published, for those who look instead of subscribe: gauges, the page, the API.

In: the coverage records of a batch, after it was published, so that topic, gauge and page say the same. Out: records by
region, children, and ready lines for Prometheus. Called by `agents.rollup`, `agents.figures` and the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from stream.regions import parent


class View:
    """The current coverage record of every region; `version` grows with every batch, `shape` when a region comes or goes."""

    def __init__(self) -> None:
        """Nothing published yet."""
        self.records: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.shape = 0
        self.changed_at: dict[str, int] = {}
        self._children: dict[str, set[str]] = {}

    def clear(self) -> None:
        """Forget everything: another process publishes now."""
        self.version += 1
        self.shape += 1
        self.records.clear()
        self.changed_at.clear()
        self._children.clear()

    def update(self, records: Iterable[dict[str, Any]], ended: Callable[[str], bool] = lambda code: False) -> None:
        """Take a published batch. Codes that have ended were published empty, once more; here they are gone."""
        self.version += 1
        for record in records:
            region = record["region"]
            if ended(region):
                self._drop(region)
                continue
            if region not in self.records:
                self.shape += 1
                above = parent(region)
                if above is not None:
                    self._children.setdefault(above, set()).add(region)
            self.records[region] = record
            self.changed_at[region] = self.version

    def _drop(self, region: str) -> None:
        if self.records.pop(region, None) is not None:
            self.shape += 1
        self.changed_at.pop(region, None)
        self._children.get(parent(region) or "", set()).discard(region)

    def children(self, region: str) -> list[dict[str, Any]]:
        """The records of the regions right below one, by code."""
        return [self.records[code] for code in sorted(self._children.get(region, ()))]
